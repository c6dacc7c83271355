"""Synthetic vertebrae in a block of CT with their neighbours, and true pictures of the same ones at other grades.

A fractured vertebra is shown as it was before; a healthy one broken to grades 1 and 2 in one of Genant's shapes, to
grade 3 in each of them. Place, look and scanner stay, noise is drawn anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.evaluation.counterfactuals import LOSS_OF_GRADE, SHAPES, Target
from VertebralGradingLib.evaluation.flat import Image, Mask
from VertebralGradingLib.evaluation.spines import draw_spines
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.spine.points import Point
from VertebralGradingLib.spine.reformation import PATCH_SIZE, Grid

BLOCK = (224, PATCH_SIZE, 57)
"""Samples of 1 mm: about seven lumbar vertebrae, whose reference is then the patient's."""
CLICK_SD_MM = 1.5
"""Scatter of centroids, per axis."""
_LEAVES_MM = 10
_EACH = 2
"""Broken and whole vertebrae of one spine, at most."""


@dataclass(frozen=True, eq=False)
class Aim:
    """One true picture of the vertebra at another grade.

    Attributes:
        grade: 0 to 3.
        loss: graded, 0 at grade 0.
        target: its picture, mask and true heights.
        again: the same picture from another scan: (128, 128) HU with other noise.
    """

    grade: int
    loss: float
    target: Target
    again: Image


@dataclass(frozen=True, eq=False)
class Scene:
    """One vertebra with its surroundings.

    Attributes:
        subject: its spine.
        level: which.
        grade: as it is.
        ct: HU.
        mask: VerSe labels of bodies on the same grid.
        points, clicks: exact middles of the bodies, and as a human would mark them.
        grid: where the pictures lie.
        image: (128, 128) HU as it is, ``body`` its body in it, ``beside`` those of its neighbours.
        aims: at other grades.
    """

    subject: str
    level: str
    grade: int
    ct: Volume
    mask: Volume
    points: tuple[Point, ...]
    clicks: tuple[Point, ...]
    grid: Grid
    image: Image
    body: Mask
    beside: list[Mask]
    aims: list[Aim]


def draw_scenes(count: int, seed: int = 9000) -> Iterator[Scene]:
    """Vertebrae without mimics, fractured ones and whole ones in turn.

    Args:
        count: of vertebrae.
        seed: fixes them.
    """
    given = 0
    for drawn in draw_spines(seed, 2, lambda level: level not in ("T1", "L5"), LOSS_OF_GRADE[1]):
        for pair in zip(_padded(drawn.broken), _padded(drawn.whole), strict=True):
            for level in (one for one in pair if one):
                scene = _scene(drawn.pool, level, int(drawn.rng.integers(1 << 31)), drawn.subject)
                if scene is not None:
                    yield scene
                    given += 1
                if given == count:
                    return


def _padded(levels: list[str]) -> list[str]:
    return [*levels, *[""] * _EACH][:_EACH]


def _scene(pool: list[Any], level: str, seed: int, subject: str) -> Scene | None:
    """One scene; None where the body cannot take one of the shapes, or the scan does not show it."""
    from VertebralGradingLib.morphometry.genant import grade_of_loss
    from VertebralGradingLib.phantom.fracture import fracture
    from VertebralGradingLib.phantom.parameters import healed
    from VertebralGradingLib.phantom.states import States
    from VertebralGradingLib.phantom.truth import body_heights

    spine, loss = pool[0].spine, pool[0].graded_loss(level)
    wanted = [(0, 0.0, "healed")]
    states = [healed(spine, (level,))]
    if level not in pool[0].truths:
        one = SHAPES[seed % len(SHAPES)]
        wanted = [(g, lost, shape) for g, lost in LOSS_OF_GRADE.items() for shape in (SHAPES if g == 3 else (one,))]
        try:
            states = [fracture(spine, level, lost, seed, shape) for _, lost, shape in wanted]
        except (ValueError, MaskError):
            return None
    shown = States(pool, level, seed, BLOCK)
    ct, mask = shown.scanned(spine)
    pictures, bodies = shown.pictures(states)
    again, _ = shown.pictures(states, again=True)
    here, seen = shown.in_patch(mask.array), shown.in_patch(ct.array).astype(np.float32)
    own = int(here[PATCH_SIZE // 2, PATCH_SIZE // 2])
    masks = bodies == own
    if own == 0 or masks.sum((1, 2)).min() < 100 or (here == own).sum() < 100:
        return None
    aims = [
        Aim(grade, lost, Target(name, pictures[k], masks[k], body_heights(states[k], level)), again[k])
        for k, (grade, lost, name) in enumerate(wanted)
    ]
    beside = [here == other for other in np.unique(here) if other not in (0, own) and _whole(here == other)]
    return Scene(
        subject,
        level,
        grade_of_loss(max(loss, 0.0)),
        ct,
        mask,
        shown.points(ct),
        shown.points(ct, CLICK_SD_MM),
        shown.grid,
        seen,
        here == own,
        beside,
        aims,
    )


def _whole(mask: Mask) -> bool:
    """Whether a body lies so far inside of a patch that it does not leave it when it moves."""
    inner = mask[_LEAVES_MM:-_LEAVES_MM, _LEAVES_MM:-_LEAVES_MM]
    return bool(inner.sum() == mask.sum())
