"""Semantic encoder and conditional noise predictor of a diffusion autoencoder. Plain torch; knows no noise schedule.

Layout of Preechakul et al., CVPR 2022 (sheet 1, section 3): residual blocks with GroupNorm and SiLU, resampling inside
a block, attention at given downsampling factors; time scales and shifts, then the latent scales. What smaller
configurations add, since they see few samples: pixels are folded into channels before the first convolution
(``fold``), the latent is narrowed once for all blocks (``condition``), it is read from the places of the encoder's last
map instead of their mean (``places``), and what it says of the picture is drawn directly, and shown to the noise
predictor (``guide``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from VertebralGradingLib.diffusion_autoencoder.blocks import (
    Attention,
    ResidualBlock,
    resampled,
    run_parts,
    sinusoids,
    zeroed,
)
from VertebralGradingLib.spine.reformation import PATCH_SIZE

SHOWN = ("warped picture", "body in it")
"""What a noise predictor can be shown of a warp: in -1..1, and 0 or 1; zeros where there is none."""
_GUIDE_FACTOR = 8
"""By which the guide's first map is smaller than the patch: three doublings."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """Layout of encoder and noise predictor.

    Attributes:
        size: rows and columns of a patch.
        spacing_mm: of its pixels.
        latent: length of z_sem.
        width: channels of the first level.
        denoiser, encoder: channels of each level by ``width``.
        blocks: residual blocks of a level.
        attention: downsampling factors, of the patch, at which there is attention; the middle always has it.
        fold: edge of the pixel squares folded into channels, 1 for none.
        embedding: length of the embedded time.
        condition: length the latent is narrowed to before it modulates, 0 for none.
        places: channels in which the encoder's last map is read place by place, 0 for its mean, as published.
        guide: channels of the map that the latent is drawn out to for a guiding picture, 0 for none, as published.
        warped: 1 where the noise predictor can also be shown a warped picture and the body in it, 0 as published.
        groups: of the group normalisations.
        dropout: in residual blocks.
    """

    size: int = 128
    spacing_mm: float = 1.0
    latent: int = 512
    width: int = 128
    denoiser: tuple[int, ...] = (1, 1, 2, 3, 4)
    encoder: tuple[int, ...] = (1, 1, 2, 3, 4, 4)
    blocks: int = 2
    attention: tuple[int, ...] = (8,)
    fold: int = 1
    embedding: int = 512
    condition: int = 0
    places: int = 0
    guide: int = 0
    warped: int = 0
    groups: int = 32
    dropout: float = 0.1

    def to_dict(self) -> dict[str, Any]:
        """For a card or a configuration file."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> AutoencoderConfig:
        """From a card or a configuration file.

        Raises:
            ValueError: unknown or impossible entries.
        """
        known = {one.name: one.default for one in fields(cls)}
        if not isinstance(content, Mapping) or not set(content) <= set(known):
            raise ValueError("no layout of a diffusion autoencoder")
        values: dict[str, Any] = {}
        for name, value in content.items():
            if isinstance(known[name], tuple):
                if not isinstance(value, Sequence) or not all(type(one) is int and 0 < one <= 64 for one in value):
                    raise ValueError(f"{name} must be a list of whole numbers")
                values[name] = tuple(value)
            elif type(value) not in (int, float) or not 0 <= value <= 4096:
                raise ValueError(f"{name} must be a number")
            else:
                values[name] = value if isinstance(known[name], float) else int(value)
        config = cls(**values)
        smallest = config.fold * 2 ** (max(len(config.denoiser), len(config.encoder)) - 1)
        if not (config.denoiser and config.encoder and config.size and config.fold and config.width and config.groups):
            raise ValueError("sizes must be positive")
        if config.spacing_mm != int(config.spacing_mm) or config.spacing_mm < 1 or not config.dropout < 1:
            raise ValueError("the spacing must be whole, and the dropout a share")
        if config.size * config.spacing_mm > PATCH_SIZE:
            raise ValueError(f"a patch has {PATCH_SIZE} mm")
        if config.size % smallest or any(config.width * m % config.groups for m in config.denoiser + config.encoder):
            raise ValueError("the patch or the groups do not fit the levels")
        if config.guide and config.size % _GUIDE_FACTOR:
            raise ValueError("the guide does not fit the patch")
        return config


