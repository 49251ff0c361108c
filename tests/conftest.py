"""Test-wide settings: shapes are checked at run time, torch is deterministic in its use of threads."""

import os
import signal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell in the background, and inherited by what tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)

from jaxtyping import install_import_hook

install_import_hook("timewarp", "typechecker.check")

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from instruction_sets import instruction_set  # noqa: E402, F401

settings.register_profile("timewarp", deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
settings.load_profile("timewarp")
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Mark the tests that ``slow_tests.txt`` names."""
    lines = (Path(__file__).parent / "slow_tests.txt").read_text().splitlines()
    slow = tuple(line for line in lines if line and not line.startswith("#"))
    for item in items:
        if item.nodeid.startswith(slow):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded generator; tests must not depend on global random state."""
    return torch.Generator().manual_seed(20240229)
