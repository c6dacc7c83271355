"""Make a model out of a run of the diffusion autoencoder: its networks, and a latent grader fitted on labelled data."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from packing import halves, parsed, write_model

from VertebralGradingLib.diffusion_autoencoder.inference import FILES, MODEL, PatchEncoder
from VertebralGradingLib.evaluation.latent import collect, encoded
from VertebralGradingLib.models.weights import read_arrays
from VertebralGradingLib.training.latent import fit_grader


def main() -> None:
    """Write OUT/diffusion-autoencoder with card, encoder, denoiser and latent grader."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path, help="folder of train dae --out")
    parser.add_argument("--data", type=Path, required=True, help="VerSe-style folder; its train split is fitted to")
    parser.add_argument("--calibration", default="poly3", help="the one that grades")
    parser.add_argument("--strength", type=float, default=1.0, help="of drawing (inference.Autoencoder)")
    args, about = parsed(parser)
    encoder = PatchEncoder.of_run(args.run)
    train = encoded(collect(args.data)["train"], encoder.encode)
    grader = fit_grader(train.data, calibration=args.calibration, first=encoder.labelled)
    latent = {
        name: array if array.dtype.kind == "i" else array.astype(np.float32)
        for name, array in grader.to_arrays().items()
    }
    files = {FILES[name]: halves(read_arrays(args.run / FILES[name])) for name in ("encoder", "denoiser")}
    files[FILES["latent"]] = latent
    config = {"network": encoder.config.to_dict(), "calibration": args.calibration, "strength": args.strength}
    summary = "Grades a vertebra by the latent of its sagittal patch, and draws it at other grades."
    card = write_model(args.out / MODEL, "dae", summary, files, about, config)
    print(f"{args.out / MODEL}: {sum(item.bytes for item in card.files) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
