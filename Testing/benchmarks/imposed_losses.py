"""Losses imposed on sound vertebrae among expert heights: what the graded loss reads, and how many are called grade 2.

A vertebra between T4 and L4 counts as sound when each of its heights is within 10 % of the mean of its two neighbours',
which no estimator has a say in; some of what is untouched may be broken all the same. Estimators are chosen on
phantoms; this is a check on the development set. Nothing is asserted.
"""

from __future__ import annotations

import argparse

import numpy as np
from _experts import ExpertCase, expert_cases

from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS
from VertebralGradingLib.morphometry.reference import grade_heights

SHAPES = {"wedge": (1.0, 0.5, 0.0), "biconcave": (0.25, 1.0, 0.25), "crush": (1.0, 1.0, 1.0)}
"""Shares of the loss that anterior, middle and posterior height get."""
LOSSES = (0.22, 0.28, 0.32, 0.36, 0.45)
_ALIKE = 0.10


def main() -> None:
    """Print bias and scatter for each shape and loss."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true", help="every sound vertebra in turn, not one of each CT")
    parser.add_argument("--seed", type=int, default=0, help="of which one")
    args = parser.parse_args()
    cases = expert_cases()
    if not cases:
        print("no expert heights: set VERTEBRAL_GRADING_DATA")
        return
    untouched = np.concatenate([_graded(case, case.heights_mm) for case in cases])
    for grade, bound in enumerate(GRADE_BOUNDS[:2], start=1):
        share = 100 * (untouched >= bound).mean()
        print(f"untouched, {len(untouched)} vertebrae: called grade {grade} or more {share:.1f} %")
    rng = np.random.default_rng(args.seed)
    chosen = [(case, n) for case in cases for n in _chosen(case, rng, args.all)]
    print(f"imposed on {len(chosen)} vertebrae, one at a time: mean error of the graded loss, its sd, called grade 2+")
    for shape, share in SHAPES.items():
        for loss in LOSSES:
            read = np.array([_with_loss(case, n, loss * np.array(share)) for case, n in chosen])
            called = (read >= GRADE_BOUNDS[1]).mean()
            print(f"{shape:10s} {100 * loss:.0f} %  {(read - loss).mean():+.3f}  {read.std():.3f}  {called:.2f}")


def _chosen(case: ExpertCase, rng: np.random.Generator, every: bool) -> list[int]:
    """Sound vertebrae of one CT: all, or one by chance."""
    sound = []
    for n in range(1, len(case.levels) - 1):
        neighbours = (case.heights_mm[n - 1] + case.heights_mm[n + 1]) / 2.0
        alike = np.abs(np.log(case.heights_mm[n] / neighbours)).max() < _ALIKE
        if alike and 4 <= case.positions[n] <= 16:
            sound.append(n)
    return sound if every or not sound else [int(rng.choice(sound))]


def _with_loss(case: ExpertCase, n: int, losses: np.ndarray) -> float:
    heights = case.heights_mm.copy()
    heights[n] *= 1.0 - losses
    return float(_graded(case, heights)[n])


def _graded(case: ExpertCase, heights: np.ndarray) -> np.ndarray:
    return np.array([one.graded for one in grade_heights(case.positions, heights, case.sd_mm, known=True)])


if __name__ == "__main__":
    main()
