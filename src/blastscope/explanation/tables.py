"""Define the tables of explanations: their columns, and the methods and scales that they name.

Pages and summaries read the tables without PyTorch, so this module does not import it.
"""

from __future__ import annotations

import polars as pl

from blastscope.explanation.cell_image import REGIONS
from blastscope.io.tables import TableFormat

METHODS = {"grad-cam": "Grad-CAM", "grad-cam++": "Grad-CAM++", "occlusion": "Occlusion"}
"""The attribution methods, with the names that pages show."""
CELL_CURVES = {
    "grad-cam": "grad_cam", "grad-cam++": "grad_cam_pp", "occlusion": "occlusion",
    "random": "random",
}  # fmt: skip
"""How the columns of each method's curves end, of the curves that a single cell has."""
CURVES = CELL_CURVES | {"other": "other"}
"""The same for an audit, which also has the map of another cell."""
SCALES = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6)
"""The sizes to which a cell is rescaled, times its own. In fold 1 of C-NMC, 98 of 100 cells have
sides of 0.68 to 1.48 times the median."""

_TEXT, _COUNT, _NUMBER = pl.String(), pl.Int64(), pl.Float64()
_NUMBERS = pl.List(_NUMBER)
AUDIT = TableFormat(
    "explanation audit",
    2,
    {
        "cell": _TEXT, "subject": _TEXT, "label": _TEXT, "model": _TEXT,
        "p_all": _NUMBER, "called": _TEXT, "side": _COUNT,
        **{f"{of}_{region}": _NUMBER for of in ("grad_cam", "area", "occlusion", "other")
           for region in REGIONS},
        **{f"{curve}_{name}": _NUMBERS for name in CURVES.values()
           for curve in ("deletion", "insertion")},
        "agreement": _NUMBERS, "radius": _NUMBERS, "logits_scaled": _NUMBERS,
        "p_same_size": _NUMBER, "p_there_and_back": _NUMBER,
    },
)  # fmt: skip
RANDOMIZATION = TableFormat(
    "weight randomization",
    2,
    {
        "model": _TEXT, "stage": _COUNT, "layer": _TEXT, "cell": _TEXT,
        "correlation": _NUMBER, "draw": _COUNT,
    },
)  # fmt: skip
