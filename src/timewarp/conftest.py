"""What the examples in docstrings find: a folder of their own, and the verbs by name."""

import pytest


@pytest.fixture(autouse=True)
def _examples(doctest_namespace, tmp_path):
    """``folder``, and what ``timewarp`` offers."""
    import timewarp

    doctest_namespace["folder"] = tmp_path
    for name in (
        "sample",
        "simulate",
        "System",
        "default_kernel",
        "train",
        "evaluate",
        "observe",
        "explore",
        "read_frames",
    ):
        doctest_namespace[name] = getattr(timewarp, name)
