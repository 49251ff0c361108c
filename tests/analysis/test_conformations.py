"""Backbone conformations: letters by the borders, populations, first visits, and typical frames."""

import numpy as np
import pytest

from synthetic_runs import alanine_run
from timewarp.analysis import analyse, compare, find_conformations, judge, representative, torsion_angles

DEGREES = {
    "A": [(-60, -75), (-60, 49), (-1, 0), (-180, -30)],
    "B": [(-60, 50), (-120, 180), (-60, -76), (-1, -180)],
    "G": [(0, 0), (60, 99), (60, -100), (179, 40)],
    "E": [(0, 100), (60, -101), (60, 180)],
}


@pytest.mark.parametrize("letter", DEGREES)
def test_letters_by_their_borders(letter):
    phi, psi = np.deg2rad(np.array(DEGREES[letter], dtype=float)).T
    assert find_conformations({"phi_2": phi[None], "psi_2": psi[None]}).names == (letter,)


def test_one_letter_per_residue_in_their_order_and_ends_by_what_they_have():
    one = {f"{kind}_{n}": np.full((1, 3), np.deg2rad(a)) for kind, n, a in TORSIONS}
    assert find_conformations(one).names == ("aBGBBBBBBBB+",)
    assert find_conformations({"chi1_1": np.zeros((1, 3))}) is None


TORSIONS = [("psi", 1, 0.0), ("phi", 3, 60.0), ("psi", 3, 40.0), ("phi", 12, 60.0)]
TORSIONS += [(kind, n, a) for n in (2, *range(4, 12)) for kind, a in (("phi", -70.0), ("psi", 140.0))]


def test_populations_and_first_visits():
    # 3 chains of 40: half B, a quarter A, and G in one chain alone, from its frame 10 on.
    labels = np.tile([[-70.0, 150.0]], (3, 40, 1))
    labels[:, 1::2] = -70.0, -20.0
    labels[2, 10:] = 55.0, 40.0
    phi, psi = np.moveaxis(np.deg2rad(labels), -1, 0)
    rows = find_conformations({"phi_1": phi, "psi_1": psi}).table(frame_spacing=5.0)
    assert [row["name"] for row in rows] == ["A", "B", "G"]
    assert [row["population"] for row in rows] == pytest.approx([45 / 120, 45 / 120, 30 / 120])
    assert [row["first_met"] for row in rows] == [5.0, 0.0, 50.0]
    assert [row["median_first_met"] for row in rows] == [5.0, 0.0, None]  # most chains never came to G
    assert [row["chains"] for row in rows] == [3, 3, 1]


def test_the_typical_frame_is_in_the_middle():
    angles = torsion_angles(alanine_run(seed=1, chains=4, frames=200))
    found = find_conformations(angles)
    inside = found.of("G")
    chosen = representative(angles, inside)
    assert inside.ravel()[chosen].all()
    assert len(set(chosen)) == len(chosen)
    distance = np.hypot(angles["phi_1"].ravel() - np.deg2rad(55), angles["psi_1"].ravel() - np.deg2rad(40))
    assert distance[chosen[0]] < np.deg2rad(5)
    assert distance[chosen[0]] < np.quantile(distance[inside.ravel()], 0.2)
    with pytest.raises(ValueError, match="no representative"):
        representative(angles, np.zeros_like(inside))


def test_a_run_too_short_to_meet_a_rare_conformation_is_not_at_fault():
    reference, run = alanine_run(seed=4, frames=300), alanine_run(seed=3, frames=300)
    analysis, comparison = analyse(run, temperature_K=310.0), compare(run, reference, temperature_K=310.0)
    (row,) = [row for row in comparison["conformations"] if row["name"] == "G"]
    row["run"]["value"], row["reference"]["value"] = 0.0, 0.02
    basin = comparison["phi_basins"]["phi_1"]  # a basin is under the same rule
    basin["run"]["population"], basin["reference"]["population"] = 0.0, 0.02
    for size, status in ((400.0, "warn"), (4000.0, "fail")):
        torsions = {name: {**values, "ess": size} for name, values in analysis["torsions"].items()}
        found = judge({**analysis, "torsions": torsions}, comparison).checks
        names = ("basins vs reference", "conformations vs reference")
        assert [c.status for c in found if c.name in names] == [status] * 2


def test_long_peptides_have_more_conformations_than_are_looked_at_one_by_one():
    rng = np.random.default_rng(0)
    angles = {f"{kind}_{n}": rng.uniform(-np.pi, np.pi, (4, 500)) for n in range(2, 10) for kind in ("phi", "psi")}
    found = find_conformations(angles)
    assert len(found) > 1000
    assert len(found.table()) == 64
    assert sum(found.populations().values()) == pytest.approx(1.0)


@pytest.mark.parametrize("lost", [False, True])
def test_a_conformation_that_was_never_visited_makes_the_verdict_fail(lost):
    reference, run = alanine_run(seed=4, frames=300), alanine_run(seed=3, frames=300)
    if lost:  # helical frames become extended ones
        inside = find_conformations(torsion_angles(run)).of("A")
        extended = np.argwhere(find_conformations(torsion_angles(run)).of("B"))
        for place, other in zip(np.argwhere(inside), extended, strict=False):
            run.positions[tuple(place)] = run.positions[tuple(other)]
    comparison = compare(run, reference, temperature_K=310.0)
    verdict = judge(analyse(run, temperature_K=310.0), comparison)
    failed = [check for check in verdict.checks if check.name == "conformations vs reference"]
    assert bool(failed) == lost
    assert all(check.status == "fail" and "A (" in check.text for check in failed)
