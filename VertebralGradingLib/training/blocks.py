"""Straightened blocks with targets for the body network: rendered in shards, kept on disk and on the device.

A block is stored as int16 HU, uint8 share of the body of interest (255 all of it) and uint8 class (:data:`CLASSES`).
Shards depend on their plan and number alone, so that filling can be spread over processes and gone on with later.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from VertebralGradingLib.errors import InputError, MethodError, OutputError
from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
from VertebralGradingLib.phantom.plans import plan
from VertebralGradingLib.phantom.pool import PoolSpine, draw_pool
from VertebralGradingLib.phantom.soft import TISSUES
from VertebralGradingLib.phantom.subjects import make_subject
from VertebralGradingLib.segmentation.network import EDGE
from VertebralGradingLib.training.checkpoints import read_tensors, write_tensors, write_text

CLASSES = ("other", "vertebra", "neighbour", "disc", "unseen")
"""What a sample belongs to: vertebra of interest, body of another one, disc, or outside of what the scan covers."""
_FREE = ("uniform", "hard")
_BATCH = 10
_VERSION = 2
"""Of how shards are made of a plan."""


@dataclass(frozen=True)
class BlockPlan:
    """What a set of blocks holds.

    Attributes:
        seed: fixes everything.
        shards: files.
        spines: of each shard.
        blocks: of each shard.
        edge: samples along each edge.
        preset: "uniform", "hard", or a published preset, whose train split is drawn.
        appearance, jitter, features: for ablations: see :class:`dataset.DatasetOptions`; ``features`` 0 leaves out
            mimics.
    """

    seed: int = 0
    shards: int = 40
    spines: int = 5
    blocks: int = 50
    edge: int = EDGE
    preset: str = "uniform"
    appearance: float = 1.0
    jitter: float = 1.0
    features: float = 1.0


def fill(
    plan_: BlockPlan,
    folder: str | Path,
    workers: int = 1,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render the shards that are missing.

    Args:
        plan_: what to render.
        folder: where to; a folder of another plan is refused.
        workers: processes; an accelerator is used by one.
        device: where to render.
        progress: called with (shards done, all shards).

    Raises:
        InputError: the folder holds blocks of another plan.
        MethodError: a process was ended from outside; what is finished stays.
        OutputError: it cannot be written.
    """
    folder = Path(folder)
    claim(folder, asdict(plan_))
    try:
        missing = [n for n in range(plan_.shards) if not shard_path(folder, n).exists()]
        done = plan_.shards - len(missing)
        for _ in _rendered(plan_, missing, folder, workers, device):
            done += 1
            if progress is not None:
                progress(done, plan_.shards)
    except BrokenProcessPool as error:
        raise MethodError(
            "A process that renders blocks was ended.", "Run the command again, with fewer workers; whole shards stay."
        ) from error
    except OSError as error:
        raise OutputError("The blocks cannot be written.", "Check free space and permissions.") from error


def claim(folder: Path, content: Mapping[str, Any]) -> None:
    """Note in a folder what its blocks are made of.

    Raises:
        InputError: it holds blocks of something else.
        OutputError: it cannot be written.
    """
    note = json.loads(json.dumps({"version": _VERSION, **content}))
    path = folder / "plan.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists() and not any(folder.glob("blocks-*")):
            write_text(path, json.dumps(note, indent=1))
            return
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except ValueError:
        known = None
    except OSError as error:
        raise OutputError("The blocks cannot be written.", "Check free space and permissions.") from error
    if known != note:
        raise InputError("The folder holds blocks of another plan.", "Choose another folder.")


def _rendered(plan_: BlockPlan, missing: Sequence[int], folder: Path, workers: int, device: str) -> Iterator[int]:
    """Render shards, and tell their numbers as they are done.

    On the CPU every process draws and renders its own; for an accelerator, processes draw spines and this one renders.
    """
    if workers <= 1:
        for number in missing:
            render_shard(plan_, number, folder, device)
            yield number
        return
    apart = multiprocessing.get_context("spawn")  # a process with CUDA in it cannot be forked
    processes = ProcessPoolExecutor(workers, apart, torch.set_num_threads, (1,))
    try:
        if device == "cpu":
            done = {processes.submit(render_shard, plan_, number, folder): number for number in missing}
            for finished in as_completed(done):
                finished.result()
                yield done[finished]
            return
        drawn = {processes.submit(draw_spines, plan_, number): number for number in missing}
        for job in as_completed(drawn):
            render_shard(plan_, drawn[job], folder, device, job.result())
            yield drawn[job]
    finally:  # after an error, what has not begun is dropped
        processes.shutdown(cancel_futures=True)


