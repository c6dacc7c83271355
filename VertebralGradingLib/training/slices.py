"""Slices through phantom vertebrae with their bodies, neighbours, and what they looked like unbroken, in shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from VertebralGradingLib.errors import InputError
from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
from VertebralGradingLib.phantom.drawer import seed_of
from VertebralGradingLib.phantom.pool import PoolSpine, draw_pool
from VertebralGradingLib.spine.reformation import PATCH_SIZE
from VertebralGradingLib.training.shards import Rendering, Samples, as_stored, joined

VERSION = 2
"""Of how shards are made of a plan."""
_BATCH = 20
_SOUND_LOSS = 0.25
"""Neighbours that lost less are sound: grade 0 and 1, as in the source."""
CENTRAL = 0.8
"""Share of a vertebra's width that slices are taken from (sheet 2, section 3)."""
LEAST_PIXELS = 50
VIEWS = ("sagittal", "coronal")
TARGETS = ("healed", "sound")
FRAMES = ("plane", "straight")
SOUND, BROKEN = 1, 2
"""What ``neighbours`` says of a pixel: of a body of grade 0 or 1, of one of grade 2 or 3."""


@dataclass(frozen=True)
class SlicePlan:
    """What a set of slices holds.

    Attributes:
        seed: fixes everything.
        view: one of :data:`VIEWS`.
        shards: files.
        spines: of each shard.
        slices: of each shard, at most; those that hardly show the body are left out.
        targets: "sound", vertebrae of grade 0 and 1 as they are, as published; or "healed", vertebrae of any grade, and
            what is learned is how they looked before they broke.
        frame: "plane", flat slices of the vertebra's own frame; or "straight", blocks straightened along the spine, as
            published, which are cut out of folders only.
        edge: rows and columns of a slice (1 mm).
    """

    seed: int = 0
    view: str = "sagittal"
    shards: int = 16
    spines: int = 20
    slices: int = 400
    targets: str = "healed"
    frame: str = "plane"
    edge: int = PATCH_SIZE

    def __post_init__(self) -> None:
        """Refuse what there is not.

        Raises:
            ValueError: an unknown view, target or frame.
        """
        if self.view not in VIEWS or self.targets not in TARGETS or self.frame not in FRAMES:
            raise ValueError("unknown view, targets or frame")


def draw_spines(plan: SlicePlan, number: int) -> list[PoolSpine]:
    """The spines of one shard."""
    return draw_pool(plan.spines, _seed(plan, number))


def render_shard(plan: SlicePlan, number: int, pool: list[PoolSpine], device: str) -> dict[str, Tensor]:
    """The slices of one shard.

    ``image`` (N, E, E) int16 HU, ``body`` uint8 of the same shape, ``neighbours`` uint8 (:data:`SOUND`,
    :data:`BROKEN`, 0 elsewhere), ``healed`` and ``healed_body`` image and body before the fracture, ``place`` (N,) how
    far beside the middle, 0 to 1 by half of the vertebra, and ``position`` (N,) on the axis of levels.
    """
    shape, healed = (plan.edge, plan.edge, 1), plan.targets == "healed"
    grades = (0, 1, 2, 3) if healed else (0, 1)
    options = DatasetOptions(shape, _BATCH, balanced=False, healed=healed, view=plan.view, aside=CENTRAL, grades=grades)
    data = PhantomDataset(pool, _seed(plan, number), options, device)
    parts: list[dict[str, Tensor]] = []
    for batch in range(-(-plan.slices // _BATCH)):
        chosen, seeds = data.draw(batch)
        made = data.render(chosen, seeds)
        kind = torch.zeros_like(made["bodies"], dtype=torch.uint8)
        for k, (n, _) in enumerate(chosen):
            for label, level in data.labels(n).items():
                sound = pool[n].graded_loss(level) < _SOUND_LOSS
                kind[k][made["bodies"][k] == label] = SOUND if sound else BROKEN
        body = made["mask"][:, 0] > 0
        keep = body.sum((1, 2)) >= LEAST_PIXELS
        part = {
            "image": as_stored(made["image"][:, 0]),
            "body": body.to(torch.uint8),
            "neighbours": kind[:, 0] * ~body,
            "healed": as_stored(made["healed" if healed else "image"][:, 0]),
            "healed_body": (made["healed_mask"][:, 0] > 0 if healed else body).to(torch.uint8),
            "place": made["aside"].abs().float(),
            "position": made["position"].float(),
        }
        parts.append({name: value[keep].cpu() for name, value in part.items()})
    return joined(parts, plan.slices)


def _check(plan: SlicePlan) -> None:
    if plan.frame != "plane":
        raise InputError("Straightened slices are cut out of CTs.", "Give a VerSe-style folder (--data).")


fill = Rendering({"kind": "slices", "version": VERSION}, draw_spines, render_shard, _check).fill


class Slices(Samples):
    """Slices in memory; their folder is filled by :func:`fill`."""

    def get(self, chosen: Sequence[int]) -> dict[str, Tensor]:
        """Some of them, as stored."""
        return {name: self.of(name, chosen) for name in self.content}


def _seed(plan: SlicePlan, number: int) -> int:
    view = VIEWS.index(plan.view)
    return seed_of(plan.seed, number, 4, view)
