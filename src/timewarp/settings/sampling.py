"""Settings of the verbs that make chains: `sample` and `explore`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import LARGEST_SEED, Settings, setting
from .molecule import MoleculeSettings

PRESETS = (
    *("amber14-obc2", "amber14-obc1", "amber99sbildn-obc", "amber14-vacuum"),
    *("ff14SBonlysc-gbn2", "ff19SB-gbn2", "charmm36-gbn2", "amber96-obc"),
)
KINDS = ("C", "C2", "B", "A")
"""Names of presets and kinds of network, written out so that ``--help`` loads neither OpenMM nor torch; tests "
"compare."""
PRECISIONS = ("float32", "float64")
CIS_TRANS = ("fixed", "proline", "all")
LOCAL = ("torsion", "hmc")
PUCKER, CONCERTED = "pucker", "concerted"
LEARNED = ("flow", "flow_suffix", "flow_subset")
KNOWN = ("flow", *LOCAL, PUCKER, CONCERTED, *LEARNED[1:])
HMC_STEPS = (10, 20, 40, 80)
DEFAULT_HMC_STEPS = 40
STEPS_PER_SEGMENT = 50
NUMBERS_PER_SEGMENT = 2**24
UNTIL = "rhat=1.01,ess=1000"
MINUTES = 60.0
SAMPLES = 20_000


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """Which network proposes."""

    model: str | None = setting(
        None,
        "name of a shipped network (see `timewarp models`), or the folder of a `timewarp train` run",
        metavar="MODEL",
        shown="the shipped one for this molecule, or else the one for every peptide",
        group="the moves",
    )
    family: str | None = setting(
        None,
        "family of the network: C redraws torsions, C2 the same for any peptide, B all internal coordinates, A "
        "(Timewarp as published) all Cartesian ones",
        choices=KINDS,
        shown="the model's",
        group="the moves",
    )


