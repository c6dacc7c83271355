"""What the body network reads in a picture: a check that is not told which grade was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.counterfactual.request import Health
from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.heights import measure
from VertebralGradingLib.segmentation.finders import choose_finder

READ_APART = (0.15, 0.70, 0.93, 0.58)
"""For pictures of grade 0, 1, 2 and 3: 90 % of true ones that are read lie no farther from the grade they have.

Measured on synthetic vertebrae of other spines than any table shows: ``Testing/benchmarks/read_true_pictures.py``.
"""
_HALF_WIDTH_MM, _SIDE_MM, _BESIDE_HU = 20, 32, 40.0
_LEAST_CONFIDENCE = 0.5
"""Of a body that is taken for one."""


@dataclass(frozen=True, eq=False)
class FlatBody:
    """The body in the middle of a patch.

    Attributes:
        heights_mm: (3,) anterior, middle, posterior.
        mask: (N, N) where it is.
    """

    heights_mm: NDArray[np.float64]
    mask: NDArray[np.bool_]


def flat_body(patch: NDArray[Any]) -> FlatBody | None:
    """Find and measure the body in the middle of a sagittal patch by the body network; None where there is none.

    The patch is drawn out sideways to a block as wide as a vertebra, with soft tissue beside it, so that what was made
    for CTs can be used.

    Args:
        patch: (N, N) HU at 1 mm, rows caudal, columns posterior.

    Raises:
        MethodError: the body network is not installed.
    """
    beside = np.arange(-_SIDE_MM, _SIDE_MM + 1)
    block = np.repeat(np.asarray(patch, dtype=np.float32)[::-1, ::-1].T[None], len(beside), 0)
    wide = np.abs(beside) > _HALF_WIDTH_MM
    block[wide] = np.minimum(block[wide], _BESIDE_HU)
    half = (len(patch) - 1) / 2
    affine = np.eye(4)
    affine[:3, 3] = [-_SIDE_MM, -half, -half]
    try:
        body = choose_finder("network").find(Volume(block, affine), np.zeros(3), np.eye(3), None, None)
        found = measure(body)
    except MaskError:
        return None
    if body.confidence < _LEAST_CONFIDENCE:
        return None
    rows, columns = np.mgrid[: len(patch), : len(patch)]
    points = np.stack([np.zeros(rows.shape), half - columns, half - rows], -1)
    place = body.grid.affine
    assert place is not None  # a body's block is rigid
    occupancy = sample(Volume(body.occupancy, place), points, fill=0.0)
    return FlatBody(found.heights_mm, occupancy >= 0.5)


def apart(patch: NDArray[Any], health: Health, grade: float) -> float:
    """How far from a grade the body in the middle of a picture is read; NaN where none is found.

    Args:
        patch: (N, N) HU at 1 mm.
        health: of the vertebra, whose healthy heights are what the read ones are graded by.
        grade: asked for, 0..3.

    Raises:
        MethodError: the body network is not installed.
    """
    found = flat_body(patch)
    return float("nan") if found is None else abs(health.score_of(found.heights_mm) - grade)


def allowed(grade: float) -> float:
    """How far from a grade, with parts, a picture may be read (:data:`READ_APART`)."""
    return float(np.interp(grade, np.arange(len(READ_APART)), READ_APART))
