"""An invertible flow on latents with the grade as its condition: another way to move a latent to another grade.

RealNVP (Dinh et al., ICLR 2017) on the leading directions of standardised latents; what lies across them stays. What
the flow leaves when a latent's own grade is taken out of it is put under the wanted grade.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_MOST = 1.5
"""Largest logarithm of a scale in one layer."""


@dataclass(frozen=True)
class FlowConfig:
    """Layout.

    Attributes:
        latent: length of z_sem.
        kept: leading directions that the flow moves; even.
        layers: couplings.
        width: of their hidden layers.
    """

    latent: int = 256
    kept: int = 48
    layers: int = 8
    width: int = 96

    def to_dict(self) -> dict[str, Any]:
        """For a card or a run."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FlowConfig:
        """From a card.

        Raises:
            ValueError: unknown or impossible entries.
        """
        try:
            config = cls(**{name: int(value) for name, value in content.items()})
        except TypeError as error:
            raise ValueError("no layout of a flow") from error
        if min(config.to_dict().values()) < 1 or config.kept % 2 or config.kept > config.latent:
            raise ValueError("no layout of a flow")
        return config


class LatentFlow(nn.Module):
    """From latents to what is left of them when the grade is known, and back.

    Args:
        config: its layout.
    """

    mean: Tensor
    basis: Tensor
    scale: Tensor

    def __init__(self, config: FlowConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FlowConfig()
        self.register_buffer("mean", torch.zeros(config.latent))
        self.register_buffer("basis", torch.eye(config.kept, config.latent))
        self.register_buffer("scale", torch.ones(config.kept))
        half = config.kept // 2
        self.layers = nn.ModuleList([_coupling(half, config.width) for _ in range(config.layers)])

    @torch.no_grad()
    def fit_directions(self, z: Tensor) -> None:
        """Take the leading directions from latents (N, L)."""
        mean = z.mean(0)
        _, spread, axes = torch.linalg.svd(z - mean, full_matrices=False)
        kept = self.config.kept
        self.mean.copy_(mean)
        self.basis.copy_(axes[:kept])
        self.scale.copy_((spread[:kept] / max(len(z) - 1, 1) ** 0.5).clamp_min(1e-4))

    def forward(self, z: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """(B, kept) what is left of latents (B, L) of scores (B,), and (B,) the logarithm of the volume's change."""
        x = (z - self.mean) @ self.basis.T / self.scale
        total = -self.scale.log().sum().expand(len(z))
        for n, layer in enumerate(self.layers):
            still, other = _halves(x, n)
            log_scale, shift = _amounts(layer, still, score)
            other = other * log_scale.exp() + shift
            total = total + log_scale.sum(1)
            x = _joined(still, other, n)
        return x, total

    def back(self, left: Tensor, score: Tensor, z: Tensor) -> Tensor:
        """Latents (B, L) of what is left (B, kept), at scores (B,); across the moved directions those of ``z``."""
        x = left
        for n, layer in reversed(list(enumerate(self.layers))):
            still, other = _halves(x, n)
            log_scale, shift = _amounts(layer, still, score)
            x = _joined(still, (other - shift) * (-log_scale).exp(), n)
        away = z - self.mean
        across = away - (away @ self.basis.T) @ self.basis
        return self.mean + across + (x * self.scale) @ self.basis

    @torch.inference_mode()
    def moved(self, z: NDArray[Any], own: float, wanted: float) -> NDArray[np.float64]:
        """(L,) latent of one score as it would be at another."""
        latent = torch.from_numpy(np.asarray(z, dtype=np.float32))[None]
        left, _ = self(latent, torch.tensor([own], dtype=torch.float32))
        out = self.back(left, torch.tensor([wanted], dtype=torch.float32), latent)
        return np.asarray(out[0].double().numpy())


def _coupling(half: int, width: int) -> nn.Sequential:
    last = nn.Linear(width, 2 * half)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(half + 2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last)


def _amounts(layer: nn.Module, still: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    grade = torch.stack([score / 3.0, (score / 3.0).square()], 1)
    log_scale, shift = layer(torch.cat([still, grade], 1)).chunk(2, 1)
    return _MOST * torch.tanh(log_scale / _MOST), shift


def _halves(x: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Every other number stays; which, changes from layer to layer."""
    return x[:, n % 2 :: 2], x[:, 1 - n % 2 :: 2]


def _joined(still: Tensor, other: Tensor, n: int) -> Tensor:
    pair = (still, other) if n % 2 == 0 else (other, still)
    return torch.stack(pair, 2).flatten(1)
