"""Training of HealthiVert-GAN's generators on slices of sound vertebrae (sheet 2, sections 3, 5 and 6)."""

from __future__ import annotations

import functools
import math
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from VertebralGradingLib.errors import MethodError
from VertebralGradingLib.healthivert.attention import SliceClassifier, attention
from VertebralGradingLib.healthivert.gap import Gap, closing
from VertebralGradingLib.healthivert.network import UNKNOWN_LEVEL, Drawn, Generator, GeneratorConfig
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
from VertebralGradingLib.training.checkpoints import write_halves
from VertebralGradingLib.training.classifier import ClassifierTask, ClassifierTraining, classifier_folder
from VertebralGradingLib.training.loop import LoopConfig, fit, tiled
from VertebralGradingLib.training.openings import Openings
from VertebralGradingLib.training.runs import RunOptions, Source, read_config, run
from VertebralGradingLib.training.slice_folders import slices_from_folder
from VertebralGradingLib.training.slices import SlicePlan, Slices, fill

CONFIGS = ("paper256", "default", "small", "tiny")
_FOLDER = "configurations/healthivert"
_SHOWN = 6
_UNGUIDED = 0.2
"""Share of batches without a guide, so that the generators can do without the classifier."""
_UNNAMED = 0.15
"""Share of slices whose level is not told, for points without names."""


@dataclass(frozen=True)
class HealthivertTraining:
    """One configuration of the system, for one view.

    Attributes:
        network: layout of the generators.
        slices: what they are trained on.
        loop: how.
        classifier: what guides attention, and is trained first.
        weights: of the losses.
        batch: slices of a step.
        judges: channels of the discriminators' first level.
        seed: of weights and batches.
    """

    network: GeneratorConfig
    slices: SlicePlan
    loop: LoopConfig
    classifier: ClassifierTraining
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
        ClassifierTraining(
            int(content["classifier"]["width"]),
            int(content["classifier"]["batch"]),
            LoopConfig(**content["classifier"]["loop"]),
        ),
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

    openings: Openings
    config: HealthivertTraining
    classifier: SliceClassifier | None = None
    memory_format: torch.memory_format = field(default=torch.channels_last)

    def batch(self, step: int) -> dict[str, Tensor]:
        """Slices with their gap opened (:meth:`Openings.batch`), and ``guide``, where they show no fracture."""
        out = self.openings.batch(step, self.config.batch)
        rng = np.random.default_rng([self.config.seed, step, 95])
        guided, unnamed = rng.random() >= _UNGUIDED, torch.from_numpy(rng.random(len(out["open"])) < _UNNAMED)
        out["position"] = out["position"].masked_fill(unnamed.to(out["position"].device), UNKNOWN_LEVEL)
        out["guide"] = torch.ones_like(out["open"])
        if self.classifier is not None and guided:
            out["guide"] = attention(self.classifier, out["open"])
        return out

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """What generators and discriminators learn from, in one sum: neither learns from the other's part."""
        assert isinstance(model, Players)
        config, weights = self.config, self.config.weights
        drawn = _drawn(model, batch)
        fine, coarse, body = _closed(drawn, batch, config)
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
        drawn = _drawn(model, batch)
        fine, _, _ = closed_at_prediction(drawn, batch, self.config.network.gap)
        masks = [2.0 * mask - 1.0 for mask in (batch["guide"], drawn.body, batch["body"])]
        rows = [batch["ct"], batch["open"], masks[0], drawn.coarse, drawn.fine, fine, *masks[1:]]
        return tiled([(row + 1) * 127.5 for row in rows])


def _drawn(model: Players, batch: dict[str, Tensor]) -> Drawn:
    made: Drawn = model.generator(batch["open"], batch["mask"], batch["place"], batch["guide"], batch["position"])
    return made


def _closed(drawn: Drawn, batch: dict[str, Tensor], config: HealthivertTraining) -> tuple[Tensor, Tensor, Tensor]:
    """Fine and coarse slice and the vertebra, as they are judged."""
    if config.weights.closed_at == "predicted":
        return closed_at_prediction(drawn, batch, config.network.gap)
    at = torch.arange(batch["ct"].shape[2], device=batch["ct"].device)[None, None, :, None]
    first, last = (batch[name].reshape(-1, 1, 1, 1) for name in ("first", "last"))
    inside = (at >= first) & (at <= last)  # a vertebra stands where its gap was opened
    return torch.where(inside, drawn.fine, batch["ct"]), torch.where(inside, drawn.coarse, batch["ct"]), drawn.body


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


def train_healthivert(config: HealthivertTraining, options: RunOptions) -> Generator:
    """Render the slices that are missing, train, and leave averaged weights in ``out``.

    ``average.safetensors`` holds generators and discriminators; ``generator.safetensors`` and
    ``classifier.safetensors``, in 16 bits, are what a model is made of. The classifier's own run is in ``classifier``.

    Args:
        config: what and how.
        options: where and how long; a VerSe-style folder to cut slices out of needs grades.

    Raises:
        InputError: folders that belong to another configuration.
        MethodError: the loss is not finite, or the device is not there.
        OutputError: nothing can be written.
    """
    began: list[float] = []

    def begin(folder: Path) -> tuple[Players, HealthivertTask]:
        began.append(time.perf_counter())
        size, gap = config.network.size, config.network.gap
        openings = Openings(Slices(folder, options.device), size, gap, config.seed, config.slices.view == "coronal")
        classifier = _classifier(config, openings, options)
        torch.manual_seed(config.seed)
        return Players(config), HealthivertTask(openings, config, classifier)

    def left() -> float | None:
        limit = options.limit_seconds
        return None if limit is None else max(limit - (time.perf_counter() - began[0]), 1.0)

    average = run(config, Source("slices", config.slices, fill, slices_from_folder), begin, options, left)
    write_halves(Path(options.out) / "generator.safetensors", average.generator)
    return average.generator


def _classifier(config: HealthivertTraining, openings: Openings, options: RunOptions) -> SliceClassifier:
    """The slice classifier, trained as far as it is not yet.

    Raises:
        MethodError: the time was over before it was done; the run can be gone on with.
    """
    folder, trained = classifier_folder(options.out), functools.partial(options.tell, "training the classifier")
    task = ClassifierTask(openings, config.classifier)
    told = {"width": config.classifier.width, "batch": config.classifier.batch, "seed": config.seed}
    model, state = fit(SliceClassifier(config.classifier.width), task, config.classifier.loop, folder, options.device,
                       told, options.limit_seconds, trained)  # fmt: skip
    if state.step < config.classifier.loop.steps:
        raise MethodError("The time was over before the classifier was trained.", "Give the same command again.")
    write_halves(Path(options.out) / "classifier.safetensors", model)
    return model.eval()
