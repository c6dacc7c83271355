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
    across, along = np.ascontiguousarray(cost.swapaxes(0, 1)), cost
    ways = [way.swapaxes(0, 1) for way in _gather(np.stack([across, across[::-1, ::-1]]), (0, 0), steps, jump)]
    ways.extend(_gather(np.stack([along, along[::-1, ::-1]] * 3), (0, 0, 1, 1, -1, -1), steps, jump))
    total = np.zeros_like(cost)
    for n, way in enumerate(ways):
        total += way[::-1, ::-1] if n % 2 else way
    choice = total.argmin(axis=-1)
    best = np.take_along_axis(total, choice[..., None], -1)[..., 0]
    distance = np.abs(np.arange(cost.shape[-1]) - choice[..., None])
    rest = np.where(distance > 2, total, np.inf).min(axis=-1)
    return choice, (rest - best) / 8.0


def _gather(
    cost: NDArray[np.float32], sideways: tuple[int, ...], steps: tuple[float, ...], jump: float
) -> NDArray[np.float32]:
    """Cheapest way to each candidate of several sheets, row after row, coming from a sheet's edge.

    Args:
        cost: (sheets, a, b, n); all sheets are walked at once, since a row alone is too short for numpy to be quick.
        sideways: by how many columns each sheet's way moves with every row: 0, 1 or -1.
        steps: as in :func:`best_surface`.
        jump: as in :func:`best_surface`.
    """
    out = np.array(cost, copy=True)
    previous = np.zeros_like(out[:, 0])
    for a in range(1, cost.shape[1]):
        for sheet, step in enumerate(sideways):
            if step == 1:
                previous[sheet, 1:] = out[sheet, a - 1, :-1]
            elif step == -1:
                previous[sheet, :-1] = out[sheet, a - 1, 1:]
            else:
                previous[sheet] = out[sheet, a - 1]
        least = previous.min(axis=-1, keepdims=True)
        best = np.minimum(previous, least + jump)
        for shift, price in enumerate(steps[1:], start=1):
            dearer = previous + price
            np.minimum(best[..., shift:], dearer[..., :-shift], out=best[..., shift:])
            np.minimum(best[..., :-shift], dearer[..., shift:], out=best[..., :-shift])
        best += cost[:, a]
        np.subtract(best, least, out=out[:, a])
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
