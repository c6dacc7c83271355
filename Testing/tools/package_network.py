"""Make a model out of trained weights of the body network: float16 weights and a card, as in Resources/models."""

from __future__ import annotations

import argparse
from pathlib import Path

from packing import halves, parsed, write_model

from VertebralGradingLib.models.weights import read_arrays
from VertebralGradingLib.segmentation.learned import FILE, MODEL, Calibration, channels_of


def main() -> None:
    """Write OUT/body-segmentation/card.json and network.safetensors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path, help="snapshot or average of a run")
    args, about = parsed(parser, ", calibration")
    arrays = read_arrays(args.weights)
    config = {"network": {"channels": channels_of(arrays)}, "calibration": vars(Calibration(**about["calibration"]))}
    summary = "Finds the body of one vertebra in a straightened block of CT around its centroid."
    card = write_model(args.out / MODEL, "segmentation", summary, {FILE: halves(arrays)}, about, config)
    print(f"{args.out / MODEL}: {sum(item.bytes for item in card.files) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
