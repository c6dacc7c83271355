"""A model's folder: float16 weights and a card, as in Resources/models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.models.cards import Card, Figure
from VertebralGradingLib.models.weights import describe_file

Arrays = Mapping[str, NDArray[Any]]


def parsed(parser: argparse.ArgumentParser, more: str = "") -> tuple[argparse.Namespace, dict[str, Any]]:
    """The arguments of a script that packages a model, with ``out`` for its folder's parent, and what ``--about`` says.

    Args:
        parser: has the script's own arguments.
        more: what else ``--about`` must say.
    """
    told = f"JSON: version, min_program_version, trained_on, license_text, figures{more}"
    parser.add_argument("--about", type=Path, required=True, help=told)
    parser.add_argument("--out", type=Path, default=Path("Resources/models"))
    args = parser.parse_args()
    return args, json.loads(args.about.read_text(encoding="utf-8"))


def write_model(
    folder: Path,
    method: str,
    summary: str,
    files: Mapping[str, Arrays],
    about: Mapping[str, Any],
    config: dict[str, Any],
) -> Card:
    """Write FOLDER/card.json and the weights; the folder's name is the model's.

    Args:
        folder: made when missing.
        method: the part of the program that uses it.
        summary: one sentence.
        files: file name -> arrays; floating ones are stored in 16 bits where they are weights of a network.
        about: version, min_program_version, trained_on, license_text, figures.
        config: what the model's own code needs.
    """
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in files.items():
        save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, folder / name)
    card = Card(
        name=folder.name,
        version=about["version"],
        method=method,
        summary=summary,
        min_program_version=about["min_program_version"],
        files=tuple(describe_file(folder / name) for name in files),
        license="Apache-2.0",
        license_text=about["license_text"],
        trained_on=about["trained_on"],
        figures=tuple(
            Figure(
                f["name"], f["value"], None if f["interval"] is None else tuple(f["interval"]), f["data"], f["command"]
            )
            for f in about["figures"]
        ),
        config=config,
    )
    (folder / "card.json").write_bytes(card.to_json())
    return card


def halves(arrays: Arrays) -> Arrays:
    """The same in 16 bits."""
    return {name: array.astype(np.float16) for name, array in arrays.items()}
