"""Any sequence of labels, undo and redo gives the state that a plain list of actions gives."""

from __future__ import annotations

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from blastscope.workbench.review_state import LABELS, ReviewState

CELLS, PEOPLE = 4, (1, 2)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("label"),
            st.sampled_from(PEOPLE),
            st.lists(st.integers(1, CELLS), min_size=1, max_size=3, unique=True),
            st.sampled_from([*LABELS, None]),
        ),
        st.tuples(st.sampled_from(["undo", "redo"]), st.sampled_from(PEOPLE)),
    ),
    max_size=40,
)


def by_hand(steps) -> dict[int, str | None]:
    """The oracle: replay what is in force, in the order in which it came into force."""
    force: list[list] = []
    undone: dict[int, list] = {person: [] for person in PEOPLE}
    for step in steps:
        kind, person = step[:2]
        if kind == "label":
            force.append(list(step))
            undone[person] = []
            continue
        if kind == "undo":
            mine = [one for one in force if one[1] == person]
            if mine:
                force[:] = [one for one in force if one is not mine[-1]]
                undone[person].append(mine[-1])
        elif undone[person]:
            force.append(undone[person].pop())
    state: dict[int, str | None] = dict.fromkeys(range(1, CELLS + 1))
    for _, _, cells, value in force:
        state |= dict.fromkeys(cells, value)
    return state


@given(STEPS)
def test_any_sequence_gives_the_state_of_what_is_in_force(steps):
    state = ReviewState()
    taken = []
    for seq, step in enumerate(steps, 1):
        kind, person = step[:2]
        if kind == "undo" and state.undoable(person) is None:
            continue
        if kind == "redo" and state.redoable(person) is None:
            continue
        cells, value = step[2:] if kind == "label" else ((), None)
        state.apply(seq, str(uuid4()), kind, cells, value, person)
        taken.append(step)
    expected = by_hand(taken)
    assert {n: state.value("label", n) for n in expected} == expected
    assert state.values("label") == {n: v for n, v in expected.items() if v is not None}


@given(STEPS)
def test_undoing_everything_and_redoing_it_ends_where_one_person_was(steps):
    state = ReviewState()
    seq = 0
    for seq, step in enumerate((s for s in steps if s[0] == "label"), 1):
        state.apply(seq, str(uuid4()), "label", step[2], step[3], 1)
    before = state.values("label")
    undone = 0
    while state.undoable(1):
        seq += 1
        undone += 1
        state.undo(seq, 1)
    assert state.values("label") == {}
    for _ in range(undone):
        seq += 1
        state.redo(seq, 1)
    assert state.values("label") == before
