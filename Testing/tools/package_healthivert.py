"""Make a model out of two runs of HealthiVert-GAN, sagittal and coronal."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from packing import halves, parsed, write_model

from VertebralGradingLib.evaluation.height_loss import NETWORK, TRUE, Row, healthy_columns, judge
from VertebralGradingLib.healthivert.calibration import Calibration
from VertebralGradingLib.healthivert.inference import MODEL, VIEWS, Healthivert, classifier_file
from VertebralGradingLib.healthivert.rhlv import View
from VertebralGradingLib.models.weights import read_arrays
from VertebralGradingLib.phantom.drawer import seed_of
from VertebralGradingLib.phantom.plans import plan
from VertebralGradingLib.phantom.subjects import make_subject

_EVERY = 14
_CALIBRATED, _SPREAD = 8100, 991
"""Seeds of the spines that heights are calibrated on, and of those whose losses' spread is told."""


def fitted(spines: int, runs: dict[View, Path]) -> dict[str, Any]:
    """The calibration of two runs on unbroken vertebrae of synthetic spines.

    ``sd_loss`` is the root mean square error of a third's loss on vertebrae of others, with grades as in VerSe 2019.
    """
    torch.set_num_threads(1)
    system = Healthivert.of_runs(runs)
    found = []
    for n in range(spines):
        subject = make_subject(plan("uniform", spines, _CALIBRATED)[n], _CALIBRATED + n)
        found += list(healthy_columns(subject, system))
    calibration = Calibration.fit(*(np.concatenate(part) for part in zip(*found, strict=True)))
    print(f"calibrated on {len(found)} vertebrae: {[round(t, 4) for t in calibration.to_list()]}")
    system, rows = replace(system, calibration=calibration), list[Row]()
    for number, wanted in list(enumerate(plan("verse19-1460", 0, _SPREAD)))[::_EVERY]:
        seed = seed_of(_SPREAD, number)
        rows += list(judge(make_subject(wanted, seed), system))
    errors = [np.subtract(row.features[NETWORK][:3], row.features[TRUE][:3]) for row in rows if NETWORK in row.features]
    sd = float(np.sqrt(np.nanmean(np.square(errors))))
    print(f"error of a third's loss on {len(errors)} other vertebrae: {sd:.4f}")
    return {"calibration": calibration.to_list(), "sd_loss": sd}


def main() -> None:
    """Write OUT/healthivert with card, generators and classifiers."""
    parser = argparse.ArgumentParser()
    for view in VIEWS:
        parser.add_argument(f"--{view}", type=Path, required=True, help="folder of train healthivert --out")
    parser.add_argument("--calibrate", type=int, default=40, help="synthetic spines that heights are calibrated on")
    args, about = parsed(parser)
    files: dict[str, Any] = {}
    config: dict[str, Any] = fitted(args.calibrate, {view: getattr(args, view) for view in VIEWS})
    for view in VIEWS:
        folder = getattr(args, view)
        told = json.loads((folder / "state.json").read_text(encoding="utf-8"))["config"]
        files[f"{view}.safetensors"] = halves(read_arrays(folder / "generator.safetensors"))
        files[classifier_file(view)] = halves(read_arrays(folder / "classifier.safetensors"))
        config["frame"] = told["slices"].get("frame", "plane")
        config[view] = {"network": told["network"], "classifier": told["classifier"]["width"]}
    summary = "Draws what a vertebra may have looked like before it broke; the height that is missing grades it."
    card = write_model(args.out / MODEL, "healthivert", summary, files, about, config)
    print(f"{args.out / MODEL}: {sum(item.bytes for item in card.files) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
