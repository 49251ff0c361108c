"""Kernels on targets with known answers, and the test of invariance that judges right and broken ones alike."""

from __future__ import annotations

from dataclasses import replace

import torch
from analytic_targets import (
    TEMPERATURE_K,
    TOY,
    DoubleWell,
    ExactInternal,
    ExactTorsions,
    Gaussian,
    RoughTorsions,
    ToyMolecule,
    WideInternal,
    flow_move,
    worst_z,
)
from cartesian_densities import augmented_case
from growth_cases import balanced, growth
from ring_cases import FAR, HOP, NEAR, ring_case

from timewarp.flows import build_network
from timewarp.flows.growth.scale import NEAR_ZERO
from timewarp.sampling import (
    HMC,
    Cycle,
    FlowMove,
    Kernel,
    Mixture,
    Proposal,
    Target,
    TorsionMove,
    metropolis,
)
from timewarp.sampling.kernel import add_infos

CHAINS = 3000
LIMIT = 4.8
"""Largest |z| of some sixty observables that a right kernel may show: one false alarm in about 10,000 runs."""
CAUGHT = 8.0
"""A broken kernel must show at least this |z|."""

TOY_MASSES = torch.tensor(TOY.masses, dtype=torch.float64).clamp(min=8.0)


class Autoregressive(Kernel):
    """Gaussian proposals x' ~ N(a x, s^2), not symmetric: needs its log_ratio."""

    A, S = 0.6, 0.9

    def step(self, state, generator):
        x = state.positions
        candidate = self.A * x + self.S * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        forward = -0.5 * ((candidate - self.A * x) / self.S).square().sum((-1, -2))
        backward = -0.5 * ((x - self.A * candidate) / self.S).square().sum((-1, -2))
        new, outcome = metropolis(state, Proposal(candidate, backward - forward), self.target, generator)
        return new, {self.name: outcome}


def gaussian_case(kind):
    gaussian = Gaussian()
    target = Target(gaussian, TEMPERATURE_K, invariant=False)
    if kind is HMC:
        return gaussian, HMC(target, torch.tensor([1.0, 3.0]), n_steps=5, step_fs=400.0, adaptive=False)
    return gaussian, kind(target, "autoregressive")


def double_well_case(kind):
    well = DoubleWell()
    target = Target(well, TEMPERATURE_K, invariant=False)
    if kind is HMC:
        return well, HMC(target, torch.ones(1), n_steps=6, step_fs=200.0, adaptive=False)
    return well, kind(target, "autoregressive")


def toy_case(build, achiral=False):
    toy = ToyMolecule(achiral)
    target = Target(toy, TEMPERATURE_K)
    return toy, build(toy, target)


def toy_hmc(toy, target, **kwargs):
    return HMC(target, TOY_MASSES, **{"n_steps": 3, "step_fs": 25.0, "adaptive": False, **kwargs})


def flow(density):
    return lambda toy, target: flow_move(target, density(toy))


def network_flow(kind, engine=None):
    return lambda toy, target: FlowMove(target, network(toy, kind).proposers(None, target.kT, engine=engine)["flow"])


def network(toy, kind):
    """A real network with random weights: a poor proposal, and so a good test."""
    sizes = {"C": {"n_couplings": 2, "context_blocks": 1}, "B": {"torsion_couplings": 2, "stiff_couplings": 1}}
    built = build_network(toy.atoms, kind, {**sizes[kind], "width": 16, "n_heads": 2})
    built.fit_standardiser(toy.draw_internal(2000, torch.Generator().manual_seed(5)).float())
    seeded = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=seeded)
    return built


def toy_torsion(toy, target):
    return TorsionMove(target, toy.tree)


def narrow_torsion(toy, target):
    return TorsionMove(target, toy.tree, window_degrees=70)


def stiff_torsion(toy, target):
    """All three bonds turn a little, as peptide bonds do, and one of them freely."""
    tree = toy.tree
    bonds = replace(tree, rotatable=tree.rotatable[:1])
    return TorsionMove(target, bonds, stiff=tree.rotatable[1:])


