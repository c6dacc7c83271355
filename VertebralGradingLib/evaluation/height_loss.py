"""Relative height loss against the truth: synthetic spines whose vertebrae are known as they were before they broke.

Slices are scanned straight from the phantom's field, where a user's mask would put them, and go through the generators
as slices of a CT do. Shapes are exact, for the vertebra and for the neighbours of the baseline alike.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import InputError, MaskError, MethodError
from VertebralGradingLib.evaluation.likeness import Likeness, likeness
from VertebralGradingLib.evaluation.scanned import PhantomVertebra
from VertebralGradingLib.healthivert.fusion import DrawnStack
from VertebralGradingLib.healthivert.inference import Healthivert, compared, places_mm
from VertebralGradingLib.healthivert.neighbours import Shape, interpolated
from VertebralGradingLib.healthivert.patient import patient_scale
from VertebralGradingLib.healthivert.pseudo_healthy import PseudoHealthy, column_heights
from VertebralGradingLib.healthivert.rhlv import View
from VertebralGradingLib.morphometry.height_rows import HeightRow, grade_rows
from VertebralGradingLib.phantom.drawer import seed_of
from VertebralGradingLib.phantom.field import prepare
from VertebralGradingLib.phantom.parameters import healed
from VertebralGradingLib.phantom.plans import PRESETS, SubjectPlan, plan
from VertebralGradingLib.phantom.subjects import Subject, make_subject
from VertebralGradingLib.phantom.truth import body_sheets
from VertebralGradingLib.spine.anatomy import axis_position

Floats = NDArray[np.float64]
TRUE, NEIGHBOURS, NETWORK, ALONE = "true", "neighbours", "healthivert", "alone"
NAMES = {
    TRUE: "true heights",
    NEIGHBOURS: "neighbours' shape",
    NETWORK: "HealthiVert-GAN",
    ALONE: "the same without the patient's scale",
    "sagittal": "the same, sagittal slices alone",
    "coronal": "the same, coronal slices alone",
}
_EXACT_SD_MM = 0.1


@dataclass(frozen=True)
class Row:
    """One vertebra.

    Attributes:
        subject, split, level: which.
        grade: as read.
        true_grade: of the noise-free loss.
        mimic: whether something looks like a fracture.
        beside: continuous score of morphometry on the exact heights.
        features: for each reference, loss of the anterior, middle, posterior, right, central and left third, and of
            the whole; NaN where it is not known.
        columns: for each reference, mean absolute error of the loss of a column.
        likeness: of the middle sagittal slice, by method, to the unbroken vertebra.
    """

    subject: str
    split: str
    level: str
    grade: int
    true_grade: int
    mimic: bool
    beside: float
    features: dict[str, tuple[float, ...]] = field(default_factory=dict)
    columns: dict[str, float] = field(default_factory=dict)
    likeness: dict[str, Likeness] = field(default_factory=dict)


def evaluate_presets(
    system: Callable[[], Healthivert],
    preset: str = "verse19-1460",
    n: int = 0,
    seed: int = 0,
    every: int = 1,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Rows of every vertebra of a preset.

    Args:
        system: loads the networks; can be sent to other processes.
        preset: one of :data:`plans.PRESETS`.
        n: subjects; 0 for all of a published preset.
        seed: of the subjects, as for ``vertebral-grading phantom``.
        every: take every so many subjects only, for a quick look.
        workers: processes.
        progress: called with (done, subjects).

    Raises:
        InputError: an unknown preset.
        MethodError: a process was ended from outside.
    """
    try:
        numbers = range(0, len(plan(preset, n, seed)), every)
    except ValueError as error:
        raise InputError(f"There is no such data set: {error}.", f"Presets: {', '.join(PRESETS)}.") from error
    one = functools.partial(_subject_rows, system=system, preset=preset, n=n, seed=seed)
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        done: Iterable[list[Row]] = map(one, numbers)
        if workers > 1:
            import torch

            apart = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, apart, torch.set_num_threads, (1,)))
            done = pool.map(one, numbers)
        try:
            for number, part in enumerate(done):
                rows += part
                if progress is not None:
                    progress(number + 1, len(numbers))
        except BrokenProcessPool as error:
            raise MethodError("A process that draws spines was ended.", "Run it again with fewer workers.") from error
    return rows


def installed() -> Healthivert:
    """The installed networks."""
    return Healthivert.load()


def of_runs(folders: dict[View, Path]) -> Healthivert:
    """Those of training runs."""
    return Healthivert.of_runs(folders)


def _subject_rows(number: int, system: Callable[[], Healthivert], preset: str, n: int, seed: int) -> list[Row]:
    wanted: SubjectPlan = plan(preset, n, seed)[number]
    subject = make_subject(wanted, seed_of(seed, number))
    return list(judge(subject, _system(system)))


_SYSTEMS: dict[str, Healthivert] = {}


def _system(load: Callable[[], Healthivert]) -> Healthivert:
    """The networks, loaded once in a process."""
    key = repr(load)
    if key not in _SYSTEMS:
        _SYSTEMS[key] = load()
    return _SYSTEMS[key]


