"""Training of HealthiVert-GAN's generators on slices of sound vertebrae (sheet 2, sections 3, 5 and 6)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from VertebralGradingLib.errors import InputError, MaskError
from VertebralGradingLib.healthivert.gap import Gap, closing, opened
from VertebralGradingLib.healthivert.network import Drawn, Generator, GeneratorConfig
from VertebralGradingLib.healthivert.preparation import to_network
from VertebralGradingLib.png import tile
from VertebralGradingLib.training.adversary import (
    MIDDLE_COLUMNS,
    Discriminators,
    Truth,
    Weights,
    fooled,
    generator_losses,
    sharpened,
    told_apart,
)
from VertebralGradingLib.training.checkpoints import write_tensors
from VertebralGradingLib.training.loop import LoopConfig
from VertebralGradingLib.training.runs import Filled, Told, read_config, run
from VertebralGradingLib.training.slices import SlicePlan, Slices, fill

CONFIGS = ("paper256", "default", "small", "tiny")
_FOLDER = "configurations/healthivert"
_SHOWN = 6
_TRIES = 8
_OUTSIDE = {"image": -1024, "body": 0, "neighbours": 0}
"""What stands beside a slice that is smaller than the network's."""


@dataclass(frozen=True)
class HealthivertTraining:
    """One configuration of the system, for one view.

    Attributes:
        network: layout of the generators.
        slices: what they are trained on.
        loop: how.
        weights: of the losses.
        batch: slices of a step.
        judges: channels of the discriminators' first level.
        seed: of weights and batches.
    """

    network: GeneratorConfig
    slices: SlicePlan
    loop: LoopConfig
    weights: Weights = field(default_factory=Weights)
    batch: int = 16
    judges: int = 64
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def configured(name: str, view: str = "sagittal") -> HealthivertTraining:
    """A configuration by name, or by the path of a JSON file.

    Args:
        name: one of :data:`CONFIGS`, or a file of the same form.
        view: "sagittal" or "coronal".

    Raises:
        InputError: there is none, or it does not fit this program.
    """
    config = read_config(name, CONFIGS, _FOLDER, _made)
    return replace(config, slices=replace(config.slices, view=view))


def _made(content: dict[str, Any]) -> HealthivertTraining:
    config = HealthivertTraining(
        GeneratorConfig.from_dict(content["network"]),
        SlicePlan(**content["slices"]),
        LoopConfig(**content["loop"]),
        Weights(**content.get("weights", {})),
        int(content["batch"]),
        int(content["judges"]),
        int(content.get("seed", 0)),
    )
    if config.batch < 1 or config.judges < 1:
        raise ValueError("sizes must be numbers")
    return config


class Players(nn.Module):
    """Generators and discriminators, trained together.

    Args:
        config: their layout.
    """

    def __init__(self, config: HealthivertTraining) -> None:
        super().__init__()
        self.generator, self.judges = Generator(config.network), Discriminators(config.judges)


@dataclass(eq=False)
class HealthivertTask:
    """Batches and loss (:class:`loop.Task`)."""

    slices: Slices
    config: HealthivertTraining
    memory_format: torch.memory_format = field(default=torch.contiguous_format)

    def batch(self, step: int) -> dict[str, Tensor]:
        """Slices with their gap opened; ``top``, ``first``, ``height`` (B,) rows of each gap."""
        rng, out = np.random.default_rng([self.config.seed, step, 94]), list[dict[str, Tensor]]()
        for _ in range(_TRIES * self.config.batch):
            item = self._item(int(rng.integers(len(self.slices))), bool(rng.random() < 0.5))
            if item is not None:
                out.append(item)
            if len(out) == self.config.batch:
                break
        if not out:
            raise InputError("No slice has room for the gap.", "Choose a smaller gap or larger slices.")
        return {name: torch.stack([item[name] for item in out]).to(self._device) for name in out[0]}

    @property
    def _device(self) -> torch.device:
        return self.slices.content["image"].device

    def _item(self, number: int, mirror: bool) -> dict[str, Tensor] | None:
        """One slice; None where the gap does not fit. Coronal ones may be mirrored."""
        size, rows = self.config.network.size, self.config.network.gap
        stored = {name: value[0] for name, value in self.slices.get([number]).items()}
        part = {name: _fitted(stored[name].cpu(), size, fill) for name, fill in _OUTSIDE.items()}
        if mirror and self.config.slices.view == "coronal":
            part = {name: value.flip(1) for name, value in part.items()}
        body = part["body"].numpy() > 0
        try:
            gap = Gap.around(body, rows)
        except MaskError:
            return None
        ct = to_network(part["image"].numpy())
        near = opened(part["neighbours"].numpy(), gap)
        arrays = {"ct": ct, "open": opened(ct, gap), "body": body, "neighbours": near, "mask": gap.mask(body.shape)}
        out = {name: torch.from_numpy(value.astype(np.float32))[None] for name, value in arrays.items()}
        out["place"] = stored["place"].float().cpu()
        numbers = {"first": gap.first, "last": gap.last, "top": gap.top}
        return out | {name: torch.tensor(value) for name, value in numbers.items()}

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """What generators and discriminators learn from, in one sum: neither learns from the other's part."""
        assert isinstance(model, Players)
        config, weights = self.config, self.config.weights
        drawn = model.generator(batch["open"], batch["mask"], batch["place"])
        fine, coarse, body = closed_at_prediction(drawn, batch, config.network.gap)
        height = (batch["last"] - batch["first"] + 1).float()
        truth = Truth(batch["ct"], batch["body"], batch["neighbours"], height, batch["mask"])
        parts = generator_losses(drawn, fine, coarse, body, truth, config.network.gap, weights)
        sharp = sharpened(body, weights)
        made = (fine, sharp, _middle(fine, batch, config.network.gap))
        real = (truth.ct, truth.body, _middle(truth.ct, batch, config.network.gap))
        parts["fooled"] = weights.adversary * fooled(model.judges, made)
        parts["told apart"] = told_apart(model.judges, real, made)
        return torch.stack(list(parts.values())).sum(), parts

    @torch.no_grad()
    def picture(self, model: nn.Module) -> NDArray[np.uint8]:
        """Slices, with the gap opened, as drawn, and closed again."""
        assert isinstance(model, Players)
        batch = {name: value[:_SHOWN] for name, value in self.batch(0).items()}
        drawn = model.generator(batch["open"], batch["mask"], batch["place"])
        fine, _, body = closed_at_prediction(drawn, batch, self.config.network.gap)
        rows = [batch["ct"], batch["open"], drawn.fine, fine, 2.0 * body - 1.0]
        grey = [((row[:, 0] + 1) * 127.5).clamp(0, 255).to(torch.uint8).cpu().numpy() for row in rows]
        return tile([list(row) for row in grey])


