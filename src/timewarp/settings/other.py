"""Settings of the verbs that read runs, train, pack and export, and of lists of peptides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import LARGEST_SEED, Settings, setting
from .sampling import KINDS

EXPORT_FORMATS = ("dcd", "h5", "pdb", "xtc")
FIGURE_FORMATS = ("png", "svg", "pdf")
KARPLUS = ("graf2007", "bax2007", "bax2007-rigid", "schmidt1999", "case2000-dft1", "case2000-dft2")
LARGEST_FRAME = 2**31
XTC_ADVICE = (
    "xtc is smaller, but rounds positions to 0.001 nm, which moves energies by 2 to 4 kJ/mol (rms), up on average"
)


@dataclass(frozen=True, kw_only=True)
class ListSettings(Settings):
    """A list of peptides in place of one molecule."""

    sequences: Path | None = setting(
        None,
        "in place of MOLECULE: a text file with one sequence per line (# starts a comment). Each gets a run folder "
        "under --out and a seed of its own; the same command goes on, retries what failed and skips what is done",
        metavar="FILE",
        group="many peptides",
    )
    scheduler: str | None = setting(
        None,
        "with --sequences: processes of this machine, a local Dask cluster, or the address or *.json file of a Dask "
        "scheduler, such as tcp://host:8786",
        metavar="WHERE",
        shown="local where Dask is installed, else processes",
        group="many peptides",
    )


@dataclass(frozen=True, kw_only=True)
class ForeignSettings(Settings):
    """What trajectory files of other programs do not say."""

    top: Path | None = setting(
        None,
        "topology of a trajectory file of another program (PDB, PSF, prmtop, GRO); PDB and HDF5 trajectories have "
        "their own",
        metavar="FILE",
    )
    spacing_ps: float | None = setting(
        None,
        "time between the frames of such a file, where they are of dynamics",
        unit="ps",
        above=0,
        shown="frames have no time",
    )


@dataclass(frozen=True, kw_only=True)
class ThinSettings(Settings):
    """Which frames of a run are read."""

    discard: int = setting(
        0,
        "frames dropped from the start of each chain of RUN; warm-up and burn-in are not stored",
        least=0,
        most=LARGEST_FRAME,
    )
    stride: int = setting(1, "use every N-th frame of RUN", least=1, most=LARGEST_FRAME)


@dataclass(frozen=True, kw_only=True)
class LagSettings(Settings):
    """The lag of slow coordinates."""

    lag_ps: float = setting(
        20.0,
        "lag of TICA; a fifth of a replica at most; of chains of a sampler one stored frame",
        unit="ps",
        above=0,
    )


@dataclass(frozen=True, kw_only=True)
class ForceSettings(Settings):
    """Whether results replace files of others."""

    force: bool = setting(
        False,
        "write where other files are, and replace those of the same names; without it, only what this program wrote "
        "for the same run is replaced",
    )


@dataclass(frozen=True, kw_only=True)
class AnalyseSettings(ThinSettings, ForeignSettings, LagSettings, ForceSettings):
    """How to judge a run."""

    reference: Path | None = setting(
        None,
        "run folder of long MD of the same molecule, or a trajectory file of another program, to lay the run beside",
        metavar="MDRUN",
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(ForeignSettings, LagSettings, ForceSettings):
    """How to evaluate runs beside references."""

    reference: tuple[Path, ...] = setting(
        (),
        "runs of the same molecules to compare with, folders that hold such runs, or trajectory files of any program",
        metavar="REF",
        several=True,
        required=True,
    )
    discard: int = setting(0, "frames dropped from the start of each chain of the runs", least=0, most=LARGEST_FRAME)


@dataclass(frozen=True, kw_only=True)
class ConditionalSettings(ForceSettings):
    """From which state, by which network, and beside how much MD."""

    model: str | None = setting(
        None,
        "name of a shipped network, or the folder of a `timewarp train` run",
        metavar="MODEL",
        shown="the shipped one for this molecule",
    )
    family: str | None = setting(None, "family of the shipped network", choices=KINDS, shown="the best")
    lag_ps: float | None = setting(
        None, "length of the MD runs", unit="ps", above=0, shown="the network's lag; 500 for one that has none"
    )
    frame: int | None = setting(
        None, "frame of MDRUN that is x(t)", least=0, shown="one of the most populated conformation"
    )
    chain: int | None = setting(None, "chain of that frame", least=0, shown="0")
    n: int = setting(2000, "proposals drawn from the network", least=2)
    md_runs: int = setting(512, "fresh runs of MD", least=2)
    seed: int = setting(0, "seed of all random numbers", least=0, most=LARGEST_SEED)
    threads: int | None = setting(None, "threads of the compiled kernels", least=1, most=1024, shown="all cores")


@dataclass(frozen=True, kw_only=True)
class FigureSettings(Settings):
    """Files of figures."""

    format: tuple[str, ...] = setting(
        ("png",), "format of the figure files; may be given more than once", choices=FIGURE_FORMATS, shown="png"
    )


@dataclass(frozen=True, kw_only=True)
class ExportSettings(ForceSettings):
    """How to write frames for other programs."""

    format: str = setting("dcd", f"file format; {XTC_ADVICE}", choices=EXPORT_FORMATS)
    stride: int = setting(1, "every N-th frame", least=1, most=LARGEST_FRAME)
    no_superpose: bool = setting(False, "do not turn the frames onto the first one")


@dataclass(frozen=True, kw_only=True)
class PackSettings(ForceSettings):
    """How to pack runs into a training set."""

    validation: tuple[Path, ...] = setting(
        (), "runs, or folders of runs, to choose the network by", metavar="RUN", several=True
    )
    frames: int = setting(400, "frames of each peptide, at most", least=1)
    validation_frames: int = setting(64, "frames of each peptide of --validation, at most", least=1)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(ForeignSettings):
    """Options of a training; all other settings are in its configuration file."""

    config: Path | None = setting(
        None, "TOML file of training settings (see configs/); options override it", metavar="FILE"
    )
    family: str | None = setting(
        None,
        "C: soft torsions given the rest; C2: the same for all peptides, from a file of `timewarp pack`; B: all "
        "internal coordinates; A: Cartesian, needs lag_ps in the configuration",
        choices=KINDS,
        shown="C; of a file of `timewarp pack`, C2",
    )
    steps: int | None = setting(None, "optimiser steps", least=1, shown="4000")
    batch_size: int | None = setting(None, "frames or pairs of a step", least=1, shown="512")
    learning_rate: float | None = setting(None, "peak learning rate", above=0, metavar="RATE", shown="0.001")
    stride: int | None = setting(None, "use every N-th frame", least=1, shown="1")
    seed: int | None = setting(
        None, "seed of all random numbers", least=0, most=LARGEST_SEED, shown="the configuration's, or 0"
    )
    no_energy: bool = setting(False, "choose the model by likelihood, not by its estimated acceptance")
    device: str = setting("cpu", "torch device: cpu, cuda, cuda:1, mps", metavar="NAME")
    devices: int = setting(1, "GPUs, or processes on a CPU, that share each batch", least=1, most=1024)
    minutes: float | None = setting(
        None,
        "stop after so many minutes, with a checkpoint and the best model so far; the same command goes on",
        above=0,
        metavar="M",
        shown="no limit",
    )
    start_from: str | None = setting(
        None,
        "start from the weights of this network (same family and size), for a further round on other data",
        metavar="MODEL",
        shown="none",
    )
    threads: int | None = setting(None, "threads of torch", least=1, most=1024, shown="all cores")


@dataclass(frozen=True, kw_only=True)
class ObserveSettings(ThinSettings, ForeignSettings, ForceSettings):
    """Which observables, and what they are compared with."""

    observables: tuple[str, ...] = setting(
        (),
        "what to compute: couplings, rg, end-to-end, hbonds, sasa, dssp, contacts, conformations, distance=1:CA,4:CA, "
        "noe=2:HB*,4:H (averaged as r^-6; noe3 as r^-3), dihedral=1:N,1:CA,1:C,2:N, rmsd=FILE.pdb",
        metavar="WHAT",
        flag="what",
        several=True,
        shown="couplings, conformations, rg, end-to-end, hbonds, dssp",
    )
    karplus: str = setting(
        "graf2007", "parameters of the Karplus relations between torsions and couplings", choices=KARPLUS
    )
    experiment: Path | None = setting(
        None,
        "CSV file of measured values with the columns observable, value, error and (for limits) bound",
        metavar="FILE",
    )
    reweight: bool = setting(
        False, "also find weights of the frames that agree with the measured values (maximum entropy)"
    )
    theta: float | None = setting(
        None, "trust in the simulation in the reweighting", above=0, most=1e6, shown="chosen by cross-validation"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.reweight or self.theta is not None) and self.experiment is None:
            raise ValueError("`reweight` and `theta` need measured values: give `experiment`")
