"""Make a model out of two runs of HealthiVert-GAN, sagittal and coronal."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from packing import halves, write_model

from VertebralGradingLib.evaluation.height_loss import healthy_columns
from VertebralGradingLib.healthivert.calibration import Calibration, design
from VertebralGradingLib.healthivert.inference import MODEL, VIEWS, Healthivert, classifier_file
from VertebralGradingLib.healthivert.rhlv import View
from VertebralGradingLib.models.weights import read_arrays
from VertebralGradingLib.phantom.plans import plan
from VertebralGradingLib.phantom.subjects import make_subject

_SEED = 8100
"""Of the spines that heights are calibrated on; neither training nor any evaluation uses it."""


def fitted(spines: int, runs: dict[View, Path]) -> dict[str, Any]:
    """The calibration of two runs on unbroken vertebrae of synthetic spines, and the spread of their losses."""
    torch.set_num_threads(1)
    system = Healthivert.of_runs(runs)
    found = []
    for n in range(spines):
        subject = make_subject(plan("uniform", spines, _SEED)[n], _SEED + n)
        found += list(healthy_columns(subject, system))
    calibration = Calibration.fit(*(np.concatenate(part) for part in zip(*found, strict=True)))
    losses = []
    for u, v, log_ratio in found:
        rest = 1.0 - np.exp(-(log_ratio - design(u, v) @ np.array(calibration.to_list())))
        losses += [float(rest[(u >= low) & (u < low + 2 / 3)].mean()) for low in (-1.0, -1 / 3, 1 / 3)]
    sd = float(np.nanstd(losses))
    print(
        f"calibrated on {len(found)} vertebrae: {[round(t, 4) for t in calibration.to_list()]}, sd of a third {sd:.4f}"
    )
    return {"calibration": calibration.to_list(), "sd_loss": sd}


def main() -> None:
    """Write OUT/healthivert with card, generators and classifiers."""
    parser = argparse.ArgumentParser()
    for view in VIEWS:
        parser.add_argument(f"--{view}", type=Path, required=True, help="folder of train healthivert --out")
    parser.add_argument("--calibrate", type=int, default=40, help="synthetic spines that heights are calibrated on")
    parser.add_argument(
        "--about",
        type=Path,
        required=True,
        help="JSON: version, min_program_version, trained_on, license_text, figures",
    )
    parser.add_argument("--out", type=Path, default=Path("Resources/models"))
    args = parser.parse_args()
    files: dict[str, Any] = {}
    config: dict[str, Any] = fitted(args.calibrate, {view: getattr(args, view) for view in VIEWS})
    for view in VIEWS:
        folder = getattr(args, view)
        told = json.loads((folder / "state.json").read_text(encoding="utf-8"))["config"]
        files[f"{view}.safetensors"] = halves(read_arrays(folder / "generator.safetensors"))
        files[classifier_file(view)] = halves(read_arrays(folder / "classifier.safetensors"))
        config["frame"] = told["slices"].get("frame", "plane")
        config[view] = {"network": told["network"], "classifier": told["classifier"]["width"]}
    about = json.loads(args.about.read_text(encoding="utf-8"))
    summary = "Draws what a vertebra may have looked like before it broke; the height that is missing grades it."
    card = write_model(args.out / MODEL, "healthivert", summary, files, about, config)
    print(f"{args.out / MODEL}: {sum(item.bytes for item in card.files) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
