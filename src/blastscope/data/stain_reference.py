"""Read the reference that stains are normalized to: an image, a folder, or C-NMC's typical cell."""

from __future__ import annotations

from pathlib import Path

from blastscope.data.images import UnusableImageError, read_image
from blastscope.data.layouts import list_files
from blastscope.errors import BlastscopeError
from blastscope.io.remote import refuse_remote
from blastscope.stain.normalize import measure_stain
from blastscope.stain.reference import CNMC, typical
from blastscope.stain.statistics import METHODS, Method, StainError, StainStatistics

MOST_IMAGES = 500
"""Of a larger folder, this many images are measured, evenly spaced by name."""


def stain_reference(method: str, reference: Path | None = None) -> StainStatistics | None:
    """Return what a method normalizes to; None for the method ``none``.

    Args:
        method: ``none``, ``reinhard``, ``macenko`` or ``gcti``.
        reference: an image; or a folder of images, such as those of a training set, the most
            typical of which counts; by default the typical cell of C-NMC 2019's fold 1.

    Raises:
        BlastscopeError: if the method is not known, or the reference cannot be read or measured.
    """
    if method == "none":
        if reference is not None:
            raise BlastscopeError(
                f"The reference {reference} needs a colour normalization: choose one of "
                f"{', '.join(METHODS)}."
            )
        return None
    known: Method | None = next((one for one in METHODS if one == method), None)
    if known is None:
        raise BlastscopeError(
            f"There is no colour normalization '{method}' of images: choose one of "
            f"{', '.join(METHODS)}."
        )
    if reference is None:
        return CNMC[known]
    refuse_remote(reference)
    if reference.is_dir():
        return _of_folder(reference, known)
    try:
        return _of_image(reference, known)
    except (UnusableImageError, StainError) as error:
        raise BlastscopeError(f"The reference {reference} {error}: give another image.") from error


def _of_image(path: Path, method: Method) -> StainStatistics:
    read = read_image(path)
    if "frames" in read.flags:
        raise UnusableImageError("frames", "holds several pictures")
    return measure_stain(read.pixels, method)


def _of_folder(folder: Path, method: Method) -> StainStatistics:
    """Measure the images of a folder; those that cannot be measured cannot be typical."""
    files = [item.path for item in list_files([folder], strict=False).cells]
    found, reason = [], "holds no image"
    for path in files[:: max(1, -(-len(files) // MOST_IMAGES))]:
        try:
            found.append(_of_image(path, method))
        except (UnusableImageError, StainError) as error:
            reason = f"has no image that can be measured: {path.name} {error}"
    kinds = {one.on_black for one in found}
    if not found:
        raise BlastscopeError(f"The reference {folder} {reason}: give another folder.")
    if len(kinds) > 1:
        raise BlastscopeError(
            f"The reference {folder} holds cells on black and whole fields: give a folder of one "
            "kind."
        )
    return typical(found)
