"""Time-lagged pairs of several runs and molecules: what is read, what is refused, how batches are padded."""

import pytest
import torch
from lagged_runs import METHANOL, MOLECULES, SPACING_PS, TINY, WOBBLES, elastic, lagged_run

from timewarp.flows import CartesianFlow, CartesianFlowConfig
from timewarp.training import TrainingSettings, load_pairs
from timewarp.training.cartesian import CartesianObjective, PairTask
from timewarp.training.tasks import frame_indices
from timewarp.trajectories import RunFolder

LAG_PS = 3 * SPACING_PS


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [
        lagged_run(folder / "a", 0),
        lagged_run(folder / "b", 1, frames=120),
        lagged_run(folder / "c", 0, frames=90),
    ]


def test_pairs_are_a_lag_apart_in_one_chain_and_never_in_both_parts(runs):
    data = load_pairs(runs, LAG_PS, validation_fraction=0.2)
    assert data.molecules == MOLECULES
    assert data.train.molecules == (0, 1, 0)
    assert data.parameters == (None, None), "no energy lies beside these runs"
    for learnt, held_out, path in zip(data.train.runs, data.validation.runs, runs, strict=True):
        trajectory = RunFolder.open(path).trajectory()
        frames = [{(c, f + k) for c, f in part.starts.tolist() for k in (0, 3)} for part in (learnt, held_out)]
        assert not frames[0] & frames[1]
        before, after = learnt.frames(torch.tensor([0, 5]))
        chain, frame = learnt.starts[5].tolist()
        assert torch.equal(before[1], trajectory.positions[chain, frame])
        assert torch.equal(after[1], trajectory.positions[chain, frame + 3])


def test_pairs_are_numbered_through_and_padded_to_the_largest_of_the_batch(runs):
    pairs = load_pairs(runs, LAG_PS).train
    first, second, _ = map(len, pairs.runs)
    before, after, molecule = pairs.take(torch.tensor([first + second, 0, first]))
    assert molecule.tolist() == [0, 0, 1]
    assert before.shape == after.shape == (3, 22, 3)
    assert not before[:2, 6:].any()
    assert torch.equal(before[0, :6], pairs.runs[2].frames(torch.tensor([0]))[0][0])
    assert torch.equal(after[2], pairs.runs[1].frames(torch.tensor([0]))[1][0])
    assert pairs.take(torch.tensor([0, 1]))[0].shape == (2, METHANOL.n_atoms, 3)


@pytest.mark.parametrize(
    ("lag_ps", "message"),
    [
        (5.0, r"a frame every 2 ps, which does not divide lag_ps = 5; set lag_ps to a multiple of it, such as 4"),
        (1.0, r"does not divide lag_ps = 1; .* such as 2"),
        (200.0, r"has 200 frames per chain, 400 ps; pairs 200 ps apart .* need at least 400 frames; simulate 0.8 ns"),
    ],
)
def test_a_lag_that_a_run_does_not_serve(runs, lag_ps, message):
    with pytest.raises(ValueError, match=message):
        load_pairs(runs[:1], lag_ps)


