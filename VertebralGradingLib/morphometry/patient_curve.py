"""A patient's own curve of heights over level, carried by the vertebrae that are likely to be sound.

Log heights are published norms (see :mod:`norms`) plus the patient's size, a slope over level, an offset of the
anterior and of the middle height (how concave this patient's endplates are), and what is each vertebra's own by nature:
a size and proportions. A vertebra is either sound or has lost height in one of Genant's shapes; how likely each is
follows from its three heights together, in turn with the curve, with how often this patient's vertebrae are sound, and
with how much they scatter (expectation-maximisation of a mixture; Dempster, Laird, Rubin 1977). What a vertebra may
have lost thus does not pull the curve down, and ordinary scatter does not push it up. Pure numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.morphometry.norms import SD_ANTERIOR, SD_MIDDLE, SD_SIZE, expected_log_heights

SD_VERTEBRA = 0.035
"""Scatter of one healthy vertebra's size around its patient's curve (log): 3.5 % of 25 mm is 0.9 mm. Assumed; each
patient's own scatter is estimated from here."""
SD_RATIO = 0.03
"""Scatter of one healthy vertebra's own height ratios around its patient's (log). Assumed, likewise."""
SD_SLOPE = 0.08
"""Between people, of the slope of log height over ten levels. Assumed."""

_SOUND, _BROKEN = 3.0, 2.0
"""Before a vertebra is seen: as if so many sound and so many broken ones were known (Beta prior)."""
_USUAL = 6.0
"""Before a vertebra is seen: as if so many of the usual scatter were known."""
_SCATTER = (0.4, 3.0)
"""Least and largest scatter of a patient, as a share of the usual variance."""
_FAINT = 1e-3
"""What a vertebra counts at least, so that a curve is defined where every one is broken."""
_DOUBTFUL = 0.08
"""From this uncertainty (log) on a vertebra counts less, and how much others scatter is not told from it."""
_ROUNDS = 60


@dataclass(frozen=True, eq=False)
class PatientCurve:
    """The curve of one patient; arrays have a row for each vertebra and anterior, middle, posterior in columns.

    Attributes:
        log_mm: (n, 3) expected log heights (mm).
        sd: (n, 3) their standard deviation (log).
        sound: (n,) chance that the vertebra has lost no height.
        scatter: variance of the patient's vertebrae around the curve, as a share of the usual one.
        size: the patient's size against the norms (log).
        known: whether its places are anatomical levels.
    """

    log_mm: NDArray[np.float64]
    sd: NDArray[np.float64]
    sound: NDArray[np.float64]
    scatter: float
    size: float
    known: bool


