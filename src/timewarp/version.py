"""The version of the installed package."""

from __future__ import annotations

import importlib.metadata

DISTRIBUTION = "timewarp-md"


def version() -> str:
    """Version of the installed package."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown (not installed)"
