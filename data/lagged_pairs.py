"""Pairs of frames a lag apart, by plain MD from the equilibrium frames of a compact set; a Cartesian network's data.

    python data/lagged_pairs.py data/peptides.safetensors --length 2 --out RUN

Each peptide of the asked-for length has replicas that start at frames spread over its own, with thermal velocities, so
that no time goes into finding the equilibrium. After a short burn-in each runs for the lag and a stretch beyond. A pair
is a frame of the stretch's beginning and the frame a lag later; since the dynamics is reversible in equilibrium, the
same pair in the other order is one as well. There is one file for each peptide, and those that exist are kept.

    python data/lagged_pairs.py data/peptides.safetensors --length 2 --out RUN --merge data/pairs.safetensors --stride 5

puts them into one file, every fifth frame of the stretch. With ``--stand-in``, peptides to learn from whose MD is not
there yet have pairs of their own equilibrium frames in its place, drawn so that side chains are mostly alike: bonds,
angles and backbones can be learnt from them long before all MD is done.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import time
from pathlib import Path

import numpy as np
import torch

from timewarp.analysis import soft_torsions
from timewarp.energies import Parameters
from timewarp.files import sha256
from timewarp.geometry import measure_dihedrals
from timewarp.restriction import Restriction
from timewarp.simulation.langevin import BatchedLangevin
from timewarp.state import repartition_hydrogen_mass
from timewarp.trajectories.compact import CompactMolecule, read_compact, to_fixed_point, write_compact

STAND_IN_KT = {"chi": 3.0, "phi": 1.0}
"""Of each kind of torsion, k of the weight exp(-k (1 - cos)) of a turn."""
TIMESTEP_FS, FRICTION_PER_PS, HYDROGEN_MASS_DA = 2.0, 1.0, 3.0


def simulate(molecule: CompactMolecule, args: argparse.Namespace) -> CompactMolecule:
    """Pairs of one peptide, from plain Langevin dynamics."""
    engine = BatchedLangevin(
        Parameters(**molecule.parameters),
        molecule.atoms,
        repartition_hydrogen_mass(molecule.atoms, HYDROGEN_MASS_DA).numpy(),
        temperature_K=molecule.temperature_K,
        friction_per_ps=FRICTION_PER_PS,
        timestep_fs=TIMESTEP_FS,
        seed=args.seed,
        threads=args.threads,
    )
    frames = molecule.positions
    rows = torch.linspace(0, len(frames) - 1, min(args.replicas, len(frames))).round().long()
    replicas = engine.start(frames[rows].double().numpy())
    steps = round(args.spacing * 1000 / TIMESTEP_FS)
    engine.advance(replicas, 1, round(args.burn_in * 1000 / TIMESTEP_FS), burn_in=True)
    replicas.step = 0
    apart, early = round(args.lag / args.spacing), round(args.stretch / args.spacing) + 1
    made = engine.advance(replicas, apart + early, steps)
    x = torch.from_numpy(made.positions)  # (times, replicas, atoms, 3)
    good = torch.from_numpy(np.isfinite(made.energies)) & ~Restriction(frames[0], molecule.atoms).crossed(x)
    good = good.cummin(0).values  # a replica that has left its pattern is left out from then on
    kept = torch.tensor([t for t in range(apart + early) if t < early or t >= apart])
    number = torch.arange(len(kept) * x.shape[1]).reshape(len(kept), -1)
    place = {int(t): k for k, t in enumerate(kept)}
    first = torch.arange(early)
    later = torch.tensor([place[int(t) + apart] for t in first])
    both = torch.stack([number[first], number[later]], -1)[good[first + apart]]
    pairs = torch.cat([both, both.flip(-1)])
    if len(pairs) == 0:
        raise ValueError(f"all replicas of {molecule.name} left the chirality or cis/trans pattern")
    positions = to_fixed_point(x[kept].flatten(0, 1).nan_to_num())
    return dataclasses.replace(molecule, frames=positions, pairs=pairs, lag_ps=args.lag)


def stand_in(molecule: CompactMolecule, lag_ps: float, partners: int = 4) -> CompactMolecule:
    """Pairs of equilibrium frames that could be a lag apart: chi mostly in its well, phi near by, psi anywhere."""
    torsions = soft_torsions(molecule.atoms)
    angles = measure_dihedrals(molecule.positions, torch.tensor(list(torsions.values())))
    stiffness = torch.tensor(
        [next((k for kind, k in STAND_IN_KT.items() if n.startswith(kind)), 0.0) for n in torsions]
    )
    log_weight = -(1 - (angles[:, None] - angles).cos()) @ stiffness
    weight = log_weight.fill_diagonal_(-torch.inf).softmax(-1)
    later = torch.multinomial(weight, partners, generator=torch.Generator().manual_seed(0)).flatten()
    both = torch.stack([torch.arange(len(angles)).repeat_interleave(partners), later], -1)
    return dataclasses.replace(molecule, pairs=torch.cat([both, both.flip(-1)]), lag_ps=lag_ps)


def thinned(molecule: CompactMolecule, stride: int, replicas: int) -> CompactMolecule:
    """Every ``stride``-th time of the stretch, and only the frames that pairs still name."""
    assert molecule.pairs is not None
    pairs = molecule.pairs[(molecule.pairs.min(1).values // replicas) % stride == 0]
    used, renumbered = pairs.unique(return_inverse=True)
    return dataclasses.replace(molecule, frames=molecule.frames[used], pairs=renumbered.reshape(pairs.shape))


def main() -> None:
    """Simulate, or merge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, nargs="+", help="compact sets of equilibrium frames (timewarp pack)")
    parser.add_argument("--length", type=int, help="residues of the peptides; those of other lengths are left out")
    parser.add_argument("--out", type=Path, required=True, help="folder of the peptides' files")
    parser.add_argument("--lag", type=float, default=500.0, help="ps between the frames of a pair (default 500)")
    parser.add_argument("--stretch", type=float, default=250.0, help="ps in which pairs begin (default 250)")
    parser.add_argument("--spacing", type=float, default=10.0, help="ps between frames (default 10)")
    parser.add_argument("--burn-in", type=float, default=10.0, help="ps before the first frame (default 10)")
    parser.add_argument("--replicas", type=int, default=16, help="starts of each peptide (default 16)")
    parser.add_argument("--seed", type=int, default=1, help="of velocities and noise (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="(default 1)")
    parser.add_argument("--merge", type=Path, metavar="FILE", help="put what is there into one file, simulate nothing")
    parser.add_argument("--stand-in", action="store_true", help="pairs of equilibrium frames where there is no MD yet")
    parser.add_argument("--stride", type=int, default=1, help="of the merged file: every N-th frame (default 1)")
    args = parser.parse_args()
    molecules = [m for path in args.set for m in read_compact(path)]
    molecules = [m for m in molecules if args.length in (None, m.atoms.n_amino_acids)]
    if args.length == 2:
        molecules = [m for m in molecules if len(m.name) == 2]  # capped residues are no dipeptides
    if args.merge is not None:
        found = []
        for m in molecules:
            path = args.out / f"{m.name}.safetensors"
            if path.exists():
                found += [thinned(made, args.stride, args.replicas) for made in read_compact(path)]
            elif args.stand_in and m.split == "train":
                found.append(stand_in(m, args.lag))
        write_compact(args.merge, found)
        frames, pairs = (sum(len(getattr(m, n)) for m in found) for n in ("frames", "pairs"))
        size = args.merge.stat().st_size / 2**20
        print(f"{len(found)} of {len(molecules)} peptides, {frames} frames, {pairs} pairs, {size:.1f} MiB")
        print(f"sha256 {sha256(args.merge)}")
        return
    random.Random(0).shuffle(molecules)  # so that any part of the list has seen all residues
    args.out.mkdir(parents=True, exist_ok=True)
    for number, molecule in enumerate(molecules):
        path = args.out / f"{molecule.name}.safetensors"
        if path.exists():
            continue
        began = time.monotonic()
        made = simulate(molecule, args)
        assert made.pairs is not None
        write_compact(path, [made])
        took = time.monotonic() - began
        print(f"{number + 1}/{len(molecules)} {made.name} {len(made.pairs)} pairs {took:.1f} s", flush=True)


if __name__ == "__main__":
    main()
