"""The batched potential energy of one molecule, or of several padded to one size, with analytic forces."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from .. import native
from ..shapes import Bool, Float
from .autograd import differentiable_energy
from .eager import TorchEvaluator
from .leapfrog import leapfrog
from .native import NativePotential
from .parameters import Parameters

ENGINES = ("auto", "native", "torch", "compiled")
DEFAULT_ENGINE = "auto"


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
        engine: ``"native"``, the compiled kernel for the CPU; ``"torch"``, plain torch operations, on any device;
            ``"compiled"``, the same through ``torch.compile``. ``"auto"`` (the default) takes
            the kernel on a CPU where it was built, ``"compiled"`` on CUDA, and plain torch elsewhere.

    Raises:
        ValueError: there are no parameters, or no such dtype or engine.
        RuntimeError: the compiled kernel is asked for and not there.

    Example::

        potential = Potential(Parameters.load("energy.safetensors"))
        energy, forces = potential.energy_and_forces(positions)
    """

    def __init__(
        self,
        parameters: Parameters | Sequence[Parameters],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        engine: str | None = None,
    ) -> None:
        self.parameters = (parameters,) if isinstance(parameters, Parameters) else tuple(parameters)
        self.is_single = isinstance(parameters, Parameters)
        if not self.parameters:
            raise ValueError("a potential needs the parameters of at least one molecule")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"a potential computes in float32 or float64, got {dtype}")
        self.dtype, self.device = dtype, torch.device(device)
        engine = DEFAULT_ENGINE if engine is None else engine
        self._asked_engine = engine
        self.engine = self._resolve(engine)
        self.n_atoms = max(p.n_atoms for p in self.parameters)
        sizes = torch.tensor([p.n_atoms for p in self.parameters])
        self.is_atom: Bool[Tensor, "molecules atoms"] = (torch.arange(self.n_atoms) < sizes[:, None]).to(self.device)
        self._native = [NativePotential(p) for p in self.parameters] if self.engine == "native" else []

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

    @property
    def compile_s(self) -> float:
        """Seconds that ``torch.compile`` has taken so far; 0 with the other engines."""
        return self._torch.compile_s if self.engine == "compiled" else 0.0

    def __repr__(self) -> str:
        return (
            f"Potential({len(self.parameters)} molecule(s) of up to {self.n_atoms} atoms, "
            f"{' + '.join(self._torch.terms)}, {self.dtype}, {self.device}, {self.engine} engine)"
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
        """The energy by term (in torch): those present of bonds, angles, torsions, cmap, nonbonded and solvent."""
        terms = self._torch.energy_terms(self._batched(self._check(positions)))
        return {name: e.reshape(positions.shape[:-2]) for name, e in terms.items()}

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
            positions: in nm, of one molecule.
            momenta: in Da nm/ps, in the dtype of the positions.
            masses: in Da.
            step_ps: step size of each configuration, in ps.
            n_steps: forces in the trajectory.

        Returns:
            Positions and momenta at the end.

        Raises:
            ValueError: the potential is of several molecules, or there is no step.
        """
        if not self.is_single or n_steps < 1:
            raise ValueError("leapfrog moves one molecule's configurations, by at least one step")
        positions = self._check(positions)
        step_ps = step_ps.to(positions)
        if self._native:
            x = positions.detach().clone(memory_format=torch.contiguous_format)
            p = momenta.detach().to(x.dtype, copy=True, memory_format=torch.contiguous_format)
            self._native[0].leapfrog(
                masses.double().cpu(),
                x,
                p,
                step_ps,
                n_steps,
                single=self.dtype == torch.float32,
                n_threads=native.threads(),
            )
            return x, p
        return leapfrog(self.forces, positions, momenta, masses, step_ps, n_steps)

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Potential:
        """The same potential in another dtype or on another device, built anew from the float64 parameters."""
        parameters = self.parameters[0] if self.is_single else self.parameters
        return Potential(
            parameters,
            self.dtype if dtype is None else dtype,
            self.device if device is None else device,
            self._asked_engine,
        )

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

    def _evaluate(self, positions: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        batched, shape = self._batched(positions), positions.shape[:-2]
        if not self._native:
            energy, forces = self._torch.evaluate(batched, with_forces)
        else:
            energy, forces = self._evaluate_natively(batched, with_forces)
        return energy.view(shape), None if forces is None else forces.view(positions.shape)

    def _evaluate_natively(self, batched: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        # The kernel takes the two precisions; others (float16) are converted on the way in and out.
        kernel_dtype = batched.dtype if batched.dtype in (torch.float32, torch.float64) else torch.float32
        x = batched.detach().to(kernel_dtype).contiguous()
        energy = x.new_empty(x.shape[:2])
        # Padding feels no force, and the kernel leaves it alone.
        padded = len(self._native) > 1
        forces = None if not with_forces else torch.zeros_like(x) if padded else torch.empty_like(x)
        for m, molecule in enumerate(self._native):
            molecule.evaluate(
                x[m],
                energy[m],
                None if forces is None else forces[m],
                single=self.dtype == torch.float32,
                n_threads=native.threads(),
            )
        return energy.to(batched.dtype), None if forces is None else forces.to(batched.dtype)
