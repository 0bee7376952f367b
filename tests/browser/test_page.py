"""The report page works with a mouse, with a keyboard, on a phone, and without a network."""

import csv
import io
import urllib.parse

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from helpers import page_results, requirements
from shapesweep.report import page

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser():
    path = requirements.browser()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = page_results.write(tmp_path_factory.mktemp("browser") / "results")
    return page.write(folder, folder / "report.html").as_uri()


@pytest.fixture
def opened(browser, report):
    """The report page in a browser tab.

    A test fails if the page shows or logs a message, or loads another file.
    """
    yield from open_page(browser, report, {"width": 1280, "height": 900})


@pytest.fixture
def phone(browser, report):
    yield from open_page(browser, report, {"width": 360, "height": 740})


def open_page(browser, report, viewport):
    messages, requests = [], []
    tab = browser.new_page(viewport=viewport)
    # The page may load slowly, because other tests run on the same cores.
    tab.set_default_timeout(30_000)
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on("dialog", lambda dialog: (messages.append(dialog.message), dialog.dismiss()))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(report)
    tab.wait_for_selector("#training .main-svg")
    yield tab
    tab.close()
    assert messages == []
    # Scripts of the page create the images of Plotly and of the gallery, so `data:` and `blob:`
    # URLs are allowed.
    schemes = {urllib.parse.urlsplit(url).scheme for url in requests}
    assert schemes <= {"file", "data", "blob"}
    assert [url for url in requests if url.startswith("file:")] == [report]


def drawn(tab):
    """Return the values that the plot of the selected profile shows."""
    return tab.evaluate("document.getElementById('profile').data.find(t => t.name === 'chosen').y")


