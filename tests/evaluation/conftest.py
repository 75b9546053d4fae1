from tests.experiments.conftest import order

__all__ = ["order"]
