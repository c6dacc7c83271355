"""Pairs of pictures of one synthetic vertebra in two states, and the warp without learning from one to the other.

What a network is to learn is what the warp leaves; so the warp is told the true heights it is to reach, and its masks
are the true ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from VertebralGradingLib.counterfactual.case import WarpCase, warp_case
from VertebralGradingLib.counterfactual.field import Field
from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.methods.morphometric import judged
from VertebralGradingLib.phantom.drawer import seed_of
from VertebralGradingLib.phantom.fracture import KINDS, fracture
from VertebralGradingLib.phantom.parameters import SpineParameters, healed
from VertebralGradingLib.phantom.pool import PoolSpine, draw_pool
from VertebralGradingLib.phantom.states import States
from VertebralGradingLib.phantom.truth import body_heights
from VertebralGradingLib.segmentation.finders import CLASSICAL
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.anatomy import axis_position
from VertebralGradingLib.spine.reformation import PATCH_SIZE, Grid
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import prepare
from VertebralGradingLib.training.shards import Rendering, Samples, as_stored, joined

_VERSION = 1
"""Of how shards are made of a plan."""
BLOCK = (140, PATCH_SIZE, 57)
"""Samples of 1 mm: the vertebra and its neighbours."""
OWN, ABOVE, BELOW = 1, 2, 3
"""Labels of bodies, of the vertebra and of those beside it; 0 elsewhere."""
_NEIGHBOUR_MM = 60.0
_WAYS, _BACK = 5, 2
"""Fractures of a whole vertebra, and how many of them are healed again."""
_LOSS = (0.12, 0.58)


@dataclass(frozen=True)
class PairPlan:
    """What a set of pairs holds.

    Attributes:
        seed: fixes everything.
        shards: files.
        spines: of each shard.
        levels: vertebrae of each spine.
    """

    seed: int = 7000
    shards: int = 16
    spines: int = 3
    levels: int = 4


def draw_spines(plan: PairPlan, number: int) -> list[PoolSpine]:
    """The spines of one shard."""
    return draw_pool(plan.spines, _seed(plan, number), mimic_rate=0.3)


def render_shard(plan: PairPlan, number: int, pool: list[PoolSpine], device: str) -> dict[str, Tensor]:
    """The pairs of one shard.

    ``image``, ``target`` and ``warped`` (N, 128, 128) int16 HU: as it is, as it is to be, and warped to that;
    ``body``, ``target_body`` and ``warped_body`` uint8 labels (:data:`OWN`, ...); ``flow`` (N, 2, 128, 128) float16,
    rows and columns (mm) from places of the warped picture to where they are read; ``loss`` (N, 2) graded, before and
    after, against the whole vertebra; ``heights`` (N, 3) mm to be reached; ``position`` (N,) on the axis of levels.
    """
    parts: list[dict[str, Tensor]] = []
    for n, one in enumerate(pool):
        rng = np.random.default_rng([_seed(plan, number), n, 17])
        levels = [level for level in one.levels if level not in ("T1", "L5")]
        broken = [level for level in levels if one.graded_loss(level) >= _LOSS[0]]
        others = [level for level in rng.permutation(levels) if level not in one.truths and level not in one.mimics]
        for level in [*broken, *others][: plan.levels]:
            parts += _pairs_of([one], str(level), rng)
    if not parts:
        raise VertebralGradingError("No pair could be made of this shard.", "Choose another seed.")
    return joined(parts)


fill = Rendering({"kind": "pairs", "version": _VERSION}, draw_spines, render_shard).fill


class Pairs(Samples):
    """Pairs in memory, on the device; their folder is filled by :func:`fill`."""


def _pairs_of(pool: list[PoolSpine], level: str, rng: np.random.Generator) -> list[dict[str, Tensor]]:
    """All pairs of one vertebra: a whole one broken in several ways and healed again, a broken one healed."""
    seed = int(rng.integers(1 << 31))
    shown = States(pool, level, seed, BLOCK)
    now = pool[0].spine
    whole = healed(now, (level,))
    states: list[tuple[SpineParameters, float]] = []
    if level in pool[0].truths:
        states.append((now, pool[0].graded_loss(level)))
    else:
        for _ in range(_WAYS):
            kind, loss, own = str(rng.choice(KINDS)), float(rng.uniform(*_LOSS)), int(rng.integers(1 << 31))
            try:
                states.append((fracture(whole, level, loss, own, kind), loss))
            except (ValueError, VertebralGradingError):
                continue  # this body cannot take that shape
    out = []
    back = states[:_BACK]
    if len(states) > 1:
        out += _from(shown, (whole, 0.0), states)
    for broken in back:
        out += _from(shown, broken, [(whole, 0.0)])
    return out


def _from(
    shown: States, start: tuple[SpineParameters, float], aims: list[tuple[SpineParameters, float]]
) -> list[dict[str, Tensor]]:
    """Pairs from one state of a vertebra to others; none where it cannot be warped."""
    level = shown.level
    reference = body_heights(healed(start[0], (level,)), level)
    ct, mask = shown.scanned(start[0])
    here = shown.in_patch(mask.array)
    own = int(here[PATCH_SIZE // 2, PATCH_SIZE // 2])
    pictures, bodies = shown.pictures([spine for spine, _ in aims])
    if own == 0 or (here == own).sum() < 100:
        return []
    try:
        case = _case(shown, ct, mask, reference)
    except VertebralGradingError:
        return []
    out = []
    for (spine, loss), picture, labels in zip(aims, pictures, bodies, strict=True):
        heights = body_heights(spine, level)
        if (labels == own).sum() < 60:
            continue
        try:
            warp = case.warper.to_heights(heights)
            seen = case.shown(warp, shown.grid)
        except VertebralGradingError:
            continue
        carried = _named(_labels(mask, warp.field, shown.grid), own)
        out.append(
            {
                "image": as_stored(torch.from_numpy(shown.in_patch(ct.array).astype(np.float32)))[None],
                "target": as_stored(torch.from_numpy(picture))[None],
                "warped": as_stored(torch.from_numpy(seen.image[..., 0]))[None],
                "body": torch.from_numpy(_named(here, own))[None],
                "target_body": torch.from_numpy(_named(labels, own))[None],
                "warped_body": torch.from_numpy(np.where(seen.mask[..., 0], OWN, np.where(carried == OWN, 0, carried)))[
                    None
                ].to(torch.uint8),
                "flow": torch.from_numpy(warp.field.flow_on(shown.grid)).half()[None],
                "loss": torch.tensor([[start[1], loss]]),
                "heights": torch.from_numpy(heights).float()[None],
                "position": torch.tensor([axis_position(level)]),
            }
        )
    return out


def _case(shown: States, ct: Volume, mask: Volume, reference: NDArray[np.float64]) -> WarpCase:
    """The vertebra among its next neighbours, ready to be warped."""
    points = shown.points(ct)
    middle = np.array(next(point.position for point in points if point.label == shown.level))
    near = [point for point in points if np.linalg.norm(np.array(point.position) - middle) < _NEIGHBOUR_MM]
    study = judged(prepare(ct, build_spine(near), interpret(mask, "verse"), finder=CLASSICAL))
    return warp_case(study, shown.level, reference_mm=reference)


def _labels(mask: Volume, field: Field, grid: Grid) -> NDArray[np.uint8]:
    """Labels (rows, columns) of the warped picture, of the nearest voxel."""
    index = np.rint(mask.to_index(field.source(grid.points())[:, :, 0])).astype(int)
    inside = ((index >= 0) & (index < np.array(mask.shape))).all(-1)
    index = np.clip(index, 0, np.array(mask.shape) - 1)
    return np.where(inside, mask.array[tuple(index[..., k] for k in range(3))], 0).astype(np.uint8)


def _named(labels: NDArray[Any], own: int) -> NDArray[np.uint8]:
    """VerSe labels as :data:`OWN`, :data:`ABOVE` (a smaller number) and :data:`BELOW`."""
    out = np.zeros(labels.shape, dtype=np.uint8)
    for value, number in ((OWN, own), (ABOVE, own - 1), (BELOW, own + 1)):
        out[labels == number] = value
    return out


def _seed(plan: PairPlan, number: int) -> int:
    return seed_of(plan.seed, number, 5)
