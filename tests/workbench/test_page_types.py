"""The shapes of answers that the pages' scripts are checked against are those of the API."""

from __future__ import annotations

import re

from blastscope.workbench.routes.pages import WEB

MADE = {"GetPath", "PostPath", "Paths", "Body", "Answer"}
"""What ``make types`` makes beside the API's own types."""


def test_scripts_name_types_that_the_api_describes(app):
    scripts = "".join(one.read_text("utf-8") for one in (WEB / "static").glob("*.js"))
    named = set(re.findall(r"\bApi\.(\w+)", scripts))
    assert named >= {"Answer", "CaseJson", "CellsJson", "LineJson", "SignatureJson"}
    assert named - MADE - set(app.openapi()["components"]["schemas"]) == set()
