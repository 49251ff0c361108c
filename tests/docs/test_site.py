"""The pages of the documentation: commands parse, code runs, links lead somewhere, the command reference is whole."""

import argparse
import importlib
import re
import shlex
import sys
from pathlib import Path

import matplotlib
import pytest

import timewarp
from timewarp.commands import VERBS, main, parser
from timewarp.settings import Settings, options_of
from timewarp.settings.sampling import SampleSettings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.rglob("*.md"), *(ROOT / "src/timewarp/pretrained").glob("*.md")]
    + [ROOT / name for name in ("README.md", "CHANGELOG.md", "data/README.md", "examples/README.md")]
)
FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:^(?: {4}.*)\n)+", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    return [
        re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
        for indent, it, body in FENCE.findall(text)
        if it == language
    ]


def commands(text: str) -> list[str]:
    """Commands of console blocks, and those of plain or indented blocks that are written without a prompt."""
    lines = [line[2:] for block in blocks(text, "console") for line in block.splitlines() if line.startswith("$ ")]
    plain = [*blocks(text, ""), *INDENTED.findall(FENCE.sub("", text))]
    lines += [line.strip() for block in plain for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    return [line.split("  #")[0] for line in lines if line.startswith("timewarp ")]


@pytest.fixture
def extensions(monkeypatch):
    """The extensions of the site, by name."""
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    names = [path.stem for path in (DOCS / "_ext").glob("*.py")]
    yield {name: importlib.import_module(name) for name in names}
    for each in names:
        sys.modules.pop(each)


@pytest.fixture(scope="module")
def parse():
    made = parser()
    return made.parse_args


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_parses(page, parse, capsys):
    for command in commands(page.read_text()):
        words = shlex.split(re.sub(r"\$\(.*?\)", "", command))[1:]
        if words == ["--version"]:
            continue
        try:
            parse(words)
        except SystemExit:
            pytest.fail(f"{command}\n{capsys.readouterr().err}")


def test_there_are_commands_to_parse():
    found = {page.name: len(commands(page.read_text())) for page in PAGES}
    assert found["campaigns.md"] >= 2, "those of plain blocks"
    assert found["reproducing-the-paper.md"] >= 14, "those of console and indented blocks"
    assert found["your-own-peptide.md"] >= 5, "those of lists"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_images_lead_somewhere(page):
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)}: {target}"
        assert not anchor or anchor in anchors(file), f"{name(page)}: {target}"


def anchors(page: Path) -> set[str]:
    """Headings as MyST and web forges name them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_the_contents():
    listed = set()
    for index in (DOCS / "index.md", DOCS / "api" / "index.md"):
        for block in blocks(index.read_text(), "{toctree}"):
            entries = (line.split("<")[-1].rstrip(">") for line in block.splitlines() if not line.startswith(":"))
            listed |= {(index.parent / f"{entry}.md").resolve() for entry in entries if entry}
    assert listed == {page for page in PAGES if DOCS in page.parents} - {DOCS / "index.md"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run as the pages have it, small."""
    base = tmp_path_factory.mktemp("site")
    small = ("--samples", "64", "--chains", "4", "--warmup", "4", "--no-flow", "--threads", "1", "--quiet")
    assert main(["sample", "AIVL", *small, "--out", str(base / "aivl")]) == 0
    assert main(["export", str(base / "aivl")]) == 0
    return base


@pytest.mark.parametrize("code", blocks((DOCS / "getting-started.md").read_text(), "python"))
def test_code_runs(code, folder, monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.chdir(folder)
    exec(code, {})


def test_the_wiring_is_the_example():
    block = blocks((DOCS / "api" / "index.md").read_text(), "python")[-1]
    assert block in (ROOT / "examples" / "quickstart.py").read_text()  # which test_readme.py runs


def test_the_command_reference_has_every_verb_and_option(extensions):
    text = extensions["commands"].reference()
    for verb in VERBS:
        assert f"\n## {verb}\n" in text
    for flag in flags(parser()) - {"--help", "--version", "--debug", "-h"}:
        assert re.search(rf"{flag}[ ,\n]", text), flag
    assert not re.search(r"here \d", text), "the number of cores of the machine that builds the page"
    assert extensions["commands"].escape("a larger --samples, see `x *`, <y> [z_1]") == (
        r"a larger `--samples`, see `x *`, \<y\> \[z\_1\]"
    )


def test_the_tables_of_settings_have_every_field(extensions):
    text = extensions["options"].table("timewarp.settings.sampling", "SampleSettings")
    for option in options_of(SampleSettings):
        assert f"| `{option.name}` |" in text
    assert "a number of at least 1 and at most 10,000 K" in text
    named = re.findall(r"<!-- settings: ([\w.]+)\.(\w+) -->", (DOCS / "api" / "settings.md").read_text())
    assert len(named) >= 7
    for module, cls in named:
        assert issubclass(getattr(importlib.import_module(module), cls), Settings)


def test_notebooks_become_pages(extensions):
    text = extensions["notebooks"].cells(ROOT / "examples" / "first-run.ipynb")
    assert text.startswith("# A first run\n")
    assert "```python\nrun.ramachandran()\n```" in text


def test_public_names_are_documented():
    text = (DOCS / "api" / "index.md").read_text()
    assert not [name for name in timewarp.__all__ if f":: timewarp.{name}\n" not in text]


def flags(verb: argparse.ArgumentParser) -> set[str]:
    found = {flag for action in verb._actions for flag in action.option_strings}
    for action in verb._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {flag for inner in action.choices.values() for flag in flags(inner)}
    return found


def test_links_of_files_that_are_shown_elsewhere(extensions):
    links = extensions["links"]
    pages = links.stands_for(DOCS)
    assert pages[ROOT / "CHANGELOG.md"] == DOCS / "changelog.md"
    card, shown = ROOT / "src/timewarp/pretrained", DOCS / "models"
    moved = links.relink("[a](ala2.md) [b](../../../data/) [c](#x) [d](https://e.org/f.md)", card, shown, pages)
    assert moved == "[a](ala2.md) [b](../training-data.md) [c](#x) [d](https://e.org/f.md)"
    moved = links.relink("[a](../benchmarks/md.py) [b](method.md#x)", DOCS, DOCS, pages)
    assert moved == "[a](../benchmarks/md.py) [b](method.md#x)"


def test_formulas_become_mathml(extensions):
    formulas = re.findall(r"\$\$\n(.*?)\$\$", (DOCS / "exactness.md").read_text(), re.DOTALL)
    assert len(formulas) == 2
    for formula in formulas:
        assert extensions["mathml"].tex2mathml(formula, as_block=True).startswith("<math")


def test_what_would_be_loaded_from_the_network_is_seen(extensions):
    loads = extensions["offline"].loads
    assert not loads('<a href="https://e.org">x</a><img src="_images/a.png"><link href="_static/a.css">')
    for text in (
        '<script src="https://e.org/a.js">',
        '<link rel="preconnect" href="//fonts.e.org">',
        "a { background: url('https://e.org/a.png') }",
        '@import "https://e.org/a.css"',
    ):
        assert len(loads(text)) == 1, text