def fit_curve(
    positions: NDArray[np.float64], log_heights: NDArray[np.float64], sd: NDArray[np.float64], known: bool
) -> PatientCurve:
    """Fit one patient's curve.

    Args:
        positions: (n,) places on the axis of levels (order numbers when levels are not known).
        log_heights: (n, 3) log mm: anterior, middle, posterior.
        sd: (n, 3) uncertainty of the measurement (log).
        known: whether positions are anatomical levels.
    """
    usual = expected_log_heights(positions, known)
    excess = log_heights - usual
    design, prior = _design(positions, known)
    variance_seen = (sd**2).mean(axis=1)
    measured = float(np.minimum(variance_seen, _DOUBTFUL**2).mean())
    trust = np.minimum(_DOUBTFUL**2 / np.maximum(variance_seen, 1e-9), 1.0)
    count = len(positions)
    best = np.sort(excess.max(axis=1))[::-1]
    fit = np.array([best[: max(1, (count + 2) // 3)].mean() - 0.02, 0.0, 0.0, 0.0])
    share, scatter = _SOUND / (_SOUND + _BROKEN), 1.0
    sound, precision = np.ones(count), prior
    for _ in range(_ROUNDS):
        inverse = np.asarray(np.linalg.inv(scatter * _natural() + measured * np.eye(3)), dtype=np.float64)
        rest = excess - design @ fit
        distance = np.einsum("ni,ij,nj->n", rest, inverse, rest)
        odds = np.exp(np.clip(_likelihood_of_loss(rest, inverse) + distance / 2.0, -50.0, 50.0)) * (1.0 - share) / share
        sound = 1.0 / (1.0 + odds)
        share = (_SOUND + sound.sum()) / (_SOUND + _BROKEN + count)
        own = float((sound * distance).sum()) / 3.0 * scatter
        scatter = float(np.clip((_USUAL + own) / (_USUAL + sound.sum()), *_SCATTER))
        weighted = np.maximum(sound * trust, _FAINT)[:, None, None] * (inverse @ design)
        precision = prior + np.einsum("nij,nik->jk", design, weighted)
        new = np.linalg.solve(precision, np.einsum("nij,ni->j", weighted, excess))
        if np.abs(new - fit).max() < 1e-7:
            break
        fit = 0.5 * fit + 0.5 * new
    variance = np.einsum("nij,jk,nik->ni", design, np.linalg.inv(precision), design)
    return PatientCurve(usual + design @ fit, np.sqrt(variance), sound, scatter, float(fit[0]), known)


def _design(positions: NDArray[np.float64], known: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 3, 4) size, slope, anterior and middle offset of each height; and the precision (4, 4) of their prior."""
    design = np.zeros((len(positions), 3, 4))
    design[:, :, 0] = 1.0
    design[:, :, 1] = (positions - positions.mean())[:, None] / 10.0
    design[:, 0, 2] = design[:, 1, 3] = 1.0
    slope = SD_SLOPE if known else 4 * SD_SLOPE
    anterior = SD_ANTERIOR if known else 1.5 * SD_ANTERIOR
    return design, np.diag(1.0 / np.array([SD_SIZE, slope, 0.6 * anterior, 0.6 * SD_MIDDLE]) ** 2)


def _natural() -> NDArray[np.float64]:
    """(3, 3) covariance of a healthy vertebra's log heights around its patient's curve."""
    return SD_VERTEBRA**2 * np.ones((3, 3)) + SD_RATIO**2 * np.eye(3)


def _likelihood_of_loss(rest: NDArray[np.float64], inverse: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) log of the mean likelihood over all losses, less what it shares with that of a sound vertebra."""
    losses, weights = _losses()
    root = np.linalg.cholesky(inverse)
    here, there = rest @ root, losses @ root
    each = here @ there.T - (here**2).sum(axis=1)[:, None] / 2.0 - (there**2).sum(axis=1) / 2.0
    top = each.max(axis=1)
    return np.asarray(top + np.log(np.exp(each - top[:, None]) @ weights))


@cache
def _losses() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Losses that a broken vertebra may have: (p, 3) log of what is left, and (p,) weights that sum to 1.

    Any loss from 2 to 70 % is as likely as any other; its shape is a wedge in 45 %, biconcave in 30 %, a crush in 25 %,
    and how much the other two heights lose is as likely as anything within the shape. Assumed.
    """
    losses = np.linspace(0.02, 0.70, 18)
    shapes = [
        *((0.45 / 16, (1.0, m, p)) for m in (0.2, 0.43, 0.66, 0.9) for p in (0.0, 0.1, 0.2, 0.3)),
        *((0.30 / 16, (a, 1.0, p)) for a in (0.0, 0.2, 0.4, 0.6) for p in (0.0, 0.2, 0.4, 0.6)),
        *((0.25 / 27, (a, m, p)) for a in (0.8, 0.9, 1.0) for m in (0.8, 0.9, 1.0) for p in (0.8, 0.9, 1.0)),
    ]
    parts = np.array([shape for _, shape in shapes])
    left = np.log1p(-losses[:, None, None] * parts)
    weights = np.tile([weight for weight, _ in shapes], len(losses))
    return left.reshape(-1, 3), weights / weights.sum()
