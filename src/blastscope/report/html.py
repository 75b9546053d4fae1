"""Self-contained HTML from the packaged templates: style inlined, pictures as data URIs."""

from __future__ import annotations

import base64
import io
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image

from blastscope import DISCLAIMER, __version__
from blastscope.report import text


def render(template: str, **context: Any) -> str:
    """Render a packaged template; every value is escaped, an unknown name is an error.

    Args:
        template: a file of ``report/templates``.
        context: what the template shows; each page needs ``title`` and ``synthetic``, and may
            have ``back``, a relative link to the page above it.
    """
    page = _environment().get_template(template).render(**{"back": None, **context})
    return _mark_all(page)


def render_text(template: str, **context: Any) -> str:
    """Render a packaged Markdown template; nothing is escaped but by its filter ``escaped``."""
    return _environment().get_template(template).render(**context) + "\n"


_UNMARKED = re.compile(r"(<(title|style|pre|code|option)\b.*?</\2>|<[^>]*>)", re.DOTALL)
_ALL = re.compile(r"\bALL\b")


def _mark_all(page: str) -> str:
    """Mark ALL, the leukaemia, in the text of a page, so that nobody reads it as the word *all*."""
    pieces = _UNMARKED.split(page)  # text, markup, the markup's name if it has text of its own...
    marked = '<abbr class="leukaemia" title="acute lymphoblastic leukaemia">ALL</abbr>'
    pieces[::3] = [_ALL.sub(marked, text) for text in pieces[::3]]
    del pieces[2::3]
    return "".join(pieces)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("blastscope.report", "templates"),
        autoescape=lambda name: name is None or not name.endswith(".md"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(disclaimer=DISCLAIMER, version=__version__)
    environment.globals.update(
        labels=text.LABELS, metric_names=text.METRIC_NAMES, headline=text.HEADLINE
    )
    formats = (text.number, text.signed, text.percent, text.interval, text.metric, text.spread)
    counts = (text.p_number, text.p_value, text.counted, text.listed)
    environment.filters.update({write.__name__: write for write in (*formats, *counts)})
    environment.filters.update(protocol=text.protocol_name, escaped=text.escaped)
    environment.filters.update(every=text.every, breakable=breakable, coded=coded)
    return environment


def breakable(name: str) -> Markup:
    """Let a long name go on in another line after an underscore, and not within a word."""
    return Markup("_<wbr>").join(name.split("_"))


def coded(sentence: str) -> Markup:
    """Show what stands between backticks, such as an option, as code."""
    pieces = sentence.split("`")
    if len(pieces) % 2 == 0:  # a backtick without its partner
        return escape(sentence)
    shown = (
        Markup("<code>{}</code>").format(piece) if place % 2 else escape(piece)
        for place, piece in enumerate(pieces)
    )
    return Markup("").join(shown)


def svg_uri(path: Path) -> str:
    """Turn an SVG file into a data URI: as an image it cannot clash with the page's own ids."""
    return data_uri(path.read_bytes(), "image/svg+xml")


def picture_uri(rgb: NDArray[np.uint8]) -> str:
    """Turn an RGB picture, uint8 of shape (height, width, 3), into a PNG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return data_uri(buffer.getvalue(), "image/png")


def small_uri(picture: bytes | NDArray[np.uint8]) -> str:
    """Turn a picture with many colours into a WebP data URI of a fifth of its PNG's size, or less.

    The loss is not visible; the plot's own file has the exact pixels.

    Args:
        picture: a PNG, or RGB of shape (height, width, 3), uint8.
    """
    buffer = io.BytesIO()
    if isinstance(picture, bytes):
        opened: Image.Image = Image.open(io.BytesIO(picture), formats=("PNG",))
    else:
        opened = Image.fromarray(picture)
    with opened:
        opened.convert("RGB").save(buffer, "WEBP", quality=88)
    return data_uri(buffer.getvalue(), "image/webp")


def data_uri(content: bytes, kind: str) -> str:
    """Write bytes of a media type as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
