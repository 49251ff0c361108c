"""What cannot be used is refused by name, in a line that says what to do."""

import mdtraj
import numpy as np
import pytest
from foreign_files import molecule, positions, topology, within_residues, write

from timewarp.trajectories import open_source, read_frames

FORMATS = ("dcd", "xtc", "trr", "h5", "nc", "pdb")


@pytest.fixture
def top(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "a.dcd", "AG")


def save(x: np.ndarray, of: mdtraj.Topology, name: str = "b", **box) -> None:
    made = mdtraj.Trajectory(x, of, **box)
    made.save(f"{name}.dcd")
    made[0].save(f"{name}.pdb")


def refuse(match: str, path: str = "b.dcd", top: str | None = "b.pdb", **options) -> str:
    with pytest.raises((ValueError, OSError), match=match) as caught:
        read_frames(path, top, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert path in message or str(top) in message
    return message


@pytest.mark.parametrize(
    ("sequence", "match"),
    [
        ("AV", "has GLY 2 where VAL 2 of ALA-VAL was expected"),
        ("GA", "holds ALA-GLY, whose atoms are bonded otherwise than those of GLY-ALA"),
        ("AGG", "holds ALA-GLY, expected ALA-GLY-GLY"),
        ("Ace-P-Nme", "expected ACE-PRO-NME|where"),
    ],
)
def test_another_molecule(top, sequence, match):
    refuse(match, "a.dcd", "top.pdb", molecule=sequence)


@pytest.mark.parametrize("known", [None, "AG"])
@pytest.mark.parametrize(("name", "element"), [("HB2", "H"), ("HA3", "H"), ("CB", "C"), ("OXT", "O")])
def test_a_missing_atom(top, name, element, known):
    whole = topology("AG")
    kept = [atom.index for atom in whole.atoms if atom.name != name]
    save(positions("AG")[:, kept], whole.subset(kept))
    message = refuse(rf"of the file lacks 1 {element} \(such as {name}\)", molecule=known)
    assert ("GLY 2" in message) == (name in ("HA3", "OXT"))


def test_an_extra_atom(top):
    more = topology("AG")
    more.add_atom("H9", mdtraj.element.hydrogen, more.residue(1))
    x = positions("AG")
    save(np.concatenate([x, x[:, -1:] + 0.1], 1), more)
    refuse(r"GLY 2 of the file has too many 1 H \(such as H9\)", molecule="AG")


@pytest.mark.parametrize(("residue", "names", "match"), [
    ("HOH", ("O", "H1", "H2"), r"2 molecules of water beside the peptide.*atom_slice"),
    ("NA", ("NA",), r"2 ions beside the peptide"),
])  # fmt: skip
def test_water_and_ions(top, residue, names, match):
    wet = topology("AG")
    chain = wet.add_chain()
    for _ in range(2):
        new = wet.add_residue(residue, chain)
        for name in names:
            wet.add_atom(name, mdtraj.element.sodium if name == "NA" else mdtraj.element.get_by_symbol(name[0]), new)
    x = positions("AG")
    far = 2 + np.random.default_rng(1).normal(size=(len(x), 2 * len(names), 3)).astype(np.float32)
    save(np.concatenate([x, far], 1), wet)
    refuse(match)
    refuse(f"has {x.shape[1] + 2 * len(names)} atoms and its topology {x.shape[1]}", "b.dcd", "top.pdb")


@pytest.mark.parametrize("known", [None, "AG", "AGAG"])
def test_two_molecules(top, known):
    x = positions("AG")
    save(np.concatenate([x, x + 1.5], 1), topology("AG").join(topology("AG")))
    refuse("holds 2 pieces that no bond joins.*keep one", molecule=known)


def test_a_d_residue_for_an_l_one(top):
    save(positions("AG") * np.float32([1, 1, -1]), topology("AG"))
    for options in ({"top": "b.pdb", "molecule": "AG"}, {"top": "top.pdb"}):
        refuse("frame 0 .*CA of ALA 1 has the other handedness.*a D residue", "b.dcd", **options)
    x = positions("AG").copy()
    x[4] *= np.float32([1, 1, -1])
    save(x, topology("AG"))
    refuse("frame 4 .*other handedness", molecule="AG")


def test_a_topology_of_another_order(top):
    save(positions("AG")[:, within_residues("AG")], topology("AG"))
    refuse("frame 0 .*bonded atoms .* apart, expected .*another order than the trajectory", "b.dcd", "top.pdb")


def test_a_molecule_over_a_periodic_box(top):
    whole = positions("AG")
    wrapped = whole - np.floor(whole)
    size = {"unitcell_lengths": np.ones((len(whole), 3)), "unitcell_angles": np.full((len(whole), 3), 90.0)}
    save(wrapped, topology("AG"))
    refuse("over a box that the file does not have", "b.dcd", "top.pdb")
    save(wrapped, topology("AG"), **size)
    mended = read_frames("b.dcd", "top.pdb")
    assert any("7 frames in pieces were made whole" in note for note in mended.notes)
    known = read_frames("a.dcd", "top.pdb")
    assert np.abs((mended.energies - known.energies).numpy()).max() < 0.01
    save(whole, topology("AG"), **size)
    assert not any("whole" in note for note in read_frames("b.dcd", "top.pdb").notes)


def test_a_box_without_bonds_in_the_topology(top):
    whole = positions("AG")
    size = {"unitcell_lengths": np.ones((len(whole), 3)), "unitcell_angles": np.full((len(whole), 3), 90.0)}
    nameless = topology("AG", names=[f"{e}{k}" for k, e in enumerate(molecule("AG").atoms.elements)], bonds=False)
    mdtraj.Trajectory(whole - np.floor(whole), nameless, **size).save("b.h5")
    mended = read_frames("b.h5", molecule="AG")
    assert np.abs((mended.energies - read_frames("a.dcd", "top.pdb").energies).numpy()).max() < 0.01


@pytest.mark.parametrize(("frame", "atom", "value", "match"), [
    (4, 3, np.nan, "1 frames have no finite energy, first frame 4|frame 4"),
    (2, 3, 5.0, r"frame 2 \(from 0\): the bonded atoms"),
])  # fmt: skip
def test_damaged_frames(top, frame, atom, value, match):
    x = positions("AG").copy()
    x[frame, atom] = value
    save(x, topology("AG"))
    refuse(match, "b.dcd", "top.pdb")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.55, 0.02])