def judge(subject: Subject, system: Healthivert) -> Iterator[Row]:
    """Rows of one subject's vertebrae.

    Raises:
        MethodError: the networks want straightened slices.
    """
    if system.straight:
        raise MethodError(
            "Phantoms are judged on flat slices, and these networks want straightened ones.",
            "Write the phantoms as CTs, and grade those.",
        )
    ready = prepare(subject.spine)
    levels = list(subject.truths)
    sheets = {level: body_sheets(subject.spine, level) for level in levels}
    shapes = [Shape(level, axis_position(level), True, sheets[level]) for level in levels]
    graded = grade_rows(
        [
            HeightRow(level, axis_position(level), float(k), True, np.array(subject.truths[level].after_mm),
                      np.full(3, _EXACT_SD_MM), None, True)
            for k, level in enumerate(levels)
        ]
    )  # fmt: skip
    broken = [graded[level][0].grade >= 1 for level in levels]
    chain = [PhantomVertebra(subject, ready, levels, k, sheets[level]) for k, level in enumerate(levels)]
    drawn = [_drawn(one, broken, system) for one in chain]
    alone = [
        compared(one, sheets[one], d, system.calibration) if d else None for one, d in zip(levels, drawn, strict=True)
    ]
    for k, level in enumerate(levels):
        whole = body_sheets(healed(subject.spine, (level,)), level)
        own = column_heights(sheets[level])
        found = {TRUE: PseudoHealthy(level, own, np.where(np.isfinite(own), whole.top - whole.bottom, np.nan))}
        sound = [shapes[m] for m in _nearest(k, broken) if m is not None]
        if sound:
            found[NEIGHBOURS] = interpolated(shapes[k], sound)
        seen = alone[k]
        if seen is not None:
            found[NETWORK] = seen.lowered(patient_scale(k, [not one for one in broken], alone.__getitem__))
            found[ALONE] = seen
            if len(drawn[k]) > 1:
                found |= {d.view: compared(level, sheets[level], [d], system.calibration) for d in drawn[k]}
        yield Row(
            subject.plan.name,
            subject.plan.split,
            level,
            subject.read[level],
            subject.truths[level].grade,
            level in subject.mimics,
            float(graded[level][0].score),
            {name: features(one) for name, one in found.items()},
            {name: _column_error(one, found[TRUE]) for name, one in found.items()},
            _likeness(chain[k], drawn[k], found),
        )


def _drawn(vertebra: PhantomVertebra, broken: Sequence[bool], system: Healthivert) -> list[DrawnStack]:
    """One vertebra's slices of every view, drawn; none where no slice can be used."""
    out = []
    for view, networks in system.views.items():
        size = networks.generator.config.size
        try:
            out.append(networks.draw(vertebra.slices(broken, view, size)))
        except MaskError:
            return []  # its features stay unknown, and are counted as such
    return out


def healthy_columns(subject: Subject, system: Healthivert) -> Iterator[tuple[Floats, Floats, Floats]]:
    """For a calibration: places u and v, and log of drawn by own height, of the columns of every unbroken vertebra."""
    ready, levels = prepare(subject.spine), list(subject.truths)
    broken = [subject.truths[level].grade >= 1 for level in levels]
    for k, level in enumerate(levels):
        if level in subject.spine.fractured():
            continue
        sheets = body_sheets(subject.spine, level)
        drawn = _drawn(PhantomVertebra(subject, ready, levels, k, sheets), broken, system)
        if not drawn:
            continue
        found = compared(level, sheets, drawn)
        _, _, u, v = places_mm(sheets)
        at = np.meshgrid(u, v, indexing="ij")
        known = np.isfinite(found.own_mm) & np.isfinite(found.healthy_mm)
        yield at[0][known], at[1][known], np.log(found.healthy_mm / found.own_mm)[known]


def _nearest(k: int, broken: Sequence[bool]) -> tuple[int | None, int | None]:
    above = max((m for m in range(k) if not broken[m]), default=None)
    below = min((m for m in range(k + 1, len(broken)) if not broken[m]), default=None)
    return above, below


def features(found: PseudoHealthy) -> tuple[float, ...]:
    """(7,) loss of the thirds from front to back and from right to left, and of the whole."""
    front, across = found.relative_height_loss(), found.relative_height_loss("coronal")
    return (*front.features, *across.features, front.whole)


def _column_error(found: PseudoHealthy, true: PseudoHealthy) -> float:
    known = np.isfinite(found.loss) & np.isfinite(true.loss)
    return float(np.abs(found.loss - true.loss)[known].mean()) if known.any() else float("nan")


def _likeness(
    vertebra: PhantomVertebra, drawn: Sequence[DrawnStack], found: dict[str, PseudoHealthy]
) -> dict[str, Likeness]:
    """Of the middle sagittal slice to the unbroken vertebra; of the neighbours' shape its mask alone."""
    sagittal = next((stack for stack in drawn if stack.view == "sagittal"), None)
    if sagittal is None or not (sagittal.offsets_mm == 0.0).any():
        return {}
    state, spine = vertebra.ready, vertebra.subject.spine
    if vertebra.level in spine.fractured():
        state = prepare(healed(spine, (vertebra.level,)))
    whole, size = [False] * len(vertebra.levels), sagittal.fine.shape[1]
    true = vertebra.slices(whole, "sagittal", size, np.zeros(1), state)
    return likeness(sagittal, true, found.get(NEIGHBOURS))
