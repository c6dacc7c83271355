"""Figures with intervals: bootstrap over subjects, since vertebrae of one person are not independent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.90
"""Of all intervals."""


def by_subject(
    figure: Callable[[NDArray[np.intp]], float], subjects: Sequence[str], draws: int = 500, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """A figure and its 90 % bootstrap interval over subjects.

    Args:
        figure: from indices of vertebrae to a number; NaN where it cannot be had.
        subjects: the subject of each vertebra.
        draws: bootstrap samples.
        seed: fixes them.
    """
    names, place = np.unique(np.asarray(subjects), return_inverse=True)
    members = [np.flatnonzero(place == k) for k in range(len(names))]
    rng = np.random.default_rng(seed)
    values = [
        figure(np.concatenate([members[k] for k in rng.integers(len(names), size=len(names))])) for _ in range(draws)
    ]
    finite = np.asarray(values)[np.isfinite(values)]
    whole = figure(np.arange(len(place)))
    if not len(finite):
        return whole, (float("nan"), float("nan"))
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return whole, (float(low), float(high))


def mean_of(values: NDArray[Any]) -> Callable[[NDArray[np.intp]], float]:
    """The mean of some values, as a figure for :func:`by_subject`."""
    return lambda chosen: float(values[chosen].mean())


def area_under_curve(truth: NDArray[np.bool_], score: NDArray[np.floating]) -> float:
    """Area under the ROC curve by ranks, ties counted half; NaN when one class is missing."""
    from scipy.stats import rankdata

    positive = int(truth.sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return float("nan")
    rank = rankdata(score)
    return float((rank[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def written(value: float, interval: tuple[float, float] | None = None, digits: int = 3) -> str:
    """A number and its interval, such as "0.953 [0.931, 0.970]"."""
    text = f"{value:.{digits}f}"
    return text if interval is None else f"{text} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"
