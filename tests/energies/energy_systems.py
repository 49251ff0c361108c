"""Small systems, each with one force, for the energy tests; and peptides, built once."""

from functools import cache

import openmm
import torch
from torch import Tensor

from timewarp.energies import OpenMMEvaluator, Potential, compile_system
from timewarp.molecules import Molecule, build_molecule

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
PRESET_NAMES = ("amber14-obc2", "amber14-obc1", "amber99sbildn-obc", "amber14-vacuum")


@cache
def peptide(name: str, preset: str = "amber14-obc2") -> Molecule:
    return build_molecule(name, preset, minimise=False)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(positions: Tensor, n: int, width_nm: float = 0.01, seed: int = 0) -> Tensor:
    """Configurations around one, with Gaussian noise: away from every minimum, so that each term has a gradient."""
    noise = torch.randn(n, *positions.shape, generator=seeded(seed), dtype=torch.float64)
    return positions + width_nm * noise


def scattered(n: int, n_atoms: int, width_nm: float = 0.3, closest_nm: float = 0.08, seed: int = 0) -> Tensor:
    """Random configurations in which no two atoms are closer than ``closest_nm``."""
    found: list[Tensor] = []
    generator = seeded(seed)
    while len(found) < n:
        x = width_nm * torch.randn(n_atoms, 3, generator=generator, dtype=torch.float64)
        if torch.pdist(x).min() > closest_nm:
            found.append(x)
    return torch.stack(found)


def system_of(n_atoms: int, *forces: openmm.Force) -> openmm.System:
    system = openmm.System()
    for _ in range(n_atoms):
        system.addParticle(12.0)
    for force in forces:
        system.addForce(openmm.XmlSerializer.clone(force))
    return system


def potential_of(system: openmm.System, dtype: torch.dtype = torch.float64) -> Potential:
    return Potential(compile_system(system), dtype)


def relative_errors(system: openmm.System, positions: Tensor) -> tuple[float, float]:
    """Largest errors of energy and force against OpenMM's Reference platform, as energy_tolerances defines them."""
    potential = potential_of(system)
    energy, forces = potential.energy_and_forces(positions)
    expected, expected_forces = OpenMMEvaluator(system).energy_and_forces(positions)
    assert torch.isfinite(expected).all()
    scale = torch.stack([e.abs() for e in potential.energy_terms(positions).values()]).sum(0).clamp_min(1.0)
    energy_error = ((energy - expected).abs() / scale).max()
    largest = expected_forces.abs().amax((1, 2)).clamp_min(1.0)
    force_error = ((forces - expected_forces).abs().amax((1, 2)) / largest).max()
    return float(energy_error), float(force_error)


def openmm_terms(system: openmm.System, positions: Tensor) -> dict[str, Tensor]:
    """OpenMM's energies by the class name of the force."""
    system = openmm.XmlSerializer.clone(system)
    names: dict[str, int] = {}
    for force in system.getForces():
        force.setForceGroup(names.setdefault(type(force).__name__, len(names)))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    energies = positions.new_empty(len(names), len(positions))
    for b, configuration in enumerate(positions.numpy()):
        context.setPositions(configuration)
        for group in names.values():
            energies[group, b] = context.getState(getEnergy=True, groups=1 << group).getPotentialEnergy()._value
    return {name: energies[group] for name, group in names.items()}
