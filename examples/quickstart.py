"""The wiring of ``timewarp sample`` in a few lines: molecule, energy, network, kernels, chains."""

import torch

from timewarp.energies import Potential, compile_system
from timewarp.molecules import build_molecule
from timewarp.pretrained import default_for, load
from timewarp.sampling import HMC, Cycle, Restriction, Target, learned_move, repartition_hydrogen_mass

molecule = build_molecule("Ace-A-Nme")
atoms, start = molecule.atoms, molecule.start_positions.float()
parameters = compile_system(molecule.system)
target = Target(Potential(parameters), 310.0, Restriction(start, atoms))
proposers = load(default_for(atoms), atoms).proposers(parameters, target.kT)
flow = learned_move(target, proposers["flow"])
kernel = Cycle([flow, HMC(target, repartition_hydrogen_mass(atoms), step_fs=2.0)])

generator = torch.Generator().manual_seed(1)
state = kernel.init(start.expand(64, -1, -1).clone())
for _ in range(20):
    state, info = kernel.step(state, generator)
print(info["flow"].accepted.float().mean(), state.energy.mean())
