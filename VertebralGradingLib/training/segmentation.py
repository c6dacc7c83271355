"""Training of the body network on blocks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from VertebralGradingLib.errors import InputError
from VertebralGradingLib.image.png import outlined, tile, windowed
from VertebralGradingLib.phantom.plans import PRESETS
from VertebralGradingLib.segmentation.network import OUTPUTS, BodyNetwork, NetworkConfig
from VertebralGradingLib.training.augment import augment
from VertebralGradingLib.training.blocks import CLASSES, BlockPlan, Blocks, fill
from VertebralGradingLib.training.folders import fill_from_folder
from VertebralGradingLib.training.loop import LoopConfig
from VertebralGradingLib.training.runs import RunOptions, Source, run, unknown

_WEIGHTS = {"body": 1.0, "vertebra": 0.5, "neighbours": 0.4, "disc": 0.3}
_UNSEEN = 0.1
_SHOWN = 6


@dataclass(frozen=True)
class SegmentationConfig:
    """One configuration of the system.

    Attributes:
        network: its layout.
        blocks: what it is trained on.
        loop: how.
        batch: blocks of a step.
        seed: of weights and batches.
    """

    network: NetworkConfig
    blocks: BlockPlan
    loop: LoopConfig
    batch: int = 4
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


CONFIGS = {
    "default": SegmentationConfig(
        NetworkConfig((24, 48, 96)), BlockPlan(shards=160), LoopConfig(12000, 2e-3, 300, decay=0.999), batch=16
    ),
    "small": SegmentationConfig(
        NetworkConfig((16, 32, 64, 96)),
        BlockPlan(seed=2000, shards=48),
        LoopConfig(3600, 2e-3, 100, decay=0.995),
        batch=4,
    ),
    "varied": SegmentationConfig(
        NetworkConfig((16, 32, 64, 96)),
        BlockPlan(seed=3000, shards=120, varied=True),
        LoopConfig(20000, 2e-3, 200, decay=0.999, save_seconds=600.0),
        batch=4,
    ),
    "tiny": SegmentationConfig(
        NetworkConfig((8, 16)),
        BlockPlan(shards=1, spines=1, blocks=4, edge=40),
        LoopConfig(6, 2e-3, 2, log_every=2, snapshots=1, samples=1),
        batch=2,
    ),
}
"""``default`` is for an accelerator, ``small`` for a core and an hour, ``varied`` for six hours, ``tiny`` for tests."""


def configured(name: str, preset: str = "uniform") -> SegmentationConfig:
    """A configuration by name, on phantoms of a preset.

    Raises:
        InputError: there is none of that name, or no such preset.
    """
    if name not in CONFIGS:
        raise unknown("configuration", name, CONFIGS)
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    return replace(CONFIGS[name], blocks=replace(CONFIGS[name].blocks, preset=preset))


@dataclass(eq=False)
class SegmentationTask:
    """Batches and loss (:class:`loop.Task`)."""

    blocks: Blocks
    batch_size: int
    seed: int
    memory_format: torch.memory_format = field(default=torch.channels_last_3d)

    def batch(self, step: int) -> dict[str, Tensor]:
        """Blocks drawn at random, each at most once in a batch, and changed."""
        rng = np.random.default_rng([self.seed, step, 91])
        chosen = rng.choice(len(self.blocks), min(self.batch_size, len(self.blocks)), replace=False)
        return augment(self.blocks.get(chosen.tolist()), rng, CLASSES.index("unseen"))

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy and soft Dice of every output; the body's edge is a share, so that it lies between samples."""
        logits = model(batch["image"].contiguous(memory_format=self.memory_format)).float()
        return segmentation_loss(logits, batch["share"], batch["kind"])

    @torch.no_grad()
    def picture(self, model: nn.Module) -> NDArray[np.uint8]:
        """Mid-sagittal and mid-coronal planes, truth in green, found in red."""
        batch = self.blocks.get(list(range(min(_SHOWN, len(self.blocks)))))
        found = model(batch["image"])[:, 0].float().sigmoid().cpu().numpy() >= 0.5
        image, truth = batch["image"][:, 0].cpu().numpy(), batch["share"][:, 0].cpu().numpy() >= 0.5
        middle = image.shape[-1] // 2
        rows = []
        for cut in (np.s_[:, :, middle], np.s_[:, middle, :]):
            grey = [windowed(one[cut]) for one in image]
            rows += [grey, [outlined(outlined(g, t[cut], (0, 220, 0)), f[cut], (255, 60, 60))
                            for g, t, f in zip(grey, truth, found, strict=True)]]  # fmt: skip
        return tile(rows)


def segmentation_loss(logits: Tensor, share: Tensor, kind: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum over outputs of cross entropy and soft Dice.

    Args:
        logits: (B, 4, ...).
        share: (B, 1, ...) share of the body of interest, 0..1.
        kind: (B, 1, ...) index into :data:`blocks.CLASSES`.
    """
    seen = 1.0 - (1.0 - _UNSEEN) * (kind == CLASSES.index("unseen")).float()
    truth = {
        "body": share,
        "vertebra": torch.maximum((kind == CLASSES.index("vertebra")).float(), share),
        "neighbours": (kind == CLASSES.index("neighbour")).float(),
        "disc": (kind == CLASSES.index("disc")).float(),
    }
    total, parts = logits.new_zeros(()), {}
    for n, name in enumerate(OUTPUTS):
        one, target = logits[:, n : n + 1], truth[name]
        entropy = functional.binary_cross_entropy_with_logits(one, target, reduction="none")
        if name == "body":
            entropy = entropy * (1.0 + 3.0 * functional.max_pool3d((target * (1 - target) > 0.01).float(), 3, 1, 1))
        told = seen if name != "disc" else seen * (kind != CLASSES.index("soft")).float()
        entropy = (entropy * told).mean()
        overlap = soft_dice_loss(one.sigmoid() * told, target * told)
        parts[f"{name}_dice"] = 1.0 - overlap
        total = total + _WEIGHTS[name] * (2.0 * entropy + overlap)
    return total, parts


def soft_dice_loss(found: Tensor, truth: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - Dice of each item, averaged: monai's DiceLoss(squared_pred=True, smooth_nr=smooth, smooth_dr=smooth)."""
    axes = tuple(range(1, found.dim()))
    both = (found * truth).sum(axes)
    either = (found * found).sum(axes) + (truth * truth).sum(axes)
    return (1.0 - (2.0 * both + smooth) / (either + smooth)).mean()


def train_segmentation(config: SegmentationConfig, options: RunOptions) -> BodyNetwork:
    """Fill the blocks where they are missing, train, and leave averaged weights in ``out/average.safetensors``.

    Args:
        config: what and how.
        options: where and how long; of a VerSe-style folder, CTs and masks are trained on.

    Raises:
        InputError: folders that belong to another configuration.
        MethodError: the loss is not finite, or the device is not there.
        OutputError: nothing can be written.
    """

    def begin(folder: Path) -> tuple[BodyNetwork, SegmentationTask]:
        if config.blocks.edge % 2 ** len(config.network.channels):
            raise InputError("The blocks' edge does not fit the network.", "Choose another edge or fewer channels.")
        return BodyNetwork(config.network), SegmentationTask(Blocks(folder, options.device), config.batch, config.seed)

    return run(config, Source("blocks", config.blocks, fill, fill_from_folder), begin, options)
