"""From the noise-free field to what a scanner shows: slices, kernel, correlated noise, streaks, calibration.

Ranges follow sheet 7 (PSF 0.4-1.5 mm, noise to 90 HU log-uniform, random correlation, slices to 5 mm), else assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from VertebralGradingLib.phantom.drawer import Drawer

AIR_HU = -1024.0
TOP_HU = 3071.0


@dataclass(frozen=True)
class Scanner:
    """One acquisition and reconstruction.

    Attributes:
        seed: fixes noise and streaks.
        blur_mm: standard deviation of the point spread.
        slice_mm, step_mm: thickness and distance of slices.
        phase: where slices lie, 0..1 of a step.
        pixel_mm: in-plane pixel.
        sharpen: share of the in-plane detail a kernel adds (negative smooths), over ``sharpen_mm``.
        noise_hu: standard deviation of noise; ``noise_mm`` its correlation in the plane, ``noise_low`` the share that
            is smoother than that.
        streak_hu: horizontal streaks through dense tissue.
        metal_hu: strength of streaks around metal.
        scale, shift_hu: calibration.
        tilt: gantry tilt (radians).
    """

    seed: int = 0
    blur_mm: float = 0.7
    slice_mm: float = 1.0
    step_mm: float = 1.0
    phase: float = 0.0
    pixel_mm: float = 0.8
    sharpen: float = 0.0
    sharpen_mm: float = 1.0
    noise_hu: float = 20.0
    noise_mm: float = 0.7
    noise_low: float = 0.2
    streak_hu: float = 0.0
    metal_hu: float = 0.0
    scale: float = 1.0
    shift_hu: float = 0.0
    tilt: float = 0.0

    def quiet(self) -> Scanner:
        """The same without noise and streaks."""
        return replace(self, noise_hu=0.0, streak_hu=0.0, metal_hu=0.0)


def draw_scanner(seed: int, amount: float = 1.0, thick: float = 0.35, coarse: float = 0.2) -> Scanner:
    """Draw an acquisition.

    Args:
        seed: fixes it.
        amount: spread of everything, 0 for one fixed scanner.
        thick: share of scans with slices of 2 to 5 mm; the others have 0.6 to 2 mm.
        coarse: share of scans that somebody has resampled to cubes of 1.5 to 4 mm, smooth in all directions.
    """
    draw = Drawer(np.random.default_rng([seed, 21]), amount)
    slice_mm = draw.log_uniform(2.0, 5.0) if draw.chance(thick * amount) else draw.log_uniform(0.6, 2.0)
    scanner = Scanner(
        seed=seed,
        blur_mm=draw.log_uniform(0.40, 1.5),
        slice_mm=slice_mm,
        step_mm=max(slice_mm * draw.uniform(0.5, 1.0), 0.5),
        phase=float(draw.rng.uniform(0, 1)),
        pixel_mm=draw.uniform(0.5, 1.3),
        sharpen=draw.uniform(-0.3, 1.3) if draw.chance(0.6) else 0.0,
        sharpen_mm=draw.uniform(0.8, 1.8),
        noise_hu=draw.log_uniform(3.0, 90.0),
        noise_mm=draw.log_uniform(0.7, 2.2),
        noise_low=draw.uniform(0.0, 0.5),
        streak_hu=draw.uniform(0.0, 22.0) if draw.chance(0.4) else 0.0,
        metal_hu=draw.uniform(100.0, 700.0),
        scale=draw.normal(1.0, 0.02),
        shift_hu=draw.normal(0.0, 5.0),
        tilt=draw.normal(0.0, 0.10) if draw.chance(0.15) else 0.0,
    )
    return _resampled(scanner, amount) if Drawer(np.random.default_rng([seed, 22])).chance(coarse * amount) else scanner


def _resampled(scanner: Scanner, amount: float) -> Scanner:
    """What is left of a scan in cubes: edges and noise smoothed over their size."""
    draw = Drawer(np.random.default_rng([scanner.seed, 23]), amount)
    edge = draw.uniform(1.5, 4.0)
    smooth = edge * draw.uniform(0.35, 0.7)
    return replace(
        scanner,
        blur_mm=min(float(np.hypot(scanner.blur_mm, smooth)), 2.3),
        slice_mm=edge,
        step_mm=edge,
        pixel_mm=max(edge, scanner.pixel_mm),
        sharpen=0.0,
        noise_hu=min(scanner.noise_hu * draw.uniform(0.2, 0.7), 30.0),
        noise_mm=max(scanner.noise_mm, 0.6 * edge),
        streak_hu=0.4 * scanner.streak_hu,
    )


def white(seed: int, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers that depend on the seed alone, not on the device."""
    generator = torch.Generator().manual_seed(int(seed) & 0x7FFFFFFF)
    return torch.randn(shape, generator=generator).to(device)


def gaussian(x: Tensor, sigma: float, axis: int) -> Tensor:
    """Gaussian blur of ``x`` along one axis, in samples."""
    if sigma < 0.15:
        return x
    reach = max(int(np.ceil(3 * sigma)), 1)
    taps = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    weight = torch.exp(-0.5 * (taps / sigma) ** 2)
    moved = x.movedim(axis, -1)
    flat = moved.reshape(-1, 1, moved.shape[-1])
    padded = functional.pad(flat, (reach, reach), mode="replicate")
    out = functional.conv1d(padded, (weight / weight.sum())[None, None])
    return out.reshape(moved.shape).movedim(-1, axis)


def noise_texture(
    seed: int, shape: tuple[int, ...], scanner: Scanner, plane: tuple[int, int], step_mm: float
) -> Tensor:
    """Correlated noise of unit variance; ``plane`` are the axes of the scanner's slices, ``step_mm`` their sampling."""
    raw = white(seed, shape)
    sigma = scanner.noise_mm / step_mm
    fine = gaussian(gaussian(raw, 0.6 * sigma, plane[0]), 0.6 * sigma, plane[1])
    low = gaussian(gaussian(raw, 2.5 * sigma, plane[0]), 2.5 * sigma, plane[1])
    fine = fine - 0.7 * low  # reconstruction takes out the lowest frequencies
    grain = fine / fine.std() + scanner.noise_low * low / low.std().clamp_min(1e-6)
    return grain / grain.std()


def kernel(hu: Tensor, scanner: Scanner, plane: tuple[int, ...], step_mm: float) -> Tensor:
    """Sharpen or smooth within the scanner's slices."""
    if scanner.sharpen == 0.0:
        return hu
    smooth = hu
    for axis in plane:
        smooth = gaussian(smooth, scanner.sharpen_mm / step_mm, axis)
    return hu + scanner.sharpen * (hu - smooth)


def streaks(seed: int, rows: int, columns: int, scanner: Scanner) -> Tensor:
    """(rows, columns) streaks along columns, stronger in some heights than in others."""
    line = gaussian(white(seed + 5, (rows, 1)), 1.0, 0) + 0.5 * white(seed + 6, (rows, 1))
    envelope = gaussian(white(seed + 7, (rows, 1)), 14.0, 0).abs() * 4.0
    wave = gaussian(white(seed + 8, (rows, columns)), 12.0, 1) * 3.0
    return scanner.streak_hu * (line * envelope.clamp_max(1.5) + 0.5 * wave)


def calibrate(hu: Tensor, scanner: Scanner) -> Tensor:
    """Calibration error and the range of stored values."""
    return ((hu + 1000.0) * scanner.scale - 1000.0 + scanner.shift_hu).clamp(AIR_HU, TOP_HU)
