"""Masks of other tools: whose numbers they are, the body inside a whole vertebra, and its centroid."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from rendering.analytic import AnalyticSpine, analytic_spine, grid_around, label_volume
from scipy.ndimage import binary_dilation
from scipy.spatial.transform import Rotation

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.segmentation import find_body
from VertebralGradingLib.segmentation.labels import VertebraLabels, centroids_from_labels, interpret
from VertebralGradingLib.spine.anatomy import (
    COMMON,
    ORDER,
    TOTALSEGMENTATOR_V1,
    TOTALSEGMENTATOR_V2,
    VERSE,
    axis_position,
    levels_from,
    region,
)
from VertebralGradingLib.spine.points import Point
from VertebralGradingLib.spine.spine import build_spine

TURN = Rotation.from_euler("xyz", [12, -8, 15], degrees=True).as_matrix()
GRIDS = {
    "straight": (np.eye(3), (1.0, 1.0, 1.0)),
    "oblique": (TURN, (1.0, 1.0, 1.0)),
    "left-handed": (TURN @ np.diag([-1.0, 1.0, 1.0]), (1.0, 1.0, 2.0)),
    "axes swapped": (np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), (1.0, 1.0, 1.0)),
    "coarse": (np.eye(3), (1.5, 1.5, 3.0)),
}
LUMBAR = ["T11", "T12", "L1", "L2", "L3", "L4", "L5"]
THORACIC = ["T4", "T5", "T6", "T7", "T8"]
VERSE_NUMBER = {level: number for number, level in VERSE.items()}
V1_NUMBER = {level: number for number, level in TOTALSEGMENTATOR_V1.items()}
V2_NUMBER = {level: number for number, level in TOTALSEGMENTATOR_V2.items()}


def spine_of(levels: list[str], axial_deg: float = 0.0) -> AnalyticSpine:
    count = len(levels)
    thoracic = levels[0] == THORACIC[0]
    return analytic_spine(
        levels,
        depth=24.0 if thoracic else 32.0,
        width=28.0 if thoracic else 44.0,
        disc=4.0 if thoracic else 8.0,
        sagittal_deg=np.linspace(15, -10, count),
        coronal_deg=np.linspace(-4, 4, count),
        axial_deg=axial_deg,
        origin=(10.0, -100.0, -400.0),
    )


@cache
def mask_of(grid: str, levels: tuple[str, ...] = tuple(LUMBAR), arch: bool = True, axial_deg: float = 0.0) -> Volume:
    """VerSe numbers."""
    spine = spine_of(list(levels), axial_deg)
    axes, spacing = GRIDS[grid]
    affine, shape = grid_around(spine, spacing, axes)
    return label_volume(spine, affine, shape, arch)


def renumbered(volume: Volume, numbers: dict[str, int]) -> Volume:
    table = np.zeros(256, np.uint8)
    for level, number in VERSE_NUMBER.items():
        if level in numbers:
            table[number] = numbers[level]
    return Volume(table[volume.array], volume.affine)


# ---- anatomy ------------------------------------------------------------------------------------------------------


def test_numberings_are_those_of_the_data_sets() -> None:
    assert [VERSE[n] for n in (1, 7, 8, 19, 20, 24, 25, 26, 28)] == "C1 C7 T1 T12 L1 L5 L6 S1 T13".split()
    assert [TOTALSEGMENTATOR_V2[n] for n in (26, 27, 31, 32, 43, 44, 50)] == "S1 L5 L1 T12 T1 C7 C1".split()
    assert [TOTALSEGMENTATOR_V1[n] for n in (18, 22, 23, 34, 35, 41)] == "L5 L1 T12 T1 C7 C1".split()


def test_positions_grow_along_the_spine_and_regions_are_the_published_ones() -> None:
    place = [axis_position(level) for level in ORDER]
    assert place == sorted(place)
    assert len(set(place)) == len(ORDER)
    assert (axis_position("T1"), axis_position("L5")) == (1.0, 17.0)
    assert [region(level) for level in ("T1", "T5", "T6", "T10", "L1", "L4", "L5", "C3", "S1")] == [
        "T1-T5",
        "T1-T5",
        "T6-T9",
        "T10-T12",
        "L1-L4",
        "L1-L4",
        "L5",
        "cervical",
        "sacral",
    ]


def test_counting_upwards_skips_variants_unless_they_are_meant() -> None:
    assert levels_from("L1", 3) == ["T11", "T12", "L1"]
    assert levels_from("L6", 3) == ["L4", "L5", "L6"]
    assert levels_from("T13", 2) == ["T12", "T13"]
    assert levels_from("S1", len(COMMON)) == list(COMMON)
    with pytest.raises(ValueError, match="no 3 vertebrae"):
        levels_from("C2", 3)


# ---- whose numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [LUMBAR, THORACIC], ids=["lumbar", "thoracic"])
@pytest.mark.parametrize("numbers", [VERSE_NUMBER, V1_NUMBER, V2_NUMBER], ids=["verse", "v1", "v2"])
def test_numbering_is_found_from_the_mask_itself(numbers: dict[str, int], levels: list[str]) -> None:
    volume = renumbered(mask_of("oblique", tuple(levels)), numbers)
    labels = interpret(volume)
    assert labels.by_level == {level: numbers[level] for level in levels}


def test_other_organs_in_the_mask_do_not_matter() -> None:
    """TotalSegmentator's numbers 1 to 117 with organs beside the spine."""
    volume = renumbered(mask_of("straight"), V2_NUMBER)
    array = volume.array.copy()
    array[:6, :40, :60], array[:6, 50:90, 100:150], array[-6:, :40, 80:160] = 5, 1, 7
    array[-6:, 60:100, :40] = 90
    labels = interpret(Volume(array, volume.affine))
    assert {level: labels.by_level.get(level) for level in LUMBAR} == {level: V2_NUMBER[level] for level in LUMBAR}


