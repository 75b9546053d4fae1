"""A folder that resumes: whose it is, what is done in it, and how it is published.

A marker file, JSON, says what kind of folder it is and holds its *identity*: all that its content
follows from. The same identity goes on where an earlier process stopped. Each part is written
beside and renamed, so that a part which is there is whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blastscope.errors import BlastscopeError, writing
from blastscope.io.files import (
    only_one,
    read_json,
    refuse_store,
    remove_folder,
    remove_path,
    replacing,
    sha256_of,
    write_json,
)
from blastscope.io.provenance import provenance

MARKERS = {
    "environment.json": "a run",
    "checkpoint.safetensors": "a run",
    "recipe.yaml": "a run",
    "bundle.json": "a bundle",
    "ensemble.json": "an ensemble",
    "store.json": "a store",
    "crossval.json": "a cross-validation",
    "seeds.json": "a series of seeds",
    "study.json": "a reproduction study",
    "tuning.json": "a search for settings",
    "build.json": "a model being built",
    "stress.json": "a stress test",
    "leakage.json": "a leakage measurement",
    "audit.parquet": "an audit of explanations",
    "explanation.json": "an explanation",
    "errors.json": "an error analysis",
    "comparison.json": "a comparison",
    "segmentation.json": "a segmentation",
    "metrics.json": "an evaluation",
    "stain.json": "a folder of normalized images",
    "predictions.json": "a folder of prediction shards",
}
"""What a folder is, by its files. The first one counts: a run has an evaluation as well."""
_LEFTOVER = re.compile(r"\..*\.\d+\.part(\.[^.]*)?")
"""The name of a file that a process writes beside its place, as ``io.files.replacing`` does."""


def refuse_foreign(out: Path, marker: str, writes: Sequence[str] | None = None) -> None:
    """Refuse a folder that is not ours to write to.

    Args:
        marker: the file that marks the wanted kind of folder.
        writes: files that are ours only if the marker is there; None if a folder without the marker
            must be empty, but for hidden files.

    Raises:
        BlastscopeError: if ``out`` is another kind of folder, or holds files of unknown origin.
    """
    refuse_store(out)
    if out.exists() and not out.is_dir():
        raise BlastscopeError(f"{out} is not a folder: choose another.")
    what = MARKERS.get(marker, "ours")
    found = next((name for name in MARKERS if (out / name).exists()), marker)
    known = writes is None and (out / marker).is_file()
    if not known and MARKERS.get(found, what) != what:
        raise BlastscopeError(
            f"{out} holds {MARKERS[found]} ({found}): choose another folder for this."
        )
    if (out / marker).exists() or not out.exists():
        return
    names = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    foreign = [name for name in names if writes is None or name in writes]
    if foreign:
        raise BlastscopeError(
            f"{out} is not {what} and holds {foreign[0]}: choose another folder, or an empty one."
        )


@dataclass(frozen=True)
class FolderKind:
    """A kind of work folder.

    Attributes:
        marker: the name of its marker file.
        format: what the marker's ``format`` says, such as ``blastscope-seeds/1``; None if it has
            none.
        writes: as :func:`refuse_foreign` takes it.
        scratch: whether the folder holds unfinished work only, so that one of another identity is
            removed and begun anew; otherwise it is refused.
        contents: the names, beside the marker, of the files and folders in it that ``remove``
            takes away; those of scratch need not be listed.
    """

    marker: str
    format: str | None = None
    writes: tuple[str, ...] | None = None
    scratch: bool = False
    contents: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What a folder of this kind is, with its article."""
        return MARKERS.get(self.marker, "unfinished work")


