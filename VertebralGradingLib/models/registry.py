"""The models that are installed: those that came with the program and those that the user imported.

A model is there as a whole or not at all: it is put together and verified in a hidden folder beside its place and
moved there by renaming. Importing and deleting may happen in several processes at once; the last one wins. Nothing here
uses the network or imports torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from VertebralGradingLib._version import __version__
from VertebralGradingLib.errors import InputError, MethodError, OutputError
from VertebralGradingLib.models import places
from VertebralGradingLib.models.cards import CARD_FILE, MAX_CARD_BYTES, Card, parse_card, version_number
from VertebralGradingLib.models.package import PackedFile, open_package, reading, unknown_file
from VertebralGradingLib.models.weights import check_file, check_size
from VertebralGradingLib.resources import resource

_CHUNK = 1 << 20
_AGAIN = "Get the model again from where it came from."


@dataclass(frozen=True)
class Model:
    """A model that is installed, or what is left of one.

    Attributes:
        name: the folder's name.
        version: "" where the card cannot be read, and so ``method``.
        method: the part of the program that uses it.
        bytes: size on disk.
        place: "shipped" with the program or "imported" by the user.
        complete: whether its files are there with their sizes, and the program is new enough. Checksums are compared
            by :meth:`verify` only.
        problem: what is wrong, as one sentence; "" when complete.
        folder: where it lies.
        card: None where it cannot be read.
    """

    name: str
    version: str
    method: str
    bytes: int
    place: Literal["shipped", "imported"]
    complete: bool
    problem: str
    folder: Path = field(repr=False)
    card: Card | None = field(repr=False, default=None)

    @property
    def checksum(self) -> str:
        """Short checksum of all files: the start of what ``sha256sum FILES | sha256sum`` prints; "" without a card."""
        if self.card is None:
            return ""
        lines = "".join(f"{item.sha256}  {item.file}\n" for item in self.card.files)
        return hashlib.sha256(lines.encode()).hexdigest()[:12]

    def path(self, file: str) -> Path:
        """Where one of its files lies; verify the model first.

        Raises:
            MethodError: its card lists no such file.
        """
        if self.card is None or file not in {item.file for item in self.card.files}:
            raise MethodError(f"The model {self.name} has no file {file}.", "Import a version that fits this program.")
        return self.folder / file

    def verify(self) -> Card:
        """Compare the checksum of every file and check what it is; to be called before anything is loaded.

        Returns:
            the card.

        Raises:
            MethodError: a file is missing, cut short, damaged or no safetensors file, the card cannot be used, or
                another process replaced the model since it was looked up.
        """
        if self.card is None or not self.complete:
            raise MethodError(f"The model {self.name} cannot be used. {self.problem}", _hint(self.place))
        try:
            for item in self.card.files:
                check_file(self.folder, item)
        except MethodError as error:
            if _read_model(self.folder, self.name, self.place).card not in (self.card, None):
                raise MethodError(f"The model {self.name} was replaced meanwhile.", "Try again.") from error
            raise
        return self.card

    def verified(self) -> Model:
        """The model itself where :meth:`verify` passes, else the same marked as not complete, with the problem."""
        try:
            self.verify()
        except MethodError as error:
            return replace(self, complete=False, problem=self.problem or error.message)
        return self

    def to_dict(self) -> dict[str, Any]:
        """What is known of it, as JSON can hold it; without its place on disk."""
        names = ("name", "version", "method", "bytes", "checksum", "place", "complete", "problem")
        known = {name: getattr(self, name) for name in names}
        return {**known, "card": None if self.card is None else self.card.to_dict()}


def list_models() -> tuple[Model, ...]:
    """Every model that is installed, by name, shipped before imported; broken ones with their problem, never an error.

    Where the folder of imported models itself cannot be read, one entry says so.
    """
    return tuple(sorted((*_shipped(), *_imported()), key=lambda model: (model.name, model.place != "shipped")))


def find_model(name: str) -> Model:
    """The model to use; an imported one takes the place of a shipped one unless that is newer.

    Args:
        name: of the model.

    Raises:
        MethodError: it is not installed, or is not complete.
    """
    found = [model for model in list_models() if model.name == name and model.folder.name == name]
    if not found:
        raise MethodError(f"The model {name} is not installed.", "Import it: vertebral-grading models import FILE.")
    chosen = found[-1]
    if len(found) > 1 and chosen.version and _is_newer(found[0].version, chosen.version):
        chosen = found[0]
    if not chosen.complete:
        raise MethodError(f"The model {name} cannot be used. {chosen.problem}", _hint(chosen.place))
    return chosen


def import_model(source: str | Path) -> Model:
    """Install a model from a zip file or a folder, whole and verified or not at all.

    An imported model of the same name, of whatever version, is replaced once the new one is verified.

    Args:
        source: holds ``card.json`` and the files it lists, and nothing else.

    Raises:
        MethodError: it is no model, is damaged, holds what no model may hold, needs a newer program, or is older than
            the one that came with the program.
        OutputError: it cannot be written: full disk, no permission.
    """
    root = places.imported_folder()
    with open_package(Path(source)) as files:
        content = _read_card(files)
        card = parse_card(content)
        _judge(card, files)
        staged = places.beside(root / card.name, "importing")
        try:
            with places.writing():
                root.mkdir(parents=True, exist_ok=True)
                places.sweep(root)
                staged.mkdir()
                (staged / CARD_FILE).write_bytes(content)
            for item in card.files:
                _copy(files[item.file], staged / item.file, item.bytes)
            _read_model(staged, card.name, "imported").verify()
            places.put(staged, root / card.name)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return _read_model(root / card.name, card.name, "imported")


def delete_model(name: str) -> None:
    """Delete an imported model.

    Raises:
        MethodError: it is not installed, or came with the program.
        OutputError: it cannot be deleted.
    """
    found = [model for model in list_models() if model.name == name and model.folder.name == name]
    if not found:
        raise MethodError("The model is not installed.", "See: vertebral-grading models list.")
    if found[-1].place == "shipped":
        raise MethodError(f"The model {name} came with the program and cannot be deleted.", "Nothing needs to be done.")
    places.take_away(found[-1].folder)


def _shipped() -> list[Model]:
    try:
        root = resource("models")
    except InputError:  # this version came without models
        return []
    return _models_in(root, "shipped")


def _imported() -> list[Model]:
    try:
        root = places.imported_folder()
    except OutputError:  # nowhere anything could have been imported to
        return []
    return _models_in(root, "imported")


def _models_in(root: Path, place: Literal["shipped", "imported"]) -> list[Model]:
    try:
        if place == "imported":
            places.restore(root)
        folders = [path for path in root.iterdir() if not path.name.startswith(".") and path.is_dir()]
    except FileNotFoundError:
        return []
    except OSError:
        problem = f"The folder of {place} models cannot be read."
        return [Model(f"({place} models)", "", "", 0, place, False, problem, root)]
    return [_read_model(folder, folder.name, place) for folder in folders]


def _read_model(folder: Path, name: str, place: Literal["shipped", "imported"]) -> Model:
    """A model as it lies on disk, whatever its state."""
    size, card, problem = 0, None, ""
    try:
        if folder.is_symlink():
            raise MethodError("Its folder is a link.")
        size = sum(path.lstat().st_size for path in folder.iterdir())
        if not (folder / CARD_FILE).is_file():
            raise MethodError("Its card.json is missing.")
        with (folder / CARD_FILE).open("rb") as file:
            card = parse_card(file.read(MAX_CARD_BYTES + 1))
        if card.name != name:
            raise MethodError("Its folder has another name than its card.")
        _judge_program(card)
        for item in card.files:
            check_size(folder, item)
    except MethodError as error:
        problem = error.message
    except OSError:
        problem = "Its files cannot be read."
    version, method = ("", "") if card is None else (card.version, card.method)
    return Model(name, version, method, size, place, not problem, problem, folder, card)


def _judge(card: Card, files: dict[str, PackedFile]) -> None:
    """Refuse, before anything is written, what cannot be installed."""
    _judge_program(card)
    expected = {item.file: item.bytes for item in card.files}
    for name in files.keys() - expected.keys() - {CARD_FILE}:
        raise unknown_file(name)
    for name, size in expected.items():
        if name not in files:
            raise MethodError(f"The model's file {name} is missing.", _AGAIN)
        if files[name].size != size:
            what = "cut short" if files[name].size < size else "too long"
            raise MethodError(f"The model's file {name} is {what}.", _AGAIN)
    for model in _shipped():
        if model.name == card.name and model.version and _is_newer(model.version, card.version):
            raise MethodError(
                f"The model {card.name} {card.version} is older than {model.version}, which came with the program.",
                "Nothing needs to be imported.",
            )


def _judge_program(card: Card) -> None:
    if _is_newer(card.min_program_version, __version__):
        raise MethodError(
            f"It needs VertebralGrading {card.min_program_version}; this is {__version__}.", "Update VertebralGrading."
        )


def _is_newer(one: str, other: str) -> bool:
    return version_number(one) > version_number(other)


def _read_card(files: dict[str, PackedFile]) -> bytes:
    with reading(), files[CARD_FILE].open() as file:
        return file.read(MAX_CARD_BYTES + 1)


def _copy(source: PackedFile, target: Path, size: int) -> None:
    """Copy at most ``size`` bytes; whether they are the right ones is found by verifying."""
    with contextlib.ExitStack() as stack:
        with reading():
            packed = stack.enter_context(source.open())
        with places.writing(), target.open("xb") as file:
            while size > 0:
                with reading():
                    block = packed.read(min(_CHUNK, size))
                if not block:
                    break
                size -= file.write(block)
            file.flush()
            os.fsync(file.fileno())


def _hint(place: str) -> str:
    return "Reinstall VertebralGrading." if place == "shipped" else "Delete it, or import it again."
