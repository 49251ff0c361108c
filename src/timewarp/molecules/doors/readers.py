"""AMBER, GROMACS, CHARMM and OpenMM files through OpenMM's own readers, to a topology, a system and positions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import openmm
from openmm import app
from openmm.app.internal import customgbforces

from ..force_fields import use_native_gb
from .checks import check_contents
from .coordinates import Coordinates, check_pairing, read_coordinates
from .kinds import COMPANIONS, PARAMETER_SUFFIXES, Files, Kind, check_readable, companion
from .system_xml import bonded_topology, read_system

USUAL_SOLVENT = "obc2"
"""Of files that name none: the solvent of the default preset, and what AMBER calls igb=5."""
_MODELS = {"hct": app.HCT, "obc1": app.OBC1, "obc2": app.OBC2, "gbn": app.GBn, "gbn2": app.GBn2}
_FORCES = {
    "hct": customgbforces.GBSAHCTForce,
    "obc1": customgbforces.GBSAOBC1Force,
    "obc2": customgbforces.GBSAOBC2Force,
    "gbn": customgbforces.GBSAGBnForce,
    "gbn2": customgbforces.GBSAGBn2Force,
}
RADII = {"hct": "mbondi", "obc1": "mbondi2", "obc2": "mbondi2", "gbn": "bondi", "gbn2": "mbondi3"}
"""The radii that each model was fitted with."""


@dataclass(frozen=True, eq=False)
class Read:
    """What a reader found.

    Attributes:
        topology: with bonds.
        system: with the solvent that was asked for.
        coordinates: that fit the topology.
        solvent: in the names of the command line, or ``own`` where the file says.
        notes: what was taken for granted.
    """

    topology: app.Topology
    system: openmm.System
    coordinates: Coordinates
    solvent: str
    notes: list[str] = field(default_factory=list)


def read_amber(path: Path, files: Files) -> Read:
    """An AMBER prmtop with its restart file; the radii of the implicit solvent are the file's.

    Raises:
        ValueError: a file cannot be read, or they do not fit together.
    """
    files.refuse(Kind.AMBER, "parameters", "include", "altloc")
    solvent, notes = _solvent(files, "prmtop")
    prmtop = _parsed(path, "AMBER prmtop", lambda: app.AmberPrmtopFile(str(path)))
    _check_box(path, prmtop.topology)
    check_contents(path, prmtop.topology, Kind.AMBER)
    coordinates = _coordinates(path, prmtop.topology, files, Kind.AMBER, notes)
    raw = prmtop._prmtop._raw_data
    has_radii = {"RADII", "SCREEN"} <= raw.keys() and all(float(value) > 0 for value in raw["RADII"])
    if solvent != "none" and not has_radii:
        raise ValueError(
            f"{path} has no radii for an implicit solvent (RADII, SCREEN): set them in ParmEd with `changeRadii "
            f"{RADII[solvent]}` and write the file with `outparm`, or give `solvent` none"
        )

    def create() -> openmm.System:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what OpenMM warns of, _check_radii says
            return prmtop.createSystem(
                constraints=None, rigidWater=False, removeCMMotion=False, implicitSolvent=_MODELS.get(solvent)
            )

    system = _parsed(path, "AMBER prmtop", create)
    if solvent != "none":
        radii = [float(value) / 10 for value in raw["RADII"]]
        notes += _check_radii(path, prmtop.topology, radii, solvent)
    return Read(prmtop.topology, system, coordinates, solvent, notes)


def read_gromacs(path: Path, files: Files) -> Read:
    """A GROMACS top with its gro; radii of the implicit solvent are those that OpenMM gives by element and bonds.

    Raises:
        ValueError: a file cannot be read, or they do not fit together.
    """
    files.refuse(Kind.GROMACS, "parameters", "altloc")
    solvent, notes = _solvent(files, "top")
    for folder in files.include:
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}; `include` names folders in which #include is looked up")
    top = _parsed(path, "GROMACS top", lambda: _TopFile(str(path), tuple(map(str, files.include))))
    check_contents(path, top.topology, Kind.GROMACS)
    coordinates = _coordinates(path, top.topology, files, Kind.GROMACS, notes)
    system = _parsed(path, "GROMACS top", lambda: top.createSystem(rigidWater=False, removeCMMotion=False))
    add_solvent(system, top.topology, solvent)
    return Read(top.topology, system, coordinates, solvent, notes)


def read_charmm(path: Path, files: Files) -> Read:
    """A CHARMM psf with its parameters and coordinates; radii of the solvent are those that OpenMM gives.

    Raises:
        ValueError: a file cannot be read, parameters are missing, or the files do not fit together.
    """
    files.refuse(Kind.CHARMM, "include", "altloc")
    solvent, notes = _solvent(files, "psf")
    given = files.parameters or tuple(
        other for suffix in PARAMETER_SUFFIXES if (other := path.with_suffix(suffix)).is_file()
    )
    if not given:
        raise ValueError(
            f"{path} has no parameters beside it ({path.stem}.prm, .par, .str or .rtf were looked for); give those of "
            "its force field as `parameters`, such as par_all36m_prot.prm and top_all36_prot.rtf"
        )
    if not files.parameters:
        notes.append(f"parameters: {', '.join(other.name for other in given)}, found beside {path.name}")
    for other in given:
        check_readable(other, "a CHARMM parameter file")
        if other.suffix.lower() not in PARAMETER_SUFFIXES:
            raise ValueError(
                f"{other} is no CHARMM parameter file by its name; expected .prm, .par, .str, .rtf or .inp"
            )
    psf = _parsed(path, "CHARMM psf", lambda: app.CharmmPsfFile(str(path)))
    check_contents(path, psf.topology, Kind.CHARMM)
    coordinates = _coordinates(path, psf.topology, files, Kind.CHARMM, notes)
    names = ", ".join(other.name for other in given)
    parameters = _parsed(given[0], f"CHARMM parameters ({names})", lambda: app.CharmmParameterSet(*map(str, given)))
    system = _parsed(
        path,
        f"CHARMM psf with the parameters of {names}",
        lambda: psf.createSystem(
            parameters, constraints=None, rigidWater=False, removeCMMotion=False, implicitSolvent=_MODELS.get(solvent)
        ),
    )
    return Read(psf.topology, system, coordinates, solvent, notes)


def read_openmm(path: Path, files: Files) -> Read:
    """An OpenMM ``System`` as XML, with names and positions of its atoms from a PDB or mmCIF file.

    Raises:
        ValueError: a file cannot be read, or they do not fit together.
    """
    files.refuse(Kind.SYSTEM, "parameters", "include", "altloc")
    if files.solvent is not None:
        raise ValueError(
            f"{path} is a whole System, whose solvent is in it: leave `solvent` out, or write the System with another"
        )
    notes: list[str] = []
    system = read_system(path)
    given = files.coordinates or companion(path, COMPANIONS[Kind.SYSTEM], "PDB or mmCIF file", "coordinates")
    coordinates = read_coordinates(given)
    if coordinates.topology is None:
        raise ValueError(f"{given} does not name residues and elements; a System needs a PDB or mmCIF file beside it")
    if files.coordinates is None:
        notes.append(f"coordinates: {given.name}, found beside {path.name}")
    if len(coordinates.positions) != system.getNumParticles():
        raise ValueError(
            f"{path} has {system.getNumParticles()} particles, and {given} has {len(coordinates.positions)} atoms; "
            "give the file of the same molecule as `coordinates`"
        )
    topology = bonded_topology(path, system, coordinates.topology)
    check_contents(path, topology, Kind.SYSTEM)
    check_pairing(path, topology, coordinates)
    return Read(topology, system, coordinates, "own", notes)


def add_solvent(system: openmm.System, topology: app.Topology, solvent: str) -> None:
    """Add a generalised Born force in place, with the radii of OpenMM's rules for the model; see :data:`RADII`."""
    if solvent == "none":
        return
    (nonbonded,) = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    gb = _FORCES[solvent](SA="ACE")
    for i, row in enumerate(gb.getStandardParameters(topology)):
        gb.addParticle([nonbonded.getParticleParameters(i)[0], *row])
    gb.finalize()
    system.addForce(gb)
    if solvent == "obc2":
        use_native_gb(system)


