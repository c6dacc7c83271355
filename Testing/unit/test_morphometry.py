"""Heights against exactly known ones: from exact occupancy, from masks on any grid, and from CT with points only.

Bounds are what was found on these cases, rounded up; where voxels limit them, the test says so.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from rendering.analytic import (
    PLACES,
    AnalyticSpine,
    Pit,
    analytic_spine,
    box_spine_ct,
    grid_around,
    label_volume,
    usual_heights,
)
from scipy.spatial.transform import Rotation

from VertebralGradingLib.errors import CentroidError, MaskError
from VertebralGradingLib.findings import POSITIONS, Finding, Report
from VertebralGradingLib.methods.regrading import move_points
from VertebralGradingLib.morphometry.body import SHAPE, STEP_MM, BodyMask, body_grid
from VertebralGradingLib.morphometry.defects import find_defects
from VertebralGradingLib.morphometry.heights import (
    INSET,
    POINT_NAMES,
    _local_value,
    heights_from_points,
    measure,
    slab_heights,
)
from VertebralGradingLib.morphometry.sheets import AHEAD_MM
from VertebralGradingLib.pipeline import explain, grade
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import Study, prepare

LEVELS = ["T12", "L1", "L2", "L3"]
WEDGE = 0.70
"""Share of its usual anterior height that L1 keeps."""
TURN = Rotation.from_euler("xyz", [15, 10, 20], degrees=True).as_matrix()
TILT = np.radians(-15)
GANTRY = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(TILT), 0.0], [0.0, np.sin(TILT), 1.0]])
GRIDS = {
    "axis-aligned": (np.eye(3), (1.0, 1.0, 1.0)),
    "oblique": (TURN, (1.0, 1.0, 1.0)),
    "flipped": (np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), (1.0, 1.0, 1.0)),
    "left-handed": (np.diag([-1.0, 1.0, 1.0]), (1.0, 1.0, 1.0)),
    "tilted gantry": (GANTRY, (1.0, 1.0, 1.0)),
    "sagittal slices of 2 mm": (np.eye(3), (2.0, 1.0, 1.0)),
}
COARSE = {
    "axial slices of 2 mm": (np.eye(3), (1.0, 1.0, 2.0)),
    "oblique slices of 2 mm": (TURN @ np.diag([-1.0, 1.0, 1.0]), (0.8, 0.8, 2.0)),
}


def wedged_heights() -> NDArray[np.float64]:
    heights = usual_heights(LEVELS)
    heights[1] *= [WEDGE, 0.82, 1.0]
    return heights


@cache
def bent_spine(*pits: Pit) -> AnalyticSpine:
    """Four vertebrae with kyphosis, a side curve and some axial rotation; L1 is wedged."""
    return analytic_spine(
        LEVELS,
        wedged_heights(),
        sagittal_deg=np.linspace(8, -8, 4),
        coronal_deg=np.linspace(-6, 6, 4),
        axial_deg=[0, 4, 2, 0],
        origin=(3.0, -40.0, 120.0),
        pits=pits,
    )


def from_mask(spine: AnalyticSpine, grid: str, arch: bool = True) -> Study:
    axes, spacing = {**GRIDS, **COARSE}[grid]
    affine, shape = grid_around(spine, spacing, axes, phase=(0.2, 0.4, 0.7))
    return prepare(None, build_spine(spine.points()), interpret(label_volume(spine, affine, shape, arch)))


@cache
def report_from_ct(grid: str) -> Report:
    axes, spacing = {**GRIDS, **COARSE}[grid]
    phantom = box_spine_ct(bent_spine(), *grid_around(bent_spine(), spacing, axes), noise_hu=15.0)
    return grade(phantom.ct, build_spine(phantom.points))


def errors(study: Study, truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) measured minus true heights (mm)."""
    measured = []
    for item in study.vertebrae:
        assert item.measurement is not None
        measured.append(item.measurement.heights_mm)
    return np.array(measured) - truth


