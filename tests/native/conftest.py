"""Every instruction set that this processor has, in turn."""

import pytest

from timewarp import native


def instruction_sets():
    if not native.available():
        return
    for name in ("baseline", "avx2", "avx512"):
        try:
            native.core().choose_instruction_set(name)
        except ValueError:
            continue
        yield name
    native.core().choose_instruction_set("auto")


@pytest.fixture(params=list(instruction_sets()))
def instruction_set(request):
    before = native.instruction_set()
    native.core().choose_instruction_set(request.param)
    yield request.param
    native.core().choose_instruction_set(before)
