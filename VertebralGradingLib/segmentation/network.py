"""A 3-D U-Net that finds the vertebra at the middle of a straightened block. Plain torch; knows nothing of files.

The block has 1 mm samples, rows caudal, columns posterior, depth left, the vertebra of interest at its middle. A
space-to-depth stem halves the grid before the first convolution and a depth-to-space head doubles it at the end, so
that no convolution runs at full size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

EDGE = 64
"""Samples along each edge of a block (1 mm)."""
OUTPUTS = ("body", "vertebra", "neighbours", "disc")
"""Channels of the answer: body and whole vertebra of interest, all other bodies, discs."""
_STEM = 2
_GROUPS = 8
"""Of the group normalisation."""
_MOST_HALVINGS = 5
"""Resolutions that fit into a block."""
_HU = (-300.0, 1300.0, 150.0, 350.0)
"""Range that HU are cut to, and the middle and unit they are scaled by."""
_VOI_SIGMA = 8.0


@dataclass(frozen=True)
class NetworkConfig:
    """Layout of a network.

    Attributes:
        channels: features at each resolution, from 2 mm on, halved each time; multiples of 8.
    """

    channels: tuple[int, ...] = (16, 32, 64)

    def to_dict(self) -> dict[str, Any]:
        """For a card."""
        return {"channels": list(self.channels)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> NetworkConfig:
        """From a card.

        Raises:
            ValueError: unknown or impossible entries.
        """
        channels = content.get("channels") if isinstance(content, Mapping) else None
        if not isinstance(channels, Sequence) or not 1 <= len(channels) <= _MOST_HALVINGS or len(content) != 1:
            raise ValueError("no layout of a network")
        if not all(type(width) is int and 0 < width <= 512 for width in channels):
            raise ValueError("no layout of a network")
        return cls(tuple(channels))


class BodyNetwork(nn.Module):
    """U-Net from HU to logits of :data:`OUTPUTS`.

    Args:
        config: its layout.

    Raises:
        ValueError: channels that are no multiples of 8.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        widths, groups = config.channels, _GROUPS
        if any(width % groups for width in widths):
            raise ValueError(f"{groups} groups do not divide {widths}")
        samples = _STEM**3
        self.stem = nn.Conv3d(2 * samples, widths[0], 3, padding=1)
        self.down = nn.ModuleList([_Pair(width, width, groups) for width in widths])
        self.shrink = nn.ModuleList([nn.Conv3d(a, b, 2, stride=2) for a, b in pairwise(widths)])
        self.grow = nn.ModuleList([nn.Conv3d(b, a, 1) for a, b in pairwise(widths)])
        self.up = nn.ModuleList([_Pair(width, width, groups) for width in widths[:-1]])
        self.head = nn.Conv3d(widths[0], len(OUTPUTS) * samples, 1)

    def forward(self, hu: Tensor) -> Tensor:
        """Logits.

        Args:
            hu: (B, 1, R, C, D) HU at 1 mm; edges divisible by ``2 ** len(channels)``.

        Returns:
            (B, 4, R, C, D).
        """
        low, high, middle, unit = _HU
        x = (hu.clamp(low, high) - middle) / unit
        x = torch.cat([x, voi(hu.shape[2:], x).expand(len(x), 1, -1, -1, -1)], 1)
        x = self.stem(space_to_depth(x, _STEM))
        kept = []
        for n, block in enumerate(self.down):
            x = block(x)
            if n < len(self.shrink):
                kept.append(x)
                x = self.shrink[n](x)
        for n in range(len(self.up) - 1, -1, -1):
            x = functional.interpolate(self.grow[n](x), scale_factor=2.0, mode="nearest")
            x = self.up[n](x + kept[n])
        return depth_to_space(self.head(x), _STEM)


class _Pair(nn.Module):
    """Two convolutions with a shortcut."""

    def __init__(self, inside: int, outside: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, inside), nn.Conv3d(inside, outside, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(groups, outside), nn.Conv3d(outside, outside, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(functional.silu(self.norm1(x)))
        return x + self.conv2(functional.silu(self.norm2(y)))


def space_to_depth(x: Tensor, factor: int) -> Tensor:
    """(B, C, R, C', D) -> (B, C * factor**3, R / factor, ...)."""
    b, c, *size = x.shape
    r, k, d = (n // factor for n in size)
    x = x.reshape(b, c, r, factor, k, factor, d, factor).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return x.reshape(b, c * factor**3, r, k, d)


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """The inverse of :func:`space_to_depth`."""
    b, c, r, k, d = x.shape
    x = x.reshape(b, c // factor**3, factor, factor, factor, r, k, d).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c // factor**3, r * factor, k * factor, d * factor)


def voi(size: Sequence[int], like: Tensor) -> Tensor:
    """(1, 1, R, C, D) Gaussian of peak 1 at the middle, on the device of ``like``."""
    out = torch.ones((), dtype=like.dtype, device=like.device)
    for count in size:
        offset = torch.arange(count, dtype=like.dtype, device=like.device) - (count - 1) / 2
        out = out[..., None] * torch.exp(-0.5 * (offset / _VOI_SIGMA) ** 2)
    return out[None, None]
