"""One network of a bundle, with the interface of a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blastscope.bundle.contents import MANIFEST, ONNX, OOD, WEIGHTS, Contents, digest_of
from blastscope.bundle.manifest import Manifest, Network, json_object
from blastscope.data.store import StoreSettings
from blastscope.errors import BlastscopeError
from blastscope.training.finished_run import FinishedRun

if TYPE_CHECKING:
    from blastscope.ood.detector import OodDetector


@dataclass(frozen=True)
class BundledNetwork(FinishedRun):
    """A network of a bundle; each file is read and checked when it is needed."""

    contents: Contents
    manifest: Manifest

    def weights(self) -> bytes:
        """Return ``weights.safetensors``.

        Raises:
            BlastscopeError: if it was changed or holds values that are not finite.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        content = checked(self.contents, self.manifest, WEIGHTS)
        where = f"{self.contents}/{WEIGHTS}"
        try:
            tensors = load(content)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise BlastscopeError(
                f"{where} cannot be read ({error}): make the bundle again."
            ) from error
        for name, tensor in tensors.items():
            if not np.isfinite(tensor).all():
                raise BlastscopeError(
                    f"{where} could not be loaded because {name} contains NaN or infinity: bundle "
                    "another run."
                )
        return content

    def onnx(self) -> bytes:
        """Return ``model.onnx``; a BlastscopeError if it was changed."""
        return checked(self.contents, self.manifest, ONNX)

    def _misfit(self, error: ValueError) -> BlastscopeError:
        return BlastscopeError(
            f"{self.contents} has weights that do not fit the network it describes ({error}): make "
            "the bundle again."
        )

    def ood(self) -> OodDetector | None:
        """Return the out-of-distribution detector; None if the bundle has none."""
        from blastscope.ood.detector import ood_from

        if OOD not in self.manifest.files:
            return None
        content = checked_json(self.contents, self.manifest, OOD)
        return ood_from(content, f"{self.contents}/{OOD}")


def network_of(contents: Contents, manifest: Manifest, network: Network) -> BundledNetwork:
    """Open the network of a manifest.

    Raises:
        BlastscopeError: if it needs a preparation of cells that is not known here.
    """
    p, wanted = network.preparation, network.recipe.input
    settings = p.settings()
    known = StoreSettings(wanted.size, wanted.scale, wanted.clahe, p.contour, stain=settings.stain)
    if settings != known or settings.colour_normalization != wanted.stain_method:
        raise BlastscopeError(
            f"{contents} needs cells prepared in a way that this blastscope does not know "
            f"({settings.differences(known)}): use the version of blastscope that made it."
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
    """Read a file and compare it with the manifest.

    Raises:
        BlastscopeError: if it is missing, not in the manifest or changed.
    """
    expected = manifest.files.get(name)
    if expected is None:
        raise BlastscopeError(
            f"{contents} lists no {name} in its {MANIFEST}: make the bundle again."
        )
    content = contents.read(name)
    if len(content) != expected.bytes or digest_of(content) != expected.sha256:
        raise BlastscopeError(
            f"{contents}/{name} was cut short or changed after the bundle was made: get the bundle "
            "again from its source."
        )
    return content


def checked_json(contents: Contents, manifest: Manifest, name: str) -> dict[str, object]:
    """Read a JSON object and compare its file with the manifest.

    Raises:
        BlastscopeError: as ``checked`` does, or if it is not a JSON object.
    """
    return json_object(checked(contents, manifest, name), f"{contents}/{name}")
