"""Noise as a function of position: one periodic block of a random field, read at scaled and shifted places."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

_EDGE = 64
_TURN = ((0.8, 0.36, 0.48), (-0.6, 0.48, 0.64), (0.0, -0.8, 0.6))
"""A rotation, so that the block's lattice shows in no anatomical plane."""


@cache
def _block(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """One periodic block, 64**3 values of zero mean and unit variance, wavelengths of 4 to 16 cells.

    Returns:
        The block, padded by one cell and flat, from each of the 8 corners of a cell on: one index reads them all.
    """
    generator = torch.Generator().manual_seed(20231)
    white = torch.randn(_EDGE, _EDGE, _EDGE, generator=generator, dtype=torch.float64)
    f = torch.fft.fftfreq(_EDGE, dtype=torch.float64)
    radius = (f[:, None, None] ** 2 + f[None, :, None] ** 2 + f[None, None, :] ** 2).sqrt()
    band = ((radius > 1 / 16) & (radius < 1 / 4)) / radius.clamp_min(1e-3)
    field = torch.fft.ifftn(torch.fft.fftn(white) * band).real
    index = torch.arange(_EDGE + 1) % _EDGE
    padded = (field / field.std()).to(device=device, dtype=dtype)[index][:, index][:, :, index].reshape(-1)
    wide = _EDGE + 1
    return tuple(padded[(i * wide + j) * wide + k :] for i in (0, 1) for j in (0, 1) for k in (0, 1))


def noise(x: Tensor, y: Tensor, z: Tensor, cell_mm: Tensor | float) -> Tensor:
    """Smooth random values of about zero mean and unit variance.

    Args:
        x: coordinates (mm), all of one shape.
        y: the second.
        z: the third.
        cell_mm: size of a cell; the finest wavelength is 4 cells.
    """
    weight: list[Tensor] = []
    index: Tensor | None = None
    for row in _TURN:
        place = torch.add(x * row[0], y, alpha=row[1]).add_(z, alpha=row[2]).div_(cell_mm)
        low = place.floor()
        weight.append(place.sub_(low))
        corner = low.to(torch.int32).bitwise_and_(_EDGE - 1)
        index = corner if index is None else index.mul_(_EDGE + 1).add_(corner)
    assert index is not None
    flat = index.reshape(-1)
    values = [corner.index_select(0, flat).view(x.shape) for corner in _block(x.device, x.dtype)]
    for along in reversed(weight):
        values = [low.lerp_(high, along) for low, high in zip(values[::2], values[1::2], strict=True)]
    return values[0]
