"""Sets of rendered samples on disk: a file for each shard, and a note of what they are made of.

Shards depend on their plan and number alone, so that filling can be spread over processes and gone on with later.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from VertebralGradingLib.errors import InputError, MethodError, OutputError
from VertebralGradingLib.training.checkpoints import read_tensors, write_tensors, write_text

Draw = Callable[[int], Any]
"""The spines of a shard, by its number; on the CPU."""
Render = Callable[[int, Any, str], dict[str, Tensor]]
"""The samples of a shard, of its number, its spines and a device."""
Filled = Callable[[int, int], None]
"""Called with (shards done, all shards)."""
_NAME = "shard"


class ShardPlan(Protocol):
    """What every plan has: a frozen dataclass, whose fields are noted in the folder."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def shards(self) -> int:
        """Number of files."""
        ...


Plan = TypeVar("Plan", bound=ShardPlan)
Case = TypeVar("Case")


@dataclass(frozen=True)
class Rendering(Generic[Plan]):
    """How one kind of samples is made of a plan.

    Attributes:
        about: noted in the folder besides the plan: the version of how shards are made of it, and the kind.
        draw: the spines of a shard, of its plan and number; a function that can be sent to other processes.
        render: its samples, of plan, number, spines and device; so can this.
        check: raises InputError where a plan cannot be rendered.
    """

    about: Mapping[str, Any]
    draw: Callable[[Plan, int], Any]
    render: Callable[[Plan, int, Any, str], dict[str, Tensor]]
    check: Callable[[Plan], None] = lambda plan: None

    def fill(
        self, plan: Plan, folder: str | Path, workers: int = 1, device: str = "cpu", progress: Filled | None = None
    ) -> None:
        """Render the shards that are missing.

        Args:
            plan: what they are made of.
            folder: where to; a folder of something else is refused.
            workers: processes; an accelerator is used by one.
            device: where to render.
            progress: see :data:`Filled`.

        Raises:
            InputError: the folder holds something else, or the plan cannot be rendered.
            MethodError: a process was ended from outside; what is finished stays.
            OutputError: it cannot be written.
        """
        self.check(plan)
        folder = Path(folder)
        claim(folder, {**self.about, **asdict(plan)})
        draw, render = functools.partial(self.draw, plan), functools.partial(self.render, plan)
        try:
            missing = [n for n in range(plan.shards) if not shard_path(folder, n).exists()]
            done = plan.shards - len(missing)
            for _ in _rendered(missing, folder, draw, render, workers, device):
                done += 1
                if progress is not None:
                    progress(done, plan.shards)
        except BrokenProcessPool as error:
            raise MethodError(
                "A process that renders phantoms was ended.",
                "Run the command again, with fewer workers; whole shards stay.",
            ) from error
        except OSError as error:
            raise OutputError("The shards cannot be written.", "Check free space and permissions.") from error


def cut_shards(
    folder: Path,
    note: Mapping[str, Any],
    cases: Sequence[Case],
    cut: Callable[[int, Case], Mapping[str, Tensor]],
    progress: Filled | None = None,
) -> None:
    """Cut samples out of cases, a shard for each; shards that are there already stay.

    Args:
        folder: where to; a folder of something else is refused.
        note: what the shards are made of.
        cases: of a data set.
        cut: the samples of a case, of its number and itself; nothing where it has none, and no shard is written.
        progress: called with (cases done, all cases).

    Raises:
        InputError: the folder holds something else.
        OutputError: it cannot be written.
    """
    claim(folder, note)
    for number, case in enumerate(cases):
        if not shard_path(folder, number).exists():
            content = cut(number, case)
            if content:
                write_shard(folder, number, content)
        if progress is not None:
            progress(number + 1, len(cases))


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
    return joined(parts)


class Samples:
    """The samples of a folder in memory.

    Args:
        folder: filled with shards.
        device: where they are kept.

    Raises:
        InputError: the folder holds none, or one cannot be read.
    """

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        self.content = read_shards(Path(folder), device)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.content["image"])

    def of(self, name: str, chosen: Sequence[int]) -> Tensor:
        """(B, ...) what is stored under a name of some of them."""
        value = self.content[name]
        return value[torch.as_tensor(chosen, device=value.device)]


def joined(parts: Sequence[Mapping[str, Tensor]], most: int | None = None) -> dict[str, Tensor]:
    """Samples of several batches or shards in one, the first ``most`` of them."""
    return {name: torch.cat([part[name] for part in parts])[:most] for name in parts[0]}


def as_stored(image: Tensor) -> Tensor:
    """CT in HU, in the 16 bits in which it is kept."""
    return image.round().clamp(-1024, 3071).to(torch.int16)


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
