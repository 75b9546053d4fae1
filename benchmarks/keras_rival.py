"""The paper's own stack: its architectures in Keras 3 on TensorFlow, trained or asked.

Run by other benchmarks with a Python that has TensorFlow, which blastscope does not need:

    python -m venv tf && tf/bin/pip install tensorflow
    tf/bin/python benchmarks/keras_rival.py train mobilenetv2 16 12
    tf/bin/python benchmarks/keras_rival.py predict cells.npy 32 3

``train`` prints the images a second of ``fit`` on a constant batch, the first two steps not
counted. ``predict`` asks EfficientNet-Lite0's nearest relative there, ``EfficientNetB0``, or what
``--architecture`` says, for prepared cells, uint8 (N, S, S, 3), and prints cells a second. Weights
are random, which changes nothing in what is computed.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from keras import layers

SIZES = {"cnn-exp2": 300}
SIZE = 224


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["train", "predict"])
    parser.add_argument("name", help="an architecture to train, or a file of cells to ask about")
    parser.add_argument("batch", type=int)
    parser.add_argument("count", type=int, help="steps to train, or rounds to ask")
    parser.add_argument("--architecture", default="efficientnetb0")
    asked = parser.parse_args()
    if asked.what == "train":
        print(_train(asked.name, asked.batch, asked.count))
    else:
        print(_predict(asked.architecture, np.load(asked.name), asked.batch, asked.count))


def _train(name: str, batch: int, steps: int) -> float:
    import tensorflow as tf

    size = SIZES.get(name, SIZE)
    model = network(name, size)
    model.compile(keras.optimizers.Adam(1e-5), "binary_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(24)
    images = rng.integers(0, 256, (batch, size, size, 3)).astype("float32")
    truth = rng.integers(0, 2, batch).astype("float32")
    cells = tf.data.Dataset.from_tensors((images, truth)).cache().repeat(steps)
    clock = _Clock()
    model.fit(cells, epochs=1, steps_per_epoch=steps, verbose=0, callbacks=[clock])
    return float(batch / np.median(np.diff(clock.at[1:])))


class _Clock(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note when each batch ended."""
        self.at.append(time.perf_counter())


def _predict(architecture: str, cells: np.ndarray, batch: int, rounds: int) -> float:
    model = network(architecture, cells.shape[1])
    model.predict(cells[:batch], batch_size=batch, verbose=0)  # builds its graph
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        model.predict(cells, batch_size=batch, verbose=0)
        taken.append(time.perf_counter() - began)
    return len(cells) / min(taken)


def network(name: str, size: int) -> keras.Model:
    """Build one of the paper's networks (sections 3.2.2, 3.3.1 to 3.3.3), all layers trained."""
    images = keras.Input((size, size, 3))
    kept = {"include_top": False, "weights": None, "input_shape": (size, size, 3)}
    match name:
        case "cnn-exp2":
            found = layers.Rescaling(1 / 255)(images)
            for filters, pool in ((32, 2), (64, 2), (128, 3), (256, 5)):
                found = layers.Conv2D(filters, 3, padding="same", activation="relu")(found)
                found = layers.MaxPooling2D(pool)(found)
            found = layers.Dropout(0.5)(layers.Flatten()(found))
            found = layers.Dense(256, activation="relu")(found)
        case "mobilenetv2":
            base = keras.applications.MobileNetV2(**kept)
            found = layers.Rescaling(1 / 127.5, -1)(images)
            found = layers.GlobalAveragePooling2D()(base(found))
        case "resnet50-cut":
            whole = keras.applications.ResNet50(**kept)
            base = keras.Model(whole.input, whole.get_layer("conv4_block6_out").output)
            found = base(keras.applications.resnet50.preprocess_input(images))
            found = layers.Dense(256)(layers.GlobalAveragePooling2D()(found))
        case "vgg16-cut":
            whole = keras.applications.VGG16(**kept)
            base = keras.Model(whole.input, whole.get_layer("block4_pool").output)
            found = base(keras.applications.vgg16.preprocess_input(images))
            found = layers.Dense(256)(layers.GlobalAveragePooling2D()(found))
        case "efficientnetb0":
            found = layers.GlobalAveragePooling2D()(
                keras.applications.EfficientNetB0(**kept)(images)
            )
        case _:
            raise SystemExit(f"There is no {name} here.")
    found = layers.Dropout(0.5)(found)
    return keras.Model(images, layers.Dense(1, activation="sigmoid")(found))


if __name__ == "__main__":
    main()
