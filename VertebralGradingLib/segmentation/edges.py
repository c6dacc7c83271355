"""Edges along intensity profiles: how likely one is, whether another body's faces it, and where it lies exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

_HALF_DROP_HU = 90.0
"""A drop across an edge that counts half of the strongest one."""


def drop_cost(drop: NDArray[np.floating]) -> NDArray[np.float32]:
    """Cost in -1..1 of an outward intensity drop (HU)."""
    return (-drop / (np.abs(drop) + _HALF_DROP_HU)).astype(np.float32)


def outward_drop(profile: NDArray[np.float32], step: float, reach: float = 1.5) -> NDArray[np.float32]:
    """Mean over ``reach`` mm inside minus mean outside, along the last axis."""
    width = max(round(reach / step), 1)
    mean = uniform_filter1d(profile, width, axis=-1, mode="nearest")
    ahead = (width + 1) // 2
    inner = np.concatenate([np.repeat(mean[..., :1], ahead, -1), mean[..., :-ahead]], axis=-1)
    outer = np.concatenate([mean[..., ahead:], np.repeat(mean[..., -1:], ahead, -1)], axis=-1)
    return inner - outer


def facing_edge(cost: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cost (-1..0) of the best rising edge of the next body beyond each candidate, a disc's thickness away.

    Only the true endplate is followed by a disc and then by another endplate; the edges inside the next body, where
    a thin disc was crossed, are followed by its whole height. Along the last axis, 0.5 mm a sample.
    """
    best = np.zeros_like(cost)
    for samples in range(3, 37):
        rising = np.full_like(cost, 0.0)
        rising[..., :-samples] = -cost[..., samples:]
        np.minimum(best, rising + 0.02 * max(samples - 14, 0), out=best)
    return best


def half_maximum(
    profile: NDArray[np.float32], choice: NDArray[np.intp], step: float, reach: float = 2.5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sub-sample place of the half maximum nearest to the chosen sample, along the last axis.

    Returns:
        Fractional index, and the drop (HU) from the rim inside to the trough outside.
    """
    count = profile.shape[-1]
    width = round(reach / step)
    offsets = np.arange(-width, width + 1)
    index = np.clip(choice[..., None] + offsets, 0, count - 1)
    window = np.take_along_axis(profile, index, -1).astype(np.float64)
    inner = window[..., : width + 2].max(-1)
    outer = window[..., width - 1 :].min(-1)
    level = (inner + outer) / 2
    falls = (window[..., :-1] >= level[..., None]) & (window[..., 1:] < level[..., None])
    distance = np.where(falls, np.abs(offsets[:-1] + 0.5), np.inf)
    place = distance.argmin(-1)
    high = np.take_along_axis(window, place[..., None], -1)[..., 0]
    low = np.take_along_axis(window, place[..., None] + 1, -1)[..., 0]
    part = np.clip((high - level) / np.maximum(high - low, 1e-3), 0, 1)
    found = np.isfinite(np.take_along_axis(distance, place[..., None], -1)[..., 0])
    where = np.where(found, choice + offsets[place] + part, choice)
    return where, inner - outer
