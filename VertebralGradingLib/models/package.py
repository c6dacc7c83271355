"""The files of a model as they are handed over: a zip file or a folder, looked into without trusting it.

Nothing is unpacked here. Names are judged before any content is read, and content is only ever read up to a limit that
the reader sets, so that neither a name nor a size in the file decides where or how much is written.
"""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from VertebralGradingLib.errors import MethodError
from VertebralGradingLib.models.cards import CARD_FILE, MAX_FILES

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib", ".npy", ".npz")
"""Kinds of files that can run code when they are loaded."""
MAX_PACKING = 100
"""Weights shrink to a half at best; what shrinks more than this is made to fill disks."""
_AGAIN = "Get the model again from where it came from."


@dataclass(frozen=True)
class PackedFile:
    """One file of a model that is handed over.

    Attributes:
        size: in bytes, as it claims.
        open: opens it for reading.
    """

    size: int
    open: Callable[[], IO[bytes]]


@contextlib.contextmanager
def open_package(source: Path) -> Iterator[dict[str, PackedFile]]:
    """Files of a model by name; in a zip file, they may lie in one folder.

    Raises:
        MethodError: it is no zip file and no folder, or holds what no model may hold.
    """
    with contextlib.ExitStack() as stack:
        with reading():
            files = _look_into(source, stack)
        yield files


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Turn a failed reading of a package into a typed error."""
    try:
        yield
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError) as error:
        raise MethodError("The model file is damaged or cannot be read.", _AGAIN) from error


def _look_into(source: Path, stack: contextlib.ExitStack) -> dict[str, PackedFile]:
    if source.is_dir():
        return _in_folder(source)
    if not source.is_file():
        raise MethodError("There is no such model file.", "Choose a zip file or a folder with a card.json.")
    if source.suffix.lower() in PICKLES:  # torch's own files are zip files too
        raise _pickle()
    if not zipfile.is_zipfile(source):
        raise MethodError("The file is no model.", "Choose a zip file or a folder with a card.json.")
    return _in_zip(stack.enter_context(zipfile.ZipFile(source)))


def _in_folder(folder: Path) -> dict[str, PackedFile]:
    found: dict[str, PackedFile] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            _judge_name(entry.name)
            if entry.is_symlink():
                raise _link()
            if not entry.is_file(follow_symlinks=False):
                raise unknown_file(entry.name)
            path = Path(entry.path)
            found[entry.name] = PackedFile(entry.stat().st_size, lambda path=path: path.open("rb"))  # type: ignore[misc]
            _judge_count(found)
    return _with_card(found)


def _in_zip(archive: zipfile.ZipFile) -> dict[str, PackedFile]:
    infos = archive.infolist()
    for info in infos:
        _judge_path(info.orig_filename)
        _judge_name(info.filename)
        if stat.S_ISLNK(info.external_attr >> 16):
            raise _link()
        if info.flag_bits & 1:
            raise MethodError("The model file is encrypted.", "Unpack it with its password, and import the folder.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise MethodError("The model file is packed in an unusual way.", "Unpack it, and import the folder.")
        if info.file_size > MAX_PACKING * max(info.compress_size, 1) and info.file_size > MAX_PACKING * 1000:
            raise MethodError("The model file is too large when it is unpacked.", _AGAIN)
    prefix = _folder_of_card(infos)
    found: dict[str, PackedFile] = {}
    for info in infos:
        if info.filename == prefix:
            continue
        name = info.filename.removeprefix(prefix)
        if not info.filename.startswith(prefix) or "/" in name:
            raise unknown_file(info.filename)
        if name in found:
            raise MethodError("The model file holds a file twice.", _AGAIN)
        found[name] = PackedFile(info.file_size, lambda info=info: archive.open(info))  # type: ignore[misc]
        _judge_count(found)
    return _with_card(found)


def _folder_of_card(infos: list[zipfile.ZipInfo]) -> str:
    """Folder of the card in a zip file: "" or "name/"."""
    cards = [info.filename for info in infos if info.filename.split("/")[-1] == CARD_FILE]
    folders = sorted({name.removesuffix(CARD_FILE) for name in cards}, key=len)
    if not folders or folders[0].count("/") > 1:
        raise _no_card()
    return folders[0]


def _judge_path(name: str) -> None:
    if not name or name.startswith("/") or ".." in name.split("/") or any(letter in name for letter in "\\:\0"):
        raise MethodError("The model file names places outside its own folder. Nothing was unpacked.", _AGAIN)


def _judge_name(name: str) -> None:
    if name.lower().endswith(PICKLES):
        raise _pickle()


def _judge_count(found: dict[str, PackedFile]) -> None:
    if len(found) > MAX_FILES + 1:
        raise MethodError("The model file holds too many files.", "Choose a model with a card.json.")


def _with_card(found: dict[str, PackedFile]) -> dict[str, PackedFile]:
    if CARD_FILE not in found:
        raise _no_card()
    return found


def unknown_file(name: str) -> MethodError:
    """The error for a file that does not belong to a model; a name is shown without its folder."""
    shown = ascii(name.rstrip("/").split("/")[-1][:40])
    return MethodError(f"The model file holds something that is not part of it: {shown}.", "Remove it and try again.")


def _pickle() -> MethodError:
    return MethodError(
        "The model file holds a kind of file that can run code when it is loaded.",
        "Choose a model whose weights are safetensors files.",
    )


def _link() -> MethodError:
    return MethodError("The model file holds a link.", "Put the files themselves there.")


def _no_card() -> MethodError:
    return MethodError("The model has no card.json.", "Choose a zip file or a folder with a card.json.")