def test_stated_numbering_is_taken() -> None:
    volume = mask_of("straight", ("L1", "L2"))
    assert set(interpret(volume, "verse").by_level) == {"L1", "L2"}
    with pytest.raises(MaskError, match="not known") as caught:
        interpret(volume, "mine")
    assert "verse" in caught.value.hint
    with pytest.raises(MaskError) as caught:
        interpret(volume, "totalsegmentator")  # there 20 and 21 are nothing
    assert caught.value.hint


@pytest.mark.parametrize("arch", [True, False])
def test_mask_of_one_value_is_split_into_unnamed_bodies(arch: bool) -> None:
    volume = mask_of("oblique", tuple(LUMBAR), arch)
    labels = interpret(Volume((volume.array > 0).astype(np.uint8), volume.affine))
    assert len(labels.boxes) == len(LUMBAR)
    assert set(labels.names.values()) == {""}
    truth = spine_of(LUMBAR)
    points = centroids_from_labels(labels)
    assert [point.level for point in points] == [None] * len(LUMBAR)
    error = [np.linalg.norm(np.array(p.position) - truth.centroid(n)) for n, p in enumerate(points)]
    assert max(error) < 1.5


def test_bodies_and_discs_of_totalsegmentator_are_split() -> None:
    """1 = all bodies, 2 = all discs: the discs are no vertebrae."""
    volume = mask_of("straight", tuple(LUMBAR), False)
    body = volume.array > 0
    disc = binary_dilation(body, iterations=3) & ~binary_dilation(body, iterations=1)
    array = np.where(body, 1, np.where(disc, 2, 0)).astype(np.uint8)
    labels = interpret(Volume(array, volume.affine))
    assert len(labels.boxes) == len(LUMBAR)
    assert len(centroids_from_labels(labels)) == len(LUMBAR)


@pytest.mark.parametrize("kind", ["random", "one speck", "organs"])
def test_what_holds_no_vertebrae_is_refused(kind: str) -> None:
    rng = np.random.default_rng(0)
    shape, affine = (60, 60, 60), np.diag([2.0, 2.0, 2.0, 1.0])
    array = np.zeros(shape, np.uint8)
    if kind == "random":
        array = rng.integers(0, 60, shape).astype(np.uint8)
    elif kind == "one speck":
        array[30, 30, 30] = 20
    else:
        array[5:20, 5:20, 5:20], array[30:50, 5:20, 10:30], array[20:40, 30:50, 20:60] = 1, 5, 7
    with pytest.raises(MaskError) as caught:
        centroids_from_labels(interpret(Volume(array, affine)))
    assert caught.value.hint


def test_two_vertebrae_may_be_ambiguous_but_are_never_misread() -> None:
    """20 and 21 are L1 and L2 in VerSe, L3 and L2 in TotalSegmentator v1; the order tells them apart."""
    assert set(interpret(mask_of("straight", ("L1", "L2"))).by_level) == {"L1", "L2"}
    assert set(interpret(renumbered(mask_of("straight", ("L1", "L2")), V1_NUMBER)).by_level) == {"L1", "L2"}


