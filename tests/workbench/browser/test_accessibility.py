"""Every page and state under axe, and what a screen reader and the Tab key meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.workbench.browser.conftest import (
    CELLS,
    GRID,
    PAGES,
    Line,
    Served,
    all_saved,
    api,
    open_gallery,
    opened,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PASSWORD = "correct horse battery"
NOTHING_SIMILAR = {
    "state": "ready", "nearest": [], "by_label": {},
    "reference": {"state": "none", "name": None, "cells": None},
}  # fmt: skip

GALLERY = """
- link "Skip to the content"
- banner:
  - link "blastscope"
  - navigation "Pages":
    - link "Cases"
    - link "Admin"
  - navigation "Case":
    - link "Cells"
    - link "Case"
    - link "Second reading"
    - link "Export"
    - link "History"
  - status: ✓ all saved
  - button "Sign out"
- main:
  - heading "Cells of B-1" [level=1]
  - group "View":
    - combobox "Order"
    - group "Size of the tiles":
      - button "−"
      - button "+"
    - button "Fit each cell (S)"
    - button "Two columns"
    - button "Hide the model (B)"
    - button "Move on after a label" [pressed]
    - button "Undo (Z)"
    - button "Redo"
    - button "Keys (?)"
  - region "Filters":
    - heading "Show" [level=2]
    - button /All cells/ [pressed]
    - heading "Your label" [level=2]
    - button /No label yet/
    - heading "The model" [level=2]
    - button /Referred/
    - heading "Marks" [level=2]
    - button /Flagged/
  - listbox "Cells":
    - option /^Cell 1, model. .*; yours. /
    - option /^Cell 2, model. .*; yours. /
  - region "Cell and counts":
    - heading "Cell" [level=2]
    - button "A ALL"
    - button "N normal"
    - button "U unsure"
    - button "X not a cell"
    - heading "Your labels" [level=2]
"""
CELL = """
- dialog "Cell":
  - heading "Cell 2" [level=2]
  - button "A ALL"
  - button "N normal"
  - button "U unsure"
  - button "X not a cell"
  - button "← Before"
  - button "Next →"
  - button "Close (Esc)"
  - figure "As it was sent":
    - region "The original image":
      - img "Cell 2, the image as it was sent"
  - figure "Cropped to the cell":
    - region "The cell, cropped":
      - img "Cell 2, cropped"
  - heading "What the model says" [level=3]
  - heading "Heatmap" [level=3]
  - button "Heatmap (H)"
  - heading "Similar cells" [level=3]
  - heading "The image" [level=3]
  - heading "History" [level=3]
