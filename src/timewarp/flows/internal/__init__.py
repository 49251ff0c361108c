"""Family B: all internal coordinates of one molecule."""

from .flow import InternalFlow, InternalFlowConfig

__all__ = ["InternalFlow", "InternalFlowConfig"]
