"""One export for all tests of engines."""

from __future__ import annotations

import pytest

from tests.engines.networks import Exported, exported


@pytest.fixture(scope="session")
def shared_graph() -> Exported:
    return exported()
