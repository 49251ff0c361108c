"""Make the OpenMM System of a topology under a preset, with the native GB force wherever the physics is the same."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from functools import lru_cache
from pathlib import Path

import numpy as np
import openmm
import openmm.app
from openmm import unit
from openmm.app import Atom, CutoffNonPeriodic, ForceField, NoCutoff, Residue, Topology
from openmm.app.internal.customgbforces import GBSAGBn2Force

from ..state import CAPS
from .presets import Preset
from .residues import RESIDUES, find_residue
from .sequences import OTHER_WAYS

OBC_OFFSET_NM = 0.009
"""Dielectric offset of the OBC models; OpenMM's native force has it built in."""
SURFACE_AREA_ENERGY = 2.25936
"""Of the ACE surface term in kJ/(mol nm^2); ``CustomGBForce`` writes 4 pi times it, 28.3919551."""


GBN2_OFFSET_NM = 0.0195141
"""Dielectric offset of GBn and GBn2."""
DATA = Path(__file__).parent / "data"
OURS = "timewarp:"
"""Begins the name of a force-field file that is this package's."""
_PHOSPHORYLATED = {
    "amber14-all.xml": f"{OURS}phosaa14SB.xml",
    "amber14/protein.ff14SB.xml": f"{OURS}phosaa14SB.xml",
    "amber19-all.xml": f"{OURS}phosaa19SB.xml",
    "amber19/protein.ff19SB.xml": f"{OURS}phosaa19SB.xml",
}
"""By protein force field, the file with its phosphorylated residues; loaded where a molecule has one."""

_CHARMM_PATCHES = (
    *("NTER", "GLYP", "PROP", "ACE", "NNEU", "NGNE", "CTER", "CNEU", "CT1", "CT2", "CT3"),
    *("ASPP", "GLUP", "LSN", "CYSD", "DISU"),
)
"""Patches of ends and protonation states, and the disulphide."""


@lru_cache(maxsize=8)
def load_force_field(files: tuple[str, ...]) -> ForceField:
    """OpenMM's force field from its XML files, parsed once per process.

    Raises:
        ValueError: a file is not there, or is no force field of OpenMM.
    """
    try:
        return ForceField(*(_openable(file) for file in files))
    except Exception as error:  # OpenMM's parser raises many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"the force field {', '.join(files)} cannot be read: {reason}; expected force-field files (XML) of OpenMM, "
            "each after those that it builds on"
        ) from None


def _openable(file: str) -> str | io.StringIO:
    """What OpenMM opens for a name of :class:`Preset`."""
    if file.startswith(OURS):
        return str(DATA / file.removeprefix(OURS))
    return _peptides_of_charmm() if file == "charmm36.xml" else file


def _peptides_of_charmm() -> io.StringIO:
    """OpenMM's ``charmm36.xml`` with the templates of amino acids alone.

    Among its 801 templates are whole small molecules, such as alanine dipeptide twice, for which OpenMM cannot choose
    between equal bond graphs; and it would try each patch on each of them, for ten seconds a molecule. The hydrogens
    that the caps CT1, CT2 and CT3 add are renamed, for OpenMM does not put them on a residue whose other end has NTER,
    which adds hydrogens of the same names.
    """
    root = ElementTree.parse(Path(openmm.app.__file__).parent / "data" / "charmm36.xml").getroot()
    residues, patches = root.find("Residues"), root.find("Patches")
    assert residues is not None
    assert patches is not None
    for residue in list(residues):
        if not {"N", "C"} <= {bond.get("atomName") for bond in residue.findall("ExternalBond")}:
            residues.remove(residue)
    for patch in list(patches):
        if patch.get("name") not in _CHARMM_PATCHES:
            patches.remove(patch)
        elif patch.get("name", "").startswith("CT"):
            for element in patch:
                for key in ("name", "atomName1", "atomName2"):
                    if element.get(key, "").startswith("HT"):
                        element.set(key, f"{element.get(key)}C")
    for residue in residues:
        for allowed in residue.findall("AllowPatch"):
            if allowed.get("name") not in _CHARMM_PATCHES:
                residue.remove(allowed)
    return io.StringIO(ElementTree.tostring(root, encoding="unicode"))


