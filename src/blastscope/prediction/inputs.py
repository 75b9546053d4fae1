"""From what a user gives to pictures: files, folders, zips, patterns, images in memory."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import cast

from blastscope.data.images import read_image
from blastscope.data.layouts import CellFile, Problem, list_files, read_place
from blastscope.data.names import printable
from blastscope.data.synthetic import is_marked
from blastscope.prediction.archives import list_archive
from blastscope.prediction.in_memory import AnImage, as_list, picture_in_memory
from blastscope.prediction.input_images import (
    InputImage,
    InputImages,
    SubjectPattern,
    input_image,
    subject_pattern,
    unique_cells,
)
from blastscope.prediction.input_paths import InputPath, find_input_paths, find_path


def list_inputs(inputs: Sequence[str | Path], subject_from: str | None = None) -> InputImages:
    """List the images to predict on, in the order given; within a folder or zip by name.

    A file that is given twice counts once. What makes a file unusable is said with it.

    Args:
        inputs: files (whatever their suffix), folders in any layout that ``data.layouts`` reads,
            zips, patterns, and ``-`` for names on standard input, one a line.
        subject_from: a regular expression that finds the subject in a picture's ``file``; where
            it finds none, the name tells as always.

    Raises:
        BlastscopeError: where an input is not there, holds no image or is a damaged zip, or the
            expression is none.
    """
    pattern = None if subject_from is None else subject_pattern(subject_from)
    gathered = _Gathered()
    gathered.add(find_input_paths(inputs))
    return gathered.finish(pattern)


def as_pictures(
    images: AnImage | Iterable[AnImage], subject_from: str | None = None
) -> InputImages:
    """List images in memory, and paths, to predict on; in the order given, twice what is so given.

    Args:
        images: one or several of: arrays (uint8; height × width × 3 in RGB, height × width in
            grey, or height × width × 4 in RGBA), Pillow images, and paths as in
            :func:`list_inputs`. What has no name of its own is called ``image-1``, ``image-2``,
            … by its place.
        subject_from: as in :func:`list_inputs`.

    Raises:
        BlastscopeError: where one is none of these, or as in :func:`list_inputs`.
    """
    pattern = None if subject_from is None else subject_pattern(subject_from)
    gathered = _Gathered(once=False)
    several = enumerate(as_list(images))
    # Paths that stand together are added together: a folder's labels are looked for each time.
    for are_paths, some in groupby(several, lambda one: isinstance(one[1], str | Path)):
        if are_paths:
            gathered.add([given for _, path in some for given in find_path(cast(Path, path))])
        else:
            gathered.groups += [_Group([picture_in_memory(image, k)]) for k, image in some]
    return gathered.finish(pattern)


@dataclass
class _Group:
    """Pictures of one folder or zip, whose ``file`` is yet without it, or of none."""

    pictures: list[InputImage]
    path: Path | None = None
    is_folder: bool = False

    @property
    def name(self) -> str:
        if self.path is None:
            return ""
        return self.path.resolve().name if self.path.name in ("", "..") else self.path.name


class _Gathered:
    """What has been listed so far; a file that is given again counts no more, if ``once``."""

    def __init__(self, once: bool = True) -> None:
        self.once = once
        self.groups: list[_Group] = []
        self.notes: list[str] = []
        self.synthetic = False
        self.closers: list[Callable[[], None]] = []
        self.archives: list[Path] = []
        self._seen: set[str] = set()
        self._real: dict[Path, str] = {}

    def add(self, found: Sequence[InputPath]) -> None:
        """List what is given."""
        for add, some in groupby(found, self._adder):
            add(list(some))

    def _adder(self, given: InputPath) -> Callable[[list[InputPath]], None]:
        if given.path.is_dir():
            return self._add_folders
        return self._add_zips if given.is_zip else self._add_files

    def _add_folders(self, found: list[InputPath]) -> None:
        for given in found:
            listing = list_files([given.path], strict=False)
            self.notes.extend(listing.notes)
            self.synthetic |= listing.synthetic
            items: list[CellFile | Problem] = [*listing.cells, *listing.problems]
            pictures = [
                input_image(item, partial(read_image, path), path)
                for item in items
                if self._is_new(path := given.path / item.file)
            ]
            pictures.sort(key=lambda item: (item.cell, item.file))
            self.groups.append(_Group(pictures, given.path, is_folder=True))

    def _add_zips(self, found: list[InputPath]) -> None:
        for given in found:
            if self._is_new(given.path):
                archived = list_archive(given.path)
                self.notes.extend(archived.notes)
                self.synthetic |= archived.synthetic
                self.closers.append(archived.archive.close)
                self.archives.append(given.path)
                self.groups.append(_Group(list(archived.pictures), given.path))

    def _add_files(self, found: list[InputPath]) -> None:
        names: dict[tuple[Path, Path], list[str]] = defaultdict(list)
        for given in found:
            names[given.root, given.path.parent].append(given.path.name)
        places = {key: read_place(*key, names[key], strict=False) for key in names}
        for (_, folder), place in places.items():
            self.notes.extend(place.notes[:1])  # not what its labels table has of other files
            self.synthetic |= is_marked(folder)
        pictures = []
        for given in found:
            if self._is_new(given.path):
                item = places[given.root, given.path.parent].cell(given.path.name)
                item = replace(item, file=printable(given.path.as_posix()))
                decode = partial(read_image, given.path)
                pictures.append(input_image(item, decode, given.path))
        self.groups.append(_Group(pictures))

    def _is_new(self, path: Path) -> bool:
        """Say whether a file was not there yet; a link beside it is another file."""
        folder = self._real.get(path.parent)
        if folder is None:
            folder = self._real[path.parent] = os.path.realpath(path.parent)
        key = os.path.normcase(os.path.join(folder, path.name))  # noqa: PTH118
        new = key not in self._seen or not self.once
        self._seen.add(key)
        return new

    def finish(self, pattern: SubjectPattern | None) -> InputImages:
        """Give every picture its file, subject and a cell's name of its own."""
        groups = [group for group in self.groups if group.pictures]
        alone = len(groups) == 1 and groups[0].is_folder
        files = _files(groups, ["" if alone else group.name for group in groups])
        pictures = []
        for picture, file in zip((p for g in groups for p in g.pictures), files, strict=True):
            subject = pattern.find(file) if pattern else None
            problem, subject = picture.problem, subject or picture.subject
            source = replace(problem, file=file) if problem else picture.source
            pictures.append(replace(picture, file=file, source=source, subject=subject))
        names = unique_cells(pictures)
        named = (replace(p, cell=name) for p, name in zip(pictures, names, strict=True))
        notes = tuple(dict.fromkeys(self.notes))
        return InputImages(
            tuple(named), notes, self.synthetic, tuple(self.closers), tuple(self.archives)
        )


def _files(groups: Sequence[_Group], prefixes: Sequence[str]) -> list[str]:
    """Put before each picture's file what its group is called, or its path where two are alike."""
    by_name = [
        [_joined(prefix, picture) for picture in group.pictures]
        for group, prefix in zip(groups, prefixes, strict=True)
    ]
    times = Counter(file for files in by_name for file in files)
    chosen: list[str] = []
    for group, files in zip(groups, by_name, strict=True):
        alike = group.path is not None and any(times[file] > 1 for file in files)
        path = group.path.as_posix() if group.path is not None and alike else ""
        chosen.extend(_joined(path, p) for p in group.pictures) if alike else chosen.extend(files)
    return chosen


def _joined(prefix: str, picture: InputImage) -> str:
    return printable(f"{prefix}/{picture.file}") if prefix else picture.file
