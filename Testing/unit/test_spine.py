"""Ordering, naming and checking of centroids, the curve through them, and the frames along it."""

from __future__ import annotations

import numpy as np
import pytest
from rendering.analytic import analytic_spine, usual_heights

from VertebralGradingLib.errors import CentroidError
from VertebralGradingLib.spine.anatomy import COMMON, ORDER, levels_from
from VertebralGradingLib.spine.curve import Curve, axes_from
from VertebralGradingLib.spine.points import Point
from VertebralGradingLib.spine.spine import Spine, build_spine

RNG = np.random.default_rng(11)
WHOLE = [level for level in COMMON if level[0] in "TL"]


def chain(levels: list[str], named: bool = True) -> list[Point]:
    """Centroids of a spine with kyphosis, lordosis and a side curve."""
    count = len(levels)
    lean = 28.0 * np.sin(np.linspace(1.4, -1.8, count)) if count > 3 else np.zeros(count)
    side = 14.0 * np.cos(np.linspace(0.0, np.pi, count)) if count > 3 else np.zeros(count)
    place = [level if level in COMMON else "L5" for level in levels]
    spine = analytic_spine(place, usual_heights(place), sagittal_deg=lean, coronal_deg=side, origin=(5, -20, 100))
    return [
        Point(point.position, level if named else None, level if named else "")
        for point, level in zip(spine.points(), levels, strict=True)
    ]


def moved(points: list[Point], n: int, offset: tuple[float, float, float]) -> list[Point]:
    x, y, z = np.add(points[n].position, offset)
    return [*points[:n], Point((float(x), float(y), float(z)), points[n].level), *points[n + 1 :]]


def shuffled(points: list[Point]) -> list[Point]:
    return [points[n] for n in RNG.permutation(len(points))]


def names(spine: Spine) -> list[str]:
    return [vertebra.level for vertebra in spine.vertebrae]


def flags_of(spine: Spine, flag: str) -> set[str]:
    return {vertebra.level for vertebra in spine.vertebrae if flag in vertebra.flags}


# ---- order and names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [WHOLE, WHOLE[3:9], list(COMMON[4:18]), ["L1", "L2"]])
@pytest.mark.parametrize("named", [True, False])
def test_shuffled_points_are_put_in_order(levels: list[str], named: bool) -> None:
    points = chain(levels, named)
    truth = np.array([point.position for point in points])
    for _ in range(10):
        spine = build_spine(shuffled(points))
        assert np.array_equal(spine.centers, truth)
        assert names(spine) == (levels if named else [f"V{n + 1}" for n in range(len(levels))])
        assert [vertebra.order for vertebra in spine.vertebrae] == list(range(len(levels)))


def test_strong_kyphosis_in_which_a_lower_body_lies_higher_is_followed() -> None:
    """A fold of 150 degrees: sorting by height would mix the limbs."""
    angle = np.radians(np.linspace(-10.0, 140.0, 12))
    y, z = 90.0 * np.sin(angle), 90.0 * np.cos(angle)
    points = [Point((0.0, float(a), float(b))) for a, b in zip(y, z, strict=True)]
    points = [*points, Point((0.0, y[-1] - 5.0, z[-1] - 24.0)), Point((0.0, y[-1] - 8.0, z[-1] - 50.0))]
    spine = build_spine(shuffled(points))
    assert np.array_equal(spine.centers, np.array([point.position for point in points]))


@pytest.mark.parametrize("lowest", ["L5", "L4", "S1", "L6"])
def test_unnamed_points_are_named_from_the_lowest(lowest: str) -> None:
    spine = build_spine(shuffled(chain(WHOLE[:9], named=False)), lowest)
    assert names(spine) == levels_from(lowest, 9)
    assert names(spine)[-1] == lowest
    assert "T13" not in names(spine)
    assert "level_unknown" not in spine.flags
    assert all(vertebra.known for vertebra in spine.vertebrae)


def test_unnamed_points_stay_unnamed_and_say_so() -> None:
    spine = build_spine(chain(WHOLE[:5], named=False))
    assert "level_unknown" in spine.flags
    assert flags_of(spine, "level_unknown") == {"V1", "V2", "V3", "V4", "V5"}
    assert all(vertebra.gradable_level for vertebra in spine.vertebrae)