def report_errors(report: Report, truth: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([[finding.heights_mm[p] for p in POSITIONS] for finding in report.findings]) - truth


def of_level(report: Report, level: str) -> Finding:
    return next(finding for finding in report.findings if finding.level == level)


# ---- exact occupancy ----------------------------------------------------------------------------------------------


def exact_body(
    spine: AnalyticSpine, n: int, turn_deg: tuple[float, float, float], shift: tuple[float, float, float]
) -> BodyMask:
    """The body's own occupancy, with edges one millimeter soft, in a block that is turned and shifted against it."""
    from rendering.analytic import _body_depth

    axes = spine.axes[n] @ Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    grid = body_grid(spine.centers[n] + np.array(shift), axes)
    local = (grid.points() - spine.centers[n]) @ spine.axes[n]
    depth = _body_depth(spine, n, local[..., 0], local[..., 1], local[..., 2])
    return BodyMask(np.clip(0.5 + depth, 0, 1).astype(np.float32), grid, axes, "given")


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (10.0, 0.0, 0.0), (0.0, 8.0, 0.0), (-12.0, 5.0, 5.0)])
@pytest.mark.parametrize("n", range(4))
def test_exact_body_has_its_heights_whatever_the_blocks_frame(n: int, turn: tuple[float, float, float]) -> None:
    spine = bent_spine()
    found = measure(exact_body(spine, n, turn, (2.0, -1.5, 2.6)))
    assert np.abs(found.heights_mm - spine.heights[n]).max() <= 0.3
    assert found.depth_mm == pytest.approx(spine.depth[n], abs=0.6)
    assert found.width_mm == pytest.approx(spine.width[n], abs=1.5)
    tilt = np.degrees(np.arccos(np.clip(found.body.axes[:, 2] @ spine.axes[n][:, 2], -1, 1)))
    assert tilt < 0.7


@pytest.mark.parametrize("width", [1.5, 3.6])
def test_local_value_does_not_jump_from_column_to_column(width: float) -> None:
    profile = np.where(np.abs(AHEAD_MM) < 14.0, 12.0 - 0.05 * AHEAD_MM**2, np.nan)
    places = np.arange(-11.0, -7.0, 0.02)
    found = [_local_value(profile, place, place - 0.2 * width, place + width, -1) for place in places]
    steps = np.diff(found)
    assert (steps > 0).all()
    assert np.ptp(steps) <= 0.02
    assert np.abs(np.array(found) - (12.0 - 0.05 * places**2)).max() <= 0.1


def test_local_value_of_what_is_known() -> None:
    profile = np.full(SHAPE[1], np.nan)
    with pytest.raises(MaskError):
        _local_value(profile, 0.0, -1.0, 1.0, 1)
    profile[20:40:3] = 0.2 * AHEAD_MM[20:40:3]  # two of three columns miss
    assert _local_value(profile, 3.0, 1.0, 4.0, 1) == pytest.approx(0.6)
    assert _local_value(profile, 30.0, 29.0, 31.0, 1) == pytest.approx(0.2 * AHEAD_MM[20])


@pytest.mark.parametrize("lean", [2.0, 4.0])
def test_no_point_lies_on_a_wall_that_leans_over_its_endplate(lean: float) -> None:
    """From the lower back point on, the lower edge runs up steeply, as the back wall of a strong wedge does."""
    whole = measure(exact_body(bent_spine(), 2, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)))
    center = whole.sheets.grid.to_ras((np.array(SHAPE) - 1) / 2)
    _, ahead, up = (whole.points_ras[5] - center) @ whole.sheets.axes
    row, column, _ = np.indices(SHAPE)
    height = ((SHAPE[0] - 1) / 2 - row) * STEP_MM[0] - up
    behind = ahead - ((SHAPE[1] - 1) / 2 - column) * STEP_MM[1]
    cut = np.clip(0.5 + height - lean * behind, 0, 1)
    found = measure(replace(whole.body, occupancy=np.minimum(whole.body.occupancy, cut).astype(np.float32)))
    assert found.heights_mm[2] == pytest.approx(whole.heights_mm[2], abs=0.4)


def test_points_lie_on_the_endplates_where_they_are_defined() -> None:
    spine = bent_spine()
    found = measure(exact_body(spine, 1, (6.0, 3.0, 0.0), (1.0, 1.0, 1.0)))
    local = ((found.points_ras - spine.centers[1]) @ spine.axes[1]).reshape(3, 2, 3)
    assert np.abs(local[:, :, 0]).max() < 1.0  # on the mid-sagittal plane
    assert np.allclose(local[:, :, 1], (PLACES * spine.depth[1])[:, None], atol=0.5)
    assert PLACES[0] == pytest.approx(0.5 - INSET)
    half = spine.heights[1] / 2
    assert np.allclose(local[:, 0, 2], half, atol=0.2)
    assert np.allclose(local[:, 1, 2], -half, atol=0.2)
    assert np.allclose(heights_from_points(found.points_ras, found.sheets.axes[:, 2]), found.heights_mm)
    assert len(POINT_NAMES) == len(found.points_ras)


