"""The workbench's gallery in a browser, with thousands of synthetic cells.

Measured with the real server, pages and contact sheets, in Debian's Chromium: the time from a key
to its paint (a label and the move to the next cell), from a jump (Home, End, Page Down) until no
tile in sight is blank, and what is blank 300 ms after scrolling at 20 rows a second stops; the
nodes of the grid and the requests for sheets. The cells stand in random order, the worst for
contact sheets. Scores are made up: no model runs.

    python benchmarks/workbench.py [--cells 5000] [--keys 200] [--jumps 40]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import arguments, machine, table

from blastscope.data.crop import Pixels
from blastscope.data.images import read_image
from blastscope.data.synthetic import write_synthetic

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from sqlalchemy.orm import Session

DRAWN = 60
SERVE = ("serve", "--port", "0", "--json", "--folder")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
WATCH = """
window.keyTimes = [];
window.jumpTimes = [];
window.blank = () => [...document.querySelectorAll(".tile:not([hidden])")].filter((tile) => {
  const box = tile.getBoundingClientRect();
  const grid = tile.closest(".grid").getBoundingClientRect();
  const image = tile.querySelector("img");
  const seen = box.bottom > grid.top && box.top < grid.bottom;
  return seen && !(image.complete && image.naturalWidth);
}).length;
addEventListener("keydown", (event) => {
  const began = event.timeStamp;
  const jump = ["Home", "End", "PageDown"].includes(event.key);
  const look = () => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      if (jump && window.blank()) look();
      else (jump ? window.jumpTimes : window.keyTimes).push(performance.now() - began);
    };
    channel.port2.postMessage(null);
  });
  look();
}, true);
"""


def main() -> None:
    parser = arguments(__doc__, 5000)
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--jumps", type=int, default=40)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        case = _fill(place / "workbench", asked.cells, place)
        print(machine("playwright", "fastapi"), f"load {os.getloadavg()[0]:.1f}")
        with (place / "serve.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "blastscope", *SERVE, str(place / "workbench")],
                stdout=log,
            )
        try:
            _measure(_address(place / "serve.log"), case, asked.cells, asked.keys, asked.jumps)
        finally:
            process.terminate()
            process.wait(30)


def _address(log: Path) -> str:
    for _ in range(1200):
        text = log.read_text()
        if "}" in text:
            address: str = json.loads(text)["address"]
            return address
        time.sleep(0.1)
    raise SystemExit("blastscope serve did not start")


def _fill(folder: Path, cells: int, place: Path) -> int:
    """Write a case of so many scored cells with its sheets, and return its number."""
    from blastscope.box import in_the_box
    from blastscope.workbench.cases import create_case
    from blastscope.workbench.contact_sheets import KINDS, sheet, spans, thumbnails
    from blastscope.workbench.context import Workbench
    from blastscope.workbench.people import local_person, who
    from blastscope.workbench.settings import Settings
    from blastscope.workbench.store.database import sqlite_url
    from blastscope.workbench.store.tables import Sheet, StoredModel

    write_synthetic(place / "cells", DRAWN, 6, 24)
    pictures = [thumbnails(read_image(path).pixels) for path in place.glob("cells/**/*.bmp")]
    bench = Workbench(Settings(folder, sqlite_url(folder), (in_the_box(),)))
    rng = np.random.default_rng(7)

    def turned(kind: Any) -> Pixels:
        tile: Pixels = pictures[int(rng.integers(DRAWN))][kind]
        return np.ascontiguousarray(np.rot90(tile, int(rng.integers(4))))

    with bench.database.write() as session:
        model = session.get_one(StoredModel, bench.model_id)
        case = create_case(
            session,
            who(local_person(session)),
            model,
            identifier="Benchmark",
            material="marrow",
            sampling="all",
            note="",
            synthetic=True,
        )
        case.state = "review"
        for span in spans(cells):
            for kind in KINDS:
                content = sheet({k: turned(kind) for k in range(len(span))}, len(span))
                session.add(
                    Sheet(
                        case_id=case.id,
                        kind=kind,
                        number=span[0],
                        sha=bench.images.put(content),
                        count=len(span),
                    )
                )
        _add_cells(session, case, cells, rng)
        number: int = case.id
    bench.close()
    return number


def _add_cells(session: Session, case: Any, cells: int, rng: np.random.Generator) -> None:
    from blastscope.workbench.store.tables import Cell, Score, Scoring

    scoring = Scoring(case_id=case.id, model_id=case.model_id, subjects=[])
    session.add(scoring)
    session.flush()
    case.scoring_id = scoring.id
    order = rng.permutation(cells) + 1
    chances = rng.beta(0.4, 0.6, cells)
    rows = [
        Cell(
            case_id=case.id,
            n=n,
            sha=f"{n:064x}",
            file=f"{n}.png",
            name=str(n),
            subject="1",
            prepared=True,
            random=int(order[n - 1]),
            about={},
        )
        for n in range(1, cells + 1)
    ]
    session.add_all(rows)
    session.flush()
    session.add_all(
        Score(
            scoring_id=scoring.id,
            cell_id=cell.id,
            p_all=float(p),
            p_raw=float(p),
            called="all" if p >= 0.5 else "hem",
            confidence=float(max(p, 1 - p)),
            refer=bool(abs(p - 0.5) < 0.1),
            ood=False,
            ood_score=0.1,
            flags="",
            networks=[float(p)],
        )
        for cell, p in zip(rows, chances, strict=True)
    )


def _measure(launch: str, case: int, cells: int, keys: int, jumps: int) -> None:
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        raise SystemExit(f"no browser: none of {', '.join(CHROMIUM)} is on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        sheets: list[str] = []
        page.on("request", lambda request: "/sheets/" in request.url and sheets.append(request.url))
        page.add_init_script(WATCH)
        page.goto(launch)
        began = time.perf_counter()
        page.goto(launch.partition("/launch")[0] + f"/cases/{case}/gallery?order=random")
        page.wait_for_selector(".tile.active")
        while page.evaluate("window.blank()"):
            page.wait_for_timeout(20)
        first = time.perf_counter() - began
        page.wait_for_timeout(3000)
        nodes = _press(page, keys, jumps)
        blank = _scroll(page)
        times = {
            name: np.array(page.evaluate(f"window.{name}")) for name in ("keyTimes", "jumpTimes")
        }
        browser.close()
    rows = [
        _row("key to paint", times["keyTimes"], 50),
        _row("jump until no tile is blank", times["jumpTimes"], 250),
    ]
    table(
        f"{cells:,} cells in random order, 1366 × 768",
        ["", "n", "p50, ms", "p95, ms", "to reach"],
        rows,
        f"First pictures after {first:.1f} s. Nodes in the grid: {nodes} (400 at most). Requests "
        f"for sheets: {len(sheets)} ({len(set(sheets))} addresses). Blank tiles 300 ms after "
        f"scrolling at 20 rows a second stops: {blank} (0).",
    )


def _row(name: str, times: np.ndarray, most: int) -> list[str]:
    p50, p95 = np.percentile(times, [50, 95])
    return [name, str(len(times)), f"{p50:.0f}", f"{p95:.0f}", f"p95 < {most}"]


def _press(page: Page, keys: int, jumps: int) -> int:
    """Label and jump; return the most nodes that the grid had."""
    nodes = 0
    for k in range(keys):
        page.keyboard.press("anux"[k % 4])
        page.wait_for_timeout(40)
    for k in range(jumps):
        page.keyboard.press(("End", "Home", "PageDown")[k % 3])
        page.wait_for_timeout(300)
        nodes = max(nodes, page.locator(".grid *").count())
    return nodes


def _scroll(page: Page) -> int:
    page.mouse.move(700, 400)
    for _ in range(60):
        page.mouse.wheel(0, 102)
        page.wait_for_timeout(50)
    page.wait_for_timeout(300)
    blank: int = page.evaluate("window.blank()")
    return blank


if __name__ == "__main__":
    main()