# ---- the body inside ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", [True, False], ids=["vertebrae", "bodies"])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("levels", [LUMBAR, THORACIC], ids=["lumbar", "thoracic"])
def test_centroids_are_the_bodies_own(grid: str, arch: bool, levels: list[str]) -> None:
    truth = spine_of(levels)
    points = centroids_from_labels(interpret(mask_of(grid, tuple(levels), arch)))
    assert [point.level for point in points] == levels
    error = np.array([np.linalg.norm(np.array(p.position) - truth.centroid(n)) for n, p in enumerate(points)])
    assert error.mean() <= 1.0
    assert error.max() <= 1.5


@pytest.mark.parametrize("grid", ["straight", "oblique", "left-handed"])
def test_arch_is_cut_off_and_body_is_whole(grid: str) -> None:
    """Dice of the cut-out body with the true one."""
    spine, volume = spine_of(LUMBAR), mask_of(grid)
    truth = label_volume(spine, volume.affine, volume.shape, arch=False)
    labels = interpret(volume)
    points = build_spine(spine.points())
    for vertebra in points.vertebrae:
        body, arch = find_body(None, points, vertebra, labels)
        assert arch is not None
        inside, where = body.to_labels(volume)
        true = truth.array == VERSE_NUMBER[vertebra.level]
        dice = 2.0 * (inside & true[where]).sum() / (inside.sum() + true.sum())
        assert dice >= 0.95
        assert body.source == "given"


@pytest.mark.parametrize("axial_deg", [-20.0, 0.0, 12.0])
def test_arch_tells_the_axial_rotation(axial_deg: float) -> None:
    spine = spine_of(LUMBAR, axial_deg)
    labels = interpret(mask_of("straight", tuple(LUMBAR), True, axial_deg))
    points = build_spine(spine.points())
    for n, vertebra in enumerate(points.vertebrae):
        _, arch = find_body(None, points, vertebra, labels)
        assert arch is not None
        turned = points.with_anterior({vertebra.level: arch})
        anterior = turned.axes(turned.vertebrae[n])[:, 1]
        angle = np.degrees(np.arccos(np.clip(anterior @ spine.axes[n][:, 1], -1, 1)))
        assert angle < 5.0


def test_point_beside_the_mask_is_refused() -> None:
    labels = interpret(mask_of("straight"))
    x, y, z = spine_of(LUMBAR).centroid(2)
    far = build_spine([Point((float(x) + 300.0, float(y), float(z)))])
    with pytest.raises(MaskError) as caught:
        find_body(None, far, far.vertebrae[0], labels)
    assert caught.value.hint


def test_unnamed_centroid_takes_the_label_it_lies_in() -> None:
    truth = spine_of(LUMBAR)
    labels = interpret(mask_of("oblique"))
    for n, level in enumerate(LUMBAR):
        assert labels.label_at(truth.centroid(n)) == VERSE_NUMBER[level]
    assert labels.label_at(truth.centroid(0) + np.array([0.0, 60.0, 0.0])) is None


def test_indicator_is_the_crop_in_its_place() -> None:
    volume = mask_of("oblique")
    labels = VertebraLabels(volume, {VERSE_NUMBER["L2"]: "L2"})
    crop = labels.indicator(VERSE_NUMBER["L2"])
    index = np.argwhere(crop.array > 0)
    back = np.rint(volume.to_index(crop.to_ras(index))).astype(int)
    assert (volume.array[tuple(back.T)] == VERSE_NUMBER["L2"]).all()
    assert len(index) == (volume.array == VERSE_NUMBER["L2"]).sum()


def test_mask_cut_by_the_scan_is_flagged() -> None:
    spine = spine_of(LUMBAR)
    volume = mask_of("straight")
    top = int(volume.to_index(spine.centers[0])[2])
    cut = Volume(volume.array[:, :, :top].copy(), volume.affine)
    labels = interpret(cut)
    points = build_spine(spine.points()[1:])
    flags = [find_body(None, points, vertebra, labels)[0].flags for vertebra in points.vertebrae]
    assert all("cut_by_volume_edge" not in one for one in flags)
    half = build_spine(spine.points())
    body, _ = find_body(None, half, half.vertebrae[0], labels)
    assert "cut_by_volume_edge" in body.flags
