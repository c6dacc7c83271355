"""Training of the diffusion autoencoder on patches, without labels."""

from __future__ import annotations

import json
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
from VertebralGradingLib.png import tile
from VertebralGradingLib.resources import resource
from VertebralGradingLib.training.checkpoints import write_tensors
from VertebralGradingLib.training.loop import LoopConfig
from VertebralGradingLib.training.patches import Patches, PatchPlan, fill
from VertebralGradingLib.training.runs import Filled, Told, run

CONFIGS = ("paper128", "default", "small", "tiny")
_FOLDER = "configurations/diffusion-autoencoder"
_SHOWN = 8
_SHOWN_STEPS = 12
_TURN_DEG, _SHIFT_MM, _STRETCH, _NOISE = 10.0, 4.0, 0.05, 0.015
"""Of the changes (sheet 1, section 2)."""


@dataclass(frozen=True)
class AutoencoderTraining:
    """One configuration of the system.

    Attributes:
        network: its layout.
        patches: what it is trained on.
        loop: how.
        batch: patches of a step.
        seed: of weights, batches and noise.
    """

    network: AutoencoderConfig
    patches: PatchPlan
    loop: LoopConfig
    batch: int = 32
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "network": self.network.to_dict()}


def configured(name: str, spines: int | None = None) -> AutoencoderTraining:
    """A configuration by name, or by the path of a JSON file.

    Args:
        name: one of :data:`CONFIGS`, or a file of the same form.
        spines: of each shard, instead of the configuration's own.

    Raises:
        InputError: there is none, or it does not fit this program.
    """
    path = resource(f"{_FOLDER}/{name}.json") if name in CONFIGS else Path(name)
    if not path.is_file():
        raise InputError(f"There is no configuration {path.name!r}.", f"Choose one of: {', '.join(CONFIGS)}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config = AutoencoderTraining(
            AutoencoderConfig.from_dict(content["network"]),
            PatchPlan(**content["patches"]),
            LoopConfig(**content["loop"]),
            int(content["batch"]),
            int(content.get("seed", 0)),
        )
        numbers = [*vars(config.patches).values(), *vars(config.loop).values(), config.batch]
        if not all(type(one) in (int, float) and one >= 0 for one in numbers) or config.batch < 1:
            raise ValueError("sizes must be numbers")
        with torch.device("meta"):
            DiffusionAutoencoder(config.network)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"The configuration {path.name!r} cannot be used.", "Compare it with a given one.") from error
    return config if spines is None else replace(config, patches=replace(config.patches, spines=spines))


