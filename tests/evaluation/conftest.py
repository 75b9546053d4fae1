from tests.experiments.conftest import asked

__all__ = ["asked"]
