"""What a warp leaves: a warped picture redrawn near its vertebra by the noise predictor that is shown it.

The network sees 2 mm pixels. What it changes is added to the warped picture, so that grain and edges stay those of the
patient's own scan, and far from the vertebra nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor
from torch.nn import functional

from VertebralGradingLib.diffusion_autoencoder import WINDOW_HU
from VertebralGradingLib.diffusion_autoencoder.inference import Autoencoder
from VertebralGradingLib.diffusion_autoencoder.network import AutoencoderConfig
from VertebralGradingLib.diffusion_autoencoder.patches import finer, to_network
from VertebralGradingLib.diffusion_autoencoder.sampler import Schedule, clean_of
from VertebralGradingLib.errors import InputError, MethodError
from VertebralGradingLib.spine.reformation import PATCH_SIZE

REACH_MM = (4.0, 9.0)
"""From the body, up to where all of the change is taken, and from where on none."""


@dataclass(frozen=True)
class RefineConfig:
    """How a warped picture is redrawn.

    Attributes:
        start: time (0..T-1) to which it is given noise first: the more, the more may change.
        steps: of the predictor, 1 to 8.
        draws: of noise, whose pictures are averaged.
        share: of the change that is taken.
        smooth_mm: standard deviation by which the change is smoothed first, so that grain is neither added nor lost.

    The usual ones were chosen on held-out pairs (``Testing/benchmarks/refine_choice.py``).
    """

    start: int = 400
    steps: int = 1
    draws: int = 4
    share: float = 0.75
    smooth_mm: float = 1.5


def shown_of(warped: Tensor, body: Tensor, config: AutoencoderConfig) -> Tensor:
    """What the predictor is shown (:data:`network.SHOWN`): (B, 2, size, size).

    Args:
        warped: (B, 1, 128, 128) HU.
        body: (B, 1, 128, 128) 0 or 1.
        config: of the networks.
    """
    step = int(config.spacing_mm)
    small = functional.avg_pool2d(body.float(), step) if step > 1 else body.float()
    cut = (small.shape[-1] - config.size) // 2
    small = small[..., cut : cut + config.size, cut : cut + config.size]
    return torch.cat([to_network(warped, config.size, config.spacing_mm), small], 1)


def wanted_latent(z: Tensor, score: Tensor) -> Tensor:
    """(B, L) latents of an encoder trained with labels, at other scores (B,): the first number is the score."""
    return torch.cat([score[:, None].to(z.dtype), z[:, 1:]], 1)


def near(body: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N, N) share of the change that is taken: 1 at and around a body, 0 away from it."""
    if not body.any():
        return np.zeros(body.shape, dtype=np.float32)
    distance = distance_transform_edt(~body)
    part = np.clip((REACH_MM[1] - distance) / (REACH_MM[1] - REACH_MM[0]), 0.0, 1.0)
    return np.asarray(part * part * (3.0 - 2.0 * part), dtype=np.float32)


@torch.inference_mode()
def refined(
    system: Autoencoder,
    patch: NDArray[Any],
    warped: NDArray[Any],
    body: NDArray[np.bool_],
    score: float,
    config: RefineConfig | None = None,
    latent: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """A warped picture with what a warp cannot draw.

    Args:
        system: whose noise predictor can be shown a warp.
        patch: (128, 128) HU at 1 mm, as it is.
        warped: (128, 128) HU, warped to the wanted score.
        body: (128, 128) the body in it.
        score: wanted, 0..3.
        config: how.
        latent: (L,) instead of that of the patch.

    Returns:
        (128, 128) HU.

    Raises:
        MethodError: the model cannot be shown a warp.
        InputError: steps or shape that cannot be used.
    """
    how = config or RefineConfig()
    if system.denoiser is None or not system.config.warped or not system.labelled:
        raise MethodError("This model cannot be shown a warped picture.", "Install one that can.")
    if not 1 <= how.steps <= 8 or not 0 < how.start < 1000 or how.draws < 1:
        raise InputError("A warped picture cannot be redrawn so.", "Give 1 to 8 steps, from a time of 1 to 999.")
    if warped.shape != (PATCH_SIZE, PATCH_SIZE) or not np.isfinite(warped).all():
        raise InputError(f"The patch is not {PATCH_SIZE} x {PATCH_SIZE} pixels of 1 mm.", "Cut it with sagittal_patch.")
    z = torch.from_numpy((system.encode(patch[None])[0] if latent is None else latent).astype(np.float32))[None]
    wish = wanted_latent(z, torch.tensor([score])).to(system.device)
    hu, mask = (torch.from_numpy(np.asarray(a, dtype=np.float32))[None, None].to(system.device) for a in (warped, body))
    shown = shown_of(hu, mask, system.config)
    found = one_go(system.denoiser, shown, wish, how)
    made, given = (finer(x, system.config.spacing_mm) for x in (found.mean(0, keepdim=True), shown[:, :1]))
    cut = (PATCH_SIZE - made.shape[-1]) // 2
    change = functional.pad(made - given, (cut,) * 4)[0, 0].cpu().numpy()
    change = gaussian_filter(change, how.smooth_mm)
    low, high = WINDOW_HU
    return np.asarray(warped + how.share * near(body) * change * ((high - low) / 2.0), dtype=np.float32)


def one_go(denoiser: Any, shown: Tensor, wish: Tensor, how: RefineConfig) -> Tensor:
    """(draws, 1, size, size) pictures in -1..1 out of one that is shown, by DDIM from some noise."""
    schedule, size = Schedule(), shown.shape[-1]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((how.draws, 1, size, size), generator=generator).to(shown.device)
    latent, seen = wish.expand(how.draws, -1), shown.expand(how.draws, -1, -1, -1)
    drawn = None if denoiser.guide is None else denoiser.guide(latent)
    times = np.round(np.linspace(how.start, 0, how.steps + 1)).astype(int)
    x = schedule.noisy(seen[:, :1], noise, torch.full((how.draws,), int(times[0]), device=shown.device))
    clean = x
    for time, after in pairwise(times):
        at = torch.full((how.draws,), int(time), device=shown.device)
        guess = denoiser(x.contiguous(memory_format=torch.channels_last), at, latent, drawn, seen).float()
        clean, guess = clean_of(x, guess, float(schedule.alpha_bar[time]), clip=True)
        share = float(schedule.alpha_bar[after])
        x = share**0.5 * clean + (1.0 - share) ** 0.5 * guess
    return clean
