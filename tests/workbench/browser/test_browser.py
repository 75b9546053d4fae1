"""The workbench in a browser: a case from its files to its export, by keyboard alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tests.segmentation.drawn import UM, White, draw
from tests.workbench.browser.conftest import (
    CELLS,
    GRID,
    PAGES,
    SENT,
    Line,
    Served,
    all_saved,
    api,
    open_gallery,
    opened,
    wait_scored,
)
from tests.workbench.filling import _picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

MANY = 5_000


def labels(page: Page, case: int) -> list[str | None]:
    """What the server holds, in the order of the cells."""
    found: list[str | None] = api(page, "GET", f"/api/v1/cases/{case}/cells")["columns"]["label"]
    return found


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(80):
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {selector}")


def test_a_case_from_files_to_export_by_keyboard(
    page: Page, cell_files: list[Path], tmp_path: Path
) -> None:
    page.goto("/cases")
    page.wait_for_selector("main a")
    page.keyboard.press("c")
    page.wait_for_url("**/cases/new")
    page.wait_for_selector("input[name=identifier]:focus")
    page.keyboard.type("K-0017")
    page.keyboard.press("Enter")
    page.wait_for_url("**/cases/new?case=*")
    case = int(page.url.rpartition("=")[2])
    page.wait_for_selector(".drop button:focus")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
        page.keyboard.press("Space")  # to a page without a gesture yet, Enter opens no chooser
    chooser.value.set_files(cell_files)
    wait_scored(page, case)

    tab_to(page, f"a[href='/cases/{case}/gallery']")
    page.keyboard.press("Enter")
    page.wait_for_selector(".tile.active")
    order = api(page, "GET", f"/api/v1/cases/{case}/cells/find?order=needs")["cells"]
    assert sorted(order) == list(range(1, SENT + 1))
    page.keyboard.press("Control+a")
    page.keyboard.press("n")
    page.wait_for_selector("dialog[open]")
    tab_to(page, "dialog button[type=submit]")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("Home")
    given = ["a", "n", "u", "x"] * 3
    for key in given:
        page.keyboard.press(key)
    all_saved(page)
    expected: dict[int, str | None] = dict.fromkeys(order, "N")
    expected |= dict(zip(order, map(str.upper, given), strict=False))
    assert dict(enumerate(labels(page, case), 1)) == expected

    page.keyboard.press("z")
    all_saved(page)
    page.reload()
    page.wait_for_selector(".tile.active")
    page.keyboard.press("z")
    all_saved(page)
    undone = expected | dict.fromkeys(order[10:12], "N")
    assert dict(enumerate(labels(page, case), 1)) == undone
    page.keyboard.press("Shift+Z")
    page.keyboard.press("Shift+Z")
    all_saved(page)
    assert dict(enumerate(labels(page, case), 1)) == expected

    page.goto(f"/cases/{case}")
    page.wait_for_selector("#sign")
    tab_to(page, "#sign")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    tab_to(page, "dialog input[name=seen]")
    page.keyboard.press("Space")
    tab_to(page, "dialog button[type=submit]")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-state=signed]")

    open_gallery(page, case)
    page.keyboard.press("a")
    page.wait_for_selector(".strip.bad")
    assert dict(enumerate(labels(page, case), 1)) == expected

    page.goto(f"/cases/{case}/export")
    page.wait_for_selector("a[href$='cells.csv']")
    tab_to(page, "a[href$='cells.csv']")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    download.value.save_as(tmp_path / "cells.csv")
    exported = pl.read_csv(tmp_path / "cells.csv", comment_prefix="#")
    assert Counter(exported["label"]) == Counter(expected.values())


def test_whole_fields_show_the_place_of_each_cell(page: Page, tmp_path: Path) -> None:
    field = tmp_path / "field.png"
    whites = [White(150, 200), White(340, 180), White(496, 40)]  # the edge cuts the last one
    Image.fromarray(draw((400, 500), whites)).save(field)
    page.goto("/cases/new")
    page.fill("input[name=identifier]", "F-0001")
    assert not page.is_visible("input[name=um_per_pixel]")
    page.check("input[name=content][value=fields]")
    page.fill("input[name=um_per_pixel]", str(UM))
    page.click("button[type=submit]")
    page.wait_for_url("**/cases/new?case=*")
    case = int(page.url.rpartition("=")[2])
    with page.expect_file_chooser() as chooser:
        page.click(".drop button")
    chooser.value.set_files(field)
    wait_scored(page, case)
    page.goto(f"/cases/{case}/cells/2")
    page.wait_for_selector("dialog.cell .place.here")
    told = api(page, "GET", f"/api/v1/cases/{case}/cells/2")["field"]
    whole, mark = (page.locator(name).bounding_box() for name in (".smear", ".place.here"))
    assert whole
    assert mark
    smear, at = dict(whole), dict(mark)
    for k, (start, side, length) in enumerate((("x", "width", 500), ("y", "height", 400))):
        middle = (at[start] + at[side] / 2 - smear[start]) / smear[side] * length
        assert abs(middle - told["place"][k] - told["place"][k + 2] / 2) < 6
    page.goto(f"/cases/{case}")
    page.wait_for_selector(".smears img")
    assert page.locator(".place.refused").count() == 1
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe").Axe()
    assert axe.run(page).response["violations"] == []


def test_files_of_a_page_that_was_closed_too_early_are_prepared(page: Page) -> None:
    page.goto("/cases")
    body = {"identifier": "Early", "material": "blood", "sampling": "all"}
    case = api(page, "POST", "/api/v1/cases", body)["id"]
    sent = page.request.put(
        f"/api/v1/cases/{case}/files?name=a.png", data=_picture(1, 0.3),
        headers={"Sec-Fetch-Site": "same-origin"},
    )  # fmt: skip
    assert sent.status == 201, sent.text()
    page.goto(f"/cases/new?case={case}")
    page.click("text=Prepare what was sent")
    page.wait_for_selector("text=1 cell ready")
    page.wait_for_selector("text=Prepare what was sent", state="detached")
    assert api(page, "GET", f"/api/v1/cases/{case}")["progress"]["cells"] == 1


def test_what_was_done_offline_is_sent_again_once(page: Page, line: Line, scored: int) -> None:
    open_gallery(page, scored)
    before = len(api(page, "GET", f"/api/v1/cases/{scored}/history")["events"])
    line.cut = True
    page.keyboard.press("u")
    page.keyboard.press("f")
    page.wait_for_selector("#saved[data-state=offline]")
    assert page.locator(".tile[data-label=U]").count() == 1
    assert "2" in page.inner_text("#saved")
    line.cut = False
    page.evaluate("window.dispatchEvent(new Event('online'))")
    all_saved(page)
    events = api(page, "GET", f"/api/v1/cases/{scored}/history")["events"][before:]
    assert [(event["kind"], event["value"]) for event in events] == [("label", "U"), ("flag", True)]


def test_events_left_in_the_browser_are_sent_by_the_next_page(
    page: Page, line: Line, scored: int
) -> None:
    open_gallery(page, scored)
    line.cut = True
    page.keyboard.press("End")
    page.keyboard.press("x")
    page.wait_for_selector(".tile.active[data-label=X]")
    page.wait_for_selector("#saved[data-state=offline]")
    page.close()
    line.cut = False
    other = page.context.new_page()
    other.goto("/cases")
    all_saved(other)
    assert labels(other, scored)[-1] == "X"


def test_what_is_left_of_one_reading_is_not_shown_in_another(page: Page, line: Line) -> None:
    page.goto("/cases")
    body = {"identifier": "Two readings", "material": "blood", "sampling": "all"}
    case = api(page, "POST", "/api/v1/cases", body)["id"]
    headers = {"Sec-Fetch-Site": "same-origin"}
    page.request.put(
        f"/api/v1/cases/{case}/files?name=b.png", data=_picture(2, 0.3), headers=headers
    )
    api(page, "POST", f"/api/v1/cases/{case}/files/done")
    wait_scored(page, case)
    body = {"person": api(page, "GET", "/api/v1/boot")["person"]["id"], "blind": False}
    other = api(page, "POST", f"/api/v1/cases/{case}/readings", body)["id"]
    api(page, "POST", f"/api/v1/readings/{other}/finish")
    open_gallery(page, case)
    line.cut = True
    page.keyboard.press("x")
    page.wait_for_selector("#saved[data-state=offline]")
    open_gallery(page, case, f"reading={other}")
    page.wait_for_selector("#saved[data-state=offline]")
    assert page.locator(".tile[data-label=X]").count() == 0
    line.cut = False
    page.evaluate("window.dispatchEvent(new Event('online'))")
    all_saved(page)
    assert page.locator(".tile[data-label=X]").count() == 0
    assert labels(page, case) == ["X"]


def test_an_event_that_the_server_refuses_does_not_hold_up_the_others(
    page: Page, line: Line, scored: int
) -> None:
    open_gallery(page, scored)
    line.cut = True
    boot = page.evaluate("JSON.parse(document.getElementById('boot').textContent)")
    kept_by = f"blastscope.event.{boot['workbench']}.{boot['person']['id']}"
    events = [
        {"kind": "label", "cells": [3], "value": "A"},
        {"kind": "label", "cells": [4], "value": "A"},
        {"kind": "label", "cells": [CELLS + 99], "value": "A"},
        {"kind": "undo"},  # of what is refused: it must not take back the label of cell 4
        {"kind": "label", "cells": [5], "value": "A"},
    ]
    for order, event in enumerate(events, 1):
        kept = {"case": scored, "order": order, "event": {"id": str(uuid4()), **event}}
        key = f"{kept_by}.{kept['event']['id']}"
        page.evaluate("([key, kept]) => localStorage.setItem(key, kept)", [key, json.dumps(kept)])
    # Of another workbench that was served at this address: of no case here.
    sixth = labels(page, scored)[5]
    foreign = {"id": str(uuid4()), "kind": "label", "cells": [6], "value": "NA"[sixth == "N"]}
    key = f"blastscope.event.{'0' * 16}.{boot['person']['id']}.{foreign['id']}"
    kept = json.dumps({"case": scored, "order": 0, "event": foreign})
    page.evaluate("([key, kept]) => localStorage.setItem(key, kept)", [key, kept])
    line.cut = False
    open_gallery(page, scored)
    page.wait_for_selector("#saved[data-state=refused]:has-text('2 not saved')")
    assert labels(page, scored)[2:6] == ["A", "A", "A", sixth]
    assert page.evaluate("(key) => localStorage.getItem(key)", key) == kept
    page.keyboard.press("Home")
    page.keyboard.press("n")
    page.wait_for_selector(".tile[aria-posinset='1'][data-label=N]")
    page.click("text=Drop these changes")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Enter")  # the focus is on Keep
    page.wait_for_selector("#saved[data-state=refused]:has-text('2 not saved')")
    page.goto("/cases")  # they can be dropped where they were not made, too
    page.wait_for_selector("#saved[data-state=refused]:has-text('2 not saved')")
    page.click("#not-saved")
    assert f"{CELLS + 99}" in page.inner_text("dialog li")
    page.click("dialog button[type=submit]")
    all_saved(page)
    assert not page.is_visible("#not-saved")
    assert labels(page, scored)[0] == "N"


def test_more_than_fifty_cells_are_asked_about(page: Page, line: Line, scored: int) -> None:
    line.cut = True
    pretend_many(page, scored)
    open_gallery(page, scored)
    page.keyboard.press("Control+a")
    page.keyboard.press("a")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    assert page.locator(".tile[data-label=A]").count() == 0
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("a")
    page.wait_for_selector("#saved[data-state=offline]")
    assert page.locator("dialog[open]").count() == 0
    assert page.locator(".tile[data-label=A]").count() == 2
    page.evaluate("localStorage.clear()")


def pretend_many(page: Page, case: int) -> None:
    """Answer a page's question for the cells with 5,000 of them, on the case's own sheet."""
    rng = np.random.default_rng(3)
    p = rng.uniform(size=MANY)

    def many(route: Any) -> None:
        answer = route.fetch().json()
        sheet = next(filter(None, answer["sheets"]))
        one = {name: values and values[0] for name, values in answer["columns"].items()}
        columns = {name: [value] * MANY for name, value in one.items()}
        columns |= {
            "n": list(range(1, MANY + 1)),
            "label": [None] * MANY,
            "p": p.tolist(),
            "needs": (np.argsort(np.argsort(np.abs(p - 0.5))) + 1).tolist(),
            "random": (rng.permutation(MANY) + 1).tolist(),
        }
        answer |= {"count": MANY, "columns": columns, "sheets": [sheet] * (MANY // 100)}
        route.fulfill(json=answer)

    page.route("**/cells?*", many)
    page.route("**/cells", many)


@pytest.mark.parametrize("size", [64, 256])
def test_five_thousand_cells_need_few_nodes(page: Page, scored: int, size: int) -> None:
    pretend_many(page, scored)
    page.add_init_script(
        f"localStorage.setItem('blastscope.looks', '{json.dumps({'size': size})}')"
    )
    open_gallery(page, scored)
    for key in ("End", "Home", "PageDown"):
        page.keyboard.press(key)
        page.wait_for_timeout(50)
        assert page.locator(f"{GRID} *").count() <= 400
    active = page.locator(".tile.active")
    assert page.get_attribute(GRID, "aria-activedescendant") == active.get_attribute("id")
    assert active.get_attribute("aria-setsize") == str(MANY)
    tiles = page.locator(".tile:not([hidden])")
    columns = len(
        set(tiles.evaluate_all("(all) => all.map((tile) => tile.getBoundingClientRect().x)"))
    )
    place = int(active.get_attribute("aria-posinset") or 0)
    assert place > 1
    assert (place - 1) % columns == 0
    page.keyboard.press("ArrowRight")
    assert page.locator(".tile.active").get_attribute("aria-posinset") == str(place + 1)


def test_the_cell_has_an_address_and_gives_back_its_tile(page: Page, scored: int) -> None:
    open_gallery(page, scored)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/cases/{scored}/cells/2")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/cases/{scored}/cells/3")
    page.reload()
    page.wait_for_selector("dialog.cell .stage img")
    assert page.locator("dialog.cell img.overlay").count() == 0
    for words in ("Research use only", "Model: ", "Signed in: ", "all saved"):
        assert words in page.inner_text("header")
    page.keyboard.press("Escape")
    page.wait_for_url("**/gallery?*")
    assert page.locator("dialog.cell").count() == 0
    assert (
        page.locator(".tile.active").get_attribute("aria-label", timeout=5000).startswith("Cell 3")
    )  # type: ignore[union-attr]
    assert page.evaluate("document.activeElement.getAttribute('role')") == "listbox"


def test_neighbours_show_their_own_pictures_and_where_they_are_from(
    page: Page, scored: int
) -> None:
    sheet = api(page_at(page, "/cases"), "GET", f"/api/v1/cases/{scored}/cells")["sheets"][0]
    own = {"reference": False, "case": scored, "identifier": "B-1", "n": 24, "reader": "ann"}
    own |= {"label": "A", "image": None, "tile": {"sheet": sheet["scale"], "x": 3, "y": 2}}
    known = {"reference": True, "case": None, "identifier": "known", "n": None, "reader": None}
    known |= {"label": "A", "cell": "UID_1", "tile": None, "image": "/api/v1/reference/0.png"}
    answer = {
        "state": "ready", "nearest": [], "by_label": {"A": [own, known]},
        "reference": {"state": "ready", "name": "known", "cells": {"A": 1, "N": 0},
                      "synthetic": True, "scale": "crop"},
    }  # fmt: skip
    page.route("**/similar", lambda route: route.fulfill(json=answer))
    page.goto(f"/cases/{scored}/cells/2")
    page.wait_for_selector(".neighbours .reference")
    style = page.locator(".neighbours img").first.evaluate("(image) => image.style.objectPosition")
    assert style == "-384px -256px"  # column 3 and row 2 of tiles of 128 pixels
    assert page.locator(".neighbours figure").all_inner_texts() == ["cell 24\nann", ""]
    assert page.locator("small", has_text="Reference cells of known, labelled ALL").count() == 1
    assert page.locator(".reference a").count() == 0
    assert "labelled ALL" in (page.get_attribute(".reference img", "alt") or "")
    page.keyboard.press("b")
    page.wait_for_selector(".neighbours", state="detached")


def page_at(page: Page, path: str) -> Page:
    """Return a page after it went to a path."""
    page.goto(path)
    return page


def test_the_model_can_be_hidden_and_is_not_recorded_as_seen(page: Page, scored: int) -> None:
    open_gallery(page, scored)
    page.keyboard.press("b")
    page.wait_for_selector("[data-tool=model][aria-pressed=true]")
    names = page.locator(".tile").evaluate_all("(tiles) => tiles.map((tile) => tile.ariaLabel)")
    assert not any("model" in name for name in names if name)
    panel = page.inner_text(".counts")
    assert "Hidden while the model is hidden" in panel
    assert "The model alone" not in panel
    page.keyboard.press("n")
    all_saved(page)
    event = api(page, "GET", f"/api/v1/cases/{scored}/history")["events"][-1]
    assert event["shown"]["model"] is False
    page.keyboard.press("z")
    all_saved(page)
    page.keyboard.press("b")
    page.wait_for_selector("[data-tool=model][aria-pressed=false]")
    page.wait_for_selector(".counts :text('The model alone')")


def test_single_keys_can_be_switched_off_and_changed(page: Page, scored: int) -> None:
    open_gallery(page, scored)
    before = labels(page, scored)
    page.keyboard.press("?")
    page.fill("dialog input[name=key-A]", "k")
    page.click("dialog button[type=submit]")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("Home")
    page.keyboard.press("k")
    all_saved(page)
    assert labels(page, scored)[0] == "A"
    page.keyboard.press("z")
    all_saved(page)
    page.keyboard.press("?")
    page.uncheck("dialog input[name=on]")
    page.click("dialog button[type=submit]")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("Home")
    page.keyboard.press("k")
    page.keyboard.press("n")
    page.keyboard.press("ArrowRight")
    all_saved(page)
    assert labels(page, scored) == before


def test_a_second_reader_is_blind_and_a_signer_decides(
    chromium: Browser, served: Served, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto("/cases")
    person = {"name": "bob", "password": "correct horse battery", "role": "reader"}
    bob = api(page, "POST", "/api/v1/people", person)["id"]
    case = served.second
    open_gallery(page, case)
    for key in "aann":
        page.keyboard.press(key)
    all_saved(page)
    page.goto(f"/cases/{case}/reading")
    page.select_option("select[name=person]", str(bob))
    page.click("form button[type=submit]")
    page.wait_for_selector("text=Reading 2")

    for other in opened(chromium, served):
        blind = other.new_page()
        blind.goto(f"/sign-in?next=/cases/{case}/gallery")
        blind.fill("input[name=name]", "bob")
        blind.fill("input[name=password]", "wrong password")
        blind.keyboard.press("Enter")
        blind.wait_for_selector(".problem:visible")
        blind.fill("input[name=password]", person["password"])
        blind.keyboard.press("Enter")
        blind.wait_for_url("**/gallery*")
        blind.wait_for_selector(".tile.active")
        text = blind.inner_text("main") + str(blind.locator(".tile").evaluate_all(
            "(tiles) => tiles.map((tile) => tile.ariaLabel + tile.dataset.model)"))  # fmt: skip
        assert "model:" not in text.lower()
        assert "UID_" not in text
        blind.keyboard.press("End")
        blind.keyboard.press("Home")
        for key in "anun":
            blind.keyboard.press(key)
        all_saved(blind)
        still_open = other.new_page()
        open_gallery(still_open, case)
        blind.goto(f"/cases/{case}/reading")
        blind.click("text=Finish the reading")
        blind.wait_for_selector("text=Finished.")
        # A gallery that stays open is of the finished reading, not of the case's own.
        before = api(page, "GET", f"/api/v1/cases/{case}/cells")["columns"]["label"]
        still_open.keyboard.press("x")
        still_open.wait_for_selector("text=1 not saved")
        assert api(page, "GET", f"/api/v1/cases/{case}/cells")["columns"]["label"] == before

    page.goto(f"/cases/{case}/reading")
    page.wait_for_selector("table.confusion")
    page.click("a[href*=adjudicate]")
    page.wait_for_selector(".tile.active")
    assert page.locator(".tile:not([hidden])").count() >= 1
    page.keyboard.press("Control+a")
    page.keyboard.press("n")
    all_saved(page)
    assert api(page, "GET", f"/api/v1/cases/{case}/agreement")["open"] == []
    # The gallery filters by the label that counts, as the server does, and says so.
    open_gallery(page, case, "filter=N")
    page.wait_for_selector("text=Label, as decided")
    names = page.locator(".tile:not([hidden])").evaluate_all(
        "all => all.map((one) => one.ariaLabel)"
    )
    found = api(page, "GET", f"/api/v1/cases/{case}/cells/find?filter=N")
    assert sorted(int(name.split()[1].strip(",;")) for name in names) == found["cells"]
    assert len(found["cells"]) == found["counts"]["N"] >= 1
    assert any("yours: ALL, decided: normal" in name for name in names)


def test_pages_fit_at_twice_the_size(chromium: Browser, served: Served, scored: int) -> None:
    context = chromium.new_context(
        base_url=served.address,
        viewport={"width": 720, "height": 450},
        device_scale_factor=2,
        storage_state=served.state,
        forced_colors="active",
    )
    page = context.new_page()
    for path in ("/cases", "/cases/new", "/admin", *(f"/cases/{scored}{end}" for end in PAGES)):
        page.goto(path)
        page.wait_for_selector("main > *")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        assert page.get_by_text("Research use only").is_visible()
    context.close()