@dataclass(frozen=True)
class WorkFolder:
    """A folder of one kind and identity: all that its content follows from, in JSON's types."""

    path: Path
    kind: FolderKind
    identity: Mapping[str, Any]

    @property
    def marker(self) -> Path:
        """The marker file."""
        return self.path / self.kind.marker

    def locked(self) -> AbstractContextManager[None]:
        """Keep a second process out while a block runs; BlastscopeError if another is at it."""
        refuse_store(self.path)
        return only_one(self.path.absolute())

    def open_or_resume(self, notes: Mapping[str, Any] | None = None) -> bool:
        """Begin the folder, or go on with the one that is there.

        ``notes`` are what the marker says beside its identity.

        Returns:
            Whether there is earlier work to go on with.

        Raises:
            BlastscopeError: if the folder is another kind's or cannot be written; unless it is
                scratch, also if it is of another identity or format.
        """
        found = self._recorded_or_none() if self.kind.scratch else self.recorded()
        if found is None and self.kind.scratch:
            self._clear()
        if self.path.is_dir():
            with writing(self.path):
                for leftover in self.path.glob(".*.part*"):  # of a process that was killed
                    if _LEFTOVER.fullmatch(leftover.name) and not leftover.is_dir():
                        leftover.unlink(missing_ok=True)
        if found is None:
            self.record(notes or {})
        elif notes:
            write_json(self.marker, {**found, **notes})
        return found is not None

    def recorded(self) -> dict[str, Any] | None:
        """Return the marker's content; None if the folder is not begun."""
        if not self.kind.scratch:
            refuse_foreign(self.path, self.kind.marker, self.kind.writes)
        if not self.marker.is_file():
            return None
        content = read_json(self.marker)
        self._refuse_other_format(content)
        wanted = json.loads(json.dumps(dict(self.identity)))
        found = content.get("identity")
        if found != wanted:
            raise BlastscopeError(
                f"{self.path} is {self.kind.name} that differs in "
                f"{first_difference(found, wanted)}: choose another folder, or remove it."
            )
        return content

    def _recorded_or_none(self) -> dict[str, Any] | None:
        try:
            return self.recorded()
        except BlastscopeError:  # of another identity, or damaged: begun anew
            return None

    def _clear(self) -> None:
        """Remove what there is, unless it may be somebody's: only our own folders are hidden."""
        if self.path.name.startswith("."):
            self.remove()
            return
        if not self.marker.is_file():
            refuse_foreign(self.path, self.kind.marker)
        if self.path.is_dir():
            shown = [path for path in self.path.iterdir() if not path.name.startswith(".")]
            with writing(self.path):
                for path in sorted(shown, key=lambda path: path == self.marker):  # the marker last
                    remove_path(path)

    def _refuse_other_format(self, content: Mapping[str, Any]) -> None:
        wanted, found = self.kind.format, str(content.get("format"))
        if wanted is None or found == wanted:
            return
        name, _, version = wanted.rpartition("/")
        theirs = found.removeprefix(f"{name}/")
        if not (found.startswith(f"{name}/") and theirs.isdecimal()):
            raise BlastscopeError(f"{self.marker} is not a {wanted} file: choose another folder.")
        made_by = "a newer" if int(theirs) > int(version) else "an older"
        raise BlastscopeError(
            f"{self.path} was made by {made_by} blastscope ({found}; this one writes {wanted}): "
            "choose another folder, or remove it."
        )

    def record(self, content: Mapping[str, Any], results: Sequence[str] = ()) -> None:
        """Write the marker: format, identity, ``content``, and what made it.

        Args:
            results: files of the folder whose digests are recorded, for `blastscope verify`.
        """
        about: dict[str, Any] = {"identity": dict(self.identity), **content}
        if results:
            about["digests"] = {name: sha256_of(self.path / name) for name in results}
        if self.kind.format is not None:  # unfinished work has none; a run adds its own at its end
            about = {"format": self.kind.format, **about, "provenance": provenance()}
        write_json(self.marker, about)

    def has(self, part: str) -> bool:
        """Whether a part is done."""
        return (self.path / part).is_file()

    def add(self, part: str) -> AbstractContextManager[Path]:
        """Give a path to write a part to; it is done, whole, when the block ends without error."""
        return replacing(self.path / part)

    def remove(self) -> None:
        """Remove all that is done in the folder, and the folder if nothing else is in it.

        Somebody's files may be in it, such as a ``.git``: only scratch, whose folder is our own,
        goes whole.
        """
        if self.kind.scratch:
            remove_folder(self.path)
            return
        with writing(self.path):
            for name in (*self.kind.contents, self.kind.marker):
                remove_path(self.path / name)
            with suppress(OSError):  # it holds something, or is a link
                self.path.rmdir()

    def seal(self) -> None:
        """Remove the marker: after a kill from here on the work begins anew.

        Before parts are changed into what is published, in ways that can't be resumed.
        """
        with writing(self.path):
            self.marker.unlink(missing_ok=True)

    def publish(self, out: Path, last: str) -> None:
        """Turn finished scratch into the folder ``out``; in one that is there, files are replaced.

        ``out`` is on the same disk. The part ``last`` says that it is whole, and so is replaced
        last.
        """
        self.seal()
        with writing(out):
            if not out.exists():
                self.path.rename(out)
                return
            (out / last).unlink(missing_ok=True)
            for path in sorted(self.path.iterdir(), key=lambda path: path.name == last):
                path.replace(out / path.name)
        self.remove()


def first_difference(found: Any, wanted: Any, name: str = "") -> str:
    """Name the first value in which two identities differ: ``seed (24, not 25)``."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
        inner = f"{name}.{keys[0]}" if name else keys[0]
        return first_difference(found.get(keys[0]), wanted.get(keys[0]), inner)
    if isinstance(found, list) and isinstance(wanted, list):
        if len(found) != len(wanted):
            return f"{name or 'identity'} ({len(found)} of them, not {len(wanted)})"
        pair = next(pair for pair in zip(found, wanted, strict=True) if pair[0] != pair[1])
        return first_difference(*pair, name)
    return f"{name or 'identity'} ({_short(found)}, not {_short(wanted)})"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
