"""The pages in a real browser: Chromium of the system, driven by playwright."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.small.hostile import PAYLOAD, write_hostile
from tests.small.runs import train, values_of, write_tiny_npz
from tests.small.screens import CUT, FRAMES, ROWS, contrast
from vae_jax.commands.sweep import sweep
from vae_jax.config.build import make_config
from vae_jax.config.schema import nest
from vae_jax.pages import charts, report
from vae_jax.pages.report import Chart, write_report
from vae_jax.sweeps import language as hyper
from vae_jax.sweeps.plan import Datasets, make_sweep

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="pip install -e '.[browser]' drives a browser"
)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (apt install chromium)"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A sweep of four lanes, and a run with two latent units."""
    at = tmp_path_factory.mktemp("browser")
    base = values_of(write_tiny_npz(at / "tiny.npz"), training__num_epochs=2)
    data = Datasets()
    settings = hyper.sweep("objective.beta", (0.5, 2.0))
    sweep(at / "sweep", make_sweep(make_config(base), settings, at / "sweep", data), data)
    train(nest(base | {"model.latent_size": 2}), at / "run")
    return at


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


class Watched:
    """A page of the browser, with its console's errors and its requests."""

    def __init__(self, browser, address, **more):
        self.page = browser.new_page(**more)
        self.errors, self.requests = [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector(".bk-Figure", state="attached", timeout=60_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_opens_from_disk_and_works(folders, browser, scheme):
    path = write_report(folders / "sweep")
    watched = Watched(browser, path.as_uri(), color_scheme=scheme)
    page = watched.page
    cell = page.locator("table.sortable").nth(1).locator("tbody tr td:first-child")
    before = cell.all_inner_texts()
    page.locator("table.sortable").nth(1).locator("th").first.click()
    page.locator("table.sortable").nth(1).locator("th").first.click()
    assert cell.all_inner_texts() == before[::-1]
    assert page.locator(".images:visible").count() == 1
    page.select_option("#lane", index=1)
    assert page.locator(".images:visible").get_attribute("data-lane") == "1"
    before = page.screenshot(full_page=True)
    page.locator("input.choices__input").first.click()
    page.locator(".choices__list--dropdown .choices__item").first.click()
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    assert page.screenshot(full_page=True) != before
    alphas = page.evaluate(
        "Bokeh.documents.flatMap(d => [...d._all_models.values()])"
        ".filter(m => m.data && m.data.alpha).map(m => Array.from(m.data.alpha))"
    )
    assert {own.count(1) for own in alphas} == {1, 2}  # of curves; of the marks of two points
    page.get_by_role("button", name="train").first.click()
    page.locator("select.bk-input:visible").first.select_option("kl")
    canvas = page.locator(".bk-Figure").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert watched.errors == []
    assert [url for url in watched.requests if not url.startswith(("file:", "data:"))] == []
    width = page.evaluate("document.documentElement.scrollWidth")
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= max(width, 400)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_whole_on_every_screen(folders, browser, scheme):
    """Cells are not cut, error bars and points are in their frames, charts have room."""
    address = write_report(folders / "sweep").as_uri()
    watched = Watched(browser, address, color_scheme=scheme)
    page = watched.page
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(0, 0, 0)")
    for width in (390, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = page.locator(".wide:has(.sortable)")
        for left in (0, 170, 10_000):
            boxes.evaluate_all(f"all => all.forEach(box => box.scrollLeft = {left})")
            page.wait_for_timeout(100)
            assert page.evaluate(CUT) == []
        frames = page.evaluate(FRAMES)
        for frame in frames:
            assert all(frame["y"][0] <= end <= frame["y"][1] for end in frame["bars"])
        assert any(frame["bars"] for frame in frames)
        assert all(f["width"] > 0.6 * min(width, 1000) for f in frames if f["axis"] == "epoch")
        (plane,) = [f for f in frames if f["axis"] == "principal component 0"]
        x, y = (plane[k][1] - plane[k][0] for k in "xy")
        assert x / plane["width"] == pytest.approx(y / plane["height"], rel=0.02)
    assert not page.locator("details table").is_visible()
    page.locator("summary").click()
    assert page.locator("details table").is_visible()
    assert watched.errors == []


@pytest.mark.parametrize("width", [390, 1280])
def test_rows_of_traversals_stand_beside_the_names_of_their_units(folders, browser, width):
    address = write_report(folders / "sweep").as_uri()
    page = Watched(browser, address, viewport={"width": width, "height": 800}).page
    rows = page.evaluate(ROWS)
    assert len(rows) > 1
    assert {name for name, *_ in rows} == {f"unit {i}" for i in range(len(rows))}
    for _, middle, of_row, right, left in rows:
        assert middle == pytest.approx(of_row, abs=4)
        assert right <= left


# Colours of widgets: a spinner's arrow; a slider's bar, handle and edge.
WIDGET_COLOURS = """() => {
  const within = root => [...root.querySelectorAll("*")].flatMap(
    element => element.shadowRoot ? [element, ...within(element.shadowRoot)] : [element])
  const all = within(document), of = (name, which, part) => getComputedStyle(
    all.find(e => e.matches(name)), part)[which];
  return {arrow: of(".bk-spin-btn-up", "borderBottomColor", ":before"),
          bar: of(".noUi-target", "backgroundColor"), edge: of(".noUi-target", "borderTopColor"),
          handle: of(".noUi-handle", "borderTopColor"),
          choice: of("select.bk-input", "backgroundImage")};
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_widgets_are_seen_and_do_not_glare(explorer, browser, scheme):
    page = Watched(browser, explorer, color_scheme=scheme).page
    page.wait_for_timeout(1_000)
    found = page.evaluate(WIDGET_COLOURS)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for part in ("arrow", "edge", "handle"):
        assert contrast(found[part], ground) >= 3, part
    assert contrast(found["bar"], ground) < 3
    assert "%23767676" in found["choice"]


def tooltips_of(page, figure):
    """What the tooltips of a chart show, as HTML; the mouse moves over parts of it."""
    figure.scroll_into_view_if_needed()
    box, tip, found = figure.bounding_box(), page.locator(".bk-Tooltip:visible"), ""
    for x in (0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7):
        for y in range(10, int(box["height"]) - 40, 4):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y)
            page.wait_for_timeout(10)
            if tip.count():
                found += tip.first.evaluate("tip => tip.shadowRoot.innerHTML")
                break
    return found


def test_hovering_tells_the_lane_and_shows_the_image(folders, browser):
    page = Watched(browser, write_report(folders / "sweep").as_uri()).page
    missing = {"epoch", '<img src="data:image/webp'}
    for figure in page.locator(".bk-Figure").all():
        if missing:
            shown = tooltips_of(page, figure)
            missing -= {text for text in missing if text in shown}
    assert not missing


def test_the_report_is_for_fingers_and_paper(folders, browser, tmp_path):
    address = write_report(folders / "sweep").as_uri()
    watched = Watched(browser, address, has_touch=True, viewport={"width": 390, "height": 800})
    page = watched.page
    cell = page.locator("table.sortable").nth(1).locator("tbody tr td:first-child")
    before = cell.all_inner_texts()
    head = page.locator("table.sortable").nth(1).locator("th").first
    head.tap()
    head.tap()
    assert cell.all_inner_texts() == before[::-1]
    dark = Watched(browser, address, color_scheme="dark").page
    dark.emulate_media(media="print", color_scheme="dark")
    ground = dark.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    dark.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert watched.errors == []


MARKUP = """() => {
  const within = root => [...root.querySelectorAll("*")].flatMap(
    element => element.shadowRoot ? [element, ...within(element.shadowRoot)] : [element])
  return within(document).filter(e => e.tagName === "IMG" && e.getAttribute("src") === "q").length
}"""


def test_a_users_text_is_no_markup(browser, tmp_path, monkeypatch):
    """Names with HTML and mathematics, in every place that a user's text reaches."""
    codes, images = np.random.default_rng(0).normal(size=(40, 2)), np.zeros((40, 4, 4, 1))
    space = charts.latent_space(codes, images, [PAYLOAD, "b"] * 20, ("z0", PAYLOAD))
    hostile = Chart("latent-space", PAYLOAD, PAYLOAD, space, [(PAYLOAD, "#000000")])
    monkeypatch.setattr(report, "shown_lanes", lambda *_: [])
    monkeypatch.setattr(report, "latent_charts", lambda _: [hostile])
    watched = Watched(browser, write_report(write_hostile(tmp_path)).as_uri())
    page = watched.page
    title = page.title()
    assert "<img src=q" in title
    page.locator("input.choices__input").first.click()
    item = page.locator(".choices__list--dropdown .choices__item").first
    assert "<img src=q onerror=document.title='PWNED'>$$" in item.text_content()
    item.click()
    page.keyboard.press("Escape")
    shown = "".join(tooltips_of(page, figure) for figure in page.locator(".bk-Figure").all())
    assert "&lt;img src=q" in shown
    page.wait_for_timeout(500)
    assert page.title() == title
    assert page.evaluate(MARKUP) == 0
    assert watched.errors == []
    assert [url for url in watched.requests if not url.startswith(("file:", "data:"))] == []


@pytest.fixture(scope="module")
def explorer(folders):
    """The address of a running explorer."""
    with subprocess.Popen(
        [sys.executable, "-m", "vae_jax", "explore", f"--workdir={folders / 'run'}", "--port=0"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process.stdout.readline().strip()
        process.terminate()
        process.wait(20)


def image_of(page, i=1):
    return page.locator(".bk-Figure").nth(i).screenshot()


def test_a_moved_slider_changes_the_image(explorer, browser):
    watched = Watched(browser, explorer)
    page = watched.page
    page.wait_for_timeout(1_000)
    text = page.locator("pre").first
    before, shown = image_of(page), text.inner_text()
    handle = page.locator(".noUi-handle").first
    handle.focus()
    began = time.monotonic()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    assert text.inner_text() != shown
    assert image_of(page) != before
    assert time.monotonic() - began < 10
    assert watched.errors == []


def test_a_finger_on_the_plane_moves_z(explorer, browser):
    watched = Watched(browser, explorer, has_touch=True)
    page = watched.page
    page.wait_for_timeout(1_000)
    text = page.locator("pre").first
    before = text.inner_text()
    box = page.locator(".bk-Figure").first.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.3)
    page.wait_for_timeout(1_000)
    assert text.inner_text() != before
    assert watched.errors == []


def test_a_drawn_stroke_is_encoded(explorer, browser):
    watched = Watched(browser, explorer)
    page = watched.page
    page.wait_for_timeout(1_000)
    canvas = page.locator(".bk-Figure.canvas")
    canvas.scroll_into_view_if_needed()
    text = page.locator("pre").first
    before, box = text.inner_text(), canvas.bounding_box()
    page.mouse.move(box["x"] + 80, box["y"] + 100)
    page.mouse.down()
    for i in range(8):
        page.mouse.move(box["x"] + 80 + 15 * i, box["y"] + 100 + 10 * i)
    page.mouse.up()
    page.wait_for_timeout(1_000)
    assert text.inner_text() != before
    assert watched.errors == []


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_the_explorer_fits_its_screen(explorer, browser, width):
    """Square pixels, an equal scale, no more than the screen's width, the image of z in view."""
    more = {"viewport": {"width": width, "height": 330}, "color_scheme": "dark"}
    watched = Watched(browser, explorer, **more)
    page = watched.page
    page.wait_for_timeout(1_500)
    assert page.locator("h1").inner_text() == "run: explorer"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(0, 0, 0)"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    plane, *others = page.evaluate(FRAMES)
    pictures = [f for f in others if f["x"][0] == 0 and not f["title"].startswith("q(")]
    assert len(pictures) > 8
    for f in (plane, *pictures):
        x, y = (f[k][1] - f[k][0] for k in "xy")
        assert x / f["width"] == pytest.approx(y / f["height"], rel=0.02), f
    stays = page.locator(".stays")
    top = stays.bounding_box()["y"]
    page.evaluate(f"scrollBy(0, {top + 30})")
    page.wait_for_timeout(300)
    assert stays.bounding_box()["y"] == pytest.approx(0, abs=2)
    assert watched.errors == []


def test_without_its_token_there_is_no_page(explorer, browser):
    root = explorer.rsplit("/", 1)[0]
    page = browser.new_page()
    for path in ("/", "/x", "/../etc/passwd", "/static/../../setup.cfg"):
        assert page.goto(root + path).status == 404