@dataclass(eq=False)
class AutoencoderTask:
    """Batches and loss (:class:`loop.Task`)."""

    patches: Patches
    network: AutoencoderConfig
    batch_size: int
    seed: int
    memory_format: torch.memory_format = field(default=torch.channels_last)

    def __post_init__(self) -> None:
        """The noise schedule that is trained."""
        self.schedule = Schedule()

    def batch(self, step: int) -> dict[str, Tensor]:
        """Patches drawn at random and changed, times and noise."""
        rng = np.random.default_rng([self.seed, step, 92])
        chosen = rng.choice(len(self.patches), min(self.batch_size, len(self.patches)), replace=False)
        clean = moved(self.patches.get(chosen.tolist()), rng)
        clean = to_network(clean, self.network.size, self.network.spacing_mm)
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 31)))
        grain = torch.randn(clean.shape, generator=generator).to(clean.device)
        some = torch.from_numpy(rng.random(len(clean)) < 0.5).to(clean.device)
        clean = (clean + _NOISE * some[:, None, None, None] * grain).clamp(-1, 1)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        time = torch.from_numpy(rng.integers(self.schedule.times, size=len(clean))).to(clean.device)
        return {"clean": clean, "noise": noise, "time": time, "noisy": self.schedule.noisy(clean, noise, time)}

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of the noise, all times alike; also told for early and late times apart."""
        found = model(batch["noisy"], batch["time"], batch["clean"]).float()
        error = (found - batch["noise"]).square().mean((1, 2, 3))
        late = (batch["time"] >= self.schedule.times // 2).float()
        parts = {
            "early": (error * (1 - late)).sum() / (1 - late).sum().clamp_min(1),
            "late": (error * late).sum() / late.sum().clamp_min(1),
        }
        return error.mean(), parts

    @torch.no_grad()
    def picture(self, model: nn.Module) -> NDArray[np.uint8]:
        """Patches, and below each what its latent makes of three draws of noise."""
        assert isinstance(model, DiffusionAutoencoder)
        hu = self.patches.get(list(range(min(_SHOWN, len(self.patches)))))
        clean = to_network(hu, self.network.size, self.network.spacing_mm)
        z = model.encoder(clean)
        rows = [clean]
        for seed in range(3):
            noise = torch.randn(clean[:1].shape, generator=torch.Generator().manual_seed(seed)).to(clean.device)
            start = noise.expand_as(clean)
            rows.append(dpm_decode(lambda x, t: model.denoiser(x, t, z), start, _SHOWN_STEPS, self.schedule))
        grey = [((row[:, 0] + 1) * 127.5).clamp(0, 255).to(torch.uint8).cpu().numpy() for row in rows]
        return tile([list(row) for row in grey])


def moved(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Patches (B, 1, N, N) turned, shifted, stretched and seen somewhat brighter or darker; margins are repeated."""
    count, edge = len(hu), hu.shape[-1]
    angle = np.radians(rng.uniform(-_TURN_DEG, _TURN_DEG, count))
    size = np.exp(rng.uniform(-_STRETCH, _STRETCH, count))
    matrix = np.zeros((count, 2, 3), dtype=np.float32)
    matrix[:, 0, 0] = matrix[:, 1, 1] = np.cos(angle) * size
    matrix[:, 0, 1], matrix[:, 1, 0] = -np.sin(angle) * size, np.sin(angle) * size
    matrix[:, :, 2] = rng.uniform(-_SHIFT_MM, _SHIFT_MM, (count, 2)) * 2.0 / edge
    places = functional.affine_grid(torch.from_numpy(matrix).to(hu.device), list(hu.shape), align_corners=False)
    out = functional.grid_sample(hu, places, "bilinear", "border", align_corners=False)
    shift = torch.from_numpy(rng.normal(0.0, 15.0, (count, 1, 1, 1)).astype(np.float32)).to(hu.device)
    scale = torch.from_numpy(rng.normal(1.0, 0.04, (count, 1, 1, 1)).astype(np.float32)).to(hu.device)
    return out * scale + shift


def train_autoencoder(
    config: AutoencoderTraining,
    out: str | Path,
    device: str = "cpu",
    workers: int = 1,
    limit_seconds: float | None = None,
    patches: str | Path | None = None,
    progress: Told | None = None,
) -> DiffusionAutoencoder:
    """Render the patches that are missing, train, and leave averaged weights in ``out``.

    ``average.safetensors`` holds them whole; ``encoder.safetensors`` and ``denoiser.safetensors``, in 16 bits, are what
    a model is made of.

    Args:
        config: what and how.
        out: folder of the run; an unfinished run there is gone on with.
        device: where to render and train: "cpu", "cuda" or "cuda:N".
        workers: processes that render, on the CPU.
        limit_seconds: of training in this call.
        patches: folder of the patches; ``out/patches`` by default.
        progress: called with (what is done, done, total, row of the curve).

    Raises:
        InputError: folders that belong to another configuration.
        MethodError: the loss is not finite, or the device is not there.
        OutputError: nothing can be written.
    """
    folder = Path(patches) if patches is not None else Path(out) / "patches"

    def filling(filled: Filled) -> None:
        fill(config.patches, folder, workers, device, filled)

    def begin() -> tuple[DiffusionAutoencoder, AutoencoderTask]:
        task = AutoencoderTask(Patches(folder, device), config.network, config.batch, config.seed)
        return DiffusionAutoencoder(config.network), task

    average = run(config, "patches", folder, filling, begin, out, device, limit_seconds, progress)
    assert isinstance(average, DiffusionAutoencoder)
    for name, part in (("encoder", average.encoder), ("denoiser", average.denoiser)):
        write_tensors(
            Path(out) / f"{name}.safetensors", {key: value.half() for key, value in part.state_dict().items()}
        )
    return average
