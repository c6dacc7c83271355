"""What worker and client say to each other: one JSON object a line, arrays as ``.npy`` files. No transport here.

Requests have ``id`` and ``type``: ``grade``, ``explain``, ``cancel`` (with ``target``), ``info``, ``shutdown``.
Answers have the request's ``id`` and ``type``: ``ready`` (once, at start), ``progress``, ``finding`` (provisional),
then exactly one of ``result`` or ``error``. A cancelled ``grade`` answers ``result`` with ``cancelled: true`` and the
vertebrae that were finished. With ``arrays_folder`` the volumes of an explanation come as files in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import InputError, OutputError, VertebralGradingError
from VertebralGradingLib.image.volume import Volume, empty_grid
from VertebralGradingLib.segmentation.labels import Kind, VertebraLabels
from VertebralGradingLib.spine.points import Point

PROTOCOL = 1
"""Version told in ``ready``; a client refuses another."""

_FILE = "npy"
_VOLUME = 3
REQUESTS = ("grade", "explain", "cancel", "info", "shutdown")


class RemoteError(VertebralGradingError):
    """An error the worker reported, with its code, message and hint."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.code = code


def encode(message: dict[str, Any]) -> bytes:
    """One line of UTF-8."""
    return (json.dumps(message, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def decode(line: bytes | str) -> dict[str, Any]:
    """One message.

    Raises:
        InputError: not a JSON object.
    """
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    try:
        message = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError("A message between program and worker is not JSON.", "Restart the worker.") from error
    if not isinstance(message, dict):
        raise InputError("A message between program and worker is not an object.", "Restart the worker.")
    return message


def error_message(request_id: Any, error: BaseException) -> dict[str, Any]:
    """The answer to a request that failed: typed errors as they are, others as ``internal``."""
    if isinstance(error, VertebralGradingError):
        return {"id": request_id, "type": "error", "code": error.code, "message": error.message, "hint": error.hint}
    if isinstance(error, MemoryError):
        return {
            "id": request_id,
            "type": "error",
            "code": "memory",
            "message": "There is not enough memory.",
            "hint": "Close other programs or crop the CT around the spine.",
        }
    return {
        "id": request_id,
        "type": "error",
        "code": "internal",
        "message": f"The program failed ({type(error).__name__}).",
        "hint": "Copy the log and report it.",
    }


def write_array(array: NDArray[Any], folder: Path, name: str) -> str:
    """Store voxels (ni, nj, nk) for the other side to map; returns the file's path.

    Raises:
        OutputError: the folder is full, missing or read-only.
    """
    path = folder / f"{name}.npy"
    try:
        np.save(path, np.asfortranarray(array))  # a view is gathered once, not voxel by voxel
    except OSError as error:
        raise OutputError(
            "The image cannot be handed to the worker: the temporary folder is full or cannot be written.",
            "Free some space there, or choose another temporary folder in the program's settings.",
        ) from error
    return str(path)


def volume_message(array_path: str, affine: NDArray[np.float64]) -> dict[str, Any]:
    """A volume as a message: where its voxels are, and its (4, 4) voxel -> RAS mm affine."""
    return {"array": array_path, "affine": np.asarray(affine, dtype=float).tolist()}


def inputs_message(
    folder: Path,
    ct: Volume | None,
    points: Sequence[Point],
    mask: Volume | VertebraLabels | None = None,
    lowest: str | None = None,
    numbering: str = "auto",
) -> dict[str, Any]:
    """The fields of a request that say what is graded; voxels are stored in ``folder``.

    Raises:
        OutputError: as :func:`write_array`.
    """
    fields: dict[str, Any] = {"points": points_message(list(points)), "lowest": lowest}
    if ct is not None:
        fields["ct"] = volume_message(write_array(ct.array, folder, "ct"), ct.affine)
    if isinstance(mask, VertebraLabels):
        fields["mask"] = labels_message(mask, folder, "mask")
    elif mask is not None:
        fields["mask"] = {
            **volume_message(write_array(mask.array, folder, "mask"), mask.affine),
            "numbering": numbering,
        }
    return fields


def labels_message(labels: VertebraLabels, folder: Path, name: str) -> dict[str, Any]:
    """Labelled vertebrae as a message; their voxels are stored in ``folder``.

    Raises:
        OutputError: as :func:`write_array`.
    """
    message = volume_message(write_array(labels.volume.array, folder, name), labels.volume.affine)
    if labels.scan is not None:
        message["scan"] = {"shape": list(labels.scan.shape), "affine": labels.scan.affine.tolist()}
    return {**message, "names": {str(label): level for label, level in labels.names.items()}, "kind": labels.kind}


def read_labels_message(message: dict[str, Any]) -> VertebraLabels:
    """Labelled vertebrae from a message.

    Raises:
        InputError: the file is missing or damaged, or fields are wrong.
    """
    array, affine = map_array(message)
    try:
        names = {int(label): str(level) for label, level in message["names"].items()}
        scan = message.get("scan")
        grid = None if scan is None else empty_grid(scan["shape"], np.array(scan["affine"], dtype=float))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError("The labels' names cannot be read.", "Restart the worker.") from error
    kind: Kind = message.get("kind", "auto")
    return VertebraLabels(Volume(array, affine), names, kind, grid)


def loaded(labels: VertebraLabels) -> VertebraLabels:
    """The same labels in memory instead of in a mapped file."""
    return VertebraLabels(
        Volume(np.array(labels.volume.array), labels.volume.affine), labels.names, labels.kind, labels.scan
    )


def map_array(message: dict[str, Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Voxels (memory-mapped, never copied) and affine of a volume message.

    Raises:
        InputError: the file is missing or damaged, or fields are wrong.
    """
    try:
        array = np.load(message["array"], mmap_mode="r", allow_pickle=False)
        affine = np.array(message["affine"], dtype=np.float64)
    except (KeyError, OSError, TypeError, ValueError, EOFError) as error:
        raise InputError(
            "The worker cannot read the image it was sent.", "Check free space for temporary files."
        ) from error
    return array, affine


def explanation_message(answer: Mapping[str, Any], folder: str | None) -> dict[str, Any]:
    """An explanation as a message: arrays as lists, numbers that are none as null; volumes as files, with a folder.

    Raises:
        OutputError: as :func:`write_array`.
    """
    out = {}
    for name, value in answer.items():
        if folder is not None and isinstance(value, np.ndarray) and value.ndim == _VOLUME:
            out[name] = {_FILE: write_array(value, Path(folder), name)}
        else:
            out[name] = _plain(value)
    return out


def read_explanation(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An explanation from a message, its volumes in memory.

    Raises:
        InputError: a file is missing or damaged.
    """
    out = {}
    for name, value in answer.items():
        if isinstance(value, dict) and set(value) == {_FILE}:
            try:
                out[name] = np.load(str(value[_FILE]), allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise InputError(
                    "A picture of the worker cannot be read.", "Check free space for temporary files."
                ) from error
        else:
            out[name] = value
    return out


def _plain(value: Any) -> Any:
    """Arrays as lists; numbers that are none become null, which JSON knows."""
    if isinstance(value, np.ndarray):
        known = value.astype(object)
        if value.dtype.kind == "f":
            known[~np.isfinite(value)] = None
        return known.tolist()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def points_message(points: list[Point]) -> list[dict[str, Any]]:
    """Centroids as a message."""
    return [{"position": list(point.position), "level": point.level, "label": point.label} for point in points]


def read_points_message(items: Any) -> list[Point]:
    """Centroids from a message.

    Raises:
        InputError: wrong fields.
    """
    try:
        points = []
        for item in items:
            x, y, z = (float(value) for value in item["position"])
            points.append(Point((x, y, z), item.get("level"), str(item.get("label", ""))))
        return points
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError("The worker cannot read the centroids it was sent.", "Restart the worker.") from error
