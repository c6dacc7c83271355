"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class Average(Generic[Network]):
    """A network whose weights follow another's.

    Args:
        model: the network that is trained; copied.
        decay: how much of the average stays at each step, once it has warmed up.
    """

    def __init__(self, model: Network, decay: float) -> None:
        self.model: Network = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the trained weights; at first, by more, so that the start is forgotten."""
        keep = min(self.decay, (1.0 + step) / (10.0 + step))
        mine: dict[str, Tensor] = self.model.state_dict()
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                mine[name].lerp_(value, 1.0 - keep)
            else:
                mine[name].copy_(value)
