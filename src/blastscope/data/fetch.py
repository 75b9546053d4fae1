"""Fetch the C-NMC 2019 data from its Kaggle mirror, through kagglehub."""

from __future__ import annotations

import shutil
from pathlib import Path

from blastscope.errors import BlastscopeError, writing

MIRROR = "andrewmvd/leukemia-classification"
CITATION = (
    "Cite: A. Gupta and R. Gupta, ALL Challenge dataset of ISBI 2019 (C-NMC 2019), The Cancer "
    "Imaging Archive, doi 10.7937/tcia.2019.dc64i46r, CC BY 3.0."
)


def fetch_cnmc(folder: Path) -> Path:
    """Download the data to ``folder``, which must not be there yet.

    Returns:
        The folder inside it that holds the training folds; ``folder`` if there is none.

    Raises:
        BlastscopeError: if kagglehub is not installed, Kaggle cannot be reached or refuses, or the
            folder is there or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BlastscopeError(f"{folder} is there already and not empty: choose another folder.")
    try:
        import kagglehub
    except ModuleNotFoundError as error:
        raise BlastscopeError(
            "kagglehub is not installed: pip install 'blastscope[fetch]', or download the data by "
            "hand from The Cancer Imaging Archive (doi 10.7937/tcia.2019.dc64i46r)."
        ) from error
    try:
        cached = Path(kagglehub.dataset_download(MIRROR))
    except Exception as error:  # kagglehub raises its own and its HTTP library's errors
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BlastscopeError(
            f"Kaggle did not give {MIRROR} ({reason}): check the network and your Kaggle "
            "credentials, or download the data from The Cancer Imaging Archive "
            "(doi 10.7937/tcia.2019.dc64i46r)."
        ) from error
    beside = folder.with_name(f".{folder.name}.part")
    with writing(folder):
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(cached, beside)
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    return next((fold.parent for fold in sorted(folder.rglob("fold_0"))), folder)
