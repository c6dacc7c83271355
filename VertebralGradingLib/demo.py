"""A small CT made by the code: a plain analytic spine, T11 to L4, whose L1 is wedge-shaped by a third.

It shows that an installation works; the synthetic spines for training and evaluation are another matter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.image.io import write_volume
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.spine.points import Point, write_markups

LEVELS = ("T11", "T12", "L1", "L2", "L3", "L4")
WEDGED = "L1"
WEDGE_LOSS = 0.34
"""Share of its anterior height that the wedged body has lost."""

_POSTERIOR_MM = (23.0, 24.5, 26.0, 27.0, 27.5, 27.0)
_ANTERIOR_RATIO = (0.93, 0.93, 0.95, 0.98, 1.00, 1.05)
_DEPTH_MM, _WIDTH_MM, _DISC_MM = 31.0, 42.0, 7.0
_SPACING_MM = (1.0, 1.0, 1.2)
_SHAPE = (120, 130, 190)
_TILT_DEGREES = 12.0


def write_demo_case(folder: str | Path) -> tuple[str, str]:
    """Write ``demo_ct.nii.gz`` and ``demo_centroids.mrk.json``.

    Returns:
        Their paths. The centroids are named, as a user would who has read the levels.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ct, points = demo_case()
    ct_path, points_path = folder / "demo_ct.nii.gz", folder / "demo_centroids.mrk.json"
    write_volume(ct, ct_path)
    write_markups(points, points_path)
    return str(ct_path), str(points_path)


def demo_case(seed: int = 0) -> tuple[Volume, list[Point]]:
    """The demo's CT (int16 HU on an oblique grid) and its body centroids (RAS mm)."""
    tilt = np.radians(_TILT_DEGREES)
    rotation = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(_SPACING_MM)
    affine[:3, 3] = rotation @ (-(np.array(_SHAPE) - 1) / 2 * _SPACING_MM)
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(_SHAPE, _SPACING_MM, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    hu, centers = _render(x, y, z)
    rng = np.random.default_rng(seed)
    from scipy.ndimage import gaussian_filter

    hu = gaussian_filter(hu, [0.7 / step for step in _SPACING_MM])
    hu += gaussian_filter(rng.normal(0.0, 60.0, hu.shape), 0.6)
    points = [
        Point(tuple((rotation @ center).tolist()), level, level) for level, center in zip(LEVELS, centers, strict=True)
    ]
    return Volume(np.clip(np.rint(hu), -1024, 3000).astype(np.int16), affine), points


def _render(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """HU of the spine in its own axes (right (a, 1, 1), anterior (1, b, 1), up (1, 1, c), mm), and the body centres."""
    trunk = (x / 57.0) ** 2 + ((y - 2.0) / 62.0) ** 2
    hu = np.full((*trunk.shape[:2], z.size), -1000.0)
    hu[trunk[..., 0] < 1.0] = -100.0
    hu[trunk[..., 0] < 0.85] = 45.0
    hu[(np.hypot(x, y - 45.0) < 9.0)[..., 0]] = 60.0
    heights = list(zip(_POSTERIOR_MM, _ANTERIOR_RATIO, strict=True))
    total = sum(posterior * (1 + ratio) / 2 for posterior, ratio in heights) + _DISC_MM * (len(LEVELS) - 1)
    top, centers = total / 2, []
    for level, (posterior, ratio) in zip(LEVELS, heights, strict=True):
        mean = posterior * (1 + ratio) / 2
        center = np.array([0.0, 0.0, top - mean / 2])
        anterior = posterior * ratio * (1 - WEDGE_LOSS if level == WEDGED else 1.0)
        shape = 3.4 * (1 - (2 * y / _DEPTH_MM) ** 2).clip(0) / 2
        lost = posterior * ratio - anterior
        share = (y / _DEPTH_MM + 0.5).clip(-0.2, 1.2)
        half = (posterior + (posterior * ratio - posterior) * share) / 2 - shape
        upper, lower = half - lost * share, half
        outline = (np.abs(2 * x / _WIDTH_MM) ** 2.5 + np.abs(2 * y / _DEPTH_MM) ** 2.5) ** 0.4
        rows = np.flatnonzero(np.abs(z - center[2]) < mean / 2 + _DISC_MM)  # the body with its discs lies in these
        up, part = z[..., rows] - center[2], hu[..., rows[0] : rows[-1] + 1]
        inside = np.minimum((1 - outline) * _DEPTH_MM / 2, np.minimum(upper - up, lower + up))
        part[(outline < 1.0) & (part < 150) & (inside < 0)] = 85.0
        part[inside > 0] = 430.0
        part[inside > 1.2] = 150.0
        arch = np.hypot(x / 1.2, y + _DEPTH_MM / 2 + 9.0)
        lamina = (arch > 9.5) & (arch < 14.0) & (y < -_DEPTH_MM / 2 - 1.0) & (np.abs(up - 2) < 8.0)
        part[lamina] = 350.0
        centers.append(center + np.array([0.0, 0.0, -lost / 4]))
        top -= mean + _DISC_MM
    return hu, centers
