"""A small network that corrects a warp: tilt and sinking of the spine above, share and shape of the endplates.

It is given the warped picture, the bodies in it and the warp's own field, and is driven by the latent of the patch and
the wanted one. Its answer is a stationary velocity, integrated by scaling and squaring (Arsigny et al. 2006), so that
the correction does not fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from VertebralGradingLib.diffusion_autoencoder.blocks import zeroed

SIZE, SPACING_MM = 64, 2.0
"""Samples of what it sees and says, and their distance."""
CHANNELS = ("picture", "body", "body above", "body below", "field down", "field across", "row", "column")
_SQUARINGS = 6
_FIELD_MM = 10.0
_MOST_MM = 8.0
"""Speed that the velocity cannot exceed."""


@dataclass(frozen=True)
class HeadConfig:
    """Layout.

    Attributes:
        latent: length of z_sem.
        width: channels of the first level; doubled at each of the two others.
        condition: length both latents are narrowed to.
        groups: of the group normalisations.
    """

    latent: int = 256
    width: int = 24
    condition: int = 64
    groups: int = 8

    def to_dict(self) -> dict[str, Any]:
        """For a card or a run."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> HeadConfig:
        """From a card.

        Raises:
            ValueError: unknown or impossible entries.
        """
        try:
            config = cls(**{name: int(value) for name, value in content.items()})
        except TypeError as error:
            raise ValueError("no layout of a warp head") from error
        if min(config.to_dict().values()) < 1 or config.width % config.groups:
            raise ValueError("no layout of a warp head")
        return config


class WarpHead(nn.Module):
    """U-Net from a warp to a correction of it.

    Args:
        config: its layout.
    """

    def __init__(self, config: HeadConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or HeadConfig()
        w = config.width
        self.narrow = nn.Linear(2 * config.latent, config.condition)
        self.first = nn.Conv2d(len(CHANNELS), w, 3, padding=1)
        widths = (w, 2 * w, 4 * w)
        self.down = nn.ModuleList([_Block(n, config) for n in widths])
        self.shrink = nn.ModuleList([nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths)])
        self.grow = nn.ModuleList([nn.Conv2d(b, a, 1) for a, b in pairwise(widths)])
        self.up = nn.ModuleList([_Block(n, config) for n in widths[:-1]])
        self.last = zeroed(nn.Conv2d(w, 2, 3, padding=1))

    def forward(self, seen: Tensor, z: Tensor, wish: Tensor) -> Tensor:
        """(B, 2, 64, 64) mm down and across, from places of the corrected picture to those of the warped one.

        Args:
            seen: (B, 8, 64, 64) :data:`CHANNELS`, see :func:`seen_of`.
            z: (B, latent) of the patch as it is.
            wish: (B, latent) the wanted one.
        """
        condition = self.narrow(torch.cat([z, wish], 1))
        x = self.first(seen)
        kept = []
        for n, block in enumerate(self.down):
            x = block(x, condition)
            if n < len(self.shrink):
                kept.append(x)
                x = self.shrink[n](x)
        for n in range(len(self.up) - 1, -1, -1):
            x = functional.interpolate(self.grow[n](x), scale_factor=2.0, mode="nearest")
            x = self.up[n](x + kept[n], condition)
        velocity: Tensor = _MOST_MM * torch.tanh(self.last(functional.silu(x)) / _MOST_MM)
        return integrated(velocity)


class _Block(nn.Module):
    """Two convolutions with a shortcut, modulated before the second."""

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(config.groups, width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(config.groups, width), zeroed(nn.Conv2d(width, width, 3, padding=1))
        self.by_latent = nn.Linear(config.condition, 2 * width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.by_latent(functional.silu(condition))[..., None, None].chunk(2, 1)
        y = self.norm2(self.conv1(functional.silu(self.norm1(x)))) * (1.0 + scale) + shift
        out: Tensor = x + self.conv2(functional.silu(y))
        return out


def seen_of(picture: Tensor, bodies: Tensor, flow: Tensor) -> Tensor:
    """(B, 8, 64, 64) what the head is given.

    Args:
        picture: (B, 1, 64, 64) in -1..1, the warped one.
        bodies: (B, 128, 128) labels: 1 the vertebra's, 2 that above, 3 that below.
        flow: (B, 2, 128, 128) mm down and across, of the warp.
    """
    each = torch.stack([(bodies == label).float() for label in (1, 2, 3)], 1)
    small = functional.avg_pool2d(torch.cat([each, flow.float() / _FIELD_MM], 1), 2)
    line = torch.linspace(-1.0, 1.0, SIZE, device=picture.device)
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"))[None].expand(len(picture), -1, -1, -1)
    return torch.cat([picture, small, grid], 1)


def integrated(velocity: Tensor) -> Tensor:
    """The displacement (B, 2, N, N) mm that a stationary velocity of the same form leads to in unit time."""
    move = velocity / 2**_SQUARINGS
    for _ in range(_SQUARINGS):
        move = move + displaced(move, move)
    return move


def displaced(values: Tensor, move: Tensor, spacing_mm: float | None = None) -> Tensor:
    """Values (B, C, N, N) read ``move`` (B, 2, N, N; mm down and across) away; at the edge as at its rim.

    Args:
        values: of any kind.
        move: see there.
        spacing_mm: of both; that of 128 mm over N samples where missing.
    """
    size = values.shape[-1]
    step = SIZE * SPACING_MM / size if spacing_mm is None else spacing_mm
    line = torch.arange(size, device=values.device, dtype=values.dtype)
    row, column = torch.meshgrid(line, line, indexing="ij")
    at = torch.stack([column + move[:, 1] / step, row + move[:, 0] / step], -1) * (2.0 / (size - 1)) - 1.0
    return functional.grid_sample(values, at, "bilinear", "border", align_corners=True)
