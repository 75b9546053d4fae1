"""The material of trainings."""

from tests.train.conftest import material as material