def test_runs_without_dynamics_are_refused(tmp_path):
    moves = lagged_run(tmp_path / "moves", dynamics=False)
    with pytest.raises(ValueError, match="MD with torsion moves, which has no time"):
        load_pairs([moves], LAG_PS)
    chain = lagged_run(tmp_path / "chain", kind="chain")
    with pytest.raises(ValueError, match="a sampled chain, which has no time"):
        load_pairs([chain], LAG_PS)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "set lag_ps"),
        ({"lag_ps": 6.0, "jitter_nm": 0.0}, "no width"),
        ({"lag_ps": 6.0, "align": "sideways"}, "align must be one of superpose, centre, none, got 'sideways'"),
        ({"lag_ps": 6.0, "stages": {"one": {"likelihood": 1.0}}}, "lacks its number of steps"),
        ({"lag_ps": 6.0, "stages": {"one": {"steps": 5}}}, "no optimum"),
        ({"lag_ps": 6.0, "stages": {"one": {"steps": 5, "entropy": 1.0}}}, "grows without bound"),
        ({"lag_ps": 6.0, "stages": {"one": {"steps": 5, "likelihod": 1.0}}}, "no setting 'likelihod'"),
        ({"lag_ps": 6.0, "stages": {"one": {"steps": 5, "likelihood": -1.0}}}, "0 or a positive number"),
        ({"lag_ps": 6.0, "steps": 9, "stages": {"one": {"steps": 5, "likelihood": 1.0}}}, "either steps or stages"),
        ({"lag_ps": 6.0, "stages": {"one": 5}}, "must be a table"),
        ({"family": "C", "lag_ps": 6.0}, "lag_ps is a setting of family A"),
    ],
)
def test_bad_settings(table, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings.from_table({"family": "A", **table})


def task(runs, **changes) -> PairTask:
    settings = TrainingSettings(family="A", flow=TINY, lag_ps=LAG_PS, batch_size=12, **changes)
    return PairTask(load_pairs(runs, LAG_PS), settings, None)


def squared_distance(a, b):
    return (a - b).square().sum((-1, -2)).mean()


def test_superposing_takes_rigid_motion_out_of_pairs(runs):
    batches = {
        align: task(runs[:1], align=align, jitter_nm=1e-3, jitter_rad=1e-3).batch(0, (0, 1), None, (1.0, 0.0, 0.0))
        for align in ("superpose", "centre", "none")
    }
    apart = {align: float(squared_distance(batch[0], batch[1])) for align, batch in batches.items()}
    wobble = float(2 * 3 * WOBBLES[0].square().sum())
    assert apart["superpose"] < wobble < 0.5 * apart["centre"] < 0.05 * apart["none"]


def test_pairs_are_turned_together_at_random_the_same_at_the_same_step(runs):
    chosen = task(runs[:1], align="none")
    before, after, *_ = chosen.batch(0, (0, 1), None, (1.0, 0.0, 0.0))
    assert torch.equal(chosen.batch(0, (0, 1), None, (1.0, 0.0, 0.0))[1], after)
    which = frame_indices(len(chosen.data.train), 12, 0, 0)
    plain = chosen._pairs(chosen.data.train, which, torch.Generator())
    torch.testing.assert_close(torch.cdist(before, after), torch.cdist(plain[0], plain[1]), atol=1e-4, rtol=1e-4)
    turned = (before - plain[0]).norm(dim=-1).mean(1)
    assert (turned > 0.01).sum() > 9
    assert turned.std() > 0.01


@pytest.mark.parametrize("use_auxiliary", [False, True])
def test_a_padded_batch_of_different_molecules_is_the_separate_ones(runs, use_auxiliary):
    """The loss of a mixed batch, and its gradient, are the weighted means of those of each molecule alone."""
    mixed = task(runs)
    torch.manual_seed(0)
    flow = CartesianFlow(MOLECULES, CartesianFlowConfig(**TINY, use_auxiliary=use_auxiliary)).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        flow.log_scale_position.fill_(-2.0)
    before, after, molecule, auxiliaries, latents, _ = mixed.batch(0, (0, 1), flow, (1.0, 0.0, 0.0))
    before, after, auxiliaries, latents = (t.double() for t in (before, after, auxiliaries, latents))
    assert sorted(set(molecule.tolist())) == [0, 1]
    weights = (1.0, 0.5, 0.3)

    def gradients(rows, n_atoms):
        objective = CartesianObjective(flow, lambda: elastic, 100.0)
        flow.zero_grad()
        parts = [t[rows, :n_atoms] for t in (before, after)], [t[:, rows, :n_atoms] for t in (auxiliaries, latents)]
        loss, metrics = objective(*parts[0], molecule[rows], *parts[1], weights)
        loss.backward()
        assert metrics["nonfinite"] == 0
        return loss.detach(), [p.grad.clone() for p in flow.parameters()]

    whole_loss, whole = gradients(torch.arange(12), 22)
    parts = []
    for number, atoms in enumerate(MOLECULES):
        rows = (molecule == number).nonzero()[:, 0]
        parts.append((len(rows) / 12, *gradients(rows, atoms.n_atoms)))
    torch.testing.assert_close(whole_loss, sum(share * loss for share, loss, _ in parts))
    for k, gradient in enumerate(whole):
        torch.testing.assert_close(gradient, sum(share * own[k] for share, _, own in parts), atol=1e-7, rtol=1e-7)


def test_shares_of_a_batch_make_up_the_batch(runs):
    """What two processes take is what one would: rows and noise do not depend on who asks."""
    chosen = task(runs)
    whole = chosen.batch(3, (0, 1), None, (1.0, 0.0, 0.0))
    halves = [chosen.batch(3, (k, 2), None, (1.0, 0.0, 0.0)) for k in range(2)]
    for k, dim in enumerate((0, 0, 0, 1, 1)):
        assert torch.equal(torch.cat([half[k] for half in halves], dim), whole[k])
