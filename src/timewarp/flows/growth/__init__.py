"""Family C2: learned configurational-bias Monte Carlo, the same weights for all molecules."""

from .compiled import NativeGrowthFlow
from .flow import GrowthFlow
from .network import GrowthConfig, GrowthNetwork, Static
from .plan import GrowthPlan, Regrowth, build_plan, order_by, random_order
from .profiles import Features, features
from .proposer import RegrowthProposer

__all__ = [
    "Features",
    "GrowthConfig",
    "GrowthFlow",
    "GrowthNetwork",
    "GrowthPlan",
    "NativeGrowthFlow",
    "Regrowth",
    "RegrowthProposer",
    "Static",
    "build_plan",
    "features",
    "order_by",
    "random_order",
]
