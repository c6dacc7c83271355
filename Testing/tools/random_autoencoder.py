"""A model of the diffusion autoencoder that knows nothing: of the right form, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from VertebralGradingLib.diffusion_autoencoder.blocks import ResidualBlock
from VertebralGradingLib.diffusion_autoencoder.inference import FILES, MODEL
from VertebralGradingLib.diffusion_autoencoder.network import AutoencoderConfig, DiffusionAutoencoder
from VertebralGradingLib.training import autoencoder
from VertebralGradingLib.training.latent import Labelled, fit_grader

from .packing import halves, write_model

ABOUT = {"version": "99.0.0", "min_program_version": "0.0.1", "trained_on": "Nothing.", "license_text": "A test.",
         "figures": []}  # fmt: skip


def write_random_autoencoder(models: Path) -> Path:
    """Write it into a folder of models; its images differ with grade, but mean nothing.

    Returns:
        Its own folder.
    """
    folder = models / MODEL
    torch.manual_seed(1)
    config = AutoencoderConfig.from_dict({**autoencoder.configured("tiny").network.to_dict(), "spacing_mm": 4.0})
    model = DiffusionAutoencoder(config)
    torch.nn.init.normal_(model.denoiser.last.weight, std=0.05)
    for block in model.modules():
        if isinstance(block, ResidualBlock):
            torch.nn.init.normal_(block.conv2.weight, std=0.1)
    rng = np.random.default_rng(0)
    grade = rng.choice([0, 2, 3], 120)
    z = rng.normal(size=(120, config.latent)) + 0.8 * grade[:, None]
    data = Labelled(z, grade, [f"s{k % 20}" for k in range(120)], rng.uniform(1, 17, 120))
    grader = fit_grader(data, draws=3, strength=0.01)
    parts = {"encoder": model.encoder, "denoiser": model.denoiser}
    files = {
        FILES[name]: halves({key: value.numpy() for key, value in part.state_dict().items()})
        for name, part in parts.items()
    }
    files[FILES["latent"]] = grader.to_arrays()
    write_model(folder, "dae", "A test.", files, ABOUT, {"network": config.to_dict(), "calibration": "poly3"})
    return folder
