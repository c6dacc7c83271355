"""Checking a file of weights before anything loads it, with the standard library alone.

A safetensors file is 8 bytes (length of the header, little-endian), the header (JSON: name -> dtype, shape and place of
each tensor), and the tensors' bytes, one after another and nothing else.
Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VertebralGradingLib.errors import MethodError
from VertebralGradingLib.models.cards import WeightFile, unique_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPE_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
_NUMPY = {"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "u2", "I16": "i2", "U32": "u4", "I32": "i4", "U64": "u8",
          "I64": "i8", "F16": "f2", "F32": "f4", "F64": "f8"}  # fmt: skip
MAX_HEADER_BYTES = 10_000_000
_CHUNK = 1 << 20
_AGAIN = "Import the model again, or reinstall VertebralGrading if it came with it."


@dataclass(frozen=True)
class Tensor:
    """One array of a file.

    Attributes:
        dtype: a key of :data:`DTYPE_BYTES`.
        shape: its shape.
        begin: place of its first byte in the file.
        end: place behind its last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def describe_file(path: str | Path) -> WeightFile:
    """Name, checksum and size of a file, for a card.

    Raises:
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with Path(path).open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
            size += len(block)
    return WeightFile(Path(path).name, digest.hexdigest(), size)


def check_file(folder: Path, expected: WeightFile) -> None:
    """Check size, checksum and header of a file.

    Args:
        folder: the model's folder.
        expected: what the card says.

    Raises:
        MethodError: the file is missing, unreadable, cut short, or damaged, or is no safetensors file.
    """
    check_size(folder, expected)
    path = folder / expected.file
    try:
        found = describe_file(path)
    except OSError as error:
        raise MethodError(f"The model's file {expected.file} cannot be read.", _AGAIN) from error
    if found != expected:
        raise MethodError(f"The model's file {expected.file} is damaged: its checksum is another one.", _AGAIN)
    read_header(path)


def check_size(folder: Path, expected: WeightFile) -> None:
    """Check that a file is there and as long as its card says; costs no reading.

    Raises:
        MethodError: it is missing, is a link, or has another size.
    """
    path = folder / expected.file
    try:
        if path.is_symlink() or not path.is_file():
            raise MethodError(f"The model's file {expected.file} is missing.", _AGAIN)
        size = path.stat().st_size
    except OSError as error:
        raise MethodError(f"The model's file {expected.file} cannot be read.", _AGAIN) from error
    if size < expected.bytes:
        raise MethodError(
            f"The model's file {expected.file} is cut short: {size} of {expected.bytes} bytes are there.", _AGAIN
        )
    if size > expected.bytes:
        raise MethodError(f"The model's file {expected.file} is damaged: it is too long.", _AGAIN)


def read_header(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name, from its header; their bytes are not read.

    Raises:
        MethodError: the file cannot be read, or its header is not what the format asks for.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise _wrong(path, "its header has no possible length")
            text = file.read(length)
    except OSError as error:
        raise MethodError(f"The model's file {path.name} cannot be read.", _AGAIN) from error
    try:
        content = json.loads(text.decode("utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise _wrong(path, "its header is not JSON") from error
    if not isinstance(content, dict):
        raise _wrong(path, "its header is not an object")
    content.pop("__metadata__", None)
    tensors = {name: _tensor(path, item, 8 + length) for name, item in content.items()}
    place = 8 + length
    for tensor in sorted(tensors.values(), key=lambda item: (item.begin, item.end)):
        if tensor.begin != place:
            raise _wrong(path, "its arrays overlap or leave gaps")
        place = tensor.end
    if place != size or not tensors:
        raise _wrong(path, "its arrays do not fill it")
    return tensors


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a safetensors file by name, floats of 16 bit as float32; verify the model first.

    Raises:
        MethodError: the file cannot be read, is no safetensors file, or holds a type that numpy has not.
    """
    import numpy as np

    tensors = read_header(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MethodError(f"The model's file {path.name} cannot be read.", _AGAIN) from error
    arrays = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in _NUMPY:
            raise _wrong(path, f"an array has the type {tensor.dtype}")
        kind = np.dtype(_NUMPY[tensor.dtype]).newbyteorder("<")
        array = np.frombuffer(content[tensor.begin : tensor.end], kind).reshape(tensor.shape)
        arrays[name] = array.astype(np.float32 if tensor.dtype == "F16" else kind.newbyteorder("="))
    return arrays


def _tensor(path: Path, item: Any, start: int) -> Tensor:
    if not isinstance(item, dict) or item.keys() != {"dtype", "shape", "data_offsets"}:
        raise _wrong(path, "an array is not described")
    dtype, shape, offsets = item["dtype"], item["shape"], item["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise _wrong(path, "an array has an unknown type")
    if not _are_sizes(shape) or len(shape) > 16 or not _are_sizes(offsets) or len(offsets) != 2:
        raise _wrong(path, "an array has no shape or place")
    if offsets[1] - offsets[0] != math.prod(shape) * DTYPE_BYTES[dtype]:
        raise _wrong(path, "an array has another size than its shape")
    return Tensor(dtype, tuple(shape), start + offsets[0], start + offsets[1])


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _wrong(path: Path, what: str) -> MethodError:
    return MethodError(f"The model's file {path.name} is no safetensors file: {what}.", _AGAIN)
