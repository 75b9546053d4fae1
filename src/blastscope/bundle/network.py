"""One network of a bundle, with the interface of a finished run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blastscope.bundle.contents import ONNX, OOD, WEIGHTS, Contents, digest_of
from blastscope.bundle.manifest import Manifest, Network
from blastscope.data.store import StoreSettings
from blastscope.errors import BlastscopeError
from blastscope.training.finished_run import FinishedRun

if TYPE_CHECKING:
    from blastscope.ood.detector import OodDetector


@dataclass(frozen=True)
class BundledNetwork(FinishedRun):
    """A network that travels; its files are read when they are asked for, and checked then."""

    contents: Contents
    manifest: Manifest

    def weights(self) -> bytes:
        """Return ``weights.safetensors``.

        Raises:
            BlastscopeError: where it is not as it was made, or holds what is no number.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        content = checked(self.contents, self.manifest, WEIGHTS)
        where = f"{self.contents}/{WEIGHTS}"
        try:
            tensors = load(content)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise BlastscopeError(f"{where} holds no weights ({error}): make it again.") from error
        for name, tensor in tensors.items():
            if not np.isfinite(tensor).all():
                raise BlastscopeError(
                    f"{where} has the weights {name} with values that are no numbers: make the "
                    "bundle of another run."
                )
        return content

    def onnx(self) -> bytes:
        """Return ``model.onnx``.

        Raises:
            BlastscopeError: where it is not as it was made.
        """
        return checked(self.contents, self.manifest, ONNX)

    def _misfit(self, error: ValueError) -> BlastscopeError:
        return BlastscopeError(
            f"{self.contents} has weights that do not fit the network it describes ({error}): make "
            "the bundle again."
        )

    def ood(self) -> OodDetector | None:
        """Return what tells pictures that are no cells; None where the bundle has none.

        Raises:
            BlastscopeError: where its file is damaged.
        """
        from blastscope.ood.detector import ood_from

        if OOD not in self.manifest.files:
            return None
        content = checked_json(self.contents, self.manifest, OOD)
        return ood_from(content, f"{self.contents}/{OOD}")


def network_of(contents: Contents, manifest: Manifest, network: Network) -> BundledNetwork:
    """Open the network of a manifest.

    Raises:
        BlastscopeError: where cells would have to be prepared in a way that is not known here.
    """
    p, wanted = network.preparation, network.recipe.input
    settings = StoreSettings(p.size, p.scale, p.clahe, p.contour, p.field, p.threshold)
    known = StoreSettings(wanted.size, wanted.scale, wanted.clahe, p.contour)
    if settings != known:
        raise BlastscopeError(
            f"{contents} wants cells prepared in a way that this blastscope does not know "
            f"({settings.differences(known)}): use the version that it was made by."
        )
    return BundledNetwork(
        path=contents.path,
        recipe=network.recipe,
        checkpoint=network.checkpoint,
        synthetic=manifest.synthetic,
        settings=settings,
        contents=contents,
        manifest=manifest,
    )


def checked(contents: Contents, manifest: Manifest, name: str) -> bytes:
    """Read a file and hold it against the manifest.

    Raises:
        BlastscopeError: where it is missing, not of the manifest or not as it was made.
    """
    expected = manifest.files.get(name)
    if expected is None:
        raise BlastscopeError(f"{contents} has no {name} by its own list: make it again.")
    content = contents.read(name)
    if len(content) != expected.bytes or digest_of(content) != expected.sha256:
        raise BlastscopeError(
            f"{contents}/{name} is not the file that the bundle was made with (cut short, or "
            "changed): get the bundle again from where it came."
        )
    return content


def checked_json(contents: Contents, manifest: Manifest, name: str) -> dict[str, object]:
    """Read a JSON object likewise.

    Raises:
        BlastscopeError: as ``checked`` does, or where it is no JSON object.
    """
    try:
        content = json.loads(checked(contents, manifest, name))
    except (ValueError, RecursionError) as error:
        raise BlastscopeError(f"{contents}/{name} is not valid JSON ({error}).") from error
    if not isinstance(content, dict):
        raise BlastscopeError(f"{contents}/{name} holds no JSON object: make the bundle again.")
    return content
