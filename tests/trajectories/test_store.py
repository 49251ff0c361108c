"""The run folder: what was closed can be read, nothing is written over, damage is named."""

import json
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from timewarp.state import Atoms
from timewarp.trajectories import RunFolder

BUTANE = Atoms(
    elements=("C",) * 4 + ("H",),
    names=("C1", "C2", "C3", "C4", "H1"),
    residue_names=("BUT",) * 5,
    residue_numbers=(1,) * 5,
    masses=(12.0,) * 4 + (1.0,),
    charges=(0.0,) * 5,
    bonds=((0, 1), (1, 2), (2, 3), (3, 4)),
)
OTHER = Atoms(**{**BUTANE.__dict__, "names": ("CA", "C2", "C3", "C4", "H1")})
CONFIG = {"preset": "none", "timestep_fs": 2.0, "length_ns": 1.0, "nested": {"a": [1, 2], "b": None}}


def create(path, kind="md", atoms=BUTANE, config=CONFIG, **kwargs):
    return RunFolder.create(path, kind=kind, name="butane", atoms=atoms, topology_pdb="END\n", config=config, **kwargs)


def fill(run, lengths, stream=0, chains=1, every=100, seed=0):
    """Append segments of the given lengths; return all positions (frames, chains, atoms, 3) and energies."""
    g = torch.Generator().manual_seed(seed + 97 * stream)
    total = sum(lengths)
    x = torch.randn(total, chains, 5, 3, generator=g)
    u = torch.randn(total, chains, generator=g, dtype=torch.float64)
    steps = every * torch.arange(1, total + 1)
    at = 0
    for n in lengths:
        cut = slice(at, at + n)
        run.append(stream, x[cut], u[cut], steps[cut], {"counter": torch.tensor(at + n)})
        at += n
    return x, u


def test_round_trip(tmp_path):
    run = create(tmp_path / "run")
    x0, u0 = fill(run, [3, 4, 2])
    x1, _ = fill(run, [5, 5], stream=1)
    again = RunFolder.open(tmp_path / "run")
    trajectory = again.trajectory()
    assert (again.name, again.kind, again.streams, again.n_frames(1)) == ("butane", "md", [0, 1], 10)
    assert again.atoms == BUTANE
    assert again.config == {"preset": "none", "timestep_fs": 2.0, "length_ns": 1.0, "nested": {"a": [1, 2]}}
    assert torch.equal(trajectory.positions[0], x0[:, 0])
    assert torch.equal(trajectory.positions[1], x1[:9, 0])
    assert torch.equal(trajectory.energies[0], u0[:, 0])
    assert trajectory.frame_spacing == pytest.approx(0.2)
    assert trajectory.unit == "ps"
    assert again.last_state(0)["counter"] == 9
    assert again.last_state(2) is None


@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6),
    stride=st.integers(1, 9),
    discard=st.integers(0, 12),
)
def test_stride_and_discard_are_slices(lengths, stride, discard, tmp_path_factory):
    run = create(tmp_path_factory.mktemp("run"), kind="chain")
    x, u = fill(run, lengths, chains=2, every=10)
    if discard >= sum(lengths):
        with pytest.raises(ValueError, match="none left"):
            run.trajectory(stride, discard)
        return
    got = run.trajectory(stride, discard)
    assert torch.equal(got.positions, x[discard::stride].transpose(0, 1))
    assert torch.equal(got.energies, u[discard::stride].T)
    assert torch.equal(got.steps, 10 * torch.arange(1, len(x) + 1)[discard::stride])
    if got.n_frames > 1:
        assert got.frame_spacing == 10 * stride
    assert got.unit == "step"


def test_create_resumes_the_same_run_only(tmp_path):
    create(tmp_path)
    assert create(tmp_path).streams == []
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(FileExistsError, match="another molecule"):
        create(tmp_path, atoms=OTHER)
    with pytest.raises(FileExistsError, match="kind md, not chain"):
        create(tmp_path, kind="chain")
    with pytest.raises(FileExistsError, match=r"whose length_ns is 1\.0, not 2\.0"):
        create(tmp_path, config={**CONFIG, "length_ns": 2.0})
    with pytest.raises(FileExistsError, match=r"whose nested\.a is"):
        create(tmp_path, config={**CONFIG, "nested": {"a": [1]}})
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    longer = create(tmp_path, config={**CONFIG, "length_ns": 2.0}, may_change=("length_ns",))
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}  # who may write is not known yet
    with longer.lock():
        pass
    assert RunFolder.open(tmp_path).config["length_ns"] == 2.0


