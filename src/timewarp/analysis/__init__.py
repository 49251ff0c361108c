"""What the samples say, and whether to believe it: torsions, free energies, convergence, agreement, geometry."""

from .autocorrelation import autocorrelation, autocovariance, geyer_ess, integrated_time
from .bonded import (
    BondedComparison,
    BondedStatistics,
    bonded_statistics,
    bonded_types,
    bonded_values,
    compare_bonded,
    z_score,
)
from .cis_trans import cis_populations
from .conformations import Conformations, find_conformations, representative
from .convergence import RHAT_LIMIT, circular_ess, circular_rhat, ess, rhat, slower
from .distributions import (
    bin_centres,
    circular_histogram,
    halves,
    jensen_shannon,
    jsd_plane,
    jsd_torsion,
    noise_floor,
    ramachandran,
    wasserstein,
)
from .free_energy import Basin, Estimate, Profile, fluctuation, free_energy, mean, phi_basin
from .geometry import GeometryCheck, check_geometry
from .states import TorsionStates, find_states
from .summary import analyse, compare, diagnose
from .torsions import (
    TrajectoryLike,
    backbone,
    backbone_planes,
    kind_of_torsion,
    named_torsions,
    ring_torsions,
    soft_torsions,
    torsion_angles,
    turning_torsions,
)
from .verdict import Check, Verdict, judge, largest_rhat, quantities, smallest_ess

__all__ = [
    "RHAT_LIMIT",
    "Basin",
    "BondedComparison",
    "BondedStatistics",
    "Check",
    "Conformations",
    "Estimate",
    "GeometryCheck",
    "Profile",
    "TorsionStates",
    "TrajectoryLike",
    "Verdict",
    "analyse",
    "autocorrelation",
    "autocovariance",
    "backbone",
    "backbone_planes",
    "bin_centres",
    "bonded_statistics",
    "bonded_types",
    "bonded_values",
    "check_geometry",
    "circular_ess",
    "circular_histogram",
    "circular_rhat",
    "cis_populations",
    "compare",
    "compare_bonded",
    "diagnose",
    "ess",
    "find_conformations",
    "find_states",
    "fluctuation",
    "free_energy",
    "geyer_ess",
    "halves",
    "integrated_time",
    "jensen_shannon",
    "jsd_plane",
    "jsd_torsion",
    "judge",
    "kind_of_torsion",
    "largest_rhat",
    "mean",
    "named_torsions",
    "noise_floor",
    "phi_basin",
    "quantities",
    "ramachandran",
    "representative",
    "rhat",
    "ring_torsions",
    "slower",
    "smallest_ess",
    "soft_torsions",
    "torsion_angles",
    "turning_torsions",
    "wasserstein",
    "z_score",
]
