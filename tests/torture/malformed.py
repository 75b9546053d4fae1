"""Bundles, recipes, splits, tables, decisions and GeoJSONs that are damaged, through what reads."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import blastscope as bs
from blastscope.data.split_table import read_split
from blastscope.decision.decision_file import read_decision
from blastscope.errors import BlastscopeError
from blastscope.evaluation.sources import open_source
from blastscope.segmentation.mask_files import read_masks
from tests.torture.mutations import Rng, flip_bits, swap_chunks, truncate

Changed = bytes
_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, float("nan"), float("inf"), 2**70, "", "x" * 5000, "../../etc/passwd",
    "\0", "\ud800", "𝒳", [], {}, [[[]]], {"a": {"b": []}}, "2026-13-40", "1,5",
)  # fmt: skip
_TOKENS = (
    b"NaN", b"-inf", b'"', b"{", b"]", b"\0", b"\xff\xfe", b",,,,", b";", b"\r\n\r\n", b"&a *a",
    b"!!python/object:os.system", b"1e999", b"9" * 400, b"\t", "é".encode("latin-1"),
)  # fmt: skip


def change_value(content: bytes, rng: Rng) -> bytes:
    """Replace or remove one value of a JSON file, at any depth."""
    try:
        whole = json.loads(content)
    except ValueError:
        return insert_token(content, rng)
    at, places = whole, []
    while isinstance(at, dict | list) and at:
        keys = list(at) if isinstance(at, dict) else range(len(at))
        key = keys[int(rng.integers(len(keys)))]
        places.append((at, key))
        at = at[key]
        if rng.random() < 0.3:
            break
    if places:
        holder, key = places[-1]
        if rng.random() < 0.2:
            del holder[key]
        else:
            holder[key] = _ODD[int(rng.integers(len(_ODD)))]
    return json.dumps(whole).encode("utf-8", errors="surrogatepass")


def insert_token(content: bytes, rng: Rng) -> bytes:
    """Put something odd in place of a word."""
    words = content.split(b" ") if b" " in content else content.split(b",")
    joint = b" " if b" " in content else b","
    words[int(rng.integers(len(words)))] = _TOKENS[int(rng.integers(len(_TOKENS)))]
    return joint.join(words)


def change_line(content: bytes, rng: Rng) -> bytes:
    """Double, remove, exchange or cut a line."""
    lines = content.split(b"\n")
    a, b = (int(k) for k in rng.integers(len(lines), size=2))
    kind = int(rng.integers(4))
    if kind == 0:
        lines.insert(b, lines[a])
    elif kind == 1:
        del lines[a]
    elif kind == 2:
        lines[a], lines[b] = lines[b], lines[a]
    else:
        lines[a] = lines[a][: len(lines[a]) // 2]
    return b"\n".join(lines)


def change_zip(content: bytes, rng: Rng) -> bytes:
    """Damage, double, rename or remove one file of a zip, and pack it again."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen, kind = names[int(rng.integers(len(names)))], int(rng.integers(5))
        for name in names:
            data = old.read(name)
            if name != chosen:
                new.writestr(name, data)
                continue
            if kind == 0:
                continue
            if kind == 1:
                data = _any(data, rng)
            new.writestr(f"../{name}" if kind == 2 else name, data, zipfile.ZIP_DEFLATED)
            if kind == 3:
                new.writestr(f"members/1/{name}", data)
            if kind == 4:
                new.writestr("bundle.json/", b"")
    return out.getvalue()


def _any(content: bytes, rng: Rng) -> bytes:
    choices = (flip_bits, truncate, swap_chunks, change_value, insert_token)
    return choices[int(rng.integers(len(choices)))](content, rng) if content else content


TEXT = (change_line, insert_token, truncate, swap_chunks, flip_bits)
BINARY = (flip_bits, truncate, swap_chunks)
JSON = (change_value, change_value, insert_token, truncate, flip_bits)


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name, a good one, how it is changed, and what reads it."""

    name: str
    file: str
    good: bytes
    changes: tuple[Callable[[bytes, Rng], bytes], ...]
    read: Callable[[Path], Any]


def kinds(good: GoodFiles, evaluated: bool) -> list[Kind]:
    """Return the kinds; what reads them is what the commands call.

    ``evaluated``: a prediction table is not only read and checked, but evaluated.
    """
    table = bs.evaluate if evaluated else open_source
    return [
        Kind("bundle", "b.zip", good.bundle, (*BINARY, change_zip, change_zip, change_zip),
             lambda path: bs.inspect_bundle(path)),
        Kind("recipe", "r.yaml", good.recipe, TEXT, lambda path: bs.load_recipe(path)),
        Kind("split", "s.parquet", good.split, BINARY, read_split),
        Kind("table, CSV", "p.csv", good.csv, TEXT, table),
        Kind("table, Parquet", "p.parquet", good.parquet, BINARY,
             table),
        Kind("decision", "decision.json", good.decision, JSON, read_decision),
        Kind("GeoJSON", "m.geojson", good.geojson, JSON,
             lambda path: read_masks(path, (120, 160))),
    ]  # fmt: skip


@dataclass(frozen=True)
class GoodFiles:
    """One good file of each kind."""

    bundle: bytes
    recipe: bytes
    split: bytes
    csv: bytes
    parquet: bytes
    decision: bytes
    geojson: bytes


def good_geojson() -> bytes:
    """Return two outlined cells as QuPath writes them."""
    squares = [[[x, x], [x + 30, x], [x + 30, x + 30], [x, x + 30], [x, x]] for x in (10, 60)]
    found = [
        {
            "type": "Feature",
            "id": f"cell-{k}",
            "geometry": {"type": "Polygon", "coordinates": [square]},
            "properties": {"objectType": "annotation"},
        }
        for k, square in enumerate(squares)
    ]
    return json.dumps({"type": "FeatureCollection", "features": found}, indent=1).encode()


def torture_files(
    good: GoodFiles, scratch: Path, each: int, seed: int, evaluated: bool = True
) -> tuple[Counter[str], Counter[str], list[str]]:
    """Read so many damaged files of each kind.

    Returns:
        How many were tried of each kind, how many were refused, and the faults.
    """
    rng = np.random.default_rng(seed)
    tried: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    faults: list[str] = []
    scratch.mkdir(parents=True, exist_ok=True)
    for kind in kinds(good, evaluated):
        path = scratch / kind.file
        path.write_bytes(kind.good)
        kind.read(path)  # the good one is good
        for number in range(each):
            change = kind.changes[int(rng.integers(len(kind.changes)))]
            content = change(kind.good, rng)
            path.write_bytes(content)
            tried[kind.name] += 1
            try:
                kind.read(path)
            except BlastscopeError as error:
                refused[kind.name] += 1
                if len(str(error).strip()) < 20:
                    faults.append(f"{kind.name} {number} ({change.__name__}): says {error!r}")
            except Exception as error:  # that is what is looked for
                kept = scratch / f"{seed}-{number}-{kind.file}"
                kept.write_bytes(content)
                told = f"{type(error).__name__}: {str(error)[:300]}"
                faults.append(f"{kind.name} {kept.name} ({change.__name__}): {told}")
    return tried, refused, faults
