"""Recipes for tests of networks."""

from __future__ import annotations

from typing import Any

from blastscope.recipes.schema import Recipe


def recipe(
    backbone: str = "cnn4-small",
    size: int = 64,
    normalization: str = "unit",
    training: dict[str, Any] | None = None,
    **model: Any,
) -> Recipe:
    """Return a recipe of random weights and global average pooling, but for what is given."""
    return Recipe.model_validate(
        {
            "name": "test",
            "title": "Test",
            "input": {"size": size, "normalization": normalization},
            "model": {"backbone": backbone, "weights": "none", "head": ["gap"], **model},
            "training": {
                "optimizer": "adam",
                "rate": 1e-3,
                "epochs": 1,
                "balance": "none",
                **(training or {}),
            },
        }
    )
