"""The warp without learning on bodies of exactly known heights: heights reached, no folds, what stays where it is."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from rendering.analytic import analytic_spine, box_spine_ct, grid_around, usual_heights
from scipy.spatial.transform import Rotation

from VertebralGradingLib.counterfactual.case import WarpCase, warp_case
from VertebralGradingLib.counterfactual.field import FRONT_REACH_MM, SIDE_REACH_MM, UP_REACH_MM, mixed
from VertebralGradingLib.counterfactual.request import SHAPES, Health, Request
from VertebralGradingLib.counterfactual.warp import carried, picture, warped_volume
from VertebralGradingLib.errors import InputError, MethodError
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.methods.morphometric import judged
from VertebralGradingLib.morphometry.genant import loss_of_score, score_of_loss
from VertebralGradingLib.morphometry.heights import measure
from VertebralGradingLib.morphometry.reference import graded_loss
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.reformation import patch_grid
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import Study, prepare

LEVELS = ("T11", "T12", "L1", "L2", "L3")
WEDGE, BICONCAVE = (0.45, 0.25, 0.05), (0.15, 0.42, 0.10)
OBLIQUE = Rotation.from_euler("XYZ", [12.0, -9.0, 20.0], degrees=True).as_matrix()
GRIDS = {
    "upright": (np.eye(3), (1.0, 1.0, 1.0)),
    "oblique": (OBLIQUE, (1.0, 1.0, 1.0)),
    "anisotropic": (np.eye(3), (0.7, 0.7, 1.6)),
    "flipped": (np.diag([-1.0, -1.0, 1.0])[:, [2, 0, 1]], (1.3, 0.9, 0.9)),
}


@cache
def study(grid: str = "upright", lost: tuple[float, float, float] = (0.0, 0.0, 0.0), arch: bool = True) -> Study:
    heights = usual_heights(LEVELS)
    heights[2] *= 1.0 - np.array(lost)
    spine = analytic_spine(LEVELS, heights, sagittal_deg=(6.0, 3.0, 0.0, -3.0, -6.0), coronal_deg=4.0)
    axes, spacing = GRIDS[grid]
    phantom = box_spine_ct(spine, *grid_around(spine, spacing, axes, margin_mm=25.0), noise_hu=8.0, arch_label=arch)
    return judged(prepare(phantom.ct, build_spine(phantom.points), interpret(phantom.labels, "verse")))


def case(grid: str = "upright", lost: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> WarpCase:
    return warp_case(study(grid, lost), "L1")


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("lost", [(0.0, 0.0, 0.0), WEDGE])
def test_heights_reached_are_those_asked_for(grid: str, lost: tuple[float, float, float]) -> None:
    one = case(grid, lost)
    for request in (Request(0.0), Request(1.0, "biconcave"), Request(3.0, "wedge"), Request(2.0, "crush")):
        warp = one.warper.solve(request)
        # the tilt of a new wedge alone lowers the height behind, and that of a steep one jumps as the back wall turns
        low = 3 if request.shape != "wedge" else 2
        assert warp.missed_mm < (0.1 if low == 3 else 0.3)
        assert np.abs(warp.reached_mm - warp.target_mm)[:low].max() < 0.1
        assert warp.graded == pytest.approx(one.warper.health.asked(request), abs=0.01)
        assert 0.05 < warp.least_jacobian <= 1.0 + 1e-9


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lost", [(0.0, 0.0, 0.0), WEDGE, BICONCAVE])
def test_nothing_folds_at_any_grade(shape: str, lost: tuple[float, float, float]) -> None:
    warper = case("upright", lost).warper
    for grade in (0.0, 0.7, 1.5, 2.3, 3.0):
        warp = warper.solve(Request(grade, shape), rounds=0)
        ahead, left, up = np.arange(-70.0, 60.0, 1.3), np.arange(-40.0, 40.0, 3.1), np.arange(-40.0, 120.0, 0.7)
        assert warp.field.jacobian(ahead, left, up).min() > 0.0


def test_own_grade_is_no_change_at_all() -> None:
    for lost in ((0.0, 0.0, 0.0), WEDGE):
        one = case("upright", lost)
        warp = one.warper.solve(Request(loss=one.warper.health.graded))
        points = np.random.default_rng(0).uniform(-100.0, 100.0, (500, 3)) + warp.field.center
        assert np.abs(warp.field.source(points) - points).max() < 1e-6
        assert warp.least_jacobian == pytest.approx(1.0)
    assert case().warper.health.score == 0.0


def test_far_away_and_below_nothing_moves() -> None:
    warp = case("oblique", WEDGE).warper.solve(Request(0.0))
    field, rng = warp.field, np.random.default_rng(1)
    anywhere = rng.uniform(-70.0, 70.0, (300, 3))
    for axis, edge in ((0, FRONT_REACH_MM[1]), (1, SIDE_REACH_MM[1]), (2, UP_REACH_MM[1])):
        far = anywhere.copy()
        far[:, axis] = edge + rng.uniform(0.0, 60.0, len(far))
        points = field.to_ras(far)
        assert np.abs(field.source(points) - points).max() == 0.0
    below = field.to_ras(anywhere * [0.3, 0.3, 0.0] - [0.0, 0.0, 45.0])
    assert np.abs(field.source(below) - below).max() == 0.0


def test_the_vertebra_above_moves_rigidly_and_keeps_its_heights() -> None:
    one = case("upright", WEDGE)
    warp = one.warper.solve(Request(0.0))
    assert warp.field.rigid.tilt < np.radians(-3.0)  # raised in front, the spine above tips backwards
    above = study("upright", WEDGE).vertebrae[1].measurement
    assert above is not None
    moved = carried(above.body, warp.field)
    assert np.abs(measure(moved).heights_mm - above.heights_mm).max() < 0.25
    places = above.points_ras
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    read = warp.field.source(warp.field.to_ras(warp.field.in_frame(places) + np.array([0.0, 0.0, 12.0])))
    assert np.abs(np.linalg.norm(read[:, None] - read[None], axis=-1) - distances).max() < 0.05


def test_pictures_are_read_from_the_ct_itself() -> None:
    one = case("anisotropic")
    measured = study("anisotropic")
    grid = patch_grid(measured.spine, measured.spine.by_level["L1"])
    warp = one.warper.solve(Request(3.0))
    shown = one.shown(warp, grid, tone=False)
    assert shown.image.shape == (128, 128, 1)
    assert np.array_equal(shown.image, picture(one.ct, warp.field, grid))
    still = one.shown(one.warper.solve(Request(0.0)), grid)
    assert shown.mask.sum() < 0.8 * still.mask.sum()
    assert still.checked.outside_share == 0.0
    assert shown.reasons == []


def test_the_volume_is_warped_in_place() -> None:
    one = case("flipped", WEDGE)
    warp = one.warper.solve(Request(0.0))
    part, region = warped_volume(one.ct, warp.field)
    assert part.array.dtype == np.int16
    before = one.ct.array[region]
    assert part.array.shape == before.shape
    assert part.affine[:3, 3] == pytest.approx(one.ct.to_ras(np.array([s.start for s in region])))
    index = np.argwhere(part.array != before)[::97]
    source = warp.field.source(part.to_ras(index))
    assert np.abs(source - part.to_ras(index)).max(1).min() > 0.0
    read = Volume(part.array, part.affine)
    assert read.same_grid(part)


def test_a_field_between_two_lies_between_them_and_folds_nowhere() -> None:
    warps = [case().warper.solve(Request(grade), rounds=1) for grade in (0.0, 1.5, 3.0)]
    fields = [warp.field for warp in warps]
    points = fields[0].to_ras(np.random.default_rng(2).uniform(-30.0, 30.0, (200, 3)))
    assert mixed(fields, (0.0, 1.5, 3.0), 1.5).source(points) == pytest.approx(fields[1].source(points), abs=1e-9)
    half = mixed(fields, (0.0, 1.5, 3.0), 2.25)
    assert half.jacobian(np.arange(-60.0, 50.0), np.arange(-30.0, 30.0, 5.0), np.arange(-30.0, 100.0)).min() > 0.0
    body = case().warper.own.body
    heights = [measure(carried(body, field)).heights_mm[0] for field in (fields[1], half, fields[2])]
    assert heights[0] > heights[1] > heights[2]
    with pytest.raises(InputError):
        mixed(fields, (0.0, 1.5, 3.0), 3.1)


def test_requests_follow_the_scale_of_grades() -> None:
    healthy = np.array([24.0, 22.0, 25.0])
    health = Health.of(healthy * (1.0 - np.array(WEDGE)), healthy)
    assert health.healthy_mm == pytest.approx(healthy)
    for grade in (0.0, 0.5, 1.0, 2.0, 2.7, 3.0):
        for shape in SHAPES:
            heights = health.target(Request(grade, shape))
            loss = float(graded_loss(1.0 - heights / healthy, np.log(healthy)))
            assert loss == pytest.approx(float(loss_of_score(grade)), abs=1e-9)
            assert float(score_of_loss(loss)) == pytest.approx(grade)
    assert health.target(Request(loss=health.graded)) == pytest.approx(health.heights_mm)
    worse = Health.of(healthy * (1.0 - 1.4 * np.array(WEDGE)), healthy)
    assert worse.target(Request(3.0)) == pytest.approx(worse.heights_mm)  # grade 3 is open above
    taller = Health.of(healthy * 1.04, healthy)
    assert taller.healthy_mm == pytest.approx(healthy * 1.04)  # no fracture raises a height
    for wrong in ({"grade": 3.2}, {"shape": "dent"}, {"loss": 0.9}):
        with pytest.raises(InputError):
            Request(**wrong)


def test_without_a_ct_there_is_no_warp() -> None:
    measured = study()
    mask_only = judged(prepare(None, measured.spine, measured.labels))
    with pytest.raises(MethodError):
        warp_case(mask_only, "L1")