def test_one_name_names_its_neighbors_in_both_directions() -> None:
    points = [Point(p.position, "L1" if n == 6 else None) for n, p in enumerate(chain(WHOLE[:10], named=False))]
    assert names(build_spine(shuffled(points))) == ["T7", "T8", "T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4"]


def test_gap_between_two_names_is_filled_only_when_the_count_fits() -> None:
    points = chain(["T10", "T11", "T12", "L1"])
    blank = [Point(p.position, p.level if n in (0, 3) else None) for n, p in enumerate(points)]
    assert names(build_spine(blank)) == ["T10", "T11", "T12", "L1"]
    fewer = [blank[0], blank[1], blank[3]]
    spine = build_spine(fewer)
    assert names(spine) == ["T10", "T11", "L1"]  # the gap is below the unnamed point: counted from above
    nearer = [Point((x, y, z / 2), p.level) for p in fewer for x, y, z in [p.position]]
    spine = build_spine(nearer)
    assert names(spine) == ["T10", "V2", "L1"]
    assert flags_of(spine, "level_unknown") == {"V2"}


def test_a_vertebra_without_a_point_is_noticed() -> None:
    points = chain(WHOLE[6:14])
    spine = build_spine([*points[:3], *points[4:]])
    assert flags_of(spine, "neighbour_missing") == {points[2].level, points[4].level}
    assert not flags_of(spine, "spacing_unexpected")


def test_variants_are_placed_between_their_neighbors() -> None:
    levels = ["T11", "T12", "T13", "L1", "L2", "L3", "L4", "L5", "L6", "S1"]
    spine = build_spine(shuffled(chain(levels)))
    assert names(spine) == levels
    place = [vertebra.axis_position for vertebra in spine.vertebrae]
    assert place == sorted(place)
    assert spine.by_level["T13"].gradable_level
    assert spine.by_level["L6"].gradable_level
    assert not spine.by_level["S1"].gradable_level
    assert not flags_of(spine, "neighbour_missing")
    assert "L6" in ORDER


def test_missing_t13_and_l6_are_not_missed() -> None:
    spine = build_spine(chain(["T11", "T12", "L1", "L4", "L5", "S1"][:3]))
    assert not flags_of(spine, "neighbour_missing")
    assert not flags_of(build_spine(chain(["L4", "L5", "S1"])), "neighbour_missing")


def test_cervical_and_sacral_points_only_help_the_curve() -> None:
    spine = build_spine(chain(["C6", "C7", "T1", "T2"]))
    assert [vertebra.gradable_level for vertebra in spine.vertebrae] == [False, False, True, True]


# ---- refusals -----------------------------------------------------------------------------------------------------


def refused(points: list[Point], lowest: str | None = None) -> str:
    with pytest.raises(CentroidError) as caught:
        build_spine(points, lowest)
    assert caught.value.hint
    return caught.value.message


def test_no_points_are_refused() -> None:
    assert "no centroids" in refused([])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e12])
def test_senseless_numbers_are_refused(value: float) -> None:
    refused([*chain(["T12", "L1"]), Point((0.0, value, 0.0))])


def test_names_that_contradict_the_positions_are_refused() -> None:
    points = chain(["T11", "T12", "L1", "L2"])
    swapped = [Point(p.position, level) for p, level in zip(points, ["T11", "L1", "T12", "L2"], strict=True)]
    assert "L1 above T12" in refused(swapped)
    upwards = [Point(p.position, level) for p, level in zip(points, ["L2", "L1", "T12", "T11"], strict=True)]
    assert "contradict" in refused(upwards)


def test_one_name_in_two_places_is_refused() -> None:
    points = chain(["T12", "L1", "L2"])
    assert "L1 is marked in two places" in refused([*points[:2], Point(points[2].position, "L1")])


def test_two_names_in_one_place_are_refused() -> None:
    points = chain(["T12", "L1", "L2"])
    assert "L1 and L3" in refused([*points, Point(points[1].position, "L3")])


@pytest.mark.parametrize(("lowest", "what"), [("X9", "no vertebral level"), ("L4", "already named L2"), ("", "level")])
def test_lowest_that_makes_no_sense_is_refused(lowest: str, what: str) -> None:
    assert what in refused(chain(["T12", "L1", "L2"]), lowest)


