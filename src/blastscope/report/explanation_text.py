"""Write the notes of an explanation in sentences."""

from __future__ import annotations

from collections.abc import Iterable

from blastscope.explanation.result import Note, NoteCode
from blastscope.explanation.tables import METHODS
from blastscope.report.text import LABELS

_NOTES = {
    NoteCode.COARSE_GRID: (
        "{model} has no map of {0} fields a side: Grad-CAM reads its last map, {1} × {2}."
    ),
    NoteCode.SINGLE_FIELD: (
        "The last map of {model} has a single field across, so {0} cannot locate its attribution: "
        "use occlusion."
    ),
    NoteCode.NO_ATTRIBUTION: "{0} finds no attribution for {1}, the class that {model} calls.",
    NoteCode.NO_CONVOLUTION: "{model} has no first convolution with a map, so none is shown.",
    NoteCode.NO_POOLING: "{model} has no pooling inside, so no pooled maps are shown.",
    NoteCode.POOLS_TO_ONE_FIELD: (
        "{model} pools only to a single field, so no pooled maps are shown."
    ),
    NoteCode.LAYER_WITHOUT_MAP: (
        "{model}: the output of {0} is not a map (its shape is {1}), so it is not shown."
    ),
    NoteCode.LAYER_ABSENT: "{model}: {0}",
}


def note_text(note: Note) -> str:
    """Write one note as a sentence."""
    names = [METHODS.get(detail, LABELS.get(detail, detail)) for detail in note.details]
    return _NOTES[note.code].format(*names, model=note.model)


def notes_text(notes: Iterable[Note]) -> tuple[str, ...]:
    """Write notes as sentences, each once."""
    return tuple(dict.fromkeys(note_text(note) for note in notes))
