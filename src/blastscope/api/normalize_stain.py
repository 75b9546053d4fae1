"""Give images the stain of a reference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from blastscope.api.result import AnyPath, Progress, Result, TextTable, as_path, showing
from blastscope.data.stain_reference import stain_reference
from blastscope.errors import BlastscopeError
from blastscope.io.files import without_nan
from blastscope.prediction.images import AnImage, as_list
from blastscope.prediction.inputs import as_inputs, list_inputs
from blastscope.prediction.stain_images import NormalizedImages, normalize_images
from blastscope.stain.statistics import METHODS, StainStatistics


@dataclass(frozen=True, eq=False, repr=False)
class StainResult(Result):
    """Images with the stain of a reference.

    Attributes:
        made: one row for each image, and the images if they were not written.
        reference: what they were normalized to.
    """

    made: NormalizedImages
    reference: StainStatistics

    @property
    def images(self) -> tuple[np.ndarray[Any, np.dtype[np.uint8]] | None, ...]:
        """The normalized images, uint8, height × width × 3, RGB; empty if they were written."""
        return self.made.images

    @property
    def refused(self) -> int:
        """How many images could not be normalized."""
        return self.made.rows.height - self.made.rows["problem"].null_count()

    def to_frame(self) -> pl.DataFrame:
        """Return one row for each image, with its names, method, wedge, flags and problem."""
        return self.made.rows

    def as_json(self) -> dict[str, Any]:
        """Return the rows and the reference's numbers."""
        return {
            "path": self.written_to,
            "reference": self.reference.as_json(),
            "refused": self.refused,
            "images": without_nan(self.made.rows.to_dicts()),
        }

    def tables(self) -> list[TextTable]:
        """Return the images that were refused, with the reason."""
        rows = self.made.rows.filter(pl.col("problem").is_not_null())
        if rows.is_empty():
            return []
        return [TextTable.of(("refused", "because it"), rows.select("file", "problem").iter_rows())]

    def answers(self) -> list[str]:
        """Say how many images were normalized, and how far apart their stains are."""
        rows = self.made.rows
        already = ", as before" if self.made.already else ""
        said = [
            f"{rows.height - self.refused:,} of {rows.height:,} images normalized by "
            f"{self.reference.method}{already}."
        ]
        if rows["wedge"].null_count() < rows.height:
            low, middle, high = (rows["wedge"].quantile(share) for share in (0.05, 0.5, 0.95))
            said.append(
                f"Angle between the two stains: median {middle:.1f}° ({low:.1f}° to {high:.1f}° "
                f"in 90 % of images); the reference has {self.reference.wedge:.1f}°."
            )
        return said

    def notes(self) -> list[str]:
        """Say what was written again, flagged and refused, and what normalization hides."""
        said = []
        if self.made.again:
            said.append(f"Written again, as gone from the folder: {self.made.again:,}.")
        flags = self.made.rows.filter(pl.col("problem").is_null())["flags"].drop_nulls()
        counts = flags.str.split(",").explode().value_counts().sort("flags")
        said += [
            f"Flagged {flag}: {count:,} (docs/formats.md says what that means)."
            for flag, count in counts.iter_rows()
        ]
        if self.refused:
            said.append(f"{self.refused:,} images could not be normalized: the table says why.")
        if self.reference.on_black:
            said.append(
                "A model's out-of-distribution check may no longer flag cells of another "
                "laboratory once they are normalized (docs/stain.md)."
            )
        return said


def normalize_stain(
    images: AnImage | Iterable[AnImage],
    *,
    method: str,
    out: AnyPath | None = None,
    reference: AnyPath | None = None,
    progress: Progress = False,
) -> StainResult:
    """Give images the stain of a reference; black stays black.

    Only pixels that are not black are measured and changed. An image for which the method is
    ill-posed (all of one colour, or with in effect one stain) is refused with the reason, and
    so is a file of several pictures.

    Args:
        images: files, folders, zips, patterns, arrays (uint8) or Pillow images: cells on black, or
            whole fields.
        method: ``reinhard`` (mean and deviation in CIELAB), ``macenko``, or ``gcti`` (GCTI-SN).
        out: the folder to write PNG images and the table ``stain.csv`` to; None writes nothing, and
            the result holds the images. What was interrupted goes on, and what is gone is written
            again.
        reference: an image, or a folder whose most typical image counts, of the same kind as the
            images; by default a typical cell of C-NMC 2019, for cells on black.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        One row for each image, and the images if they were not written.

    Raises:
        BlastscopeError: if the reference or an input cannot be used, no image can be normalized, or
            ``out`` holds something else.
    """
    wanted = stain_reference(method, as_path(reference))
    if wanted is None:
        raise BlastscopeError(f"none changes nothing: choose one of {', '.join(METHODS)}.")
    given = as_list(images)
    paths = [one for one in given if isinstance(one, str | Path)]
    found = list_inputs(paths) if len(paths) == len(given) else as_inputs(given)
    with showing("Normalizing", progress) as advance:
        made = normalize_images(found, wanted, as_path(out), advance)
    return StainResult(made, wanted, path=as_path(out))
