"""Sagittal patches of phantoms with what is known of their vertebrae, rendered in shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
from VertebralGradingLib.phantom.drawer import seed_of
from VertebralGradingLib.phantom.pool import PoolSpine, draw_pool
from VertebralGradingLib.spine.reformation import PATCH_SIZE
from VertebralGradingLib.training.shards import Rendering, Samples, as_stored, joined

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
        part = {
            "image": as_stored(made["image"][:, 0]),
            "graded_loss": made["graded_loss"],
            "position": made["position"],
        }
        if plan.before:
            part["before"] = as_stored(made["healed"][:, 0])
        parts.append({name: value.cpu() for name, value in part.items()})
    return joined(parts, plan.patches)


fill = Rendering({"kind": "patches", "version": _VERSION}, draw_spines, render_shard).fill


class Patches(Samples):
    """Patches in memory, on the device; their folder is filled by :func:`fill`."""

    @property
    def has_before(self) -> bool:
        """Whether they were also rendered as they were before the fracture."""
        return "before" in self.content

    def get(self, chosen: Sequence[int], before: bool = False) -> Tensor:
        """(B, 1, 128, 128) HU; as they were before the fracture, where that is wanted and was rendered."""
        name = "before" if before and self.has_before else "image"
        return self.of(name, chosen)[:, None].float()


def _seed(plan: PatchPlan, number: int) -> int:
    return seed_of(plan.seed, number, 3)
