"""The training loop of all systems: AdamW, warm-up and cosine decay, averaged weights, checkpoints, curve, pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from VertebralGradingLib.errors import MethodError, OutputError
from VertebralGradingLib.image.png import tile, write_png
from VertebralGradingLib.training import checkpoints
from VertebralGradingLib.training.average import Average, Network

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class LoopConfig:
    """How a network is trained.

    Attributes:
        steps: in all; the learning rate falls to zero at the last.
        learning_rate: at its highest.
        warmup: steps of a linear rise at the start.
        weight_decay: of AdamW.
        momentum: first beta of AdamW.
        decay: of the moving average.
        clip: largest norm of the gradient.
        log_every: steps between rows of the curve.
        save_seconds: between checkpoints.
        snapshots: averages kept on the way, evenly over the second half.
        samples: pictures drawn on the way.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 1e-2
    momentum: float = 0.9
    decay: float = 0.995
    clip: float = 1.0
    log_every: int = 20
    save_seconds: float = 120.0
    snapshots: int = 5
    samples: int = 6


class Task(Protocol):
    """What a system brings to the loop."""

    memory_format: torch.memory_format

    def batch(self, step: int) -> Batch:
        """The batch of a step, on the device; depends on the step alone."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and its parts for the curve."""
        ...

    def picture(self, model: nn.Module) -> NDArray[np.uint8] | None:
        """(H, W, 3) what the averaged network makes of a fixed batch, or None."""
        ...


def fit(
    model: Network,
    task: Task,
    config: LoopConfig,
    out: str | Path,
    device: str = "cpu",
    description: Mapping[str, Any] | None = None,
    limit_seconds: float | None = None,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> tuple[Network, checkpoints.Progress]:
    """Train, or go on where a run in the same folder stopped.

    bfloat16 is used on CUDA only: on CPUs without the instructions it is many times slower.

    Args:
        model: the network, with its initial weights.
        task: batches and loss.
        config: how.
        out: folder of the run (:mod:`checkpoints`).
        device: "cpu", "cuda" or "cuda:N".
        description: the run's configuration; a checkpoint of another one is refused.
        limit_seconds: stop after so long, with a checkpoint; the run can be resumed.
        progress: called with (step, steps, row) at each row of the curve.

    Returns:
        The averaged network and how far the run is.

    Raises:
        InputError: a checkpoint that is damaged or of another configuration.
        MethodError: the loss is not finite.
        OutputError: nothing can be written.
    """
    out, started = Path(out), time.perf_counter()
    description = {**vars(config), **(description or {})}
    model.to(device, memory_format=task.memory_format)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, (config.momentum, 0.999), weight_decay=config.weight_decay
    )
    average = Average(model, config.decay)
    state = checkpoints.load(out, model, average.model, optimizer, description)
    before, saved, sums, counted = state.seconds, started, dict[str, float](), 0
    keep = _at(config.snapshots, config.steps, 0.5)
    draw = _at(config.samples, config.steps, 0.0)
    model.train()
    while state.step < config.steps:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, state.step)
        batch = task.batch(state.step)
        with torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda")):
            loss, parts = task.loss(model, batch)
        if not bool(torch.isfinite(loss)):
            raise MethodError(f"The loss is not finite at step {state.step}.", "Lower the learning rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        if not bool(torch.isfinite(norm)):
            raise MethodError(f"The gradient is not finite at step {state.step}.", "Lower the learning rate.")
        optimizer.step()
        average.update(model, state.step)
        state.step += 1
        now = time.perf_counter()
        state.seconds = before + now - started
        for name, value in {"loss": loss, "gradient": norm, **parts}.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        counted += 1
        last = state.step == config.steps
        if state.step % config.log_every == 0 or last:
            row = {"step": float(state.step), "seconds": round(state.seconds, 1)}
            row |= {name: total / counted for name, total in sums.items()}
            state.rows.append(row)
            sums, counted = {}, 0
            if progress is not None:
                progress(state.step, config.steps, row)
        if state.step in keep:
            _snapshot(out, state.step, average.model)
        if state.step in draw:
            picture = task.picture(average.model)
            if picture is not None:
                write_png(picture, out / "samples" / f"{state.step:07d}.png")
        timed_out = limit_seconds is not None and now - started > limit_seconds
        if now - saved > config.save_seconds or last or timed_out:
            checkpoints.save(out, state, model, average.model, optimizer, description)
            saved = now
        if timed_out:
            break
    return average.model, state


def tiled(rows: Sequence[Tensor]) -> NDArray[np.uint8]:
    """A picture of rows of slices (B, 1, H, W), grey from 0 to 255."""
    return tile([list(row[:, 0].clamp(0, 255).to(torch.uint8).cpu().numpy()) for row in rows])


def learning_rate(config: LoopConfig, step: int) -> float:
    """Linear rise, then half a cosine down to zero."""
    rise = min((step + 1) / max(config.warmup, 1), 1.0)
    share = min(max(step - config.warmup, 0) / max(config.steps - config.warmup, 1), 1.0)
    return config.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * share))


def _at(count: int, steps: int, start: float) -> set[int]:
    """``count`` steps, evenly from the share ``start`` of all to the last."""
    return {round(steps * (start + (1.0 - start) * (n + 1) / count)) for n in range(count)}


def _snapshot(out: Path, step: int, model: nn.Module) -> None:
    folder = out / "snapshots"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError("The run's folder cannot be written.", "Check free space and permissions.") from error
    checkpoints.write_tensors(folder / f"{step:07d}.safetensors", model.state_dict())
