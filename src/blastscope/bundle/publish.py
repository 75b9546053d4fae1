"""Where a bundle is written: a folder or a zip, whole or not at all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from blastscope.errors import writing
from blastscope.io.files import only_one, remove_folder, replacing

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every entry, so that the same model gives the same zip."""


def write_bundle(files: Mapping[str, bytes], out: Path) -> None:
    """Write a bundle's files to ``out``, in place of an older one.

    Args:
        files: by their names, with forward slashes.
        out: a zip where it ends in ``.zip``, else a folder.

    Raises:
        BlastscopeError: where it cannot be written.
    """
    if out.suffix.lower() == ".zip":
        _write_zip(files, out)
    else:
        _write_folder(files, out)


def _write_zip(files: Mapping[str, bytes], out: Path) -> None:
    with replacing(out) as beside, zipfile.ZipFile(beside, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            packs = name.endswith((".json", ".md"))  # weights hardly shrink
            entry.compress_type = zipfile.ZIP_DEFLATED if packs else zipfile.ZIP_STORED
            archive.writestr(entry, files[name])


def _write_folder(files: Mapping[str, bytes], out: Path) -> None:
    """Write beside and rename; an older bundle goes only when the new one is whole."""
    beside, before = (
        out.with_name(f".{out.name}.{os.getpid()}.{word}") for word in ("part", "before")
    )
    with only_one(out.absolute()), writing(out):
        remove_folder(beside)
        try:
            for name, content in files.items():
                path = beside / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            if out.exists():
                out.rename(before)
            try:
                beside.rename(out)
            except OSError:
                if before.exists():
                    before.rename(out)
                raise
            remove_folder(before)
        finally:
            remove_folder(beside)
