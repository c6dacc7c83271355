"""How the flow on latents is trained: on the latents of pairs, which the frozen encoder tells once."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from VertebralGradingLib.diffusion_autoencoder.flow import LatentFlow
from VertebralGradingLib.diffusion_autoencoder.network import SemanticEncoder
from VertebralGradingLib.diffusion_autoencoder.patches import to_network
from VertebralGradingLib.morphometry.genant import score_of_loss
from VertebralGradingLib.training.pairs import Pairs
from VertebralGradingLib.training.warped_tasks import WarpedTraining

_TRAINED, _NOISE, _GAP = 0.9, 0.1, 1.0
"""Share of the pairs that is trained on, noise by the spread of latents, weight of the gap between rests."""
_AT_ONCE = 64


class FlowTask:
    """The flow on latents: likely latents, and the same rest before and after a fracture.

    Args:
        pairs: of both states.
        config: of the stage.
        encoder: frozen.
    """

    memory_format = torch.contiguous_format

    def __init__(self, pairs: Pairs, config: WarpedTraining, encoder: SemanticEncoder) -> None:
        self.config = config
        states = [encoded(pairs, name, config, encoder) for name in ("image", "target")]
        self.z = torch.stack(states, 1)
        self.score = torch.from_numpy(score_of_loss(pairs.content["loss"].cpu().numpy().clip(0.0))).float()
        self.score = self.score.to(self.z.device)
        self.held_out = torch.arange(len(pairs), device=self.z.device) >= round(_TRAINED * len(pairs))

    def batch(self, step: int) -> dict[str, Tensor]:
        """Latents (B, 2, L) of both states and their scores, with a little noise."""
        rng = np.random.default_rng([self.config.seed, step, 95])
        used = np.flatnonzero(~self.held_out.cpu().numpy())
        chosen = torch.from_numpy(rng.choice(used, min(self.config.batch, len(used)), replace=False))
        z = self.z[chosen]
        noise = torch.from_numpy(rng.normal(size=tuple(z.shape)).astype(np.float32)).to(z.device)
        return {"z": z + _NOISE * self.z.flatten(0, 1).std(0) * noise, "score": self.score[chosen]}

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative logarithm of the likelihood for each number, and the gap between both rests; held out, the gap."""
        assert isinstance(model, LatentFlow)
        count = len(batch["z"])
        left, volume = model(batch["z"].transpose(0, 1).flatten(0, 1), batch["score"].T.flatten())
        parts = {"likelihood": (0.5 * left.square().sum(1) - volume).mean() / left.shape[1]}
        parts["gap"] = (left[:count] - left[count:]).square().mean()
        with torch.no_grad():
            out = self.held_out
            seen, _ = model(self.z[out].transpose(0, 1).flatten(0, 1), self.score[out].T.flatten())
            moved = model.back(seen.chunk(2)[0], self.score[out][:, 1], self.z[out][:, 0])
            spread = self.z[out][:, 1].var(0).mean()
            parts["held_out"] = (moved - self.z[out][:, 1]).square().mean() / spread
            parts["unmoved"] = (self.z[out][:, 0] - self.z[out][:, 1]).square().mean() / spread
        return parts["likelihood"] + _GAP * parts["gap"], parts

    def picture(self, model: nn.Module) -> NDArray[np.uint8] | None:
        """There is nothing to see."""
        return None


@torch.no_grad()
def encoded(pairs: Pairs, name: str, config: WarpedTraining, encoder: SemanticEncoder) -> Tensor:
    """(N, L) latents of the pictures that pairs hold under a name."""
    size, spacing = config.network.size, config.network.spacing_mm
    parts = []
    for first in range(0, len(pairs), _AT_ONCE):
        hu = pairs.of(name, list(range(first, min(first + _AT_ONCE, len(pairs)))))
        parts.append(encoder(to_network(hu[:, None].float(), size, spacing)))
    return torch.cat(parts)
