"""Genant's semi-quantitative grades, the score axis all methods share, and the shape of a deformity.

Source: Genant et al., JBMR 1993;8:1137; bands as used for VerSe (Loeffler et al., Radiol AI 2020, PMC8082364):
grade 1 from 0.20, grade 2 from 0.25, grade 3 from 0.40 height loss, half-open intervals.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRADE_BOUNDS = (0.20, 0.25, 0.40)
"""Least height loss of grades 1, 2 and 3."""
SEVERITY = {1: "mild", 2: "moderate", 3: "severe"}
"""Genant's words for the grades."""

_LOSS_KNOTS = (0.0, 0.20, 0.25, 0.40, 0.50)
_SCORE_KNOTS = (0.0, 0.5, 1.5, 2.5, 3.0)


def grade_of_loss(loss: float) -> int:
    """Genant grade 0-3 of a height loss (fraction)."""
    return sum(loss >= bound for bound in GRADE_BOUNDS)


def score_of_loss(loss: NDArray[Any] | float) -> Any:
    """Height loss (fraction) -> score 0..3 on the axis that all methods share, linear between the knots."""
    return np.interp(loss, _LOSS_KNOTS, _SCORE_KNOTS)


def loss_of_score(score: NDArray[Any] | float) -> Any:
    """Score 0..3 -> height loss (fraction), the inverse of :func:`score_of_loss`."""
    return np.interp(score, _SCORE_KNOTS, _LOSS_KNOTS)


def grade_of_score(score: float) -> int:
    """Score -> grade 0-3, rounding half up."""
    return int(min(max(math.floor(score + 0.5 + 1e-12), 0), 3))


def deformity(losses: NDArray[Any], graded: float | None = None) -> str:
    """Shape of a deformity from the three height losses.

    Args:
        losses: (3,) anterior, middle, posterior, fractions of the expected heights.
        graded: the loss that was graded; the largest of anterior, middle and mean loss by default.

    Returns:
        "crush" when the posterior wall is lost too, else "wedge" or "biconcave", whichever is larger; "none" when
        no height has lost 0.20.
    """
    anterior, middle, posterior = (float(value) for value in losses)
    largest = max(anterior, middle, posterior)
    if graded is None:
        graded = max(anterior, middle, (anterior + middle + posterior) / 3)
    if graded < GRADE_BOUNDS[0]:
        return "none"
    if (posterior >= GRADE_BOUNDS[0] and posterior > 0.6 * largest) or max(anterior, middle) < GRADE_BOUNDS[0]:
        return "crush"
    return "wedge" if anterior >= middle else "biconcave"
