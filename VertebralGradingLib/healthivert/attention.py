"""Where a slice shows fractures, so that the generators do not copy them: Grad-CAM++ of a slice classifier, inverted.

The source's classifier is a 2-D SE-ResNet-50 whose training was never published (sheet 2, section 4); here it is a
small residual network in plain torch, so that it runs wherever the generators do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 4


class SliceClassifier(nn.Module):
    """Tells whether a slice shows a fractured vertebra.

    Args:
        width: channels of the first level.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 5, 2, 2)
        blocks: list[nn.Module] = []
        for level in range(_LEVELS):
            inside, outside = width * 2 ** max(level - 1, 0), width * 2**level
            blocks.append(_Residual(inside, outside, 1 if level == 0 else 2))
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(width * 2 ** (_LEVELS - 1), 2)

    def features(self, ct: Tensor) -> Tensor:
        """(B, C, H / 16, W / 16) last map of slices (B, 1, H, W) in -1..1."""
        out: Tensor = self.blocks(functional.elu(self.first(ct)))
        return out

    def forward(self, ct: Tensor) -> Tensor:
        """(B, 2) scores: no fracture, fracture."""
        return self.scores(self.features(ct))

    def scores(self, features: Tensor) -> Tensor:
        """(B, 2) scores of a last map."""
        out: Tensor = self.last(features.mean((2, 3)))
        return out


def attention(classifier: SliceClassifier, ct: Tensor) -> Tensor:
    """Little where the classifier sees fractures, 1 where nothing speaks for one: inverted Grad-CAM++.

    Args:
        classifier: trained.
        ct: (B, 1, H, W) in -1..1.

    Returns:
        (B, 1, H, W) 0..1; all ones where the map is flat (Chattopadhyay et al., WACV 2018, with ReLU(exp(score) g)).
    """
    with torch.enable_grad():
        features = classifier.features(ct).detach().requires_grad_(True)
        score = classifier.scores(features)[:, 1]
        (gradient,) = torch.autograd.grad(score.sum(), features)
    features = features.detach()
    total = (features * gradient**3).sum((2, 3), keepdim=True)
    alpha = gradient.square() / (2.0 * gradient.square() + total + 1e-7)
    weight = (alpha * functional.relu(score.detach().exp()[:, None, None, None] * gradient)).sum((2, 3), keepdim=True)
    seen = functional.relu((weight * features).sum(1, keepdim=True))
    low, high = seen.amin((2, 3), keepdim=True), seen.amax((2, 3), keepdim=True)
    share = torch.where(high > low, (seen - low) / (high - low).clamp_min(1e-12), torch.zeros_like(seen))
    wide = functional.interpolate(share, size=ct.shape[2:], mode="bilinear", align_corners=False)
    return 1.0 - wide.clamp(0.0, 1.0)


class _Residual(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, inside), nn.Conv2d(inside, outside, 3, stride, 1)
        self.norm2, self.conv2 = nn.GroupNorm(4, outside), nn.Conv2d(outside, outside, 3, 1, 1)
        self.skip = nn.Conv2d(inside, outside, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(functional.elu(self.norm1(x)))
        out: Tensor = self.skip(x) + self.conv2(functional.elu(self.norm2(y)))
        return out
