"""Molecules and configurations made by hand, so that tests of the lower rooms need no force-field library."""

import torch

from timewarp.geometry import to_positions
from timewarp.state import Atoms

ALANINE_DIPEPTIDE = Atoms(
    elements=tuple("HCHHCONHCHCHHHCONHCHHH"),
    names=tuple("H1 CH3 H2 H3 C O N H CA HA CB HB1 HB2 HB3 C O N H C H1 H2 H3".split()),  # noqa: SIM905
    residue_names=("ACE",) * 6 + ("ALA",) * 10 + ("NME",) * 6,
    residue_numbers=(0,) * 6 + (1,) * 10 + (2,) * 6,
    masses=tuple({"H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999}[e] for e in "HCHHCONHCHCHHHCONHCHHH"),
    charges=(
        *(0.1123, -0.3662, 0.1123, 0.1123, 0.5972, -0.5679, -0.4157, 0.2719, 0.0337, 0.0823, -0.1825),
        *(0.0603, 0.0603, 0.0603, 0.5973, -0.5679, -0.4157, 0.2719, -0.149, 0.0976, 0.0976, 0.0976),
    ),
    bonds=(
        *((0, 1), (1, 2), (1, 3), (1, 4), (4, 5), (4, 6), (6, 7), (6, 8), (8, 9), (8, 10), (10, 11)),
        *((10, 12), (10, 13), (8, 14), (14, 15), (14, 16), (16, 17), (16, 18), (18, 19), (18, 20), (18, 21)),
    ),
)


def random_internal(atoms: Atoms, n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Plausible internal coordinates: stiff ones near tetrahedral values, proper torsions anywhere."""
    generator = torch.Generator().manual_seed(seed)

    def noise(scale: float) -> torch.Tensor:
        return scale * torch.randn(n, atoms.n_atoms, generator=generator, dtype=torch.float64)

    tree = atoms.tree
    bond, angle = 0.13 + noise(0.003), 1.95 + noise(0.05)
    rank: dict[int, int] = {}
    dihedral = noise(0.1)
    for atom in tree.order[3:]:
        sibling = tree.first_sibling[atom]
        rank[sibling] = rank.get(sibling, 0) + 1
        if sibling != atom:
            dihedral[:, atom] += 2.1 * (1 if rank[sibling] % 2 else -1)
    uniform = torch.rand(n, len(tree.rotatable), generator=generator, dtype=torch.float64)
    dihedral[:, list(tree.rotatable)] = torch.pi * (2 * uniform - 1)
    internal = torch.stack([bond, angle, dihedral], -1)
    return torch.where(tree.defined, internal, 0.0).to(dtype)


def random_positions(atoms: Atoms, n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Positions of :func:`random_internal` in an arbitrary frame."""
    frame = torch.randn(n, atoms.n_atoms, 3, generator=torch.Generator().manual_seed(seed + 1), dtype=dtype)
    return to_positions(random_internal(atoms, n, seed, dtype), atoms.tree, frame)
