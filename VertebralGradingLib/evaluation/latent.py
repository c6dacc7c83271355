"""The diffusion autoencoder's table on VerSe-style folders: detection, grading, beside morphometry on the true mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from VertebralGradingLib import pipeline
from VertebralGradingLib.diffusion_autoencoder.latent import LatentGrader, rounded
from VertebralGradingLib.errors import InputError
from VertebralGradingLib.evaluation.statistics import area_under_curve, by_subject, written
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.anatomy import axis_position
from VertebralGradingLib.spine.reformation import sagittal_patch
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.training.latent import Labelled, fit_grader

PUBLISHED = {
    ("direct", "linear"): (0.96, 0.23),
    ("direct", "svm"): (0.93, 0.59),
    ("means", "linear"): (0.96, 0.44),
    ("means", "svm"): (0.93, 0.51),
    ("poly1", "svm"): (0.93, 0.42),
    ("poly3", "svm"): (0.93, 0.56),
    ("direct", "tuned"): (0.96, 0.44),
}
"""Area under the curve and F1 of Keicher, Atad et al. 2023 on VerSe (sheet 1, section 9)."""
_NAMES = {"direct": "direct classes", "means": "line through means", "poly1": "degree 1", "poly2": "degree 2",
          "poly3": "degree 3", "isotonic": "isotonic"}  # fmt: skip
_REGIONS = {"T1-T6": (0.0, 6.5), "T7-T10": (6.5, 10.5), "T11-L2": (10.5, 14.5), "L3-L6": (14.5, 30.0)}


@dataclass(frozen=True, eq=False)
class Patches:
    """Labelled vertebrae of one split.

    Attributes:
        images: (N, 128, 128) HU.
        grade: (N,) 0..3.
        subject: (N,) names.
        level: (N,) names.
        beside: (N,) score of morphometry on the true mask, NaN where it did not grade.
    """

    images: NDArray[np.int16]
    grade: NDArray[np.int64]
    subject: list[str]
    level: list[str]
    beside: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Graded:
    """Latents of labelled vertebrae.

    Attributes:
        data: latents and what is known.
        level: (N,) names.
        beside: as in :class:`Patches`.
    """

    data: Labelled
    level: list[str] = field(default_factory=list)
    beside: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a fine-tuned encoder says of the test split.

    Attributes:
        decision: (N,) larger for fractured.
        grade: (N,) the class it chose.
    """

    decision: NDArray[np.float64]
    grade: NDArray[np.int64]


def collect(data: str | Path, progress: Callable[[int, int], None] | None = None) -> dict[str, Patches]:
    """Patches of every labelled vertebra of a VerSe-style folder, by split; masks are used for morphometry only.

    Args:
        data: the folder, with CTs, centroids and grades; splits where it has them (else all is "all").
        progress: called with (done, cases).

    Raises:
        InputError: no case can be used.
    """
    from VertebralGradingLib.phantom.folders import read_folder

    cases = [case for case in read_folder(data) if case.ct and case.centroids and case.grades]
    if not cases:
        raise InputError("The data folder has no case with CT, centroids and grades.", "Check the folder.")
    rows: dict[str, list[tuple[NDArray[np.int16], int, str, str, float]]] = {}
    for number, case in enumerate(cases):
        ct, spine = case.load_ct(), build_spine(case.load_points())
        scores = {}
        if case.mask or case.body_mask:
            labels = interpret(case.load_mask(body=case.body_mask is not None), "verse")
            scores = {f.level: f.score for f in pipeline.grade(None, spine, labels).findings}
        for v in spine.vertebrae:
            if v.level in case.grades and bool(ct.contains(v.center)):
                image = sagittal_patch(ct, spine, v).image.round().clip(-1024, 3071).astype(np.int16)
                found = scores.get(v.level)
                rows.setdefault(case.split or "all", []).append(
                    (image, case.grades[v.level], case.person, v.level, np.nan if found is None else found)
                )
        if progress is not None:
            progress(number + 1, len(cases))
    out = {}
    for split, part in rows.items():
        images, grade, subject, level, score = zip(*part, strict=True)
        out[split] = Patches(
            np.stack(images), np.array(grade), list(subject), list(level), np.array(score, dtype=float)
        )
    return out


def encoded(part: Patches, encode: Callable[[NDArray[np.int16]], NDArray[np.float64]]) -> Graded:
    """The latents of patches.

    Args:
        part: the patches.
        encode: (B, 128, 128) HU -> (B, L).
    """
    position = np.array([axis_position(name) for name in part.level])
    return Graded(Labelled(encode(part.images), part.grade, part.subject, position), part.level, part.beside)