@dataclass(frozen=True, kw_only=True)
class KernelSettings(ModelSettings):
    """Which kernels a cycle has, and what is theirs."""

    kernels: str | None = setting(
        None,
        f"kernels of a cycle in order, separated by commas, of {', '.join(KNOWN)}; one may be repeated",
        metavar="LIST",
        shown="all that the molecule and the network have, local moves balanced with learned ones",
        group="the moves",
    )
    no_flow: bool = setting(False, "do without a network: torsion moves and hmc", group="the moves")
    proposals: int | None = setting(
        None,
        "proposals that a network of family A draws from one state at a time; the first accepted one ends the batch. "
        "It changes the speed alone",
        least=1,
        most=100_000,
        metavar="B",
        shown="tuned in the warm-up",
        group="the moves",
    )
    flow_steps: int | None = setting(
        None,
        "Metropolis-Hastings steps of a network of family A in a cycle",
        least=1,
        most=100_000,
        metavar="K",
        shown="as many as proposals",
        group="the moves",
    )
    torsion_moves: int = setting(
        4, "single-bond turns in a cycle, stiff peptide bonds included", least=1, group="the moves"
    )
    concerted_moves: int = setting(
        8, "concerted rotations of a ring in a cycle, where the molecule has one", least=1, group="the moves"
    )
    hmc_steps: int | None = setting(
        None,
        "leapfrog steps of a hmc move",
        least=1,
        most=10_000,
        shown=f"the best of {', '.join(map(str, HMC_STEPS))}, tried in the warm-up; {DEFAULT_HMC_STEPS} where that is "
        "shorter than 100 steps",
        group="the moves",
    )
    hmc_acceptance: float = setting(
        0.8,
        "acceptance that the warm-up tunes hmc's step size to",
        above=0,
        most=0.99,
        metavar="P",
        group="the moves",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        names = self.names
        if unknown := [name for name in names if name not in KNOWN]:
            raise ValueError(f"no kernel {unknown[0]!r}; the kernels are {', '.join(KNOWN)}")
        if self.no_flow and (self.model or self.family or (self.kernels and self.learned)):
            raise ValueError(
                "`no_flow` and a network exclude each other; leave out `no_flow`, or `model`, `family` and the kernel "
            )
        if not self.learned and (self.model or self.family) and not self.no_flow:
            raise ValueError("`model` and `family` need the kernel flow among the kernels")
        if "flow" not in names and (self.proposals or self.flow_steps):
            raise ValueError("`proposals` and `flow_steps` are of the kernel flow; leave them out")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the kernels that were asked for, in order."""
        if self.kernels:
            return tuple(part.strip() for part in self.kernels.split(","))
        return LOCAL if self.no_flow else ("flow", *LOCAL)

    @property
    def learned(self) -> tuple[str, ...]:
        """Those of them that need a network."""
        return tuple(dict.fromkeys(name for name in self.names if name in LEARNED))


@dataclass(frozen=True, kw_only=True)
class ChainOptions(MoleculeSettings, ModelSettings):
    """What `sample` and `explore` share."""

    preset: str = setting("amber14-obc2", "force field and solvent", choices=PRESETS)
    samples: int = setting(
        20_000, "stored samples in all, over all chains", least=1, key="n_samples", short="-n", group="how much"
    )
    chains: int | None = setting(
        None,
        "chains, run side by side",
        least=1,
        most=10**6,
        key="n_chains",
        short="-c",
        shown="16 for each core: what fills its vector lanes",
        group="how much",
    )
    thin: int = setting(1, "steps (cycles of all kernels) per stored sample", least=1, group="how much")
    start: tuple[str, ...] = setting(
        (),
        "where chains start, once per start and cycled over the superchains: spread (torsions at random, far apart), "
        "built (the minimised structure), torsions in degrees such as phi_1=60,psi_1=40, or FILE.pdb#MODEL",
        metavar="START",
        shown="spread",
        key="starts",
        group="how much",
    )
    cis_trans: str = setting(
        "fixed",
        "which peptide bonds may be cis as well as trans: fixed, none (they stay as they are in the start); proline, "
        "those before proline; all, every one that is in no ring",
        choices=CIS_TRANS,
        group="how much",
    )
    seed: int = setting(
        0,
        "seed of all random numbers; the same seed gives the same result on the same machine",
        least=0,
        most=LARGEST_SEED,
        group="how much",
    )
    precision: str = setting("float32", "of positions and energies in memory", choices=PRECISIONS, group="the machine")
    device: str = setting("cpu", "torch device: cpu, cuda, cuda:1, mps", metavar="NAME", group="the machine")
    threads: int | None = setting(
        None,
        "threads of the compiled kernels, or of torch where those are missing",
        least=1,
        most=1024,
        shown="all cores",
        group="the machine",
    )

    def frames_per_segment(self, n_atoms: int, n_chains: int) -> int:
        """A segment takes seconds and some ten megabytes; the number depends on the settings, not on the machine."""
        by_steps = STEPS_PER_SEGMENT // self.thin
        by_size = NUMBERS_PER_SEGMENT // (3 * n_atoms * n_chains)
        return max(1, min(by_steps, by_size))


@dataclass(frozen=True, kw_only=True)
class SampleSettings(ChainOptions, KernelSettings):
    """How to sample. The names are those of the options of ``timewarp sample``."""

    samples: int | None = setting(  # type: ignore[assignment]
        None,
        "stored samples in all, over all chains, in place of --until",
        least=1,
        key="n_samples",
        short="-n",
        shown=f"{SAMPLES:,}, or as many as it takes where --until, --minutes or --observables is given",
        group="how much",
    )
    until: str | None = setting(
        None,
        "go on until every torsion, the energy and the conformations have a nested R-hat below the one and an "
        "effective sample size above the other",
        metavar="GOAL",
        shown=f"{UNTIL} where --minutes or --observables is given",
        group="how much",
    )
    observables: tuple[str, ...] = setting(
        (),
        "observables that must reach the goal too, as `timewarp observe` has them: couplings, rg, noe=2:HA,3:H, ...",
        metavar="WHAT",
        several=True,
        group="how much",
    )
    minutes: float | None = setting(
        None,
        "go on until the goal is met, and stop after this time, start and warm-up included",
        unit="min",
        above=0,
        most=10**6,
        shown=f"{MINUTES:g}",
        group="how much",
    )
    temperature_K: float | None = setting(
        None,
        "temperature",
        unit="K",
        least=1,
        most=10_000,
        short="-t",
        shown="the preset's; 300 for amber99sbildn-obc, 310 for all others",
    )
    warmup: int = setting(
        200, "steps before the first stored sample; kernels are tuned in them", least=0, group="how much"
    )
    start_torsion: str | None = setting(
        None,
        "start half of the chains with these torsions, and half from the built structure: short for --start built "
        "--start START",
        metavar="START",
        group="how much",
    )
    start_from: Path | None = setting(
        None,
        "run folder of `timewarp explore`: chains start from the distinct states that it found, which confirms them or "
        "shows that they are of no weight; or of `simulate` or `sample`, or a trajectory file of another program: from "
        "frames spread over it",
        metavar="RUN",
        group="how much",
    )
    top: Path | None = setting(
        None, "topology of a trajectory file that start_from names", metavar="FILE", group="how much"
    )
    tuning: Path | None = setting(
        None,
        "summary.json of another run whose tuning is replayed, not redone",
        metavar="FILE",
        group="the moves",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("start", "start_torsion", "start_from") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"give `{given[0]}` or `{given[1]}`, not both: each says where all chains start")
        if self.samples is not None and (other := [n for n in ("until", "observables", "minutes") if getattr(self, n)]):
            raise ValueError(f"give `samples` or `{other[0]}`, not both: each says how long to sample")

    @property
    def has_goal(self) -> bool:
        """Whether it goes on until a goal is met, in place of a number of samples."""
        return bool(self.until or self.observables or self.minutes)

    @property
    def starts(self) -> tuple[str, ...]:
        """Starts by name; those of ``start_from`` are known once it is read."""
        if self.start_torsion:
            return ("built", self.start_torsion)
        return self.start or ("spread",)


@dataclass(frozen=True, kw_only=True)
class ExploreSettings(ChainOptions):
    """How to explore. The names are those of the options of ``timewarp explore``."""

    threshold_kJ_mol: float = setting(
        300.0,
        "largest rise of the energy in one move",
        unit="kJ/mol",
        least=0,
        metavar="ENERGY",
        group="the moves",
    )

    @property
    def starts(self) -> tuple[str, ...]:
        """Starts by name."""
        return self.start or ("built",)
