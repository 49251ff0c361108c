"""Four atoms in a chain, C-S-S-C: bonds, angles and torsion are independent, so that their distributions are known."""

import math

import openmm
import torch
from openmm.app import Topology

from timewarp.molecules import Molecule, get_preset
from timewarp.state import Atoms

BARRIER, TILT = 20.0, 1.5
BOND_STIFFNESS = 250000.0

ATOMS = Atoms(
    elements=("C", "S", "S", "C"),
    names=("C1", "S2", "S3", "C4"),
    residue_names=("TOY",) * 4,
    residue_numbers=(1,) * 4,
    masses=(6.0, 12.0, 12.0, 6.0),
    charges=(0.0,) * 4,
    bonds=((0, 1), (1, 2), (2, 3)),
)


def torsion_energy(phi):
    """In kJ/mol: wells near +-90 degrees between barriers of 40 kJ/mol, the one at -90 lower by 2 * TILT."""
    return BARRIER * (1 + torch.cos(2 * phi)) + TILT * (1 + torch.sin(phi))


def toy_molecule(name="toy", barrier=BARRIER, tilt=TILT):
    """The molecule, in the upper well."""
    system = openmm.System()
    for mass in ATOMS.masses:
        system.addParticle(mass)
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for i, j in ATOMS.bonds:
        bonds.addBond(i, j, 0.15, BOND_STIFFNESS)
    for i in range(2):
        angles.addAngle(i, i + 1, i + 2, math.radians(112), 500.0)
    torsions.addTorsion(0, 1, 2, 3, 2, 0.0, barrier)
    torsions.addTorsion(0, 1, 2, 3, 1, math.pi / 2, tilt)
    for force in (bonds, angles, torsions):
        system.addForce(force)
    s, c = math.sin(math.radians(112)), -math.cos(math.radians(112))
    x = 0.15 * torch.tensor([[-c, s, 0], [0, 0, 0], [1, 0, 0], [1 + c, 0, s]], dtype=torch.float64)
    return Molecule(
        name=name,
        preset=get_preset("amber14-vacuum"),
        topology=Topology(),
        system=system,
        start_positions=x,
        atoms=ATOMS,
    )
