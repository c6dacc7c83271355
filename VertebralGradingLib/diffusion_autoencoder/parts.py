"""Learned parts of counterfactuals as training runs left them, beside the installed model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralGradingLib.diffusion_autoencoder.flow import FlowConfig, LatentFlow
from VertebralGradingLib.diffusion_autoencoder.head import SIZE, SPACING_MM, HeadConfig, WarpHead, seen_of
from VertebralGradingLib.diffusion_autoencoder.inference import FILES, Autoencoder
from VertebralGradingLib.diffusion_autoencoder.network import AutoencoderConfig, NoisePredictor
from VertebralGradingLib.diffusion_autoencoder.patches import to_network
from VertebralGradingLib.diffusion_autoencoder.refine import wanted_latent
from VertebralGradingLib.errors import InputError, MethodError
from VertebralGradingLib.models.weights import read_arrays


def with_denoiser(installed: Autoencoder, folder: Path) -> Autoencoder:
    """The installed system with the noise predictor of a run that kept its encoder.

    Raises:
        InputError: the folder holds none, or it goes with another encoder.
    """
    with _reading("noise predictor"):
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        config = AutoencoderConfig.from_dict(state["config"]["network"])
        denoiser = NoisePredictor(config)
        denoiser.load_state_dict(_tensors(folder / FILES["denoiser"]))
        encoder = _tensors(folder / FILES["encoder"])
        own = installed.encoder.state_dict()
        if own.keys() != encoder.keys() or any((own[n].float() - v).abs().max() > 1e-2 for n, v in encoder.items()):
            raise ValueError("another encoder")
    return Autoencoder(config, installed.encoder, denoiser, installed.grader, installed.device, installed.strength)


def head_of(folder: Path) -> WarpHead:
    """The warp head of a run.

    Raises:
        InputError: the folder holds none.
    """
    with _reading("warp head"):
        weights = _tensors(folder / "head.safetensors")
        width, latents = weights["first.weight"].shape[0], weights["narrow.weight"].shape[1]
        head = WarpHead(HeadConfig(latents // 2, width, weights["narrow.weight"].shape[0]))
        head.load_state_dict(weights)
    return head.eval().requires_grad_(False)


def flow_of(folder: Path) -> LatentFlow:
    """The flow on latents of a run.

    Raises:
        InputError: the folder holds none.
    """
    with _reading("flow"):
        weights = _tensors(folder / "flow.safetensors")
        kept, latent = weights["basis"].shape
        layers = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
        flow = LatentFlow(FlowConfig(latent, kept, layers, weights["layers.0.0.weight"].shape[0]))
        flow.load_state_dict(weights)
    return flow.eval().requires_grad_(False)


@torch.inference_mode()
def correction(
    system: Autoencoder,
    head: WarpHead,
    patch: NDArray[Any],
    warped: NDArray[Any],
    bodies: NDArray[Any],
    flow: NDArray[Any],
    score: float,
    latent: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """(2, 64, 64) mm down and across, at 2 mm, from places of the corrected picture to those of the warped one.

    Args:
        system: whose encoder tells the latents.
        head: trained with that encoder.
        patch: (128, 128) HU as it is.
        warped: (128, 128) HU.
        bodies: (128, 128) in the warped picture: 1 the vertebra's, 2 that above, 3 that below.
        flow: (2, 128, 128) mm, of the warp.
        score: wanted.
        latent: (L,) instead of that of the patch.
    """
    z = torch.from_numpy((system.encode(patch[None])[0] if latent is None else latent).astype(np.float32))[None]
    picture, field = (torch.from_numpy(np.asarray(a, dtype=np.float32))[None] for a in (warped, flow))
    seen = seen_of(to_network(picture[:, None], SIZE, SPACING_MM), torch.from_numpy(np.asarray(bodies))[None], field)
    return np.asarray(head(seen, z, wanted_latent(z, torch.tensor([score])))[0].numpy(), dtype=np.float32)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.asarray(value, dtype=np.float32)) for name, value in read_arrays(path).items()}


class _reading:  # noqa: N801 - a context manager
    """Turn what can go wrong with a folder into one error."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OSError, KeyError, TypeError, ValueError, RuntimeError, MethodError)):
            raise InputError(
                f"The folder holds no {self.what} that fits.", "Give the folder that was given to train --out."
            ) from error
