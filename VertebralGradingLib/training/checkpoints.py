"""What a run leaves on disk, so that it can be resumed: safetensors and JSON, never half written.

::

    OUT/state.json              step, seconds, seed, configuration, sha256 of the files below
    OUT/weights.safetensors     trained weights
    OUT/average.safetensors     their moving average, which is what is evaluated and shipped
    OUT/optimizer.safetensors   both moments of AdamW by parameter name
    OUT/curve.csv               one row for each logged step
    OUT/snapshots/STEP.safetensors   averages kept on the way, to select from
    OUT/samples/STEP.png        pictures of what the network does
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
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
    try:
        out.mkdir(parents=True, exist_ok=True)
        sums = {}
        for name, content in contents.items():
            write_tensors(out / f"{name}.safetensors.new", content)
            sums[name] = describe_file(out / f"{name}.safetensors.new").sha256
        state = {"step": progress.step, "seconds": progress.seconds, "config": dict(config), "sha256": sums}
        (out / "state.json.new").write_text(json.dumps(state, indent=1), encoding="utf-8")
        _write_curve(out / "curve.csv.new", progress.rows)
        for name in (*(f"{key}.safetensors" for key in contents), "curve.csv", "state.json"):
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
        files = {name: describe_file(out / f"{name}.safetensors").sha256 for name in FILES}
        damaged = [name for name, found in files.items() if found != state["sha256"][name]]
    except (OSError, ValueError, KeyError) as error:
        raise InputError("The checkpoint cannot be read.", _AGAIN) from error
    if damaged:
        raise InputError(f"The checkpoint is damaged: {', '.join(damaged)}.", _AGAIN)
    if state["config"] != json.loads(json.dumps(dict(config))):
        raise InputError("The checkpoint was made with another configuration.", _AGAIN)
    model.load_state_dict(load_file(out / "weights.safetensors"))
    average.load_state_dict(load_file(out / "average.safetensors"))
    moments = load_file(out / "optimizer.safetensors")
    for name, parameter in model.named_parameters():
        own = {key.removeprefix(f"{name}."): value for key, value in moments.items() if key.startswith(f"{name}.")}
        if own.keys() == {"step", "exp_avg", "exp_avg_sq"}:
            optimizer.state[parameter] = {
                key: value if key == "step" else value.to(parameter.device, memory_format=_layout(parameter))
                for key, value in own.items()
            }
    with (out / "curve.csv").open(newline="", encoding="utf-8") as file:
        rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    return Progress(int(state["step"]), float(state["seconds"]), rows)


def write_tensors(path: Path, content: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, wherever and however they lie in memory."""
    save_file({name: value.detach().cpu().contiguous() for name, value in content.items()}, path)


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
