"""What the tests of the verbs share."""

import re

from tests.report.conftest import make_run

__all__ = ["make_run"]


def unmarked(page: str) -> str:
    """Return a page without the mark that tells ALL, the leukaemia, from the word."""
    return re.sub(r"</?abbr[^>]*>", "", page)
