"""One floor below ``timewarp.sample``: a system, a kernel, and the steps of its chains."""

import torch

import timewarp as tw

system = tw.System("AG")  # the Boltzmann distribution of a molecule: force field, temperature, stereochemistry
kernel = tw.Cycle([tw.Flow(system, "peptides"), tw.TorsionMove(system), tw.HMC(system)])

generator = torch.Generator().manual_seed(1)
state = kernel.init(system.starts(16, generator))
kernel.begin_warmup(60)
for _ in range(60):  # step sizes are tuned; these states are no samples
    state, info = kernel.step(state, generator)
    kernel.adapt(info, state)
kernel.freeze()

energies = []
for _ in range(20):
    state, info = kernel.step(state, generator)
    energies.append(state.energy)
print(f"accepted {info['flow'].acceptance.sum() / info['flow'].proposed.sum():.2f}")
print(f"mean energy {torch.stack(energies).mean():.1f} kJ/mol in {state.n_chains} chains")
