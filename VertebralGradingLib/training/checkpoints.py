"""What a run leaves on disk to be resumed: safetensors and JSON. The old checkpoint stays until the new one is whole.

::

    OUT/state.json               step, seconds, configuration, and which folder holds the checkpoint, with sha256
    OUT/checkpoint-STEP/         weights, average, optimizer (.safetensors), curve.csv
    OUT/average.safetensors      the moving average, which is what is evaluated and shipped
    OUT/curve.csv                one row for each logged step
    OUT/snapshots/STEP.safetensors   averages kept on the way, to select from
    OUT/samples/STEP.png         pictures of what the network does
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from VertebralGradingLib.errors import InputError, OutputError
from VertebralGradingLib.models.weights import describe_file

FILES = ("weights", "average", "optimizer")
_AGAIN = "Start the run anew in another folder."


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: finished steps.
        seconds: of training, over all calls.
        rows: the curve, one dict for each logged step.
    """

    step: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)


def save(
    out: Path,
    progress: Progress,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: Mapping[str, Any],
) -> None:
    """Write a checkpoint; the old one stays until the new one is whole.

    Raises:
        OutputError: it cannot be written.
    """
    named = dict(model.named_parameters())
    moments = {}
    for name, parameter in named.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            moments[f"{name}.{key}"] = torch.as_tensor(value).float()
    contents = {"weights": model.state_dict(), "average": average.state_dict(), "optimizer": moments}
    folder = out / f"checkpoint-{progress.step:07d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_tensors(folder / f"{name}.safetensors", content)
        _write_curve(folder / "curve.csv", progress.rows)
        sums = {name: describe_file(folder / f"{name}.safetensors").sha256 for name in contents}
        state = {
            "step": progress.step,
            "seconds": progress.seconds,
            "config": dict(config),
            "folder": folder.name,
            "sha256": sums,
        }
        write_text(out / "state.json", json.dumps(state, indent=1))
        for old in out.glob("checkpoint-*"):
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)
        for name in ("average.safetensors", "curve.csv"):  # copies, for whoever looks
            shutil.copyfile(folder / name, out / f"{name}.new")
            os.replace(out / f"{name}.new", out / name)
    except OSError as error:
        raise OutputError("The checkpoint cannot be written.", "Check free space and permissions.") from error


def load(
    out: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, config: Mapping[str, Any]
) -> Progress:
    """Read a checkpoint back into a network, its average and its optimizer; a fresh start where there is none.

    Raises:
        InputError: it is damaged, or was made with another configuration.
    """
    if not (out / "state.json").exists():
        return Progress()
    try:
        state = json.loads((out / "state.json").read_text(encoding="utf-8"))
        folder = out / str(state["folder"])
        files = {name: describe_file(folder / f"{name}.safetensors").sha256 for name in FILES}
        damaged = [name for name, found in files.items() if found != state["sha256"][name]]
        same = state["config"] == json.loads(json.dumps(dict(config)))
        with (folder / "curve.csv").open(newline="", encoding="utf-8") as file:
            rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("The checkpoint cannot be read.", _AGAIN) from error
    if damaged:
        raise InputError(f"The checkpoint is damaged: {', '.join(damaged)}.", _AGAIN)
    if not same:
        raise InputError("The checkpoint was made with another configuration.", _AGAIN)
    model.load_state_dict(read_tensors(folder / "weights.safetensors"))
    average.load_state_dict(read_tensors(folder / "average.safetensors"))
    moments = read_tensors(folder / "optimizer.safetensors")
    for name, parameter in model.named_parameters():
        own = {key.removeprefix(f"{name}."): value for key, value in moments.items() if key.startswith(f"{name}.")}
        if own.keys() == {"step", "exp_avg", "exp_avg_sq"}:
            optimizer.state[parameter] = {
                key: value if key == "step" else value.to(parameter.device, memory_format=_layout(parameter))
                for key, value in own.items()
            }
    return Progress(int(state["step"]), float(state["seconds"]), rows)


def write_tensors(path: Path, content: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, wherever and however they lie in memory.

    Raises:
        OutputError: they cannot be written.
    """
    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in content.items()}, path)
    except (OSError, SafetensorError) as error:
        raise OutputError("Weights or blocks cannot be written.", "Check free space and permissions.") from error


def write_halves(path: Path, network: nn.Module) -> None:
    """Write the weights of a network in 16 bits, as models have them.

    Raises:
        OutputError: they cannot be written.
    """
    write_tensors(path, {name: value.half() for name, value in network.state_dict().items()})


def read_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """Tensors of a safetensors file, copied, so that the file can be replaced while they are used.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return {name: value.clone() for name, value in load_file(path, device=device).items()}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path.name} cannot be read.", "It is damaged or missing; make it again.") from error


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def _layout(parameter: Tensor) -> torch.memory_format:
    if parameter.dim() == 5 and parameter.is_contiguous(memory_format=torch.channels_last_3d):
        return torch.channels_last_3d
    if parameter.dim() == 4 and parameter.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def _write_curve(path: Path, rows: list[dict[str, float]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
