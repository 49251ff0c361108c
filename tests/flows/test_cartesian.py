"""Laws of family A, the Cartesian flow."""

import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from plain_cartesian import plain_log_prob

from handmade import ALANINE_DIPEPTIDE, random_positions
from timewarp.flows import Candidate, CartesianDensity, CartesianFlow, CartesianFlowConfig
from timewarp.flows.cartesian import transformer
from timewarp.flows.cartesian.augmentation import jitter, rotate_together, superpose_pairs
from timewarp.flows.cartesian.molecules import atom_features
from timewarp.flows.threads import backward
from timewarp.flows.weights import build_network, load_network, save_network
from timewarp.geometry import random_rotations
from timewarp.settings import checked
from timewarp.state import Atoms

ATOMS = ALANINE_DIPEPTIDE
METHANETHIOL = Atoms(
    elements=tuple("CSHHHH"),
    names=("C", "S", "HS", "H1", "H2", "H3"),
    residue_names=("XXX",) * 6,
    residue_numbers=(1,) * 6,
    masses=(12.0, 32.0, 1.0, 1.0, 1.0, 1.0),
    charges=(0.1, -0.3, 0.2, 0.0, 0.0, 0.0),
    bonds=((0, 1), (1, 2), (0, 3), (0, 4), (0, 5)),
)
SMALL = {"n_couplings": 4, "n_layers": 2, "width": 8, "feed_forward": 16, "mlp_hidden": 8, "embedding": 4, "n_heads": 2}
LABORATORY = {"frame": "laboratory"}
PAPER = {**LABORATORY, "rich_features": False, "merged_values": False, "learn_length_scales": False}
VARIANTS = {
    "ours": {},
    "paper": {**PAPER, "length_unit_nm": 1.0},
    "auxiliary": {**PAPER, "use_auxiliary": True},
    "bonds and auxiliary": {"use_auxiliary": True},
    "molecule": {"frame": "molecule"},
    "dense": {"attention": "dense"},
    "local": {"attention": "local", "radius_nm": 0.2, **LABORATORY},
}


def flow(variant: str = "ours", molecules=ATOMS, seed: int = 0, **changes) -> CartesianFlow:
    """A small flow away from the identity that it starts as, in double precision."""
    torch.manual_seed(seed)
    model = CartesianFlow(molecules, CartesianFlowConfig(**{**SMALL, **VARIANTS[variant], **changes})).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                0.3 * torch.randn(parameter.shape) / max(1, parameter.shape[-1] if parameter.ndim else 1) ** 0.5
            )
    return model.eval()


