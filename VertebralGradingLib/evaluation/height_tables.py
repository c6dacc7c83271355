"""HealthiVert-GAN's tables: losses against the truth, grades by support vectors as published and honestly, likeness."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.evaluation.height_loss import ALONE, NAMES, NEIGHBOURS, NETWORK, TRUE, Row
from VertebralGradingLib.evaluation.latent import macro_f1
from VertebralGradingLib.evaluation.statistics import by_subject, written
from VertebralGradingLib.healthivert.method import edge_of_third
from VertebralGradingLib.morphometry.genant import grade_of_loss

PUBLISHED = {
    "HealthiVert-GAN": (0.727, 0.753, 0.723),
    "AOT-GAN": (0.710, 0.707, 0.692),
    "3D SupCon-SENet": (0.710, 0.636, 0.667),
}
"""Macro precision, recall and F1 on VerSe 2019 (sheet 2, section 11)."""
THIRDS = ("anterior", "middle", "posterior", "right", "central", "left")
FIELDS = (*THIRDS, "whole")
_GRADES = (0, 1, 2, 3)
_FOLDS = 5
_HEALTHY_LOSS = 0.02
"""Vertebrae whose true whole loss is no more are healthy."""

Floats = NDArray[np.float64]
Grades = NDArray[np.int64]


def describe(rows: Sequence[Row], seed: int = 0, draws: int = 500) -> list[str]:
    """All tables.

    Args:
        rows: of :func:`height_loss.evaluate_presets`.
        seed: fixes folds and bootstrap samples.
        draws: of subjects, for intervals.
    """
    subjects, counts = len({row.subject for row in rows}), np.bincount([row.grade for row in rows], minlength=4)
    head = f"{len(rows)} vertebrae of {subjects} subjects, grades 0-3: {' '.join(map(str, counts))}"
    lines = [f"{head}; 90 % intervals over subjects", ""]
    return [*lines, *_errors(rows, draws), "", *_grades(rows, seed, draws), "", *_likeness(rows, draws)]


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Every vertebra's losses by every reference, as CSV."""
    names = [name for name in NAMES if any(name in row.features for row in rows)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "split", "level", "grade", "true_grade", "mimic", "morphometry"]
                        + [f"{name} {part}" for name in names for part in FIELDS])  # fmt: skip
        for row in rows:
            values = [v for name in names for v in row.features.get(name, [float("nan")] * len(FIELDS))]
            writer.writerow(
                [row.subject, row.split, row.level, row.grade, row.true_grade, int(row.mimic), f"{row.beside:.3f}"]
                + [f"{value:.4f}" for value in values]
            )


def _features(rows: Sequence[Row], name: str) -> Floats:
    """(N, 7); NaN where the reference says nothing."""
    return np.array([row.features.get(name, (np.nan,) * len(FIELDS)) for row in rows], dtype=float)


