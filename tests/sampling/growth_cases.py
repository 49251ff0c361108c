"""The transferable family on the toy molecule: a prior from made-up physics, a network with random weights."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from analytic_targets import TEMPERATURE_K, ToyMolecule

from timewarp.flows.growth import GrowthConfig, GrowthFlow
from timewarp.sampling import HMC, Balanced, GrowthKernel, TorsionMove
from timewarp.units import kT


def made_up_force_field(toy: ToyMolecule) -> SimpleNamespace:
    """Charges, atoms with a size, a solvent and torsion terms; of no other use than to make the prior uneven."""
    n = toy.atoms.n_atoms
    ones = torch.ones(n, dtype=torch.float64)
    charge = 0.1 * (-1.0) ** torch.arange(n).double()
    close = torch.tensor([[i, j] for i in range(n) for j in range(i) if abs(i - j) < 3])
    none = torch.zeros(len(close), dtype=torch.float64)
    torsions = toy.tree.torsions
    return SimpleNamespace(
        charge=charge,
        sigma=0.15 * ones,
        epsilon=0.1 * ones,
        exception_atoms=close,
        exception_charge_product=none,
        exception_sigma=none + 0.2,
        exception_epsilon=none,
        torsion_atoms=torsions,
        torsion_periodicity=torch.full((len(torsions),), 3),
        torsion_phase=torch.zeros(len(torsions), dtype=torch.float64),
        torsion_k=torch.full((len(torsions),), 0.8, dtype=torch.float64),
        gb_charge=charge,
        gb_offset_radius=0.14 * ones,
        gb_scaled_radius=0.11 * ones,
        gb_radius=0.15 * ones,
        gb_tanh=torch.tensor([1.0, 0.8, 4.85], dtype=torch.float64),
        gb_prefactor=torch.tensor(-137.0, dtype=torch.float64),
        gb_surface=torch.tensor(28.4, dtype=torch.float64),
    )


def growth_flow(toy: ToyMolecule, dtype: torch.dtype = torch.float32) -> GrowthFlow:
    """A small network with random weights; in single precision its features are compiled, in double torch's."""
    torch.manual_seed(6)
    flow = GrowthFlow(toy.atoms, GrowthConfig(width=16, n_blocks=2, n_heads=2))
    seeded = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=seeded)
    return flow.serve(made_up_force_field(toy), kT(TEMPERATURE_K)).to(dtype)


def growth(name, dtype=torch.float32, kind=GrowthKernel):
    return lambda toy, target: kind(target, growth_flow(toy, dtype), name)


def balanced(toy, target):
    """All three learned moves, and sweeps of torsion moves and HMC."""
    density = growth_flow(toy)
    learned = [GrowthKernel(target, density, name) for name in ("flow", "flow_suffix", "flow_subset")]
    masses = torch.tensor(toy.atoms.masses, dtype=torch.float64).clamp(min=8.0)
    hmc = HMC(target, masses, n_steps=3, step_fs=25.0, adaptive=False)
    kernel = Balanced(learned, [TorsionMove(target, toy.tree), hmc], toy.tree.torsions)
    kernel.retune({"balance": {"flow": 1.0, "flow_suffix": 2.0, "flow_subset": 1.0, "sweeps": 2.0}})
    return kernel
