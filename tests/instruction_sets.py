"""A fixture that runs a test on every instruction set that the kernels have here."""

import pytest

from timewarp import native


def instruction_sets() -> list[str]:
    """Their names; none where the kernels are missing."""
    found = []
    if native.available():
        before = native.instruction_set()
        for name in ("baseline", "avx2", "avx512"):
            try:
                native.core().choose_instruction_set(name)
            except ValueError:
                continue
            found.append(name)
        native.core().choose_instruction_set(before)
    return found


@pytest.fixture(params=instruction_sets())
def instruction_set(request):
    """The name of the one in use."""
    before = native.instruction_set()
    native.core().choose_instruction_set(request.param)
    yield request.param
    native.core().choose_instruction_set(before)
