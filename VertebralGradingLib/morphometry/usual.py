"""How deep an endplate usually is, so that a depression can be told from a bowl that the patient was born with.

Usual is what the patient's own sound vertebrae show, the nearer ones counting more, together with a published mean
that counts as much as one vertebra: 0.7 mm for the superior and 1.5 mm for the inferior endplate (Wang et al., Eur
Spine J 2012;21:2316, 591 lumbar endplates of men; a disc's caudal endplate is a vertebra's superior one). No thoracic
number was found, so that these are used there too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PUBLISHED_MM = {"superior": 0.7, "inferior": 1.5}
"""Mean depth of lumbar endplates (Wang et al. 2012)."""
REACH_LEVELS = 3.0
"""Standard deviation (levels) of the weight that neighbours have."""
MARGIN_MM = {"thoracic": 1.0, "lumbar": 1.5}
"""An endplate deeper than usual by more is depressed. Chosen in steps of 0.5 mm, so that few unbroken synthetic ones
are: 0.6 and 1.9 % of thoracic, 3.8 and 1.9 % of lumbar ones, superior and inferior
(``Testing/benchmarks/endplate_depression.py --spines 60``)."""


def usual_depths(
    endplate: str, places: NDArray[np.float64], depths_mm: NDArray[np.float64], sound: Sequence[bool]
) -> NDArray[np.float64]:
    """Usual depth (n,) in mm of one endplate of each vertebra; no vertebra tells its own.

    Args:
        endplate: "superior" or "inferior".
        places: (n,) places on the axis of levels, or numbers from cranial to caudal.
        depths_mm: (n,) as measured (:class:`endplates.Endplate`).
        sound: (n,) which are unbroken and may tell what is usual.
    """
    weights = np.exp(-0.5 * ((places[:, None] - places[None, :]) / REACH_LEVELS) ** 2) * np.asarray(sound, dtype=float)
    np.fill_diagonal(weights, 0.0)
    return np.asarray((weights @ depths_mm + PUBLISHED_MM[endplate]) / (weights.sum(1) + 1.0), dtype=np.float64)


def margin_mm(level: str) -> float:
    """By how much an endplate may be deeper than usual; levels without a name are judged as lumbar ones."""
    return MARGIN_MM["thoracic" if level.startswith("T") else "lumbar"]


def wedge_degrees(anterior_mm: float, posterior_mm: float, apart_mm: float) -> float:
    """Angle between the endplates by two heights (degrees), positive where the body is lower in front.

    Args:
        anterior_mm: height.
        posterior_mm: height.
        apart_mm: distance between where they were measured.
    """
    return float(np.degrees(np.arctan2(posterior_mm - anterior_mm, apart_mm)))
