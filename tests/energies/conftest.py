"""Every energy test runs with the plain torch version and with the compiled kernel."""

import pytest

import timewarp.energies.potential as potential_module
from timewarp import native


@pytest.fixture(autouse=True, params=["torch", "native"])
def engine(request, monkeypatch):
    if request.param == "native" and not native.available():
        pytest.skip(native.why_not())
    monkeypatch.setattr(potential_module, "DEFAULT_ENGINE", request.param)
    return request.param
