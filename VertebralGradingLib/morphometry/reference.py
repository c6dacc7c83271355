"""What each vertebra's heights should be: the patient's own curve of heights over level, with norms as the prior.

Log heights are published norms (see :mod:`norms`) plus the patient's size, a slope over level, an offset of the
anterior and of the middle height (how concave this patient's endplates are), and a small size of each vertebra's own.
Fractures only take height away, so heights far below the curve count little and heights above it fully; a spine in
which most lumbar bodies are fractured is thus measured against its unfractured ones. Pure numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS, deformity, grade_of_loss, score_of_loss
from VertebralGradingLib.morphometry.norms import SD_ANTERIOR, SD_MIDDLE, SD_SIZE, expected_log_heights

SD_VERTEBRA = 0.04
"""Scatter of one healthy vertebra's size around its patient's curve (log): 4 % of 25 mm is 1 mm. Assumed."""
SD_RATIO = 0.035
"""Scatter of one healthy vertebra's own height ratios around its patient's (log). Assumed."""
SD_SLOPE = 0.08
"""Between people, of the slope of log height over ten levels. Assumed."""
_LOSS_SCALE = 0.07
_OWN_SIZE = (-0.06, 0.08)
_DRAWS = 4000
_SOUND = -0.12


@dataclass(frozen=True, eq=False)
class HeightGrade:
    """One vertebra against its reference; arrays are (3,) anterior, middle, posterior.

    Attributes:
        reference_mm: expected heights.
        reference_sd_mm: their standard deviation.
        loss: 1 - height / reference.
        loss_interval: (3, 2) 90 % interval of each loss.
        graded: the graded loss (see :func:`graded_loss`), which is also the median of its draws.
        graded_interval: its 90 % interval.
        score: of the graded loss, on the shared axis.
        score_interval: its 90 % interval.
        probabilities: (4,) chances of grade 0-3 by the same draws; they sum to 1.
        grade: 0-3, of the graded loss: half of the draws or more are of this grade or one above, half or below.
        shape: "wedge", "biconcave", "crush" or "none".
        wedge_loss: 1 - (Ha/Hp) / expected ratio.
        biconcave_loss: 1 - Hm / expected from the better of both walls.
        crush_loss: 1 - mean height / mean of the patient's curve, the vertebra's own size not granted.
        weak: whether fewer than three sound vertebrae carry the curve, or the patient seems implausibly small.
    """

    reference_mm: NDArray[np.float64]
    reference_sd_mm: NDArray[np.float64]
    loss: NDArray[np.float64]
    loss_interval: NDArray[np.float64]
    graded: float
    graded_interval: tuple[float, float]
    score: float
    score_interval: tuple[float, float]
    probabilities: tuple[float, float, float, float]
    grade: int
    shape: str
    wedge_loss: float
    biconcave_loss: float
    crush_loss: float
    weak: bool


def grade_heights(
    positions: NDArray[np.float64], heights_mm: NDArray[np.float64], sd_mm: NDArray[np.float64], known: bool
) -> list[HeightGrade]:
    """Grade the vertebrae of one patient by their heights.

    Args:
        positions: (n,) places on the axis of levels (order numbers when levels are not known).
        heights_mm: (n, 3) anterior, middle, posterior, all positive.
        sd_mm: (n, 3) measurement uncertainty.
        known: whether positions are anatomical levels.
    """
    if len(positions) == 0:
        return []
    log_heights = np.log(heights_mm)
    prior = expected_log_heights(positions, known)
    curve, curve_sd, sound, size = _patient_curve(positions, log_heights - prior, known)
    curve = curve + prior
    weak = int(sound.sum()) < 3 or size < -2.0 * SD_SIZE  # so small a patient may be one whose every body is crushed
    return [
        _grade_one(log_heights[n], sd_mm[n] / heights_mm[n], curve[n], curve_sd[n], weak, n)
        for n in range(len(positions))
    ]


def _patient_curve(
    positions: NDArray[np.float64], excess: NDArray[np.float64], known: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], float]:
    """Fit the patient's curve to log heights in excess of the norms (n, 3).

    Returns:
        The curve (n, 3), its standard deviation (n, 3), which vertebrae are sound (n,), and the patient's size (log).
    """
    x = (positions - positions.mean()) / 10.0
    count = len(positions)
    design = np.zeros((count, 3, 4))  # size, slope, anterior offset, middle offset
    design[:, :, 0] = 1.0
    design[:, :, 1] = x[:, None]
    design[:, 0, 2] = design[:, 1, 3] = 1.0
    rows, target = design.reshape(-1, 4), excess.reshape(-1)
    slope_sd = SD_SLOPE if known else 4 * SD_SLOPE
    anterior_sd = SD_ANTERIOR if known else 1.5 * SD_ANTERIOR
    prior = np.diag(1.0 / np.array([SD_SIZE, slope_sd, 0.6 * anterior_sd, 0.6 * SD_MIDDLE]) ** 2)
    noise = np.hypot(SD_VERTEBRA, SD_RATIO)
    best = np.sort(excess.max(axis=1))[::-1]
    fit = np.array([best[: max(1, (count + 2) // 3)].mean() - 0.02, 0.0, 0.0, 0.0])
    weight = np.ones(len(target))
    for _ in range(60):
        rest = target - rows @ fit
        lost = np.maximum(-rest - 0.02, 0.0)
        weight = 1.0 / (1.0 + (lost / _LOSS_SCALE) ** 2) ** 2
        precision = (rows * weight[:, None]).T @ rows / noise**2 + prior
        new = np.linalg.solve(precision, (rows * weight[:, None]).T @ target / noise**2)
        if np.abs(new - fit).max() < 1e-7:
            break
        fit = 0.5 * fit + 0.5 * new
    effective = precision  # three heights of one vertebra share its size: count them as less than three
    covariance = np.linalg.inv((effective - prior) / 1.8 + prior)
    variance = np.einsum("ni,ij,nj->n", rows, covariance, rows).reshape(count, 3)
    curve = (rows @ fit).reshape(count, 3)
    sound = (excess - curve).min(axis=1) > _SOUND
    return curve, np.sqrt(variance), sound, float(fit[0])


def _own_size(rest: NDArray[np.float64]) -> float:
    """How much larger or smaller than its curve a vertebra is by nature, from its least lost heights (log)."""
    size = float(np.clip(rest.max(), -0.03, 0.03))
    for _ in range(30):
        lost = np.maximum(size - rest - 0.02, 0.0)
        weight = 1.0 / (1.0 + (lost / _LOSS_SCALE) ** 2) ** 2 / SD_RATIO**2
        size = 0.5 * size + 0.5 * float((weight * rest).sum() / (weight.sum() + 1.0 / SD_VERTEBRA**2))
    return float(np.clip(size, *_OWN_SIZE))


def graded_loss(loss: NDArray[np.float64], log_reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """The loss that is graded: the largest of anterior, middle and mean loss (wedge, biconcave, crush).

    The posterior height alone is not graded, since no compression lowers it alone; with the others it is a crush.

    Args:
        loss: (..., 3) losses.
        log_reference: (3,) log of the expected heights.
    """
    share = np.exp(log_reference) / np.exp(log_reference).sum()
    largest: NDArray[np.float64] = np.maximum(np.maximum(loss[..., 0], loss[..., 1]), loss @ share)
    return largest


def _grade_one(
    log_height: NDArray[np.float64],
    height_sd: NDArray[np.float64],
    curve: NDArray[np.float64],
    curve_sd: NDArray[np.float64],
    weak: bool,
    seed: int,
) -> HeightGrade:
    size = _own_size(log_height - curve)
    reference = curve + size
    shared_sd = float(np.hypot(curve_sd.min(), SD_VERTEBRA))
    own_sd = np.hypot(np.sqrt(np.maximum(curve_sd**2 - curve_sd.min() ** 2, 0)), SD_RATIO)
    loss = 1.0 - np.exp(log_height - reference)
    graded = float(graded_loss(loss, reference))
    score = float(score_of_loss(graded))
    rng = np.random.default_rng(1000 + seed)
    draws = (
        rng.normal(0.0, 1.0, (_DRAWS, 3)) * np.hypot(height_sd, own_sd) + rng.normal(0.0, 1.0, (_DRAWS, 1)) * shared_sd
    )
    drawn = 1.0 - np.exp(log_height - reference + draws)
    interval = np.percentile(drawn, [5, 95], axis=0).T
    spread = graded_loss(drawn, reference)
    spread += graded - np.median(spread)  # the largest of three noisy losses lies above the largest loss
    low, high = (float(edge) for edge in np.percentile(spread, [5, 95]))
    counts = np.bincount(np.searchsorted(GRADE_BOUNDS, spread, side="right"), minlength=4) / _DRAWS
    best_wall = max(log_height[0] - reference[0], log_height[2] - reference[2])
    return HeightGrade(
        reference_mm=np.exp(reference),
        reference_sd_mm=np.exp(reference) * np.hypot(shared_sd, own_sd),
        loss=loss,
        loss_interval=interval,
        graded=graded,
        graded_interval=(low, high),
        score=score,
        score_interval=(float(score_of_loss(low)), float(score_of_loss(high))),
        probabilities=(float(counts[0]), float(counts[1]), float(counts[2]), float(counts[3])),
        grade=grade_of_loss(graded),
        shape=deformity(loss, graded),
        wedge_loss=float(1.0 - np.exp(log_height[0] - log_height[2] - (curve[0] - curve[2]))),
        biconcave_loss=float(1.0 - np.exp(log_height[1] - reference[1] - best_wall)),
        crush_loss=float(1.0 - np.exp(log_height).mean() / np.exp(curve).mean()),
        weak=weak,
    )
