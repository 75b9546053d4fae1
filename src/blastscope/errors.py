"""Errors that a user reads, and the checks behind them that need no other module."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


class BlastscopeError(Exception):
    """Report what is wrong with the user's input or machine.

    The message is one sentence: which file, what is wrong, what to do. The command line prints it
    and exits with status 2; any other exception is a defect of blastscope.
    """


def one_line(message: object) -> str:
    """Return a message as one line, whose signs a terminal shows and does not obey.

    Names and texts of files may hold line ends and control signs; they are shown as escapes.
    """
    text = " ".join(str(message).split())
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def listing(items: Sequence[str], most: int = 10) -> str:
    """Join ``items`` for a message, cutting a long list short but saying how long it is."""
    shown = "; ".join(items[:most])
    rest = len(items) - most
    return f"{shown}; and {rest} more" if rest > 0 else shown


TRAINING_PACKAGES = frozenset(
    ("captum", "huggingface_hub", "lightning", "onnxscript", "timm", "torch", "torchmetrics",
     "torchvision")
)  # fmt: skip
"""What the extra ``train`` installs."""


def require_training(what: str) -> None:
    """Refuse work that needs PyTorch if the extra ``train`` is not installed.

    Args:
        what: what needs it, for the message: a command in backticks, or an option.

    Raises:
        BlastscopeError: if PyTorch or timm is missing.
    """
    try:
        found = find_spec("torch") and find_spec("timm")
    except ImportError:
        found = None
    if not found:
        raise needs_training(what)


def needs_training(what: str, missing: ModuleNotFoundError | None = None) -> Exception:
    """Return the error of work that needs the extra ``train``.

    Args:
        what: as ``require_training`` takes it.
        missing: the error of an import; it is returned as it is if its package is of no extra.
    """
    if missing is not None and (missing.name or "").partition(".")[0] not in TRAINING_PACKAGES:
        return missing
    return BlastscopeError(
        f"{what} needs PyTorch: install it with pip install 'blastscope[train]'."
    )


_REMEDIES = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some of your quota or choose another folder",
    errno.EFBIG: "raise the file size limit or choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that is not read-only",
    errno.ENOTDIR: "choose a path whose parents are folders",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write ``path`` into one clear sentence.

    Raises:
        BlastscopeError: if the block raises an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "choose another folder")
        reason = (error.strerror or str(error)).lower()
        raise BlastscopeError(f"{path} cannot be written ({reason}): {remedy}.") from error


def did_you_mean(word: object, allowed: Iterable[str]) -> str:
    """Return `` (did you mean X?)`` if a name is near ``word``, else nothing."""
    near = difflib.get_close_matches(str(word), list(allowed), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
