"""How like the unbroken vertebra what was drawn of it is, in the middle sagittal slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.evaluation.flat import Image, around, psnr, ssim
from VertebralGradingLib.healthivert.fusion import DrawnStack
from VertebralGradingLib.healthivert.preparation import to_hu, to_network
from VertebralGradingLib.healthivert.pseudo_healthy import PseudoHealthy
from VertebralGradingLib.healthivert.stacks import INSIDE, Stack
from VertebralGradingLib.healthivert.synthesis import ViewNetworks

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Likeness:
    """Of one slice.

    Attributes:
        dice: of the bodies.
        height_error: rows from the highest to the lowest, relative to the true ones (signed).
        ssim, psnr_db: inside the unbroken body with its endplates; NaN for what draws no image.
    """

    dice: float
    height_error: float
    ssim: float = float("nan")
    psnr_db: float = float("nan")


def pseudo_healthy_patch(networks: ViewNetworks, patch: Image, mask: Bools, position: float) -> Image:
    """A sagittal patch through the middle of a vertebra, with the vertebra as the generators draw it, in its place.

    Args:
        networks: of the sagittal view.
        patch: (S, S) HU.
        mask: (S, S) its body.
        position: on the axis of levels.

    Returns:
        (S, S) HU; the patch itself where the gap does not fit.
    """
    one, zero = np.asarray(patch, dtype=np.float32)[None], np.zeros(1)
    stack = Stack("sagittal", zero, one, mask[None].astype(np.float32), None, None, zero, position)
    try:
        drawn = networks.draw(stack)
    except MaskError:
        return np.asarray(patch, dtype=np.float32)  # the vertebra leaves no room for the gap: nothing is drawn
    at = np.arange(len(patch)) - drawn.middle[0]
    return np.asarray(to_hu(_closed(drawn, 0, at)), dtype=np.float32)


def _closed(drawn: DrawnStack, n: int, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of a drawn slice in -1..1, its gap closed at the predicted height, so far below the vertebra's middle."""
    beyond = np.sign(at) * np.maximum(np.abs(at) - drawn.height[n] / 2, 0.0)
    inside = np.abs(at) <= drawn.height[n] / 2
    half = (drawn.last[n] - drawn.first[n] + 1) / 2
    context = drawn.middle[n] + np.sign(at) * half + beyond
    return np.where(inside[:, None], _rows(drawn.fine[n], drawn.middle[n] + at), _rows(drawn.context[n], context))


def likeness(drawn: DrawnStack, true: Stack, neighbours: PseudoHealthy | None) -> dict[str, Likeness]:
    """Compare the middle slice; bodies are brought over each other by their middles.

    Args:
        drawn: sagittal slices.
        true: the slice through the middle of the same vertebra before it broke.
        neighbours: the baseline's heights.
    """
    n = int(np.flatnonzero(drawn.offsets_mm == 0.0)[0])
    target, image = true.own[0] >= INSIDE, to_hu(to_network(true.hu[0]))
    rows = np.flatnonzero(target.any(1))
    if not len(rows):
        return {}
    middle, height = (rows[0] + rows[-1]) / 2, len(rows)
    size = len(target)
    at = np.arange(size) - middle  # rows of the true slice, from the body's middle
    picture = _closed(drawn, n, at)
    top, bottom = (edge[n] - drawn.middle[n] for edge in drawn.edges())
    body = (at[:, None] >= top) & (at[:, None] <= bottom)
    region = around(target)
    made = to_hu(picture)
    out = {
        "healthivert": Likeness(
            _dice(body, target),
            float(drawn.height[n] / height - 1.0),
            ssim(made, image, region),
            psnr(made, image, region),
        )
    }
    if neighbours is not None:
        out["neighbours"] = Likeness(*_of_heights(neighbours, target, at, height))
    return out


def _of_heights(found: PseudoHealthy, target: Bools, at: NDArray[np.float64], height: int) -> tuple[float, float]:
    """Dice and height error of the baseline's middle column heights, centred on the body."""
    across = np.flatnonzero(np.isfinite(found.healthy_mm).any(0))
    middle = int(across.mean())
    near = found.healthy_mm[:, middle - 1 : middle + 2]
    known = np.flatnonzero(np.isfinite(near).any(1))
    heights = np.full(len(near), np.nan)
    heights[known] = np.nanmean(near[known], axis=1)
    columns = np.flatnonzero(target.any(0))
    place = np.linspace(known[0], known[-1], len(columns))
    wide = np.full(target.shape[1], np.nan)
    wide[columns] = np.interp(place, known, heights[known])
    body = np.abs(at[:, None]) <= wide / 2
    return _dice(body, target), float(np.nanmax(wide) / height - 1.0)


def _rows(image: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of an image at fractional places, the outermost repeated."""
    at = np.clip(at, 0, len(image) - 1)
    low = np.minimum(np.floor(at).astype(int), len(image) - 2)
    part = (at - low)[:, None]
    return np.asarray(image[low] * (1 - part) + image[low + 1] * part, dtype=float)


def _dice(one: Bools, other: Bools) -> float:
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))
