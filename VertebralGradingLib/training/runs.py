"""One training run, whatever the system: samples first, then the loop, then the average."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from VertebralGradingLib.errors import InputError, MethodError
from VertebralGradingLib.resources import resource
from VertebralGradingLib.training.checkpoints import read_tensors
from VertebralGradingLib.training.loop import LoopConfig, Task, fit

Told = Callable[[str, int, int, dict[str, float]], None]
"""Called with (what is done, done, total, row of the curve)."""
Filled = Callable[[int, int], None]


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
    samples: str,
    folder: Path,
    fill: Callable[[Filled], None],
    begin: Callable[[], tuple[nn.Module, Task]],
    out: str | Path,
    device: str = "cpu",
    limit_seconds: float | Callable[[], float | None] | None = None,
    progress: Told | None = None,
) -> nn.Module:
    """Fill the samples where they are missing, train, and leave averaged weights in ``out/average.safetensors``.

    Args:
        config: of the system.
        samples: the configuration's name of what it is trained on; what the folder really holds is noted instead.
        folder: of the samples.
        fill: fills it; given a function to be called with (done, total).
        begin: makes the network, its weights drawn by then from the seed, and the task.
        out: folder of the run; an unfinished run there is gone on with.
        device: where to train: "cpu", "cuda" or "cuda:N".
        limit_seconds: of training in this call; or a function that tells what is left when it begins.
        progress: see :data:`Told`.

    Returns:
        The averaged network.

    Raises:
        InputError: folders that belong to another configuration.
        MethodError: the loss is not finite, or the device is not there.
        OutputError: nothing can be written.
    """
    check_device(device)

    def filled(done: int, total: int) -> None:
        if progress is not None:
            progress("rendering", done, total, {})

    def trained(step: int, steps: int, row: dict[str, float]) -> None:
        if progress is not None:
            progress("training", step, steps, row)

    fill(filled)
    torch.manual_seed(config.seed)
    with _without_denormals():
        return _trained(config, samples, folder, begin, out, device, limit_seconds, trained)


@contextlib.contextmanager
def _without_denormals() -> Iterator[None]:
    """Take numbers too small for their type for zero: with them, saturated networks are many times slower on a CPU."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)  # it is a state of the processor, and others compute here too


def _trained(
    config: RunConfig,
    samples: str,
    folder: Path,
    begin: Callable[[], tuple[nn.Module, Task]],
    out: str | Path,
    device: str,
    limit_seconds: float | Callable[[], float | None] | None,
    trained: Callable[[int, int, dict[str, float]], None],
) -> nn.Module:
    """The loop, once samples are there."""
    model, task = begin()
    made_of = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    described = {**config.to_dict(), samples: made_of}
    limit = limit_seconds() if callable(limit_seconds) else limit_seconds
    average, _ = fit(model, task, config.loop, out, device, described, limit, trained)
    return average


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
        raise InputError(f"There is no configuration {path.name!r}.", f"Choose one of: {', '.join(names)}.")
    try:
        return made(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"The configuration {path.name!r} cannot be used.", "Compare it with a given one.") from error


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
