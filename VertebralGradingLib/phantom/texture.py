"""Noise as a function of position: one periodic block of a random field, read at scaled and shifted places."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

_EDGE = 64
_TURN = torch.tensor([[0.8, 0.36, 0.48], [-0.6, 0.48, 0.64], [0.0, -0.8, 0.6]])
"""A rotation, so that the block's lattice shows in no anatomical plane."""


@cache
def _block(device: torch.device, dtype: torch.dtype) -> Tensor:
    """(64**3,) values of zero mean and unit variance, wavelengths of 4 to 16 cells, periodic."""
    generator = torch.Generator().manual_seed(20231)
    white = torch.randn(_EDGE, _EDGE, _EDGE, generator=generator, dtype=torch.float64)
    f = torch.fft.fftfreq(_EDGE, dtype=torch.float64)
    radius = (f[:, None, None] ** 2 + f[None, :, None] ** 2 + f[None, None, :] ** 2).sqrt()
    band = ((radius > 1 / 16) & (radius < 1 / 4)) / radius.clamp_min(1e-3)
    field = torch.fft.ifftn(torch.fft.fftn(white) * band).real
    return (field / field.std()).to(device=device, dtype=dtype).reshape(-1).contiguous()


def noise(x: Tensor, y: Tensor, z: Tensor, cell_mm: Tensor | float) -> Tensor:
    """Smooth random values of about zero mean and unit variance.

    Args:
        x: coordinates (mm), all of one shape.
        y: the second.
        z: the third.
        cell_mm: size of a cell; the finest wavelength is 4 cells.
    """
    block = _block(x.device, x.dtype)
    t = _TURN
    corner: list[Tensor] = []
    weight: list[Tensor] = []
    for row in range(3):
        place = (float(t[row, 0]) * x + float(t[row, 1]) * y + float(t[row, 2]) * z) / cell_mm
        low = place.floor()
        weight.append(place - low)
        corner.append(low.to(torch.int32) & (_EDGE - 1))
    i, j, k = corner
    wi, wj, wk = weight
    i1, j1, k1 = (i + 1) & (_EDGE - 1), (j + 1) & (_EDGE - 1), (k + 1) & (_EDGE - 1)

    def line(a: Tensor, b: Tensor) -> Tensor:
        base = (a * _EDGE + b) * _EDGE
        low = block[base + k]
        return torch.lerp(low, block[base + k1], wk)

    near = torch.lerp(line(i, j), line(i, j1), wj)
    return torch.lerp(near, torch.lerp(line(i1, j), line(i1, j1), wj), wi)
