"""Where imported models lie, and how a folder comes there and goes in one step.

Imported models lie outside the program's folder, so that an update of Slicer or of the extension leaves them alone:
``$VERTEBRAL_GRADING_MODELS``, or ``VertebralGrading/models`` in the folder for data of programs (``%APPDATA%``,
``~/Library/Application Support``, ``$XDG_DATA_HOME`` or ``~/.local/share``). No operating system replaces a folder by
another in one step. So an older model steps aside under a hidden name, and whoever reads the folder next brings it back
if nothing took its place. Every step is one renaming, so no lock is needed between processes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from VertebralGradingLib.errors import OutputError

ENVIRONMENT = "VERTEBRAL_GRADING_MODELS"
"""Variable that names another folder for imported models."""
_TRIES = 100
_LEFT_OVER_S = 24 * 3600.0
_IN_USE = "Close programs that use it, and check permissions."


def imported_folder() -> Path:
    """Folder of imported models; it need not exist.

    Raises:
        OutputError: this user has no folder for data.
    """
    if named := os.environ.get(ENVIRONMENT):
        return Path(named).absolute()
    try:
        return _data_folder(sys.platform, Path.home()) / "VertebralGrading" / "models"
    except RuntimeError as error:
        raise OutputError("This user has no home folder.", f"Set {ENVIRONMENT} to a folder for models.") from error


def _data_folder(platform: str, home: Path) -> Path:
    """Where programs of this system keep their data."""
    if platform == "win32":
        return Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
    if platform == "darwin":
        return home / "Library" / "Application Support"
    named = Path(os.environ.get("XDG_DATA_HOME") or "")
    return named if named.is_absolute() else home / ".local" / "share"  # a relative one is to be ignored, says XDG


def beside(target: Path, what: str) -> Path:
    """A new hidden name in the same folder, so that renaming stays within one file system."""
    return target.with_name(f".{what}-{target.name}-{uuid.uuid4().hex}")


def put(staged: Path, target: Path) -> None:
    """Rename a verified folder to its place. An older one there steps aside first, and comes back when this fails.

    Raises:
        OutputError: the file system refuses it.
    """
    aside: list[Path] = []
    with writing("The model cannot be put in its place.", _IN_USE):
        try:
            while not _rename_to_free_place(staged, target):
                if len(aside) >= _TRIES:
                    raise OSError(errno.EBUSY, "others keep writing")
                aside.append(beside(target, "replaced"))
                with contextlib.suppress(FileNotFoundError):  # another process moved it
                    os.rename(target, aside[-1])
        except OSError:
            restore(target.parent)
            raise
    for old in aside:
        shutil.rmtree(old, ignore_errors=True)


def _rename_to_free_place(staged: Path, target: Path) -> bool:
    try:
        os.rename(staged, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def take_away(folder: Path) -> None:
    """Remove a model, and versions of it that stepped aside.

    Raises:
        OutputError: the file system refuses it.
    """
    with writing("The model cannot be deleted.", _IN_USE):
        older = [path for path in folder.parent.glob(".replaced-*") if _name_aside(path) == folder.name]
        for path in [*older, folder]:
            doomed = beside(folder, "deleted")
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                os.rename(path, doomed)
                if doomed.is_symlink():
                    doomed.unlink()
                else:
                    shutil.rmtree(doomed)


def restore(root: Path) -> None:
    """Bring back a model that stepped aside for one that never came."""
    for old in root.glob(".replaced-*"):
        if not (root / _name_aside(old)).exists():
            with contextlib.suppress(OSError):  # another process put one there, or the folder is read-only
                os.rename(old, root / _name_aside(old))


def sweep(root: Path) -> None:
    """Remove what processes that were ended more than a day ago left behind."""
    restore(root)
    for path in root.glob(".*"):
        of_old_model = path.name.startswith(".replaced-") and (root / _name_aside(path)).exists()
        if of_old_model or path.name.startswith((".importing-", ".deleted-")):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _LEFT_OVER_S:
                    shutil.rmtree(path, ignore_errors=True)


def _name_aside(path: Path) -> str:
    return path.name.removeprefix(".replaced-").rpartition("-")[0]


@contextlib.contextmanager
def writing(what: str = "The model cannot be written.", hint: str = "Check permissions.") -> Iterator[None]:
    """Turn a failed write into a typed error.

    Raises:
        OutputError: instead of an OSError in the block.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)):
            what, hint = "The model cannot be written: the disk is full.", "Make room and try again."
        raise OutputError(what, hint) from error
