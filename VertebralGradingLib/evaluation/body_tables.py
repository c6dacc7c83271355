"""Tables of how well bodies are found: heights by slice thickness; grades, abstention and intervals by search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.evaluation import calibration
from VertebralGradingLib.evaluation.bodies import Row
from VertebralGradingLib.evaluation.statistics import area_under_curve, by_subject, mean_of, written


def describe(rows: Sequence[Row]) -> list[str]:
    """The tables: heights by thickness; grades and abstention by search; intervals and chances (:mod:`calibration`)."""
    lines = ["heights against truth (mm): mean absolute error, bias; 90 % interval over subjects"]
    searches = list(dict.fromkeys(row.search for row in rows))
    for search in searches:
        for thickness in sorted({row.slice_mm for row in rows}):
            chosen = [row for row in rows if row.search == search and row.slice_mm == thickness and row.found_mm]
            if not chosen:
                continue
            error = np.array([np.subtract(row.found_mm, row.true_mm) for row in chosen])
            mae = by_subject(mean_of(np.abs(error).mean(1)), [row.subject for row in chosen])
            lines.append(
                f"  {search:10s} {thickness:.1f} mm slices: {written(*mae)} bias {error.mean():+.3f} "
                f"(ant/mid/post {' '.join(f'{b:+.2f}' for b in error.mean(0))}) of {len(chosen)} vertebrae; "
                f"Dice {np.mean([row.dice for row in chosen]):.3f}, least {np.min([row.dice for row in chosen]):.3f}"
            )
    lines.append("grades: area under the curve for grade 2 and more, abstention")
    for search in searches:
        for name, chosen in _groups([row for row in rows if row.search == search and row.true_grade is not None]):
            graded = [row for row in chosen if row.score is not None]
            if not graded:
                continue
            truth = np.array([(row.true_grade or 0) >= 2 for row in graded])
            score = np.array([row.score for row in graded], dtype=float)
            auc = by_subject(_auc_of(truth, score), [row.subject for row in graded])
            exact = np.mean([row.grade == row.true_grade for row in graded])
            lines.append(
                f"  {search:10s} {name:24s} AUC {written(*auc)} ({int(truth.sum())} of {len(truth)}), "
                f"exact {exact:.3f}, not graded {1 - len(graded) / len(chosen):.3f}"
            )
    return [*lines, *calibration.describe(rows)]


def _groups(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    thin = [row for row in rows if row.slice_mm <= 3.0]
    with_mimics = {row.subject for row in rows if row.mimics}
    return [
        ("to 3 mm, without mimics", [row for row in thin if row.subject not in with_mimics]),
        ("to 3 mm, with mimics", [row for row in thin if row.subject in with_mimics]),
        ("5 mm", [row for row in rows if row.slice_mm > 3.0]),
        ("all", rows),
    ]


def _auc_of(truth: NDArray[np.bool_], score: NDArray[np.float64]) -> Callable[[NDArray[np.intp]], float]:
    return lambda chosen: area_under_curve(truth[chosen], score[chosen])
