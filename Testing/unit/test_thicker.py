"""CTs in thicker slices keep their geometry and what they show."""

from __future__ import annotations

import numpy as np
import pytest
from rendering.thick import thicker
from scipy.spatial.transform import Rotation

from VertebralGradingLib.image.volume import Volume


@pytest.mark.parametrize("slice_mm", [2.0, 2.5, 3.2])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_a_ramp_stays_where_it_was(slice_mm: float, order: tuple[int, ...], flip: float) -> None:
    affine = np.eye(4)
    affine[:3, :3] = (Rotation.from_euler("xyz", [8, -5, 10], degrees=True).as_matrix() * [0.7, 0.7, 0.8])[:, order]
    affine[:3, order.index(2)] *= flip
    affine[:3, 3] = 12.0, -40.0, 300.0
    shape = tuple(np.array((12, 14, 31))[list(order)])
    empty = Volume(np.zeros(shape, dtype=np.int16), affine)
    slope = np.array([3.0, -7.0, 11.0])
    places = empty.to_ras(np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1))
    thick = thicker(Volume(np.rint(places @ slope).astype(np.int16), affine), slice_mm)
    assert thick.spacing[order.index(2)] == pytest.approx(slice_mm)
    assert sorted(thick.spacing)[:2] == pytest.approx([0.7, 0.7])
    kept = thick.to_ras(np.stack(np.meshgrid(*map(np.arange, thick.shape), indexing="ij"), -1))
    assert np.abs(thick.array - kept @ slope).max() <= 1.0


def test_whole_slices_are_averaged_and_thick_ones_left_alone() -> None:
    array = np.random.default_rng(0).integers(-1000, 1000, (3, 4, 11)).astype(np.int16)
    ct = Volume(array, np.eye(4))
    assert np.array_equal(thicker(ct, 2.0).array, np.rint(array[..., :10].reshape(3, 4, 5, 2).mean(-1)))
    assert thicker(ct, 1.0) is ct
    assert thicker(ct, 0.5) is ct