def test_create_refuses_foreign_folders_and_files(tmp_path):
    (tmp_path / "thesis.tex").write_text("do not touch")
    with pytest.raises(FileExistsError, match=r"thesis\.tex"):
        create(tmp_path)
    with pytest.raises(NotADirectoryError):
        create(tmp_path / "thesis.tex")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_interrupted_creation_is_completed(tmp_path):
    create(tmp_path)
    (tmp_path / "config.toml").unlink()
    with pytest.raises(FileNotFoundError, match=r"no config\.toml"):
        RunFolder.open(tmp_path)
    assert create(tmp_path).streams == []


def test_open_needs_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such run"):
        RunFolder.open(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        RunFolder.open(tmp_path)
    create(tmp_path)
    (tmp_path / "config.toml").write_text("not toml")
    with pytest.raises(ValueError, match="TOML"):
        RunFolder.open(tmp_path)


def test_atoms_of_another_molecule(tmp_path):
    create(tmp_path)
    (tmp_path / "atoms.json").write_text(json.dumps(OTHER.to_json()))
    with pytest.raises(ValueError, match="different molecules"):
        RunFolder.open(tmp_path)


def test_truncated_segments_are_named(tmp_path):
    run = create(tmp_path)
    fill(run, [3, 3])
    path = tmp_path / "segments" / "s000-000001.safetensors"
    whole = path.read_bytes()
    rng = random.Random(3)
    for size in [0, 4, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(10))]:
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="s000-000001"):
            RunFolder.open(tmp_path)


def test_foreign_and_missing_segments_are_named(tmp_path):
    run, other = create(tmp_path / "a"), create(tmp_path / "b", atoms=OTHER)
    fill(run, [3, 3, 3])
    fill(other, [3, 3])
    mine, theirs = tmp_path / "a" / "segments", tmp_path / "b" / "segments"
    (mine / "s001-000000.safetensors").write_bytes((theirs / "s000-000000.safetensors").read_bytes())
    with pytest.raises(ValueError, match="s000-000000"):
        RunFolder.open(run.path)
    (mine / "s001-000000.safetensors").unlink()
    (mine / "s000-000001.safetensors").write_bytes((theirs / "s000-000001.safetensors").read_bytes())
    with pytest.raises(ValueError, match="another molecule"):
        RunFolder.open(run.path)
    (mine / "s000-000001.safetensors").unlink()
    with pytest.raises(ValueError, match=r"s000-000001\.safetensors is missing"):
        RunFolder.open(run.path)


def test_append_checks(tmp_path):
    run = create(tmp_path)
    x, u, steps = torch.zeros(2, 1, 5, 3), torch.zeros(2, 1), torch.tensor([1, 2])
    with pytest.raises(ValueError, match="expected"):
        run.append(0, x[..., :4, :], u, steps, {})
    with pytest.raises(ValueError, match="not finite"):
        run.append(0, x * torch.nan, u, steps, {})
    with pytest.raises(ValueError, match="increase"):
        run.append(0, x, u, steps.flip(0), {})
    run.append(0, x, u, steps, {})
    with pytest.raises(ValueError, match="does not follow"):
        run.append(0, x, u, steps, {})
    late = RunFolder.open(tmp_path)
    run.append(0, x, u, steps + 2, {})
    with pytest.raises(FileExistsError, match="another process"):
        late.append(0, x, u, steps + 2, {})
    late.refresh()
    assert late.n_frames(0) == 4


def test_one_writer_at_a_time(tmp_path):
    run = create(tmp_path)
    (tmp_path / "segments" / "s000.1.timewarp-part").write_text("left over")
    with run.lock(), pytest.raises(FileExistsError, match="another process"), create(tmp_path).lock():
        pass
    assert not list((tmp_path / "segments").iterdir())
    with create(tmp_path).lock():
        pass
