"""The shapes of answers that the pages' scripts are checked against are those of the answers."""

from __future__ import annotations

import re

import pytest

from blastscope.workbench.routes.pages import WEB

TYPES = (WEB / "static" / "types.js").read_text(encoding="utf-8")


def named(name: str) -> set[str]:
    """Return the fields of a type in ``types.js``."""
    if f"@typedef {{object}} {name}\n" in TYPES:
        block = TYPES[TYPES.index(f"@typedef {{object}} {name}\n") :].split(" *\n")[0]
        return set(re.findall(r"@property \{.*\} (\w+)", block))
    found = re.search(rf"@typedef \{{\{{(.*)\}}\}} {name}\n", TYPES)
    assert found is not None, name
    # Fields of fields are in brackets: take those out, the innermost first.
    flat, count = found[1], 1
    while count:
        flat, count = re.subn(r"\{[^{}]*\}|\[[^\[\]]*\]", "", flat)
    return {one.split(":")[0].strip().rstrip("?") for one in flat.split(",")}


@pytest.fixture
def answers(served, local):
    case = served.case(12)
    local.label(case, [1], "A")
    item = local.get(f"/api/v1/cases/{case}").json()
    return {
        "Case": item, "Counts": item["counts"], "Progress": item["progress"],
        "Reading": item["readings"][0], "Model": item["model"],
        "Line": local.get(f"/api/v1/cases/{case}/shares").json()["lines"][0],
        "HistoryEvent": local.get(f"/api/v1/cases/{case}/history").json()["events"][-1],
        "Person": local.get("/api/v1/people").json()["people"][0],
        "Boot": local.get("/api/v1/boot").json() | dict.fromkeys(
            ["page", "case", "cell", "next", "used"]  # which the pages add
        ),
    }  # fmt: skip


def test_types_name_what_answers_hold(answers):
    assert {name: named(name) for name in answers} == {
        name: set(answer) for name, answer in answers.items()
    }
