"""Which subjects a data set has, and which grade each of their vertebrae is to get: presets with published counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Counts = dict[str, tuple[int, int, int, int]]

LEVELS = (*(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 7)))
GRADING_LOSS_1283: dict[str, tuple[int, int, int, int]] = {"train": (851, 0, 79, 36), "test": (282, 0, 25, 10)}
"""Vertebrae by grade 0-3 and split (Husseini et al., MICCAI 2020; the test total 312 is a misprint of 317)."""
_SUBJECTS_1283 = {"train": 118, "test": 39}
"""157 scans; how they were split is not published: in proportion to the vertebrae."""

_VERSE19 = {
    "train": "35 1 0 0|35 1 0 0|29 2 0 1|31 1 0 0|26 4 0 1|25 3 3 0|24 4 1 2|25 4 1 1|34 2 2 0|38 3 1 0|37 2 2 1|"
    "38 4 8 1|40 6 8 4|40 10 9 2|45 8 4 3|42 7 6 3|47 1 5 3|3 0 0 0",
    "val": "16 1 0 0|19 0 0 0|13 2 0 0|14 0 2 0|16 0 0 0|14 0 0 2|12 3 0 2|15 3 0 1|16 4 1 1|19 2 1 0|18 3 1 0|"
    "17 3 2 1|14 4 4 8|21 3 4 0|18 6 1 2|19 2 7 0|22 4 1 0|1 0 0 0",
    "test": "11 1 0 0|11 2 0 0|10 3 0 0|11 2 0 0|11 2 0 0|12 0 1 0|13 2 0 0|13 1 1 1|18 1 1 1|22 0 2 0|21 4 0 2|"
    "19 5 2 2|22 5 3 5|22 5 5 1|25 3 4 0|25 2 2 0|26 0 1 0|2 0 0 0",
}
"""Grades 0-3 of T1 .. L6 in VerSe 2019 by split, as published with HealthiVert-GAN's vertebra_data.json (facts;
Loeffler et al., Radiol AI 2020): 1,460 vertebrae."""
_SUBJECTS_VERSE19 = {"train": 79, "val": 38, "test": 36}


@dataclass(frozen=True)
class SubjectPlan:
    """One subject to be made.

    Attributes:
        name: such as "sub-phantom0001".
        split: part of the data set.
        grades: level -> wanted grade, cranial to caudal; None lets the grade fall as it may.
        reader_noise: whether the grade is read off a loss with a reader's error.
        mimic_rate: see :func:`mimics.add_mimics`.
        thick: share of scans with thick slices (:func:`imaging.draw_scanner`).
    """

    name: str
    split: str
    grades: dict[str, int | None]
    reader_noise: bool = False
    mimic_rate: float = 1.0
    thick: float = 0.3


def verse19_counts(split: str) -> Counts:
    """Level -> number of grades 0-3 of a split of VerSe 2019."""
    rows = [tuple(int(x) for x in cell.split()) for cell in _VERSE19[split].split("|")]
    return {level: (row[0], row[1], row[2], row[3]) for level, row in zip(LEVELS, rows, strict=True)}


def plan(preset: str, n: int, seed: int, reader_noise: bool | None = None) -> list[SubjectPlan]:
    """Plan a data set.

    Args:
        preset: one of :data:`PRESETS`.
        n: number of subjects for "uniform" and "hard"; the named presets take their first n, all for 0.
        seed: fixes the plan.
        reader_noise: None for the preset's own habit (on in the two published ones).

    Raises:
        ValueError: the preset is not known, or a number of subjects is missing.
    """
    if preset not in PRESETS:
        raise ValueError(f"the preset must be one of {', '.join(PRESETS)}")
    rng = np.random.default_rng([seed, 41])
    published = preset not in ("uniform", "hard")
    noisy = published if reader_noise is None else reader_noise
    if preset == "verse19-1460":
        subjects = [s for split in _VERSE19 for s in _verse19(split, rng)]
    elif preset == "grading-loss-1283":
        subjects = [s for split in GRADING_LOSS_1283 for s in _grading_loss(split, rng)]
    else:
        if n < 1:
            raise ValueError("this preset needs a number of subjects")
        subjects = [("all", _free(rng)) for _ in range(n)]
    hard = preset == "hard"
    return [
        SubjectPlan(f"sub-phantom{k + 1:04d}", split, grades, noisy, 3.0 if hard else 1.0, 0.85 if hard else 0.3)
        for k, (split, grades) in enumerate(subjects[: n or None])
    ]


def _free(rng: np.random.Generator) -> dict[str, int | None]:
    start = int(rng.integers(0, 10))
    return dict.fromkeys(LEVELS[start : start + int(rng.integers(6, 11))][: 17 - start])


def _verse19(split: str, rng: np.random.Generator) -> list[tuple[str, dict[str, int | None]]]:
    counts = verse19_counts(split)
    runs = _runs([sum(counts[level]) for level in LEVELS], _SUBJECTS_VERSE19[split], rng)
    return [(split, grades) for grades in _deal(runs, counts, rng)]


def _grading_loss(split: str, rng: np.random.Generator) -> list[tuple[str, dict[str, int | None]]]:
    """Levels in VerSe's proportions (they are not published for this list), grades 2 and 3 where VerSe has them."""
    wanted = GRADING_LOSS_1283[split]
    verse = np.array([[sum(verse19_counts(s)[level][g] for s in _VERSE19) for g in range(4)] for level in LEVELS])
    verse = verse[:-1].astype(float)  # L6 is rare and left out
    columns = [_apportion(verse[:, grade], wanted[grade]) for grade in range(4)]
    counts = {
        level: (int(columns[0][k]), 0, int(columns[2][k]), int(columns[3][k])) for k, level in enumerate(LEVELS[:-1])
    }
    runs = _runs([sum(counts[level]) for level in LEVELS[:-1]], _SUBJECTS_1283[split], rng)
    return [(split, grades) for grades in _deal(runs, counts, rng)]


