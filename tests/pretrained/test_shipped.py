"""The shipped networks: complete, described, and as good as their cards say."""

import pytest
import torch

from timewarp import pretrained
from timewarp.commands import main
from timewarp.energies import Potential, compile_system
from timewarp.geometry import to_internal
from timewarp.molecules import build_molecule
from timewarp.sampling import (
    HMC,
    Cycle,
    Restriction,
    Target,
    learned_move,
    repartition_hydrogen_mass,
)
from timewarp.trajectories import RunFolder

LEAST_ACCEPTANCE = {"ala2": 0.75, "ala2-internal": 0.60}
CARTESIAN, LEAST_CARTESIAN = "ala2-cartesian", 0.03


@pytest.fixture(scope="module")
def molecule():
    return build_molecule("Ace-A-Nme")


def test_the_default_is_of_family_c(molecule):
    assert pretrained.default_for(molecule.atoms) == "ala2"
    assert pretrained.default_for(molecule.atoms, "B") == "ala2-internal"
    assert pretrained.default_for(molecule.atoms, "A") == CARTESIAN


@pytest.mark.parametrize("name", [*sorted(LEAST_ACCEPTANCE), CARTESIAN])
def test_files_and_card(name):
    described = pretrained.find(name)
    assert described.safetensors.stat().st_size < 16 * 2**20
    card = described.toml.with_suffix(".md").read_text()
    for must in ("licence", "chirality", described.sha256[:12], "timewarp simulate", "timewarp train"):
        assert must in card, must


def frames(atoms, n: int) -> torch.Tensor:
    """Configurations of independent molecular dynamics, shipped for the demo."""
    from pathlib import Path

    run = RunFolder.open(Path(__file__).parents[2] / "examples" / "ala2-md")
    assert run.atoms.fingerprint == atoms.fingerprint
    positions = run.trajectory().positions.flatten(0, 1)
    return positions[torch.linspace(0, len(positions) - 1, n).long()]


@pytest.mark.parametrize("name", sorted(LEAST_ACCEPTANCE))
def test_acceptance(name, molecule, generator):
    """From equilibrium frames, 1,500 proposals accept what the project promises, within four standard errors."""
    atoms = molecule.atoms
    start = frames(atoms, 1500)
    restriction = Restriction(molecule.start_positions.float(), atoms)
    target = Target(Potential(compile_system(molecule.system)), 310.0, restriction)
    flow = pretrained.load(name, atoms).network
    (proposer,) = flow.proposers(None, target.kT).values()
    kernel = Cycle([learned_move(target, proposer), HMC(target, repartition_hydrogen_mass(atoms), step_fs=2.0)])
    _, info = kernel.step(kernel.init(start), generator)
    least = LEAST_ACCEPTANCE[name]
    assert float(info["flow"].accepted.double().mean()) > least - 4 * (least * (1 - least) / 1500) ** 0.5


@pytest.mark.parametrize("name", sorted(LEAST_ACCEPTANCE))
def test_teacher_forced_log_q_is_the_one_it_was_drawn_with(name, molecule, generator):
    atoms = molecule.atoms
    flow = pretrained.load(name, atoms).network
    internal = to_internal(frames(atoms, 200), atoms.tree)
    with torch.no_grad():
        condition = flow.encode(internal)
        drawn, log_q = flow.sample(condition, 1, generator)
        difference = (flow.log_prob(drawn[0], condition) - log_q[0]).abs()
    # In float32 a draw may fall within rounding of a knot; such outliers must stay rare and small.
    assert difference.quantile(0.95) < 1e-3
    assert difference.max() < 0.05


def test_the_cartesian_network_accepts_what_its_card_says(molecule, generator):
    """The expected acceptance min(1, r) of proposals from equilibrium frames, within four standard errors."""
    atoms = molecule.atoms
    restriction = Restriction(molecule.start_positions.float(), atoms)
    target = Target(Potential(compile_system(molecule.system)), 310.0, restriction)
    state = target.init(frames(atoms, 1500))
    (proposer,) = pretrained.load(CARTESIAN, atoms).proposers(None, target.kT).values()
    drawn = proposer.propose(state.positions, generator)
    energy = target.energy(drawn.positions).double()
    log_ratio = drawn.log_ratio - (energy - state.energy.double()) / target.kT
    accepted = torch.where(log_ratio.isfinite(), log_ratio, -torch.inf).clamp(max=0.0).exp()
    assert float(accepted.mean()) > LEAST_CARTESIAN - 4 * float(accepted.std()) / 1500**0.5
    moved = (drawn.positions - state.positions).square().sum(-1).mean(-1).sqrt()
    assert float(moved.median()) > 0.06  # nm: not the tiny steps that anything accepts


def test_models_command(capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "ala2-internal" in out
    assert main(["models", "ala2"]) == 0
    assert "family C" in capsys.readouterr().out
    assert main(["models", "nonesuch"]) == 2
    assert "ala2" in capsys.readouterr().err


def test_weights_of_another_molecule(tmp_path, capsys):
    assert main(["sample", "AG", "--model", "ala2", "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert "trained for ACE-ALA-NME" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
