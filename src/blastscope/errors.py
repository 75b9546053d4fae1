"""The one kind of error that a user is meant to read."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class BlastscopeError(Exception):
    """Something in the user's input or surroundings is wrong.

    The message is one clear sentence: which file, what is wrong, what to do. The command line
    prints it and exits with status 2; anything else that is raised is a defect of ours.
    """


def listing(items: Sequence[str], most: int = 10) -> str:
    """Join ``items`` for a message, cutting a long list short but saying how long it is."""
    shown = "; ".join(items[:most])
    rest = len(items) - most
    return f"{shown}; and {rest} more" if rest > 0 else shown


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
        BlastscopeError: where the block raises an ``OSError``.
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
