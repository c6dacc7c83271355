"""Sagittal patches of phantoms with what is known of their vertebrae, rendered in shards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
from VertebralGradingLib.phantom.drawer import seed_of
from VertebralGradingLib.phantom.pool import PoolSpine, draw_pool
from VertebralGradingLib.spine.reformation import PATCH_SIZE
from VertebralGradingLib.training.shards import fill_shards, read_shards

_VERSION = 3
"""Of how shards are made of a plan."""
_BATCH = 20


@dataclass(frozen=True)
class PatchPlan:
    """What a set of patches holds.

    Attributes:
        seed: fixes everything.
        shards: files.
        spines: of each shard.
        patches: of each shard.
        mimics: see :func:`mimics.add_mimics`.
        before: 1 for the same patches before the fracture of the vertebra of interest too, 0 for none.
    """

    seed: int = 0
    shards: int = 24
    spines: int = 20
    patches: int = 500
    mimics: float = 1.0
    before: int = 0


def fill(
    plan: PatchPlan,
    folder: str | Path,
    workers: int = 1,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render the shards that are missing (:func:`shards.fill_shards`)."""
    draw, render = functools.partial(draw_spines, plan), functools.partial(render_shard, plan)
    note = {"kind": "patches", "version": _VERSION, **asdict(plan)}
    fill_shards(Path(folder), note, plan.shards, draw, render, workers, device, progress)


def draw_spines(plan: PatchPlan, number: int) -> list[PoolSpine]:
    """The spines of one shard."""
    return draw_pool(plan.spines, _seed(plan, number), mimic_rate=plan.mimics)


def render_shard(plan: PatchPlan, number: int, pool: list[PoolSpine], device: str) -> dict[str, Tensor]:
    """The patches of one shard: ``image`` (N, 128, 128) int16 HU, and (N,) ``graded_loss`` and ``position``.

    Where the plan says so, ``before`` is of the same form as ``image``.

    Even shards have all grades equally often, odd ones vertebrae as they come.
    """
    options = DatasetOptions(
        (PATCH_SIZE, PATCH_SIZE, 1), batch=_BATCH, balanced=number % 2 == 0, healed=bool(plan.before)
    )
    data = PhantomDataset(pool, _seed(plan, number), options, device)
    parts: list[dict[str, Tensor]] = []
    for batch in range(-(-plan.patches // _BATCH)):
        made = data.batch(batch)
        part = {"image": _stored(made["image"]), "graded_loss": made["graded_loss"], "position": made["position"]}
        if plan.before:
            part["before"] = _stored(made["healed"])
        parts.append({name: value.cpu() for name, value in part.items()})
    return {name: torch.cat([part[name] for part in parts])[: plan.patches] for name in parts[0]}


class Patches:
    """Patches in memory, on the device.

    Args:
        folder: filled by :func:`fill`.
        device: where they are kept.

    Raises:
        InputError: the folder holds none, or one cannot be read.
    """

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        content = read_shards(Path(folder), device)
        self.image, self.graded_loss, self.position = (content[name] for name in ("image", "graded_loss", "position"))
        self.before = content.get("before")

    def __len__(self) -> int:
        """Number of patches."""
        return len(self.image)

    def get(self, chosen: Sequence[int], before: bool = False) -> Tensor:
        """(B, 1, 128, 128) HU; as they were before the fracture, where that is wanted and was rendered."""
        images = self.before if before and self.before is not None else self.image
        return images[torch.as_tensor(chosen, device=self.image.device)][:, None].float()


def _stored(image: Tensor) -> Tensor:
    """(B, 1, N, N) HU -> (B, N, N) int16."""
    return image[:, 0].round().clamp(-1024, 3071).to(torch.int16)


def _seed(plan: PatchPlan, number: int) -> int:
    return seed_of(plan.seed, number, 3)
