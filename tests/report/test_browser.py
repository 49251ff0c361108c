"""The page in a real browser: no error, nothing loaded, every drawing with ink in it, light and dark.

Needs Chromium and its driver; where TIMEWARP_BROWSER is set (continuous integration) their absence is a failure.
"""

import base64
import io
import json
import os
import shutil

import numpy as np
import pytest

from synthetic_runs import alanine, alanine_run
from timewarp.analysis import analyse, compare, judge
from timewarp.analysis.slow import slow_motions
from timewarp.report import Provenance, write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER) and "TIMEWARP_BROWSER" not in os.environ, reason="no Chromium with its driver"
)
KERNELS = {
    "flow": {
        "proposed": 600,
        "accepted": 420,
        "nonfinite": 1,
        "jump": 0.9,
        "acceptance_per_chain": [0.8, 0.73, 0.67, 0.6],
    }
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    run, reference = alanine_run(seed=3, frames=150), alanine_run(seed=4, frames=150, unit="ps")
    analysis = analyse(run, temperature_K=310.0, summary={"kernels": KERNELS}, start=alanine().start_positions)
    comparison = compare(run, reference, temperature_K=310.0)
    provenance = Provenance("Ace-A-Nme", "chain", {"temperature_K": 310.0}, {"preset": "amber14-obc2"}, "1 ns of MD")
    return write_report(
        tmp_path_factory.mktemp("browser") / "report",
        run,
        analysis,
        judge(analysis, comparison),
        provenance,
        reference=reference,
        comparison=comparison,
        slow=slow_motions({"run": run, "reference": reference}, dynamics=("reference",)),
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    flags = ("--headless", "--no-sandbox", "--no-first-run", "--hide-scrollbars", "--use-angle=swiftshader")
    flags += ("--enable-unsafe-swiftshader", "--disable-background-networking", "--disable-component-update")
    for flag in (*flags, "--disable-sync", f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def open_page(browser, page, scheme, width=1200):
    browser.get_log("browser"), browser.get_log("performance")
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


def pictures(browser, *selectors):
    """What the browser shows of elements, each as (height, width, 3), from one picture of the page."""
    from PIL import Image

    found = browser.execute_script(
        "const root = document.documentElement;"
        "return [root, ...arguments[0].map((s) => document.querySelector(s))].map((e) => {"
        "  const b = e.getBoundingClientRect();"
        "  return [b.x + scrollX, b.y + scrollY, b.width, b.height] })",
        selectors,
    )
    (_, _, width, height), *boxes = found
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    whole = np.asarray(Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")).astype(int)
    return [whole[round(y) : round(y + h), round(x) : round(x + w)] for x, y, w, h in boxes]


def ink(pixels):
    """The share of pixels that differ from the commonest colour."""
    flat = pixels.reshape(-1, 3)
    colours, counts = np.unique(flat @ (65536, 256, 1), return_counts=True)
    commonest = np.array([(colours[counts.argmax()] >> shift) & 255 for shift in (16, 8, 0)])
    return float((np.abs(flat - commonest).max(1) > 24).mean())


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_error_and_every_drawing_has_ink(browser, page, scheme):
    open_page(browser, page, scheme)
    panels = browser.execute_script(
        "return [...document.querySelectorAll('.panel')].map((p, n) => {p.id = 'panel-' + n; return p.id})"
    )
    assert len(panels) > 20
    footer, *shown = pictures(browser, "footer", *(f"#{panel}" for panel in panels))
    assert (footer[0, 0].mean() > 200) if scheme == "light" else (footer[0, 0].mean() < 60)
    for panel, seen in zip(panels, shown, strict=True):
        label = browser.execute_script(f"return document.querySelector('#{panel} svg').getAttribute('aria-label')")
        assert ink(seen) > 0.01, f"{label} is empty in {scheme} mode"
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    loaded = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert {url for url in loaded if not url.startswith(("data:", "blob:"))} == {page.as_uri()}


@pytest.mark.slow
def test_the_3d_view_shows_the_chosen_conformation(browser, page):
    open_page(browser, page, "light")
    shown = {}
    for n in range(3):
        browser.execute_script("document.querySelectorAll('figure.structures .panel')[arguments[0]].click()", n)
        name = browser.execute_script("return document.querySelector('.viewer output').textContent")
        (shown[name],) = pictures(browser, ".stage")
        assert ink(shown[name]) > 0.01
    assert len(shown) == 3
    first, second, third = shown.values()
    assert (first != second).any(-1).mean() > 0.002
    assert (second != third).any(-1).mean() > 0.002
    browser.execute_script("document.querySelector('[name=hydrogens]').click()")
    assert ink(*pictures(browser, ".stage")) > ink(third)


@pytest.mark.slow
def test_a_phone_does_not_scroll_sideways(browser, page):
    open_page(browser, page, "light", width=390)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_tables_can_be_copied(browser, page):
    open_page(browser, page, "light")
    buttons = browser.execute_script("return document.querySelectorAll('button.copy').length")
    assert buttons == browser.execute_script("return document.querySelectorAll('main table').length") > 4
    browser.execute_script(
        "navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve() };"
        "document.querySelector('#torsion-table').closest('.scroll').nextElementSibling.click()"
    )
    copied = browser.execute_script("return window.copied")
    rows = [line.split("\t") for line in copied.splitlines()]
    assert rows[0][:2] == ["torsion", "nested R-hat"]
    assert {len(row) for row in rows} == {len(rows[0])}