def _errors(rows: Sequence[Row], draws: int) -> list[str]:
    """Mean absolute error and bias of the losses of thirds."""
    true, subjects = _features(rows, TRUE), [row.subject for row in rows]
    healthy = np.abs(true[:, -1]) <= _HEALTHY_LOSS
    names = [name for name in NAMES if name != TRUE and any(name in row.features for row in rows)]
    known = np.all([np.isfinite(_features(rows, name)[:, [0, 1, 2, 6]]).all(1) for name in (NETWORK, NEIGHBOURS)], 0)
    lines = [
        f"loss against the truth, mean absolute error; on the {int(known.sum())} vertebrae that have both references "
        f"({int((known & healthy).sum())} healthy)",
        f"{'':46s} {'anterior':22s} {'middle':22s} {'posterior':22s} {'mean of thirds':22s} columns  right centr. left",
    ]
    for title, chosen in (("all", known), ("healthy", known & healthy), ("fractured", known & ~healthy)):
        for name in names:
            error = np.abs(_features(rows, name) - true)
            columns = np.array([row.columns.get(name, np.nan) for row in rows])

            some = np.flatnonzero(chosen)
            whose = [subjects[int(n)] for n in some]

            def mean(values: Floats, some: NDArray[np.intp] = some, whose: Sequence[str] = whose) -> str:
                part = values[some]
                return written(*by_subject(lambda at: float(np.nanmean(part[at])), whose, draws))

            if not chosen.any():
                continue
            thirds = "".join(f"{mean(error[:, k]):23s}" for k in range(3)) + f"{mean(error[:, :3].mean(1)):23s}"
            sides = " ".join(f"{np.nanmean(error[chosen, k]):.3f}" for k in (3, 4, 5))
            lines.append(f"{title + ', ' + NAMES[name]:46s} {thirds}{np.nanmean(columns[chosen]):.3f}    {sides}")
    lines.append("mean error of healthy vertebrae (bias), thirds and whole:")
    for name in names:
        bias = (_features(rows, name) - true)[known & healthy][:, [0, 1, 2, 6]]
        lines.append(f"  {NAMES[name]:32s} " + " ".join(f"{value:+.3f}" for value in np.nanmean(bias, axis=0)))
    missing = {name: int((~np.isfinite(_features(rows, name)[:, -1])).sum()) for name in names}
    lines.append("without a reference: " + ", ".join(f"{NAMES[name]} {count}" for name, count in missing.items()))
    return lines


def _grades(rows: Sequence[Row], seed: int, draws: int) -> list[str]:
    """Grades by support vectors and by Genant's limits."""
    lines = [
        "four grades: macro precision, recall, F1; F1 of grade 1",
        f"{'':62s} {'P':6s} {'R':6s} {'F1':22s} G1",
    ]
    splits = {row.split for row in rows}
    for name in (NETWORK, ALONE, NEIGHBOURS, TRUE):
        if not any(name in row.features for row in rows):
            continue
        for count in (3, 6):
            part, x = _known(rows, name, count)
            truth = np.array([row.grade for row in part])
            title = f"{NAMES[name]}, {count} features"
            found = grouped(x, truth, [row.subject for row in part], seed)
            lines.append(_line(f"{title}, grouped folds", part, truth, found, draws))
            if {"train", "val", "test"} <= splits:
                lines.append(f"{title + ', published protocol':62s} " + _published_protocol(part, x, truth, seed))
        part, x = _known(rows, name, 3)
        found = np.array([unlearned(row) for row in _with_whole(part, name)])
        lines.append(_line(f"{NAMES[name]}, Genant's limits (unlearned)", part, np.array([r.grade for r in part]),
                           found, draws))  # fmt: skip
    truth = np.array([row.grade for row in rows])
    lines.append(_line("morphometry, exact heights", rows, truth,
                       np.array([int(np.floor(row.beside + 0.5)) for row in rows]), draws))  # fmt: skip
    lines.append(_line("true grade (readers' noise alone)", rows, truth,
                       np.array([row.true_grade for row in rows]), draws))  # fmt: skip
    for title, (precision, recall, score) in PUBLISHED.items():
        lines.append(f"{'published, VerSe 2019: ' + title:62s} {precision:.3f}  {recall:.3f}  {score:.3f}")
    return lines


def _known(rows: Sequence[Row], name: str, count: int) -> tuple[list[Row], Floats]:
    """Rows whose features are known, and those."""
    x = _features(rows, name)[:, :count]
    some = np.flatnonzero(np.isfinite(x).all(1))
    return [rows[int(n)] for n in some], x[some]


def _with_whole(rows: Sequence[Row], name: str) -> list[tuple[float, ...]]:
    return [row.features[name] for row in rows]


def unlearned(features: Sequence[float]) -> int:
    """Grade of a loss by Genant's limits, the anterior third's raised to that of its edge."""
    return grade_of_loss(max(edge_of_third(features[0]), features[1], features[-1], 0.0))


