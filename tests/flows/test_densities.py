"""Laws of the densities of families B and C."""

import math

import pytest
import torch

from handmade import ALANINE_DIPEPTIDE, random_internal, random_positions
from timewarp.flows import InternalFlow, InternalFlowConfig, TorsionFlow, TorsionFlowConfig
from timewarp.flows.torsions.flow import coupling_mask
from timewarp.geometry import to_internal

ATOMS = ALANINE_DIPEPTIDE
SMALL = {"width": 16, "n_blocks": 1, "n_heads": 2}


def randomised(module: torch.nn.Module, seed: int = 0, scale: float = 0.5) -> torch.nn.Module:
    """Read-outs start at zero, where every law holds trivially: move them away."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
    return module.double()


def flow(family: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if family == "C":
        model = TorsionFlow(ATOMS, TorsionFlowConfig(n_couplings=6, bins=5, context_blocks=1, **SMALL))
    else:
        config = InternalFlowConfig(torsion_couplings=4, torsion_bins=5, stiff_couplings=6, stiff_bins=4, **SMALL)
        model = InternalFlow(ATOMS, config)
    model.fit_standardiser(random_internal(ATOMS, 500, seed=1))
    return randomised(model)


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("family", ["B", "C"])
def test_log_q_of_a_draw_is_its_log_prob(family, generator):
    model, current = flow(family), random_internal(ATOMS, 7, seed=2, dtype=torch.float64)
    condition = model.encode(current)
    with torch.no_grad():
        drawn, log_q = model.sample(condition, 3, generator)
        assert drawn.shape == (3, 7, ATOMS.n_atoms, 3)
        for k in range(3):
            torch.testing.assert_close(model.log_prob(drawn[k], condition), log_q[k], atol=1e-6, rtol=1e-6)
    assert log_q.std() > 0.01


def test_family_c_keeps_the_stiff_coordinates(generator):
    model, current = flow("C"), random_internal(ATOMS, 5, seed=3, dtype=torch.float64)
    drawn, _ = model.sample(model.encode(current), 1, generator)
    stiff = model.standardiser.stiff
    assert torch.equal(drawn[0][:, stiff], current[:, stiff])
    assert (drawn[0] - current)[:, ~stiff].abs().sum() > 0


def test_family_c_condition_ignores_the_soft_torsions():
    model, current = flow("C"), random_internal(ATOMS, 5, seed=3, dtype=torch.float64)
    other = current.clone()
    other[:, list(ATOMS.tree.rotatable), 2] += 1.0
    assert torch.equal(model.encode(current).context, model.encode(other).context)


def test_family_c_uses_the_stiff_coordinates():
    model, current = flow("C"), random_internal(ATOMS, 5, seed=3, dtype=torch.float64)
    other = current.clone()
    other[:, 14, 1] += 0.1
    assert (
        model.log_prob(current, model.encode(current)) - model.log_prob(current, model.encode(other))
    ).abs().min() > 1e-6


@pytest.mark.parametrize("family", ["B", "C"])
def test_log_det_is_the_autograd_jacobian(family):
    """The map from noise to coordinates, differentiated as a whole, gives the log density it claims."""
    model = flow(family)
    current = random_internal(ATOMS, 1, seed=4, dtype=torch.float64)
    soft = list(ATOMS.tree.rotatable)
    if family == "C":
        condition = model.encode(current)

        def to_base(torsions):
            angle = torsions[None]
            for layer in range(model.config.n_couplings):
                angle, _ = model.couplings._couple(layer, angle, condition.context, model._torsion_graph, inverse=False)
            return angle[0]

        jacobian = torch.autograd.functional.jacobian(to_base, current[0, soft, 2])
        expected = torch.linalg.slogdet(jacobian)[1] - len(soft) * math.log(2 * math.pi)
    else:
        stiff = model.standardiser.stiff
        features = model._torsion_features(current[:, soft, 2])

        def to_base(values):
            internal = current.clone()
            internal[0, stiff] = values
            white, _ = model.standardiser.whiten(internal)
            for coupling in model.couplings:
                white, _ = coupling(white, features, model._atom_graph)
            return white[0, stiff]

        values = current[0, stiff]
        jacobian = torch.autograd.functional.jacobian(to_base, values)
        normal = torch.distributions.Normal(0.0, 1.0).log_prob(to_base(values)).sum()
        torsions = model.torsions.log_prob(current[:, soft, 2], None, model._torsion_graph)[0]
        expected = torch.linalg.slogdet(jacobian)[1] + normal + torsions
    torch.testing.assert_close(model.log_prob(current, model.encode(current))[0], expected, atol=1e-6, rtol=1e-6)


def test_a_batch_is_a_loop_over_it():
    for family in "BC":
        model, current = flow(family), random_internal(ATOMS, 4, seed=5, dtype=torch.float64)
        together = model.log_prob(current, model.encode(current))
        alone = torch.cat([model.log_prob(row, model.encode(row)) for row in current[:, None]])
        torch.testing.assert_close(together, alone)


def test_rigid_motion_changes_nothing():
    positions = random_positions(ATOMS, 3, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    rotation = rotation * torch.linalg.det(rotation)
    moved = positions @ rotation.T + 1.0
    for family in "BC":
        model = flow(family)
        a, b = (to_internal(p, ATOMS.tree) for p in (positions, moved))
        torch.testing.assert_close(model.log_prob(a, model.encode(a)), model.log_prob(b, model.encode(b)))


@pytest.mark.parametrize("n", [1, 2, 5, 14])
def test_every_two_torsions_are_parted_by_some_layer(n):
    masks = torch.stack([coupling_mask(layer, n) for layer in range(8)])
    assert masks.any(0).all()
    for i in range(n):
        for j in range(i):
            assert (masks[:, i] != masks[:, j]).any()


def test_every_parameter_gets_a_gradient():
    for family in "BC":
        model, current = flow(family), random_internal(ATOMS, 16, seed=6, dtype=torch.float64)
        model.log_prob(current, model.encode(current)).sum().backward()
        dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        # A query or key of a linear layer's constant part cannot change a softmax over one row.
        assert not [name for name in dead if "key.bias" not in name and "bias" not in name], dead


def test_a_dihedral_that_winds_is_refused():
    model = flow("B")
    white = torch.zeros(1, ATOMS.n_atoms, 3)
    white[:, model.standardiser.stiff] = 1e4
    assert model.standardiser.unwhiten(white).isnan().any()


def test_too_few_frames_to_standardise():
    with pytest.raises(ValueError, match="needs at least 110 frames, got 20"):
        TorsionFlow(ATOMS).fit_standardiser(random_internal(ATOMS, 20))
