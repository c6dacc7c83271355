"""Heights of pictures, read by a frozen body network so that the gap to what was asked for can be learned from.

Published as Seg-CFT (MICCAI 2025, arXiv 2509.24913) for counterfactuals of other organs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from VertebralGradingLib.models.weights import describe_file
from VertebralGradingLib.segmentation.learned import finder_of_weights
from VertebralGradingLib.segmentation.network import EDGE

_HALF_WIDTH_MM, _BESIDE_HU = 20, 40.0
"""A picture is drawn out sideways to so much on either side; beyond lies soft tissue."""
_LEAST = 3.0


@dataclass(frozen=True, eq=False)
class Reader:
    """A frozen body network.

    Attributes:
        network: HU blocks to logits.
        sha256: of its weights.
    """

    network: nn.Module
    sha256: str

    @classmethod
    def of_file(cls, path: Path, device: str = "cpu") -> Reader:
        """From a file of weights.

        Raises:
            MethodError: no weights of this network.
        """
        finder = finder_of_weights(path, device)
        return cls(finder.network.requires_grad_(False), describe_file(path).sha256)

    def error_mm(self, hu: Tensor, body: Tensor) -> Tensor:
        """Mean difference of column heights (mm) between what is read and the true body.

        Args:
            hu: (B, 1, 128, 128) at 1 mm, rows caudal, columns posterior.
            body: (B, 128, 128) bool, true.
        """
        edge = (hu.shape[-1] - EDGE) // 2
        flat = hu[:, 0, edge : edge + EDGE, edge : edge + EDGE]
        beside = torch.arange(EDGE, device=hu.device) - (EDGE - 1) / 2  # depth
        block = flat[..., None].expand(-1, -1, -1, EDGE)
        outer = beside.abs() > _HALF_WIDTH_MM
        block = torch.where(outer, block.clamp(max=_BESIDE_HU), block)
        share = torch.sigmoid(self.network(block[:, None])[:, 0])
        read = share[..., EDGE // 2 - 2 : EDGE // 2 + 2].mean(-1).sum(1)
        true = body[:, edge : edge + EDGE, edge : edge + EDGE].float().sum(1)
        known = (true > _LEAST).float()
        known = -functional.max_pool1d(-known[:, None], 5, 1, 2)[:, 0]  # the rounded rim is left out
        return ((read - true).abs() * known).sum() / known.sum().clamp_min(1.0)
