"""What the user means by MOLECULE, and which files belong to it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class Kind(enum.Enum):
    """What a molecule is given as; the value is how messages and presets call it."""

    SEQUENCE = "sequence"
    PDB = "PDB file"
    CIF = "mmCIF file"
    AMBER = "prmtop"
    GROMACS = "top"
    CHARMM = "psf"
    SYSTEM = "xml"
    COORDINATES = "coordinates"
    RUN = "run folder"


FORCE_FIELD_KINDS = frozenset({Kind.AMBER, Kind.GROMACS, Kind.CHARMM, Kind.SYSTEM})
"""Kinds that bring their own force field."""
SUFFIXES = {
    ".pdb": Kind.PDB,
    ".ent": Kind.PDB,
    ".cif": Kind.CIF,
    ".mmcif": Kind.CIF,
    ".pdbx": Kind.CIF,
    ".prmtop": Kind.AMBER,
    ".parm7": Kind.AMBER,
    ".parm": Kind.AMBER,
    ".top": Kind.GROMACS,
    ".psf": Kind.CHARMM,
    ".xml": Kind.SYSTEM,
    ".inpcrd": Kind.COORDINATES,
    ".rst7": Kind.COORDINATES,
    ".restrt": Kind.COORDINATES,
    ".ncrst": Kind.COORDINATES,
    ".rst": Kind.COORDINATES,
    ".crd": Kind.COORDINATES,
    ".cor": Kind.COORDINATES,
    ".gro": Kind.COORDINATES,
}
COMPANIONS = {
    Kind.AMBER: (".inpcrd", ".rst7", ".ncrst", ".restrt", ".crd", ".pdb"),
    Kind.GROMACS: (".gro", ".pdb"),
    Kind.CHARMM: (".crd", ".cor", ".pdb"),
    Kind.SYSTEM: (".pdb", ".cif"),
}
"""Suffixes of coordinate files that lie beside a topology, the usual ones first."""
PARAMETER_SUFFIXES = (".rtf", ".prm", ".par", ".str", ".inp")
_SNIFFED = 4096


@dataclass(frozen=True)
class Files:
    """What was given beside the molecule itself; the fields are those of the command line.

    Attributes:
        coordinates: file of positions; None looks for one with the same stem.
        parameters: of a CHARMM psf; none looks for those with the same stem.
        include: folders of a GROMACS top's includes.
        solvent: ``none``, ``hct``, ``obc1``, ``obc2``, ``gbn`` or ``gbn2``; None: what is usual.
        altloc: which alternate location of a PDB or mmCIF file; None: there must be none.
        force_field: force-field files (XML) of OpenMM, in place of a preset's.
    """

    coordinates: Path | None = None
    parameters: tuple[Path, ...] = ()
    include: tuple[Path, ...] = ()
    solvent: str | None = None
    altloc: str | None = None
    force_field: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls,
        coordinates: str | Path | None = None,
        parameters: str | Path | Sequence[str | Path] = (),
        include: str | Path | Sequence[str | Path] = (),
        solvent: str | None = None,
        altloc: str | None = None,
        force_field: str | Path | Sequence[str | Path] = (),
    ) -> Files:
        """From what a user of the library writes: names or paths, one or several."""
        several = [(v,) if isinstance(v, str | Path) else tuple(v) for v in (parameters, include, force_field)]
        return cls(
            None if coordinates is None else Path(coordinates),
            tuple(map(Path, several[0])),
            tuple(map(Path, several[1])),
            solvent,
            altloc,
            tuple(map(Path, several[2])),
        )

    def refuse(self, kind: Kind, *names: str) -> None:
        """Refuse what means nothing with a kind of molecule.

        Raises:
            ValueError: one of the named fields was given.
        """
        for name in names:
            if getattr(self, name):
                what = {Kind.SEQUENCE: "sequence", Kind.RUN: "run folder"}.get(kind, kind.value)
                raise ValueError(f"`{name}` means nothing for a {what}; leave it out")

    def refuse_force_field(self, kind: Kind) -> None:
        """Refuse force-field files for a molecule that brings its own.

        Raises:
            ValueError: it does.
        """
        if kind not in (Kind.SEQUENCE, Kind.PDB, Kind.CIF):
            self.refuse(kind, "force_field")


def split_model(source: str | Path) -> tuple[Path, int | None]:
    """A file and the model of it that is meant: ``FILE.pdb#2``.

    >>> split_model("nmr.pdb#3")
    (PosixPath('nmr.pdb'), 3)
    """
    text = str(source)
    stem, hash_, number = text.rpartition("#")
    if hash_ and number.isdigit() and not Path(text).exists():
        return Path(stem), int(number)
    return Path(text), None


def kind_of(source: str | Path) -> Kind:
    """What a MOLECULE is: by its suffix, and by its content where the suffix does not tell.

    >>> kind_of("AIVL"), kind_of("my.prmtop")
    (<Kind.SEQUENCE: 'sequence'>, <Kind.AMBER: 'prmtop'>)
    """
    path, _ = split_model(source)
    if (path / "config.toml").is_file():
        return Kind.RUN
    suffix = path.suffix.lower()
    if suffix in SUFFIXES or path.is_file():
        content = sniff(path) if path.is_file() else None
        if content is not None and SUFFIXES.get(suffix) not in (Kind.PDB, Kind.CIF):
            return content
        if suffix in SUFFIXES:
            return SUFFIXES[suffix]
    text = str(source)
    looks = isinstance(source, Path) or "/" in text or "\\" in text or suffix in (".gz", ".mol2", ".sdf", ".xyz")
    return Kind.PDB if looks else Kind.SEQUENCE


def sniff(path: Path) -> Kind | None:
    """The kind of a topology file by its first lines, or None where they do not tell."""
    with path.open("rb") as file:
        head = file.read(_SNIFFED).decode("latin-1")
    lines = [line for line in map(str.strip, head.splitlines()) if line and line[0] not in ";*"]
    first = lines[0] if lines else ""
    if first.startswith(("%VERSION", "%FLAG")):
        return Kind.AMBER
    if first.split()[:1] == ["PSF"]:
        return Kind.CHARMM
    if first.startswith("<") and ("<System" in head or "<?xml" in first):
        return Kind.SYSTEM
    if first.startswith(("#include", "#define", "#if")) or (first.startswith("[") and first.endswith("]")):
        return Kind.GROMACS
    return None


def companion(path: Path, suffixes: Sequence[str], what: str, option: str) -> Path:
    """The file with the same stem beside a topology.

    Args:
        path: the topology.
        suffixes: that such a file may have.
        what: it is, for the message.
        option: that names it.

    Raises:
        ValueError: there is none, or several.
    """
    found = [other for suffix in suffixes if (other := path.with_suffix(suffix)).is_file() and other != path]
    if not found:
        listed = ", ".join(path.with_suffix(suffix).name for suffix in suffixes[:3])
        raise ValueError(f"{path} has no {what} beside it ({listed} were looked for); give the file as `{option}`")
    if len(found) > 1:
        raise ValueError(
            f"{path} has several files beside it that may hold its {what}: {', '.join(p.name for p in found)}; "
            f"say which as `{option}`"
        )
    return found[0]


def check_readable(path: Path, what: str, *, binary: bool = False) -> Path:
    """Refuse a file that is not there, empty, or binary where text is expected.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, empty or binary.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; expected {what}")
    if not path.is_file():
        raise ValueError(f"{path} is not a file; expected {what}")
    with path.open("rb") as file:
        head = file.read(_SNIFFED)
    if not head.strip():
        raise ValueError(f"{path} is empty; expected {what}")
    if not binary and any(byte < 9 for byte in head):
        raise ValueError(f"{path} is a binary file; expected {what}: decompress or convert it")
    return path
