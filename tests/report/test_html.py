from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from blastscope import DISCLAIMER
from blastscope.api.evaluate import evaluate
from blastscope.report.html import breakable, coded, picture_uri, render
from blastscope.report.text import every, number

HOSTILE = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Collects what a page would load or link to, its elements and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("src", "href", "srcset", "data", "action", "poster"):
                self.loads.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def report(folder: Path, model: str = "net", rows: str | None = None) -> str:
    path = folder / "table.csv"
    quoted = '"' + model.replace('"', '""') + '"'
    rows = rows or "a,S1,all,test,M,0.9\nb,H1,hem,test,M,0.2\nc,H2,hem,train,M,0.6\n"
    path.write_text("cell,subject,label,part,model,p_all\n" + rows.replace("M", quoted))
    return evaluate(path).to_html()


def test_the_report_is_self_contained(tmp_path):
    html = report(tmp_path)
    page = Page(html)
    assert len(page.loads) == 4  # confusion matrix, ROC, precision-recall, subjects
    assert all(load.startswith("data:image/svg+xml;base64,") for load in page.loads)
    assert page.links == ["https://doi.org/10.7937/tcia.2019.dc64i46r"]
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"url\(|@import", html)
    assert DISCLAIMER in page.text
    assert "CC BY 3.0" in page.text
    assert "No test subject is in training." in page.text
    assert "Synthetic cells" not in page.text


def test_a_hostile_model_name_is_text(tmp_path):
    html = report(tmp_path, HOSTILE)
    page = Page(html)
    assert "script" not in page.tags
    assert HOSTILE in page.text
    assert HOSTILE not in html


def test_synthetic_cells_are_announced_and_not_cited(tmp_path):
    page = Page(report(tmp_path, "net (synthetic)"))
    assert page.text.index("Synthetic cells") < page.text.index("weighted F1")
    assert "[synthetic] net" in page.text
    assert "Gupta" in Page(report(tmp_path)).text
    assert "Gupta" not in page.text
    assert page.links == []


def test_one_class_shows_a_dash_for_what_it_cannot_say(tmp_path):
    page = Page(report(tmp_path, rows="a,S1,all,test,M,0.9\nb,S2,all,test,M,0.4\n"))
    assert "All cells have one label" in page.text
    assert re.search(r"AUC\s*–", page.text)


def test_unknown_names_in_a_template_are_errors():
    with pytest.raises(UndefinedError):
        render("base.html", title="without its synthetic flag")


def test_numbers():
    assert [number(v) for v in (1437, 0.95524, None)] == ["1,437", "0.9552", "–"]
    assert number(0.95524, 3) == "0.955"


def test_a_picture_survives_its_data_uri():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    kind, _, content = picture_uri(rgb).partition(";base64,")
    assert kind == "data:image/png"
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        assert np.array_equal(np.asarray(picture), rgb)


def test_a_name_breaks_after_underscores_only_and_stays_escaped():
    assert breakable("UID_H1_2_hem") == "UID_<wbr>H1_<wbr>2_<wbr>hem"
    page = Page(str(breakable(f"a_{HOSTILE}_b")))
    assert page.text == f"a_{HOSTILE}_b"
    assert set(page.tags) == {"wbr"}


def test_two_are_both():
    assert [every(n) for n in (2, 3)] == ["both models", "all 3 models"]


def test_an_option_between_backticks_is_code_and_a_lone_backtick_stays():
    assert coded("give `--x <y>` & go") == "give <code>--x &lt;y&gt;</code> &amp; go"
    assert coded("a ` b") == "a ` b"