def render_shard(
    plan_: BlockPlan, number: int, folder: Path, device: str = "cpu", pool: list[PoolSpine] | None = None
) -> None:
    """Render one shard and write it, whole or not at all.

    Args:
        plan_: what to render.
        number: of the shard.
        folder: where to.
        device: where to render.
        pool: its spines (:func:`draw_spines`), where they are drawn already.
    """
    own = _seed(plan_, number)
    pool = draw_spines(plan_, number) if pool is None else pool
    thick = 0.85 if plan_.preset == "hard" else 0.35
    options = DatasetOptions(
        (plan_.edge,) * 3,
        batch=_BATCH,
        balanced=number % 2 == 0,  # the other half as they come: with fractures alone, normal bodies look broken
        appearance=plan_.appearance,
        jitter=plan_.jitter,
        thick=thick,
    )
    data = PhantomDataset(pool, own, options, device)
    parts: list[dict[str, Tensor]] = []
    for batch in range(-(-plan_.blocks // options.batch)):
        rendered = data.batch(batch)
        parts.append({name: value[:, 0].cpu() for name, value in targets(rendered).items()})
    content = {name: torch.cat([part[name] for part in parts])[: plan_.blocks] for name in parts[0]}
    path = shard_path(folder, number)
    write_tensors(path.with_suffix(".new"), content)
    path.with_suffix(".new").replace(path)


def _seed(plan_: BlockPlan, number: int) -> int:
    return int(np.random.SeedSequence([plan_.seed, number]).generate_state(1)[0])


def draw_spines(plan_: BlockPlan, number: int) -> list[PoolSpine]:
    """The spines of one shard."""
    seed = _seed(plan_, number)
    if plan_.preset in _FREE:
        return draw_pool(plan_.spines, seed, mimic_rate=plan_.features * (3.0 if plan_.preset == "hard" else 1.0))
    subjects = [one for one in plan(plan_.preset, 0, plan_.seed) if one.split == "train"]
    made = []
    for k in range(plan_.spines):
        place = (number * plan_.spines + k) % len(subjects)
        subject = make_subject(subjects[place], int(np.random.SeedSequence([seed, k]).generate_state(1)[0]))
        truths = {level: true for level, true in subject.truths.items() if true.graded > 0}
        made.append(PoolSpine(subject.spine, truths, subject.mimics))
    return made


def targets(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is stored of a rendered batch: ``image`` int16, ``share`` and ``kind`` uint8, all (B, 1, R, C, D)."""
    label = batch["label"].reshape(-1, 1, 1, 1, 1)
    bodies, vertebrae = batch["bodies"], batch["vertebrae"]
    mine = bodies == label
    # the share falls off within half a sample; the edge of the body of interest is where none other is nearer
    near = functional.max_pool3d(mine.half().float(), 3, 1, 1) > 0
    share = (batch["depth"] + 0.5).clamp(0, 1) * (near & ((bodies == 0) | mine))
    kind = torch.zeros_like(bodies)
    kind[batch["tissue"] == TISSUES.index("disc")] = CLASSES.index("disc")
    kind[(bodies != 0) & ~mine] = CLASSES.index("neighbour")
    kind[vertebrae == label] = CLASSES.index("vertebra")
    kind[batch["outside"]] = CLASSES.index("unseen")
    share = share * ~batch["outside"]
    return {
        "image": batch["image"].round().clamp(-1024, 3071).to(torch.int16),
        "share": (255 * share).round().to(torch.uint8),
        "kind": kind.to(torch.uint8),
    }


class Blocks:
    """Blocks in memory, on the device.

    Args:
        folder: filled by :func:`fill`.
        device: where they are kept.

    Raises:
        InputError: the folder holds none, or one cannot be read.
    """

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        files = sorted(Path(folder).glob("blocks-*.safetensors"))
        if not files:
            raise InputError("The folder holds no blocks.", "Fill it first.")
        parts = [read_tensors(file, device) for file in files]
        self.image, self.share, self.kind = (
            torch.cat([part[name] for part in parts]) for name in ("image", "share", "kind")
        )

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self.image)

    def get(self, chosen: Sequence[int]) -> dict[str, Tensor]:
        """``image`` (HU), ``share`` 0..1 and ``kind``, (B, 1, R, C, D)."""
        index = torch.as_tensor(chosen, device=self.image.device)
        return {
            "image": self.image[index][:, None].float(),
            "share": self.share[index][:, None].float() / 255.0,
            "kind": self.kind[index][:, None],
        }


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"blocks-{number:04d}.safetensors"
