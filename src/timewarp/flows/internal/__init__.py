"""Family B: all internal coordinates of one molecule."""

from .compiled import NativeInternalFlow
from .couplings import InternalFlowConfig
from .flow import InternalFlow

__all__ = ["InternalFlow", "InternalFlowConfig", "NativeInternalFlow"]
