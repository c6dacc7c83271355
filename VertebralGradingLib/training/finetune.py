"""The semantic encoder trained further with labels: the published rival of the frozen one (sheet 1, section 9)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from VertebralGradingLib.diffusion_autoencoder.network import SemanticEncoder
from VertebralGradingLib.diffusion_autoencoder.patches import to_network
from VertebralGradingLib.errors import InputError
from VertebralGradingLib.training.autoencoder import moved


@dataclass(frozen=True)
class TuneConfig:
    """How it is trained; not published.

    Attributes:
        steps, batch: of AdamW.
        learning_rate: falls to zero along half a cosine.
        weight_decay: of AdamW.
        seed: of the head, batches and changes.
    """

    steps: int = 600
    batch: int = 32
    learning_rate: float = 3e-4
    weight_decay: float = 1e-2
    seed: int = 0


class TunedEncoder:
    """An encoder with a linear head.

    Args:
        encoder: patches to latents, trained further.
        head: latents to a number for each class.
        classes: (C,) grades.
    """

    def __init__(self, encoder: SemanticEncoder, head: nn.Linear, classes: NDArray[np.int64]) -> None:
        self.encoder, self.head, self.classes = encoder.eval(), head.eval(), classes

    @torch.inference_mode()
    def __call__(self, hu: NDArray[np.int16], batch: int = 32) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(N, 128, 128) HU -> (N,) log odds of grade 2 and more against the rest, and (N,) the likeliest grade."""
        parts = [self._log_shares(hu[k : k + batch]) for k in range(0, len(hu), batch)]
        shares = torch.cat(parts).double().numpy()
        high = self.classes >= 2
        odds = np.logaddexp.reduce(shares[:, high], 1) - np.logaddexp.reduce(shares[:, ~high], 1)
        return odds, self.classes[shares.argmax(1)]

    def _log_shares(self, hu: NDArray[np.int16]) -> Tensor:
        config = self.encoder.config
        x = to_network(torch.from_numpy(hu.astype(np.float32))[:, None], config.size, config.spacing_mm)
        return functional.log_softmax(self.head(self.encoder(x)), 1)


def fine_tune(
    encoder: SemanticEncoder, hu: NDArray[np.int16], grade: NDArray[np.int64], config: TuneConfig | None = None
) -> TunedEncoder:
    """Train a copy of an encoder with a linear head, all grades drawn equally often (cross-entropy).

    Args:
        encoder: stays as it is.
        hu: (N, 128, 128) patches.
        grade: (N,); grade 1 is left out, as published.
        config: how.

    Raises:
        InputError: there are no healthy or no fractured ones.
    """
    config = config or TuneConfig()
    classes = np.unique(grade[grade != 1])
    if not len(classes) or classes[0] >= 2 or classes[-1] < 2:
        raise InputError("There are no healthy or no fractured vertebrae to learn from.", "Add labelled subjects.")
    torch.manual_seed(config.seed)
    encoder = copy.deepcopy(encoder).float().cpu().requires_grad_(True).train()
    head = nn.Linear(encoder.config.latent, len(classes))
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    members = [np.flatnonzero(grade == one) for one in classes]
    for step in range(config.steps):
        rng = np.random.default_rng([config.seed, step, 93])
        wanted = rng.integers(len(classes), size=config.batch)
        chosen = np.array([rng.choice(members[k]) for k in wanted])
        images = moved(torch.from_numpy(hu[chosen].astype(np.float32))[:, None], rng)
        x = to_network(images, encoder.config.size, encoder.config.spacing_mm)
        loss = functional.cross_entropy(head(encoder(x)), torch.from_numpy(wanted))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        fall.step()
    return TunedEncoder(encoder, head, classes)