def test_lateral_thirds_show_a_body_that_is_lower_on_one_side() -> None:
    spine = bent_spine()
    body = exact_body(spine, 2, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    left = (np.arange(SHAPE[2]) - (SHAPE[2] - 1) / 2) * STEP_MM[2]
    top = (SHAPE[0] - 1) / 2 - (spine.heights[2].min() / 2 - 0.25 * left) / STEP_MM[0]  # lower to the left
    row = np.arange(SHAPE[0])[:, None, None]
    cut = np.clip(0.5 + row - top[None, None], 0, 1)
    found = measure(replace(body, occupancy=np.minimum(body.occupancy, cut).astype(np.float32)))
    assert (found.thirds_mm["right"] > found.thirds_mm["left"] + 1.5).all()


def test_uncertainty_grows_with_slice_and_mask() -> None:
    body = exact_body(bent_spine(), 0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    thin, thick = measure(body, 1.0), measure(body, 5.0)
    vague = measure(replace(body, edge_sd_mm=1.0), 1.0)
    assert (thick.sd_mm > thin.sd_mm).all()
    assert (vague.sd_mm > thin.sd_mm).all()


@pytest.mark.parametrize("kind", ["empty", "speck", "thread", "flake"])
def test_what_is_no_body_is_refused(kind: str) -> None:
    body = exact_body(bent_spine(), 0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    occupancy = np.zeros(SHAPE, np.float32)
    if kind == "speck":
        occupancy[60:64, 33:36, 35:38] = 1.0
    elif kind == "thread":
        occupancy[20:100, 33:35, 35:37] = 1.0
    elif kind == "flake":
        occupancy[60:61, 10:60, 10:60] = 1.0
    with pytest.raises(MaskError) as caught:
        measure(replace(body, occupancy=occupancy))
    assert caught.value.hint


# ---- given masks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", [True, False])
@pytest.mark.parametrize("grid", GRIDS)
def test_heights_from_a_mask_of_one_millimeter(grid: str, arch: bool) -> None:
    """0.3 mm root mean square and for nine of ten heights, no bias; single heights up to 0.8 mm.

    A binary mask of 1 mm voxels places a flat endplate that lies along its voxels only to half a voxel.
    """
    error = errors(from_mask(bent_spine(), grid, arch), bent_spine().heights)
    assert np.sqrt((error**2).mean()) <= 0.3
    assert np.percentile(np.abs(error), 90) <= 0.35
    assert abs(error.mean()) <= 0.15
    assert np.abs(error).max() <= 0.8


@pytest.mark.parametrize("grid", COARSE)
def test_heights_from_a_mask_of_two_millimeters(grid: str) -> None:
    """Found for 1 x 1 x 2 mm: 0.4 mm root mean square, single heights up to 0.8 mm."""
    error = errors(from_mask(bent_spine(), grid), bent_spine().heights)
    assert np.sqrt((error**2).mean()) <= 0.5
    assert abs(error.mean()) <= 0.2
    assert np.abs(error).max() <= 1.0


@pytest.mark.parametrize("phase", [(0.0, 0.0, 0.0), (0.3, 0.6, 0.5), (0.9, 0.1, 0.8)])
def test_straight_bodies_along_the_voxels_lose_at_most_a_voxel(phase: tuple[float, float, float]) -> None:
    """The worst case of a binary mask: both flat endplates may be rounded by half a voxel, all columns alike."""
    spine = analytic_spine(LEVELS, wedged_heights())
    affine, shape = grid_around(spine, phase=phase)
    study = prepare(None, build_spine(spine.points()), interpret(label_volume(spine, affine, shape)))
    error = errors(study, spine.heights)
    assert np.abs(error).max() <= 1.0
    assert np.sqrt((error**2).mean()) <= 0.4


def test_turned_patient_has_the_same_heights() -> None:
    """The patient lies askew in the scanner: spine and all, by 25 degrees."""
    lean = Rotation.from_euler("xy", [25, -10], degrees=True).as_matrix()
    straight = bent_spine()
    turned = replace(straight, centers=straight.centers @ lean.T, axes=lean @ straight.axes)
    first, second = (errors(from_mask(spine, "axis-aligned"), spine.heights) for spine in (straight, turned))
    assert np.sqrt(((first - second) ** 2).mean()) <= 0.3
    assert np.abs(first - second).max() <= 0.8


# ---- CT with points only ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", GRIDS)
def test_heights_from_ct_and_points(grid: str) -> None:
    """The half maximum of a thin cortex lies outside it: heights come out 1.0 mm large, evenly to 0.2 mm."""
    error = report_errors(report_from_ct(grid), bent_spine().heights)
    assert np.abs(error).max() <= 1.5
    assert 0.0 <= error.mean() <= 1.2
    assert error.std() <= 0.2


@pytest.mark.parametrize("grid", COARSE)
def test_heights_from_coarse_ct_and_points(grid: str) -> None:
    """Found for slices of 2 mm: 1.3 to 1.9 mm large, evenly to 0.5 mm."""
    error = report_errors(report_from_ct(grid), bent_spine().heights)
    assert np.abs(error).max() <= 2.5
    assert error.std() <= 0.5


@pytest.mark.parametrize("grid", [*GRIDS, *COARSE])
def test_grades_from_ct_do_not_depend_on_the_grid(grid: str) -> None:
    """L1 keeps 70 % of its usual anterior height: a wedge of grade 2; the others are normal."""
    report = report_from_ct(grid)
    assert [finding.level for finding in report.findings] == LEVELS
    assert [finding.grade for finding in report.findings] == [0, 2, 0, 0]
    assert of_level(report, "L1").deformity == "wedge"
    assert of_level(report, "L1").height_loss["anterior"] == pytest.approx(1 - WEDGE, abs=0.04)
    for n, finding in enumerate(report.findings):
        assert np.linalg.norm(np.array(finding.center_ras_mm) - bent_spine().centroid(n)) < 0.5
        assert finding.gradable
        assert "low_confidence_mask" not in finding.flags


def test_centroids_placed_by_hand_do_not_change_the_grades() -> None:
    """Points 2-3 mm off in every direction, as clicked."""
    phantom = box_spine_ct(bent_spine(), *grid_around(bent_spine()), noise_hu=15.0)
    rng = np.random.default_rng(2)
    points = [replace(p, position=tuple(np.add(p.position, rng.uniform(-2.5, 2.5, 3)))) for p in phantom.points]
    report = grade(phantom.ct, build_spine(points))
    assert [finding.grade for finding in report.findings] == [0, 2, 0, 0]
    clean = report_errors(report_from_ct("axis-aligned"), bent_spine().heights)
    assert np.abs(report_errors(report, bent_spine().heights) - clean).max() <= 0.6


APPEARANCES: dict[str, dict[str, float]] = {
    "dense": {"core_hu": 280.0, "cortex_hu": 600.0},
    "osteoporotic": {"core_hu": 30.0, "cortex_hu": 300.0},
    "marrow of fat": {"core_hu": -20.0, "cortex_hu": 300.0},
    "calcified discs": {"disc_hu": 130.0},
    "gas in the discs": {"disc_hu": -200.0},
    "low dose": {"noise_hu": 80.0},
    "no core and a thin shell": {"core_hu": 0.0, "cortex_hu": 250.0},
}


@pytest.mark.parametrize("appearance", APPEARANCES)
def test_appearance_does_not_change_the_grades(appearance: str) -> None:
    """Grades are right, or the vertebra says that its edges are uncertain; heights never go wrong silently."""
    spine = bent_spine()
    phantom = box_spine_ct(spine, *grid_around(spine), **{"noise_hu": 15.0, **APPEARANCES[appearance]})  # type: ignore[arg-type]
    report = grade(phantom.ct, build_spine(phantom.points))
    error = report_errors(report, spine.heights)
    for n, (finding, expected) in enumerate(zip(report.findings, [0, 2, 0, 0], strict=True)):
        if finding.gradable and "low_confidence_mask" not in finding.flags:
            assert finding.grade == expected
            assert np.abs(error[n]).max() <= 2.0
    if appearance != "no core and a thin shell":
        assert all(finding.gradable for finding in report.findings)


def test_profile_of_heights_is_the_true_one() -> None:
    spine = bent_spine()
    phantom = box_spine_ct(spine, *grid_around(spine))
    shown = explain(phantom.ct, build_spine(phantom.points), level="L1")
    true = np.polyval(spine.profile(1), shown["ahead_mm"] - shown["ahead_mm"].mean())
    middle = np.abs(shown["ahead_mm"] - shown["ahead_mm"].mean()) < 10.0
    assert middle.sum() > 15
    assert np.abs(shown["height_mm"] - true)[middle].max() < 1.7
    assert shown["points_ras_mm"].shape == (6, 3)
    with pytest.raises(CentroidError) as caught:
        explain(phantom.ct, build_spine(phantom.points), level="T5")
    assert "L1" in caught.value.hint


# ---- moving points ------------------------------------------------------------------------------------------------


def test_moving_a_point_recomputes_the_grade() -> None:
    """The reader lifts the anterior upper point of the wedged L1 to where it would be in a normal body."""
    report = report_from_ct("axis-aligned")
    before = of_level(report, "L1")
    assert before.grade == 2
    points = np.array(before.points_ras_mm)
    up = points[0] - points[1]
    points[0] = points[1] + up / WEDGE
    points[2] = points[3] + (points[2] - points[3]) / 0.82
    moved = move_points(report, "L1", points)
    after = of_level(moved, "L1")
    assert after.grade == 0
    assert after.deformity == "none"
    assert after.heights_mm["anterior"] == pytest.approx(before.heights_mm["anterior"] / WEDGE, rel=1e-3)
    assert after.heights_mm["posterior"] == pytest.approx(before.heights_mm["posterior"], rel=1e-3)
    assert np.allclose(after.points_ras_mm, points)
    assert "reader_points" in after.flags
    evidence = after.evidence_of("morphometry")
    assert evidence is not None
    assert evidence.grade == 0
    assert evidence.quantities["heights_mm"] == after.heights_mm
    assert of_level(report, "L1") == before  # the report given is left as it was
    for level in ("T12", "L2", "L3"):
        assert of_level(moved, level).grade == 0
        assert of_level(moved, level).points_ras_mm == of_level(report, level).points_ras_mm
        assert "reader_points" not in of_level(moved, level).flags


def test_moving_points_to_where_they_are_changes_nothing() -> None:
    report = report_from_ct("axis-aligned")
    same = move_points(report, "L2", np.array(of_level(report, "L2").points_ras_mm))
    for before, after in zip(report.findings, same.findings, strict=True):
        assert after.grade == before.grade
        assert after.score == pytest.approx(before.score, abs=0.02)
        assert after.height_loss == pytest.approx(before.height_loss, abs=2e-3)


@pytest.mark.parametrize(("share", "expected"), [(0.92, 0), (0.775, 1), (0.68, 2), (0.5, 3)])
def test_grade_follows_the_points(share: float, expected: int) -> None:
    """Genant's bands on L2, whose anterior height is set to a share of its reference.

    A loss that is within nature's scatter is mostly taken for the vertebra's own.
    """
    report = report_from_ct("axis-aligned")
    finding = of_level(report, "L2")
    evidence = finding.evidence_of("morphometry")
    assert evidence is not None
    points = np.array(finding.points_ras_mm)
    up = (points[0] - points[1]) / np.linalg.norm(points[0] - points[1])
    points[0] = points[1] + share * evidence.quantities["reference_mm"]["anterior"] * up
    after = of_level(move_points(report, "L2", points), "L2")
    assert after.grade == expected
    if expected:
        assert after.height_loss["anterior"] == pytest.approx(1 - share, abs=0.03)
    else:
        assert 0.0 < after.height_loss["anterior"] < 1 - share


def test_moving_points_of_what_was_not_measured_is_refused() -> None:
    report = report_from_ct("axis-aligned")
    points = np.array(of_level(report, "L2").points_ras_mm)
    with pytest.raises(CentroidError, match="T5"):
        move_points(report, "T5", points)
    points[0] = points[1]
    with pytest.raises(CentroidError, match="coincide"):
        move_points(report, "L2", points)
    points[0] = np.nan
    with pytest.raises(CentroidError):
        move_points(report, "L2", points)


# ---- focal defects ------------------------------------------------------------------------------------------------

PITS = [
    Pit("L2", +1, depth_mm=8.0, ap_mm=12.0, lr_mm=14.0, ahead_mm=0.0, right_mm=2.0),
    Pit("L2", -1, depth_mm=7.0, ap_mm=11.0, lr_mm=11.0, ahead_mm=-2.0, right_mm=-3.0),
]


@pytest.mark.parametrize("pit", PITS, ids=["superior", "inferior"])
@pytest.mark.parametrize("source", ["exact", "mask", "ct"])
def test_pit_is_found_with_its_extent(pit: Pit, source: str) -> None:
    """Depth is measured from the plane of the rim, below which the concave endplate itself lies 1-2 mm."""
    spine = bent_spine(pit)
    if source == "exact":
        measurement = measure(exact_body(spine, 2, (4.0, -3.0, 0.0), (1.0, 1.0, 1.0)))
        defects, filled = find_defects(measurement.sheets)
        without = slab_heights(measurement.body, filled, measurement.middle_left_mm)
        assert np.abs(without - spine.heights[2]).max() < 0.8
        assert np.abs(measurement.heights_mm - spine.heights[2]).max() > 2.0
    else:
        phantom = box_spine_ct(spine, *grid_around(spine))
        truth = build_spine(phantom.points)
        study = prepare(phantom.ct, truth) if source == "ct" else prepare(None, truth, interpret(phantom.labels))
        defects = list(study.vertebrae[2].defects)
        assert "focal_endplate_defect" in study.vertebrae[2].flags
        assert [item.defects for item in study.vertebrae if item.vertebra.level != "L2"] == [()] * 3
    assert [defect.endplate for defect in defects] == ["superior" if pit.endplate > 0 else "inferior"]
    (defect,) = defects
    assert defect.extent_ap_mm == pytest.approx(pit.ap_mm, abs=3.0)
    assert defect.extent_lr_mm == pytest.approx(pit.lr_mm, abs=3.0)
    assert pit.depth_mm - 1.5 <= defect.depth_mm <= pit.depth_mm + 3.0
    assert f"{defect.extent_ap_mm:.0f} mm AP" in defect.describe()


@pytest.mark.parametrize("phase", [(0.0, 0.0, 0.0), (0.3, 0.2, 0.6), (0.6, 0.7, 0.1)])
@pytest.mark.parametrize("pit", PITS, ids=["superior", "inferior"])
def test_pit_with_steep_walls_does_not_cut_the_body_apart(pit: Pit, phase: tuple[float, float, float]) -> None:
    """A pit on the midline is no canal: what lies behind it is still body."""
    spine = bent_spine(replace(pit, power=4.0))
    affine, shape = grid_around(spine, phase=phase)
    study = prepare(None, build_spine(spine.points()), interpret(label_volume(spine, affine, shape)))
    error = errors(study, spine.heights)
    assert np.abs(error[:, [0, 2]]).max() <= 1.5  # front and back heights, where no pit is
    assert np.abs(error[[0, 1, 3], 1]).max() <= 0.8


def test_deep_pit_is_left_to_the_reader() -> None:
    spine = bent_spine(PITS[0])
    affine, shape = grid_around(spine)
    report = grade(None, build_spine(spine.points()), interpret(label_volume(spine, affine, shape)))
    finding = of_level(report, "L2")
    evidence = finding.evidence_of("morphometry")
    assert evidence is not None
    assert evidence.grade is not None
    assert evidence.grade >= 1
    assert finding.grade is None
    assert finding.state == "undecided"
    assert [one.grade for one in finding.hypotheses] == [0, evidence.grade]
    assert evidence.quantities["without_defect"]["grade"] == 0
    assert of_level(report, "L1").grade == 2


@pytest.mark.parametrize("share", [0.87, 0.75, 0.62, 0.5])
@pytest.mark.parametrize("source", ["mask", "ct"])
def test_smooth_biconcave_endplates_are_no_focal_defect(share: float, source: str) -> None:
    """However deep: the whole central endplate is taken, so it is a fracture and graded as one."""
    heights = usual_heights(LEVELS)
    heights[2, 1] = share * heights[2, 2]
    spine = analytic_spine(LEVELS, heights, sagittal_deg=np.linspace(8, -8, 4))
    affine, shape = grid_around(spine)
    points = build_spine(spine.points())
    if source == "ct":
        report = grade(box_spine_ct(spine, affine, shape).ct, points)
    else:
        report = grade(None, points, interpret(label_volume(spine, affine, shape)))
    finding = of_level(report, "L2")
    assert "focal_endplate_defect" not in finding.flags
    loss = 1 - share / 0.87
    if loss > 0.27:
        assert finding.grade == (3 if loss > 0.4 else 2)
        assert finding.deformity == "biconcave"
    elif loss < 0.1:
        assert finding.grade == 0


def test_shallow_dent_is_no_defect() -> None:
    spine = bent_spine(Pit("L2", +1, depth_mm=1.5, ap_mm=12.0, lr_mm=12.0))
    study = from_mask(spine, "oblique")
    assert [item.defects for item in study.vertebrae] == [()] * 4
