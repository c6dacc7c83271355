"""What the seeds say about a body's size before it is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Size:
    """What the seeds say about a body's size (mm): distance to both endplates, radius front to back and sideways."""

    up: float
    down: float
    radius_ap: float
    radius_lr: float


def expected_size(spacing_up: float | None, spacing_down: float | None) -> Size:
    """Rough size of a body from the distance to its neighbours' centroids.

    A body takes about 0.80 of the step between centroids, the disc the rest. Without neighbours that of L1 is taken.
    """
    known = [step for step in (spacing_up, spacing_down) if step is not None]
    mean = float(np.mean(known)) if known else 33.0
    up = spacing_up if spacing_up is not None else mean
    down = spacing_down if spacing_down is not None else mean
    radius = float(np.clip(0.42 * mean + 3.5, 10.0, 17.5))
    width = radius * float(np.clip(1.02 + 0.018 * (mean - 20.0), 1.0, 1.4))
    return Size(0.41 * up, 0.41 * down, radius, width)
