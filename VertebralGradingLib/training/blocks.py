"""Straightened blocks with targets for the body network: rendered in shards, kept on disk and on the device.

A block is stored as int16 HU, uint8 share of the body of interest (255 all of it) and uint8 class (:data:`CLASSES`).
Shards depend on their plan and number alone, so that filling can be spread over processes and gone on with later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
from VertebralGradingLib.phantom.drawer import seed_of
from VertebralGradingLib.phantom.plans import plan
from VertebralGradingLib.phantom.pool import PoolSpine, draw_pool
from VertebralGradingLib.phantom.soft import TISSUES
from VertebralGradingLib.phantom.subjects import make_subject
from VertebralGradingLib.segmentation.network import EDGE
from VertebralGradingLib.training.shards import Rendering, Samples, as_stored, joined

CLASSES = ("other", "vertebra", "neighbour", "disc", "unseen", "soft")
"""What a sample belongs to: vertebra of interest, body of another one, disc, or outside of what the scan covers; "soft"
is what may be disc or anything else, where masks do not tell."""
_FREE = ("uniform", "hard")
_BATCH = 10
_VERSION = 5
"""Of how shards are made of a plan."""


@dataclass(frozen=True)
class BlockPlan:
    """What a set of blocks holds.

    Attributes:
        seed: fixes everything.
        shards: files.
        spines: of each shard.
        blocks: of each shard.
        edge: samples along each edge.
        preset: "uniform", "hard", or a published preset, whose train split is drawn.
        appearance, jitter, features: for ablations: see :class:`dataset.DatasetOptions`; ``features`` 0 leaves out
            mimics.
        varied: whether shards take turns: as the preset has them; with thick slices, metal and bridged rims in number;
            and the same, of neighbours of collapsed bodies alone.
    """

    seed: int = 0
    shards: int = 40
    spines: int = 5
    blocks: int = 50
    edge: int = EDGE
    preset: str = "uniform"
    appearance: float = 1.0
    jitter: float = 1.0
    features: float = 1.0
    varied: bool = False


def render_shard(plan_: BlockPlan, number: int, pool: list[PoolSpine], device: str) -> dict[str, Tensor]:
    """The blocks of one shard, from its spines (:func:`draw_spines`)."""
    own = _seed(plan_, number)
    hard = plan_.preset == "hard" or _turn(plan_, number) > 0
    thick = 0.85 if hard else 0.35
    options = DatasetOptions(
        (plan_.edge,) * 3,
        batch=_BATCH,
        balanced=number % 2 == 0,  # the other half as they come: with fractures alone, normal bodies look broken
        appearance=plan_.appearance,
        jitter=plan_.jitter,
        thick=thick,
        beside_broken=_turn(plan_, number) == 2,
    )
    data = PhantomDataset(pool, own, options, device)
    parts: list[dict[str, Tensor]] = []
    for batch in range(-(-plan_.blocks // options.batch)):
        rendered = data.batch(batch)
        parts.append({name: value[:, 0].cpu() for name, value in targets(rendered).items()})
    return joined(parts, plan_.blocks)


def _turn(plan_: BlockPlan, number: int) -> int:
    """Which kind a shard is (:attr:`BlockPlan.varied`): 0 as the preset has it, 1 hard, 2 hard neighbours."""
    return number % 3 if plan_.varied else 0


def _seed(plan_: BlockPlan, number: int) -> int:
    return seed_of(plan_.seed, number)


def draw_spines(plan_: BlockPlan, number: int) -> list[PoolSpine]:
    """The spines of one shard."""
    seed = _seed(plan_, number)
    if plan_.preset in _FREE:
        hard = plan_.preset == "hard" or _turn(plan_, number) > 0
        bridged = 0.15 * plan_.features * (_turn(plan_, number) > 0)
        return draw_pool(plan_.spines, seed, mimic_rate=plan_.features * (3.0 if hard else 1.0), bridged=bridged)
    subjects = [one for one in plan(plan_.preset, 0, plan_.seed) if one.split == "train"]
    made = []
    for k in range(plan_.spines):
        place = (number * plan_.spines + k) % len(subjects)
        subject = make_subject(subjects[place], seed_of(seed, k))
        truths = {level: true for level, true in subject.truths.items() if true.graded > 0}
        made.append(PoolSpine(subject.spine, truths, subject.mimics))
    return made


def targets(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is stored of a rendered batch: ``image`` int16, ``share`` and ``kind`` uint8, all (B, 1, R, C, D)."""
    label = batch["label"].reshape(-1, 1, 1, 1, 1)
    bodies, vertebrae = batch["bodies"], batch["vertebrae"]
    mine = bodies == label
    # the share falls off within half a sample; the edge of the body of interest is where none other is nearer
    near = functional.max_pool3d(mine.half().float(), 3, 1, 1) > 0
    share = (batch["depth"] + 0.5).clamp(0, 1) * (near & ((bodies == 0) | mine))
    kind = torch.zeros_like(bodies)
    kind[batch["tissue"] == TISSUES.index("disc")] = CLASSES.index("disc")
    kind[(bodies != 0) & ~mine] = CLASSES.index("neighbour")
    kind[vertebrae == label] = CLASSES.index("vertebra")
    kind[batch["outside"]] = CLASSES.index("unseen")
    share = share * ~batch["outside"]
    return {
        "image": as_stored(batch["image"]),
        "share": (255 * share).round().to(torch.uint8),
        "kind": kind.to(torch.uint8),
    }


fill = Rendering({"version": _VERSION}, draw_spines, render_shard).fill


class Blocks(Samples):
    """Blocks in memory, on the device; their folder is filled by :func:`fill`."""

    def get(self, chosen: Sequence[int]) -> dict[str, Tensor]:
        """``image`` (HU), ``share`` 0..1 and ``kind``, (B, 1, R, C, D)."""
        image, share, kind = (self.of(name, chosen)[:, None] for name in ("image", "share", "kind"))
        return {"image": image.float(), "share": share.float() / 255.0, "kind": kind}
