"""Family C: the soft torsions of one molecule, given its stiff coordinates."""

from .flow import TorsionFlow, TorsionFlowConfig

__all__ = ["TorsionFlow", "TorsionFlowConfig"]
