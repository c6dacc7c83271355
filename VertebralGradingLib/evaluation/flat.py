"""Measures of single sagittal patches: likeness, and what changed beside the vertebra."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

Image = NDArray[np.floating]
Mask = NDArray[np.bool_]

AROUND_MM = 3
"""What belongs to a vertebra beside its body's mask: endplates with their blur."""
_REACH_MM = (10, 4)
"""How far an image may be moved, rows and columns, before it is compared."""
_SSIM_PIXELS, _SSIM_SIGMA = 11, 1.5
_RANGE_HU = 1100.0


def around(mask: Mask) -> Mask:
    """A body with its endplates."""
    return np.asarray(binary_dilation(mask, iterations=AROUND_MM))


def brought_over(image: Image, target: Image, inside: Mask) -> Image:
    """The image moved by whole pixels to where it is most like the target inside a region.

    Vertebrae stand in the middle of what a network draws; in a true render of another grade they need not.
    """
    best, out = np.inf, image
    for down in range(-_REACH_MM[0], _REACH_MM[0] + 1):
        for right in range(-_REACH_MM[1], _REACH_MM[1] + 1):
            moved = np.roll(image, (down, right), (0, 1))
            error = float(np.abs(moved - target)[inside].mean())
            if error < best - 1e-6:
                best, out = error, moved
    return out


def psnr(image: Image, target: Image, inside: Mask) -> float:
    """Peak signal to noise (dB) inside a region; the peak is the networks' window."""
    error = float(np.square(image - target)[inside].mean())
    return float(10 * np.log10(_RANGE_HU**2 / max(error, 1e-9)))


def ssim(image: Image, target: Image, inside: Mask) -> float:
    """Structural similarity (Wang et al. 2004; Gaussian of 1.5 pixels) inside a region away from the edges."""
    import torch
    from monai.metrics.regression import compute_ssim_and_cs

    a, b = (torch.from_numpy(np.asarray(x, dtype=np.float32))[None, None] for x in (image, target))
    local, _ = compute_ssim_and_cs(a, b, 2, (_SSIM_PIXELS,) * 2, (_SSIM_SIGMA,) * 2, _RANGE_HU)
    edge = _SSIM_PIXELS // 2
    return float(local[0, 0].numpy()[inside[edge:-edge, edge:-edge]].mean())


def change_beside(before: Image, after: Image, bodies: list[Mask]) -> float:
    """Squared change (HU^2, summed over pixels) of bodies that is left when each has been moved rigidly into place.

    Args:
        before: where the bodies lie in ``bodies``.
        after: the same place later.
        bodies: one mask for each.
    """
    return sum(_left(before, after, around(mask)) for mask in bodies if mask.sum() >= 60)


def _left(before: Image, after: Image, region: Mask) -> float:
    """What is left of the change in one region after rigid registration of ``after`` to it."""
    import SimpleITK as sitk

    fixed, moving = (sitk.GetImageFromArray(gaussian_filter(x.astype(np.float32), 1.0)) for x in (before, after))
    rows, columns = np.nonzero(region)
    turn = sitk.Euler2DTransform()
    turn.SetCenter((float(columns.mean()), float(rows.mean())))
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetMetricFixedMask(sitk.GetImageFromArray(region.astype(np.uint8)))
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.01, 60)
    method.SetOptimizerScales([800.0, 1.0, 1.0])  # a radian moves a body's rim by about 28 pixels
    method.SetInterpolator(sitk.sitkLinear)
    best = np.inf
    for start in (0.0, 4.0, -4.0):
        turn.SetParameters((0.0, 0.0, start))
        method.SetInitialTransform(turn, inPlace=False)
        found = method.Execute(fixed, moving)
        moved = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, found, sitk.sitkLinear, float(after.min())))
        best = min(best, float(np.square(moved - sitk.GetArrayFromImage(fixed))[region].sum()))
    return best
