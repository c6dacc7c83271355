"""Blocks of the networks: residual ones that time and latent modulate, attention, resampling. Plain torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from VertebralGradingLib.diffusion_autoencoder.network import AutoencoderConfig

_TIME_PERIOD = 10000.0


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut; resampled after the first activation; modulated before the second.

    Args:
        inside, outside: channels.
        config: groups, dropout and the embedding's length.
        latent: length of the latent that modulates, 0 in the encoder, where nothing does.
        resample: "", "down" or "up".
    """

    def __init__(
        self, inside: int, outside: int, config: AutoencoderConfig, latent: int = 0, resample: str = ""
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm1, self.conv1 = nn.GroupNorm(config.groups, inside), nn.Conv2d(inside, outside, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(config.groups, outside), zeroed(nn.Conv2d(outside, outside, 3, padding=1))
        self.by_time = nn.Linear(config.embedding, 2 * outside) if latent else None
        self.by_latent = nn.Linear(latent, outside) if latent else None
        self.dropout = nn.Dropout(config.dropout)
        self.skip = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor, time: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        """(B, inside, H, W) -> (B, outside, H', W')."""
        y = self.conv1(resampled(functional.silu(self.norm1(x)), self.resample))
        y = self.norm2(y)
        if self.by_time is not None and self.by_latent is not None:
            assert time is not None and z is not None  # a conditional block is given both
            scale, shift = self.by_time(functional.silu(time))[..., None, None].chunk(2, 1)
            y = y * (1.0 + scale) + shift
            y = y * (1.0 + self.by_latent(functional.silu(z))[..., None, None])
        y = self.conv2(self.dropout(functional.silu(y)))
        out: Tensor = self.skip(resampled(x, self.resample)) + y
        return out


class Attention(nn.Module):
    """Every place looks at every other one; one head, with a shortcut."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.ask = nn.Conv1d(channels, 3 * channels, 1)
        self.last = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        flat = x.flatten(2)
        q, k, v = self.ask(self.norm(flat)).transpose(1, 2).chunk(3, 2)
        seen = functional.scaled_dot_product_attention(q, k, v)
        return (flat + self.last(seen.transpose(1, 2))).reshape(x.shape)


def run_parts(parts: Iterable[nn.Module], x: Tensor, time: Tensor, z: Tensor) -> Tensor:
    """(B, C, H, W) through a row of blocks, of which residual ones are given time (B, E) and latent (B, L)."""
    for part in parts:
        x = part(x, time, z) if isinstance(part, ResidualBlock) else part(x)
    return x


def resampled(x: Tensor, how: str) -> Tensor:
    """(B, C, H, W) at half the size for "down", at twice for "up", else as it is."""
    if how == "down":
        return functional.avg_pool2d(x, 2)
    return functional.interpolate(x, scale_factor=2.0, mode="nearest") if how == "up" else x


def sinusoids(time: Tensor, length: int) -> Tensor:
    """(B,) -> (B, length) cosines and sines of falling frequency."""
    half = length // 2
    frequency = torch.exp(-math.log(_TIME_PERIOD) * torch.arange(half, device=time.device, dtype=torch.float32) / half)
    angle = time.float()[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], 1)


def zeroed(layer: nn.Module) -> nn.Module:
    """A layer that says nothing at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