def _solvent(files: Files, kind: str) -> tuple[str, list[str]]:
    if files.solvent is not None:
        return files.solvent, []
    note = (
        f"no solvent was named: took implicit water {USUAL_SOLVENT}, since a {kind} does not say one (none is vacuum)"
    )
    return USUAL_SOLVENT, [note]


def _coordinates(path: Path, topology: app.Topology, files: Files, kind: Kind, notes: list[str]) -> Coordinates:
    given = files.coordinates or companion(path, COMPANIONS[kind], "coordinates", "coordinates")
    found = read_coordinates(given)
    check_pairing(path, topology, found)
    if files.coordinates is None:
        notes.append(f"coordinates: {given.name}, found beside {path.name}")
    if found.has_box:
        notes.append(f"the periodic box of {found.path.name} is left out: the solvent is implicit")
    if found.has_velocities:
        notes.append(f"the velocities of {found.path.name} are left out")
    return found


def _parsed(path: Path, what: str, parse: Callable[[], object]):
    """What one of OpenMM's readers makes of a file, its errors in one line."""
    check_readable(path, f"a file of kind {what}")
    try:
        return parse()
    except RecursionError:
        raise ValueError(f"{path} includes itself; correct its #include lines") from None
    except Exception as error:  # OpenMM's readers raise many kinds
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        if isinstance(error, KeyError | IndexError | TypeError | AttributeError):
            reason = f"the file seems to be cut short or damaged ({type(error).__name__}: {reason})"
        if "#include" in reason:
            reason += "; give the folder that it lies in as `include`"
        raise ValueError(f"{path} cannot be read as {what}: {reason}") from None


def _check_box(path: Path, topology: app.Topology) -> None:
    if topology.getPeriodicBoxVectors() is not None:
        raise ValueError(
            f"{path} is of a periodic box, and the solvent here is implicit: in ParmEd write "
            "`strip :WAT,Na+,Cl- nobox` (naming all but the molecule) and `outparm dry.prmtop dry.rst7`, and give these"
        )


def _check_radii(path: Path, topology: app.Topology, radii: Sequence[float], solvent: str) -> list[str]:
    """A note where the radii of a prmtop are not those that the solvent model was fitted with."""
    usual = _FORCES[solvent].getStandardParameters(topology)
    differing = sum(abs(mine - float(row[0])) > 1e-4 for mine, row in zip(radii, usual, strict=True))
    if not differing:
        return []
    return [
        f"the radii of {differing} atoms in {path.name} are not {RADII[solvent]}, with which {solvent} was made; they "
        f"are kept (to change them: `set default PBRadii {RADII[solvent]}` in tleap, or `changeRadii {RADII[solvent]}` "
        "in ParmEd)"
    ]


class _TopFile(app.GromacsTopFile):
    """OpenMM's reader with more than one folder of includes."""

    _includeDirs: tuple[str, ...]

    def __init__(self, file: str, folders: Sequence[str]) -> None:
        self._folders = tuple(folders)
        super().__init__(file)

    def _processFile(self, file: str) -> None:
        if self._folders:
            self._includeDirs = (*self._includeDirs[:1], *self._folders, *self._includeDirs[1:])
            self._folders = ()
        super()._processFile(file)