def describe(
    train: Graded,
    test: Graded,
    seed: int = 0,
    draws: int = 500,
    tuned: Tuned | None = None,
    labelled: bool = False,
) -> tuple[list[str], LatentGrader]:
    """Fit on one split, and tell how well the other is graded.

    Args:
        train: what is fitted to.
        test: what is graded.
        seed: fixes folds and bootstrap samples.
        draws: of subjects, for intervals.
        tuned: what a fine-tuned encoder says of ``test``.
        labelled: whether the encoder was trained with labels, so that the first number of its latents is a score; rows
            of that alone are added, and it is what grades.

    Returns:
        the table, and the grader (support vector machine; degree 3, or the line through means for a labelled score).
    """
    allowed = np.unique(np.concatenate([train.data.grade, test.data.grade]))
    graders = {kind: fit_grader(train.data, kind, seed=seed) for kind in ("linear", "svm")}
    if labelled:
        graders["score"] = fit_grader(train.data, calibration="means", seed=seed, first=True)
    truth, subjects = test.data.grade, test.data.subject
    counts = ", ".join(f"grade {g}: {int((truth == g).sum())}" for g in allowed)
    lines = [
        f"{len(truth)} vertebrae of {len(set(subjects))} subjects ({counts}); 90 % intervals over subjects",
        f"{'':32s} {'AUC':24s} {'macro-F1 (a)':24s} (b)    kappa  MAE   published AUC, F1",
    ]
    for kind, grader in graders.items():
        distance = grader.distance(test.data.z)
        name = {"linear": "linear layer", "svm": "SVM", "score": "labelled score"}[kind]
        lines.append(
            _line(f"{name}, direct classes", distance, grader.direct(test.data.z), None, test, allowed,
                  PUBLISHED.get(("direct", kind)), draws)
        )  # fmt: skip
        for form, line in {grader.calibration.kind: grader.calibration, **grader.others}.items():
            score = line.grades(distance)
            note = f" ({line.fallback})" if line.fallback else ""
            lines.append(
                _line(f"{name}, {_NAMES[form]}{note}", distance, rounded(score, allowed), score, test, allowed,
                      PUBLISHED.get((form, kind)), draws)
            )  # fmt: skip
    if tuned is not None:
        lines.append(
            _line("encoder fine-tuned", tuned.decision, tuned.grade, None, test, allowed,
                  PUBLISHED["direct", "tuned"], draws)
        )  # fmt: skip
    known = np.isfinite(test.beside)
    if known.any():
        part = _part(test, known)
        lines.append(
            _line("morphometry, true mask", part.beside, rounded(part.beside, allowed), part.beside, part, allowed,
                  None, draws) + f"   ({int((~known).sum())} not graded)"
        )  # fmt: skip
    main = graders["score" if labelled else "svm"]
    lines += _by_region(main, test) + _order(main, test, allowed)
    return lines, main


def _line(
    name: str,
    decision: NDArray[np.float64],
    found: NDArray[np.int64],
    score: NDArray[np.float64] | None,
    part: Graded,
    allowed: NDArray[np.int64],
    published: tuple[float, float] | None,
    draws: int,
) -> str:
    truth, subjects = part.data.grade, part.data.subject
    used = truth != 1
    area = by_subject(lambda k: area_under_curve(truth[k][used[k]] >= 2, decision[k][used[k]]), subjects, draws)
    macro = by_subject(lambda k: macro_f1(truth[k], found[k], allowed), subjects, draws)
    raw = "" if score is None else f"{macro_f1(truth, rounded(score), allowed):.3f}"
    kappa = cohen_kappa_score(truth, found, labels=[0, 1, 2, 3], weights="quadratic")
    error = np.abs((found if score is None else score) - truth).mean()
    beside = "" if published is None else f"   {published[0]:.2f} {published[1]:.2f}"
    return f"{name:32s} {written(*area):24s} {written(*macro):24s} {raw:6s} {kappa:.3f}  {error:.2f}{beside}"


def macro_f1(truth: NDArray[np.int64], found: NDArray[np.int64], classes: Sequence[int] | NDArray[np.int64]) -> float:
    """Mean F1 over the grades that occur in the data; a grade found that never occurs counts as wrong."""
    values = []
    for grade in classes:
        both = int(((truth == grade) & (found == grade)).sum())
        either = int((truth == grade).sum() + (found == grade).sum())
        if either:
            values.append(2.0 * both / either)
    return float(np.mean(values)) if values else float("nan")


def _by_region(grader: LatentGrader, test: Graded) -> list[str]:
    lines = ["by region (what grades):"]
    score, distance = grader.score(test.data.z), grader.distance(test.data.z)
    for name, (low, high) in _REGIONS.items():
        here = (test.data.position >= low) & (test.data.position < high)
        if not here.any():
            continue
        truth = test.data.grade[here]
        area = area_under_curve(truth[truth != 1] >= 2, distance[here][truth != 1])
        interval = grader.interval(test.data.z[here])
        inside = ((interval[:, 0] <= truth) & (truth <= interval[:, 1])).mean()
        lines.append(
            f"  {name:7s} {int(here.sum()):4d} vertebrae, {int((truth >= 2).sum())} of grade 2 and 3: AUC {area:.3f}, "
            f"mean error {np.abs(score[here] - truth).mean():.2f}, intervals hold {inside:.3f}"
        )
    return lines


def _order(grader: LatentGrader, test: Graded, allowed: NDArray[np.int64]) -> list[str]:
    distance = grader.distance(test.data.z)
    means = [(int(g), float(distance[test.data.grade == g].mean())) for g in allowed if (test.data.grade == g).any()]
    rising = all(a[1] < b[1] for a, b in pairwise(means))
    text = ", ".join(f"grade {g}: {value:+.2f}" for g, value in means)
    return [f"mean distance {'rises' if rising else 'does not rise'} with the grade: {text}"]


def _part(graded: Graded, chosen: NDArray[np.bool_]) -> Graded:
    index = np.flatnonzero(chosen)
    return Graded(graded.data.part(chosen), [graded.level[k] for k in index], graded.beside[chosen])