def create_system(topology: Topology, preset: Preset, positions: np.ndarray | None = None) -> openmm.System:
    """System without constraints and without a centre-of-mass motion remover.

    OBC2 becomes the native ``GBSAOBCForce``: the same energy as the XML's ``CustomGBForce``, about 25 times
    faster on a CPU. The other models have no native form and stay a ``CustomGBForce``. Under GBn2 the carbonyl oxygen
    of a neutral acid has the radius that LEaP gives it, 0.15 nm; OpenMM takes it for a carboxylate's.
    The CMAP of a D residue is that of its mirror image, turned over.

    Args:
        topology: complete.
        preset: the force field.
        positions: (atoms, 3) in nm, which tell D from L residues; None: their names do.

    Raises:
        ValueError: the force field has no parameters for the molecule.
    """
    system = create_reference_system(topology, preset)
    _turn_cmaps(system, d_alphas(topology, positions))
    if preset.solvent == "obc2":
        if any(isinstance(force, openmm.CustomGBForce) and not _is_obc2(force) for force in system.getForces()):
            raise ValueError(
                f"preset {preset.name!r} says solvent 'obc2', but {preset.force_field} is another GB model"
            )
        use_native_gb(system)
    elif preset.solvent == "gbn2" and (carbonyls := neutral_carbonyls(topology)):
        _replace_gbn2(system, as_templates(topology, preset), carbonyls)
    return system


def create_reference_system(topology: Topology, preset: Preset) -> openmm.System:
    """The System exactly as the force field's XML files make it (the reference of the native one)."""
    arguments = {"nonbondedMethod": NoCutoff}
    if preset.cutoff_nm is not None:
        arguments = {"nonbondedMethod": CutoffNonPeriodic, "nonbondedCutoff": preset.cutoff_nm * unit.nanometer}
    force_field = load_force_field(_files_for(topology, preset))
    try:
        return force_field.createSystem(
            as_templates(topology, preset), constraints=None, rigidWater=False, removeCMMotion=False, **arguments
        )
    except Exception as error:  # OpenMM raises many kinds
        raise ValueError(_explain(str(error), topology, preset)) from None


def as_templates(topology: Topology, preset: Preset) -> Topology:
    """The topology as a force field's templates have it, with the same atoms in the same order.

    D residues are called as their mirror images, for OpenMM's radii of arginine go by its name. CHARMM's caps are
    patches of the residue next to them, and so belong to it. The topology itself where nothing changes.
    """
    labels = {kind.label: kind.amino_acid for kind in RESIDUES.values() if kind.handedness == "D" and kind.letter}
    is_charmm = any("charmm" in Path(file).name for file in preset.force_field)
    residues = list(topology.residues())
    merged = is_charmm and len(residues) > 1 and bool(CAPS & {residues[0].name, residues[-1].name})
    if not merged and not any(residue.name in labels for residue in residues):
        return topology
    copy = Topology()
    chain = copy.addChain("A")
    atoms: dict[Atom, Atom] = {}
    here: Residue | None = None
    for index, residue in enumerate(residues):
        behind_cap = merged and index == 1 and residues[0].name in CAPS
        if here is None or not (merged and (behind_cap or residue.name in CAPS)):
            source = residues[1] if merged and index == 0 and residue.name in CAPS else residue
            here = copy.addResidue(labels.get(source.name, source.name), chain, source.id)
        for atom in residue.atoms():
            atoms[atom] = copy.addAtom(atom.name, atom.element, here)
    for one, other in topology.bonds():
        copy.addBond(atoms[one], atoms[other])
    return copy


def _files_for(topology: Topology, preset: Preset) -> tuple[str, ...]:
    phosphates = [r.name for r in topology.residues() if any(atom.name == "P" for atom in r.atoms())]
    extra = [_PHOSPHORYLATED[file] for file in preset.force_field if file in _PHOSPHORYLATED]
    if not (phosphates and extra):
        return preset.force_field
    at = max(preset.force_field.index(file) for file in preset.force_field if file in _PHOSPHORYLATED) + 1
    return (*preset.force_field[:at], extra[0], *preset.force_field[at:])