def test_counting_past_the_ends_is_refused() -> None:
    refused(chain(WHOLE[:10], named=False), "C4")
    points = chain(WHOLE[:8], named=False)
    refused([Point(p.position, "L4" if n == 3 else None) for n, p in enumerate(points)])
    refused([Point(p.position, "C2" if n == 5 else None) for n, p in enumerate(points)])
    between = [Point(p.position, {0: "L1", 7: "L4"}.get(n)) for n, p in enumerate(points)]
    assert "between L1 and L4" in refused(between)


# ---- doubtful points ----------------------------------------------------------------------------------------------


def test_doubled_point_is_merged_and_flagged() -> None:
    points = chain(["T11", "T12", "L1", "L2"])
    x, y, z = points[2].position
    spine = build_spine(shuffled([*points, Point((x + 3.0, y, z + 2.0), None)]))
    assert names(spine) == ["T11", "T12", "L1", "L2"]
    assert flags_of(spine, "doubled_point") == {"L1"}
    assert np.allclose(spine.by_level["L1"].center, (x + 1.5, y, z + 1.0))


def test_regular_spine_has_no_flags() -> None:
    for levels in (WHOLE, WHOLE[4:12], ["L1", "L2", "L3"], ["L1"]):
        spine = build_spine(chain(levels))
        assert {flag for vertebra in spine.vertebrae for flag in vertebra.flags} == set()
        assert spine.flags == ()


@pytest.mark.parametrize("n", [3, 8, 12])
def test_point_far_off_is_left_out_of_the_curve(n: int) -> None:
    points = chain(WHOLE)
    clean = build_spine(points)
    spine = build_spine(moved(points, n, (0.0, -40.0, 0.0)))
    assert flags_of(spine, "far_off_curve") == {WHOLE[n]}
    assert spine.vertebrae[n].chain == -1
    assert spine.vertebrae[n].off_curve_mm == pytest.approx(40.0, abs=8.0)
    neighbor = spine.vertebrae[n + 1]
    assert not {"off_curve", "far_off_curve"} & set(neighbor.flags)
    tilt = np.degrees(np.arccos(np.clip(spine.axes(neighbor)[:, 2] @ clean.axes(clean.vertebrae[n + 1])[:, 2], -1, 1)))
    assert tilt < 6.0


def test_point_somewhat_off_is_flagged_and_kept() -> None:
    spine = build_spine(moved(chain(WHOLE), 9, (0.0, 15.0, 0.0)))
    assert flags_of(spine, "off_curve") == {WHOLE[9]}
    assert spine.vertebrae[9].chain == 0


def test_end_point_far_off_is_found() -> None:
    points = chain(WHOLE[:8])
    spine = build_spine(moved(points, 7, (90.0, 0.0, 0.0)))
    assert WHOLE[7] in flags_of(spine, "far_off_curve") | flags_of(spine, "chain_break")


@pytest.mark.parametrize(("gap_mm", "breaks"), [(58.0, False), (62.0, True)])
def test_gap_of_sixty_millimeters_breaks_the_chain(gap_mm: float, breaks: bool) -> None:
    upper = [Point((0.0, 0.0, 30.0 * n)) for n in range(2, -1, -1)]
    lower = [Point((0.0, 0.0, -gap_mm - 30.0 * n)) for n in range(3)]
    spine = build_spine(upper + lower)
    assert ("chain_break" in spine.flags) == breaks
    assert len(spine.curves) == (2 if breaks else 1)
    assert [vertebra.chain for vertebra in spine.vertebrae] == [0, 0, 0, *([1] * 3 if breaks else [0] * 3)]
    assert flags_of(spine, "chain_break") == ({"V3", "V4"} if breaks else set())
    above, below = spine.spacing_mm(spine.vertebrae[2])
    assert above == pytest.approx(30.0)
    assert below == (None if breaks else pytest.approx(gap_mm))


def test_spacing_is_the_distance_to_the_neighbors() -> None:
    spine = build_spine(chain(["T12", "L1", "L2"]))
    distance = np.linalg.norm(np.diff(spine.centers, axis=0), axis=1)
    assert spine.spacing_mm(spine.vertebrae[0]) == (None, pytest.approx(distance[0]))
    assert spine.spacing_mm(spine.vertebrae[1]) == (pytest.approx(distance[0]), pytest.approx(distance[1]))


