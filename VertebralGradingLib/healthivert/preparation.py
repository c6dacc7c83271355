"""Between HU and what the generators see, and the arch taken off a vertebra's mask. numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW_HU = (-300.0, 800.0)
"""Shown as -1 and 1 (sheet 2, section 2)."""


def to_network(hu: NDArray[Any]) -> NDArray[np.float32]:
    """HU of any shape -> -1..1."""
    low, high = WINDOW_HU
    return np.asarray((np.clip(hu, low, high) - low) * (2.0 / (high - low)) - 1.0, dtype=np.float32)


def to_hu(x: NDArray[Any]) -> NDArray[np.float32]:
    """-1..1 of any shape -> HU, within the window."""
    low, high = WINDOW_HU
    return np.asarray((np.clip(x, -1.0, 1.0) + 1.0) * ((high - low) / 2.0) + low, dtype=np.float32)


def without_arch(label: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A vertebra's mask without its posterior arch.

    From the body, the thickest part of the midline, one walks back; where the mask ends there, in front of the canal,
    it is cut off (sheet 2, section 2).

    Args:
        label: (rows, columns, depth) one vertebra, columns running posteriorly, depth to the left.

    Returns:
        of the same shape; as it is where the canal is not seen.
    """
    across = np.flatnonzero(label.any((0, 1)))
    if not len(across):
        return label.copy()
    middle = int((across[0] + across[-1]) // 2)
    midline = np.asarray(label[:, :, max(middle - 1, 0) : middle + 2].any((0, 2)))
    steps = np.diff(np.concatenate([[0], midline.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    out = label.copy()
    if len(starts):
        thick = [label[:, a:b, max(middle - 1, 0) : middle + 2].sum() for a, b in zip(starts, ends, strict=True)]
        out[:, ends[int(np.argmax(thick))] :] = False
    return out
