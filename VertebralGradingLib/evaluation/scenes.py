"""Synthetic vertebrae in a block of CT with their neighbours, and true pictures of the same ones at other grades.

A fractured vertebra is shown as it was before; a healthy one broken to grades 1 and 2 in one of Genant's shapes, to
grade 3 in each of them. Place, look and scanner stay, noise is drawn anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
    from VertebralGradingLib.phantom.fracture import fracture
    from VertebralGradingLib.phantom.parameters import healed
    from VertebralGradingLib.phantom.patches import Pose
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
    data = PhantomDataset(pool, seed, DatasetOptions(jitter=0.5, shape=BLOCK))
    item = [(0, level)]
    block = replace(data.poses(item, [seed])[0], cut=(0, 0, 0, 0))
    middle = [(n - m) // 2 for n, m in zip(BLOCK, (PATCH_SIZE, PATCH_SIZE, 1), strict=True)]
    grid = block.grid.box(middle, [a + m for a, m in zip(middle, (PATCH_SIZE, PATCH_SIZE, 1), strict=True)])
    flat = Pose(grid, (0, 0, 0, 0))
    image, labels = data.scanned([spine], item, [seed], [block])
    affine = block.grid.affine
    assert affine is not None  # poses are rigid
    ct = Volume(np.rint(image[0, 0].numpy()).astype(np.int16), affine)
    mask = Volume(labels[0, 0].numpy(), affine)
    number = len(states)
    pictures, bodies = data.scanned(states, item * number, [seed] * number, [flat] * number)
    taller = Pose(
        block.grid.box(
            [middle[0] - 1, *middle[1:]],
            [middle[0] + PATCH_SIZE, *(m + n for m, n in zip(middle[1:], (PATCH_SIZE, 1), strict=True))],
        ),
        (0, 0, 0, 0),
    )
    again, _ = data.scanned(states, item * number, [seed] * number, [taller] * number)  # noise follows the shape
    row, column, depth = middle
    cut = (slice(row, row + PATCH_SIZE), slice(column, column + PATCH_SIZE), depth)
    here, seen = mask.array[cut], ct.array[cut].astype(np.float32)
    own = int(here[PATCH_SIZE // 2, PATCH_SIZE // 2])
    masks = bodies[:, 0].numpy() == own
    if own == 0 or masks.sum((1, 2)).min() < 100 or (here == own).sum() < 100:
        return None
    aims = [
        Aim(
            grade,
            lost,
            Target(name, pictures[k, 0].numpy(), masks[k], body_heights(states[k], level)),
            again[k, 0, 1:].numpy(),
        )
        for k, (grade, lost, name) in enumerate(wanted)
    ]
    points, clicks = _marked(data, pool[0].levels, ct, seed)
    beside = [here == other for other in np.unique(here) if other not in (0, own) and _whole(here == other)]
    return Scene(
        subject, level, grade_of_loss(max(loss, 0.0)), ct, mask, points, clicks, grid, seen, here == own, beside, aims
    )


def _whole(mask: Mask) -> bool:
    """Whether a body lies so far inside of a patch that it does not leave it when it moves."""
    inner = mask[_LEAVES_MM:-_LEAVES_MM, _LEAVES_MM:-_LEAVES_MM]
    return bool(inner.sum() == mask.sum())


def _marked(data: Any, levels: list[str], ct: Volume, seed: int) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """Exact middles of the bodies in a CT, and scattered ones."""
    from VertebralGradingLib.phantom.patches import body_middle

    spine, frames = data.pool[0].spine, data._ready(0).frames
    rng = np.random.default_rng([seed, 3])
    exact: list[Point] = []
    scattered: list[Point] = []
    for level in levels:
        frame: NDArray[np.float64] = frames[spine.levels.index(level)]
        middle = frame[:3, :3] @ body_middle(spine, level) + frame[:3, 3]
        if ct.contains(middle):
            for points, place in ((exact, middle), (scattered, middle + rng.normal(0.0, CLICK_SD_MM, 3))):
                x, y, z = (float(v) for v in place)
                points.append(Point((x, y, z), level, level))
    return tuple(exact), tuple(scattered)
