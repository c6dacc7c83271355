"""Sagittal patches of phantoms with what is known of their vertebrae, rendered in shards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
from VertebralGradingLib.phantom.pool import PoolSpine, draw_pool
from VertebralGradingLib.reformation import PATCH_SIZE
from VertebralGradingLib.training.shards import fill_shards, read_shards

_VERSION = 2
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
    """

    seed: int = 0
    shards: int = 24
    spines: int = 20
    patches: int = 500
    mimics: float = 1.0


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

    Even shards have all grades equally often, odd ones vertebrae as they come.
    """
    options = DatasetOptions((PATCH_SIZE, PATCH_SIZE, 1), batch=_BATCH, balanced=number % 2 == 0)
    data = PhantomDataset(pool, _seed(plan, number), options, device)
    parts: list[dict[str, Tensor]] = []
    for batch in range(-(-plan.patches // _BATCH)):
        made = data.batch(batch)
        parts.append(
            {
                "image": made["image"][:, 0].round().clamp(-1024, 3071).to(torch.int16).cpu(),
                "graded_loss": made["graded_loss"].cpu(),
                "position": made["position"].cpu(),
            }
        )
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

    def __len__(self) -> int:
        """Number of patches."""
        return len(self.image)

    def get(self, chosen: Sequence[int]) -> Tensor:
        """(B, 1, 128, 128) HU."""
        return self.image[torch.as_tensor(chosen, device=self.image.device)][:, None].float()


def _seed(plan: PatchPlan, number: int) -> int:
    return int(np.random.SeedSequence([plan.seed, number, 3]).generate_state(1)[0])
