"""A model of HealthiVert-GAN's generators with random weights, for tests of everything around the networks."""

from __future__ import annotations

from pathlib import Path

import torch

from VertebralGradingLib.healthivert.attention import SliceClassifier
from VertebralGradingLib.healthivert.inference import MODEL, VIEWS, Healthivert, classifier_file
from VertebralGradingLib.healthivert.network import Generator, GeneratorConfig
from VertebralGradingLib.healthivert.synthesis import ViewNetworks

from .packing import write_model

CONFIG = GeneratorConfig(size=128, gap=40, width=4, attention=False, level=True)
_CLASSIFIER = 4
_ABOUT = {
    "version": "99.0.0",  # newer than the one that comes along
    "min_program_version": "0.0.1",
    "trained_on": "Nothing: random weights.",
    "license_text": "Apache License 2.0.",
    "figures": [],
}


def random_networks(height: float = 0.6) -> Healthivert:
    """Networks with random weights that expect a body to fill a given share of the gap, and draw it as a box."""
    torch.manual_seed(0)
    views = {}
    for view in VIEWS:
        generator = Generator(CONFIG).eval().requires_grad_(False)
        for head in (generator.coarse.height, generator.fine.height):
            head.line.weight.zero_()
            head.line.bias.fill_(float(torch.logit(torch.tensor(height))))
        generator.fine.label.weight.zero_()
        generator.fine.label.bias.fill_(4.0)
        views[view] = ViewNetworks(generator, SliceClassifier(_CLASSIFIER).eval().requires_grad_(False))
    return Healthivert(views)


def write_random_healthivert(root: Path, height: float = 0.6) -> Path:
    """Write ROOT/healthivert; returns its folder."""
    system, files, config = random_networks(height), {}, {"calibration": [0.0, 0.0, 0.0, 0.0], "sd_loss": 0.05}
    for view in VIEWS:
        networks = system.views[view]
        assert networks.classifier is not None
        files[f"{view}.safetensors"] = {k: v.numpy() for k, v in networks.generator.state_dict().items()}
        files[classifier_file(view)] = {k: v.numpy() for k, v in networks.classifier.state_dict().items()}
        config[view] = {"network": CONFIG.to_dict(), "classifier": _CLASSIFIER}
    write_model(root / MODEL, "healthivert", "Random weights, for tests.", files, _ABOUT, config)
    return root / MODEL