def _apportion(weights: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers in proportion to weights that sum to ``total`` (largest remainders)."""
    exact = weights / max(weights.sum(), 1e-9) * total
    whole = np.floor(exact).astype(int)
    for place in np.argsort(whole - exact, kind="stable")[: total - int(whole.sum())]:
        whole[place] += 1
    return whole


def _runs(numbers: Sequence[int], subjects: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Runs of neighbouring levels (first, last) such that level k lies in ``numbers[k]`` of them.

    Raises:
        ValueError: that many subjects cannot be had.
    """
    open_runs: list[int] = []
    runs: list[tuple[int, int]] = []
    for place, number in enumerate([*numbers, 0]):
        while len(open_runs) > number:
            runs.append((open_runs.pop(int(rng.integers(len(open_runs)))), place - 1))
        open_runs += [place] * (number - len(open_runs))
    while len(runs) < subjects:
        longest = max(range(len(runs)), key=lambda k: runs[k][1] - runs[k][0] + rng.random())
        first, last = runs.pop(longest)
        if last == first:
            raise ValueError("there are fewer vertebrae than subjects")
        cut = int(rng.integers(first, last))
        runs += [(first, cut), (cut + 1, last)]
    while len(runs) > subjects:
        join = next(((a, b) for a in runs for b in runs if a[1] + 1 == b[0]), None)
        if join is None:
            raise ValueError("these levels cannot be shared among so few subjects")
        runs.remove(join[0])
        runs.remove(join[1])
        runs.append((join[0][0], join[1][1]))
    return [runs[k] for k in rng.permutation(len(runs))]


def _deal(runs: list[tuple[int, int]], counts: Counts, rng: np.random.Generator) -> list[dict[str, int | None]]:
    """Give each run's vertebrae grades so that every level gets its counts."""
    decks = {}
    for level, row in counts.items():
        deck = [grade for grade in range(4) for _ in range(row[grade])]
        rng.shuffle(deck)
        decks[level] = deck
    return [{LEVELS[k]: decks[LEVELS[k]].pop() for k in range(first, last + 1)} for first, last in runs]


PRESETS = ("grading-loss-1283", "verse19-1460", "uniform", "hard")
