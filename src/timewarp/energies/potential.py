"""The batched potential energy of one molecule, or of several padded to one size, with analytic forces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..shapes import Bool, Float
from .autograd import differentiable_energy
from .bonded import Angles, Bonds, Maps, Torsions
from .born import Born
from .pairs import Distances, Plain, pair_list
from .parameters import Parameters
from .rows import SumPlan, moved
from .threads import run_chunks

CPU_CHUNK_NUMBERS = 65536
"""Numbers (pairs times configurations) per chunk and core, so that temporaries stay in the cache."""
SMALLEST_CPU_CHUNK_NUMBERS = 16384
"""A batch is not cut into smaller pieces than this to occupy more cores."""
GPU_CHUNK_NUMBERS = 2**25
SIMD_WIDTH = 16


class Potential:
    """Energies (kJ/mol) and forces (kJ/(mol nm)) of many configurations at once.

    One molecule takes positions (batch, atoms, 3) and gives (batch,); a list of molecules takes (molecules, batch,
    atoms, 3), padded to the largest, and gives (molecules, batch). Padding atoms may hold any number: they contribute
    nothing and feel no force.

    Positions where the energy is not defined (atoms on top of each other, NaN, infinities) give a huge, infinite or
    NaN energy for that configuration alone and never raise: a sampler rejects them.

    The energy is differentiable once with respect to positions, by the analytic forces.

    Args:
        parameters: of one molecule, or a sequence of several.
        dtype: of the computation; results come back in the dtype of the positions.
        device: where the positions are.

    Example::

        potential = Potential(Parameters.load("energy.safetensors"))
        energy, forces = potential.energy_and_forces(positions)
    """

    def __init__(
        self,
        parameters: Parameters | Sequence[Parameters],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.parameters = (parameters,) if isinstance(parameters, Parameters) else tuple(parameters)
        self.is_single = isinstance(parameters, Parameters)
        if not self.parameters:
            raise ValueError("a potential needs the parameters of at least one molecule")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"a potential computes in float32 or float64, got {dtype}")
        self.dtype, self.device = dtype, torch.device(device)
        if self.device.type == "cpu":
            _keep_freed_memory()
        self.n_atoms = max(p.n_atoms for p in self.parameters)
        n_molecules = len(self.parameters)
        n_rows = n_molecules * self.n_atoms
        offsets = [m * self.n_atoms for m in range(n_molecules)]
        sizes = torch.tensor([p.n_atoms for p in self.parameters])
        self.is_atom: Bool[Tensor, "molecules atoms"] = (torch.arange(self.n_atoms) < sizes[:, None]).to(self.device)
        i, j = pair_list(self.parameters, self.n_atoms)
        self._n_pairs = max(len(i), 1)
        tables: dict[str, Any] = {
            "bonds": Bonds.build(self.parameters, offsets, n_rows),
            "angles": Angles.build(self.parameters, offsets, n_rows),
            "torsions": Torsions.build(self.parameters, offsets, n_rows),
            "cmap": Maps.build(self.parameters, offsets, n_rows),
        }
        self._bonded = {name: moved(t, dtype, self.device) for name, t in tables.items() if t is not None}
        self._distances = moved(Distances.build(i, j, n_rows), dtype, self.device)
        self._pair_sum = moved(SumPlan.build(i, n_rows), dtype, self.device)
        self._plain = moved(Plain.build(self.parameters), dtype, self.device)
        born = Born.build(self.parameters, i, j, self.n_atoms)
        self._born = None if born is None else moved(born, dtype, self.device)

    def __repr__(self) -> str:
        terms = [*self._bonded, "nonbonded", *(["solvent"] if self._born is not None else [])]
        return (
            f"Potential({len(self.parameters)} molecule(s) of up to {self.n_atoms} atoms, {' + '.join(terms)}, "
            f"{self.dtype}, {self.device})"
        )

    def energy(self, positions: Float[Tensor, "*batch atoms 3"]) -> Float[Tensor, "*batch"]:
        """Potential energy in kJ/mol, differentiable with respect to ``positions``.

        Raises:
            ValueError: the positions have another shape or device than this potential.
        """
        return differentiable_energy(self._check(positions), self._evaluate)

    def forces(self, positions: Float[Tensor, "*batch atoms 3"]) -> Float[Tensor, "*batch atoms 3"]:
        """Minus the gradient of the energy, in kJ/(mol nm). Carries no gradient itself."""
        return self.energy_and_forces(positions)[1]

    @torch.no_grad()
    def energy_and_forces(
        self, positions: Float[Tensor, "*batch atoms 3"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch atoms 3"]]:
        """Both in one pass, hardly more than the forces alone. Carries no gradient."""
        energy, forces = self._evaluate(self._check(positions), with_forces=True)
        assert forces is not None
        return energy, forces

    @torch.no_grad()
    def energy_terms(self, positions: Float[Tensor, "*batch atoms 3"]) -> dict[str, Float[Tensor, "*batch"]]:
        """The energy by term: those present of bonds, angles, torsions, cmap, nonbonded and solvent."""
        x = self._rows(self._batched(self._check(positions)))
        energies = {name: self._per_molecule(term(x, False)[0]) for name, term in self._bonded.items()}
        _, squared, inverse = self._distances(x)
        energies["nonbonded"] = self._per_molecule(self._pair_sum(self._plain(squared, inverse, False)[0]))
        if self._born is not None:
            pairs, atoms, _ = self._born(squared, inverse, False)
            energies["solvent"] = self._per_molecule(self._pair_sum(pairs) + atoms)
        shape = positions.shape[:-2]
        return {name: e.to(positions.dtype).reshape(shape) for name, e in energies.items()}

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Potential:
        """The same potential in another dtype or on another device, built anew from the float64 parameters."""
        parameters = self.parameters[0] if self.is_single else self.parameters
        return Potential(parameters, self.dtype if dtype is None else dtype, self.device if device is None else device)

    def _check(self, positions: Tensor) -> Tensor:
        leading = 1 if self.is_single else 2
        expected = (self.n_atoms, 3) if self.is_single else (len(self.parameters), "batch", self.n_atoms, 3)
        good = positions.ndim == leading + 2 and tuple(positions.shape[-2:]) == (self.n_atoms, 3)
        if not good or (not self.is_single and positions.shape[0] != len(self.parameters)):
            what = f"(batch, {self.n_atoms}, 3)" if self.is_single else str(expected).replace("'", "")
            raise ValueError(f"positions must have shape {what}, got {tuple(positions.shape)}")
        if not positions.is_floating_point():
            raise ValueError(f"positions must be floating point, got {positions.dtype}")
        if positions.device.type != self.device.type:
            raise ValueError(f"positions are on {positions.device}, the potential on {self.device}: move one of them")
        return positions

    def _batched(self, positions: Tensor) -> Float[Tensor, "molecules batch atoms 3"]:
        return positions[None] if self.is_single else positions

    def _rows(self, positions: Float[Tensor, "molecules batch atoms 3"]) -> Float[Tensor, "rows batch"]:
        """Structure of arrays: rows x, then y, then z, of all molecules' atoms; the batch innermost.

        No term names a padding row, so what it holds does not matter.
        """
        x = positions.permute(3, 0, 2, 1).to(self.dtype)
        return x.reshape(3 * x.shape[1] * x.shape[2], x.shape[3])

    def _per_molecule(self, rows: Float[Tensor, "rows batch"]) -> Float[Tensor, "molecules batch"]:
        return rows.view(len(self.parameters), self.n_atoms, rows.shape[1]).sum(1)

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

    def _evaluate(self, positions: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        batched = self._batched(positions)
        energy = batched.new_empty(batched.shape[:2])
        forces = torch.empty_like(batched, memory_format=torch.contiguous_format) if with_forces else None

        def work(part: slice) -> None:
            e, f = self._evaluate_chunk(self._rows(batched[:, part]), with_forces)
            energy[:, part] = e
            if forces is not None and f is not None:
                forces[:, part] = f.view(3, *self.is_atom.shape, f.shape[1]).permute(1, 3, 2, 0)

        n_threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        run_chunks(work, self._chunks(batched.shape[1], n_threads), n_threads)
        shape = positions.shape[:-2]
        return energy.view(shape), None if forces is None else forces.view(positions.shape)

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
        return self._per_molecule(total), forces


def _keep_freed_memory() -> None:
    """Let the allocator reuse the temporaries of a chunk.

    glibc returns freed blocks to the system, and faults them in again page by page, until it has seen a large block
    freed (its dynamic mmap threshold, 32 MiB at most). One such block, never touched, costs nothing and saves up to
    half of the time of an evaluation.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)
