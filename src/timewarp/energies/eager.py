"""The plain torch version of the potential energy: runs on any device, and is the oracle of the compiled kernel."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..shapes import Float
from .bonded import Angles, Bonds, Impropers, Maps, Torsions
from .born import Born
from .pairs import Distances, Plain
from .parameters import Parameters
from .rows import SumPlan, moved
from .threads import run_all

CPU_CHUNK_NUMBERS = 65536
"""Numbers (pairs times configurations) per chunk and core, so that temporaries stay in the cache."""
SMALLEST_CPU_CHUNK_NUMBERS = 16384
"""A batch is not cut into smaller pieces than this to occupy more cores."""
GPU_CHUNK_NUMBERS = 2**25
SIMD_WIDTH = 16


class TorchEvaluator:
    """Energies and forces of a molecule in torch.

    Args:
        parameters: of the molecule.
        dtype: of the computation.
        device: where the positions are.
        compiled: run each chunk through ``torch.compile`` (of use on a GPU; needs a working compiler).
    """

    def __init__(
        self, parameters: Parameters, dtype: torch.dtype, device: torch.device, compiled: bool = False
    ) -> None:
        self.dtype, self.device = dtype, device
        if device.type == "cpu":
            _keep_freed_memory()
        n_atoms = parameters.n_atoms
        i, j = torch.triu_indices(n_atoms, n_atoms, 1)
        self._n_pairs = max(len(i), 1)
        tables: dict[str, Any] = {
            "bonds": Bonds.build(parameters),
            "angles": Angles.build(parameters),
            "torsions": Torsions.build(parameters),
            "impropers": Impropers.build(parameters),
            "cmap": Maps.build(parameters),
        }
        self._bonded = {name: moved(t, dtype, device) for name, t in tables.items() if t is not None}
        self._distances = moved(Distances.build(i, j, n_atoms), dtype, device)
        self._pair_sum = moved(SumPlan.build(i, n_atoms), dtype, device)
        self._plain = moved(Plain.build(parameters), dtype, device)
        born = Born.build(parameters, i, j)
        self._born = None if born is None else moved(born, dtype, device)
        self._chunk: Callable[..., tuple[Tensor, Tensor | None]] = self._evaluate_chunk
        if compiled:
            self._compiled = torch.compile(self._evaluate_chunk, dynamic=False)
            self._chunk = self._compile

    def _compile(self, x: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        """Run a compiled chunk; a shape that comes for the first time is compiled (torch keeps that on disk)."""
        try:
            return self._compiled(x, with_forces)
        except Exception as error:  # no compiler, no Triton: whatever it is, plain torch gives the same numbers
            warnings.warn(f"torch.compile failed ({type(error).__name__}); computing without it", stacklevel=2)
            self._chunk = self._evaluate_chunk
            return self._evaluate_chunk(x, with_forces)

    @property
    def terms(self) -> list[str]:
        """Names of the terms that there are."""
        return [*self._bonded, "nonbonded", *(["solvent"] if self._born is not None else [])]

    def energy_terms(self, positions: Float[Tensor, "batch atoms 3"]) -> dict[str, Float[Tensor, " batch"]]:
        """The energy by term: those present of bonds, angles, torsions, impropers, cmap, nonbonded, solvent."""
        x = self._rows(positions)
        energies = {name: term(x, False)[0].sum(0) for name, term in self._bonded.items()}
        _, squared, inverse = self._distances(x)
        energies["nonbonded"] = self._plain(squared, inverse, False)[0].sum(0)
        if self._born is not None:
            pairs, atoms, _ = self._born(squared, inverse, False)
            energies["solvent"] = pairs.sum(0) + atoms.sum(0)
        return {name: e.to(positions.dtype) for name, e in energies.items()}

    def _rows(self, positions: Float[Tensor, "batch atoms 3"]) -> Float[Tensor, "rows batch"]:
        """Structure of arrays: rows x, then y, then z, of all atoms; the batch innermost."""
        return positions.permute(2, 1, 0).to(self.dtype).reshape(3 * positions.shape[1], positions.shape[0])

    def _chunks(self, batch: int, n_threads: int) -> list[slice]:
        """Cut a batch into equal pieces of whole SIMD widths."""
        if self.device.type == "cpu":
            most = max(SIMD_WIDTH, CPU_CHUNK_NUMBERS // self._n_pairs)
            least = max(SIMD_WIDTH, SMALLEST_CPU_CHUNK_NUMBERS // self._n_pairs)
            size = min(most, max(least, -(-batch // n_threads)))
        else:
            size = max(SIMD_WIDTH, GPU_CHUNK_NUMBERS // self._n_pairs)
        size = -(-size // SIMD_WIDTH) * SIMD_WIDTH
        return [slice(start, start + size) for start in range(0, batch, size)]

    def evaluate(
        self, positions: Float[Tensor, "batch atoms 3"], with_forces: bool
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch atoms 3"] | None]:
        """Energies and, if wanted, forces, in the dtype of the positions."""
        batch, n_atoms, _ = positions.shape
        energy = positions.new_empty(batch)
        forces = torch.empty_like(positions, memory_format=torch.contiguous_format) if with_forces else None

        def work(part: slice) -> None:
            e, f = self._chunk(self._rows(positions[part]), with_forces)
            energy[part] = e
            if forces is not None and f is not None:
                forces[part] = f.view(3, n_atoms, f.shape[1]).permute(2, 1, 0)

        n_threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        with torch.no_grad():
            run_all([partial(work, part) for part in self._chunks(batch, n_threads)], n_threads)
        return energy, forces

    def _evaluate_chunk(self, x: Float[Tensor, "rows batch"], with_forces: bool) -> tuple[Tensor, Tensor | None]:
        d, squared, inverse = self._distances(x)
        energy, pull = self._plain(squared, inverse, with_forces)
        rows = None
        if self._born is not None:
            pairs, rows, born_pull = self._born(squared, inverse, with_forces)
            energy += pairs
            if pull is not None:
                pull += born_pull
        total = self._pair_sum(energy)
        if rows is not None:
            total += rows
        forces = None if pull is None else self._distances.force_sum(d.mul_(pull).flatten(0, 1))
        for term in self._bonded.values():
            energy, force = term(x, with_forces)
            total += energy
            if forces is not None:
                forces += force
        return total.sum(0), forces


def _keep_freed_memory() -> None:
    """Let the allocator reuse the temporaries of a chunk.

    glibc returns freed blocks to the system, and faults them in again page by page, until it has seen a large block
    freed (its dynamic mmap threshold, 32 MiB at most). One such block, never touched, costs nothing and saves up to
    half of the time of an evaluation.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)