"""
TAB_ORDER = [
    "Skip to the content", "blastscope", "Cases", "Admin", "Cells", "Case", "Second reading",
    "Export", "History", "Sign out", "order", "smaller", "larger", "fit", "split", "model", "move",
    "undo", "redo", "help", "grid", "Cell and counts", "A", "N", "U", "X",
]  # fmt: skip


@pytest.fixture(scope="session")
def axe() -> Any:
    """The checker of accessibility rules; tests are skipped without it."""
    module = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe")
    return module.Axe()


class Look:
    """Gather what axe finds, by the name of the state that it is shown."""

    def __init__(self, axe: Any) -> None:
        self.axe = axe
        self.found: dict[str, list[str]] = {}

    def __call__(self, page: Page, name: str, options: Any = None) -> None:
        """Look at a page as it is now."""
        for each in self.axe.run(page, options=options).response["violations"]:
            self.found.setdefault(name, []).append(f"{each['id']}: {each['nodes'][0]['html']}")


@pytest.fixture
def look(axe: Any) -> Any:
    """Look at pages; at the end of the test nothing may have been found."""
    made = Look(axe)
    yield made
    assert made.found == {}


def label_all(page: Page, case: int, values: str) -> None:
    """Label the first cells of a case, one letter each."""
    events = [
        {"id": str(uuid4()), "kind": "label", "cells": [n], "value": value}
        for n, value in enumerate(values, 1)
    ]
    api(page, "POST", f"/api/v1/cases/{case}/events", {"events": events})


def test_axe_finds_nothing_on_any_page(page: Page, scored: int, look: Look) -> None:
    paths = ("/cases", "/cases/new", "/admin", *(f"/cases/{scored}{end}" for end in PAGES))
    for path in (*paths, "/cases/999"):
        page.goto(path)
        page.wait_for_selector("main h1")
        page.wait_for_load_state("networkidle")
        look(page, path)
    nothing = {"cases": [], "worker": {"state": "stopped"}}
    page.route("**/api/v1/cases", lambda route: route.fulfill(json=nothing))
    page.goto("/cases")
    page.wait_for_selector("text=The worker has stopped")
    look(page, "no cases")


def test_axe_finds_nothing_in_the_gallery(
    page: Page, line: Line, served: Served, scored: int, look: Look
) -> None:
    open_gallery(page, scored)
    page.click("[data-tool=split]")
    look(page, "two columns")
    page.click("[data-tool=split]")
    page.focus(GRID)
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    look(page, "keys")
    page.keyboard.press("Escape")
    page.goto(f"/cases/{scored}/gallery?filter=noted,ood,A")
    page.wait_for_selector("text=No cell matches these filters.")
    look(page, "nothing matches")
    page.click("text=Clear the filters")
    page.wait_for_selector(".tile.active")
    line.cut = True
    page.focus(GRID)
    page.keyboard.press("f")
    page.wait_for_selector(".strip.bad:has-text('Offline')")
    look(page, "offline")
    line.cut = False
    page.evaluate("window.dispatchEvent(new Event('online'))")
    all_saved(page)
    page.emulate_media(color_scheme="dark")
    look(page, "dark", {"runOnly": ["color-contrast"]})
    page.emulate_media(color_scheme="light")
    open_gallery(page, served.blind, "")
    page.wait_for_selector("text=Blind reading")
    look(page, "blind")
    page.goto(f"/cases/{served.blind}")
    page.wait_for_selector("text=You read this case blind.")
    look(page, "case, blind")


def with_heatmap(state: str, reason: str | None) -> Callable[[Any], None]:
    """Return an answer to the question for a cell, its heatmap in a state."""

    def answer(route: Any) -> None:
        told = route.fetch().json()
        heat = {"method": "grad-cam", "name": "Grad-CAM", "state": state, "reason": reason}
        told["heatmaps"] = [{**heat, "job": 999, "seconds": 10, "address": None}]
        route.fulfill(json=told)

    return answer


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("waiting", None, "waits for its turn"),
        ("not-applicable", "it has no layer to look at", "does not apply"),
    ],
)
def test_axe_finds_nothing_in_a_cell(
    page: Page, scored: int, look: Look, state: str, reason: str | None, words: str
) -> None:
    page.route("**/similar", lambda route: route.fulfill(json=NOTHING_SIMILAR))
    page.route(f"**/api/v1/cases/{scored}/cells/2", with_heatmap(state, reason))
    page.goto(f"/cases/{scored}/cells/2")
    page.wait_for_selector("text=No labelled cell to compare with yet.")
    if state == "waiting":
        look(page, "no labelled cell yet")
        page.emulate_media(color_scheme="dark")
        look(page, "cell, dark", {"runOnly": ["color-contrast"]})
        page.emulate_media(color_scheme="light")
    page.keyboard.press("h")
    page.wait_for_selector(f"dialog.cell p:has-text('{words}')")
    look(page, state)


def test_axe_finds_nothing_from_the_second_reading_to_the_signature(
    chromium: Browser, served: Served, context: BrowserContext, look: Look
) -> None:
    page, case = context.new_page(), served.small
    page.goto("/cases")
    person = {"name": "carla", "password": PASSWORD, "role": "reader"}
    carla = api(page, "POST", "/api/v1/people", person)["id"]
    label_all(page, case, "AANX")
    open_gallery(page, case)
    page.wait_for_selector("text=Every cell has a label.")
    look(page, "all done")
    page.goto(f"/cases/{case}/reading")
    page.wait_for_selector("select[name=person]")
    look(page, "before the second reading")
    begun = api(page, "POST", f"/api/v1/cases/{case}/readings", {"person": carla})
    for other in opened(chromium, served):
        reader = other.new_page()
        reader.goto("/sign-in")
        api(reader, "POST", "/api/v1/session", {"name": "carla", "password": PASSWORD})
        label_all(reader, case, "ANNX")
        reader.goto(f"/cases/{case}/reading")
        reader.wait_for_selector("text=Finish the reading")
        look(reader, "one's own second reading")
        api(reader, "POST", f"/api/v1/readings/{begun['id']}/finish")
    page.reload()
    page.wait_for_selector("table.confusion")
    look(page, "after the second reading")
    open_gallery(page, case, "filter=disagreements&adjudicate=1")
    look(page, "the readers differ")
    page.goto(f"/cases/{case}")
    page.click("#sign")
    page.wait_for_selector("dialog[open]")
    look(page, "case under ten cells, about to be signed")
    page.check("dialog input[name=seen]")
    page.click("dialog button[type=submit]")
    page.wait_for_selector("[data-state=signed]")
    look(page, "signed")
    page.click("text=Reopen…")
    page.wait_for_selector("dialog[open]")
    look(page, "about to be reopened")
    open_gallery(page, case)
    page.wait_for_selector("text=This case is signed")
    look(page, "gallery, signed")


def test_axe_finds_nothing_if_files_are_bad(page: Page, look: Look) -> None:
    page.goto("/cases")
    body = {"identifier": "X-1", "material": "blood", "sampling": "all"}
    case = api(page, "POST", "/api/v1/cases", body)["id"]
    page.goto(f"/cases/new?case={case}")
    files = [{"name": f"{k}.png", "mimeType": "image/png", "buffer": b"no image"} for k in (1, 2)]
    page.set_input_files("input[type=file] >> nth=0", files)
    page.wait_for_selector("text=2 files not used")
    page.wait_for_selector("text=No usable file was sent")
    look(page, "bad files")


def test_axe_finds_nothing_if_a_name_is_locked(
    chromium: Browser, served: Served, look: Look
) -> None:
    for other in opened(chromium, served):
        page = other.new_page()
        page.goto("/sign-in")
        look(page, "sign in")
        page.fill("input[name=name]", "nobody")
        for _ in range(5):
            page.fill("input[name=password]", "wrong password")
            with page.expect_response("**/session") as answer:
                page.keyboard.press("Enter")
            page.wait_for_selector(".problem:visible")
        assert answer.value.status == 429
        look(page, "locked")


def test_a_screen_reader_meets_roles_and_names(page: Page, scored: int) -> None:
    from playwright.sync_api import expect

    page.route("**/similar", lambda route: route.fulfill(json=NOTHING_SIMILAR))
    open_gallery(page, scored, "order=n")
    expect(page.locator("body")).to_match_aria_snapshot(GALLERY)
    options = page.get_by_role("listbox", name="Cells").get_by_role("option")
    assert options.count() == CELLS
    first = options.first
    assert (first.get_attribute("aria-posinset"), first.get_attribute("aria-setsize")) == (
        "1",
        str(CELLS),
    )
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.cell h3:has-text('History')")
    expect(page.get_by_role("dialog", name="Cell")).to_match_aria_snapshot(CELL)
    assert page.locator(f"[inert] {GRID}").count() == 1  # what lies under the cell is out of reach


def test_tab_goes_through_the_gallery_as_it_is_read(page: Page, scored: int) -> None:
    open_gallery(page, scored, "order=n")
    page.wait_for_selector(".counts .line, .counts h2:has-text('Share')")
    stops: list[str] = []
    for _ in range(80):
        page.keyboard.press("Tab")
        name = page.evaluate(
            """() => {
              const at = document.activeElement;
              return at === document.body ? "" : at.getAttribute("role") === "listbox" ? "grid"
                : at.dataset.tool ?? at.getAttribute("aria-label")
                ?? (at.querySelector("b") ?? at).textContent.trim();
            }"""
        )
        if name == "grid":
            break
        stops.append(name)
    start = next(k for k, name in enumerate(stops) if name == "Skip to the content")
    order = [*filter(None, stops[start:]), "grid", *filter(None, stops[:start])]
    filters = [name for name in order if name.startswith("filter-")]
    assert filters[:2] == ["filter-", "filter-unlabelled"]
    assert [name for name in order if name not in filters] == TAB_ORDER
    assert order.index("help") < order.index(filters[0])
    assert order.index(filters[-1]) == order.index("grid") - 1