def classifier(x: Floats, grade: Grades) -> Callable[[Floats], Grades]:
    """Support vectors as published: standardised features, linear kernel, balanced classes, C = 1.

    Args:
        x: (N, F).
        grade: (N,).
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    fitted = make_pipeline(StandardScaler(), SVC(kernel="linear", class_weight="balanced")).fit(x, grade)
    return lambda other: np.asarray(fitted.predict(other), dtype=np.int64)


def grouped(x: Floats, grade: Grades, subjects: Sequence[str], seed: int = 0) -> Grades:
    """Grades of every vertebra by support vectors that have not seen its subject."""
    from sklearn.model_selection import StratifiedGroupKFold

    out = np.zeros(len(x), dtype=np.int64)
    folds = StratifiedGroupKFold(min(_FOLDS, len(set(subjects))), shuffle=True, random_state=seed)
    for learned, left in folds.split(x, grade, subjects):
        out[left] = classifier(x[learned], grade[learned])(x[left])
    return out


def _published_protocol(rows: Sequence[Row], x: Floats, truth: Grades, seed: int) -> str:
    """Five classifiers, each on four fifths of train and test, all scored on val; means (sheet 2, section 10)."""
    from sklearn.model_selection import KFold

    pool = np.flatnonzero([row.split != "val" for row in rows])
    val = np.flatnonzero([row.split == "val" for row in rows])
    scores = []
    for learned, _ in KFold(_FOLDS, shuffle=True, random_state=seed).split(pool):
        found = classifier(x[pool[learned]], truth[pool[learned]])(x[val])
        scores.append([*_macro(truth[val], found), _f1(truth[val], found, 1)])
    precision, recall, score, first = np.mean(scores, axis=0)
    return f"{precision:.3f}  {recall:.3f}  {score:.3f}                  {first:.3f}"


def _line(name: str, rows: Sequence[Row], truth: Grades, found: Grades, draws: int) -> str:
    precision, recall, _ = _macro(truth, found)
    score = by_subject(lambda k: macro_f1(truth[k], found[k], _GRADES), [row.subject for row in rows], draws)
    return f"{name:62s} {precision:.3f}  {recall:.3f}  {written(*score):22s} {_f1(truth, found, 1):.3f}"


def _macro(truth: Grades, found: Grades) -> tuple[float, float, float]:
    precision, recall = [], []
    for grade in _GRADES:
        both = float(((truth == grade) & (found == grade)).sum())
        precision.append(both / max(int((found == grade).sum()), 1))
        recall.append(both / max(int((truth == grade).sum()), 1))
    return float(np.mean(precision)), float(np.mean(recall)), macro_f1(truth, found, _GRADES)


def _f1(truth: Grades, found: Grades, grade: int) -> float:
    both = int(((truth == grade) & (found == grade)).sum())
    return 2.0 * both / max(int((truth == grade).sum() + (found == grade).sum()), 1)


def _likeness(rows: Sequence[Row], draws: int) -> list[str]:
    lines = [
        "middle sagittal slice against the unbroken vertebra",
        f"{'':34s} {'Dice':22s} {'height error, abs.':22s} bias    {'SSIM':22s} PSNR dB",
    ]
    true = _features(rows, TRUE)
    healthy = np.abs(true[:, -1]) <= _HEALTHY_LOSS
    for title, chosen in (("healthy", healthy), ("fractured", ~healthy)):
        for name in (NETWORK, NEIGHBOURS):
            part = [row for row, is_chosen in zip(rows, chosen, strict=True) if is_chosen and name in row.likeness]
            if not part:
                continue
            said = [row.likeness[name] for row in part]
            subjects = [row.subject for row in part]

            def mean(values: Floats, subjects: Sequence[str] = subjects, digits: int = 3) -> str:
                return written(*by_subject(lambda k: float(np.mean(values[k])), subjects, draws), digits)

            error = np.array([one.height_error for one in said])
            text = f"{mean(np.array([one.dice for one in said])):22s} {mean(np.abs(error)):22s} {error.mean():+.3f}"
            if name == NETWORK:
                text += f"  {mean(np.array([one.ssim for one in said])):22s} "
                text += mean(np.array([one.psnr_db for one in said]), digits=1)
            lines.append(f"{title + ', ' + NAMES[name]:34s} {text}")
    return lines
