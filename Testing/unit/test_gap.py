"""Opening and closing the gap that hides a vertebra's height."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.healthivert.gap import GAP, Gap, band_start, closed, opened, slices_of

ROWS, COLUMNS = 128, 6


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2000, (ROWS, COLUMNS))


def body(first: int, last: int) -> np.ndarray:
    label = np.zeros((ROWS, COLUMNS), dtype=bool)
    label[first : last + 1, 2:5] = True
    return label


@settings(max_examples=60, deadline=None)
@given(first=st.integers(30, 70), height=st.integers(1, GAP))
def test_closing_at_the_own_height_gives_the_original_back(first: int, height: int) -> None:
    values = picture()
    gap = Gap.around(body(first, first + height - 1))
    drawn = opened(values, gap)
    assert (drawn[gap.mask(values.shape)] == 0).all()
    start = gap.top + band_start(gap, height)
    drawn[start : start + height] = values[first : first + height]
    assert np.array_equal(closed(values, drawn, gap, height), values)


@settings(max_examples=60, deadline=None)
@given(first=st.integers(30, 70), height=st.integers(4, GAP), wanted=st.integers(1, GAP))
def test_what_lies_above_and_below_only_moves(first: int, height: int, wanted: int) -> None:
    values = picture(1)
    gap = Gap.around(body(first, first + height - 1))
    drawn = opened(values, gap)
    drawn[gap.top : gap.top + gap.rows] = -1
    out = closed(values, drawn, gap, wanted)
    band = np.flatnonzero((out == -1).all(1))
    assert len(band) == wanted and np.array_equal(band, np.arange(band[0], band[0] + wanted))
    up, down = values[:first], values[first + height :]
    kept = min(band[0], len(up))
    assert np.array_equal(out[band[0] - kept : band[0]], up[len(up) - kept :])
    kept = min(ROWS - band[-1] - 1, len(down))
    assert np.array_equal(out[band[-1] + 1 : band[-1] + 1 + kept], down[:kept])
    middle = (first + first + height - 1) / 2
    assert abs((band[0] + band[-1]) / 2 - middle) <= 0.5


def test_gap_tells_nothing_of_the_height() -> None:
    """Two bodies of other heights between the same neighbours: after opening, the slices are equal."""
    above, below = picture(2), picture(3)
    slices = []
    for height in (18, 31):
        first = 64 - height // 2
        values = np.zeros((ROWS, COLUMNS), dtype=int)
        values[first - 30 : first] = above[:30]
        values[first : first + height] = 999
        values[first + height : first + height + 30] = below[:30]
        gap = Gap.around(body(first, first + height - 1))
        slices.append(opened(values, gap)[gap.top - 20 : gap.top + gap.rows + 20])
    assert np.array_equal(*slices)


def test_bodies_taller_than_the_gap_and_gaps_that_do_not_fit() -> None:
    gap = Gap.around(body(40, 89))
    assert gap.height == GAP and (gap.first, gap.last) == (45, 84)
    with pytest.raises(MaskError, match="does not fit"):
        Gap.around(body(2, 20))
    with pytest.raises(MaskError, match="nothing"):
        Gap.around(np.zeros((ROWS, COLUMNS), dtype=bool))
    for height in (0, GAP + 1):
        with pytest.raises(ValueError, match="height"):
            closed(picture(), picture(), gap, height)


def test_slices_of_the_central_part() -> None:
    label = np.zeros((4, 4, 64), dtype=bool)
    label[:, :, 10:60] = True
    assert slices_of(label) == range(15, 55)
    with pytest.raises(MaskError):
        slices_of(np.zeros_like(label))
