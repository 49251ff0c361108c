"""What a spectrometer or a chemist would measure of a run: couplings, NOEs, distances, sizes, hydrogen bonds, ...

Each is an average over the frames with a standard error of its own. Measured values stand beside them, and the frames
can be reweighted to these.
"""

from .experiment import Compared, Measured, chi_squared, compare_measured, read_experiment
from .karplus import COUPLINGS, SETS, Karplus, relation_of
from .observations import Observations, observe
from .requests import DEFAULT, parse
from .reweighting import Reweighting, reweight
from .series import Observed, Series, average

__all__ = [
    "COUPLINGS",
    "DEFAULT",
    "SETS",
    "Compared",
    "Karplus",
    "Measured",
    "Observations",
    "Observed",
    "Reweighting",
    "Series",
    "average",
    "chi_squared",
    "compare_measured",
    "observe",
    "parse",
    "read_experiment",
    "relation_of",
    "reweight",
]
