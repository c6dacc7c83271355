"""Bone, disc and metal of all vertebrae together, painted over soft tissue."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from VertebralGradingLib.phantom.points import Some, above_of
from VertebralGradingLib.phantom.soft import Layers
from VertebralGradingLib.phantom.vertebra import FAR_MM, VertebraAtPoints


class Bones:
    """At each point the vertebra counts that fills the most of it.

    Args:
        like: a tensor of the points' shape, device and type.
    """

    def __init__(self, like: Tensor) -> None:
        self.bone, self.bone_hu, self.disc, self.disc_hu, self.metal = (torch.zeros_like(like) for _ in range(5))
        self.metal_hu, self.body_label, self.part_label = (torch.zeros_like(like) for _ in range(3))
        self.body, self.part, self.rib = (torch.full_like(like, FAR_MM) for _ in range(3))

    def put(self, new: VertebraAtPoints, label: Tensor, points: Tensor | None = None) -> None:
        """Take over what a vertebra adds.

        Args:
            new: what.
            label: of the vertebra, or of that at each point.
            points: which points ``new`` is about; None for all.
        """
        for where, old, value, carried, with_it in (
            (new.bone_at, self.bone, new.bone, self.bone_hu, new.bone_hu),
            (new.bone_at, self.part, new.part, self.part_label, label),
            (new.bone_at, self.rib, new.rib, None, None),
            (new.body_at, self.body, new.body, self.body_label, label),
            (new.disc_at, self.disc, new.disc, self.disc_hu, new.disc_hu),
            (new.metal_at, self.metal, new.metal, self.metal_hu, new.metal_hu),
        ):
            if where is not None and value is not None:
                taken = where.column(label).to(value.dtype) if with_it is label else with_it
                _put(where, points, old, value, carried, taken)

    def split(self, sizes: list[int]) -> list[Bones]:
        """The same for runs of points."""
        out = [copy(self) for _ in sizes]
        for name, value in vars(self).items():
            for one, part in zip(out, value.split(sizes), strict=True):
                setattr(one, name, part)
        return out

    def over(self, layers: Layers) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Paint discs, bone and metal over soft tissue; what :class:`field.Values` holds."""
        layers.cover(self.disc, self.disc_hu, "disc")
        layers.cover(self.bone, self.bone_hu, "arch")
        layers.mark(above_of(self.rib, self.part.clamp_min(0.0)), "rib")
        inside = above_of(self.body, 0.0)
        layers.mark(inside, "body")
        layers.cover(self.metal, self.metal_hu, "metal")
        body = inside * self.body_label
        whole = torch.lerp(above_of(self.part, 0.0) * self.part_label, body, inside)
        tissue, whole, body = (value.to(torch.uint8) for value in (layers.tissue, whole, body))
        return layers.hu, tissue, whole, body, self.body


def _put(
    where: Some, points: Tensor | None, old: Tensor, new: Tensor, carried: Tensor | None, value: Tensor | None
) -> None:
    """Where ``new`` is larger than ``old``, take it over, and ``value`` with it."""
    if where.index is None:
        more = above_of(new, old) * where.mask
        if carried is not None and value is not None:
            carried.lerp_(value.expand_as(more), more)
        old.lerp_(new, more)
        return
    index = where.index if points is None else points.index_select(0, where.index)
    now = old.index_select(0, index)
    if carried is not None and value is not None:
        was = carried.index_select(0, index)
        carried.index_copy_(0, index, was + above_of(new, now) * (value - was))
    old.index_copy_(0, index, torch.maximum(now, new))
