"""How well bodies are found on synthetic spines, and what becomes of heights, grades and intervals.

The same spines are graded with their true masks (the ceiling) and with bodies found on their CTs from centroids alone.
The CTs show the spine and its surroundings only, so that hundreds can be rendered.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib import pipeline
from VertebralGradingLib.errors import InputError, MethodError
from VertebralGradingLib.evaluation.overlap import dice, overlap
from VertebralGradingLib.findings import Chances, Finding
from VertebralGradingLib.findings.states import NOT_ASSESSED
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.segmentation import BodyMask
from VertebralGradingLib.segmentation.finders import choose_finder
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.anatomy import VERSE
from VertebralGradingLib.spine.points import Point
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import Study

GRADE_SHARES = (0.803, 0.097, 0.066, 0.034)
"""Grades 0-3 as often as in VerSe 2019 (Loeffler et al., Radiol AI 2020)."""
SLICES_MM = (0.8, 1.5, 3.0, 5.0)
"""Thicknesses that spines are scanned with, in turn."""
TRUE_MASK = "true mask"
"""The search that needs none."""
LABEL = {level: label for label, level in VERSE.items()}
CLICK_SD_MM = 1.5
"""Scatter of the centroids that bodies are searched from, per axis."""


@dataclass(frozen=True, eq=False)
class Case:
    """One synthetic spine.

    Attributes:
        subject: its name.
        mask: true bodies, VerSe labels, voxels of 1 mm.
        points: exact middles of the bodies.
        clicks: the same with a human's scatter.
        truths: level -> :class:`truth.Truth`.
        mimics: level -> names.
        slice_mm: thickness of its slices.
        ct: HU, None where it was not rendered.
    """

    subject: str
    mask: Volume
    points: tuple[Point, ...]
    clicks: tuple[Point, ...]
    truths: dict[str, object]
    mimics: dict[str, list[str]]
    slice_mm: float
    ct: Volume | None = None


@dataclass(frozen=True)
class Row:
    """What one search made of one vertebra.

    Attributes:
        subject, level, search, slice_mm: which.
        true_mm: (3,) heights as they are.
        found_mm: (3,) as measured, empty when they were not.
        true_loss: graded loss, NaN where only a reader's grade is known, and ``true_grade``, None where it is not.
        grade, score, interval: of the finding, None when it was not graded.
        mimics: whether the vertebra has one.
        outcome: the state, or why it was not assessed.
        edge_sd_mm: standard deviation of an edge as the search tells it.
        dice: overlap of the body with the true mask.
        loss: the graded loss as measured, NaN where it was not.
        posterior_loss: as measured, NaN where it was not.
        loss_interval: 90 % interval of the graded loss (fractions, signed), None where not graded.
        chances: of grades 0-3, None where not graded.
    """

    subject: str
    level: str
    search: str
    slice_mm: float
    true_mm: tuple[float, ...]
    found_mm: tuple[float, ...]
    true_loss: float
    true_grade: int | None
    grade: int | None
    score: float | None
    interval: tuple[float, float] | None
    mimics: tuple[str, ...]
    outcome: str
    edge_sd_mm: float | None = None
    dice: float | None = None
    loss: float = float("nan")
    posterior_loss: float = float("nan")
    loss_interval: tuple[float, float] | None = None
    chances: Chances | None = None

    @property
    def chance(self) -> float | None:
        """Of grade 1 or more, None where not graded."""
        return None if self.chances is None else sum(self.chances[1:])


def draw_case(seed: int, mimics: float = 1.0, slice_mm: float = 1.5, images: bool = True, overlap: float = 0.2) -> Case:
    """Draw one spine of 6 to 10 levels.

    Args:
        seed: fixes it.
        mimics: see :func:`mimics.add_mimics`.
        slice_mm: thickness of its slices.
        images: whether its CT is rendered.
        overlap: share of a slice that the next one covers too.
    """
    from VertebralGradingLib.phantom.field import prepare
    from VertebralGradingLib.phantom.masks import body_masks
    from VertebralGradingLib.phantom.patches import body_middle
    from VertebralGradingLib.phantom.plans import LEVELS, SubjectPlan
    from VertebralGradingLib.phantom.subjects import make_subject
    from VertebralGradingLib.phantom.volumes import render_ct

    rng = np.random.default_rng([seed, 99])
    start = int(rng.integers(0, 10))
    levels = LEVELS[start : min(start + int(rng.integers(6, 11)), 17)]
    grades: dict[str, int | None] = {level: int(rng.choice(4, p=GRADE_SHARES)) for level in levels}
    subject = make_subject(SubjectPlan(f"sub-{seed}", "all", grades, mimic_rate=mimics), seed)
    ready = prepare(subject.spine)
    points, clicks = [], []
    for level in levels:
        frame = ready.frames[subject.spine.levels.index(level)]
        middle = frame[:3, :3] @ body_middle(subject.spine, level) + frame[:3, 3]
        points.append(_point(middle, level))
        clicks.append(_point(middle + rng.normal(0, CLICK_SD_MM, 3), level))
    ct = None
    if images:
        scanner = replace(subject.scanner, slice_mm=slice_mm, step_mm=(1 - overlap) * slice_mm, pixel_mm=0.9, tilt=0.0)
        ct = render_ct(subject.spine, scanner, list(levels), 36.0, 36.0, 44.0).ct
    mimicked = {level: list(names) for level, names in subject.mimics.items()}
    masks = body_masks(ready, levels)
    return Case(subject.plan.name, masks, tuple(points), tuple(clicks), dict(subject.truths), mimicked, slice_mm, ct)


def _point(place: NDArray[np.float64], level: str) -> Point:
    x, y, z = (float(v) for v in place)
    return Point((x, y, z), level, level)


def grade_case(case: Case, search: str) -> list[Row]:
    """Grade one spine; one that is refused counts as not graded, with the reason as outcome.

    Args:
        case: with its CT, unless ``search`` is "true mask".
        search: "true mask", or one of :data:`finders.CHOICES`.
    """
    studies: list[Study] = []
    try:
        if search == TRUE_MASK:
            spine, labels = build_spine(case.points), interpret(case.mask, "verse")
            report = pipeline.grade(None, spine, labels, on_study=studies.append)
        else:
            report = pipeline.grade(case.ct, build_spine(case.clicks), on_study=studies.append, bodies_by=search)
    except InputError as error:
        nothing: dict[str, Any] = {"found_mm": (), "grade": None, "score": None, "interval": None}
        return [Row(**_known(case, level, search), **nothing, outcome=error.message) for level in case.truths]
    bodies = {item.vertebra.level: item.measurement.body for item in studies[0].vertebrae if item.measurement}
    found = {finding.level: finding for finding in report.findings}
    return [_row(case, level, search, found[level], bodies.get(level)) for level in case.truths if level in found]


def _row(case: Case, level: str, search: str, finding: Finding, body: BodyMask | None) -> Row:
    return Row(
        **_known(case, level, search),
        found_mm=tuple(finding.heights_mm.values()),
        grade=finding.grade,
        score=finding.score,
        interval=finding.grade_interval,
        outcome=finding.reason if finding.state == NOT_ASSESSED else finding.state,
        edge_sd_mm=_edge_sd(finding),
        dice=None if body is None else overlap(body, case.mask, LABEL[level]),
        loss=_loss(finding),
        posterior_loss=finding.height_loss.get("posterior", float("nan")),
        loss_interval=_fractions(finding.loss_interval_percent),
        chances=finding.grade_probabilities,
    )


def _known(case: Case, level: str, search: str) -> dict[str, Any]:
    """What is true of a vertebra, whatever a search makes of it."""
    true: Any = case.truths[level]
    return {
        "subject": case.subject,
        "level": level,
        "search": search,
        "slice_mm": case.slice_mm,
        "true_mm": true.after_mm,
        "true_loss": true.graded,
        "true_grade": true.grade,
        "mimics": tuple(case.mimics.get(level, ())),
    }


def evaluate_bodies(
    spines: int,
    seed: int = 5000,
    searches: Sequence[str] = (TRUE_MASK, "classical"),
    mimics: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
    slices_mm: Sequence[float] = SLICES_MM,
) -> list[Row]:
    """Grade synthetic spines by several searches; thicknesses take turns, and every other round has no mimics.

    Args:
        spines: how many.
        seed: of the first; training uses other seeds.
        searches: see :func:`grade_case`.
        mimics: rate where there are any.
        progress: called with (done, spines).
        workers: processes; rows come in the same order however many there are.
        slices_mm: the thicknesses.

    Raises:
        MethodError: a process was ended from outside.
    """
    rows: list[Row] = []
    one = functools.partial(_rows, seed=seed, searches=tuple(searches), mimics=mimics, slices_mm=tuple(slices_mm))
    with contextlib.ExitStack() as stack:
        done: Iterable[list[Row]] = map(one, range(spines))
        if workers > 1:
            import torch

            apart = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, apart, torch.set_num_threads, (1,)))
            done = pool.map(one, range(spines))
        try:
            for n, part in enumerate(done):
                rows += part
                if progress is not None:
                    progress(n + 1, spines)
        except BrokenProcessPool as error:
            raise MethodError("A process that grades spines was ended.", "Run it again with fewer workers.") from error
    return rows


def _rows(n: int, seed: int, searches: Sequence[str], mimics: float, slices_mm: Sequence[float]) -> list[Row]:
    """Draw and grade the ``n``-th spine."""
    thickness = slices_mm[n % len(slices_mm)]
    rate = mimics if (n // len(slices_mm)) % 2 else 0.0
    case = draw_case(seed + n, rate, thickness, any(search != TRUE_MASK for search in searches))
    return [row for search in searches for row in grade_case(case, search)]


def evaluate_folder(
    data: str | Path,
    searches: Sequence[str] = (TRUE_MASK, "classical"),
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Grade the cases of a VerSe-style folder; heights measured in the given masks count as true.

    Cases of a split "train" are left out where there are others.

    Args:
        data: with CTs, masks and centroids; grades where it has them.
        searches: see :func:`grade_case`.
        progress: called with (done, cases).

    Raises:
        InputError: no case can be used.
    """
    from VertebralGradingLib.phantom.folders import read_folder

    cases = [case for case in read_folder(data) if case.ct and (case.mask or case.body_mask) and case.centroids]
    cases = [case for case in cases if case.split != "train"] or cases
    if not cases:
        raise InputError("The data folder has no case with CT, mask and centroids.", "Check the folder.")
    rows: list[Row] = []
    for number, case in enumerate(cases):
        ct, labels = case.load_ct(), interpret(case.load_mask(body=case.body_mask is not None), "verse")
        spine = build_spine(case.load_points())
        kept: list[Study] = []
        reports = {TRUE_MASK: pipeline.grade(ct, spine, labels, on_study=kept.append)}
        reports |= {s: pipeline.grade(ct, spine, on_study=kept.append, bodies_by=s) for s in searches if s != TRUE_MASK}
        given = {f.level: tuple(f.heights_mm.values()) for f in reports[TRUE_MASK].findings}
        true = {item.vertebra.level: item.measurement.body for item in kept[0].vertebrae if item.measurement}
        true = {level: body for level, body in true.items() if body.source == "given"}  # no mask of what was found
        for (search, report), study in zip(reports.items(), kept, strict=True):
            bodies = {item.vertebra.level: item.measurement.body for item in study.vertebrae if item.measurement}
            for finding in report.findings if search in searches else ():
                if not given.get(finding.level) or finding.level not in true:
                    continue
                mine = bodies.get(finding.level)
                same = None if mine is None else dice(mine, true[finding.level])
                rows.append(
                    Row(
                        case.person, finding.level, search, float(ct.spacing.max()), given[finding.level],
                        tuple(finding.heights_mm.values()), float("nan"), case.grades.get(finding.level),
                        finding.grade, finding.score, finding.grade_interval, (), finding.state, _edge_sd(finding),
                        same,
                    )
                )  # fmt: skip
        if progress is not None:
            progress(number + 1, len(cases))
    return rows


def usable(searches: Sequence[str] | None) -> tuple[str, ...]:
    """Searches to compare: those asked for, each once, or all that can be used.

    Raises:
        MethodError: one that was asked for is not known or cannot be used.
    """
    if searches:
        for search in searches:
            if search != TRUE_MASK:
                choose_finder(search)
        return tuple(dict.fromkeys(searches))
    learned = choose_finder("auto").about["source"] == "network"
    return (TRUE_MASK, "classical", "network") if learned else (TRUE_MASK, "classical")


def _loss(finding: Finding) -> float:
    """The largest of anterior, middle and mean loss, as :func:`truth.compare` grades."""
    losses = list(finding.height_loss.values())
    return max(losses[0], losses[1], sum(losses) / len(losses)) if losses else float("nan")


def _fractions(percent: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if percent is None else (percent[0] / 100.0, percent[1] / 100.0)


def _edge_sd(finding: Finding) -> float | None:
    evidence = finding.evidence_of("morphometry")
    return None if evidence is None else float(evidence.quantities["height_sd_mm"]["anterior"]) / float(np.sqrt(2))
