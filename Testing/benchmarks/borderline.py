"""From which chance of grade 1 or more a vertebra is called borderline: what each limit catches and what it costs.

The limit was chosen on phantoms of seeds 5000 and up; it is reported on those of 900 and up. Expert heights (a
folder ``genant-heights`` with ``heights.csv`` among the real data) are a check only. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

import numpy as np

from VertebralGradingLib.methods.decision import BORDERLINE_CHANCE
from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS
from VertebralGradingLib.morphometry.height_rows import HeightRow, grade_rows
from VertebralGradingLib.spine.anatomy import axis_position

DATA = Path(os.environ.get("VERTEBRAL_GRADING_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
LIMITS = (0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40)
_SD_MM = 0.45
"""Of a mean of two to four experts' heights; the table does not say."""


def main() -> None:
    """Print one row for each limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spines", type=int, default=2)
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--mimics", type=float, default=1.0)
    args = parser.parse_args()
    _phantoms(args.spines, args.seed, args.mimics)
    if (DATA / "genant-heights" / "heights.csv").is_file():
        _experts(DATA / "genant-heights" / "heights.csv")


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


def _experts(path: Path) -> None:
    """Untouched expert heights: some of these vertebrae may be broken, so every share is an upper limit."""
    cases: dict[str, list[dict[str, str]]] = {}
    with path.open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            cases.setdefault(line["case"], []).append(line)
    chance, posterior, fifth = [], [], []
    for lines in cases.values():
        graded = [line for line in lines if line["level"][0] in "TL"]
        rows = [
            HeightRow(
                line["level"],
                axis_position(line["level"]),
                float(n),
                True,
                np.array([float(line[f"{name}_est_mm"]) for name in ("ant", "mid", "post")]),
                np.full(3, _SD_MM),
                None,
                True,
            )
            for n, line in enumerate(graded)
        ]
        for level, (result, _) in grade_rows(rows).items():
            chance.append(1.0 - result.probabilities[0])
            posterior.append(result.loss[2])
            fifth.append(level == "L5")
    print(f"expert heights, {len(cases)} CTs, {len(chance)} vertebrae: borderline, called grade 1 or more")
    for limit in LIMITS:
        called, open_ones = _states(np.array(chance), np.array(posterior), np.array(fifth), limit)
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
