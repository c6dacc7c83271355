"""Coarse and fine generator of HealthiVert-GAN, with contextual attention and height heads. Plain torch.

Layout of the released code (sheet 2, section 5), of which one thing is mended: contextual attention uses every item's
own mask. A slice has rows running caudally and columns running posteriorly (sagittal) or to the left (coronal).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_RATES = (2, 4, 8, 16)
_SOFTMAX_SCALE = 10.0
LOWEST_LEVEL = 17.0
"""Place of L5 on the axis of levels: by it places are brought to about 0 to 1."""
UNKNOWN_LEVEL = -LOWEST_LEVEL
"""Said where the level is not known."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Layout of both generators.

    Attributes:
        size: rows and columns of a slice (1 mm).
        gap: rows of the gap.
        width: channels of the first level.
        attention: whether the fine generator borrows from the surroundings (contextual attention).
        level: whether both are told which vertebra it is; the published ones are not.
    """

    size: int = 256
    gap: int = 40
    width: int = 16
    attention: bool = True
    level: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For a card or a configuration file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> GeneratorConfig:
        """From a card or a configuration file.

        Raises:
            ValueError: unknown or impossible entries.
        """
        if not isinstance(content, Mapping) or not set(content) <= {one.name for one in fields(cls)}:
            raise ValueError("no layout of HealthiVert-GAN")
        values = dict(content)
        if not all(type(values.get(name, 8)) is int and 0 < values.get(name, 8) <= 1024 for name in _NUMBERS):
            raise ValueError("sizes must be whole numbers")
        config = cls(**values)
        if config.size % 8 or config.width % 2 or config.gap >= config.size:
            raise ValueError("the sizes do not fit each other")
        if type(config.attention) is not bool or type(config.level) is not bool:
            raise ValueError("attention and level must be true or false")
        return config


_NUMBERS = ("size", "gap", "width")


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the generators make of slices.

    Attributes:
        coarse, fine: (B, 1, H, W) CT in -1..1.
        neighbours: (B, 1, H, W) 0..1, where sound neighbours are (coarse).
        body: (B, 1, H, W) 0..1, where the whole pseudo-healthy vertebra is (fine).
        heights: (B, 2) share of the gap that it fills, as the coarse and the fine generator see it.
    """

    coarse: Tensor
    fine: Tensor
    neighbours: Tensor
    body: Tensor
    heights: Tensor


