"""Batches of slices whose vertebra of interest is hidden by a gap, with what lies in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from VertebralGradingLib.errors import InputError, MaskError
from VertebralGradingLib.healthivert.gap import Gap, moved, opened
from VertebralGradingLib.healthivert.preparation import to_network
from VertebralGradingLib.training.slices import BROKEN, LEAST_PIXELS, SOUND, Slices

_TRIES = 8
_OUTSIDE = {"image": -1024, "body": 0, "neighbours": 0, "healed": -1024, "healed_body": 0}
"""What stands beside a slice that is smaller than the network's."""


@dataclass(eq=False)
class Openings:
    """Batches by number.

    Attributes:
        slices: where they come from.
        size: rows and columns of the network's slices.
        gap: rows of the gap.
        seed: fixes the order.
        mirror: whether slices may be mirrored.
    """

    slices: Slices
    size: int
    gap: int
    seed: int
    mirror: bool

    def batch(self, step: int, count: int) -> dict[str, Tensor]:
        """Slices with their gap opened.

        ``open`` (B, 1, H, W) the slice in -1..1, its gap 0; ``mask`` the gap; ``neighbours`` sound ones, as opened;
        ``ct`` and ``body`` the slice and the vertebra as they should be, moved so that the gap lies around it;
        ``first``, ``last``, ``top`` (B,) rows of that vertebra and of the gap; ``place``, ``position`` (B,);
        ``broken`` (B,) whether a neighbour is.

        Args:
            step: the batch depends on it alone.
            count: of slices; fewer where many have no room for the gap.

        Raises:
            InputError: no slice has room for the gap.
        """
        rng, out = np.random.default_rng([self.seed, step, 94]), list[dict[str, Tensor]]()
        for _ in range(_TRIES * count):
            number, mirror = int(rng.integers(len(self.slices))), bool(rng.random() < 0.5)
            item = self.item(number, mirror and self.mirror)
            if item is not None:
                out.append(item)
            if len(out) == count:
                break
        if not out:
            raise InputError("No slice has room for the gap.", "Choose a smaller gap or larger slices.")
        device = self.slices.content["image"].device
        return {name: torch.stack([item[name] for item in out]).to(device) for name in out[0]}

    def item(self, number: int, mirror: bool) -> dict[str, Tensor] | None:
        """One slice, as in a batch; None where the gap does not fit."""
        stored = {name: value[0].cpu() for name, value in self.slices.get([number]).items()}
        part = {name: fitted(stored[name], self.size, fill) for name, fill in _OUTSIDE.items()}
        if mirror:
            part = {name: value.flip(1) for name, value in part.items()}
        arrays = {name: value.numpy() for name, value in part.items()}
        body = arrays["healed_body"] > 0
        try:
            gap, true = Gap.around(arrays["body"] > 0, self.gap), Gap.around(body, self.gap)
        except MaskError:
            return None
        down = gap.top - true.top  # where the vertebra has sunk, its neighbours have moved
        near = opened(arrays["neighbours"], gap)
        images = {
            "ct": moved(to_network(arrays["healed"]), down),
            "body": moved(body, down),
            "open": opened(to_network(arrays["image"]), gap),
            "neighbours": near == SOUND,
            "mask": gap.mask(body.shape),
        }
        out = {name: torch.from_numpy(value.astype(np.float32))[None] for name, value in images.items()}
        numbers = {"first": true.first + down, "last": true.last + down, "top": gap.top}
        out |= {name: torch.tensor(value) for name, value in numbers.items()}
        broken = torch.tensor(int((near == BROKEN).sum() >= LEAST_PIXELS))
        return out | {"place": stored["place"], "position": stored["position"], "broken": broken}


def fitted(image: Tensor, size: int, fill: int) -> Tensor:
    """(N, N) cut or padded to (size, size) around its middle."""
    missing = size - image.shape[-1]
    before = missing // 2
    return functional.pad(image, (before, missing - before, before, missing - before), value=fill)
