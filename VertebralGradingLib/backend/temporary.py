"""Folders for the arrays of one request: voxels of a patient, so none may stay behind."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from VertebralGradingLib.errors import OutputError

PREFIX = "vertebral-grading-"
STALE_S = 24 * 3600.0
"""No request takes a day: an older folder was left by a program that crashed."""


def request_folder(parent: str | None = None) -> tempfile.TemporaryDirectory[str]:
    """A new folder that only this user can read, removed with the returned object.

    Raises:
        OutputError: there is no place for it.
    """
    try:
        return tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputError(
            "The image cannot be handed to the worker: the temporary folder is missing, full or cannot be written.",
            "Free some space there, or choose another temporary folder in the program's settings.",
        ) from error


def sweep(parent: str | None = None) -> None:
    """Remove folders that a crashed program left behind more than a day ago."""
    for folder in Path(parent or tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            stale = time.time() - folder.stat().st_mtime > STALE_S
        except OSError:
            continue  # it has just gone
        if stale and folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
