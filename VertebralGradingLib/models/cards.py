"""The card of a learned model: what it is, which files belong to it, what it was trained on and what was measured.

A model is one folder ``NAME/`` with ``card.json`` and safetensors files. The card is one JSON object in UTF-8; these
keys and no others are allowed, and all but ``config`` are required:

=====================  =====================================================================================
``schema``             "vertebral-grading/model-card/1"
``name``               the folder's name: lower-case letters, digits, ``-`` and ``_``, at most 64
``version``            "MAJOR.MINOR.PATCH"
``method``             the part of the program that uses it, written like ``name``
``summary``            one sentence
``min_program_version``  the first version of VertebralGrading that can use it, "MAJOR.MINOR.PATCH"
``files``              one or more of {"file": "NAME.safetensors", "sha256": 64 lower-case hex digits, "bytes": integer}
``license``            SPDX identifier, such as "Apache-2.0"
``license_text``       the license, or a summary of it and of whom to name
``trained_on``         data the weights were fitted to and models were selected on
``figures``            list of {"name", "value": number, "interval": [low, high] or null, "data", "command"}
``config``             what the model's own code needs to use it: layout of the network, spacing, window
=====================  =====================================================================================

The checksums tell a damaged file from a whole one. They are no signature: whoever makes a model can make its card.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from VertebralGradingLib.errors import MethodError

SCHEMA = "vertebral-grading/model-card/1"
CARD_FILE = "card.json"
MAX_CARD_BYTES = 1_000_000
MAX_FILES = 64
MAX_MODEL_BYTES = 4 * 1024**3
"""Of all files of a model together."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FILE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\.safetensors")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")  # not file names on Windows
_VERSION = re.compile(r"(0|[1-9][0-9]{0,5})(\.(0|[1-9][0-9]{0,5})){2}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # would move a terminal's cursor, or is no text


@dataclass(frozen=True)
class WeightFile:
    """One file of a model.

    Attributes:
        file: its name.
        sha256: its checksum, 64 lower-case hex digits.
        bytes: its size.
    """

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Figure:
    """One measured quantity.

    Attributes:
        name: what was measured.
        value: the result.
        interval: its 90 % interval, where there is one.
        data: on what it was measured.
        command: how to measure it again.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    data: str
    command: str


@dataclass(frozen=True)
class Card:
    """The content of ``card.json``; the module's text describes each field."""

    name: str
    version: str
    method: str
    summary: str
    min_program_version: str
    files: tuple[WeightFile, ...]
    license: str
    license_text: str
    trained_on: str
    figures: tuple[Figure, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """The card's JSON object."""
        content = {"schema": SCHEMA, **vars(self)}
        content["files"] = [vars(item) for item in self.files]
        content["figures"] = [vars(item) for item in self.figures]
        return content

    def to_json(self) -> bytes:
        """The card as a file's content.

        Raises:
            MethodError: a field does not keep to the schema, so that no card is written that cannot be read.
        """
        data = _encode(self.to_dict())
        parse_card(data)
        return data


def parse_card(content: bytes) -> Card:
    """Read and check a card.

    Args:
        content: of ``card.json``.

    Raises:
        MethodError: it is not JSON, or does not keep to the schema.
    """
    if len(content) > MAX_CARD_BYTES:
        raise _invalid("it is too large")
    try:
        read = json.loads(content.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is not JSON") from error
    card = _Fields("it", read)
    if card.take("schema") != SCHEMA:
        raise _invalid("its schema is another one", "A newer version of VertebralGrading may read it.")
    files = tuple(_weight_file(item) for item in card.items("files"))
    figures = tuple(_figure(item) for item in card.items("figures"))
    result = Card(
        name=card.matching("name", _NAME),
        version=card.matching("version", _VERSION),
        method=card.matching("method", _NAME),
        summary=card.text("summary"),
        min_program_version=card.matching("min_program_version", _VERSION),
        files=files,
        license=card.text("license"),
        license_text=card.text("license_text"),
        trained_on=card.text("trained_on"),
        figures=figures,
        config=card.config(),
    )
    card.end()
    if not 0 < len(files) <= MAX_FILES:
        raise _invalid(f"it lists {len(files)} files, not 1 to {MAX_FILES}")
    if len({item.file for item in files}) < len(files):
        raise _invalid("it lists a file twice")
    if sum(item.bytes for item in files) > MAX_MODEL_BYTES:
        raise _invalid("the model is too large")
    return result


def version_number(version: str) -> tuple[int, ...]:
    """Numbers to compare versions by: "0.12.1" and "0.12.1rc1" are (0, 12, 1)."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[^0-9.]", version)[0])[:3])


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Hook for :func:`json.loads`: an object that names a key twice says two things at once.

    Raises:
        ValueError: it does.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


class _Fields:
    """The fields of one JSON object, taken out one by one; each way out is a typed error that names the field."""

    def __init__(self, where: str, content: Any) -> None:
        if not isinstance(content, dict):
            raise _invalid(f"{where} is not an object")
        self._left, self._where = dict(content), where

    def take(self, key: str) -> Any:
        if key not in self._left:
            raise _invalid(f"{self._where} lacks {key!r}")
        return self._left.pop(key)

    def text(self, key: str) -> str:
        value = self.take(key)
        if not isinstance(value, str) or not value.strip() or _CONTROL.search(value):
            raise _invalid(f"{key!r} is not a text")
        return value

    def matching(self, key: str, pattern: re.Pattern[str]) -> str:
        value = self.text(key)
        if not pattern.fullmatch(value) or _DEVICES.fullmatch(value):
            raise _invalid(f"{key!r} is not written as it must be")
        return value

    def number(self, key: str) -> float:
        return _number(key, self.take(key))

    def items(self, key: str) -> list[_Fields]:
        value = self.take(key)
        if not isinstance(value, list):
            raise _invalid(f"{key!r} is not a list")
        return [_Fields(f"an item of {key!r}", item) for item in value]

    def config(self) -> dict[str, Any]:
        value = self._left.pop("config", {})
        if not isinstance(value, dict):
            raise _invalid("'config' is not an object")
        _encode(value)
        return value

    def end(self) -> None:
        if self._left:
            raise _invalid(f"{self._where} has {len(self._left)} fields that do not belong there")


def _weight_file(item: _Fields) -> WeightFile:
    size = item.take("bytes")
    if isinstance(size, bool) or not isinstance(size, int) or size <= 0:
        raise _invalid("'bytes' is not a size")
    found = WeightFile(item.matching("file", _FILE), item.matching("sha256", _SHA256), size)
    item.end()
    return found


def _figure(item: _Fields) -> Figure:
    bounds, interval = item.take("interval"), None
    if bounds is not None:
        if not isinstance(bounds, list) or len(bounds) != 2:
            raise _invalid("'interval' is not two numbers")
        interval = (_number("interval", bounds[0]), _number("interval", bounds[1]))
        if interval[0] > interval[1]:
            raise _invalid("'interval' is upside down")
    found = Figure(item.text("name"), item.number("value"), interval, item.text("data"), item.text("command"))
    item.end()
    return found


def _number(key: str, value: Any) -> float:
    if type(value) not in (int, float) or abs(value) > 1e300 or math.isnan(value):
        raise _invalid(f"{key!r} is not a number")
    return value


def _encode(content: Mapping[str, Any]) -> bytes:
    try:
        return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid("it holds what JSON cannot") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _invalid(what: str, hint: str = "Get the model again from where it came from.") -> MethodError:
    return MethodError(f"The model's card cannot be used: {what}.", hint)
