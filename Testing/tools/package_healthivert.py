"""Make a model out of two runs of HealthiVert-GAN, sagittal and coronal."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from packing import halves, write_model

from VertebralGradingLib.healthivert.inference import MODEL, VIEWS, classifier_file
from VertebralGradingLib.models.weights import read_arrays


def main() -> None:
    """Write OUT/healthivert with card, generators and classifiers."""
    parser = argparse.ArgumentParser()
    for view in VIEWS:
        parser.add_argument(f"--{view}", type=Path, required=True, help="folder of train healthivert --out")
    parser.add_argument(
        "--about",
        type=Path,
        required=True,
        help="JSON: version, min_program_version, trained_on, license_text, figures",
    )
    parser.add_argument("--out", type=Path, default=Path("Resources/models"))
    args = parser.parse_args()
    files, config = {}, {}
    for view in VIEWS:
        folder = getattr(args, view)
        told = json.loads((folder / "state.json").read_text(encoding="utf-8"))["config"]
        files[f"{view}.safetensors"] = halves(read_arrays(folder / "generator.safetensors"))
        files[classifier_file(view)] = halves(read_arrays(folder / "classifier.safetensors"))
        config[view] = {"network": told["network"], "classifier": told["classifier"]["width"]}
    about = json.loads(args.about.read_text(encoding="utf-8"))
    summary = "Draws what a vertebra may have looked like before it broke; the height that is missing grades it."
    card = write_model(args.out / MODEL, "healthivert", summary, files, about, config)
    print(f"{args.out / MODEL}: {sum(item.bytes for item in card.files) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