def _explain(error: str, topology: Topology, preset: Preset) -> str:
    """Which residue has no template, by its name and its number in the chain, and what to do."""
    reason = " ".join(error.split("For more information")[0].split()).rstrip(".")
    found = re.search(r"No template found for residue (\d+)", reason)
    residues = list(as_templates(topology, preset).residues())
    start = f"the force field of preset {preset.name!r} does not cover this molecule"
    if found is None or int(found[1]) >= len(residues):
        return f"{start}: {reason}; correct the residue's atoms and protonation, or choose another preset"
    residue = residues[int(found[1])]
    where = f"{residue.name} {residue.id}"
    kind = find_residue(residue.name)
    if kind is not None and kind.is_cap:
        return f"{start}: it has no cap {residue.name}; choose another preset, or leave the cap out"
    has_phosphates = bool(set(preset.force_field) & set(_PHOSPHORYLATED))
    if any(atom.name == "P" for atom in residue.atoms()) and not has_phosphates:
        return (
            f"{start}: it has no parameters of the phosphorylated residue {where}; phosphorylated residues have them "
            "under the presets of ff14SB and ff19SB (amber14-obc2, ff14SBonlysc-gbn2, ff19SB-gbn2)"
        )
    ends = {0: "in front of", len(residues) - 1: "at the end of"}
    if kind is not None and (kind.variant or kind.parent == kind.name) and residue.index in ends and len(residues) > 1:
        return (
            f"{start}: it has no template of {where} {ends[residue.index]} a chain; cap that end (Ace- in front, -Nme "
            f"or -NH2 behind), or choose another preset ({reason})"
        )
    return (
        f"{start}: {where} has no template ({reason}); correct its atoms and protonation, choose another preset, or "
        f"{OTHER_WAYS}"
    )


def d_alphas(topology: Topology, positions: np.ndarray | None) -> set[int]:
    """Indices of the alpha carbons of D residues."""
    labels = {kind.label for kind in RESIDUES.values() if kind.handedness == "D" and kind.letter}
    found = set()
    for residue in topology.residues():
        index = {atom.name: atom.index for atom in residue.atoms()}
        if not {"N", "CA", "C", "CB"} <= index.keys():
            continue
        is_d = residue.name in labels
        if positions is not None:
            n, c, cb = (positions[index[name]] - positions[index["CA"]] for name in ("N", "C", "CB"))
            is_d = float(np.dot(n, np.cross(c, cb))) < 0
        if is_d:
            found.add(index["CA"])
    return found


def _turn_cmaps(system: openmm.System, alphas: set[int]) -> None:
    """Give these alpha carbons maps E(-phi, -psi) in place of E(phi, psi): both are of L residues in a force field."""
    for force in system.getForces():
        if not isinstance(force, openmm.CMAPTorsionForce):
            continue
        turned: dict[int, int] = {}
        for i in range(force.getNumTorsions()):
            which, *atoms = force.getTorsionParameters(i)
            if atoms[2] not in alphas:
                continue
            if which not in turned:
                size, energies = force.getMapParameters(which)
                grid = np.array(energies._value).reshape(size, size)
                back = -np.arange(size) % size
                turned[which] = force.addMap(size, grid[np.ix_(back, back)].ravel())
            force.setTorsionParameters(i, turned[which], *atoms)


def neutral_carbonyls(topology: Topology) -> list[int]:
    """Oxygens C=O of carboxylic acids: atom indices."""
    bonded: dict[Atom, list[Atom]] = {atom: [] for atom in topology.atoms()}
    for one, other in topology.bonds():
        bonded[one].append(other)
        bonded[other].append(one)
    found = []
    for atom in topology.atoms():
        if not _is(atom, "O") or len(bonded[atom]) != 1 or not _is(bonded[atom][0], "C"):
            continue
        beside = [other for other in bonded[bonded[atom][0]] if other is not atom and _is(other, "O")]
        if any(len(bonded[other]) == 2 and any(_is(a, "H") for a in bonded[other]) for other in beside):
            found.append(atom.index)
    return found


def _is(atom: Atom, symbol: str) -> bool:
    return atom.element is not None and atom.element.symbol == symbol


