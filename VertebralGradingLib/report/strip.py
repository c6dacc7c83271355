"""Counterfactuals as pictures: a strip of grades, and the same as an animation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.diffusion_autoencoder import WINDOW_HU
from VertebralGradingLib.image.png import tile
from VertebralGradingLib.report.pictures import difference_rgb

_ZOOM = 2


def strip(explained: dict[str, Any]) -> NDArray[np.uint8]:
    """(H, W, 3) the patch, its decode, and each grade; below every grade what changed.

    Args:
        explained: as :meth:`method.LatentGrading.explain` gives it.
    """
    decoded = explained["decoded"]
    above = [grey(explained["original"]), grey(decoded), *(grey(one) for one in explained["changed"])]
    empty = np.zeros_like(above[0])
    below = [empty, empty, *(coloured(one - decoded) for one in explained["changed"])]
    return tile([above, below])


def frames(explained: dict[str, Any]) -> list[NDArray[np.uint8]]:
    """(H, W, 3) one picture for each grade, there and back."""
    pictures = [tile([[grey(one), coloured(one - explained["decoded"])]]) for one in explained["changed"]]
    return pictures + pictures[-2:0:-1]


def grey(hu: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W) HU -> (2H, 2W) grey, in the window of the networks."""
    low, high = WINDOW_HU
    return _larger(((np.asarray(hu) - low) / (high - low) * 255.0).clip(0, 255).astype(np.uint8))


def coloured(change: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W) HU -> (2H, 2W, 3): white where nothing changed, red where brighter, blue where darker."""
    return _larger(difference_rgb(change))


def _larger(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(np.repeat(picture, _ZOOM, 0), _ZOOM, 1)
