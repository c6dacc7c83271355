"""What a warp leaves is learned from pairs: a head that corrects the warp, and a noise predictor that is shown it.

Both begin with the semantic encoder of a trained autoencoder, which stays as it is, so that grades, hyperplane and
calibration stay too.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from VertebralGradingLib.diffusion_autoencoder.flow import FlowConfig, LatentFlow
from VertebralGradingLib.diffusion_autoencoder.head import HeadConfig, WarpHead
from VertebralGradingLib.diffusion_autoencoder.inference import FILES, MODEL
from VertebralGradingLib.diffusion_autoencoder.network import AutoencoderConfig, DiffusionAutoencoder
from VertebralGradingLib.errors import InputError
from VertebralGradingLib.models.registry import find_model
from VertebralGradingLib.models.weights import read_arrays
from VertebralGradingLib.training.checkpoints import read_tensors, write_halves
from VertebralGradingLib.training.latent_flow import FlowTask
from VertebralGradingLib.training.loop import LoopConfig
from VertebralGradingLib.training.measured import Reader
from VertebralGradingLib.training.pairs import PairPlan, Pairs, fill
from VertebralGradingLib.training.runs import RunOptions, Source, run, unknown
from VertebralGradingLib.training.warped_tasks import HeadTask, RefineTask, WarpedTraining

STAGES = ("head", "refine", "measured", "flow")
_LOOPS = {
    "head": (LoopConfig(2000, 1e-3, 100, 1e-4, decay=0.998, log_every=50, save_seconds=300.0), 16),
    "refine": (LoopConfig(4000, 5e-4, 100, 0.0, decay=0.999, log_every=50, save_seconds=300.0), 24),
    "measured": (LoopConfig(400, 5e-5, 20, 0.0, decay=0.99, log_every=20, save_seconds=300.0), 4),
    "flow": (LoopConfig(3000, 1e-3, 50, 1e-3, decay=0.99, log_every=100, save_seconds=300.0, samples=0), 256),
}


def configured(stage: str, network: AutoencoderConfig, plan: PairPlan | None = None) -> WarpedTraining:
    """The configuration of a stage.

    Args:
        stage: one of :data:`STAGES`.
        network: of the autoencoder it begins with.
        plan: of the pairs, where not the usual one.

    Raises:
        InputError: another stage.
    """
    if stage not in STAGES:
        raise unknown("stage", stage, STAGES)
    loop, batch = _LOOPS[stage]
    return WarpedTraining(stage, plan or PairPlan(), loop, batch, replace(network, warped=1))


def train_warped(
    config: WarpedTraining,
    options: RunOptions,
    start: str | Path | None = None,
    reader: str | Path | None = None,
) -> nn.Module:
    """Render the pairs that are missing, train, and leave averaged weights in ``out``.

    ``average.safetensors`` holds them whole; ``head.safetensors``, ``flow.safetensors``, or ``denoiser.safetensors``
    with the ``encoder.safetensors`` it goes with, in 16 bits, are what a model is made of.

    Args:
        config: what and how.
        options: where and how long.
        start: folder of an earlier run of the stages "refine" and "measured" to begin with; the installed
            autoencoder's weights where missing.
        reader: weights of the body network that measures, for the stage "measured".

    Raises:
        InputError: no reader, or folders that belong to another configuration.
        MethodError: no autoencoder is installed, the loss is not finite, or the device is not there.
        OutputError: nothing can be written.
    """
    measuring = None
    if config.stage == "measured":
        if reader is None:
            raise InputError("The stage measured needs a body network.", "Give its weights as --reader.")
        measuring = Reader.of_file(Path(reader), options.device)
        config = replace(config, reader=measuring.sha256)

    def begin(folder: Path) -> tuple[nn.Module, HeadTask | RefineTask | FlowTask]:
        pairs = Pairs(folder, options.device)
        whole = begun(config.network, start)
        encoder = whole.encoder.eval().to(options.device)
        if config.stage == "head":
            return WarpHead(HeadConfig(latent=config.network.latent)), HeadTask(pairs, config, encoder)
        if config.stage == "flow":
            task = FlowTask(pairs, config, encoder)
            kept = min(FlowConfig().kept, config.network.latent, 2 * len(pairs))
            flow = LatentFlow(FlowConfig(latent=config.network.latent, kept=kept - kept % 2))
            flow.fit_directions(task.z.flatten(0, 1))
            return flow, task
        whole.encoder.requires_grad_(False)
        return whole, RefineTask(pairs, config, encoder, reader=measuring)

    average = run(config, Source("pairs", config.pairs, fill, _no_folder), begin, options)
    if isinstance(average, DiffusionAutoencoder):
        for name, part in (("encoder", average.encoder), ("denoiser", average.denoiser)):
            write_halves(Path(options.out) / f"{name}.safetensors", part)
    else:
        write_halves(Path(options.out) / f"{config.stage}.safetensors", average)
    return average


def installed_network() -> AutoencoderConfig:
    """Layout of the installed autoencoder.

    Raises:
        MethodError: there is none.
    """
    return AutoencoderConfig.from_dict(find_model(MODEL).verify().config["network"])


def begun(network: AutoencoderConfig, start: str | Path | None) -> DiffusionAutoencoder:
    """The networks that training begins with: of a run, or the installed ones, blind to warps at first.

    Raises:
        InputError: the weights are of another layout.
        MethodError: no autoencoder is installed.
    """
    model = DiffusionAutoencoder(network)
    if start is not None:
        weights = read_tensors(Path(start) / "average.safetensors")
    else:
        shipped = find_model(MODEL)
        shipped.verify()
        weights = {
            f"{part}.{name}": torch.from_numpy(np.asarray(value, dtype=np.float32))
            for part in ("encoder", "denoiser")
            for name, value in read_arrays(shipped.path(FILES[part])).items()
        }
    name = "denoiser.first.weight"
    wanted = model.state_dict()[name]
    if name in weights and weights[name].shape[1] < wanted.shape[1] and len(weights[name]) == len(wanted):
        wider = torch.zeros_like(wanted)
        wider[:, : weights[name].shape[1]] = weights[name]
        weights[name] = wider
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError("The weights to begin with are of another layout.", "Choose the same model.") from error
    return model


def _no_folder(*_: Any) -> None:
    raise InputError("Pairs are made of phantoms only.", "Leave out --data.")