# ---- curve and frames ---------------------------------------------------------------------------------------------


def test_frames_are_right_handed_orthonormal_and_along_the_curve() -> None:
    spine = build_spine(chain(WHOLE))
    for vertebra in spine.vertebrae:
        axes = spine.axes(vertebra)
        assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1.0)
        right, anterior, up = axes.T
        assert right[0] > 0.8
        assert anterior[1] > 0.6
        curve = spine.curve(vertebra)
        ahead, behind = curve.at(vertebra.s - 0.5), curve.at(vertebra.s + 0.5)
        assert up @ (ahead - behind) == pytest.approx(1.0, abs=0.02)
        assert np.allclose(curve.at(vertebra.s), vertebra.center, atol=1e-9)


def test_frames_follow_the_bodies_own_axes() -> None:
    """Against the analytic truth; sheet 7 measured up to 13 degrees at the ends of a chain."""
    lean = np.linspace(15.0, -15.0, 7)
    truth = analytic_spine(WHOLE[8:15], sagittal_deg=lean, coronal_deg=lean / 2)
    spine = build_spine(truth.points())
    tilt = [
        np.degrees(np.arccos(np.clip(spine.axes(v)[:, 2] @ truth.axes[n][:, 2], -1, 1)))
        for n, v in enumerate(spine.vertebrae)
    ]
    assert max(tilt[1:-1]) < 2.5
    assert max(tilt) < 6.0


def test_single_point_has_the_patients_axes() -> None:
    spine = build_spine(chain(["L1"]))
    assert np.allclose(spine.axes(spine.vertebrae[0]), np.eye(3))
    assert spine.spacing_mm(spine.vertebrae[0]) == (None, None)


def test_two_points_have_the_straight_line() -> None:
    spine = build_spine([Point((0.0, 0.0, 0.0)), Point((0.0, 10.0, -30.0))])
    for vertebra in spine.vertebrae:
        assert np.allclose(spine.axes(vertebra)[:, 2], np.array([0.0, -10.0, 30.0]) / np.sqrt(1000.0))


def test_hint_turns_the_frame_about_the_curve_only() -> None:
    spine = build_spine(chain(WHOLE[:6]))
    vertebra = spine.vertebrae[2]
    turned = spine.with_anterior({vertebra.level: np.array([0.3, 1.0, 0.0])})
    before, after = spine.axes(vertebra), turned.axes(turned.vertebrae[2])
    assert np.allclose(before[:, 2], after[:, 2])
    assert after[0, 1] > before[0, 1] + 0.2
    assert np.linalg.det(after) == pytest.approx(1.0)
    assert np.allclose(spine.axes(spine.vertebrae[3]), turned.axes(turned.vertebrae[3]))


@pytest.mark.parametrize("up", [[0, 0, 1], [0, 1, 0], [0, -1, 0], [0, 0.99, 0.1], [0.7, 0.7, 0.1], [0, 0, -1]])
def test_axes_exist_whichever_way_the_spine_lies(up: list[float]) -> None:
    axes = axes_from(np.array(up, dtype=float), np.array([0.0, 1.0, 0.0]))
    assert np.isfinite(axes).all()
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    assert axes[:, 2] @ up == pytest.approx(np.linalg.norm(up))


def test_curve_continues_straight_beyond_its_ends() -> None:
    curve = Curve(np.array([point.position for point in chain(WHOLE[:6])]))
    last = curve.lengths[-1]
    step = curve.at(last + 30.0) - curve.at(last + 10.0)
    assert np.linalg.norm(step) == pytest.approx(20.0)
    assert np.allclose(step / 20.0, curve.down(last))
    assert np.allclose(curve.at(-10.0) - curve.at(0.0), -10.0 * curve.down(0.0))


def test_closest_point_is_the_closest() -> None:
    curve = Curve(np.array([point.position for point in chain(WHOLE)]))
    for _ in range(20):
        point = curve.at(RNG.uniform(-30, curve.lengths[-1] + 30)) + RNG.normal(0, 6, 3)
        s = np.arange(-60.0, curve.lengths[-1] + 60.0, 0.05)
        least = np.linalg.norm(curve.at(s) - point, axis=1).min()
        assert np.linalg.norm(curve.at(curve.closest(point)) - point) == pytest.approx(least, abs=0.01)
