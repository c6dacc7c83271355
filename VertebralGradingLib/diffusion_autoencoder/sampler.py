"""Noise schedule, DDIM in both directions, and DPM-Solver++ for few steps. Knows nothing of networks or vertebrae.

A predictor is any function (x, time) -> noise: x (B, ...), time (B,) 0..T-1. Steps follow the published code (sheet 1,
section 5): times 0, T/n, 2T/n, ...; a clean image is taken for one of time 0, and encoding ends at pure noise.
Sums over the schedule are kept in float32, whatever the predictor computes in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Predictor = Callable[[Tensor, Tensor], Tensor]
Progress = Callable[[int, int], None]
Solver = Literal["ddim", "dpm++"]

TIMES = 1000
"""T: noise levels the predictor is trained on."""


@dataclass(frozen=True)
class Preset:
    """How an image is taken to noise and back.

    Attributes:
        encode_steps, decode_steps: of the two ways.
        decode_solver: of the way back; there is DDIM only for the way to noise.
    """

    encode_steps: int
    decode_steps: int
    decode_solver: Solver = "ddim"


PRESETS = {"paper": Preset(250, 100), "fine": Preset(100, 50), "live": Preset(50, 20)}
"""``paper`` is the published one; ``live`` is for previews, chosen from the table of
``Testing/benchmarks/round_trip.py``: there DDIM lost less than DPM-Solver++ at 10 and 20 steps back."""


class Schedule:
    """Shares of signal at each time: linear beta from 1e-4 to 0.02 (scaled by 1000 / T).

    Args:
        times: T.
    """

    def __init__(self, times: int = TIMES) -> None:
        scale = 1000.0 / times
        beta = np.linspace(scale * 1e-4, scale * 0.02, times)
        self.times = times
        self.alpha_bar: NDArray[np.float64] = np.cumprod(1.0 - beta).astype(np.float64)
        """(T,) share of the signal's variance that is left."""

    def noisy(self, clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Images (B, ...) with the noise of times (B,)."""
        share = self._share(clean, time)
        return share.sqrt() * clean + (1.0 - share).sqrt() * noise

    def noise_between(self, noisy: Tensor, clean: Tensor, time: Tensor) -> Tensor:
        """The noise that, taken off, leaves ``clean``: all (B, ...), times (B,); :meth:`noisy` the other way."""
        share = self._share(clean, time)
        return (noisy - share.sqrt() * clean) / (1.0 - share).sqrt()

    def _share(self, images: Tensor, time: Tensor) -> Tensor:
        """Of the signal's variance at times (B,), of as many dimensions as images (B, ...)."""
        share = torch.as_tensor(self.alpha_bar, dtype=torch.float32, device=images.device)[time]
        return share.reshape(-1, *[1] * (images.dim() - 1))

    def evenly(self, steps: int) -> NDArray[np.intp]:
        """(steps,) times 0, T/n, 2T/n, ...

        Raises:
            ValueError: not between 1 and T.
        """
        if not 1 <= steps <= self.times:
            raise ValueError(f"steps must be 1 to {self.times}")
        return (np.arange(steps) * self.times / steps).astype(np.intp)


def clean_of(x: Tensor, noise: Tensor, share: float, clip: bool) -> tuple[Tensor, Tensor]:
    """The clean image that ``x`` and its predicted noise stand for, and the noise that goes with it.

    Args:
        x: (B, ...) at a share ``share`` of the signal's variance.
        noise: as predicted.
        share: alpha bar.
        clip: whether the image is cut to -1..1; the noise follows.
    """
    clean = (x - (1.0 - share) ** 0.5 * noise) / share**0.5
    if clip:
        clean = clean.clamp(-1.0, 1.0)
        noise = (x - share**0.5 * clean) / max((1.0 - share) ** 0.5, 1e-8)
    return clean, noise


@torch.no_grad()
def ddim_encode(
    predict: Predictor,
    clean: Tensor,
    steps: int,
    schedule: Schedule | None = None,
    clip: bool = True,
    progress: Progress | None = None,
) -> Tensor:
    """The noise x_T that an image comes from (DDIM run forwards, eta 0).

    Args:
        predict: noise of (x, time).
        clean: (B, ...) in -1..1.
        steps: of the predictor.
        schedule: the one it was trained with.
        clip: see :func:`clean_of`.
        progress: called with (done, steps).
    """
    schedule = schedule or Schedule()
    times = schedule.evenly(steps)
    shares = [*schedule.alpha_bar[times].tolist(), 0.0]
    return _ddim(predict, clean, times, shares, clip, progress)


@torch.no_grad()
def ddim_decode(
    predict: Predictor,
    noise: Tensor,
    steps: int,
    schedule: Schedule | None = None,
    clip: bool = True,
    progress: Progress | None = None,
) -> Tensor:
    """The image that comes from x_T (DDIM, eta 0); arguments as :func:`ddim_encode`."""
    schedule = schedule or Schedule()
    times = schedule.evenly(steps)
    shares = [1.0, *schedule.alpha_bar[times].tolist()]
    return _ddim(predict, noise, times[::-1], shares[::-1], clip, progress)


def _ddim(
    predict: Predictor,
    image: Tensor,
    times: NDArray[np.intp],
    shares: list[float],
    clip: bool,
    progress: Progress | None,
) -> Tensor:
    """An image taken through times (N,), from each of the shares of the signal (N + 1,) to the one after it."""
    x = image.float()
    for n, time in enumerate(times):
        clean, noise = clean_of(x, _at(predict, x, int(time)), shares[n], clip)
        x = shares[n + 1] ** 0.5 * clean + (1.0 - shares[n + 1]) ** 0.5 * noise
        if progress is not None:
            progress(n + 1, len(times))
    return x


@torch.no_grad()
def dpm_decode(
    predict: Predictor,
    noise: Tensor,
    steps: int,
    schedule: Schedule | None = None,
    clip: bool = True,
    progress: Progress | None = None,
) -> Tensor:
    """The image that comes from x_T, by DPM-Solver++ (2M) of Lu et al. 2022; arguments as :func:`ddim_encode`.

    Two predictions make each step, the first and the last one apart. Times fall evenly from the last one.

    Raises:
        ValueError: not 1 to T - 1 steps.
    """
    schedule = schedule or Schedule()
    last = schedule.times - 1
    if not 1 <= steps <= last:
        raise ValueError(f"steps must be 1 to {last}")
    times = np.round(np.linspace(0, last, steps + 1))[::-1][:-1].astype(int)
    shares = [*schedule.alpha_bar[times].tolist(), 1.0]
    x, before, step_before = noise.float(), None, 0.0
    for n, time in enumerate(times):
        clean, _ = clean_of(x, _at(predict, x, int(time)), shares[n], clip)
        if n == steps - 1:
            x = clean  # to a share of 1 a step of first order is the prediction itself
        else:
            step = _log_ratio(shares[n + 1]) - _log_ratio(shares[n])
            seen = clean
            if before is not None:
                ratio = step_before / step
                seen = clean + (clean - before) / (2.0 * ratio)
            fall = ((1.0 - shares[n + 1]) / (1.0 - shares[n])) ** 0.5
            x = fall * x - shares[n + 1] ** 0.5 * float(np.expm1(-step)) * seen
            before, step_before = clean, step
        if progress is not None:
            progress(n + 1, steps)
    return x


DECODERS = {"ddim": ddim_decode, "dpm++": dpm_decode}


def _at(predict: Predictor, x: Tensor, time: int) -> Tensor:
    return predict(x, torch.full((len(x),), time, device=x.device, dtype=torch.long)).float()


def _log_ratio(share: float) -> float:
    """Half the logarithm of signal by noise."""
    return 0.5 * float(np.log(share) - np.log1p(-share))