def _replace_gbn2(system: openmm.System, topology: Topology, carbonyls: list[int]) -> None:
    """The GBn2 force with other radii of some oxygens, in place."""
    (index,) = [i for i, force in enumerate(system.getForces()) if isinstance(force, openmm.CustomGBForce)]
    given = system.getForce(index)
    cutoff = None
    if given.getNonbondedMethod() == openmm.CustomGBForce.CutoffNonPeriodic:
        cutoff = given.getCutoffDistance().value_in_unit(unit.nanometer)
    force = GBSAGBn2Force(SA="ACE", cutoff=cutoff)
    radii = np.array(GBSAGBn2Force.getStandardParameters(topology))
    radii[carbonyls, 0] = 0.15
    for i, row in enumerate(radii):
        force.addParticle([given.getParticleParameters(i)[0], *row])
    force.finalize()
    force.setNonbondedMethod(given.getNonbondedMethod())
    if cutoff is not None:
        force.setCutoffDistance(cutoff)
    system.removeForce(index)
    system.addForce(force)


def use_native_gb(system: openmm.System) -> None:
    """Replace a ``CustomGBForce`` by the native OBC2 force, in place; a native one stays.

    That of an OBC model keeps its parameters. Others (HCT, GBn, GBn2) are replaced by OBC2 with their radii, which is
    another solvent: good for the way down to a minimum alone.
    """
    custom = [i for i, force in enumerate(system.getForces()) if isinstance(force, openmm.CustomGBForce)]
    for index in reversed(custom):
        force = system.getForce(index)
        native = native_obc2(force) if force.getNumPerParticleParameters() == 3 else _rough_obc2(system, force)
        system.removeForce(index)
        system.addForce(native)


def native_obc2(custom: openmm.CustomGBForce) -> openmm.GBSAOBCForce:
    """The ``GBSAOBCForce`` with the parameters of the ``CustomGBForce`` that ``implicit/obc2.xml`` makes.

    The custom force stores the offset radius and its product with the scale factor; the native one wants the radius
    and the scale factor themselves. Its Coulomb constant differs by 2e-7, relative; all else is the same. With a
    cutoff, both shift the pair term by 1/cutoff.
    """
    native = openmm.GBSAOBCForce()
    native.setSolventDielectric(_constant(custom, "solventDielectric"))
    native.setSoluteDielectric(_constant(custom, "soluteDielectric"))
    native.setSurfaceAreaEnergy(SURFACE_AREA_ENERGY)
    for i in range(custom.getNumParticles()):
        charge, offset_radius, scaled_radius = custom.getParticleParameters(i)
        native.addParticle(charge, offset_radius + OBC_OFFSET_NM, scaled_radius / offset_radius)
    if custom.getNonbondedMethod() == openmm.CustomGBForce.CutoffNonPeriodic:
        native.setNonbondedMethod(openmm.GBSAOBCForce.CutoffNonPeriodic)
        native.setCutoffDistance(custom.getCutoffDistance())
    return native


def _rough_obc2(system: openmm.System, custom: openmm.CustomGBForce) -> openmm.GBSAOBCForce:
    """OBC2 with the radii of a GBn or GBn2 force and the scale factors of Hawkins, Cramer & Truhlar (1996)."""
    scales = {1: 0.85, 12: 0.72, 14: 0.79, 16: 0.85, 19: 0.88, 31: 0.86, 32: 0.96}
    native = openmm.GBSAOBCForce()
    for i in range(custom.getNumParticles()):
        charge, offset_radius = custom.getParticleParameters(i)[:2]
        mass = round(system.getParticleMass(i).value_in_unit(unit.dalton))
        native.addParticle(charge, offset_radius + GBN2_OFFSET_NM, scales.get(mass, 0.8))
    return native


def _is_obc2(custom: openmm.CustomGBForce) -> bool:
    values = {custom.getComputedValueParameters(i)[1].replace(" ", "") for i in range(custom.getNumComputedValues())}
    return any("tanh(psi-0.8*psi^2+4.85*psi^3)" in value for value in values)


def _constant(custom: openmm.CustomGBForce, name: str) -> float:
    """A constant that OpenMM writes into the energy expressions (``name=value``)."""
    found = re.search(rf"\b{name}=([-+.\deE]+)", custom.getEnergyTermParameters(0)[0])
    if found is None:
        raise ValueError(
            f"the force field's CustomGBForce does not say its {name}; this OpenMM version is not supported"
        )
    return float(found.group(1))
