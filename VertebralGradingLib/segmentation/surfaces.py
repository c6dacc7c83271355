"""Optimal smooth surfaces through a cost volume, by scan-line dynamic programming.

Every column of a 2-D sheet chooses one of n candidates; neighbouring columns should choose alike. Costs are gathered
along eight straight paths through the sheet and summed, as in semi-global matching (Hirschmueller, IEEE TPAMI 2008,
10.1109/TPAMI.2007.1166), which is close to the true minimum and needs no graph library.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEP_COST = (0.0, 0.02, 0.07, 0.18, 0.3)
_JUMP_COST = 0.6


def best_surface(
    cost: NDArray[np.float32], wrap: bool = False, steps: tuple[float, ...] = _STEP_COST, jump: float = _JUMP_COST
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Choose a candidate in each column.

    Args:
        cost: (a, b, n) cost of candidate n in column (a, b), of order 1; zero everywhere where nothing is known.
        wrap: whether axis 0 is a circle.
        steps: cost of neighbours that differ by 0, 1, 2, ... candidates.
        jump: cost of any larger difference.

    Returns:
        (a, b) chosen candidate, and (a, b) margin: how much the second choice (three or more candidates away) costs.
    """
    if wrap:
        turn = min(cost.shape[0] // 2, 16)
        padded = np.concatenate([cost[-turn:], cost, cost[:turn]], axis=0)
        choice, margin = best_surface(padded, False, steps, jump)
        return choice[turn:-turn], margin[turn:-turn]
    total = np.zeros_like(cost)
    for direction in ((0, 1), (1, 0), (1, 1), (1, -1)):
        total += _gather(cost, direction, steps, jump)
        flipped = _gather(cost[::-1, ::-1], direction, steps, jump)
        total += flipped[::-1, ::-1]
    choice = total.argmin(axis=-1)
    best = np.take_along_axis(total, choice[..., None], -1)[..., 0]
    distance = np.abs(np.arange(cost.shape[-1]) - choice[..., None])
    rest = np.where(distance > 2, total, np.inf).min(axis=-1)
    return choice, (rest - best) / 8.0


def _gather(
    cost: NDArray[np.float32], direction: tuple[int, int], steps: tuple[float, ...], jump: float
) -> NDArray[np.float32]:
    """Cheapest way to each candidate along one direction, coming from the sheet's edge."""
    step_a, step_b = direction
    if step_a == 0:
        swapped = np.ascontiguousarray(cost.swapaxes(0, 1))
        return _gather(swapped, (1, 0), steps, jump).swapaxes(0, 1)
    out = np.array(cost, copy=True)
    count = cost.shape[2]
    for a in range(1, cost.shape[0]):
        previous = out[a - 1]
        if step_b == 1:
            previous = np.concatenate([np.zeros((1, count), previous.dtype), previous[:-1]])
        elif step_b == -1:
            previous = np.concatenate([previous[1:], np.zeros((1, count), previous.dtype)])
        least = previous.min(axis=1, keepdims=True)
        best = np.minimum(previous, least + jump)
        for shift, price in enumerate(steps[1:], start=1):
            np.minimum(best[:, shift:], previous[:, :-shift] + price, out=best[:, shift:])
            np.minimum(best[:, :-shift], previous[:, shift:] + price, out=best[:, :-shift])
        out[a] = cost[a] + best - least
    return out


def smooth_sheet(values: NDArray[np.float64], weights: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Weighted Gaussian smoothing of a sheet (a, b); columns of weight 0 are filled from their neighbours."""
    from scipy.ndimage import gaussian_filter

    top = gaussian_filter(np.where(weights > 0, values, 0.0) * weights, sigma, mode="nearest")
    bottom = gaussian_filter(weights, sigma, mode="nearest")
    return np.where(bottom > 1e-6, top / np.maximum(bottom, 1e-6), values)


def quadratic_fit(
    sheet: NDArray[np.float64],
    used: NDArray[np.bool_],
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    scale_mm: float = 0.4,
) -> NDArray[np.float64]:
    """Robust quadratic surface through a sheet, evaluated everywhere; pits and lips count little (Cauchy weights).

    Args:
        sheet: (a, b) heights (mm).
        used: (a, b) which of them to fit.
        u: (a, b) first coordinate (mm).
        v: (a, b) second coordinate (mm).
        scale_mm: smallest residual that counts as typical.
    """
    x, y = u / 20.0, v / 20.0
    terms = np.stack([np.ones_like(x), x, y, x * y, x**2, y**2], axis=-1)
    design, target = terms[used], sheet[used]
    weight = np.ones(len(target))
    fit = np.zeros(6)
    for step in range(15):
        kept = design[:, :3] if step < 4 else design  # the plane first, so that a pit does not bend the surface
        fit = np.zeros(6)
        fit[: kept.shape[1]] = np.linalg.lstsq(kept * weight[:, None], target * weight, rcond=None)[0]
        rest = target - design @ fit
        scale = max(1.4826 * float(np.median(np.abs(rest))), scale_mm)
        weight = 1.0 / np.sqrt(1.0 + (rest / (1.5 * scale)) ** 2)
    return terms @ fit
