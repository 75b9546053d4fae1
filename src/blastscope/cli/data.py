"""The verbs on data: check, draw, fetch, prepare and split cells, and measure baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import blastscope as bs
from blastscope.cli.options import (
    AsJson,
    Believe,
    Engine,
    Folders,
    Force,
    Labels,
    Masks,
    ReportFolder,
    Seed,
    SkipBad,
    StainReference,
    SubjectFrom,
    UmPerPixel,
    argument,
    option,
)
from blastscope.cli.output import note, show


def check(
    folders: Folders, labels: Labels = None, believe: Believe = None, as_json: AsJson = False
) -> None:
    """Check a data set: classes, subjects, folds, suspicious files.

    The exit status is 0 if it can be used, and 2 if not.
    """
    result = bs.check(folders, labels, believe=believe, progress=True)
    show(result, as_json)
    if not result.usable:
        for reason in result.found.reasons:
            note(f"blastscope: {reason}")
        raise typer.Exit(2)


def synth(
    folder: Annotated[Path, argument("A folder that does not exist yet.", "DIR")],
    cells: Annotated[int | None, option("How many cells; 1500 without it.", min=1)] = None,
    subjects: Annotated[
        int | None,
        option("How many subjects; 24 of cells and 4 of fields without it.", min=1),
    ] = None,
    fields: Annotated[
        int | None,
        option("Draw this many whole fields of smears instead, with the truth.", min=1),
    ] = None,
    seed: Seed = 24,
    as_json: AsJson = False,
) -> None:
    """Draw synthetic cells as C-NMC has them, or whole fields."""
    if fields is None:
        made = bs.synthesize(folder, cells or 1500, subjects or 24, seed=seed, progress=True)
    elif cells is None:
        made = bs.synthesize_fields(folder, fields, subjects or 4, seed=seed, progress=True)
    else:
        raise bs.BlastscopeError("--cells and --fields do not go together: choose one.")
    show(made, as_json)


def fetch(
    folder: Annotated[Path, argument("The folder to download to.", "DIR")], as_json: AsJson = False
) -> None:
    """Fetch C-NMC 2019 (CC BY 3.0) from its Kaggle mirror."""
    note("Asking Kaggle for the C-NMC 2019 data.")
    show(bs.fetch(folder), as_json)


def prepare(
    folders: Folders,
    out: Annotated[Path, option("The store's folder.", "STORE")],
    size: Annotated[int, option("The side of a prepared cell, in pixels.")] = 224,
    scale: Annotated[
        Literal["crop", "keep"],
        option(
            "crop: each cell stretched to the size (the paper's way); keep: the same field "
            "for every cell, so that absolute size survives."
        ),
    ] = "crop",
    clahe: Annotated[bool, option("Equalise the contrast (CLAHE).", name="--clahe")] = False,
    contour: Annotated[
        Literal["union", "first"],
        option("union: the box of all foreground; first: the paper's first contour."),
    ] = "union",
    colour_normalization: Annotated[
        Literal["none", "reinhard", "macenko", "gcti"],
        option("Give every cell the stain of a reference."),
    ] = "none",
    reference: StainReference = None,
    labels: Labels = None,
    believe: Believe = None,
    skip_bad: SkipBad = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Prepare cells: find, crop and resize each, and write a store."""
    made = bs.prepare(
        folders,
        out=out,
        size=size,
        scale=scale,
        clahe=clahe,
        contour=contour,
        colour_normalization=colour_normalization,
        reference=reference,
        labels=labels,
        believe=believe,
        skip_bad=skip_bad,
        force=force,
        progress=True,
    )
    show(made, as_json)


def normalize_stain(
    images: Annotated[
        list[str],
        argument("Image files, folders, zips or globs: cells on black, or whole fields.", "INPUT"),
    ],
    out: Annotated[Path, option("The folder for the images and the table stain.csv.", "DIR")],
    method: Annotated[
        Literal["reinhard", "macenko", "gcti"],
        option(
            "reinhard: mean and deviation of the colours; macenko: two stain vectors; gcti: "
            "GCTI-SN, by which C-NMC was normalized."
        ),
    ],
    reference: StainReference = None,
    as_json: AsJson = False,
) -> None:
    """Give images the stain of a reference; black stays black.

    An image that the method cannot normalize is refused: the table says why. If it is interrupted,
    the same command goes on where it stopped.
    """
    show(
        bs.normalize_stain(images, method=method, out=out, reference=reference, progress=True),
        as_json,
    )


def split(
    store: Annotated[
        Path, argument("A store, a cell table, or a CSV with a column file of C-NMC names.")
    ],
    protocol: Annotated[
        Literal["image", "subject", "official", "paper"],
        option(
            "image: at random by image, as the paper; subject: no subject in two parts; "
            "official: train folds against the preliminary set; paper: the published members."
        ),
    ],
    seed: Seed = 24,
    fractions: Annotated[
        tuple[float, float, float] | None,
        option(
            "Shares of train, validation and test, for image and subject; .6 .2 .2 by default. "
            "By subject they are met as nearly as whole subjects allow, in steps of .05."
        ),
    ] = None,
    membership: Annotated[
        Path | None, option("For paper: the CSV of its training set's files.", "FILE")
    ] = None,
    out: Annotated[
        Path | None, option("The file to write; STORE/splits/PROTOCOL-seedK.parquet by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Split cells into train, validation and test.

    It also says whether two parts share subjects or pixels.
    """
    made = bs.split(store, protocol, seed=seed, fractions=fractions, membership=membership, out=out)
    show(made, as_json)


def baselines(
    source: Annotated[
        Path,
        argument(
            "A store, a cell table, or a CSV file,width,height of C-NMC names and boxes.", "CELLS"
        ),
    ],
    folds: Annotated[int, option("How many folds by subject.", min=2)] = 5,
    cuts: Annotated[int, option("How many times the folds are cut.", min=1)] = 5,
    seed: Seed = 24,
    controls: Annotated[
        bool,
        option(
            "Add what random weights reach, and what AUC reaches by chance, with labels exchanged "
            "between subjects. It takes minutes.",
            name="--controls",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what always-ALL, cell size and colour reach.

    No network is needed. Unseen subjects are tested as well.
    """
    found = bs.measure_baselines(source, folds=folds, cuts=cuts, seed=seed, controls=controls)
    show(found, as_json)


def segment(
    fields: Annotated[
        list[str],
        argument("Whole fields of a smear: files, folders or globs.", "FIELDS"),
    ],
    out: ReportFolder,
    um_per_pixel: UmPerPixel = None,
    masks: Masks = None,
    subject_from: SubjectFrom = None,
    engine: Engine = "local",
    strict: Annotated[
        bool, option("Exit with status 1 if a field cannot be used.", name="--strict")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find and cut out the white cells of whole fields.

    A cell without a sure outline is not cut out: the table has its place and the reason. If it is
    interrupted, the same command goes on where it stopped.
    """
    made = bs.segment(
        fields,
        out=out,
        um_per_pixel=um_per_pixel,
        masks=masks,
        subject_from=subject_from,
        engine=engine,
        progress=True,
    )
    show(made, as_json)
    if strict and made.failed:
        raise typer.Exit(1)