def _fitted(image: Tensor, size: int, fill: int) -> Tensor:
    """(N, N) cut or padded to (size, size) around its middle."""
    missing = size - image.shape[-1]
    before = missing // 2
    return functional.pad(image, (before, missing - before, before, missing - before), value=fill)


def closed_at_prediction(drawn: Drawn, batch: dict[str, Tensor], gap: int) -> tuple[Tensor, Tensor, Tensor]:
    """Fine and coarse slice and the vertebra, each closed at the height that the fine generator predicts.

    Rows are chosen by whole numbers, so that no gradient comes from them; the height is no less than the vertebra's
    own, as released.
    """
    rows = batch["ct"].shape[2]
    out: list[list[Tensor]] = [[], [], []]
    for k in range(len(batch["ct"])):
        where = Gap(int(batch["first"][k]), int(batch["last"][k]), int(batch["top"][k]), gap)
        height = min(max(math.ceil(gap * float(drawn.heights[k, 1].detach())), where.height), gap)
        inside, outer, inner = (
            torch.from_numpy(np.ascontiguousarray(one)).to(batch["ct"].device) for one in closing(where, height, rows)
        )
        sources = ((drawn.fine, batch["ct"]), (drawn.coarse, batch["ct"]), (drawn.body, torch.zeros_like(batch["ct"])))
        for images, (made, original) in zip(out, sources, strict=True):
            images.append(torch.where(inside[None, :, None], made[k][:, inner], original[k][:, outer]))
    fine, coarse, body = (torch.stack(images) for images in out)
    return fine, coarse, body


def _middle(image: Tensor, batch: dict[str, Tensor], gap: int) -> Tensor:
    """The CT around the vertebra that the third discriminator sees: the gap's rows, the central columns."""
    columns = min(MIDDLE_COLUMNS, image.shape[3])
    left = (image.shape[3] - columns) // 2
    parts = [
        one[:, int(top) : int(top) + gap, left : left + columns] for one, top in zip(image, batch["top"], strict=True)
    ]
    return torch.stack(parts)


def train_healthivert(
    config: HealthivertTraining,
    out: str | Path,
    device: str = "cpu",
    workers: int = 1,
    limit_seconds: float | None = None,
    slices: str | Path | None = None,
    progress: Told | None = None,
) -> Generator:
    """Render the slices that are missing, train, and leave averaged weights in ``out``.

    ``average.safetensors`` holds generators and discriminators; ``generator.safetensors``, in 16 bits, is what a model
    is made of.

    Args:
        config: what and how.
        out: folder of the run; an unfinished run there is gone on with.
        device: where to render and train: "cpu", "cuda" or "cuda:N".
        workers: processes that render, on the CPU.
        limit_seconds: of training in this call.
        slices: folder of the slices; ``out/slices`` by default.
        progress: called with (what is done, done, total, row of the curve).

    Raises:
        InputError: folders that belong to another configuration.
        MethodError: the loss is not finite, or the device is not there.
        OutputError: nothing can be written.
    """
    folder = Path(slices) if slices is not None else Path(out) / "slices"

    def filling(filled: Filled) -> None:
        fill(config.slices, folder, workers, device, filled)

    def begin() -> tuple[Players, HealthivertTask]:
        return Players(config), HealthivertTask(Slices(folder, device), config)

    average = run(config, "slices", folder, filling, begin, out, device, limit_seconds, progress)
    assert isinstance(average, Players)
    weights = {key: value.half() for key, value in average.generator.state_dict().items()}
    write_tensors(Path(out) / "generator.safetensors", weights)
    return average.generator
