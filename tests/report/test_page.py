import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
import torch

from synthetic_runs import alanine, alanine_run
from timewarp.analysis import analyse, check_geometry, compare, find_conformations, judge, torsion_angles
from timewarp.analysis.slow import slow_motions
from timewarp.analysis.speed import compare_speed
from timewarp.report import PRINT, WEB, Provenance, make_figures, render_page, write_report
from timewarp.report.drawing import symbol
from timewarp.report.planes import draw_populations
from timewarp.report.structures import typical_structures, viewer_data
from timewarp.report.tables import conformation_table
from timewarp.report.theme import CSS_VARIABLES, new_figure, to_svg

EXPECTED = [
    "ramachandran",
    "structures",
    "free_energy",
    "tica",
    "energy",
    "traces",
    "autocorrelation",
    "speed",
    "acceptance",
    "bonded",
]
KERNELS = {
    "flow": {
        "proposed": 600,
        "accepted": 420,
        "nonfinite": 1,
        "jump": 0.9,
        "acceptance_per_chain": [0.8, 0.73, 0.67, 0.6],
    },
    "hmc": {"proposed": 600, "accepted": 480, "nonfinite": 0},
}


class Audit(HTMLParser):
    """Collects what a browser would load, and checks that tags are balanced."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.ids, self.tags, self.handlers = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value)
            if key in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.loads.append(value)
            if key.startswith("on"):
                self.handlers.append(key)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def audit(page):
    parser = Audit()
    parser.feed(page)
    assert not parser.open
    return parser


def without_scripts(page):
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def provenance(**changes):
    fields = {
        "name": "Ace-A-Nme",
        "kind": "chain",
        "config": {"temperature_K": 310.0, "seed": 3, "hmc": {"steps": 10}},
        "summary": {
            "preset": "amber14-obc2",
            "model": "ala2",
            "seed": 3,
            "wall_s": 12.5,
            "ess_per_second": {"phi_1": 9.0},
        },
        "reference": "1 ns of reference MD",
        "version": "0.1.0",
    }
    return Provenance(**{**fields, **changes})


@pytest.fixture(scope="module")
def material():
    run, reference = alanine_run(seed=3, frames=150), alanine_run(seed=4, frames=150, unit="ps")
    analysis = analyse(run, temperature_K=310.0, summary={"kernels": KERNELS}, start=alanine().start_positions)
    slow = slow_motions({"run": run, "reference": reference}, dynamics=("reference",))
    comparison = compare(run, reference, temperature_K=310.0, slow=slow)
    comparison["speed"] = compare_speed(run, reference, (2.0, 200.0))
    analysis["slow"] = slow.to_json()
    plots, _ = make_figures(run, reference, kernels=analysis["kernels"], slow=slow, speed=comparison["speed"])
    return run, reference, analysis, comparison, plots


@pytest.fixture(scope="module")
def page(material):
    run, _, analysis, comparison, plots = material
    viewer = viewer_data(
        run.atoms, typical_structures(run, find_conformations(torsion_angles(run)), torsion_angles(run))
    )
    return render_page(provenance(), analysis, judge(analysis, comparison), plots, comparison, viewer=viewer)


def test_page_loads_nothing(page):
    found = audit(page)
    assert all(link.startswith(("#", "data:")) for link in found.loads), found.loads
    bare = without_scripts(page)
    assert "http:" not in bare
    assert "https:" not in bare
    assert "@import" not in bare
    assert not re.search(r"url\((?!#)", bare)
    assert found.tags.count("script") == 3


def test_browsers_are_told_to_run_these_scripts_alone(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data: blob:;")
    allowed = set(re.findall(r"'sha256-([^']+)'", policy.split("script-src")[1]))
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert allowed == {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts}
    assert "unsafe" not in policy.split("script-src")[1]


def test_structures_of_the_3d_view(material, page):
    run = material[0]
    data = json.loads(re.search(r"<script type='application/json' id='structures-data'>(.*?)</script>", page)[1])
    assert data["elements"] == list(run.atoms.elements)
    assert [state["name"] for state in data["states"]] == ["B", "A", "G"]
    for state in data["states"]:
        for numbers in state["frames"]:
            frame = 0.1 * torch.tensor(numbers).reshape(1, 1, -1, 3)
            found = find_conformations(torsion_angles(frame, run.atoms))
            assert found.names == (state["name"],)
            volumes = check_geometry(frame, run.atoms, alanine().start_positions)
            assert volumes.chirality_flips == 0  # superposed, never mirrored


def test_structures_cannot_end_their_script_element(material):
    run = material[0]
    evil = replace(run.atoms, elements=("</script><b>", *run.atoms.elements[1:]))
    assert "<" not in viewer_data(evil, [])


def test_ids_are_unique_and_links_within_the_page_lead_somewhere(page):
    found = audit(page)
    assert len(found.ids) == len(set(found.ids))
    targets = {link[1:] for link in found.loads if link.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert targets <= set(found.ids)


def test_page_says_what_it_must(page):
    for text in ("Do not trust", "trusted", "Usable"):
        if text in page:
            break
    else:
        pytest.fail("no verdict")
    for text in (
        "nested R-hat",
        "noise floor",
        "restricted to the starting chirality and cis/trans pattern",
        "amber14-obc2",
        "flow moves accepted",
        "70.0 %",
        "hmc.steps",
        "Geyer",
    ):
        assert text in page, text


def test_every_drawing_is_there_and_none_is_empty(page, material):
    plots = material[-1]
    assert [plot.name for plot in plots] == EXPECTED
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == sum(len(plot.panels) for plot in plots)
    for drawing in drawings:
        assert "nan" not in re.findall(r' d="([^"]*)"', drawing)[-1]
        marks = len(re.findall(r"<(path|use|image)", drawing))
        assert marks > 5
        assert "aria-label" in drawing


def test_page_follows_light_and_dark(page):
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    style = page[page.index("<style>") : page.index("</style>")]
    for variable in CSS_VARIABLES.values():
        assert style.count(f"{variable}:") == 2, variable  # once for each scheme
        assert f"var({variable})" in page or variable.startswith("--series")
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert not [colour for colour in CSS_VARIABLES if colour in drawings]
    leftover = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawings))
    assert not leftover, f"colours that would not follow the scheme: {leftover}"


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "\" onload='x", "a&b<img src=x onerror=y>"])
def test_names_from_outside_cannot_inject(material, evil):
    _, _, analysis, comparison, plots = material
    kernels = [{**analysis["kernels"][0], "name": evil}]
    shown = render_page(
        provenance(name=evil, config={evil: evil}, summary={evil: [evil], "model": evil}, reference=evil, version=evil),
        {**analysis, "molecule": evil, "kernels": kernels},
        judge(analysis, comparison),
        [replace(plots[0], title=evil, caption=evil), plots[-1]],
        comparison,
        names=(evil, evil),
    )
    found = audit(shown)
    assert found.tags.count("script") == 1  # the page's own
    assert evil not in without_scripts(shown)
    assert "img" not in found.tags
    assert not found.handlers


def test_figure_files_are_not_empty(material, tmp_path):
    from PIL import Image

    run, reference, analysis, comparison, _ = material
    page = write_report(
        tmp_path / "report",
        run,
        analysis,
        judge(analysis, comparison),
        provenance(),
        reference=reference,
        comparison=comparison,
        slow=slow_motions({"run": run, "reference": reference}),
    )
    assert page == tmp_path / "report" / "index.html"
    assert sorted(p.stem for p in page.parent.glob("*.png")) == sorted(EXPECTED)
    for file in page.parent.glob("*.png"):
        pixels = np.asarray(Image.open(file).convert("RGB")).reshape(-1, 3).astype(int)
        coloured = np.ptp(pixels, axis=1) > 60  # data; axes, text and grid are grey
        assert coloured.mean() > (0.002 if file.stem == "speed" else 0.004), f"{file.name} has no data in it"
        assert min(Image.open(file).size) > 300


def test_md_alone_gets_a_page_without_acceptance(tmp_path):
    run = alanine_run(seed=5, chains=1, frames=60, unit="ps")
    analysis = analyse(run, temperature_K=310.0)
    page = write_report(
        tmp_path, run, analysis, judge(analysis), provenance(kind="md", summary={}, reference=None), formats=("svg",)
    )
    text = page.read_text()
    assert audit(text)
    assert "<h2>Acceptance" not in text
    assert "Molecular dynamics" in text
    assert "second order in the time step" in text
    assert not list(tmp_path.glob("*.png"))
    assert (tmp_path / "energy.svg").stat().st_size > 5000


def test_a_frozen_run_is_drawn_without_a_crash():
    run = alanine_run(seed=5, chains=2, frames=30)
    run.positions[:] = run.positions[:1, :1]
    run.energies[:] = -50.0
    analysis = analyse(run, temperature_K=310.0)
    shown = render_page(provenance(), analysis, judge(analysis), make_figures(run)[0])
    assert "not varying" in shown
    assert "Do not trust" in shown


def test_chains_frozen_each_in_its_own_place_are_drawn_without_a_crash():
    run = alanine_run(seed=5, chains=6, frames=60)
    run.positions[:] = run.positions[:, :1].clone()
    assert slow_motions({"run": run}, dynamics=("run",)) is None
    plots, _ = make_figures(run)
    assert {"ramachandran", "structures", "bonded"} <= {plot.name for plot in plots}


def test_frames_that_are_not_finite_are_left_out_of_the_structures():
    run = alanine_run(seed=5, chains=2, frames=60)
    run.positions[0, 3] = float("nan")
    angles = torsion_angles(run)
    found = find_conformations(angles)
    assert (found.labels == -1).sum() == 1
    structures = typical_structures(run, found, angles)
    assert all(np.isfinite(s.frames).all() for s in structures)
    assert sum(s.population for s in structures) == pytest.approx(119 / 120)


def test_a_state_of_two_frames_in_many_has_a_bar():
    rows = {"chain": [(1 - 2.5e-5, 1e-5), (2.5e-5, 1.8e-5)], "MD": [(0.9, 0.01), (0.1, 0.01)]}
    _, (ax,) = new_figure(3, 3, 1, 1, WEB)
    draw_populations(ax, WEB, rows)
    assert sorted(bar.get_height() for bar in ax.patches)[0] == pytest.approx(2.5e-5)
    assert ax.get_ylim()[0] < 2.5e-5


def test_the_table_of_conformations_keeps_what_the_run_alone_has(material):
    _, _, analysis, comparison, _ = material
    rows = [{"name": f"x{k}", "run": ESTIMATE | {"value": 0.0}, "reference": ESTIMATE, "z": 1.0} for k in range(30)]
    lone = {"name": "lone", "run": ESTIMATE | {"value": 0.3}, "reference": ESTIMATE | {"value": 0.0}, "z": 9.0}
    ordered = sorted([*rows, lone], key=lambda r: -max(r["run"]["value"], r["reference"]["value"]))
    own = [{**analysis["conformations"][0], "name": "lone"}]
    shown = conformation_table({**analysis, "conformations": own}, {"conformations": ordered}, ("chain", "MD"))
    assert "lone" in shown
    assert "16 most populated of 31" in shown
    assert comparison["conformations"][0]["name"] == "B"


ESTIMATE = {"value": 0.02, "error": 0.001, "ess": 500.0}


def test_unknown_format_is_refused(material, tmp_path):
    run, _, analysis, _, _ = material
    with pytest.raises(ValueError, match="cannot write figures as 'gif'; known formats: png, svg, pdf"):
        write_report(tmp_path, run, analysis, judge(analysis), provenance(), formats=("gif",))


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    to_svg(lambda ax, theme: ax.plot([0, 1], color=theme.run), 2, 2, "x", "a line")
    assert dict(matplotlib.rcParams) == before


def test_the_same_drawing_is_the_same_text():
    def draw(ax, theme):
        ax.plot([0, 1], [1, 0], color=theme.reference)

    assert to_svg(draw, 2, 2, "x", "a line") == to_svg(draw, 2, 2, "x", "a line")


def test_axes_take_their_colours_from_the_theme():
    for theme in (PRINT, WEB):
        _, (ax,) = new_figure(2, 2, 1, 1, theme)
        assert ax.xaxis.label.get_color() == theme.ink


@pytest.mark.parametrize(("name", "shown"), [("phi_1", "φ₁"), ("omega_0", "ω₀"), ("chi2_10", "χ²₁₀"), ("odd", "odd")])
def test_symbols(name, shown):
    assert symbol(name) == shown
