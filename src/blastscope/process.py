"""Settings of the whole process, which only ``tune_process`` changes and no import does."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # glibc's malloc.h
_OPENCV_THREADS = "OPENCV_FOR_THREADS_NUM"
THREADS = "BLASTSCOPE_THREADS"
"""The environment variable of the most cores to use; processes that are started inherit it."""
_WAITING = {"GOMP_SPINCOUNT": "20000"}
"""How long threads of PyTorch spin before they sleep: a moment (benchmarks/busy.py)."""

_NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""What keeps libraries from telling their makers that they are used."""


def no_telemetry() -> None:
    """Turn the telemetry of libraries off, before they are imported; a choice that is there stays.

    Processes that are started inherit it.
    """
    for name, value in _NO_TELEMETRY.items():
        os.environ.setdefault(name, value)


def tune_process(threads: int | None = None) -> None:
    """Tune this process for many images and for long trainings on a processor.

    The command line and the worker processes call it. In a notebook it is your choice: results
    are the same without it, but predictions and trainings on a processor take longer. It changes
    the process for everything else that runs in it:

    - threads of PyTorch that wait sleep after a moment, so that a busy machine stays fast
      (only if PyTorch was not imported before);
    - glibc keeps freed memory (``keep_freed_memory``);
    - OpenCV works with one thread, because cells are the unit of parallel work;
    - Pillow's warnings are not shown: blastscope refuses or flags what they are about;
    - libraries send no telemetry (``no_telemetry``).

    Args:
        threads: how many cores to use at most, in this process and those that it starts; all that
            the process may use if None.
    """
    if threads is not None:
        os.environ[THREADS] = os.environ["OMP_NUM_THREADS"] = str(threads)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
    for name, value in _WAITING.items():  # libgomp reads them when PyTorch is imported
        os.environ.setdefault(name, value)
    no_telemetry()
    keep_freed_memory()
    os.environ.setdefault(_OPENCV_THREADS, "1")  # OpenCV reads it when it is imported
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(int(os.environ[_OPENCV_THREADS]))
    warnings.filterwarnings("ignore", module="PIL")


@contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a block; they are as before afterwards."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def quiet(*loggers: str, module: str = "") -> Iterator[None]:
    """Silence loggers below errors, and the warnings of a module (default: all), in a block."""
    found = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in found]
    try:
        for logger in found:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=module)
            yield
    finally:
        for logger, level in zip(found, levels, strict=True):
            logger.setLevel(level)


_tiff_lock = threading.Lock()
_tiff_blocks = 0
_tiff_handler: int | None = None


@contextmanager
def quiet_tiff() -> Iterator[None]:
    """Keep libtiff, by which Pillow decodes TIFF, from writing to standard error in a block.

    Its handler of errors is that of the process, so the last of several blocks at a time puts the
    one back that the first found. Errors still reach Pillow, which raises them.
    """
    global _tiff_blocks, _tiff_handler
    set_handler = _tiff_error_handler()
    if set_handler is None:
        yield
        return
    with _tiff_lock:
        if _tiff_blocks == 0:
            _tiff_handler = set_handler(None)
        _tiff_blocks += 1
    try:
        yield
    finally:
        with _tiff_lock:
            _tiff_blocks -= 1
            if _tiff_blocks == 0:
                set_handler(_tiff_handler)


@cache
def _tiff_error_handler() -> Callable[[int | None], int | None] | None:
    """Return ``TIFFSetErrorHandler`` of Pillow's libtiff; None if it cannot be reached."""
    try:
        found = ctypes.CDLL(str(import_module("PIL._imaging").__file__)).TIFFSetErrorHandler
    except (ImportError, OSError, AttributeError):  # linked into Pillow, as on Windows
        return None
    found.argtypes, found.restype = [ctypes.c_void_p], ctypes.c_void_p
    return found


def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed memory instead of returning it; return whether it was told.

    Training on a processor spends up to half its time in page faults otherwise: a network's large
    activations are freed and allocated again at every step, and the kernel clears each page anew.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return all(
        mallopt(setting, value) == 1
        for setting, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 2**20))
    )


def return_freed_memory() -> None:
    """Have glibc return what it kept of freed memory, in every thread's share; else do nothing."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
