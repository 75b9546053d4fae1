"""The code of a model in MLflow: MLflow copies this file beside the bundle and runs it."""

from __future__ import annotations

from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class BundleModel(PythonModel):
    """Predicts images: paths, or files in base64."""

    def load_context(self, context: Any) -> None:
        """Open the bundle."""
        import blastscope as bs

        self._model = bs.load(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Return the prediction table (pandas), a row for each image of the column ``image``."""
        from blastscope.tracking.served_images import predict_texts

        texts = model_input["image"] if hasattr(model_input, "columns") else model_input
        return predict_texts(self._model.predict, list(texts)).to_pandas()


set_model(BundleModel())