class Generator(nn.Module):
    """Coarse and fine generator in a row.

    Args:
        config: their layout.
    """

    def __init__(self, config: GeneratorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or GeneratorConfig()
        planes = 1 + int(config.level)
        self.coarse, self.fine = Coarse(config.width, planes), Fine(config.width, config.attention, planes)

    def forward(
        self, ct: Tensor, mask: Tensor, place: Tensor, guide: Tensor | None = None, level: Tensor | None = None
    ) -> Drawn:
        """Draw the gap.

        Args:
            ct: (B, 1, H, W) in -1..1, the gap 0.
            mask: (B, 1, H, W) 1 in the gap.
            place: (B,) how far beside the middle the slice lies, 0 in the middle to 1 at the vertebra's side.
            guide: (B, 1, H, W) 0..1, little where fractures are; all ones where nothing is known.
            level: (B,) place of the vertebra on the axis of levels or :data:`UNKNOWN_LEVEL`, where the layout has it.

        Raises:
            ValueError: the level is missing.
        """
        if self.config.level and level is None:
            raise ValueError("these generators want to know the level")
        planes = [place, level / LOWEST_LEVEL] if self.config.level and level is not None else [place]
        plane = torch.cat([one.to(ct.dtype).reshape(-1, 1, 1, 1).expand_as(ct) for one in planes], 1)
        guide = torch.ones_like(ct) if guide is None else guide
        coarse, neighbours, first = self.coarse(ct, mask, plane, guide)
        fine, body, second = self.fine(ct, neighbours, mask, plane, coarse)
        return Drawn(coarse, fine, neighbours, body, torch.cat([first, second], 1))


class Coarse(nn.Module):
    """Draws a first CT, sound neighbours, and a height.

    Args:
        n: channels of the first level.
        planes: numbers that are given as constant planes.
    """

    def __init__(self, n: int, planes: int = 1) -> None:
        super().__init__()
        self.down = nn.Sequential(*_encoder(2 + planes, n), *(_conv(4 * n, 4 * n, rate=rate) for rate in _RATES))
        self.height = _Height(4 * n)
        self.middle = nn.Sequential(_conv(4 * n, 4 * n), _conv(4 * n, 4 * n))
        self.to_half = nn.Sequential(_conv(4 * n + 1, 2 * n), _conv(2 * n, 2 * n))
        self.to_full = nn.Sequential(_conv(2 * n + 1, n), _conv(n, n // 2))
        self.ct, self.label = nn.Conv2d(n // 2, 1, 3, padding=1), nn.Conv2d(n // 2, 1, 3, padding=1)

    def forward(self, ct: Tensor, mask: Tensor, plane: Tensor, guide: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """CT in -1..1, neighbours 0..1 (both of the input's shape), height (B, 1) 0..1."""
        x = self.down(torch.cat([ct, plane, mask], 1))
        height = self.height(x)
        x = _twice(self.middle(x))
        x = self.to_half(torch.cat([x, functional.interpolate(guide, scale_factor=0.5, mode="area")], 1))
        x = self.to_full(torch.cat([_twice(x), guide], 1))
        return self.ct(x).clamp(-1.0, 1.0), torch.sigmoid(self.label(x)), height


class Fine(nn.Module):
    """Draws the CT, the whole vertebra, and a height; one branch looks far by dilation, one by contextual attention.

    Args:
        n: channels of the first level.
        attention: whether the second branch has it.
        planes: numbers that are given as constant planes.
    """

    def __init__(self, n: int, attention: bool = True, planes: int = 1) -> None:
        super().__init__()
        inside = 3 + planes
        self.near = nn.Sequential(*_encoder(inside, n), *(_conv(4 * n, 4 * n, rate=rate) for rate in _RATES))
        self.far = nn.Sequential(*_encoder(inside, n, last=nn.ReLU()))
        self.attention = ContextualAttention() if attention else None
        self.after = nn.Sequential(_conv(4 * n, 4 * n), _conv(4 * n, 4 * n))
        self.joined = _conv(8 * n, 4 * n)
        self.height = _Height(4 * n)
        self.middle = _conv(4 * n, 4 * n)
        self.to_half = nn.Sequential(_conv(4 * n, 2 * n), _conv(2 * n, 2 * n))
        self.to_full = nn.Sequential(_conv(2 * n, n), _conv(n, n // 2))
        self.ct, self.label = nn.Conv2d(n // 2 + 1, 1, 3, padding=1), nn.Conv2d(n // 2 + 1, 1, 3, padding=1)

    def forward(
        self, ct: Tensor, neighbours: Tensor, mask: Tensor, plane: Tensor, coarse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """CT in -1..1, vertebra 0..1 (both of the input's shape), height (B, 1) 0..1."""
        given = torch.cat([ct, neighbours, mask, plane], 1)
        near, far = self.near(given), self.far(given)
        if self.attention is not None:
            far = self.attention(far, mask)
        x = self.joined(torch.cat([near, self.after(far)], 1))
        height = self.height(x)
        x = self.to_full(_twice(self.to_half(_twice(self.middle(x)))))
        x = torch.cat([x, coarse], 1)
        return self.ct(x).clamp(-1.0, 1.0), torch.sigmoid(self.label(x)), height


class ContextualAttention(nn.Module):
    """Fills the gap's features with those of the surroundings that are most alike (Yu et al., CVPR 2018).

    Patches of 3 x 3 at half resolution are compared, pieces of 4 x 4 are pasted; every item has its own mask.
    """

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, H, W) features, and (B, 1, H', W') mask of the slice, 1 in the gap -> features of the same shape."""
        small = functional.interpolate(x, scale_factor=0.5, mode="nearest")
        height, width = small.shape[2:]
        hidden = functional.interpolate(mask, size=(height, width), mode="area")
        patches = functional.unfold(small, 3, padding=1)
        known = (functional.unfold(hidden, 3, padding=1).mean(1) == 0).to(x.dtype)[:, :, None]
        keys = patches / patches.square().sum(1, keepdim=True).sqrt().clamp_min(1e-4)
        likeness = _fused(keys.transpose(1, 2) @ patches, height, width) * known
        share = torch.softmax(_SOFTMAX_SCALE * likeness, 1) * known
        pieces = functional.unfold(x, 4, stride=2, padding=1)
        pasted = functional.fold(pieces @ share, x.shape[2:], 4, stride=2, padding=1)
        return pasted / 4.0


def _fused(likeness: Tensor, height: int, width: int) -> Tensor:
    """(B, L, L) likeness made to agree between neighbours, along rows and then along columns."""
    count = len(likeness)
    eye = torch.eye(3, dtype=likeness.dtype, device=likeness.device)[None, None]
    for _ in range(2):
        likeness = functional.conv2d(likeness[:, None], eye, padding=1)[:, 0]
        grid = likeness.reshape(count, height, width, height, width).transpose(1, 2).transpose(3, 4)
        likeness = grid.reshape(count, height * width, height * width)
        height, width = width, height
    return likeness


class _Height(nn.Module):
    """Mean over the map, a line, and a share 0..1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.line = nn.Linear(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.sigmoid(self.line(x.mean((2, 3))))
        return out


def _encoder(inside: int, n: int, last: nn.Module | None = None) -> list[nn.Module]:
    return [
        _conv(inside, n, 5),
        _conv(n, 2 * n, stride=2),
        _conv(2 * n, 2 * n),
        _conv(2 * n, 4 * n, stride=2),
        _conv(4 * n, 4 * n),
        _conv(4 * n, 4 * n, last=last),
    ]


def _conv(
    inside: int, outside: int, kernel: int = 3, stride: int = 1, rate: int = 1, last: nn.Module | None = None
) -> nn.Module:
    padding = rate * (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, stride, padding, dilation=rate), nn.ELU() if last is None else last
    )


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