def free_torsion(toy, target, kind=TorsionMove):
    """As peptide bonds that may be cis as well as trans."""
    tree = toy.tree
    return kind(target, replace(tree, rotatable=tree.rotatable[:1]), stiff=tree.rotatable[1:], free=tree.rotatable[1:])


def toy_cycle(toy, target):
    return Cycle([flow(RoughTorsions)(toy, target), toy_torsion(toy, target), toy_hmc(toy, target)])


def toy_mixture(toy, target):
    return Mixture([flow(WideInternal)(toy, target), toy_torsion(toy, target), toy_hmc(toy, target)], [1, 2, 1])


CASES = {
    "autoregressive on a Gaussian": lambda: gaussian_case(Autoregressive),
    "hmc on a Gaussian": lambda: gaussian_case(HMC),
    "autoregressive on a double well": lambda: double_well_case(Autoregressive),
    "hmc on a double well": lambda: double_well_case(HMC),
    "flow C, exact": lambda: toy_case(flow(ExactTorsions)),
    "flow C, rough and conditioned on the torsions": lambda: toy_case(flow(RoughTorsions)),
    "flow B, exact": lambda: toy_case(flow(ExactInternal)),
    "flow B, rough": lambda: toy_case(flow(WideInternal)),
    "flow C, network": lambda: toy_case(network_flow("C")),
    "flow C, network in plain torch": lambda: toy_case(network_flow("C", "torch")),
    "flow B, network": lambda: toy_case(network_flow("B")),
    "flow B, network in plain torch": lambda: toy_case(network_flow("B", "torch")),
    "growth, full": lambda: toy_case(growth("flow")),
    "growth, full, in plain torch": lambda: toy_case(growth("flow", torch.float64)),
    "growth, suffix": lambda: toy_case(growth("flow_suffix")),
    "growth, subset": lambda: toy_case(growth("flow_subset")),
    "growth with a peptide bond": lambda: toy_case(growth("flow", omega=True), achiral=True),
    "growth with a peptide bond, in plain torch": lambda: toy_case(growth("flow", torch.float64, omega=True), True),
    "growth with a peptide bond, subset": lambda: toy_case(growth("flow_subset", omega=True), achiral=True),
    "growth after a peptide bond": lambda: toy_case(growth("flow", twists=True), achiral=True),
    "growth after a peptide bond, in plain torch": lambda: toy_case(growth("flow", torch.float64, twists=True), True),
    "growth after a peptide bond, a well shut": lambda: toy_case(growth("flow", twists=True, wells=NEAR_ZERO)),
    "growth with a well shut": lambda: toy_case(growth("flow", omega=True, wells=NEAR_ZERO)),
    "growth, balanced with local moves": lambda: toy_case(balanced),
    "torsion": lambda: toy_case(toy_torsion),
    "torsion, narrow": lambda: toy_case(narrow_torsion),
    "torsion, stiff bonds": lambda: toy_case(stiff_torsion),
    "concerted": lambda: ring_case(),
    "concerted, near": lambda: ring_case(**NEAR),
    "concerted, far": lambda: ring_case(**FAR),
    "concerted, hops": lambda: ring_case(**HOP),
    "torsion, free peptide bonds": lambda: toy_case(free_torsion),
    "hmc on a molecule": lambda: toy_case(toy_hmc),
    "cycle": lambda: toy_case(toy_cycle),
    "mixture": lambda: toy_case(toy_mixture),
    "augmented": lambda: augmented_case("lopsided", 1, 4, local=False),
    "augmented, batches, conditioned on v": lambda: augmented_case("x and v", 4, 6, local=False),
    "augmented, batches and hmc": lambda: augmented_case("lopsided", 16),
}


def invariance_z(law, kernel, generator, steps=6, chains=CHAINS):
    """Start in the target, run, and compare: the final states are independent draws of it if the kernel is right."""
    state = kernel.init(law.draw(chains, generator))
    info = {}
    for _ in range(steps):
        state, new = kernel.step(state, generator)
        info = add_infos(info, new)
    return worst_z(law.observe(state.positions), law.truth), info
