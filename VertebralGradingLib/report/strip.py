"""Counterfactuals by the diffusion autoencoder as pictures: a strip of grades, and the same as an animation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.diffusion_autoencoder import WINDOW_HU
from VertebralGradingLib.report.canvas import BLACK, Canvas
from VertebralGradingLib.report.pictures import difference_rgb
from VertebralGradingLib.report.scales import change_bar

_ZOOM, _BAR, _GAP = 2, 22, 4
_SIZE = 12
_NOTE = (
    "Drawn by a network, not measured:",
    "no heights are known in these pictures.",
    "The warp tells them in mm",
    "(counterfactual --by warp).",
)


def strip(explained: dict[str, Any], level: str = "") -> NDArray[np.uint8]:
    """(H, W, 3) the patch, its redrawing, and each grade with its title; below every grade what the grade changed.

    Args:
        explained: as :meth:`method.LatentGrading.explain` gives it.
        level: of the vertebra.
    """
    images = [explained["original"], explained["decoded"], *explained["changed"]]
    grades = [f"drawn at grade {float(grade):.4g}" for grade in explained["wanted"]]
    titles = [f"{level} as it is".strip(), "redrawn unchanged", *grades]
    edge = _ZOOM * len(images[0])
    height, width = 2 * (_BAR + edge) + _GAP, len(images) * (edge + _GAP)
    canvas = Canvas(np.full((height, width, 3), 255, dtype=np.uint8))
    for n, (image, title) in enumerate(zip(images, titles, strict=True)):
        _put(canvas, (n * (edge + _GAP), 0), grey(image), title)
    top = _BAR + edge + _GAP
    for n, image in enumerate(explained["changed"], start=2):
        reached = f"graded {explained['reached'][n - 2]:.1f} by its own picture"
        _put(canvas, (n * (edge + _GAP), top), coloured(image - explained["decoded"]), reached)
    below = change_bar(canvas, (6, top + _BAR), min(edge, 220) - 24, "right: what the grade changed (HU)")
    for n, line in enumerate(_NOTE):
        canvas.text(6, below + 30 + 18 * n, line, _SIZE, BLACK)
    return _array(canvas)


def frames(explained: dict[str, Any]) -> list[NDArray[np.uint8]]:
    """(H, W, 3) one picture for each grade with its title and scale, there and back."""
    pictures = []
    for grade, image in zip(explained["wanted"], explained["changed"], strict=True):
        edge = _ZOOM * len(image)
        canvas = Canvas(np.full((_BAR + edge + 50, 2 * edge + _GAP, 3), 255, dtype=np.uint8))
        _put(canvas, (0, 0), grey(image), f"drawn at grade {float(grade):.4g}")
        _put(canvas, (edge + _GAP, 0), coloured(image - explained["decoded"]), "what the grade changed")
        change_bar(canvas, (edge + _GAP + 4, _BAR + edge + 2), edge - 12)
        pictures.append(_array(canvas))
    return pictures + pictures[-2:0:-1]


def grey(hu: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W) HU -> (2H, 2W) grey, in the window of the networks."""
    low, high = WINDOW_HU
    return _larger(((np.asarray(hu) - low) / (high - low) * 255.0).clip(0, 255).astype(np.uint8))


def coloured(change: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W) HU -> (2H, 2W, 3): white where nothing changed, red where brighter, blue where darker."""
    return _larger(difference_rgb(change))


def _put(canvas: Canvas, corner: tuple[int, int], picture: NDArray[np.uint8], title: str) -> None:
    """A picture with its title above it."""
    left, top = corner
    height, width = picture.shape[:2]
    rgb = picture if picture.ndim == 3 else picture[..., None]
    canvas.rgb[top + _BAR : top + _BAR + height, left : left + width] = rgb
    canvas.text(left + width / 2, top + 16, title, _SIZE, BLACK, "middle", bold=True)


def _array(canvas: Canvas) -> NDArray[np.uint8]:
    return np.rint(np.clip(canvas.rgb, 0, 255)).astype(np.uint8)


def _larger(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(np.repeat(picture, _ZOOM, 0), _ZOOM, 1)
