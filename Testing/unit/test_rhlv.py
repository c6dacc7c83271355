"""Relative height loss on shapes whose loss is known; the golden numbers of the published rules."""

from __future__ import annotations

import numpy as np
import pytest

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.healthivert.rhlv import THIRDS, relative_height_loss, spans

U = np.arange(36) / 35.0
GOLDEN = {
    "identical": (np.full(36, 30.0), (0.0, 0.0, 0.0, 0.0)),
    "wedge": (18 + 12 * U, (0.3455, 0.2111, 0.0667, 0.2000)),
    "biconcave": (30 - 10 * np.sin(np.pi * U), (0.1424, 0.3194, 0.1641, 0.2093)),
    "crush": (np.full(36, 21.0), (0.30, 0.30, 0.30, 0.30)),
    "taller": (np.full(36, 33.0), (0.0, 0.0, 0.0, 0.0)),
    "severe wedge": (12 + 18 * U, (0.45, 0.3167, 0.1077, 0.2414)),
}
"""Height of each column by shape; anterior, middle, posterior and whole loss (sheet 2, section 8)."""


def box(heights: np.ndarray, deep: int = 41, rows: int = 64) -> np.ndarray:
    """(rows, 48, deep + 8) columns of given heights on one plane, 6 columns and 4 slices from the corner."""
    mask = np.zeros((rows, 48, deep + 8), dtype=bool)
    for column, height in enumerate(np.round(heights).astype(int)):
        mask[50 - height : 50, 6 + column, 4 : 4 + deep] = True
    return mask


HEALTHY = box(np.full(36, 30.0))


@pytest.mark.parametrize("shape", GOLDEN)
def test_golden_numbers_of_the_published_rules(shape: str) -> None:
    heights, expected = GOLDEN[shape]
    found = relative_height_loss(box(heights), HEALTHY, "as_coded")
    assert (*found.thirds.values(), found.whole) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("shape", GOLDEN)
def test_second_variant_measures_every_column(shape: str) -> None:
    heights, _ = GOLDEN[shape]
    loss = 1.0 - np.round(heights) / 30.0
    found = relative_height_loss(box(heights), HEALTHY, "rhlv_v2")
    expected = (loss[:11].mean(), loss[11:23].mean(), loss[23:].mean(), loss.mean())
    assert (*found.thirds.values(), found.whole) == pytest.approx(expected, abs=1e-6)
    assert found.features == tuple(found.thirds.values())


def test_taller_vertebra_has_a_negative_loss() -> None:
    assert relative_height_loss(box(np.full(36, 33.0)), HEALTHY).whole == pytest.approx(-0.1, abs=1e-6)


def test_holes_and_missing_columns() -> None:
    holed = box(np.full(36, 30.0))
    holed[30:40, 10:30, 10:40] = False
    assert relative_height_loss(holed, HEALTHY).whole == pytest.approx(0.0, abs=1e-6)
    assert relative_height_loss(holed, HEALTHY, "as_coded").whole > 0.1
    short = box(np.full(36, 30.0))
    short[:, :12] = False  # the front is gone
    assert relative_height_loss(short, HEALTHY).thirds["anterior"] > 0.5


def test_slices_without_anything_left_count_in_the_second_variant() -> None:
    gone = box(np.full(36, 30.0))
    gone[:, :, 20:26] = False
    assert relative_height_loss(gone, HEALTHY).whole > 0.2
    assert relative_height_loss(gone, HEALTHY, "as_coded").whole == pytest.approx(0.0, abs=1e-6)


def test_coronal_thirds_are_named_by_side() -> None:
    """The left half is lower: depth runs to the left."""
    mask = box(np.full(36, 30.0))
    mask[20:32, :, 28:] = False
    found = relative_height_loss(mask, HEALTHY, view="coronal")
    assert tuple(found.thirds) == THIRDS["coronal"] == ("right", "central", "left")
    assert found.thirds["right"] == pytest.approx(0.0, abs=1e-6)
    assert found.thirds["left"] == pytest.approx(0.4, abs=1e-6)
    assert found.least < found.most == pytest.approx(30.0)


def test_columns_are_as_tall_as_they_are() -> None:
    mask = box(18 + 12 * U)
    assert spans(mask)[6, 20] == 18.0 and spans(mask)[0, 20] == 0.0
    assert spans(mask)[6:42, 20] == pytest.approx(np.round(18 + 12 * U))


def test_what_cannot_be_compared_is_told() -> None:
    empty = np.zeros_like(HEALTHY)
    with pytest.raises(MaskError, match="empty"):
        relative_height_loss(empty, HEALTHY)
    apart = np.zeros_like(HEALTHY)
    apart[20:50, 6:42, :2] = True
    with pytest.raises(MaskError, match="in common"):
        relative_height_loss(apart, HEALTHY)
    with pytest.raises(ValueError, match="one shape"):
        relative_height_loss(HEALTHY[1:], HEALTHY)
    with pytest.raises(ValueError, match="variant"):
        relative_height_loss(HEALTHY, HEALTHY, "v3")  # type: ignore[arg-type]
