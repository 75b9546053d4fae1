"""Colour normalization is a part of preparation: the same pixels in training and in ``predict``."""

from __future__ import annotations

from dataclasses import asdict

import cv2
import numpy as np
import pytest
import xxhash

from blastscope.api.bundle import make_bundle
from blastscope.bundle.read import open_bundle
from blastscope.data.layouts import list_cells
from blastscope.data.preparation import inputs_digest, prepare
from blastscope.data.splits import make_split
from blastscope.data.stain_reference import stain_reference
from blastscope.data.store import StoreSettings, open_store
from blastscope.data.traits import measure
from blastscope.errors import BlastscopeError
from blastscope.prediction.inputs import list_inputs
from blastscope.prediction.pipeline import read_cells
from blastscope.recipes.library import load_recipe
from blastscope.stain.normalize import measure_stain, normalize_pixels
from blastscope.stain.reference import CNMC, typical
from blastscope.stain.statistics import METHODS, StainStatistics
from blastscope.training.finished_run import open_run
from blastscope.training.train import train
from tests.conftest import draw_cell, write_cell
from tests.training.conftest import RECIPE

RED = cv2.cvtColor(draw_cell(7, 120, 30), cv2.COLOR_RGB2BGR)


@pytest.mark.parametrize("method", METHODS)
def test_store_holds_the_normalized_cells_and_prediction_sees_the_same(dataset, tmp_path, method):
    root = dataset(1, 2)
    settings = StoreSettings(32, stain=measure_stain(RED, method))
    store = open_store(prepare([root], tmp_path / "store", settings).path)
    assert store.settings == settings
    seen = [cell.pixels[settings] for _, cell in read_cells(list_inputs([root]), [settings])]
    np.testing.assert_array_equal(store.pixels, seen)
    # Normalized before, written as images and prepared without: the same pixels.
    for path in root.rglob("*.bmp"):
        pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        changed = normalize_pixels(pixels, settings.stain).pixels
        write_cell(tmp_path / "changed" / path.relative_to(root), changed)
    plain = open_store(prepare([tmp_path / "changed"], tmp_path / "other", StoreSettings(32)).path)
    np.testing.assert_array_equal(store.pixels, plain.pixels)


def test_store_without_it_has_the_fingerprint_that_it_always_had(dataset, tmp_path):
    root, settings = dataset(1, 2), StoreSettings(32)
    store = open_store(prepare([root], tmp_path / "store", settings).path)
    old = {key: value for key, value in asdict(settings).items() if key != "stain"}
    digest = xxhash.xxh3_128(repr(sorted(old.items())).encode())
    for row in store.cells.select("cell", "label", "subject", "fold", "pixel_hash").iter_rows():
        digest.update(repr(row).encode())
    assert store.fingerprint == f"xxh3_128:{digest.hexdigest()}"
    stained = StoreSettings(32, stain=CNMC["reinhard"])
    found = list_cells([root])
    assert inputs_digest(found, settings) != inputs_digest(found, stained)
    with pytest.raises(BlastscopeError, match="stain"):
        prepare([root], tmp_path / "store", stained)


def test_cell_that_cannot_be_normalized_is_refused_by_name(dataset, tmp_path):
    root = dataset(1, 2)
    one = np.zeros((120, 120, 3), np.uint8)
    cv2.circle(one, (60, 60), 30, (90, 40, 110), -1)
    write_cell(root / "fold_0" / "all" / "UID_1_9_1_all.bmp", one)
    settings = StoreSettings(32, stain=measure_stain(RED, "gcti"))
    with pytest.raises(BlastscopeError, match=r"UID_1_9_1_all.*stain"):
        prepare([root], tmp_path / "store", settings)
    made = prepare([root], tmp_path / "store", settings, skip_bad=True)
    assert [problem.kind for problem in made.skipped] == ["stain"]
    assert made.cells == 4
    found = [cell for _, cell in read_cells(list_inputs([root]), [settings])]
    assert [getattr(cell, "kind", "") for cell in found].count("stain") == 1


def test_colours_of_normalized_cells_are_not_taken_for_their_stain(dataset, tmp_path):
    settings = StoreSettings(32, stain=CNMC["reinhard"])
    store = open_store(prepare([dataset(1, 2)], tmp_path / "store", settings).path)
    with pytest.raises(BlastscopeError, match="colour-normalization"):
        measure(store, store.cells)


def test_run_and_bundle_know_what_their_cells_were_normalized_to(dataset, tmp_path):
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    changes = ["training.epochs=1", "input.colour_normalization=reinhard"]
    recipe = load_recipe(str(tmp_path / "tiny.yaml"), changes)
    root, settings = dataset(4, 3), StoreSettings(32, stain=measure_stain(RED, "reinhard"))
    store = prepare([root], tmp_path / "store", settings).path
    plain = prepare([root], tmp_path / "plain", StoreSettings(32)).path
    split = make_split(store, "subject", 3)[0]
    with pytest.raises(BlastscopeError, match=r"colour_normalization reinhard.*has none"):
        train(recipe, plain, split, tmp_path / "no", device="cpu")
    run = train(recipe, store, split, tmp_path / "run", device="cpu").path
    assert open_run(run).settings == settings
    bundle = open_bundle(make_bundle(run, tmp_path / "model.zip").path)
    assert bundle.networks[0].settings == settings
    assert "Reinhard" in bundle.card
    (run / "environment.json").write_text(
        (run / "environment.json").read_text().replace('"stain"', '"stained"')
    )
    with pytest.raises(BlastscopeError, match="normalized"):
        open_run(run)


def test_reference_is_an_image_or_the_most_typical_of_a_folder(dataset, tmp_path):
    root = dataset(2, 3)
    files = sorted(root.rglob("*.bmp"))
    single = stain_reference("reinhard", files[0])
    pixels = cv2.cvtColor(cv2.imread(str(files[0])), cv2.COLOR_BGR2RGB)
    assert single == measure_stain(pixels, "reinhard")
    each = [stain_reference("reinhard", path) for path in files]
    assert stain_reference("reinhard", root) in each
    assert stain_reference("none") is None
    assert stain_reference("macenko") == CNMC["macenko"]
    write_cell(tmp_path / "mixed" / "field.png", np.full((40, 40, 3), 200, np.uint8))
    write_cell(tmp_path / "mixed" / "cell.png", draw_cell(1, 60, 15))
    (tmp_path / "empty").mkdir()
    for method, reference in (
        ("vahadane", None), ("none", files[0]), ("gcti", tmp_path / "nothing.png"),
        ("reinhard", tmp_path / "mixed"), ("reinhard", tmp_path / "empty"),
    ):  # fmt: skip
        with pytest.raises(BlastscopeError):
            stain_reference(method, reference)


def test_typical_is_the_one_in_the_middle():
    def of(value: float) -> StainStatistics:
        return StainStatistics("reinhard", True, (value, 1.0, 1.0), (1.0, 1.0, 1.0))

    assert typical([of(1), of(5), of(4), of(90), of(6)]) == of(5)
    assert typical([of(3)]) == of(3)


def test_typical_cell_of_cnmc_is_one_to_which_real_cells_can_be_normalized(shared):
    files = sorted((shared / "data/C-NMC_training_data").rglob("*.webp"))[::700]
    for path in files:
        pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        for method in METHODS:
            changed = normalize_pixels(pixels, CNMC[method]).pixels
            mean = changed[changed.max(axis=2) > 12].mean(axis=0)
            # The averages of fold 1 that ``models.normalization`` has.
            near = 6 if method == "reinhard" else 20
            assert mean == pytest.approx((68.5, 29.9, 78.8), abs=near)
