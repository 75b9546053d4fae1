import pytest
from hypothesis import given
from hypothesis import strategies as st

from blastscope.data.names import parse_label, parse_name, printable
from blastscope.errors import BlastscopeError


@given(
    healthy=st.sampled_from(["", "H", "h"]),
    numbers=st.tuples(*[st.integers(0, 9999)] * 3),
    label=st.sampled_from(["all", "hem", "ALL", "Hem"]),
)
def test_any_way_of_writing_a_name_is_one_cell(healthy, numbers, label):
    subject, image, number = numbers
    named = parse_name(f"UID_{healthy}{subject}_{image}_{number}_{label}")
    assert named.subject == f"{healthy.upper()}{subject}"
    assert named.cell == f"UID_{healthy.upper()}{subject}_{image}_{number}_{label.lower()}"
    assert named.label == label.lower()
    assert named.lower_case == (healthy == "h")


def test_the_published_lower_case_subject_is_not_lost():
    # 36 of the 10,661 files are written so; a pattern H?\d+ drops them without a word.
    assert parse_name("UID_h3_10_1_hem").subject == "H3"


@pytest.mark.parametrize("stem", ["17", "UID_11_1_all", "UID_x1_1_1_all", "UID_1_1_1_other"])
def test_another_form_is_a_cell_without_subject(stem):
    named = parse_name(stem)
    assert (named.cell, named.subject, named.label) == (stem, None, None)


@pytest.mark.parametrize(("text", "label"), [("1", "all"), (" ALL ", "all"), ("0", "hem")])
def test_labels(text, label):
    assert parse_label(text) == label


def test_no_label():
    with pytest.raises(BlastscopeError, match="'blast' is not a label"):
        parse_label("blast")


@given(st.text(st.characters(codec=None), max_size=8))
def test_what_is_printed_of_a_name_is_text_and_visible_text_stays_as_it_is(name):
    shown = printable(name)
    shown.encode()
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in shown)
    assert printable(shown) == shown
    if all(ord(sign) >= 160 or 32 <= ord(sign) < 127 for sign in name):
        assert shown == "".join(
            f"\\u{ord(s):04x}" if 0xD800 <= ord(s) < 0xE000 else s for s in name
        )


def test_names_as_they_are_printed():
    assert printable("ß\x1b[2J\n\udcff.png") == "ß\\x1b[2J\\n\\udcff.png"
