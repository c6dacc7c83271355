"""What each vertebra's heights should be, and its grade against that.

The patient's curve (see :mod:`patient_curve`) tells what to expect at a level. A vertebra is granted a size of its own
only as long as no height lies farther below the curve than nature's scatter: what may be broken does not vouch for how
tall it was. Where three losses differ by no more than proportions do, they are taken for one. Pure numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS, deformity, grade_of_loss, score_of_loss
from VertebralGradingLib.morphometry.norms import SD_SIZE
from VertebralGradingLib.morphometry.patient_curve import SD_RATIO, SD_VERTEBRA, PatientCurve, fit_curve

_GRANTED = (0.14, 0.02)
"""Log loss of the lowest height at which half of a vertebra's own size is granted, and how softly that fades."""
_ALIKE = 2.0
"""Losses are taken for one where the sum of squares around their mean is less than so many variances of proportions."""
_WIDENED = (1.25, 0.9)
"""By how much draws of a vertebra that is broken, and of one that is sound, spread farther than the model says."""
_DRAWS = 4000


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
    curve = fit_curve(positions, log_heights, sd_mm / heights_mm, known)
    few = curve.sound.sum() < 2.5
    weak = bool(few or curve.size < -2.0 * SD_SIZE)  # so small a patient may be one whose every body is crushed
    return [_grade_one(log_heights[n], sd_mm[n] / heights_mm[n], curve, n, weak) for n in range(len(positions))]


def _own(
    rest: NDArray[np.float64], height_sd: NDArray[np.float64], scatter: float
) -> tuple[float, float, NDArray[np.float64]]:
    """What is by nature a vertebra's own of its log heights against the curve.

    Args:
        rest: (3,) log heights less the curve.
        height_sd: (3,) their uncertainty (log).
        scatter: of the patient, see :class:`PatientCurve`.

    Returns:
        Its size, were it sound; how much of that it is granted, 0 to 1; and (3,) its proportions, with what is granted.
    """
    middle, width = _GRANTED
    ratio, spread = SD_RATIO**2 * scatter, SD_VERTEBRA**2 * scatter
    size = float(rest.sum()) / ratio / (3.0 / ratio + 1.0 / spread)
    granted = float(1.0 / (1.0 + np.exp((-rest.min() - middle) / width)))
    apart = rest - rest.mean()
    nature = _ALIKE * (ratio + float((height_sd**2).mean()))
    kept = 1.0 / (1.0 + (nature / max(float(apart @ apart), 1e-12)) ** 2)
    return size, granted, (1.0 - kept) * apart


def _vouched(posterior: float) -> float:
    """How much larger than its curve a body is, told by a posterior height above it (log), where levels are not known.

    Norms cannot say there what is usual at its place, and no compression makes a posterior wall taller.
    """
    return max(posterior, 0.0) * SD_VERTEBRA**2 / (SD_VERTEBRA**2 + SD_RATIO**2)


def _spread(curve: PatientCurve, n: int) -> tuple[float, NDArray[np.float64]]:
    """Standard deviations (log) of a vertebra's expected heights: what they share, and (3,) what is each one's own."""
    sd, nature = curve.sd[n], float(np.sqrt(curve.scatter))
    own = np.hypot(np.sqrt(np.maximum(sd**2 - sd.min() ** 2, 0.0)), SD_RATIO * nature)
    return float(np.hypot(sd.min(), SD_VERTEBRA * nature)), own


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
    log_height: NDArray[np.float64], height_sd: NDArray[np.float64], curve: PatientCurve, n: int, weak: bool
) -> HeightGrade:
    expected = curve.log_mm[n]
    if not curve.known:
        expected = expected + _vouched(float(log_height[2] - expected[2]))
    size, granted, proportions = _own(log_height - expected, height_sd, curve.scatter)
    reference = expected + granted * size + proportions
    loss = 1.0 - np.exp(log_height - reference)
    graded = float(graded_loss(loss, reference))
    score = float(score_of_loss(graded))
    shared_sd, own_sd = _spread(curve, n)
    rng = np.random.default_rng(1000 + n)
    broken = rng.random((_DRAWS, 1)) >= curve.sound[n]
    draws = rng.normal(0.0, 1.0, (_DRAWS, 3)) * np.hypot(height_sd, own_sd)
    draws += rng.normal(0.0, 1.0, (_DRAWS, 1)) * shared_sd
    draws *= np.where(broken, *_WIDENED)
    draws += np.where(broken, granted, granted - 1.0) * size
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
        wedge_loss=float(1.0 - np.exp(log_height[0] - log_height[2] - (expected[0] - expected[2]))),
        biconcave_loss=float(1.0 - np.exp(log_height[1] - reference[1] - best_wall)),
        crush_loss=float(1.0 - np.exp(log_height).mean() / np.exp(expected).mean()),
        weak=weak,
    )
