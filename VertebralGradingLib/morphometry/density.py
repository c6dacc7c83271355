"""CT numbers inside a body: the trabecular core, and foreign material."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.body import STEP_MM, BodyMask

METAL_HU = 2000.0
"""Above any bone."""
DENSE_HU = 700.0
"""Trabecular bone never reaches this over a large part of the core; cement does."""
_METAL_SHARE = 0.004
_DENSE_SHARE = 0.12
_AROUND = 4
"""Metal is looked for so many samples around the body."""


@dataclass(frozen=True)
class Density:
    """CT numbers of one body.

    Attributes:
        trabecular_hu: mean of the core, None when it is too small. Contrast medium, tube voltage and fractures
            change it; it is no bone mineral density.
        trabecular_sd_hu: standard deviation in the core.
        foreign: whether metal or cement was found in or around the body.
    """

    trabecular_hu: float | None
    trabecular_sd_hu: float | None
    foreign: bool


def body_density(ct: Volume, body: BodyMask, margin_mm: float = 4.0) -> Density:
    """Measure the core (``margin_mm`` inside every edge) and look for metal or cement."""
    from scipy.ndimage import binary_dilation, distance_transform_edt

    box = body.box(margin=_AROUND + 1)
    solid = body.occupancy[box] >= 0.5
    part = body.grid.box([side.start for side in box], [side.stop for side in box])
    values = sample(ct, part.points())
    depth = distance_transform_edt(solid, sampling=STEP_MM)
    core = depth > margin_mm
    if core.sum() * np.prod(STEP_MM) < 500.0:
        core = depth > margin_mm / 2
    around = binary_dilation(solid, iterations=_AROUND)
    metal = float((values[around] > METAL_HU).mean()) if around.any() else 0.0
    if core.sum() * np.prod(STEP_MM) < 200.0:
        return Density(None, None, metal > _METAL_SHARE)
    inner = values[core]
    dense = float((inner > DENSE_HU).mean())
    return Density(float(inner.mean()), float(inner.std()), metal > _METAL_SHARE or dense > _DENSE_SHARE)
