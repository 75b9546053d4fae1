"""Of people who do the same at once, one does it and the others are told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from blastscope.workbench.store.tables import Case, Reading, ReviewEvent, Signature, User
from tests.workbench.test_cases import signed


def at_once(*asks: Callable[[], Any]) -> list[tuple[int, str | None]]:
    """Ask all at the same moment; return the statuses and codes of the answers, sorted."""
    gate, told = threading.Barrier(len(asks)), []

    def ask(one: Callable[[], Any]) -> None:
        gate.wait()
        answer = one()
        told.append((answer.status_code, answer.json().get("error", {}).get("code")))

    threads = [threading.Thread(target=ask, args=(one,)) for one in asks]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return sorted(told, key=lambda one: one[0])


def test_of_two_who_sign_reopen_or_hand_on_a_case_at_once_one_does(served, local):
    case = served.case(12)
    local.label(case, list(range(1, 13)), "A")
    ann, ben = served.person("ann", "signer"), served.person("ben", "signer")
    served.person("rita")
    with served.bench.database.read() as session:
        rita = session.query(User).filter_by(name="rita").one().id
        version = session.get_one(Case, case).version
    told = at_once(*[lambda who=who: signed(who, case) for who in (ann, ben)])
    assert told[0] == (200, None)
    assert told[1][0] == 409
    body = {"reason": "a wrong slide"}
    told = at_once(
        *[lambda who=who: who.post(f"/api/v1/cases/{case}/reopen", json=body) for who in (ann, ben)]
    )
    assert told == [(200, None), (409, "not-signed")]
    body = {"person": rita}
    told = at_once(
        *[lambda who=who: who.post(f"/api/v1/cases/{case}/readings", json=body)
          for who in (ann, ben)]
    )  # fmt: skip
    assert told == [(201, None), (409, "open-reading")]
    with served.bench.database.read() as session:
        assert session.query(Signature).count() == 1
        assert session.query(Reading).filter_by(case_id=case).count() == 2
        assert session.get_one(Case, case).version == version + 3
        kinds = [one.kind for one in session.query(ReviewEvent).filter_by(case_id=case)]
        assert [kinds.count(one) for one in ("signed", "reopened", "reading-started")] == [1, 1, 1]


def test_a_label_that_comes_while_somebody_signs_is_seen_or_refused(served, local):
    case = served.case(12)
    local.label(case, [1], "A")
    ann, ben = served.person("ann", "signer"), served.person("ben")
    event = {"kind": "label", "cells": [2], "value": "N"}
    (first, _), (second, code) = at_once(lambda: signed(ann, case), lambda: ben.events(case, event))
    assert first == 200
    # Either the label came first, so what was signed had changed, or the case was signed first;
    # both are 200 if the signer looked when the label was there.
    assert second == 200 or (second, code) in ((409, "changed"), (409, "signed"))
    with served.bench.database.read() as session:
        counts = [one.content["counts"] for one in session.query(Signature)]
        labels = session.query(ReviewEvent).filter_by(case_id=case, kind="label").count()
    if counts:
        assert counts[0]["A"] + counts[0]["N"] == labels
