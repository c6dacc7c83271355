"""Between HU at 1 mm and what the networks see: window, pixels, and back."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from VertebralGradingLib.diffusion_autoencoder import WINDOW_HU


def to_network(hu: Tensor, size: int, spacing_mm: float) -> Tensor:
    """Patches as the networks see them.

    Args:
        hu: (B, 1, N, N) HU at 1 mm.
        size: pixels of the network's patch; what lies outside is cut off on all sides alike.
        spacing_mm: of its pixels, whole; they are averages.

    Returns:
        (B, 1, size, size) in -1..1.
    """
    low, high = WINDOW_HU
    x = (hu.clamp(low, high) - low) * (2.0 / (high - low)) - 1.0
    step = int(spacing_mm)
    if step > 1:
        x = functional.avg_pool2d(x, step)
    cut = (x.shape[-1] - size) // 2
    return x[..., cut : cut + size, cut : cut + size] if cut else x


def to_hu(x: Tensor) -> Tensor:
    """(B, 1, size, size) in -1..1 -> HU, within the window."""
    low, high = WINDOW_HU
    return (x.clamp(-1.0, 1.0) + 1.0) * ((high - low) / 2.0) + low


def finer(x: Tensor, spacing_mm: float) -> Tensor:
    """(B, 1, size, size) -> the same at 1 mm, smoothly; edges stay where they are."""
    return x if spacing_mm == 1 else functional.interpolate(x, scale_factor=spacing_mm, mode="bicubic").clamp(-1, 1)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """(B,) peak signal to noise (dB) of images in -1..1."""
    error = (a - b).square().flatten(1).mean(1).clamp_min(1e-12)
    return 10.0 * torch.log10(4.0 / error)
