"""Family C: the soft torsions of one molecule, given its stiff coordinates."""

from .compiled import NativeTorsionFlow
from .couplings import TorsionCondition, TorsionCouplings, TorsionFlowConfig
from .flow import TorsionFlow

__all__ = ["NativeTorsionFlow", "TorsionCondition", "TorsionCouplings", "TorsionFlow", "TorsionFlowConfig"]
