"""One training run, whatever the system: samples first, then the loop, then the average."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from VertebralGradingLib.errors import InputError, MethodError
from VertebralGradingLib.resources import resource
from VertebralGradingLib.training.average import Network
from VertebralGradingLib.training.checkpoints import read_tensors
from VertebralGradingLib.training.loop import LoopConfig, Task, fit
from VertebralGradingLib.training.shards import Filled, Plan

Told = Callable[[str, int, int, dict[str, float]], None]
"""Called with (what is done, done, total, row of the curve)."""


@dataclass(frozen=True)
class RunOptions:
    """Where and how long a run goes on in one call, whatever its configuration.

    Attributes:
        out: folder of the run; an unfinished run there is gone on with.
        device: where to render and train: "cpu", "cuda" or "cuda:N".
        workers: processes that render, on the CPU.
        limit_seconds: of training in this call.
        samples: folder of the rendered samples; one in ``out`` by default.
        data: VerSe-style folder that is trained on instead of phantoms.
        progress: see :data:`Told`.
    """

    out: str | Path
    device: str = "cpu"
    workers: int = 1
    limit_seconds: float | None = None
    samples: str | Path | None = None
    data: str | Path | None = None
    progress: Told | None = None

    def tell(self, what: str, done: int, total: int, row: dict[str, float] | None = None) -> None:
        """Tell how far the run is, where that is wanted."""
        if self.progress is not None:
            self.progress(what, done, total, row or {})


@dataclass(frozen=True)
class Source(Generic[Plan]):
    """What a system is trained on.

    Attributes:
        name: of it in the system's configuration, and of its folder in that of the run.
        plan: of the samples.
        render: fills a folder with samples of phantoms (:meth:`shards.Rendering.fill`).
        cut: fills a folder with samples of a VerSe-style folder.
    """

    name: str
    plan: Plan
    render: Callable[[Plan, Path, int, str, Filled], None]
    cut: Callable[[str | Path, Path, Plan, Filled], None]

    def fill(self, options: RunOptions) -> Path:
        """Fill the folder of the samples where some are missing.

        Returns:
            the folder.

        Raises:
            InputError: it holds something else.
            OutputError: it cannot be written.
        """
        folder = Path(options.out) / self.name if options.samples is None else Path(options.samples)
        filled = functools.partial(options.tell, "rendering")
        if options.data is None:
            self.render(self.plan, folder, options.workers, options.device, filled)
        else:
            self.cut(options.data, folder, self.plan, filled)
        return folder


class RunConfig(Protocol):
    """What every system's configuration has."""

    @property
    def loop(self) -> LoopConfig:
        """How it is trained."""
        ...

    @property
    def seed(self) -> int:
        """Of weights and batches."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        ...


def run(
    config: RunConfig,
    source: Source[Any],
    begin: Callable[[Path], tuple[Network, Task]],
    options: RunOptions,
    left: Callable[[], float | None] | None = None,
) -> Network:
    """Fill the samples where they are missing, train, and leave averaged weights in ``out/average.safetensors``.

    Args:
        config: of the system.
        source: what it is trained on; what its folder really holds is noted in place of the plan.
        begin: makes of the samples' folder the network, its weights drawn by then from the seed, and the task.
        options: where and how long.
        left: tells the seconds that are left when training begins, where they are not all of the limit.

    Returns:
        The averaged network.

    Raises:
        InputError: folders that belong to another configuration.
        MethodError: the loss is not finite, or the device is not there.
        OutputError: nothing can be written.
    """
    check_device(options.device)
    folder = source.fill(options)
    torch.manual_seed(config.seed)
    with _without_denormals():
        model, task = begin(folder)
        made_of = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        described = {**config.to_dict(), source.name: made_of}
        limit = options.limit_seconds if left is None else left()
        told = functools.partial(options.tell, "training")
        average, _ = fit(model, task, config.loop, options.out, options.device, described, limit, told)
    return average


@contextlib.contextmanager
def _without_denormals() -> Iterator[None]:
    """Take numbers too small for their type for zero: with them, saturated networks are many times slower on a CPU."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)  # it is a state of the processor, and others compute here too


Config = TypeVar("Config")


def read_config(name: str, names: Sequence[str], folder: str, made: Callable[[dict[str, Any]], Config]) -> Config:
    """A configuration by name, or by the path of a JSON file.

    Args:
        name: one of ``names``, or a file of the same form.
        names: that come along.
        folder: of theirs, among the resources.
        made: makes it of the file's content; ValueError, KeyError and TypeError say that it cannot be made.

    Raises:
        InputError: there is none, or it does not fit this program.
    """
    path = resource(f"{folder}/{name}.json") if name in names else Path(name)
    if not path.is_file():
        raise unknown("configuration", path.name, names)
    try:
        return made(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"The configuration {path.name!r} cannot be used.", "Compare it with a given one.") from error


def unknown(what: str, name: str, names: Iterable[str]) -> InputError:
    """The error for a name that is none of those that there are."""
    return InputError(f"There is no {what} {name!r}.", f"Choose one of: {', '.join(names)}.")


def begin_with(model: nn.Module, folder: Path) -> None:
    """Give a network the averaged weights of an earlier run.

    Raises:
        InputError: the folder holds none, or they are of another layout.
    """
    path = folder / "average.safetensors"
    if not path.is_file():
        raise InputError("The folder holds no finished run to begin with.", "Give the folder given as --out.")
    try:
        model.load_state_dict(read_tensors(path))
    except RuntimeError as error:
        raise InputError(
            "The weights to begin with are of another layout.", "Choose the same configuration."
        ) from error


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        MethodError: it is not.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise MethodError(
            f"The device {device!r} is not available.", "Choose cpu, or cuda where there is one."
        ) from error
