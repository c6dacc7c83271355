"""Make a model out of trained weights of the body network: float16 weights and a card, as in Resources/models."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from VertebralGradingLib.models.cards import Card, Figure
from VertebralGradingLib.models.weights import describe_file, read_arrays
from VertebralGradingLib.segmentation.learned import FILE, MODEL, Calibration, channels_of


def main() -> None:
    """Write OUT/body-segmentation/card.json and network.safetensors."""
    from safetensors.numpy import save_file

    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path, help="snapshot or average of a run")
    parser.add_argument(
        "--about",
        type=Path,
        required=True,
        help="JSON: version, min_program_version, trained_on, license_text, figures, calibration",
    )
    parser.add_argument("--out", type=Path, default=Path("Resources/models"))
    args = parser.parse_args()
    about = json.loads(args.about.read_text(encoding="utf-8"))
    arrays = read_arrays(args.weights)
    folder = args.out / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: array.astype(np.float16) for name, array in arrays.items()}, folder / FILE)
    calibration = Calibration(**about["calibration"])
    card = Card(
        name=MODEL,
        version=about["version"],
        method="segmentation",
        summary="Finds the body of one vertebra in a straightened block of CT around its centroid.",
        min_program_version=about["min_program_version"],
        files=(describe_file(folder / FILE),),
        license="Apache-2.0",
        license_text=about["license_text"],
        trained_on=about["trained_on"],
        figures=tuple(
            Figure(
                f["name"], f["value"], None if f["interval"] is None else tuple(f["interval"]), f["data"], f["command"]
            )
            for f in about["figures"]
        ),
        config={"network": {"channels": channels_of(arrays)}, "calibration": vars(calibration)},
    )
    (folder / "card.json").write_bytes(card.to_json())
    print(f"{folder}: {sum(item.bytes for item in card.files) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
