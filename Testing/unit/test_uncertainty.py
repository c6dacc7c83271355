"""How uncertain endplates are: signs add up in squares, and what no block agrees on is not trusted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rendering.analytic import analytic_spine, box_spine_ct, grid_around, usual_heights

from VertebralGradingLib.morphometry.body import SHAPE, STEP_MM, BodyMask, body_grid
from VertebralGradingLib.segmentation.classical import CALIBRATION
from VertebralGradingLib.segmentation.uncertainty import (
    DOUBTFUL_MM,
    LOST_MM,
    Calibration,
    heights_apart,
    outside_mm,
    with_the_others,
)
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import prepare


def block(top_mm: float, bottom_mm: float, tilt: float = 0.0) -> BodyMask:
    """A brick of 40 by 30 mm whose upper side rises by ``tilt`` for each mm to the front."""
    z, ahead, left = (
        ((size - 1) / 2 - np.arange(size)) * step for size, step in zip(SHAPE, STEP_MM, strict=True)
    )  # rows caudal, columns posterior, depth to one side
    height = z[:, None, None]
    inside = np.minimum(top_mm + tilt * ahead[None, :, None] - height, height - bottom_mm) / STEP_MM[0]
    solid = (np.abs(ahead)[None, :, None] <= 15.0) & (np.abs(left)[None, None, :] <= 20.0)
    occupancy = np.where(solid, np.clip(0.5 + inside, 0.0, 1.0), 0.0).astype(np.float32)
    return BodyMask(occupancy, body_grid(np.zeros(3), np.eye(3)), np.eye(3), "test")


def test_parts_add_up_in_squares_and_unknown_signs_say_nothing() -> None:
    told = Calibration(0.3, {"softness": 0.5, "slices": 0.1})
    assert told.height_sd_mm({}) == pytest.approx(np.full(3, 0.3 * np.sqrt(2)))
    signs = {"softness": 0.8, "slices": np.array([3.0, 0.0, 6.0]), "colour": 9.0}
    expected = np.sqrt(2 * (0.3**2 + 0.4**2 + np.array([0.3, 0.0, 0.6]) ** 2))
    assert told.height_sd_mm(signs) == pytest.approx(expected)
    body = told.told(replace(block(12.0, -12.0), signs=signs))
    assert body.height_sd_mm == pytest.approx(expected)
    assert body.edge_sd_mm == pytest.approx(np.sqrt(np.mean(expected**2) / 2))


def test_cards_name_parts_and_leave_out_what_they_do_not_know() -> None:
    told = Calibration.from_dict({"base_mm": 0, "per_apart": 1.5})
    assert (told.base_mm, told.per["apart"]) == (0.0, 1.5)
    assert told.per["outside"] == Calibration().per["outside"] > 0
    assert "softness" not in told.per
    assert Calibration.from_dict({}) == Calibration()
    assert Calibration.from_dict({"base_mm": 0.4}).per == Calibration().per
    with pytest.raises(ValueError, match="least"):
        Calibration.from_dict({"least": 0.2})
    with pytest.raises(ValueError, match="much"):
        Calibration.from_dict({"base_mm": "much"})


def test_a_body_is_doubtful_from_a_deviation_on() -> None:
    told = Calibration(0.0, {"softness": 1.0})
    body = block(12.0, -12.0)
    for factor, flags in ((0.99, ()), (1.01, ("low_confidence_mask",))):
        found = told.told(replace(body, signs={"softness": factor * DOUBTFUL_MM}))
        assert found.edge_sd_mm == pytest.approx(factor * DOUBTFUL_MM)
        assert found.flags == flags


@pytest.mark.parametrize(("top", "bottom", "expected"), [(12.0, -12.0, 0.0), (13.5, -12.0, 1.5), (12.5, -10.8, 0.7)])
def test_by_how_much_heights_differ(top: float, bottom: float, expected: float) -> None:
    assert heights_apart(block(top, bottom), block(12.0, -12.0)) == pytest.approx(np.full(3, expected), abs=0.05)


def test_a_wedge_differs_at_its_ends() -> None:
    """By 1.26 mm at 8 % from the walls of a brick of 30 mm; the middle height stays."""
    apart = heights_apart(block(12.0, -12.0, 0.1), block(12.0, -12.0))
    assert apart == pytest.approx([1.26, 0.0, 1.26], abs=0.12)
    ends, middle = 1.26 * np.sqrt((1 + 2 / 3) / 2), 1.26 * np.sqrt(2 / 3 / 2)
    assert with_the_others(np.array([1.26, 0.0, 1.26])) == pytest.approx([ends, middle, ends])


def test_nothing_lies_far_from_everything() -> None:
    nothing = replace(block(12.0, -12.0), occupancy=np.zeros(SHAPE, np.float32))
    assert heights_apart(nothing, block(12.0, -12.0)).tolist() == [LOST_MM] * 3
    assert heights_apart(block(12.0, -12.0), nothing).tolist() == [LOST_MM] * 3
    assert outside_mm(nothing, np.zeros(3)) == LOST_MM


@pytest.mark.parametrize(
    ("point", "expected"),
    [((0.0, 0.0, 0.0), 0.0), ((18.0, -13.0, 11.0), 0.0), ((0.0, 0.0, 15.0), 3.0), ((24.0, 19.0, -3.0), np.hypot(4, 4))],
)
def test_how_far_a_centroid_lies_outside(point: tuple[float, ...], expected: float) -> None:
    assert outside_mm(block(12.0, -12.0), np.array(point)) == pytest.approx(expected, abs=0.8)


def test_the_classical_search_tells_its_signs_and_is_less_sure_in_thick_slices() -> None:
    levels = ("T12", "L1", "L2")
    spine = analytic_spine(levels, usual_heights(levels))
    told = []
    for slice_mm in (1.0, 3.0):
        case = box_spine_ct(spine, *grid_around(spine, (1.0, 1.0, slice_mm), margin_mm=12), noise_hu=15.0)
        one = prepare(case.ct, build_spine(case.points)).vertebrae[1].measurement
        assert one is not None and one.body.signs["slices"] == pytest.approx(slice_mm, abs=0.1)
        assert one.sd_mm == pytest.approx(CALIBRATION.height_sd_mm(one.body.signs))  # slices are not counted twice
        told.append(one.body.edge_sd_mm)
    assert told[1] > told[0]