class SemanticEncoder(nn.Module):
    """From a patch to z_sem.

    Args:
        config: its layout.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width * config.encoder[0]
        self.first = nn.Conv2d(config.fold**2, width, 3, padding=1)
        parts: list[nn.Module] = []
        factor = config.fold
        for n, times in enumerate(config.encoder):
            for _ in range(config.blocks):
                parts.append(ResidualBlock(width, config.width * times, config))
                width = config.width * times
                if factor in config.attention:
                    parts.append(Attention(width, config.groups))
            if n < len(config.encoder) - 1:
                parts.append(ResidualBlock(width, width, config, resample="down"))
                factor *= 2
        parts += [
            ResidualBlock(width, width, config),
            Attention(width, config.groups),
            ResidualBlock(width, width, config),
        ]
        self.parts = nn.ModuleList(parts)
        self.norm = nn.GroupNorm(config.groups, width)
        edge = config.size // factor
        self.places = nn.Conv2d(width, config.places, 1) if config.places else None
        self.last = nn.Linear(config.places * edge**2 if config.places else width, config.latent)

    def forward(self, x: Tensor) -> Tensor:
        """z_sem (B, latent) of patches (B, 1, size, size) in -1..1."""
        x = self.first(functional.pixel_unshuffle(x, self.config.fold))
        for part in self.parts:
            x = part(x)
        x = functional.silu(self.norm(x))
        out: Tensor = self.last(x.mean((2, 3)) if self.places is None else self.places(x).flatten(1))
        return out


class NoisePredictor(nn.Module):
    """Noise in a noisy patch, given its time and a latent.

    Args:
        config: its layout.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.time = nn.Sequential(
            nn.Linear(config.width, config.embedding), nn.SiLU(), nn.Linear(config.embedding, config.embedding)
        )
        self.narrow = nn.Linear(config.latent, config.condition) if config.condition else nn.Identity()
        latent = config.condition or config.latent
        width = config.width * config.denoiser[0]
        self.guide = Guide(config) if config.guide else None
        seen = 1 + (1 if config.guide else 0) + (len(SHOWN) if config.warped else 0)
        self.first = nn.Conv2d(config.fold**2 * seen, width, 3, padding=1)
        kept, factor = [width], config.fold
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for n, times in enumerate(config.denoiser):
            for _ in range(config.blocks):
                parts: list[nn.Module] = [ResidualBlock(width, config.width * times, config, latent)]
                width = config.width * times
                if factor in config.attention:
                    parts.append(Attention(width, config.groups))
                self.down.append(nn.ModuleList(parts))
                kept.append(width)
            if n < len(config.denoiser) - 1:
                self.down.append(nn.ModuleList([ResidualBlock(width, width, config, latent, "down")]))
                kept.append(width)
                factor *= 2
        self.middle = nn.ModuleList(
            [
                ResidualBlock(width, width, config, latent),
                Attention(width, config.groups),
                ResidualBlock(width, width, config, latent),
            ]
        )
        for n, times in reversed(list(enumerate(config.denoiser))):
            for k in range(config.blocks + 1):
                parts = [ResidualBlock(width + kept.pop(), config.width * times, config, latent)]
                width = config.width * times
                if factor in config.attention:
                    parts.append(Attention(width, config.groups))
                if n and k == config.blocks:
                    parts.append(ResidualBlock(width, width, config, latent, "up"))
                    factor //= 2
                self.up.append(nn.ModuleList(parts))
        self.norm = nn.GroupNorm(config.groups, width)
        self.last = zeroed(nn.Conv2d(width, config.fold**2, 3, padding=1))

    def forward(
        self, x: Tensor, time: Tensor, z: Tensor, drawn: Tensor | None = None, warped: Tensor | None = None
    ) -> Tensor:
        """Noise (B, 1, size, size).

        Args:
            x: noisy patches, of that shape.
            time: (B,) 0..T-1.
            z: (B, latent) z_sem.
            drawn: the guiding picture, where it has been drawn already.
            warped: (B, 2, size, size) :data:`SHOWN`, where the layout has it; None for an ordinary autoencoder.
        """
        noisy = x
        if self.guide is not None:
            x = torch.cat([x, self.guide(z) if drawn is None else drawn], 1)
        if self.config.warped:
            shown = noisy.new_zeros(len(noisy), len(SHOWN), *noisy.shape[2:]) if warped is None else warped
            x = torch.cat([x, shown], 1)
        t = self.time(sinusoids(time, self.config.width).to(x.dtype))
        z = self.narrow(z)
        x = self.first(functional.pixel_unshuffle(x, self.config.fold))
        kept = [x]
        for parts in self.down:
            x = run_parts(parts.children(), x, t, z)
            kept.append(x)
        x = run_parts(self.middle, x, t, z)
        for parts in self.up:
            x = run_parts(parts.children(), torch.cat([x, kept.pop()], 1), t, z)
        return functional.pixel_shuffle(self.last(functional.silu(self.norm(x))), self.config.fold)


class Guide(nn.Module):
    """From a latent straight to a picture: what can be said of it without noise, and so a blurred one.

    Args:
        config: of the noise predictor.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.shape = (config.guide, config.size // _GUIDE_FACTOR, config.size // _GUIDE_FACTOR)
        self.spread = nn.Linear(config.latent, math.prod(self.shape))
        widths = [2 * config.width, config.width, config.width]
        self.first = nn.Conv2d(config.guide, widths[0], 3, padding=1)
        blocks = [ResidualBlock(inside, outside, config) for inside, outside in pairwise([widths[0], *widths])]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.GroupNorm(config.groups, widths[-1])
        self.last = nn.Conv2d(widths[-1], 4, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, 1, size, size) of latents (B, latent)."""
        x = self.first(self.spread(z).reshape(len(z), *self.shape))
        for n, block in enumerate(self.blocks):
            x = block(x if n == 0 else resampled(x, "up"))
        return functional.pixel_shuffle(self.last(functional.silu(self.norm(x))), 2)


class DiffusionAutoencoder(nn.Module):
    """Encoder and noise predictor together, as they are trained.

    Args:
        config: their layout.
    """

    def __init__(self, config: AutoencoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AutoencoderConfig()
        self.encoder, self.denoiser = SemanticEncoder(config), NoisePredictor(config)

    def forward(self, noisy: Tensor, time: Tensor, clean: Tensor) -> Tensor:
        """Noise in ``noisy`` as predicted with the latent of ``clean``."""
        noise: Tensor = self.denoiser(noisy, time, self.encoder(clean))
        return noise
