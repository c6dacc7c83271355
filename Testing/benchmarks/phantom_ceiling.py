"""Core morphometry with true body masks of synthetic spines against their true grades: the ceiling of what is learned.

Grades come as often as in VerSe 2019; truth is noise-free; masks have voxels of 1 mm. Nothing is asserted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

import numpy as np
from _common import can_draw


def main() -> None:
    """Print the confusion matrix and what becomes of mimics."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spines", type=int, default=2)
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--mimics", type=float, default=2.0)
    args = parser.parse_args()
    if not can_draw():
        return
    from VertebralGradingLib.evaluation.bodies import TRUE_MASK, draw_case, grade_case

    rows = []
    for n in range(args.spines):
        rows += grade_case(draw_case(args.seed + n, args.mimics, images=False), TRUE_MASK)
        if (n + 1) % 20 == 0:
            print(f"after {n + 1} spines: {_table(rows).tolist()}", flush=True)
    table = _table(rows)
    print("true grade (rows) against morphometry's (columns 0 1 2 3, not graded)")
    print(table)
    graded = table[:, :4]
    print(f"exact {np.trace(graded) / graded.sum():.3f} of {graded.sum()} graded;", _two_classes(graded))
    error = np.array([row.true_loss - row.loss for row in rows if row.grade is not None])
    print(f"graded loss, true minus measured: mean {error.mean():.3f}, sd {error.std():.3f}")
    kinds: dict[str, Counter[str]] = {}
    for row in rows:
        for name in row.mimics or ("none",):
            key = f"{name}, {'broken' if row.true_grade else 'not broken'}"
            kinds.setdefault(key, Counter())[row.outcome] += 1
    for key in sorted(kinds):
        print(f"  {key:32s}", dict(kinds[key]))


def _table(rows: Sequence) -> np.ndarray:
    table = np.zeros((4, 5), dtype=int)
    for row in rows:
        table[row.true_grade, 4 if row.grade is None else row.grade] += 1
    return table


def _two_classes(table: np.ndarray) -> str:
    """Sensitivity and specificity of grade 2 and more."""
    hit, missed = table[2:, 2:].sum(), table[2:, :2].sum()
    false, right = table[:2, 2:].sum(), table[:2, :2].sum()
    return f"grade 2+: sensitivity {hit / max(hit + missed, 1):.3f}, specificity {right / max(right + false, 1):.3f}"


if __name__ == "__main__":
    main()
