import math

from timewarp.analysis.summary import kernel_rows


def test_acceptance_of_each_kernel():
    flow, hmc, idle = kernel_rows(
        {
            "flow": {"proposed": 40, "accepted": 32, "nonfinite": 2, "jump": 0.9, "acceptance_per_chain": [0.7, 0.9]},
            "hmc": {"proposed": 40, "accepted": 36},
            "torsion": {"proposed": 0, "accepted": 0, "jump": None},
        }
    )
    assert flow["per_chain"] == (0.7, 0.9)
    assert (flow["acceptance"], flow["nonfinite"], flow["jump"]) == (0.8, 2, 0.9)
    assert (hmc["acceptance"], hmc["per_chain"], hmc["jump"]) == (0.9, (), None)
    assert math.isnan(idle["acceptance"])
