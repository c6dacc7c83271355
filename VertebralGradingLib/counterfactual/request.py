"""What is asked for: a grade or a loss and a shape, and the three heights that follow for one vertebra.

A vertebra is thought to have been healthy once: as high as its reference, and nowhere lower than it is now. Small
losses are taken as its own size, not as a fracture (:data:`SOUND_LOSS`), so that asking for its own grade asks for
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import InputError
from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS, loss_of_score, score_of_loss
from VertebralGradingLib.morphometry.heights import MIN_HEIGHT_MM
from VertebralGradingLib.morphometry.reference import graded_loss

Floats = NDArray[np.float64]

OWN = "own"
TYPICAL: dict[str, tuple[float, float, float]] = {
    "wedge": (1.00, 0.48, 0.10),
    "biconcave": (0.34, 1.00, 0.59),
    "crush": (0.93, 1.00, 0.75),
}
"""Loss of anterior, middle and posterior height of each of Genant's shapes, as parts of the graded loss.

Genant et al. (J Bone Miner Res 1993;8:1137) draw a wedge with most of the loss in front, a biconcave body with most in
the middle, a crush with all of it. The numbers are means of this program's own synthetic fractures, whose shapes are
assumed.
"""
SHAPES = (OWN, *TYPICAL)
WHEN_SOUND = "wedge"
"""The shape of a sound vertebra at another grade, when its own is asked for: the commonest one."""
SOUND_LOSS, BROKEN_LOSS = 0.10, GRADE_BOUNDS[0]
"""Graded loss up to which a vertebra is taken as sound, and from which all of its loss counts; in between a part."""
MAX_LOSS = 0.75
"""Largest loss that can be asked for, of any height."""


@dataclass(frozen=True)
class Request:
    """What one vertebra is to look like.

    Attributes:
        grade: 0 to 3 on the axis that all methods share, parts allowed; ignored where ``loss`` is given.
        shape: one of :data:`SHAPES`; "own" keeps the shape of what is lost already.
        loss: graded loss (fraction) instead of a grade.
    """

    grade: float = 0.0
    shape: str = OWN
    loss: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            InputError: another shape, a grade outside 0 to 3, or a loss outside 0 to :data:`MAX_LOSS`.
        """
        if self.shape not in SHAPES:
            raise InputError(f"There is no shape {self.shape!r}.", f"Choose one of: {', '.join(SHAPES)}.")
        if not 0.0 <= self.grade <= 3.0 or not (self.loss is None or 0.0 <= self.loss <= MAX_LOSS):
            raise InputError(
                "This grade or loss cannot be drawn.", f"Give a grade of 0 to 3, or a loss of 0 to {MAX_LOSS}."
            )


@dataclass(frozen=True, eq=False)
class Health:
    """What a vertebra was before it broke, as far as can be told; arrays are (3,) anterior, middle, posterior.

    Attributes:
        healthy_mm: its heights then.
        heights_mm: now.
    """

    healthy_mm: Floats
    heights_mm: Floats

    @classmethod
    def of(cls, heights_mm: Floats, reference_mm: Floats) -> Health:
        """Judge heights by the patient's reference for them (:class:`reference.HeightGrade`)."""
        loss = np.maximum(1.0 - heights_mm / reference_mm, 0.0)  # a fracture raises no height
        graded = float(graded_loss(loss, np.log(reference_mm)))
        believed = np.clip((graded - SOUND_LOSS) / (BROKEN_LOSS - SOUND_LOSS), 0.0, 1.0)
        return cls(heights_mm / (1.0 - believed * loss), heights_mm)

    @property
    def loss(self) -> Floats:
        """(3,) loss of each height, at least 0."""
        return 1.0 - self.heights_mm / self.healthy_mm

    @property
    def graded(self) -> float:
        """The loss that is graded."""
        return self.graded_of(self.heights_mm)

    @property
    def score(self) -> float:
        """Its own grade, with parts."""
        return self.score_of(self.heights_mm)

    def score_of(self, heights_mm: Floats) -> float:
        """Grade of other heights, with parts."""
        return float(score_of_loss(self.graded_of(heights_mm)))

    def graded_of(self, heights_mm: Floats) -> float:
        """Graded loss of other heights against the healthy ones."""
        return float(graded_loss(1.0 - heights_mm / self.healthy_mm, np.log(self.healthy_mm)))

    def asked(self, request: Request) -> float:
        """The graded loss that is asked for; grade 3 is open above: a vertebra that has lost more keeps it there."""
        if request.loss is not None:
            return request.loss
        worst = max(self.graded, float(loss_of_score(3.0)))
        above = (request.grade - float(score_of_loss(GRADE_BOUNDS[2]))) / (3.0 - float(score_of_loss(GRADE_BOUNDS[2])))
        return (
            float(loss_of_score(request.grade)) if above <= 0.0 else GRADE_BOUNDS[2] + above * (worst - GRADE_BOUNDS[2])
        )

    def target(self, request: Request) -> Floats:
        """(3,) heights (mm) that a request asks for; as they are when it asks for the own grade and shape.

        In its own shape a vertebra goes back the way it came. Onwards it goes on so, the more the more of a fracture it
        has; a sound one goes on as a typical wedge.
        """
        graded = self.asked(request)
        if request.shape == OWN and graded <= self.graded:
            lost = self.loss * (graded / max(self.graded, 1e-9))
        elif request.shape == OWN:
            share = min(self.graded / BROKEN_LOSS, 1.0)
            own = self.loss / max(self.graded, 1e-9)
            lost = self._onwards(self.loss, share * own + (1.0 - share) * np.array(TYPICAL[WHEN_SOUND]), graded)
        else:
            lost = self._onwards(np.zeros(3), np.array(TYPICAL[request.shape]), graded)
        return np.maximum(self.healthy_mm * (1.0 - lost), MIN_HEIGHT_MM)

    def _onwards(self, start: Floats, way: Floats, graded: float) -> Floats:
        """(3,) losses from ``start`` along ``way`` whose graded loss is the wanted one; none above :data:`MAX_LOSS`."""
        low, high = 0.0, MAX_LOSS / float(way.max())
        for _ in range(50):
            middle = (low + high) / 2.0
            enough = float(graded_loss(start + middle * way, np.log(self.healthy_mm))) >= graded
            low, high = (low, middle) if enough else (middle, high)
        return np.minimum(start + high * way, MAX_LOSS)


def health_of_evidence(quantities: dict[str, Any]) -> Health:
    """What morphometry's evidence tells (``heights_mm`` and ``reference_mm`` by position)."""
    from VertebralGradingLib.morphometry.height_rows import from_named

    return Health.of(from_named(quantities["heights_mm"]), from_named(quantities["reference_mm"]))
