"""Learned configurational-bias Monte Carlo: the transferable family C (``docs/design.md`` section 5)."""

from .flow import GrowthFlow, Regrowth
from .network import GrowthConfig, GrowthNetwork, Static
from .plan import GrowthPlan, build_plan, order_by, random_order
from .profiles import Features, features

__all__ = [
    "Features",
    "GrowthConfig",
    "GrowthFlow",
    "GrowthNetwork",
    "GrowthPlan",
    "Regrowth",
    "Static",
    "build_plan",
    "features",
    "order_by",
    "random_order",
]
