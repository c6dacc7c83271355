"""Making a planned subject: fractures whose grade, read with or without a reader's error, is the wanted one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.morphometry.genant import grade_of_loss
from VertebralGradingLib.phantom.alignment import align
from VertebralGradingLib.phantom.columns import index
from VertebralGradingLib.phantom.draw import SpineOptions, draw_spine
from VertebralGradingLib.phantom.drawer import seed_of
from VertebralGradingLib.phantom.fracture import MAX_LOSS, fracture
from VertebralGradingLib.phantom.imaging import Scanner, draw_scanner
from VertebralGradingLib.phantom.mimics import add_mimics
from VertebralGradingLib.phantom.parameters import SpineParameters
from VertebralGradingLib.phantom.plans import SubjectPlan
from VertebralGradingLib.phantom.truth import Truth, truth

READER_SD = (0.02, 0.045)
"""Standard deviation by which readers differ in a height loss, the range over readers."""
_SUBTLE = 0.12
"""Share of grade-0 vertebrae with a true loss below 20 %; the others have none: assumed."""
_TRIES = 40


@dataclass(frozen=True, eq=False)
class Subject:
    """One subject: spine, scanner, and what is true and what was read of each listed vertebra.

    Attributes:
        plan: what was wanted.
        spine: with fractures and mimics.
        scanner: how it is scanned.
        truths: level -> noise-free heights, losses, grade.
        read: level -> grade as read; differs from the true one only with reader noise.
        mimics: level -> names.
    """

    plan: SubjectPlan
    spine: SpineParameters
    scanner: Scanner
    truths: dict[str, Truth]
    read: dict[str, int]
    mimics: dict[str, list[str]] = field(default_factory=dict)


def make_subject(plan: SubjectPlan, seed: int) -> Subject:
    """Draw a subject according to its plan.

    Raises:
        ValueError: no spine could be drawn.
    """
    for attempt in range(_TRIES):
        own = seed_of(seed, attempt)
        variants = SpineOptions(variants=1.0 if "L6" in plan.grades else 0.0)
        spine = draw_spine(own, variants)
        if "T13" in spine.levels:
            spine = _without_t13(own)
        spine, mimics = add_mimics(spine, own, plan.mimic_rate)
        scanner = draw_scanner(own, thick=plan.thick)
        try:
            return _break(plan, spine, scanner, mimics, own)
        except (ValueError, MaskError):
            continue  # these fractures do not fit this spine: draw another person
    raise ValueError(f"no spine could be drawn for {plan.name}")


def _without_t13(seed: int) -> SpineParameters:
    """The spine of a seed with L6 but without T13."""
    spine = draw_spine(seed, SpineOptions(variants=1.0))
    keep = [n for n, level in enumerate(spine.levels) if level != "T13"]
    levels = tuple(spine.levels[n] for n in keep)
    return SpineParameters(spine.seed, levels, spine.vertebrae[keep], spine.trunk, spine.root)


def _break(
    plan: SubjectPlan, spine: SpineParameters, scanner: Scanner, mimics: dict[str, list[str]], seed: int
) -> Subject:
    rng = np.random.default_rng([seed, 51])
    reader_sd = float(rng.uniform(*READER_SD)) if plan.reader_noise else 0.0
    truths: dict[str, Truth] = {}
    read: dict[str, int] = {}
    for level, grade in plan.grades.items():
        for _ in range(_TRIES):
            loss, error = draw_loss(grade, reader_sd, rng)
            broken = fracture(spine, level, loss, int(rng.integers(1 << 31))) if loss > 0 else spine
            found = truth(broken, level)
            seen = grade_of_loss(max(found.graded + error, 0.0))
            if grade is None or seen == grade:
                break
        else:
            raise ValueError(f"no loss of {level} reads as grade {grade}")
        spine, truths[level], read[level] = broken, found, seen
    return Subject(plan, _straight_enough(spine), scanner, truths, read, mimics)


def draw_loss(grade: int | None, reader_sd: float, rng: np.random.Generator) -> tuple[float, float]:
    """A true loss and a reader's error that together read as ``grade``.

    Without a wanted grade the loss is uniform over 0 to 0.60, or none in a third of the vertebrae.
    """
    while True:
        error = float(rng.normal(0, reader_sd)) if reader_sd else 0.0
        if grade is None:
            return (0.0 if rng.random() < 1 / 3 else float(rng.uniform(0.02, MAX_LOSS))), error
        if grade == 0:
            loss = float(rng.uniform(0.03, 0.25)) if rng.random() < _SUBTLE else 0.0
        else:
            loss = float(rng.uniform(0.08, MAX_LOSS - 0.01))
        if grade_of_loss(max(loss + error, 0.0)) == grade:
            return loss, error


def _straight_enough(spine: SpineParameters) -> SpineParameters:
    """The spine, its fractures tilting it less when together they would bend it back on itself (heights stay)."""
    for _ in range(6):
        try:
            align(spine)
            return spine
        except ValueError:
            table = spine.vertebrae.copy()
            table[:, index("kyphosis")] *= 0.5
            spine = SpineParameters(spine.seed, spine.levels, table, spine.trunk, spine.root)
    align(spine)
    return spine