def downloaded(tab, label):
    with tab.expect_download() as download:
        tab.get_by_role("button", name=label, exact=True).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def rows(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_a_run_can_be_selected_and_its_name_is_escaped(opened):
    before = drawn(opened)
    opened.select_option("#run", label=page_results.HOSTILE)
    assert drawn(opened) != before
    assert opened.locator("#run option:checked").inner_text() == page_results.HOSTILE
    assert "decoder, mean over seeds" in opened.locator("#run").inner_text()


def test_lines_are_interrupted_at_a_break_of_the_training(opened):
    lines = "document.getElementById('training').data.filter(t => t.name).map(t => t.y)"
    marks = "document.getElementById('map').layout.shapes.filter(s => s.type === 'line')"
    marks += ".map(s => s.x0)"
    assert not any(None in line for line in opened.evaluate(lines))
    assert opened.evaluate(marks) == []
    opened.select_option("#run", label=page_results.HOSTILE)
    found = opened.evaluate(lines)
    # The plot has four lines: the middle blocks, a single layer, and two losses.
    assert len(found) == 4
    for line in found:
        assert [k for k, value in enumerate(line) if value is None] == [len(line) - 2]
    assert opened.evaluate(marks) == [len(page_results.STEPS) - 1.5]


def test_the_lists_change_the_plots(opened):
    for name, option in (("metric", "id_gride/4"), ("corpus", "random"), ("selection", "all")):
        opened.select_option(f"#{name}", option)
    assert opened.locator("#metric option:checked").inner_text() == "id_gride, k = 4"
    title = opened.evaluate("document.getElementById('profile').layout.yaxis.title.text")
    assert title == "id_gride, k = 4"
    assert "metric=id_gride%2F4" in opened.url
    # The first line shows the middle blocks. The second line shows the selected layer, which is
    # at first the layer in the middle of the list.
    names = "document.getElementById('training').data.map(t => t.name).filter(Boolean)"
    assert opened.evaluate(names)[:2] == ["middle blocks", "layer 2"]
    opened.select_option("#layer", "3")
    assert opened.evaluate(names)[1] == "layer 3"


def test_the_slider_can_be_moved_by_keyboard(opened):
    before = drawn(opened)
    assert "a dome" in opened.locator("#shape").inner_text()
    opened.focus("#step")
    opened.keyboard.press("Home")
    assert opened.locator("#step-label").inner_text() == "step 0, 0 tokens (1 of 5)"
    assert drawn(opened) != before
    assert "flat" in opened.locator("#shape").inner_text()
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#step-label").inner_text() == "step 1, 2,048 tokens (2 of 5)"
    label = opened.locator("#step").get_attribute("aria-valuetext")
    assert label == "step 1, 2,048 tokens (2 of 5)"


def test_runs_without_steps_are_shown_over_tokens(browser, tmp_path):
    folder = page_results.write(tmp_path / "results")
    page_results.place_by_tokens(folder)
    address = page.write(folder, folder / "report.html").as_uri()
    for tab in open_page(browser, address, {"width": 1280, "height": 900}):
        assert tab.locator("#step-label").inner_text() == "1 T tokens (5 of 5)"
        assert "from 1 B tokens to 1 T tokens" in tab.locator("#course").inner_text()
        assert "Profile over depth, 1 T tokens" in tab.locator("#shape").inner_text()
        axis = tab.evaluate("document.getElementById('training').layout.xaxis")
        assert axis["title"]["text"] == "training tokens"
        assert axis["ticktext"] == ["0", "1 B", "10 B", "100 B", "1 T"]
        assert axis["tickvals"] == pytest.approx([np.log10(1 + n) for n in (0, 1, 10, 100, 1000)])
        columns = tab.evaluate("document.getElementById('map').layout.xaxis")
        assert columns["title"]["text"] == "checkpoint (training tokens)"
        assert columns["ticktext"] == ["0", "1 B", "10 B", "100 B", "1 T"]
        assert "10 B tokens" in hovered(tab, *cell(tab, 2, 1))


def test_verdicts_are_shown_as_text(opened):
    text = opened.locator("#course").inner_text()
    assert "rise of 0.6 (97.5 % interval 0.45 to 0.75) from step 1 to step 1,000" in text
    assert "described, but not tested" in text
    assert "Rises and falls of less than 0.3 may be missed." in text
    assert "95 % interval" in opened.locator("#shape").inner_text()


def cell(tab, column, row):
    """Return the screen position of a cell of the map."""
    plot = tab.locator("#map .nsewdrag")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    across, up = (column + 0.5) / len(page_results.STEPS), (row + 0.5) / len(page_results.LAYERS)
    return box["x"] + across * box["width"], box["y"] + (1 - up) * box["height"]


def hovered(tab, x, y):
    """Point at a position of the map, and return the text that appears."""
    # The browser sends a pointer event only if the pointer moves.
    tab.mouse.move(x - 3, y - 3)
    tab.mouse.move(x, y)
    tab.wait_for_selector("#map .hoverlayer .hovertext")
    return tab.locator("#map .hoverlayer").text_content()


def test_the_map_shows_numbers_and_selects_a_checkpoint(opened):
    x, y = cell(opened, 2, 1)
    text = hovered(opened, x, y)
    for part in ("step 10", "layer 1", "95 %", "N = 4,096"):
        assert part in text
    opened.mouse.click(x, y)
    opened.wait_for_function("document.getElementById('step').value === '2'")
    assert opened.locator("#step-label").inner_text().startswith("step 10,")
    assert opened.locator("#layer option:checked").inner_text() == "1"


def test_a_number_that_rests_on_one_group_has_no_interval(opened):
    x, y = cell(opened, 0, 1)
    text = hovered(opened, x, y)
    assert "rests on one group of documents, without it " in text
    assert "?" not in text


def test_the_address_restores_the_view(opened, browser):
    opened.select_option("#run", label="decoder-seed1")
    opened.focus("#step")
    opened.keyboard.press("Home")
    other = browser.new_page()
    other.goto(opened.url)
    other.wait_for_selector("#training .main-svg")
    assert drawn(other) == drawn(opened)
    assert other.locator("#run option:checked").inner_text() == "decoder-seed1"
    other.close()
    # A link to a section does not change the selection.
    opened.get_by_role("link", name="Integrity").click()
    assert opened.locator("#run option:checked").inner_text() == "decoder-seed1"


def test_plots_and_their_data_can_be_downloaded(opened):
    name, content = downloaded(opened, "Over depth: CSV")
    assert name == "decoder-seed0-anisotropy-text-profile.csv"
    profile = rows(content)
    assert len(profile) == len(page_results.STEPS) * len(page_results.LAYERS)
    row = next(r for r in profile if (r["step"], r["layers"]) == ("100", "2"))
    expected = page_results.value("decoder-seed0", "anisotropy", 100, 2)
    assert float(row["value"]) == pytest.approx(expected, rel=5e-4)
    assert row["n_points"] == "4096"
    training = rows(downloaded(opened, "Over training: CSV")[1])
    assert {r["layers"] for r in training} == {"middle", "2", ""}
    assert {r["metric"] for r in training} == {"anisotropy", "loss_eval", "loss_log"}
    assert b"<svg" in downloaded(opened, "Depth by training: SVG")[1]
    assert downloaded(opened, "Over depth: PNG")[1].startswith(b"\x89PNG")


def test_static_figures_can_be_downloaded(opened):
    title = opened.locator("#figure-dome h4").inner_text()
    name, content = downloaded(opened, f"{title}: SVG")
    assert name == "dome.svg"
    assert b"</svg>" in content
    assert downloaded(opened, f"{title}: PNG")[1].startswith(b"\x89PNG")
    row = {"step": "1", "run": page_results.HOSTILE}
    assert rows(downloaded(opened, f"{title}: CSV")[1]) == [row]
    assert opened.locator("#figure-corpora [data-kind=csv]").count() == 0


def test_the_page_fits_on_a_phone(phone):
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    phone.get_by_text("The chosen profile as a table").click()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    # Controls are large enough to tap with a finger.
    assert phone.locator("#run").bounding_box()["height"] >= 32


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(opened):
    nameless = opened.evaluate(
        """[...document.querySelectorAll('select, input, button, summary, a, [role=region]')]
        .filter(e => !(e.labels && e.labels.length) && !e.getAttribute('aria-label')
          && !e.textContent.trim()).map(e => e.outerHTML)"""
    )
    assert nameless == []
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    opened.keyboard.press("Enter")
    assert opened.evaluate("document.activeElement.id") == "found"
    reached, focused = set(), "document.activeElement.id || document.activeElement.ariaLabel"
    for _ in range(80):
        opened.keyboard.press("Tab")
        reached.add(opened.evaluate(focused))
    wanted = {"run", "corpus", "selection", "metric", "layer", "step", "Over depth: CSV"}
    wanted |= {"Checkpoints", "Configuration", "Depth by training: PNG"}
    assert wanted <= reached
    for landmark in ("header", "nav", "main", "h1"):
        assert opened.locator(landmark).count() == 1
    assert opened.locator("[aria-live=polite] #course").count() == 1
    elements = "[...document.querySelectorAll('body > :not(script) [id]')]"
    ids = opened.evaluate(f"{elements}.map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert opened.locator("img:not([alt])").count() == 0


def test_injected_code_and_external_files_are_blocked(browser, report):
    tab = browser.new_page()
    messages = []
    tab.on("console", lambda message: messages.append(message.text))
    tab.goto(report)
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"ran = 1\">')")
    tab.wait_for_timeout(200)
    assert tab.evaluate("typeof ran") == "undefined"
    assert any("Content Security Policy" in text for text in messages)
    tab.close()
