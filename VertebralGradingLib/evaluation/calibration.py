"""Whether intervals and chances mean what they say: coverage by stratum, reliability and Brier scores.

The unclipped, signed loss is judged: a healthy vertebra's interval must hold 0 from both sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from VertebralGradingLib.evaluation.bodies import Row
from VertebralGradingLib.evaluation.statistics import by_subject, mean_of, written
from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS

STRATA = (("sound", -1.0, 0.05), ("5 to 20 %", 0.05, 0.20), ("20 to 40 %", 0.20, 0.40), ("over 40 %", 0.40, 1.01))
"""Name, least and largest true loss."""
_BINS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 1.0)


def describe(rows: Sequence[Row]) -> list[str]:
    """Coverage of the 90 % interval of the loss by search, thickness and true loss; then the chances."""
    known = [row for row in rows if row.loss_interval is not None and np.isfinite(row.true_loss)]
    lines = ["90 % interval of the graded loss: share that holds the true one, mean half width, bias"]
    for search in dict.fromkeys(row.search for row in known):
        mine = [row for row in known if row.search == search]
        for thickness in (None, *sorted({row.slice_mm for row in mine})):
            chosen = [row for row in mine if thickness in (None, row.slice_mm)]
            where = "all slices" if thickness is None else f"{thickness:.1f} mm"
            lines += [f"  {search:10s} {where:10s} {text}" for text in _coverage(chosen)]
        lines += [f"  {search:10s} {text}" for text in _chances(mine)]
    return lines


def _coverage(rows: list[Row]) -> list[str]:
    low, high = np.array([row.loss_interval for row in rows], dtype=float).T
    true, read = np.array([row.true_loss for row in rows]), np.array([row.loss for row in rows])
    inside = (low <= true) & (true <= high)
    subjects = [row.subject for row in rows]
    lines = []
    for name, least, most in STRATA:
        some = (least <= true) & (true < most)
        if not some.any():
            continue
        share = by_subject(mean_of(inside[some]), [s for s, mine in zip(subjects, some, strict=True) if mine])
        half = float((high - low)[some].mean()) / 2.0
        lines.append(f"{name:11s} {written(*share)} +-{half:.3f} {(read - true)[some].mean():+.3f} of {some.sum()}")
    return lines


def _chances(rows: list[Row]) -> list[str]:
    """Brier scores, and how often it is so where a chance of about so much was given."""
    chances = np.array([row.chances for row in rows], dtype=float)
    true, subjects = np.array([row.true_loss for row in rows]), [row.subject for row in rows]
    lines = []
    for grade in (1, 2):
        said, is_so = chances[:, grade:].sum(axis=1), true >= GRADE_BOUNDS[grade - 1]
        brier = by_subject(mean_of((said - is_so) ** 2), subjects)
        constant = float(is_so.mean() * (1.0 - is_so.mean()))
        lines.append(
            f"chance of grade {grade} or more: Brier score {written(*brier)} (always its rate: {constant:.3f})"
        )
        place = np.clip(np.searchsorted(_BINS, said, side="right") - 1, 0, len(_BINS) - 2)
        bins = [place == k for k in range(len(_BINS) - 1)]
        told = [f"{said[b].mean():.2f}: {is_so[b].mean():.2f} of {b.sum()}" for b in bins if b.any()]
        lines.append("  said: so  " + "   ".join(told))
    return lines
