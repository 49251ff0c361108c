"""The batched potential energy of a molecule, with analytic forces."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .. import native
from ..shapes import Float
from .autograd import differentiable_energy
from .eager import TorchEvaluator
from .leapfrog import leapfrog
from .native import native_potential
from .parameters import Parameters

Positions = Float[Tensor, "batch atoms 3"] | Float[np.ndarray, "batch atoms 3"]
FAR_NM = 100.0
"""Beyond this distance from the origin a molecule is moved there, or single precision is spent on the distance."""
ENGINES = ("auto", "native", "torch", "compiled")
DEFAULT_ENGINE = "auto"


class Potential:
    """Energies (kJ/mol) and forces (kJ/(mol nm)) of many configurations at once.

    Positions where the energy is not defined (atoms on top of each other, NaN, infinities) give a huge, infinite or
    NaN energy for that configuration alone and never raise: a sampler rejects them.

    The energy is differentiable once with respect to positions, by the analytic forces.

    Args:
        parameters: of the molecule.
        dtype: of the computation; results come back in the dtype of the positions.
        device: where the positions are.
        engine: ``"native"``, the compiled kernel for the CPU; ``"torch"``, plain torch operations, on any device;
            ``"compiled"``, the same through ``torch.compile``. ``"auto"`` (the default) takes
            the kernel on a CPU where it was built, ``"compiled"`` on CUDA, and plain torch elsewhere.

    Raises:
        ValueError: no such dtype or engine.
        RuntimeError: the compiled kernel is asked for and not there.

    Example::

        potential = Potential(Parameters.load("energy.safetensors"))
        energy, forces = potential.energy_and_forces(positions)
    """

    def __init__(
        self,
        parameters: Parameters,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        engine: str | None = None,
    ) -> None:
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"a potential computes in float32 or float64, got {dtype}")
        self.parameters, self.dtype, self.device = parameters, dtype, torch.device(device)
        self.engine = self._resolve(DEFAULT_ENGINE if engine is None else engine)
        self.n_atoms = parameters.n_atoms
        self._native = native_potential(parameters) if self.engine == "native" else None

    def _resolve(self, engine: str) -> str:
        if engine not in ENGINES:
            raise ValueError(f"no energy engine {engine!r}; there are {', '.join(ENGINES)}")
        if engine == "auto":
            if self.device.type == "cuda":
                return "compiled"
            return "native" if self.device.type == "cpu" and native.available() else "torch"
        if engine == "native" and self.device.type != "cpu":
            raise ValueError(f"the native energy engine runs on the cpu, not on {self.device}; try 'compiled' there")
        return engine

    @cached_property
    def _torch(self) -> TorchEvaluator:
        return TorchEvaluator(self.parameters, self.dtype, self.device, compiled=self.engine == "compiled")

    def __repr__(self) -> str:
        return (
            f"Potential({self.n_atoms} atoms, {' + '.join(self._torch.terms)}, {self.dtype}, {self.device}, "
            f"{self.engine} engine)"
        )

    def energy(self, positions: Positions) -> Float[Tensor, " batch"]:
        """Potential energy in kJ/mol, differentiable with respect to ``positions``, in nm; NumPy's arrays will do.

        Raises:
            ValueError: the positions have another shape or device than this potential.
        """
        return differentiable_energy(self._check(positions), self._evaluate)

    def forces(self, positions: Positions) -> Float[Tensor, "batch atoms 3"]:
        """Minus the gradient of the energy, in kJ/(mol nm). Carries no gradient itself."""
        return self.energy_and_forces(positions)[1]

    @torch.no_grad()
    def energy_and_forces(self, positions: Positions) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch atoms 3"]]:
        """Both in one pass, hardly more than the forces alone. Carries no gradient."""
        energy, forces = self._evaluate(self._check(positions), with_forces=True)
        assert forces is not None
        return energy, forces

    @torch.no_grad()
    def energy_terms(self, positions: Positions) -> dict[str, Float[Tensor, " batch"]]:
        """The energy by term (in torch), such terms as there are.

        Of bonds, angles, torsions, impropers, cmap, nonbonded and solvent.
        """
        return self._torch.energy_terms(self._check(positions))

    def leapfrog(
        self,
        positions: Float[Tensor, "batch atoms 3"],
        momenta: Float[Tensor, "batch atoms 3"],
        masses: Float[Tensor, " atoms"],
        step_ps: Float[Tensor, " batch"],
        n_steps: int,
    ) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, "batch atoms 3"]]:
        """The end of a position-first leapfrog trajectory: half a drift, kick and drift in turn, half a drift.

        With the native engine the whole trajectory stays in the kernel.

        Args:
            positions: in nm.
            momenta: in Da nm/ps, in the dtype of the positions.
            masses: in Da.
            step_ps: step size of each configuration, in ps.
            n_steps: forces in the trajectory.

        Returns:
            Positions and momenta at the end.

        Raises:
            ValueError: there is no step, or the positions have another shape or device than this potential.
        """
        if n_steps < 1:
            raise ValueError(f"a leapfrog trajectory has at least one step, got {n_steps}")
        positions = self._check(positions)
        step_ps = step_ps.to(positions)
        if self._native is not None:
            x = positions.detach().clone(memory_format=torch.contiguous_format)
            p = momenta.detach().to(x.dtype, copy=True, memory_format=torch.contiguous_format)
            single = self.dtype == torch.float32
            self._native.leapfrog(masses.double().cpu(), x, p, step_ps, n_steps, single, native.threads())
            return x, p
        return leapfrog(self.forces, positions, momenta, masses, step_ps, n_steps)

    def _check(self, positions: Tensor | np.ndarray) -> Tensor:
        positions = torch.as_tensor(positions)
        if positions.ndim != 3 or tuple(positions.shape[1:]) != (self.n_atoms, 3):
            raise ValueError(f"positions must have shape (batch, {self.n_atoms}, 3), got {tuple(positions.shape)}")
        if not positions.is_floating_point():
            raise ValueError(f"positions must be floating point, got {positions.dtype}")
        if positions.device.type != self.device.type:
            raise ValueError(f"positions are on {positions.device}, the potential on {self.device}: move one of them")
        return positions

    def _evaluate(self, positions: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        if positions.device.type == "cpu" and positions.numel() and float(positions.detach().abs().amax()) > FAR_NM:
            positions = positions - positions.mean(1, keepdim=True)  # the energy does not know where the molecule is
        if self._native is None:
            return self._torch.evaluate(positions, with_forces)
        # The kernel takes the two precisions; others (float16) are converted on the way in and out.
        kernel_dtype = positions.dtype if positions.dtype in (torch.float32, torch.float64) else torch.float32
        x = positions.detach().to(kernel_dtype).contiguous()
        energy = x.new_empty(len(x))
        forces = torch.empty_like(x) if with_forces else x.new_empty(0, 1, 3)
        self._native.evaluate(x, energy, forces, with_forces, self.dtype == torch.float32, native.threads())
        return energy.to(positions.dtype), forces.to(positions.dtype) if with_forces else None
