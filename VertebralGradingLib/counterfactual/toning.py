"""The core of a body raised to grade 0, given its neighbours' grey: what was pressed together was denser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

Floats = NDArray[np.floating[Any]]

_SLOW_MM = 4.0
"""What changes more slowly is the core's tone, what changes faster its grain."""
_RIM_MM = (1.5, 3.5)
"""So near its edge a body keeps its own grey."""
_GRAIN_SDS = 2.0


@dataclass(frozen=True)
class Tone:
    """Grey of sound neighbours' cores.

    Attributes:
        hu: its median.
        sd_hu: standard deviation within a core.
    """

    hu: float
    sd_hu: float


def toned(image: Floats, mask: NDArray[np.bool_], tone: Tone, amount: float, spacing_mm: Any = 1.0) -> Floats:
    """A picture whose body has its neighbours' tone.

    Args:
        image: HU, of two or three axes.
        mask: the body in it.
        tone: the neighbours' grey.
        amount: 0 for none of it to 1.
        spacing_mm: between samples, one number or one for each axis.

    Returns:
        HU; the picture itself where ``amount`` is 0 or the body is empty.
    """
    if amount <= 0.0 or not mask.any():
        return image
    spacing = np.broadcast_to(np.asarray(spacing_mm, dtype=float), (image.ndim,))
    depth = distance_transform_edt(mask, sampling=spacing)
    weight = np.clip((depth - _RIM_MM[0]) / (_RIM_MM[1] - _RIM_MM[0]), 0.0, 1.0)
    sigma = _SLOW_MM / spacing
    slow = gaussian_filter(weight * image, sigma) / np.maximum(gaussian_filter(weight, sigma), 1e-3)
    grain = np.clip(image - slow, -_GRAIN_SDS * tone.sd_hu, _GRAIN_SDS * tone.sd_hu)
    return np.asarray(image + (amount * weight * (tone.hu + grain - image)).astype(image.dtype))
