"""Grids of pictures as PNG, still or moving, with the standard library and numpy alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def tile(rows: Sequence[Sequence[NDArray[np.uint8]]], gap: int = 2) -> NDArray[np.uint8]:
    """Put pictures (H, W) or (H, W, 3) of one size side by side, row by row, on black."""
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    out = np.zeros((len(rows) * (height + gap), columns * (width + gap), 3), dtype=np.uint8)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
            out[r * (height + gap) : r * (height + gap) + height, c * (width + gap) : c * (width + gap) + width] = (
                colour
            )
    return out


def windowed(hu: NDArray[np.floating], center: float = 250.0, width: float = 1500.0) -> NDArray[np.uint8]:
    """HU as grey values of a bone window."""
    return ((np.asarray(hu) - center + width / 2) / width * 255).clip(0, 255).astype(np.uint8)


def outlined(grey: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A picture (H, W) or (H, W, 3) with the edge of a mask in a colour."""
    out = grey.copy() if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    out[mask & ~inner] = colour
    return out


def write_png(picture: NDArray[np.uint8], path: Path) -> None:
    """Write (H, W, 3) as PNG."""
    _write(path, [_head(picture), _chunk(b"IDAT", _lines(picture))])


def write_animation(frames: Sequence[NDArray[np.uint8]], path: Path, frame_ms: int = 120) -> None:
    """Write pictures (H, W, 3) of one size as an animated PNG that starts over and over again.

    Programs that know still PNGs only show the first frame (Animated PNG, W3C PNG 3rd edition, section 11.3.4).
    """
    height, width, _ = frames[0].shape
    chunks = [_head(frames[0]), _chunk(b"acTL", struct.pack(">II", len(frames), 0))]
    number = 0
    for place, frame in enumerate(frames):
        control = struct.pack(">IIIIIHHBB", number, width, height, 0, 0, frame_ms, 1000, 0, 0)
        chunks.append(_chunk(b"fcTL", control))
        number += 1
        if place == 0:
            chunks.append(_chunk(b"IDAT", _lines(frame)))
        else:
            chunks.append(_chunk(b"fdAT", struct.pack(">I", number) + _lines(frame)))
            number += 1
    _write(path, chunks)


def _head(picture: NDArray[np.uint8]) -> bytes:
    height, width, _ = picture.shape
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def _lines(picture: NDArray[np.uint8]) -> bytes:
    height = len(picture)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], axis=1)
    return zlib.compress(lines.tobytes(), 6)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write(path: Path, chunks: Sequence[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _chunk(b"IEND", b""))
