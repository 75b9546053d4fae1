"""Files kept by their content: an image lies at the SHA-256 of its bytes, whatever its name."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from blastscope.errors import BlastscopeError, writing

_SIGNS = frozenset("0123456789abcdef")


class ImageStore:
    """A folder of files named by their content."""

    def __init__(self, folder: Path, incoming: Path) -> None:
        """Open the folder, which is made if it is not there.

        Raises:
            BlastscopeError: if it, or that of files that are still being sent, cannot be written.
        """
        self.folder, self.incoming = folder, incoming
        for each in (folder, incoming):
            with writing(each):
                each.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=each):  # now, and not when the first file is sent
                    pass

    def forget_parts(self) -> None:
        """Remove what a server that was killed has left of files that were being sent.

        Raises:
            BlastscopeError: if it cannot be removed.
        """
        for left in self.incoming.glob("*.part"):
            with writing(left):
                left.unlink(missing_ok=True)

    def path(self, sha: str) -> Path:
        """Return the place of the file with this SHA-256 (64 hex digits).

        Raises:
            ValueError: if it is not one, so that no name can lead out of the folder.
        """
        if len(sha) != 64 or not _SIGNS.issuperset(sha):
            raise ValueError("not a SHA-256")
        return self.folder / sha[:2] / sha

    def put(self, content: bytes) -> str:
        """Keep a file and return its SHA-256; it is on disk when this returns."""
        with self.receive(len(content)) as file:
            file.write(content)
        return file.sha

    def bytes(self) -> int:
        """Return how many bytes all files that are kept have together."""
        return sum(path.stat().st_size for path in self.folder.glob("*/*"))

    @contextmanager
    def receive(self, most: int) -> Iterator[Incoming]:
        """Give a file to write to; when the block ends without an error it is kept.

        Args:
            most: the most bytes that it may have.
        """
        beside = self.incoming / f"{secrets.token_hex(16)}.part"
        try:
            with writing(self.incoming), beside.open("xb") as stream:
                file = Incoming(stream, most)
                yield file
                stream.flush()
                os.fsync(stream.fileno())
            self._keep(beside, file)
        finally:
            beside.unlink(missing_ok=True)

    def _keep(self, beside: Path, file: Incoming) -> None:
        place = self.path(file.sha)
        if place.exists():
            return
        with writing(place):
            place.parent.mkdir(exist_ok=True)
            beside.replace(place)
            _sync_folder(place.parent)


class TooLargeError(BlastscopeError):
    """A file of more bytes than is allowed."""


class Incoming:
    """A file that is being written, with its digest and length."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream, self._most = stream, most
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.head = b""  # the first 16 bytes

    def write(self, piece: bytes) -> None:
        """Add bytes.

        Raises:
            TooLargeError: if there are more than allowed.
        """
        self.bytes += len(piece)
        if self.bytes > self._most:
            raise TooLargeError(
                f"The file has more than {self._most:,} bytes: send a smaller one, or its cells "
                "one by one."
            )
        if len(self.head) < 16:
            self.head = (self.head + piece)[:16]
        self._digest.update(piece)
        self._stream.write(piece)

    @property
    def sha(self) -> str:
        """The SHA-256 of what was written, 64 hex digits."""
        return self._digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def looks_like_image(head: bytes) -> bool:
    """Say whether a file begins as a BMP, PNG, TIFF, JPEG or WebP does; names say nothing."""
    return head.startswith((b"BM", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"\xff\xd8\xff")) or (
        head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    )


def looks_like_zip(head: bytes) -> bool:
    """Say whether a file begins as a zip does."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))
