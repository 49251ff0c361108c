"""Runs of two small molecules whose atoms wobble about a shape that drifts and tumbles, and their elastic energies."""

from pathlib import Path

import torch

from handmade import ALANINE_DIPEPTIDE, random_positions
from timewarp.geometry import random_rotations
from timewarp.state import Atoms
from timewarp.trajectories import RunFolder

METHANOL = Atoms(
    elements=tuple("COHHHH"),
    names=("C", "O", "HO", "H1", "H2", "H3"),
    residue_names=("XXX",) * 6,
    residue_numbers=(1,) * 6,
    masses=(12.0, 16.0, 1.0, 1.0, 1.0, 1.0),
    charges=(0.1, -0.5, 0.4, 0.0, 0.0, 0.0),
    bonds=((0, 1), (1, 2), (0, 3), (0, 4), (0, 5)),
)
MOLECULES = (METHANOL, ALANINE_DIPEPTIDE)
SHAPES = tuple(random_positions(atoms, 1, seed=3)[0].double() for atoms in MOLECULES)
SPACING_PS = 2.0
WOBBLE_NM = {"H": 0.02, "C": 0.004, "N": 0.004, "O": 0.004}
WOBBLES = tuple(torch.tensor([[WOBBLE_NM[e]] for e in atoms.elements], dtype=torch.float64) for atoms in MOLECULES)
MEMORY = 0.7
TINY = {"n_couplings": 4, "n_layers": 1, "width": 16, "feed_forward": 32, "mlp_hidden": 16, "embedding": 8}


def elastic(positions: torch.Tensor, molecule: torch.Tensor) -> torch.Tensor:
    """U / kT: a spring between each two atoms, at rest in the molecule's shape; sees no rigid motion."""
    energies = positions.new_zeros(len(positions))
    for number, shape in enumerate(SHAPES):
        rows = (molecule == number).nonzero()[:, 0]
        i, j = torch.triu_indices(len(shape), len(shape), 1)
        rest = (shape[i] - shape[j]).norm(dim=-1).to(positions)
        x = positions[rows]
        stretch = (x[:, i] - x[:, j]).norm(dim=-1) - rest
        variance = (WOBBLES[number][i] ** 2 + WOBBLES[number][j] ** 2)[:, 0].to(positions)
        energies = energies.index_add(0, rows, (stretch.square() / variance).sum(-1) / len(shape))
    return energies


def wobbling(number: int, frames: int, seed: int, tumbling: bool, chains: int = 2) -> torch.Tensor:
    """Frames (frames, chains, atoms, 3) of an Ornstein-Uhlenbeck process about the shape, anywhere if it tumbles."""
    generator = torch.Generator().manual_seed(seed)
    shape = SHAPES[number]
    rows = [torch.randn(chains, *shape.shape, generator=generator, dtype=torch.float64)]
    for _ in range(frames - 1):
        kick = torch.randn(rows[0].shape, generator=generator, dtype=torch.float64)
        rows.append(MEMORY * rows[-1] + (1 - MEMORY**2) ** 0.5 * kick)
    turned = (shape + WOBBLES[number] * torch.stack(rows)).flatten(0, 1)
    if not tumbling:
        return turned.unflatten(0, (frames, chains)).float()
    turned = turned @ random_rotations(frames * chains, generator, dtype=torch.float64)
    drift = 5 * torch.randn(frames * chains, 1, 3, generator=generator, dtype=torch.float64)
    return (turned + drift).unflatten(0, (frames, chains)).float()


def lagged_run(
    path: Path, number: int = 0, frames: int = 200, kind: str = "md", *, tumbling: bool = True, **config
) -> Path:
    """A run folder with a frame every 2 ps, as `timewarp simulate` leaves it."""
    atoms = MOLECULES[number]
    settings = {"timestep_fs": 2.0, "temperature_K": 310.0, **config}
    run = RunFolder.create(path, kind=kind, name=atoms.residues, atoms=atoms, topology_pdb="END\n", config=settings)
    steps = torch.arange(1, frames + 1) * round(SPACING_PS * 500)
    positions = wobbling(number, frames, number, tumbling)
    run.append(0, positions, torch.zeros(frames, 2, dtype=torch.float64), steps, {})
    return path
