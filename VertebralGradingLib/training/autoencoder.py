"""Training of the diffusion autoencoder on patches: without labels, or with what phantoms know."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from VertebralGradingLib.diffusion_autoencoder.network import AutoencoderConfig, DiffusionAutoencoder
from VertebralGradingLib.diffusion_autoencoder.patches import to_network
from VertebralGradingLib.diffusion_autoencoder.sampler import Schedule, dpm_decode
from VertebralGradingLib.errors import InputError
from VertebralGradingLib.morphometry.genant import score_of_loss
from VertebralGradingLib.training.checkpoints import write_halves
from VertebralGradingLib.training.folders import patches_from_folder
from VertebralGradingLib.training.loop import LoopConfig, tiled
from VertebralGradingLib.training.patches import Patches, PatchPlan, fill
from VertebralGradingLib.training.runs import RunOptions, Source, begin_with, read_config, run, unknown

CONFIGS = ("paper128", "default", "small", "tiny")
MIMICS = {"uniform": 1.0, "hard": 3.0}
"""How many mimics phantoms of a preset have, by those of "uniform"."""
_FOLDER = "configurations/diffusion-autoencoder"
_WEIGHTS = ("weight", "guide", "labels", "change", "edits", "focus")
_FOCUS_MM = 16.0
_EDIT_TIME = 150
"""From here on noise hides enough for a vertebra to be changed: at less, the noise to be found grows without bounds."""
_SHOWN = 8
_SHOWN_STEPS = 12
_TURN_DEG, _SHIFT_MM, _STRETCH, _NOISE = 10.0, 4.0, 0.05, 0.015
"""Of the changes (sheet 1, section 2)."""
_APART = 0.1
"""Weight of the rest of the latent staying the same, by that of the score."""


@dataclass(frozen=True)
class AutoencoderTraining:
    """One configuration of the system.

    Attributes:
        network: its layout.
        patches: what it is trained on.
        loop: how.
        batch: patches of a step.
        weight: largest weight of a sample's loss, which grows with its noise as that of a predicted velocity
            (1 + noise / signal); 1 for all alike, as published. With few samples the latent is learned from what can
            hardly be seen in the noisy patch.
        guide: weight of the guiding picture's squared error, where the network draws one.
        labels: weight of what phantoms know: the latent's first number is the score of the vertebra of interest, and
            the rest of it does not change with the fracture; the same vertebra before and after it is drawn from
            either one's latent, its first number exchanged. 0 for training without labels, as published.
        change: weight of the guiding picture's change between these two states; needs labels.
        edits: share of the samples whose noisy patch shows the other state than the one that is to be found in it, so
            that the network learns to change what it sees to the score it is given; needs labels.
        focus: how much more the vertebra of interest counts in both pictures than what is far from it.
        seed: of weights, batches and noise.
    """

    network: AutoencoderConfig
    patches: PatchPlan
    loop: LoopConfig
    batch: int = 32
    weight: float = 1.0
    guide: float = 0.0
    labels: float = 0.0
    change: float = 0.0
    edits: float = 0.0
    focus: float = 0.0
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "network": self.network.to_dict()}


def configured(name: str, spines: int | None = None, preset: str = "uniform") -> AutoencoderTraining:
    """A configuration by name, or by the path of a JSON file.

    Args:
        name: one of :data:`CONFIGS`, or a file of the same form.
        spines: of each shard, instead of the configuration's own.
        preset: "uniform", or "hard" for three times as many mimics.

    Raises:
        InputError: there is none, or it does not fit this program, or there is no such preset.
    """
    if preset not in MIMICS:
        raise unknown("preset", preset, MIMICS)
    config = read_config(name, CONFIGS, _FOLDER, _made)
    plan = replace(config.patches, mimics=MIMICS[preset] * config.patches.mimics)
    return replace(config, patches=plan if spines is None else replace(plan, spines=spines))


def _made(content: dict[str, Any]) -> AutoencoderTraining:
    config = AutoencoderTraining(
        AutoencoderConfig.from_dict(content["network"]),
        PatchPlan(**content["patches"]),
        LoopConfig(**content["loop"]),
        int(content["batch"]),
        **{name: float(content[name]) for name in _WEIGHTS if name in content},
        seed=int(content.get("seed", 0)),
    )
    weights = [getattr(config, name) for name in _WEIGHTS]
    numbers = [*vars(config.patches).values(), *vars(config.loop).values(), config.batch, *weights]
    if not all(type(one) in (int, float) and one >= 0 for one in numbers) or config.batch < 1:
        raise ValueError("sizes must be numbers")
    with torch.device("meta"):
        DiffusionAutoencoder(config.network)
    return config


@dataclass(eq=False)
class AutoencoderTask:
    """Batches and loss (:class:`loop.Task`)."""

    patches: Patches
    config: AutoencoderTraining
    memory_format: torch.memory_format = field(default=torch.channels_last)

    def __post_init__(self) -> None:
        """The noise schedule that is trained."""
        self.schedule = Schedule()
        network = self.config.network
        offset = (torch.arange(network.size) - (network.size - 1) / 2) * network.spacing_mm / _FOCUS_MM
        near = torch.exp(-0.5 * offset.square())
        share = 1.0 + self.config.focus * near[:, None] * near[None]
        self.share = (share / share.mean())[None, None]
        """(1, 1, size, size) how much each pixel counts."""

    def batch(self, step: int) -> dict[str, Tensor]:
        """Patches drawn at random and changed, times and noise.

        With labels, ``clean`` are the patches and then the same ones before their fractures, ``score`` theirs;
        ``source`` says which of them the latent is taken from, ``target`` which is to be found.
        """
        config, network = self.config, self.config.network
        rng = np.random.default_rng([config.seed, step, 92])
        chosen = rng.choice(len(self.patches), min(config.batch, len(self.patches)), replace=False)
        states = [
            self.patches.get(chosen.tolist(), before) for before in ((False, True) if config.labels else (False,))
        ]
        clean = moved(torch.cat(states, 1), rng).transpose(0, 1).flatten(0, 1)[:, None]
        clean = to_network(clean, network.size, network.spacing_mm)
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 31)))
        grain = torch.randn(clean.shape, generator=generator).to(clean.device)
        some = torch.from_numpy(rng.random(len(clean)) < 0.5).to(clean.device)
        clean = (clean + _NOISE * some[:, None, None, None] * grain).clamp(-1, 1)
        count, device = len(chosen), clean.device
        noise = torch.randn(clean[:count].shape, generator=generator).to(device)
        time = torch.from_numpy(rng.integers(self.schedule.times, size=count)).to(device)
        out = {"clean": clean, "noise": noise, "time": time}
        place = torch.arange(count, device=device)
        out["source"] = out["target"] = shown = place
        if config.labels:
            score = score_of_loss(self.patches.of("graded_loss", chosen.tolist()).cpu().numpy().clip(0.0))
            out["score"] = torch.from_numpy(np.concatenate([score, np.zeros(count)])).float().to(device)
            source, target = (torch.from_numpy(rng.integers(2, size=count)).to(device) for _ in range(2))
            edited = torch.from_numpy(rng.random(count) < config.edits).to(device) & (time >= _EDIT_TIME)
            source = torch.where(edited, 1 - target, source)
            out["source"], out["target"] = place + count * source, place + count * target
            shown = torch.where(edited, out["source"], out["target"])
        out["noisy"] = self.schedule.noisy(clean[shown], noise, time)
        out["noise"] = self.schedule.noise_between(out["noisy"], clean[out["target"]], time)
        return out

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of the noise, weighted by time, and what else is asked for.

        Also told, without weights, for early and late times.
        """
        assert isinstance(model, DiffusionAutoencoder)
        z = model.encoder(batch["clean"])
        latent, parts = z[batch["source"]], dict[str, Tensor]()
        if self.config.labels:
            other = (batch["source"] != batch["target"])[:, None]
            first = torch.where(other, batch["score"][batch["target"], None], latent[:, :1])
            latent = torch.cat([first.to(latent.dtype), latent[:, 1:]], 1)
            parts["score"] = functional.smooth_l1_loss(z[:, 0].float(), batch["score"], beta=0.5)
            own, before = z[:, 1:].float().chunk(2)
            parts["apart"] = (own - before).square().mean() / own.var(0).mean().detach().clamp_min(1e-6)
        drawn = None if model.denoiser.guide is None else model.denoiser.guide(latent)
        found = model.denoiser(batch["noisy"], batch["time"], latent, drawn).float()
        counts = self.share.to(found.device)
        error = (counts * (found - batch["noise"]).square()).mean((1, 2, 3))
        late = (batch["time"] >= self.schedule.times // 2).float()
        parts["early"] = (error * (1 - late)).sum() / (1 - late).sum().clamp_min(1)
        parts["late"] = (error * late).sum() / late.sum().clamp_min(1)
        share = torch.as_tensor(self.schedule.alpha_bar, dtype=torch.float32, device=error.device)[batch["time"]]
        total = (error * (1.0 / share).clamp(max=self.config.weight)).mean()
        if drawn is not None:
            parts["guide"] = (counts * (drawn.float() - batch["clean"][batch["target"]]).square()).mean()
            total = total + self.config.guide * parts["guide"]
        if self.config.change and self.config.labels and model.denoiser.guide is not None:
            before = model.denoiser.guide(torch.cat([torch.zeros_like(latent[:, :1]), latent[:, 1:]], 1))
            score = batch["score"].chunk(2)[0][:, None].to(latent.dtype)
            after = model.denoiser.guide(torch.cat([score, latent[:, 1:]], 1))
            own, whole = batch["clean"].chunk(2)
            parts["change"] = (counts * (after - before - (own - whole)).float().square()).mean()
            total = total + self.config.change * parts["change"]
        if self.config.labels:
            total = total + self.config.labels * (parts["score"] + _APART * parts["apart"])
        return total, parts

    @torch.no_grad()
    def picture(self, model: nn.Module) -> NDArray[np.uint8]:
        """Patches, and below each what its latent makes of two draws of noise; with labels, also as grade 0 and 3."""
        assert isinstance(model, DiffusionAutoencoder)
        network = self.config.network
        hu = self.patches.get(list(range(min(_SHOWN, len(self.patches)))))
        clean = to_network(hu, network.size, network.spacing_mm)
        own = model.encoder(clean)
        latents = [own, own]
        for score in (0.0, 3.0) if self.config.labels else ():
            latents.append(torch.cat([torch.full_like(own[:, :1], score), own[:, 1:]], 1))
        rows = [clean]
        for n, z in enumerate(latents):
            seed = torch.Generator().manual_seed(min(n, 1))
            start = torch.randn(clean[:1].shape, generator=seed).to(clean.device).expand_as(clean)
            rows.append(dpm_decode(functools.partial(_noise, model.denoiser, z), start, _SHOWN_STEPS, self.schedule))
        return tiled([(row + 1) * 127.5 for row in rows])


def _noise(denoiser: nn.Module, z: Tensor, x: Tensor, time: Tensor) -> Tensor:
    out: Tensor = denoiser(x, time, z)
    return out


def moved(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Patches (B, C, N, N) turned, shifted, stretched and seen somewhat brighter or darker; margins are repeated."""
    return relit(placed(hu, placement(len(hu), hu.shape[-1], rng)), rng)


def placement(count: int, edge: int, rng: np.random.Generator) -> Tensor:
    """(B, 2, 3) affine maps of :func:`placed`: a turn, a shift and a stretch for each of some patches."""
    angle = np.radians(rng.uniform(-_TURN_DEG, _TURN_DEG, count))
    size = np.exp(rng.uniform(-_STRETCH, _STRETCH, count))
    matrix = np.zeros((count, 2, 3), dtype=np.float32)
    matrix[:, 0, 0] = matrix[:, 1, 1] = np.cos(angle) * size
    matrix[:, 0, 1], matrix[:, 1, 0] = -np.sin(angle) * size, np.sin(angle) * size
    matrix[:, :, 2] = rng.uniform(-_SHIFT_MM, _SHIFT_MM, (count, 2)) * 2.0 / edge
    return torch.from_numpy(matrix)


def placed(values: Tensor, matrix: Tensor, how: str = "bilinear") -> Tensor:
    """Patches (B, C, N, N) of any kind, moved; margins are repeated."""
    places = functional.affine_grid(matrix.to(values.device), list(values.shape), align_corners=False)
    return functional.grid_sample(values, places, how, "border", align_corners=False)


def relit(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Patches (B, C, N, N) HU seen somewhat brighter or darker, all channels alike."""
    count = len(hu)
    shift = torch.from_numpy(rng.normal(0.0, 15.0, (count, 1, 1, 1)).astype(np.float32)).to(hu.device)
    scale = torch.from_numpy(rng.normal(1.0, 0.04, (count, 1, 1, 1)).astype(np.float32)).to(hu.device)
    return hu * scale + shift


def train_autoencoder(
    config: AutoencoderTraining, options: RunOptions, start: str | Path | None = None
) -> DiffusionAutoencoder:
    """Render the patches that are missing, train, and leave averaged weights in ``out``.

    ``average.safetensors`` holds them whole; ``encoder.safetensors`` and ``denoiser.safetensors``, in 16 bits, are what
    a model is made of.

    Args:
        config: what and how.
        options: where and how long; of a VerSe-style folder, CTs with centroids are trained on, without labels whatever
            the configuration says.
        start: folder of an earlier run of the same layout, whose averaged weights are begun with.

    Raises:
        InputError: folders that belong to another configuration.
        MethodError: the loss is not finite, or the device is not there.
        OutputError: nothing can be written.
    """
    if options.data is not None:
        config = replace(config, labels=0.0, change=0.0, edits=0.0)

    def begin(folder: Path) -> tuple[DiffusionAutoencoder, AutoencoderTask]:
        task = AutoencoderTask(Patches(folder, options.device), config)
        if config.labels and not task.patches.has_before:
            raise InputError("Training with labels needs patches before the fracture.", "Give the plan before: 1.")
        model = DiffusionAutoencoder(config.network)
        if start is not None:
            begin_with(model, Path(start))
        return model, task

    average = run(config, Source("patches", config.patches, fill, patches_from_folder), begin, options)
    for name, part in (("encoder", average.encoder), ("denoiser", average.denoiser)):
        write_halves(Path(options.out) / f"{name}.safetensors", part)
    return average
