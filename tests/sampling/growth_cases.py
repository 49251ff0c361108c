"""The transferable family on the toy molecule: a prior from made-up physics, a network with random weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from analytic_targets import TEMPERATURE_K, ToyMolecule

from timewarp.energies import Parameters
from timewarp.flows.growth import GrowthConfig, GrowthFlow, RegrowthProposer
from timewarp.sampling import HMC, Balanced, RegrowthMove, TorsionMove
from timewarp.units import kT


def made_up_parameters(toy: ToyMolecule) -> Parameters:
    """Charges, atoms with a size, a solvent and torsion terms; of no other use than to make the prior uneven."""
    n = toy.atoms.n_atoms
    ones, none = torch.ones(n, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
    charge = 0.1 * (-1.0) ** torch.arange(n).double()
    close = torch.tensor([[i, j] for i in range(n) for j in range(i) if abs(i - j) < 3])
    zero = torch.zeros(len(close), dtype=torch.float64)
    torsions = toy.tree.torsions
    terms = torch.ones(len(torsions), dtype=torch.float64)
    return Parameters(
        bond_atoms=torch.zeros(0, 2, dtype=torch.long),
        bond_length=none,
        bond_k=none,
        angle_atoms=torch.zeros(0, 3, dtype=torch.long),
        angle_theta=none,
        angle_k=none,
        torsion_atoms=torsions,
        torsion_periodicity=torch.full((len(torsions),), 3),
        torsion_phase=0 * terms,
        torsion_k=0.8 * terms,
        cmap_atoms=torch.zeros(0, 8, dtype=torch.long),
        cmap_map=torch.zeros(0, dtype=torch.long),
        cmap_grids=torch.zeros(0, 0, 0, dtype=torch.float64),
        charge=charge,
        sigma=0.15 * ones,
        epsilon=0.1 * ones,
        exception_atoms=close,
        exception_charge_product=zero,
        exception_sigma=zero + 0.2,
        exception_epsilon=zero,
        cutoff=torch.tensor(torch.inf, dtype=torch.float64),
        switching_distance=torch.tensor(torch.inf, dtype=torch.float64),
        reaction_field_dielectric=torch.tensor(78.3, dtype=torch.float64),
        gb_charge=charge,
        gb_offset_radius=0.14 * ones,
        gb_scaled_radius=0.11 * ones,
        gb_radius=0.15 * ones,
        gb_tanh=torch.tensor([1.0, 0.8, 4.85], dtype=torch.float64),
        gb_prefactor=torch.tensor(-137.0, dtype=torch.float64),
        gb_surface=torch.tensor(28.4, dtype=torch.float64),
        gb_engulfed=torch.tensor(0),
        gb_cutoff=torch.tensor(torch.inf, dtype=torch.float64),
    )


def growth_flow(
    toy: ToyMolecule, dtype: torch.dtype = torch.float32, omega: bool = False, twists: bool = False
) -> GrowthFlow:
    """A small network with random weights; in single precision its features are compiled, in double torch's.

    With ``omega`` its second torsion is drawn as a peptide bond's is, with ``twists`` before the others; then each step
    is seen in the mirror of the stereocentre.
    """
    torch.manual_seed(6)
    atoms, tree = replace(toy.atoms), toy.tree
    if omega or twists:
        vars(atoms)["twisting"] = (tree.rotatable[1],)
    if twists:
        vars(atoms)["tree"] = replace(tree, rotatable=(tree.rotatable[0], tree.rotatable[2]))
    told = {"omega": omega, "twists": twists, "chirality": omega or twists}
    flow = GrowthFlow(atoms, GrowthConfig(width=16, n_blocks=2, n_heads=2, **told))
    seeded = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=seeded)
    return flow.to(dtype)


def regrowths(
    toy: ToyMolecule, dtype: torch.dtype = torch.float32, omega: bool = False, twists: bool = False
) -> dict[str, RegrowthProposer]:
    """Its proposers."""
    return growth_flow(toy, dtype, omega, twists).proposers(made_up_parameters(toy), kT(TEMPERATURE_K))


def growth(name, dtype=torch.float32, kind=RegrowthMove, omega=False, wells=None, twists=False):
    def build(toy, target):
        proposer = regrowths(toy, dtype, omega, twists)[name]
        proposer.wells = {toy.tree.rotatable[1]: wells} if wells else {}
        return kind(target, proposer, name)

    return build


def balanced(toy, target):
    """All three learned moves, and sweeps of torsion moves and HMC."""
    learned = [RegrowthMove(target, proposer, name) for name, proposer in regrowths(toy).items()]
    masses = torch.tensor(toy.atoms.masses, dtype=torch.float64).clamp(min=8.0)
    hmc = HMC(target, masses, n_steps=3, step_fs=25.0, adaptive=False)
    kernel = Balanced(learned, [TorsionMove(target, toy.tree), hmc], toy.tree.torsions)
    kernel.retune({"balance": {"flow": 1.0, "flow_suffix": 2.0, "flow_subset": 1.0, "sweeps": 2.0}})
    return kernel
