"""Core morphometry with true body masks of synthetic spines against their true grades: the ceiling of what is learned.

Grades come as often as in VerSe 2019; truth is noise-free; masks have voxels of 1 mm. Nothing is asserted.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

SHARES = (0.803, 0.097, 0.066, 0.034)


def main() -> None:
    """Print the confusion matrix and what becomes of mimics."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spines", type=int, default=2)
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--mimics", type=float, default=2.0)
    args = parser.parse_args()
    try:
        import torch
    except ModuleNotFoundError as error:
        print(f"skipped: {error}")
        return
    torch.set_num_threads(1)
    table = np.zeros((4, 5), dtype=int)
    kinds: dict[str, Counter[str]] = {}
    losses = []
    for n in range(args.spines):
        for _, true, finding, names in _graded(args.seed + n, args.mimics):
            table[true.grade, 4 if finding.grade is None else finding.grade] += 1
            if finding.grade is not None:
                measured = list(finding.height_loss.values())
                losses.append([max(measured[0], measured[1], float(np.mean(measured))), true.graded])
            for name in names or ["none"]:
                key = f"{name}, {'broken' if true.grade else 'not broken'}"
                kinds.setdefault(key, Counter())[_outcome(finding)] += 1
        if (n + 1) % 20 == 0:
            print(f"after {n + 1} spines: {table.tolist()}", flush=True)
    print("true grade (rows) against morphometry's (columns 0 1 2 3, not graded)")
    print(table)
    graded = table[:, :4]
    print(f"exact {np.trace(graded) / graded.sum():.3f} of {graded.sum()} graded;", _two_classes(graded))
    error = np.diff(np.array(losses), axis=1)[:, 0]
    print(f"graded loss, true minus measured: mean {error.mean():.3f}, sd {error.std():.3f}")
    for key in sorted(kinds):
        print(f"  {key:32s}", dict(kinds[key]))


def _outcome(finding: object) -> str:
    if finding.suggested_exclusion:  # type: ignore[attr-defined]
        return "excluded as Schmorl node"
    grade = finding.grade  # type: ignore[attr-defined]
    return "not graded" if grade is None else f"grade {grade}"


def _two_classes(table: np.ndarray) -> str:
    """Sensitivity and specificity of grade 2 and more."""
    hit, missed = table[2:, 2:].sum(), table[2:, :2].sum()
    false, right = table[:2, 2:].sum(), table[:2, :2].sum()
    return f"grade 2+: sensitivity {hit / max(hit + missed, 1):.3f}, specificity {right / max(right + false, 1):.3f}"


def _graded(seed: int, mimics: float) -> list[tuple]:
    from VertebralGradingLib import pipeline
    from VertebralGradingLib.phantom.field import prepare
    from VertebralGradingLib.phantom.masks import body_masks
    from VertebralGradingLib.phantom.patches import body_middle
    from VertebralGradingLib.phantom.plans import LEVELS, SubjectPlan
    from VertebralGradingLib.phantom.subjects import make_subject
    from VertebralGradingLib.points import Point
    from VertebralGradingLib.segmentation.labels import interpret
    from VertebralGradingLib.spine import build_spine

    rng = np.random.default_rng([seed, 99])
    start = int(rng.integers(0, 10))
    levels = LEVELS[start : min(start + int(rng.integers(6, 11)), 17)]
    grades = {level: int(rng.choice(4, p=SHARES)) for level in levels}
    subject = make_subject(SubjectPlan("sub-ceiling", "all", grades, mimic_rate=mimics), seed)
    ready = prepare(subject.spine)
    masks = body_masks(ready, levels)
    points = []
    for level in levels:
        frame = ready.frames[subject.spine.levels.index(level)]
        middle = frame[:3, :3] @ body_middle(subject.spine, level) + frame[:3, 3]
        points.append(Point(tuple(float(x) for x in middle), level, level))  # type: ignore[arg-type]
    report = pipeline.grade(None, build_spine(points), interpret(masks, "verse"))
    found = {finding.level: finding for finding in report.findings}
    return [(level, subject.truths[level], found[level], subject.mimics.get(level, [])) for level in levels]


if __name__ == "__main__":
    main()
