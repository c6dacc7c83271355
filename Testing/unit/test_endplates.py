"""Depth and shape of endplates against analytic bodies whose endplates are known, on any grid."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from rendering.analytic import Pit, analytic_spine, grid_around, label_volume
from scipy.spatial.transform import Rotation

from VertebralGradingLib.morphometry.endplates import CENTRAL, Endplates
from VertebralGradingLib.morphometry.usual import PUBLISHED_MM, margin_mm, usual_depths, wedge_degrees
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import prepare

HALF_VOXEL_MM = {"axis-aligned": 0.5, "oblique": 0.5, "axial slices of 2 mm": 1.0, "oblique slices of 2 mm": 1.0}
"""A binary mask tells an edge no better than half its largest voxel; on top comes a tenth of a millimetre."""
LEVELS = ("L2", "L3", "L4")
FLAT = (26.0, 26.0, 26.0)
TURN = Rotation.from_euler("xyz", [15, 10, 20], degrees=True).as_matrix()
GRIDS = {
    "axis-aligned": (np.eye(3), (1.0, 1.0, 1.0)),
    "oblique": (TURN, (1.0, 1.0, 1.0)),
    "axial slices of 2 mm": (np.eye(3), (0.8, 0.8, 2.0)),
    "oblique slices of 2 mm": (TURN @ np.diag([-1.0, 1.0, 1.0]), (0.8, 0.8, 2.0)),
}


def dish(depth: float, endplate: int = 1, level: str = "L3") -> Pit:
    """A dish with a flat floor that takes the central endplate and leaves the rim as it is."""
    return Pit(level, endplate, depth, 18.0, 26.0, power=8.0)


@cache
def measured(
    *pits: Pit, grid: str = "axis-aligned", heights: tuple[float, float, float] = FLAT, lean: float = 0.0
) -> Endplates:
    """Endplates of L3 of three bodies."""
    spine = analytic_spine(
        LEVELS, [FLAT, heights, FLAT], sagittal_deg=[lean, lean, lean], pits=pits, origin=(3.0, -40.0, 120.0)
    )
    axes, spacing = GRIDS[grid]
    labels = interpret(label_volume(spine, *grid_around(spine, spacing, axes, phase=(0.3, 0.1, 0.4))))
    study = prepare(None, build_spine(spine.points()), labels)
    found = study.vertebrae[1].endplates
    assert found is not None
    return found


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("depth", [2.0, 4.0, 7.0])
def test_depth_of_a_dish_is_found_on_any_grid(grid: str, depth: float) -> None:
    found, bound = measured(dish(depth), grid=grid), HALF_VOXEL_MM[grid] + 0.1
    assert found.superior.depth_mm == pytest.approx(depth, abs=bound)
    assert found.inferior.depth_mm == pytest.approx(0.0, abs=bound)


@pytest.mark.parametrize("grid", GRIDS)
def test_each_endplate_has_its_own_depth(grid: str) -> None:
    found, bound = measured(dish(1.5), dish(4.5, -1), grid=grid), HALF_VOXEL_MM[grid] + 0.1
    assert found.superior.depth_mm == pytest.approx(1.5, abs=bound)
    assert found.inferior.depth_mm == pytest.approx(4.5, abs=bound)


def test_depth_is_told_below_the_own_rim_whatever_the_wedge_and_the_lean() -> None:
    """A body of 20 % less height in front whose endplates are planes is not depressed."""
    found = measured(heights=(20.8, 23.4, 26.0), lean=12.0)
    assert abs(found.superior.depth_mm) < 0.5
    assert abs(found.inferior.depth_mm) < 0.5
    with_dish = measured(dish(4.0), heights=(20.8, 23.4, 26.0), lean=12.0)
    assert with_dish.superior.depth_mm == pytest.approx(4.0, abs=0.6)


def test_a_narrow_pit_is_no_depression_of_the_endplate() -> None:
    """A pit over less than a tenth of the central endplate does not make its 90th percentile."""
    pit = Pit("L3", 1, 6.0, 5.0, 5.0)
    assert (5.0 * 5.0) / (CENTRAL**2 * 26.0 * 36.0) < 0.1
    assert measured(pit).superior.depth_mm < 1.0


def cupids_bow(ahead: float, depth: float = 3.0) -> tuple[Pit, Pit]:
    return tuple(Pit("L3", -1, depth, 14.0, 13.0, ahead, side) for side in (-9.0, 9.0))  # type: ignore[return-value]


def test_paired_dips_are_told_from_one_dish() -> None:
    paired = measured(*cupids_bow(-5.0)).inferior
    assert paired.paired_mm > 1.5
    assert measured(dish(4.0, -1)).inferior.paired_mm < 0.3
    assert measured().inferior.paired_mm < 0.3


def test_one_dip_beside_the_midline_is_not_paired() -> None:
    assert measured(cupids_bow(-5.0)[0]).inferior.paired_mm < 0.3


def test_paired_dips_in_front_are_no_cupids_bow() -> None:
    assert measured(*cupids_bow(6.0)).inferior.paired_mm == 0.0


@pytest.mark.parametrize("grid", GRIDS)
def test_a_missing_anterosuperior_corner_is_measured(grid: str) -> None:
    corner = Pit("L3", 1, 7.0, 10.0, 34.0, 14.0, power=4.0)
    found = measured(corner, grid=grid)
    assert found.superior.corner_mm > 2.5
    assert abs(found.inferior.corner_mm) < 1.0


def test_a_wedge_and_a_dish_have_their_corners() -> None:
    assert measured(heights=(19.0, 22.5, 26.0)).superior.corner_mm < 1.0
    assert measured(dish(5.0)).superior.corner_mm < 1.0


def test_a_wavy_endplate_is_uneven() -> None:
    pits = [Pit("L3", 1, 2.5, 7.0, 7.0, a, r) for a in (-7.0, 2.0, 9.0) for r in (-11.0, -2.0, 7.0)]
    assert measured(*pits).superior.unevenness_mm > 2 * measured().superior.unevenness_mm


def test_usual_depth_is_that_of_sound_neighbours_and_of_no_vertebra_itself() -> None:
    places = np.arange(5.0)
    depths = np.array([2.0, 2.0, 9.0, 2.0, 2.0])
    usual = usual_depths("superior", places, depths, [True, True, False, True, True])
    own = np.exp(-0.5 * (np.array([2.0, 1.0, 1.0, 2.0]) / 3.0) ** 2).sum()
    assert usual[2] == pytest.approx((2.0 * own + PUBLISHED_MM["superior"]) / (own + 1.0))
    changed = usual_depths("superior", places, np.array([2.0, 7.0, 9.0, 2.0, 2.0]), [True, True, False, True, True])
    assert changed[1] == pytest.approx(usual[1])
    assert changed[0] > usual[0]


def test_usual_depth_of_a_spine_with_no_sound_vertebra_is_the_published_one() -> None:
    usual = usual_depths("inferior", np.arange(3.0), np.full(3, 6.0), [False] * 3)
    np.testing.assert_allclose(usual, PUBLISHED_MM["inferior"])


def test_margin_follows_the_level() -> None:
    assert margin_mm("T8") < margin_mm("L3") == margin_mm("V3")


def test_wedge_in_degrees() -> None:
    assert wedge_degrees(20.0, 20.0 + np.tan(np.radians(7.0)) * 25.0, 25.0) == pytest.approx(7.0)
    assert wedge_degrees(22.0, 20.0, 25.0) < 0.0
