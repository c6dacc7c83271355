"""Sets of rendered samples on disk: a file for each shard, and a note of what they are made of.

Shards depend on their plan and number alone, so that filling can be spread over processes and gone on with later.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from VertebralGradingLib.errors import InputError, MethodError, OutputError
from VertebralGradingLib.training.checkpoints import read_tensors, write_tensors, write_text

Draw = Callable[[int], Any]
"""The spines of a shard, by its number; on the CPU."""
Render = Callable[[int, Any, str], dict[str, Tensor]]
"""The samples of a shard, of its number, its spines and a device."""
_NAME = "shard"


def fill_shards(
    folder: Path,
    note: Mapping[str, Any],
    count: int,
    draw: Draw,
    render: Render,
    workers: int = 1,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render the shards that are missing.

    Args:
        folder: where to; a folder of something else is refused.
        note: what the shards are made of.
        count: of shards.
        draw: can be sent to other processes.
        render: so can this.
        workers: processes; an accelerator is used by one.
        device: where to render.
        progress: called with (shards done, all shards).

    Raises:
        InputError: the folder holds something else.
        MethodError: a process was ended from outside; what is finished stays.
        OutputError: it cannot be written.
    """
    claim(folder, note)
    try:
        missing = [n for n in range(count) if not shard_path(folder, n).exists()]
        done = count - len(missing)
        for _ in _rendered(missing, folder, draw, render, workers, device):
            done += 1
            if progress is not None:
                progress(done, count)
    except BrokenProcessPool as error:
        raise MethodError(
            "A process that renders phantoms was ended.",
            "Run the command again, with fewer workers; whole shards stay.",
        ) from error
    except OSError as error:
        raise OutputError("The shards cannot be written.", "Check free space and permissions.") from error


def claim(folder: Path, note: Mapping[str, Any]) -> None:
    """Note in a folder what its shards are made of.

    Raises:
        InputError: it holds shards of something else.
        OutputError: it cannot be written.
    """
    wanted = json.loads(json.dumps(dict(note)))
    path = folder / "plan.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists() and not any(folder.glob(f"{_NAME}-*")):
            write_text(path, json.dumps(wanted, indent=1))
            return
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except ValueError:
        known = None
    except OSError as error:
        raise OutputError("The shards cannot be written.", "Check free space and permissions.") from error
    if known != wanted:
        raise InputError("The folder holds samples of another plan.", "Choose another folder.")


def write_shard(folder: Path, number: int, content: Mapping[str, Tensor]) -> None:
    """Write one shard, whole or not at all.

    Raises:
        OSError, OutputError: it cannot be written.
    """
    path = shard_path(folder, number)
    write_tensors(path.with_suffix(".new"), content)
    path.with_suffix(".new").replace(path)


def read_shards(folder: Path, device: str = "cpu", numbers: Sequence[int] | None = None) -> dict[str, Tensor]:
    """All shards of a folder, or some, joined.

    Raises:
        InputError: there are none, or one cannot be read.
    """
    files = sorted(folder.glob(f"{_NAME}-*.safetensors"))
    if numbers is not None:
        files = [shard_path(folder, number) for number in numbers]
    if not files:
        raise InputError("The folder holds no samples.", "Fill it first.")
    parts = [read_tensors(file, device) for file in files]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"{_NAME}-{number:04d}.safetensors"


def _rendered(
    missing: Sequence[int], folder: Path, draw: Draw, render: Render, workers: int, device: str
) -> Iterator[int]:
    """Render shards, and tell their numbers as they are done.

    On the CPU every process draws and renders its own; for an accelerator, processes draw spines and this one renders.
    """
    if workers <= 1:
        for number in missing:
            _make(number, folder, draw, render, device)
            yield number
        return
    apart = multiprocessing.get_context("spawn")  # a process with CUDA in it cannot be forked
    processes = ProcessPoolExecutor(workers, apart, torch.set_num_threads, (1,))
    try:
        if device == "cpu":
            done = {processes.submit(_make, number, folder, draw, render, device): number for number in missing}
            for finished in as_completed(done):
                finished.result()
                yield done[finished]
            return
        drawn = {processes.submit(draw, number): number for number in missing}
        for job in as_completed(drawn):
            write_shard(folder, drawn[job], render(drawn[job], job.result(), device))
            yield drawn[job]
    finally:  # after an error, what has not begun is dropped
        processes.shutdown(cancel_futures=True)


def _make(number: int, folder: Path, draw: Draw, render: Render, device: str) -> None:
    write_shard(folder, number, render(number, draw(number), device))