def test_a_truncated_file(top, tmp_path, format, share):
    write(tmp_path / f"whole.{format}", "AG")
    data = (tmp_path / f"whole.{format}").read_bytes()
    (tmp_path / f"cut.{format}").write_bytes(data[: int(share * len(data))])
    refuse("cut short|is not a|single free amino acid", f"cut.{format}", None if format in ("h5", "pdb") else "top.pdb")


@pytest.mark.parametrize("format", FORMATS)
def test_a_text_file_with_a_wrong_suffix(top, tmp_path, format):
    (tmp_path / f"a.{format}").write_text("time energy\n" * 50)
    refuse("is not a .* file|cannot be read", f"a.{format}", None if format in ("h5", "pdb") else "top.pdb")


def test_a_file_of_another_format(top, tmp_path):
    write(tmp_path / "whole.xtc", "AG").with_name("whole.xtc").rename("wrong.dcd")
    refuse("is not a .dcd file", "wrong.dcd", "top.pdb")


def test_bad_arguments(top, tmp_path):
    refuse("there is no trajectory", "none.dcd", "top.pdb")
    refuse("there is no topology", "a.dcd", "none.pdb")
    refuse("does not say what its atoms are; give top=", "a.dcd", None)
    refuse("is no topology that is read", "a.dcd", "a.dcd")
    (tmp_path / "a.gro9").write_text("x")
    refuse("by its suffix '.gro9'; expected .dcd", "a.gro9", "top.pdb")
    (tmp_path / "empty.dcd").write_text("")
    refuse("is empty", "empty.dcd", "top.pdb")
    refuse("7 frames, none left after 7 discarded", "a.dcd", "top.pdb", discard=7)
    for options in ({"stride": 0}, {"discard": -1}, {"chunk": 0}, {"spacing_ps": 0.0}, {"temperature_K": -1.0}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
            read_frames("a.dcd", "top.pdb", **options)
    with pytest.raises(ValueError, match="at least one file"):
        read_frames([], "top.pdb")
    with pytest.raises(FileNotFoundError):
        open_source("nothing")
    with pytest.raises(ValueError, match="no force-field preset"):
        read_frames("a.dcd", "top.pdb", preset="charmm")


def test_nothing_is_printed(top, capfd):
    read_frames("a.dcd", "top.pdb")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
