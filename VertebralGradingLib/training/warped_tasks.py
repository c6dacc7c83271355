"""How the learned parts of a counterfactual are trained: batches of pairs, and what is lost on them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from VertebralGradingLib.diffusion_autoencoder.head import SIZE, SPACING_MM, displaced, seen_of
from VertebralGradingLib.diffusion_autoencoder.network import (
    AutoencoderConfig,
    DiffusionAutoencoder,
    SemanticEncoder,
)
from VertebralGradingLib.diffusion_autoencoder.patches import finer, to_network
from VertebralGradingLib.diffusion_autoencoder.refine import RefineConfig, one_go, shown_of, wanted_latent
from VertebralGradingLib.diffusion_autoencoder.sampler import Schedule
from VertebralGradingLib.morphometry.genant import score_of_loss
from VertebralGradingLib.training.autoencoder import placed, placement, relit
from VertebralGradingLib.training.loop import LoopConfig, tiled
from VertebralGradingLib.training.measured import Reader
from VertebralGradingLib.training.pairs import OWN, PairPlan, Pairs

_EDIT_TIME, _GUIDED_TIMES = 150, (120, 450)
_FOCUS_MM, _FOCUS, _WEIGHT, _EDITS = 16.0, 6.0, 5.0, 0.6
_APART_MM = 4
"""What lies so near the vertebra counts in full, all else by :data:`_ELSEWHERE`."""
_ELSEWHERE = 0.1
_GUIDED = 6.0
"""Weight of the squared error of a picture that was found with a warp before the eyes."""
_SMOOTH, _DICE = 0.02, 0.3
_MEASURED = 0.05
_SHOWN = 8


@dataclass(frozen=True)
class WarpedTraining:
    """One stage.

    Attributes:
        stage: "head" (corrects the warp), "refine" (noise predictor with and without a warp before its eyes) or
            "measured" (the same, its pictures measured by a frozen body network).
        pairs: what it is trained on.
        loop: how.
        batch: pairs of a step.
        network: of the autoencoder it begins with.
        reader: sha256 of the body network that measures.
        seed: of weights, batches and noise.
    """

    stage: str
    pairs: PairPlan
    loop: LoopConfig
    batch: int
    network: AutoencoderConfig
    reader: str = ""
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "network": self.network.to_dict(), "labels": 1.0}


@dataclass(eq=False)
class WarpedTask:
    """What both tasks share: pairs, the frozen encoder, and how pairs are moved about."""

    pairs: Pairs
    config: WarpedTraining
    encoder: SemanticEncoder
    memory_format: torch.memory_format = field(default=torch.channels_last)

    def drawn(self, step: int) -> tuple[dict[str, Tensor], np.random.Generator]:
        """Pairs of a step, moved: ``image``, ``target``, ``warped`` HU (B, 1, 128, 128), and what else is known."""
        rng = np.random.default_rng([self.config.seed, step, 94])
        chosen = rng.choice(len(self.pairs), min(self.config.batch, len(self.pairs)), replace=False).tolist()
        hu = torch.stack([self.pairs.of(name, chosen) for name in ("image", "target", "warped")], 1).float()
        matrix = placement(len(chosen), hu.shape[-1], rng)
        hu = relit(placed(hu, matrix), rng)
        names = ("body", "target_body", "warped_body")
        bodies = placed(torch.stack([self.pairs.of(name, chosen) for name in names], 1).float(), matrix, "nearest")
        flow = turned(placed(self.pairs.of("flow", chosen).float(), matrix), matrix)
        image, target, warped = hu.split(1, 1)
        out = {"image": image, "target": target, "warped": warped, "flow": flow}
        out |= dict(zip(names, bodies.unbind(1), strict=True))
        score = score_of_loss(self.pairs.of("loss", chosen).cpu().numpy().clip(0.0))
        out["score"] = torch.from_numpy(score).float().to(hu.device)
        return out, rng

    def seen(self, hu: Tensor) -> Tensor:
        """Patches as the networks see them."""
        return to_network(hu, self.config.network.size, self.config.network.spacing_mm)

    @torch.no_grad()
    def latents(self, seen: Tensor) -> Tensor:
        """(B, L) of the frozen encoder."""
        out: Tensor = self.encoder(seen)
        return out


@dataclass(eq=False)
class HeadTask(WarpedTask):
    """The warp's correction: bodies where they truly are, a picture like the true one, no more than is needed."""

    def batch(self, step: int) -> dict[str, Tensor]:
        """The batch of a step."""
        return self.drawn(step)[0]

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Difference of the picture near the vertebra, of all three bodies, and roughness of the correction."""
        warped, target = (to_network(batch[name], SIZE, SPACING_MM) for name in ("warped", "target"))
        z = self.latents(self.seen(batch["image"]))
        wish = wanted_latent(z, batch["score"][:, 1])
        move = model(seen_of(warped, batch["warped_body"], batch["flow"]), z, wish).float()
        region = functional.avg_pool2d(_region(batch), 2)
        made = displaced(warped, move)
        parts = {"picture": (region * (made - target).abs()).sum() / region.sum()}
        before, after = (
            functional.avg_pool2d(torch.stack([(batch[name] == n).float() for n in (1, 2, 3)], 1), 2)
            for name in ("warped_body", "target_body")
        )
        carried = displaced(before, move)
        overlap = 2.0 * (carried * after).sum((2, 3)) / (carried.square() + after.square()).sum((2, 3)).clamp_min(1.0)
        known = (after.sum((2, 3)) > 5.0) & (before.sum((2, 3)) > 5.0)
        parts["apart"] = ((1.0 - overlap) * known).sum() / known.sum().clamp_min(1)
        parts["own"] = (1.0 - overlap[:, 0])[known[:, 0]].mean()
        parts["rough"] = (move.diff(dim=2).square().mean() + move.diff(dim=3).square().mean()) / 2.0
        return parts["picture"] + _DICE * parts["apart"] + _SMOOTH * parts["rough"], parts

    def picture(self, model: nn.Module) -> NDArray[np.uint8] | None:
        """Warped pictures, corrected ones, true ones."""
        with torch.no_grad():
            batch = self.batch(0)
            warped, target = (to_network(batch[name][:_SHOWN], SIZE, SPACING_MM) for name in ("warped", "target"))
            z = self.latents(self.seen(batch["image"]))[:_SHOWN]
            wish = wanted_latent(z, batch["score"][:_SHOWN, 1])
            move = model(seen_of(warped, batch["warped_body"][:_SHOWN], batch["flow"][:_SHOWN]), z, wish)
            rows = [warped, displaced(warped, move), target]
            return tiled([(row + 1) * 127.5 for row in rows])


@dataclass(eq=False)
class RefineTask(WarpedTask):
    """The noise predictor in two modes: half of the samples as in an ordinary autoencoder, half shown a warp."""

    reader: Reader | None = None

    def __post_init__(self) -> None:
        """The noise schedule that is trained."""
        self.schedule = Schedule()
        network = self.config.network
        offset = (torch.arange(network.size) - (network.size - 1) / 2) * network.spacing_mm / _FOCUS_MM
        bell = torch.exp(-0.5 * offset.square())
        share = 1.0 + _FOCUS * bell[:, None] * bell[None]
        self.share = (share / share.mean())[None, None]

    def batch(self, step: int) -> dict[str, Tensor]:
        """The batch of a step, with times and noise."""
        out, rng = self.drawn(step)
        count = len(out["image"])
        size = self.config.network.size
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 31)))
        out["noise"] = torch.randn((count, 1, size, size), generator=generator)
        guided = np.arange(count) % 2 == 0 if self.reader is None else np.ones(count, dtype=bool)
        time = np.where(guided, rng.integers(*_GUIDED_TIMES, size=count), rng.integers(1000, size=count))
        target, source = rng.integers(2, size=count), rng.integers(2, size=count)
        edited = (rng.random(count) < _EDITS) & (time >= _EDIT_TIME)
        source = np.where(edited, 1 - target, source)
        numbers = {"guided": guided, "time": time, "to": target, "of": source, "edited": edited}
        numbers["from_warp"] = rng.random(count) < 0.7
        device = out["image"].device
        out |= {name: torch.from_numpy(value).to(device) for name, value in numbers.items()}
        out["noise"] = out["noise"].to(device)
        return out

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Error of the noise without a warp, of the picture with one; measured heights where a reader is given."""
        assert isinstance(model, DiffusionAutoencoder)
        image, target, warped = (self.seen(batch[name]) for name in ("image", "target", "warped"))
        guided = batch["guided"][:, None, None, None]
        both = torch.stack([self.latents(image), self.latents(target)], 1)
        place = torch.arange(len(image), device=image.device)
        to, of = torch.where(batch["guided"], 1, batch["to"]), torch.where(batch["guided"], 0, batch["of"])
        z = both[place, of]
        z = torch.where((to != of)[:, None], wanted_latent(z, batch["score"][place, to]), z)
        states = torch.stack([image, target], 1)
        clean = states[place, to]
        start = torch.where(batch["edited"][:, None, None, None], states[place, of], clean)
        hinted = torch.where(batch["from_warp"][:, None, None, None], warped, target)
        noisy = self.schedule.noisy(torch.where(guided, hinted, start), batch["noise"], batch["time"])
        noise = self.schedule.noise_between(noisy, clean, batch["time"])
        own = (batch["warped_body"] == OWN).float()[:, None]
        shown = shown_of(batch["warped"], own, self.config.network) * guided
        drawn = None if model.denoiser.guide is None else model.denoiser.guide(z)
        found = model.denoiser(noisy, batch["time"], z, drawn, shown).float()
        ratio = torch.as_tensor(self.schedule.alpha_bar, dtype=torch.float32, device=image.device)[batch["time"]]
        plain = (self.share.to(image.device) * (found - noise).square()).mean((1, 2, 3))
        plain = plain * (1.0 / ratio).clamp(max=_WEIGHT)
        region = functional.avg_pool2d(_region(batch), int(self.config.network.spacing_mm))
        region = region / region.mean((1, 2, 3), keepdim=True)
        level = ratio[:, None, None, None]
        made = ((noisy - (1.0 - level).sqrt() * found) / level.sqrt()).clamp(-1.2, 1.2)
        error = (region * ((made - clean).square() + 0.1 * (made - clean).abs())).mean((1, 2, 3))
        shares = batch["guided"].float()
        parts = {
            "plain": (plain * (1.0 - shares)).sum() / (1.0 - shares).sum().clamp_min(1),
            "shown": (error * shares).sum() / shares.sum().clamp_min(1),
        }
        warp = (region * ((warped - clean).square() + 0.1 * (warped - clean).abs())).mean((1, 2, 3))
        parts["warp"] = (warp * shares).sum() / shares.sum().clamp_min(1)
        total = (plain * (1.0 - shares) + _GUIDED * error * shares).mean()
        if self.reader is not None:
            spacing = self.config.network.spacing_mm
            change = finer(made, spacing) - finer(warped, spacing)
            parts["height_mm"] = self.reader.error_mm(batch["warped"] + 550.0 * change, batch["target_body"] == OWN)
            total = total + _MEASURED * parts["height_mm"]
        return total, parts

    def picture(self, model: nn.Module) -> NDArray[np.uint8] | None:
        """Pictures as they are, warped, redrawn in one step, and true."""
        assert isinstance(model, DiffusionAutoencoder)
        with torch.no_grad():
            batch = self.batch(0)
            image, target, warped = (self.seen(batch[name])[:_SHOWN] for name in ("image", "target", "warped"))
            own = (batch["warped_body"] == OWN).float()[:_SHOWN, None]
            shown = shown_of(batch["warped"][:_SHOWN], own, self.config.network)
            wish = wanted_latent(self.latents(image), batch["score"][:_SHOWN, 1])
            made = [
                one_go(model.denoiser, shown[k : k + 1], wish[k : k + 1], RefineConfig()).mean(0)
                for k in range(len(wish))
            ]
            return tiled([(row + 1) * 127.5 for row in (image, warped, torch.stack(made), target)])


def _region(batch: dict[str, Tensor]) -> Tensor:
    """(B, 1, 128, 128) how much places count: at and around the vertebra in either picture in full."""
    own = ((batch["target_body"] == OWN) | (batch["warped_body"] == OWN)).float()[:, None]
    around = functional.max_pool2d(own, 2 * _APART_MM + 1, 1, _APART_MM)
    return _ELSEWHERE + (1.0 - _ELSEWHERE) * around


def turned(flow: Tensor, matrix: Tensor) -> Tensor:
    """Vectors (B, 2, N, N) down and across of patches that were moved by affine maps, in the moved patch's own axes."""
    inverse = torch.linalg.inv(matrix[:, :, :2].to(flow.device))
    across, down = flow[:, 1], flow[:, 0]
    turned = [inverse[:, k, 0, None, None] * across + inverse[:, k, 1, None, None] * down for k in (0, 1)]
    return torch.stack([turned[1], turned[0]], 1)
