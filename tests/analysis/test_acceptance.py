import math

from timewarp.analysis import acceptance


def test_acceptance_of_each_kernel():
    flow, hmc, idle = acceptance(
        {
            "flow": {"proposed": 40, "accepted": 32, "nonfinite": 2, "jump": 0.9, "acceptance_per_chain": [0.7, 0.9]},
            "hmc": {"proposed": 40, "accepted": 36},
            "torsion": {"proposed": 0, "accepted": 0, "jump": None},
        }
    )
    assert (flow.acceptance, flow.per_chain, flow.nonfinite, flow.jump) == (0.8, (0.7, 0.9), 2, 0.9)
    assert (hmc.acceptance, hmc.per_chain, hmc.jump) == (0.9, (), None)
    assert math.isnan(idle.acceptance)
