"""The code of a model in MLflow: MLflow copies this file beside the bundle and runs it."""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class BundleModel(PythonModel):
    """Predicts images: paths, or files in base64."""

    def load_context(self, context: Any) -> None:
        """Open the bundle."""
        import blastscope as bs

        self._model = bs.load(context.artifacts["bundle"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the prediction table, a row for each image of the column ``image``."""
        from blastscope.tracking.served_images import predict_texts

        images = model_input["image"].tolist()
        table = predict_texts(self._model.predict, images).to_pandas()
        for name in table.columns[table.isna().any()]:  # JSON has null, and no NaN
            table[name] = table[name].astype(object).where(table[name].notna(), None)
        return table


set_model(BundleModel())
