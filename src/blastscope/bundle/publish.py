"""Write a bundle, a folder or a zip, completely or not at all."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from blastscope.io.files import replacing, replacing_folder

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every entry, so that a model always gives the same zip."""


def write_bundle(files: Mapping[str, bytes], out: Path) -> None:
    """Write a bundle's files to ``out`` and replace an older one.

    Args:
        files: by their names, with forward slashes.
        out: a zip if it ends in ``.zip``, otherwise a folder.

    Raises:
        BlastscopeError: if it cannot be written.
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
    with replacing_folder(out) as folder:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
