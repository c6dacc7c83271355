"""Losses of HealthiVert-GAN: patch discriminators, and what the generators are measured by (sheet 2, sections 5 and 6).

``soft`` is what the paper describes; ``as_released`` what its code does, where the mask is thresholded before edges and
the second discriminator, so that neither has a gradient, and the first loss is divided by the mask of the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from VertebralGradingLib.healthivert.network import Drawn

EdgeOn = Literal["soft", "as_released"]
ClosedAt = Literal["truth", "predicted"]
MIDDLE_COLUMNS = 70
"""Columns of the gap that the third discriminator sees."""


@dataclass(frozen=True)
class Weights:
    """Of the losses, as released.

    Attributes:
        adversary: of the three discriminators' sum.
        reconstruction: of the mean absolute error, by the share of the slice that is gap.
        dice: of the fine generator's vertebra.
        neighbours: of the coarse generator's sound neighbours.
        edge: of the squared difference of edges.
        height: of the relative error of either height.
        cross: of the cross-entropy of both masks, which the released code does not have: without it the masks stayed
            empty for the first 1,600 slices.
        edge_on: see the module.
        closed_at: height at which slices are judged: the "predicted" one, as released, or the vertebra's own ("truth"),
            where what is drawn lies on what it is compared with, and the mask is judged in the whole gap.
    """

    adversary: float = 1.0 / 6.0
    reconstruction: float = 200.0
    dice: float = 15.0
    neighbours: float = 10.0
    edge: float = 800.0
    height: float = 40.0
    cross: float = 0.0
    edge_on: EdgeOn = "soft"
    closed_at: ClosedAt = "truth"


@dataclass(frozen=True, eq=False)
class Truth:
    """What the generators should have drawn.

    Attributes:
        ct: (B, 1, H, W) in -1..1, the slice as it is.
        body: (B, 1, H, W) 0 or 1, the vertebra.
        neighbours: (B, 1, H, W) 0 or 1, sound neighbours, where the gap is open.
        height: (B,) rows of the vertebra.
        mask: (B, 1, H, W) 1 in the gap.
    """

    ct: Tensor
    body: Tensor
    neighbours: Tensor
    height: Tensor
    mask: Tensor


class PatchDiscriminator(nn.Module):
    """Judges overlapping pieces of 70 x 70 pixels (Isola et al., CVPR 2017).

    Args:
        width: channels of the first level.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for inside, outside, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
            layers += [
                nn.Conv2d(inside * width, outside * width, 4, stride, 1, bias=False),
                nn.BatchNorm2d(outside * width),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H', W') scores, positive for real."""
        out: Tensor = self.layers(x)
        return out


class Discriminators(nn.Module):
    """Three of them: of the whole slice, of the vertebra's mask, and of the CT in the middle of the gap.

    Args:
        width: channels of their first level.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.parts = nn.ModuleList([PatchDiscriminator(width) for _ in range(3)])

    def forward(self, ct: Tensor, body: Tensor, middle: Tensor) -> list[Tensor]:
        """Scores of each."""
        return [part(x) for part, x in zip(self.parts, (ct, body, middle), strict=True)]


def fooled(judges: Discriminators, images: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """How far drawn images are from being taken for real; the judges themselves do not learn from it."""
    fixed = {name: value.detach() for name, value in judges.named_parameters()}
    fixed |= {name: value.clone() for name, value in judges.named_buffers()}
    return _bce(functional_call(judges, fixed, images), 1.0)


def told_apart(
    judges: Discriminators, real: tuple[Tensor, Tensor, Tensor], drawn: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """What the judges learn from: real against drawn, the mean of both; the generators do not learn from it."""
    seen = tuple(image.detach() for image in drawn)
    return 0.5 * (_bce(judges(*real), 1.0) + _bce(judges(*seen), 0.0))


def _bce(scores: list[Tensor], wanted: float) -> Tensor:
    parts = [functional.binary_cross_entropy_with_logits(one, torch.full_like(one, wanted)) for one in scores]
    return torch.stack(parts).sum()


def generator_losses(
    drawn: Drawn, fine: Tensor, coarse: Tensor, body: Tensor, truth: Truth, gap: int, weights: Weights
) -> dict[str, Tensor]:
    """Every loss but the adversarial one, weighted.

    Args:
        drawn: by the generators.
        fine: (B, 1, H, W) the slices with what the fine generator drew, closed (``Weights.closed_at``).
        coarse: the same of the coarse one.
        body: (B, 1, H, W) the vertebra's share likewise.
        truth: what should have come.
        gap: rows of the gap.
        weights: of the losses.
    """
    pixels = float(truth.mask[0].numel())
    count = truth.mask.sum((1, 2, 3)).clamp_min(1.0)
    if weights.edge_on == "as_released":
        count = count.sum().expand_as(count)
    error = 0.5 * ((fine - truth.ct).abs() + (coarse - truth.ct).abs()).mean((1, 2, 3))
    height = truth.height.to(error.dtype)[:, None].clamp_min(1.0)
    return {
        "reconstruction": (weights.reconstruction * 2.0 * pixels / count * error).mean(),
        "dice": weights.dice * (1.0 - _dice(body, truth.body)),
        "neighbours": weights.neighbours * (1.0 - _dice(drawn.neighbours, truth.neighbours)),
        "edge": weights.edge * (sobel(sharpened(body, weights)) - sobel(truth.body)).square().mean(),
        "cross": weights.cross * (_cross(body, truth.body) + _cross(drawn.neighbours, truth.neighbours)),
        "height": (weights.height * (gap * drawn.heights - height).abs() / height).sum(1).mean(),
    }


def sharpened(body: Tensor, weights: Weights) -> Tensor:
    """The mask that edges and the second discriminator see."""
    return (body > 0.5).to(body.dtype) if weights.edge_on == "as_released" else body


def sobel(mask: Tensor) -> Tensor:
    """(B, 1, H, W) size of a mask's gradient, at most 1."""
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], dtype=mask.dtype, device=mask.device)
    kernel = torch.stack([across, across.T])[:, None]
    parts = functional.conv2d(mask, kernel, padding=1)
    return (parts.square().sum(1, keepdim=True) + 1e-12).sqrt().clamp(max=1.0)


def _cross(found: Tensor, true: Tensor) -> Tensor:
    """Cross-entropy of a share 0..1 (written out, since autocast refuses the library's)."""
    share = found.float().clamp(1e-5, 1.0 - 1e-5)
    return -(true * share.log() + (1.0 - true) * (1.0 - share).log()).mean()


def _dice(found: Tensor, true: Tensor) -> Tensor:
    """Mean over the batch of the soft overlap."""
    both = (found * true).sum((1, 2, 3))
    return ((2.0 * both + 1.0) / (found.sum((1, 2, 3)) + true.sum((1, 2, 3)) + 1.0)).mean()
