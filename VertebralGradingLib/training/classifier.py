"""Training of the slice classifier that guides HealthiVert-GAN's attention; the source's was never published.

It sees what the generators see, slices with their gap opened, and learns whether a neighbour has grade 2 or 3 (sheet 2,
section 4: the figure shows the masked image; the released code, which has no training, looks at the whole one).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from VertebralGradingLib.healthivert.attention import SliceClassifier, attention
from VertebralGradingLib.training.loop import LoopConfig, tiled
from VertebralGradingLib.training.openings import Openings

_SHOWN = 6


@dataclass(frozen=True)
class ClassifierTraining:
    """How it is made.

    Attributes:
        width: channels of its first level.
        batch: slices of a step.
        loop: how it is trained.
    """

    width: int
    batch: int
    loop: LoopConfig


@dataclass(eq=False)
class ClassifierTask:
    """Batches and loss (:class:`loop.Task`)."""

    openings: Openings
    config: ClassifierTraining
    memory_format: torch.memory_format = field(default=torch.channels_last)

    def batch(self, step: int) -> dict[str, Tensor]:
        """Slices as the generators see them."""
        made = self.openings.batch(step, self.config.batch)
        return {name: made[name] for name in ("open", "broken", "mask")}

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, and the share of slices that are told rightly."""
        scores = model(batch["open"])
        loss = functional.cross_entropy(scores, batch["broken"])
        return loss, {"right": (scores.argmax(1) == batch["broken"]).float().mean()}

    @torch.no_grad()
    def picture(self, model: nn.Module) -> NDArray[np.uint8]:
        """Slices, and where they show fractures (dark)."""
        assert isinstance(model, SliceClassifier)
        batch = {name: value[:_SHOWN] for name, value in self.batch(0).items()}
        rows = [127.5 * (batch["open"] + 1.0), 255.0 * attention(model, batch["open"])]
        return tiled(rows)


def classifier_folder(out: str | Path) -> Path:
    """Where a run's classifier is trained."""
    return Path(out) / "classifier"
