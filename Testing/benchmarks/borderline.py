"""From which chance of grade 1 or more a vertebra is called borderline: what each limit catches and what it costs.

The limit was chosen on phantoms of seeds 5000 and up; it is reported on those of 900 and up. Expert heights (a
folder ``genant-heights`` with ``heights.csv`` among the real data) are a check only. Nothing is asserted.
"""

from __future__ import annotations

import argparse

import numpy as np
from _experts import ExpertCase, expert_cases

from VertebralGradingLib.methods.decision import BORDERLINE_CHANCE
from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS
from VertebralGradingLib.morphometry.reference import grade_heights

LIMITS = (0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40)


def main() -> None:
    """Print one row for each limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spines", type=int, default=2)
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--mimics", type=float, default=1.0)
    args = parser.parse_args()
    _phantoms(args.spines, args.seed, args.mimics)
    cases = expert_cases()
    if cases:
        _experts(cases)


def _phantoms(spines: int, seed: int, mimics: float) -> None:
    try:
        import torch
    except ModuleNotFoundError as error:
        print(f"skipped: {error}")
        return
    torch.set_num_threads(1)
    from VertebralGradingLib.evaluation.bodies import TRUE_MASK, draw_case, grade_case

    rows = []
    for n in range(spines):
        rows += grade_case(draw_case(seed + n, mimics, images=False), TRUE_MASK)
        if (n + 1) % 20 == 0:
            print(f"after {n + 1} spines: {len(rows)} vertebrae", flush=True)
    rows = [row for row in rows if row.chance is not None]
    true = np.array([row.true_grade for row in rows])
    chance = np.array([row.chance for row in rows], dtype=float)
    posterior = np.array([row.posterior_loss for row in rows])
    fifth = np.array([row.level == "L5" for row in rows])
    counts = np.bincount(true, minlength=4).tolist()
    print(f"phantoms, true masks, seeds {seed} to {seed + spines - 1}, {counts} of grades 0-3, limit and per cent:")
    print("true 0 borderline, called; true 1 borderline, called, either; true 2+ either")
    for limit in LIMITS:
        called, open_ones = _states(chance, posterior, fifth, limit)
        shares = [(true == 0, open_ones), (true == 0, called), (true == 1, open_ones), (true == 1, called)]
        shares += [(true == 1, open_ones | called), (true >= 2, open_ones | called)]
        numbers = (100 * (a & b).sum() / max(a.sum(), 1) for a, b in shares)
        print(f"{limit:.2f} {_mark(limit)}  " + "   ".join(f"{number:5.1f}" for number in numbers))


def _experts(cases: list[ExpertCase]) -> None:
    """Untouched expert heights: some of these vertebrae may be broken, so every share is an upper limit."""
    graded = [grade_heights(case.positions, case.heights_mm, case.sd_mm, known=True) for case in cases]
    chance = np.array([1.0 - one.probabilities[0] for results in graded for one in results])
    posterior = np.array([one.loss[2] for results in graded for one in results])
    fifth = np.array([level == "L5" for case in cases for level in case.levels])
    print(f"expert heights, {len(cases)} CTs, {len(chance)} vertebrae: borderline, called grade 1 or more")
    for limit in LIMITS:
        called, open_ones = _states(chance, posterior, fifth, limit)
        print(f"{limit:.2f} {_mark(limit)}  {100 * open_ones.mean():5.1f} %   {100 * called.mean():5.1f} %")


def _states(
    chance: np.ndarray, posterior: np.ndarray, fifth: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which are called grade 1 or more, and which are borderline (:func:`decision.graded`)."""
    called = chance > 0.5
    return called, ~called & ((chance >= limit) | ((posterior >= GRADE_BOUNDS[0]) & ~fifth))


def _mark(limit: float) -> str:
    return "*" if limit == BORDERLINE_CHANCE else " "


if __name__ == "__main__":
    main()
