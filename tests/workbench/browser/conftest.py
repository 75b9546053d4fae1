"""One server and one browser for all tests here: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from tests.workbench.filling import fill_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
CELLS = 12
SENT = 200
"""Files that one test sends."""
GRID = "[role=listbox]"
PAGES = ("", "/gallery", "/reading", "/export", "/history")
"""Of a case."""
_START_SECONDS = 120
REPORTED = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
"""


@dataclass
class Served:
    """A workbench that listens, and who is signed in there."""

    address: str
    state: dict[str, Any]
    """The cookies of the person at this machine."""
    scored: int
    """A case whose cells have scores."""
    second: int
    """One of four cells, for a second reader."""
    small: int
    """One of four cells, to be read twice and signed."""
    blind: int
    """One of four cells that are read blind first."""


@dataclass
class Watch:
    """What must not happen on any page."""

    host: str
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def on(self, page: Page) -> None:
        """Watch a page."""
        page.on("request", self._request)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _request(self, request: Any) -> None:
        if urlsplit(request.url).netloc != self.host:
            self.foreign.append(request.url)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser; tests are skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUM)} is on the PATH")
    with sync_api.sync_playwright() as playwright:
        # As root in a container Chromium has no sandbox; it opens this machine's pages only.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def served(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A workbench with the model in the box, its first page opened with the launch token."""
    folder = tmp_path_factory.mktemp("workbench")
    scored = fill_folder(folder / "data", CELLS, "B-1", subjects=3)
    second = fill_folder(folder / "data", 4, "S-2")
    small = fill_folder(folder / "data", 4, "S-3")
    blind = fill_folder(folder / "data", 4, "S-4", blind_first=True)
    command = [sys.executable, "-m", "blastscope", "serve", "--port", "0", "--json"]
    log = folder / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--folder", str(folder / "data")],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    try:
        launch = _address(process, log)
        context = chromium.new_context()
        context.new_page().goto(launch)
        address = "{0.scheme}://{0.netloc}".format(urlsplit(launch))
        yield Served(address, dict(context.storage_state()), scored, second, small, blind)
        context.close()
    finally:
        process.terminate()
        process.wait(30)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        text = log.read_text()
        if "}" in text:
            address: str = json.JSONDecoder().raw_decode(text[text.index("{") :])[0]["address"]
            return address
        time.sleep(0.1)
    raise AssertionError(f"blastscope serve did not start: {log.read_text()[-2000:]}")


@pytest.fixture
def context(chromium: Browser, served: Served) -> Iterator[BrowserContext]:
    """A browser of the person at this machine, signed in."""
    yield from opened(chromium, served, served.state)


def opened(chromium: Browser, served: Served, state: Any = None) -> Iterator[BrowserContext]:
    """Open a context whose pages are watched; fail if one reached out or broke the policy."""
    context = chromium.new_context(
        base_url=served.address,
        viewport={"width": 1366, "height": 768},
        storage_state=state,
        reduced_motion="reduce",
    )
    context.set_default_timeout(20_000)
    context.add_init_script(REPORTED)
    watch = Watch(urlsplit(served.address).netloc)
    context.on("page", watch.on)
    yield context
    for page in context.pages:  # an answer that is being made would fail in the next test's setup
        page.unroute_all(behavior="wait")
    reports = [report for page in context.pages for report in page.evaluate("window.violations")]
    context.close()
    assert watch.foreign == []
    assert watch.errors == []
    assert reports == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page of the person at this machine."""
    return context.new_page()


@dataclass
class Line:
    """The way of events to the server, which a test can cut.

    It stands in the way before the first page opens, so that a key can never overtake a cut.
    """

    cut: bool = False

    def handle(self, route: Any) -> None:
        """Let a request through, or end it as a lost connection does."""
        if self.cut:
            route.abort()
        else:
            route.continue_()


@pytest.fixture
def line(context: BrowserContext) -> Line:
    """The way of all events of a context."""
    made = Line()
    context.route("**/events", made.handle)
    return made


@pytest.fixture(scope="session")
def cell_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Drawn cells of three subjects, small, so that 200 of them cost little."""
    folder = tmp_path_factory.mktemp("cells")
    rng = np.random.default_rng(5)
    for k in range(SENT):
        pixels = np.zeros((96, 96, 3), np.uint8)
        axes = tuple(int(length) for length in rng.integers(26, 40, 2))
        cv2.ellipse(pixels, (48, 48), axes, rng.uniform(0, 180), 0, 360, (190, 160, 200), -1)
        cv2.circle(pixels, (48, 48), 24, (110, 50, int(rng.integers(80, 150))), -1)
        noise = rng.integers(0, 12, pixels.shape, np.uint8)
        cv2.imwrite(str(folder / f"UID_{k % 3 + 1}_{k}_1.png"), pixels + noise * (pixels > 0))
    return sorted(folder.iterdir())


def api(page: Page, method: str, path: str, body: Any = None) -> Any:
    """Ask the server from a page of its own, as the pages do."""
    return page.evaluate(
        """async ([method, path, body]) => {
          const response = await fetch(path, {method, headers: {"Content-Type": "application/json"},
            body: body === null ? undefined : JSON.stringify(body)});
          const text = await response.text();
          if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
          return text ? JSON.parse(text) : null;
        }""",
        [method, path, body],
    )


def all_saved(page: Page) -> None:
    """Wait until the bar says that nothing waits."""
    page.wait_for_selector("#saved[data-state=saved]")


def open_gallery(page: Page, case: int, query: str = "order=n") -> None:
    """Open the cells of a case and wait for their tiles."""
    page.goto(f"/cases/{case}/gallery?{query}")
    page.wait_for_selector(".tile.active")


@pytest.fixture
def scored(served: Served) -> int:
    """A case whose cells have scores; its number."""
    return served.scored


def wait_scored(page: Page, case: int) -> None:
    """Wait until a case is ready for review."""
    end = time.monotonic() + _START_SECONDS
    while (item := api(page, "GET", f"/api/v1/cases/{case}"))["state"] != "review":
        assert time.monotonic() < end, f"not scored in {_START_SECONDS} s: {item}"
        page.wait_for_timeout(200)