def states(atoms: Atoms = ATOMS, n: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x = random_positions(atoms, n, seed, dtype=torch.float64)
    return x, torch.randn(x.shape, generator=torch.Generator().manual_seed(seed + 9), dtype=torch.float64)


def candidate(x: torch.Tensor, n: int = 2, seed: int = 5) -> Candidate:
    noise = torch.randn(2, n, *x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    return Candidate(x + 0.1 * noise[0], noise[1])


every_variant = pytest.mark.parametrize("variant", VARIANTS)


def test_it_is_a_cartesian_density():
    assert isinstance(flow(), CartesianDensity)


@every_variant
def test_log_q_of_a_draw_is_its_log_prob(variant, generator):
    model, (x, v) = flow(variant), states()
    condition = model.encode(x, v)
    drawn, log_q = model.sample(condition, 4, generator)
    assert drawn.positions.shape == (4, 3, ATOMS.n_atoms, 3)
    assert log_q.shape == (4, 3)
    torch.testing.assert_close(model.log_prob(drawn, condition), log_q, atol=1e-8, rtol=1e-8)
    assert log_q.std() > 0.1


@every_variant
def test_the_inverse_gives_the_latents_back(variant):
    model, (x, v) = flow(variant), states()
    condition = model.encode(x, v)
    z = torch.randn(2, 2, *x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    drawn, log_q = model.transform(z[0], z[1], condition)
    position, auxiliary, again = model.latents(drawn, condition)
    torch.testing.assert_close(position, z[0], atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(auxiliary, z[1], atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(again, log_q, atol=1e-8, rtol=1e-8)


@every_variant
def test_log_det_is_the_autograd_jacobian(variant):
    model = flow(variant, METHANETHIOL)
    x, v = states(METHANETHIOL, 1)
    condition = model.encode(x, v)

    def to_candidate(z):
        drawn, _ = model.transform(*z.view(2, 1, *x.shape), condition)
        return torch.stack([drawn.positions, drawn.auxiliary]).flatten()

    z = torch.randn(2 * x.numel(), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    log_det = torch.linalg.slogdet(torch.autograd.functional.jacobian(to_candidate, z))[1]
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum() - log_det
    torch.testing.assert_close(model.transform(*z.view(2, 1, *x.shape), condition)[1][0, 0], expected)


@every_variant
def test_a_batch_is_a_loop_over_it(variant):
    model, (x, v) = flow(variant), states()
    new = candidate(x)
    together = model.log_prob(new, model.encode(x, v))
    for b in range(3):
        condition = model.encode(x[b : b + 1], v[b : b + 1])
        for k in range(2):
            one = Candidate(new.positions[k : k + 1, b : b + 1], new.auxiliary[k : k + 1, b : b + 1])
            torch.testing.assert_close(model.log_prob(one, condition)[0, 0], together[k, b])


@every_variant
@pytest.mark.parametrize("tokens", [1, 60, 10_000])
def test_pieces_change_nothing(variant, tokens, monkeypatch):
    """Without gradients states pass in pieces, on threads too; with them the feed-forward layers do."""
    model, (x, v) = flow(variant), states(n=5)
    new = candidate(x, 7)
    whole = model.log_prob(new, model.encode(x, v)).detach()
    monkeypatch.setattr(transformer, "TOKENS_AT_ONCE", tokens)
    torch.testing.assert_close(model.log_prob(new, model.encode(x, v)).detach(), whole)
    with torch.no_grad():
        condition = model.encode(x, v)
        torch.testing.assert_close(model.log_prob(new, condition), whole)
        torch.testing.assert_close(model.log_prob(new, condition), whole)
        model.threads = 3
        torch.testing.assert_close(model.log_prob(new, condition), whole)
        one = model.encode(x[:1], v[:1])
        lonely = Candidate(new.positions[:1, :1], new.auxiliary[:1, :1])
        torch.testing.assert_close(model.log_prob(lonely, one), whole[:1, :1])
        part = model.log_prob(Candidate(new.positions[:, 1:3], new.auxiliary[:, 1:3]), condition.select(slice(1, 3)))
    torch.testing.assert_close(part, whole[:, 1:3])


@pytest.mark.parametrize("variant", ["paper", "auxiliary"])
def test_it_equals_the_plain_implementation(variant):
    """In float32, with and without gradients, against loops that know nothing of how the fast one is arranged."""
    model, (x, v) = flow(variant).float(), states()
    x, v = x.float(), v.float()
    new = candidate(x)
    fast = model.log_prob(new, model.encode(x, v))
    with torch.no_grad():
        faster = model.log_prob(new, model.encode(x, v))
        for b in range(3):
            for k in range(2):
                plain = plain_log_prob(model, ATOMS, x[b], v[b], new.positions[k, b], new.auxiliary[k, b])
                torch.testing.assert_close(fast[k, b], plain, atol=2e-3, rtol=1e-5)
                torch.testing.assert_close(faster[k, b], plain, atol=2e-3, rtol=1e-5)


@every_variant
def test_translation_changes_nothing(variant):
    model, (x, v) = flow(variant), states()
    new, shift = candidate(x), torch.tensor([3.0, -2.0, 1.0], dtype=torch.float64)
    moved = Candidate(new.positions + shift, new.auxiliary)
    torch.testing.assert_close(
        model.log_prob(new, model.encode(x, v)), model.log_prob(moved, model.encode(x + shift, v))
    )


def test_the_molecules_frame_makes_it_equivariant_under_rotation():
    """And the laboratory's does not: what data augmentation is for."""
    rotation = random_rotations(1, torch.Generator().manual_seed(3), dtype=torch.float64)[0]
    x, v = states()
    new = candidate(x)
    turned = Candidate(new.positions @ rotation.T, new.auxiliary @ rotation.T)
    both = ((new, x, v), (turned, x @ rotation.T, v @ rotation.T))
    for variant in ("ours", "molecule", "dense"):
        model = flow(variant)
        here, there = (model.log_prob(c, model.encode(y, u)) for c, y, u in both)
        torch.testing.assert_close(here, there)
    model = flow("paper")
    here, there = (model.log_prob(c, model.encode(y, u)) for c, y, u in both)
    assert (here - there).abs().min() > 1e-3


@pytest.mark.parametrize("variant", ["ours", "paper", "dense", "local"])
def test_permutation_changes_nothing(variant):
    order = torch.randperm(ATOMS.n_atoms, generator=torch.Generator().manual_seed(4)).tolist()
    place = {old: new for new, old in enumerate(order)}
    per_atom = {
        name: tuple(getattr(ATOMS, name)[i] for i in order)
        for name in ("elements", "names", "residue_names", "residue_numbers", "masses", "charges")
    }
    shuffled = replace(ATOMS, **per_atom, bonds=tuple((place[i], place[j]) for i, j in ATOMS.bonds))
    fixed = (
        {} if variant == "bonds" else LABORATORY
    )  # whose three atoms are chosen by number where the graph is symmetric
    a, b = flow(variant, **fixed), flow(variant, shuffled, **fixed)
    x, v = states()
    new = candidate(x)
    permuted = Candidate(new.positions[:, :, order], new.auxiliary[:, :, order])
    here, there = a.encode(x, v), b.encode(x[:, order], v[:, order])
    torch.testing.assert_close(a.log_prob(new, here), b.log_prob(permuted, there))


@every_variant
def test_padding_and_company_change_nothing(variant, generator):
    alone = flow(variant, METHANETHIOL)
    both = flow(variant, [ATOMS, METHANETHIOL])
    x, v = states(METHANETHIOL, 2)
    new = candidate(x)
    company, company_v = states(ATOMS, 2, seed=7)

    def padded(small, large):
        out = torch.full_like(large, 8.0)  # what stands where there is no atom must not matter
        out[..., : small.shape[-2], :] = small
        return torch.cat([out, large], -3)

    more = candidate(company, seed=8)
    mixed = Candidate(padded(new.positions, more.positions.double()), padded(new.auxiliary, more.auxiliary))
    mixed = Candidate(torch.cat([mixed.positions[:, :2], mixed.positions[:, 2:]], 1), torch.cat([mixed.auxiliary], 1))
    x_mixed, v_mixed = padded(x, company), padded(v, company_v)
    molecule = torch.tensor([1, 1, 0, 0])
    condition = both.encode(x_mixed, v_mixed, molecule)
    together = both.log_prob(mixed, condition)
    torch.testing.assert_close(together[:, :2], alone.log_prob(new, alone.encode(x, v)))

    z = torch.randn(2, 2, *x.shape, dtype=torch.float64, generator=generator)
    z_mixed = torch.randn(2, 2, 4, ATOMS.n_atoms, 3, dtype=torch.float64, generator=generator)
    z_mixed[:, :, :2, :6] = z
    drawn, log_q = both.transform(z_mixed[0], z_mixed[1], condition)
    expected, expected_log_q = alone.transform(z[0], z[1], alone.encode(x, v))
    torch.testing.assert_close(drawn.positions[:, :2, :6], expected.positions)
    torch.testing.assert_close(drawn.auxiliary[:, :2, :6], expected.auxiliary)
    torch.testing.assert_close(log_q[:, :2], expected_log_q)
    assert torch.equal(drawn.positions[:, :2, 6:], x_mixed[:2, 6:].expand(2, -1, -1, -1))
    assert not drawn.auxiliary[:, :2, 6:].any()

    # A batch of the small molecule alone needs no padding to the largest.
    trimmed = both.encode(x, v, torch.tensor([1, 1]))
    torch.testing.assert_close(both.log_prob(new, trimmed), together[:, :2])


@every_variant
def test_every_parameter_gets_a_gradient_from_both_directions(variant, generator):
    model, (x, v) = flow(variant), states()
    for direction in ("score", "sample"):
        model.zero_grad()
        condition = model.encode(x, v)
        if direction == "score":
            model.log_prob(candidate(x), condition).sum().backward()
        else:
            drawn, log_q = model.sample(condition, 2, generator)
            (drawn.positions.square().sum() + drawn.auxiliary.square().sum() + log_q.sum()).backward()
        dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not dead, dead


def test_gradients_are_those_of_finite_differences():
    """The feed-forward layers have a backward pass of their own."""
    model = flow("paper", METHANETHIOL, n_couplings=2, n_layers=1)
    x, _ = states(METHANETHIOL, 1)
    noise = candidate(x)

    def score(x, positions, auxiliary):
        return model.log_prob(Candidate(positions, auxiliary), model.encode(x))

    inputs = [t.clone().requires_grad_() for t in (x, noise.positions, noise.auxiliary)]
    assert torch.autograd.gradcheck(score, inputs)
    network = model.couplings[0].shift.layers[0]
    tokens = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(2, 3 * 6, 3, dtype=torch.float64)
    parameters = list(network.parameters())
    assert torch.autograd.gradcheck(lambda t, *_: network(t, weights), [tokens, *parameters])


@pytest.mark.parametrize("threads", [1, 2])
def test_backward_on_threads_gives_the_gradients_of_one(threads):
    model, (x, _) = flow("paper"), states(n=4)
    new = candidate(x)

    def loss(rows: slice) -> torch.Tensor:
        part = Candidate(new.positions[:, rows], new.auxiliary[:, rows])
        return -model.log_prob(part, model.encode(x[rows])).sum()

    whole = loss(slice(None))
    expected = torch.autograd.grad(whole, list(model.parameters()))
    for _ in range(2):  # gradients add up
        parts = [partial(loss, slice(0, 1)), partial(loss, slice(1, 3)), partial(loss, slice(3, 4))]
        torch.testing.assert_close(backward(parts, model.parameters(), threads), whole.detach())
    for gradient, parameter in zip(expected, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient)


def test_it_can_start_as_the_identity(generator):
    config = CartesianFlowConfig(**SMALL, frame="molecule", initial_scale=0.0)
    model, (x, _) = CartesianFlow(ATOMS, config).double(), states()
    model.fit_prior(x, x + 0.02)
    drawn, _ = model.sample(model.encode(x), 500, generator)
    assert (drawn.positions - x).std().item() == pytest.approx(0.02, rel=0.02)
    assert drawn.auxiliary.std().item() == pytest.approx(1.0, rel=0.02)


def test_changed_weights_are_seen_at_once():
    """Evaluation keeps products of weights between calls; a changed parameter must not meet an old product."""
    model, (x, _) = flow("paper"), states()
    new = candidate(x)
    with torch.no_grad():
        before = model.log_prob(new, model.encode(x))
        model.couplings[1].shift.layers[0].attention.values.weight.mul_(1.5)
        changed = model.log_prob(new, model.encode(x))
        other = flow("paper", seed=1)
        expected = other.log_prob(new, other.encode(x))
        model.load_state_dict(other.state_dict())
        loaded = model.log_prob(new, model.encode(x))
        converted = model.float().log_prob(
            Candidate(new.positions.float(), new.auxiliary.float()), model.encode(x.float())
        )
    assert (before - changed).abs().max() > 1e-4
    torch.testing.assert_close(loaded, expected)
    torch.testing.assert_close(converted.double(), expected, atol=1e-3, rtol=1e-4)


def test_weights_round_trip_and_serve_another_molecule(tmp_path):
    config = {**SMALL, "length_scales_nm": [0.1, 0.5], "rich_features": False}
    model = build_network(ATOMS, "A", config)
    torch.nn.init.normal_(model.couplings[0].scale.read_out.weight)
    described = save_network(tmp_path, "model", model, {})
    assert (described.family, described.residues) == ("A", "ACE-ALA-NME")
    again = load_network(described, ATOMS)
    x = random_positions(ATOMS, 2)
    new = candidate(x)
    assert torch.equal(model.eval().log_prob(new, model.encode(x)), again.log_prob(new, again.encode(x)))
    elsewhere = load_network(described, METHANETHIOL)
    y = random_positions(METHANETHIOL, 2)
    assert elsewhere.log_prob(candidate(y), elsewhere.encode(y)).isfinite().all()
    model.serve(METHANETHIOL)
    assert torch.equal(
        model.log_prob(candidate(y), model.encode(y)), elsewhere.log_prob(candidate(y), elsewhere.encode(y))
    )
    selenium = replace(METHANETHIOL, elements=("C", "Se", "H", "H", "H", "H"))
    with pytest.raises(ValueError, match="the networks know the elements H, C, N, O, S, not Se"):
        load_network(described, selenium)


CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("reference-example", 35_971_282),
        ("paper-ad", 106_036_458),
        ("paper-2aa", 106_036_458),
        ("paper-4aa", None),
        ("ala2-cartesian", None),
    ],
)
def test_published_sizes(name, parameters):
    table = tomllib.loads((CONFIGS / f"{name}.toml").read_text())["training"]
    assert table["family"] == "A"
    config = CartesianFlowConfig(**checked(CartesianFlowConfig, table["flow"]))
    if parameters is None:
        low, high = {"paper-4aa": (3.6e8, 4.4e8), "ala2-cartesian": (1e6, 3e6)}[name]
        assert low < _count(config) < high
    else:
        assert _count(config) == parameters


def _count(config: CartesianFlowConfig) -> int:
    """Parameters by arithmetic from the counted couplings of a flow with two of them: couplings are alike."""
    two = CartesianFlow(ATOMS, replace(config, n_couplings=2))
    coupling = sum(p.numel() for p in two.couplings[0].parameters())
    return sum(p.numel() for p in two.parameters()) + (config.n_couplings - 2) * coupling


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_couplings": 3}, "n_couplings must be even"),
        ({"attention": "chebyshev"}, "attention must be one of kernel, dense, local, got 'chebyshev'"),
        ({"frame": "moon"}, "frame must be one of laboratory, molecule, bonds, got 'moon'"),
        ({"length_scales_nm": (0.1, -1.0)}, "length_scales_nm must be a number above 0 nm, got -1.0"),
        ({"length_scales_nm": ()}, "length_scales_nm must be positive lengths, got none"),
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
        ({"attention": "dense", "n_heads": 7}, r"width \(64\) must be a multiple of n_heads \(7\)"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CartesianFlowConfig(**changes)


def test_what_encode_refuses():
    model = flow("auxiliary")
    with pytest.raises(ValueError, match="conditioned on the auxiliary"):
        model.encode(states()[0])
    with pytest.raises(ValueError, match="the positions have 6 atoms, but the molecules of this batch have up to 22"):
        flow().encode(torch.zeros(1, 6, 3, dtype=torch.float64))


def test_hydrogens_of_a_methyl_group_are_alike_and_other_atoms_are_not():
    features = atom_features(ATOMS)
    assert torch.equal(features[0], features[2])
    assert not torch.equal(features[0], features[11])
    assert not torch.equal(features[1], features[18])


def test_rotation_augmentation_turns_pairs_together(generator):
    x, v = states()
    turned, turned_v = rotate_together(generator, x, v)
    torch.testing.assert_close((turned * turned_v).sum(-1), (x * v).sum(-1))
    assert (turned - x).abs().max() > 0.1
    assert (turned[0] @ turned[0].T - x[0] @ x[0].T).abs().max() < 1e-6


def test_superposed_pairs_lose_their_rigid_motion(generator):
    x, _ = states(n=4)
    is_atom = torch.ones(4, 22, dtype=torch.bool)
    is_atom[1, 15:] = False
    x = x * is_atom.unsqueeze(-1)
    (tumbled,) = rotate_together(generator, x)
    back = superpose_pairs(x, (tumbled + 2.0) * is_atom.unsqueeze(-1), is_atom)
    torch.testing.assert_close(back, x, atol=1e-6, rtol=1e-6)
    shaken = jitter(generator, x, is_atom, shift_nm=0.05, turn_rad=0.1)
    assert not shaken[~is_atom].any()
    assert 0.005 < (shaken - x)[is_atom].std() < 0.2
    torch.testing.assert_close(superpose_pairs(x, shaken, is_atom), x, atol=1e-6, rtol=1e-6)
