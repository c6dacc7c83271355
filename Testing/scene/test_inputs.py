"""From nodes to volumes, points and labels: places must be right under every transform."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from host.application import Application
from host.cases import add_points, add_segmentation, add_transform, add_volume, add_warp

from VertebralGradingLib.errors import CentroidError, InputError, MaskError, VertebralGradingError
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.scene.inputs import ct_from_node, labels_from_node, points_from_node
from VertebralGradingLib.spine.points import Point


def _rotation(degrees: float, axis: int) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    a, b = [n for n in range(3) if n != axis]
    matrix = np.eye(4)
    matrix[a, a] = matrix[b, b] = c
    matrix[a, b], matrix[b, a] = -s, s
    return matrix


def _oblique(shape: tuple[int, int, int] = (9, 11, 13), flip: bool = False) -> Volume:
    rng = np.random.default_rng(3)
    affine = _rotation(25, 0) @ _rotation(-14, 2) @ np.diag([0.7 * (-1 if flip else 1), 1.1, 2.5, 1.0])
    affine[:3, 3] = (12.5, -40.0, 733.0)
    return Volume(rng.integers(-1000, 1500, shape).astype(np.int16), affine)


MOVE = _rotation(33, 1) @ _rotation(-20, 0)
MOVE[:3, 3] = (5.0, -17.0, 90.0)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("moved", [False, True])
def test_ct_lies_where_the_scene_shows_it(app: Application, flip: bool, moved: bool) -> None:
    volume = _oblique(flip=flip)
    node = add_volume(volume)
    expected = volume.affine
    if moved:  # two transforms, one below the other
        outer, inner = add_transform(MOVE), add_transform(np.diag([1.0, 1.0, 1.2, 1.0]))
        inner.SetAndObserveTransformNodeID(outer.GetID())
        node.SetAndObserveTransformNodeID(inner.GetID())
        expected = MOVE @ np.diag([1.0, 1.0, 1.2, 1.0]) @ volume.affine
    ct = ct_from_node(node)
    np.testing.assert_array_equal(ct.array, volume.array)
    np.testing.assert_allclose(ct.affine, expected, atol=1e-9)


def test_int16_voxels_are_not_copied_and_outlive_the_node(app: Application) -> None:
    volume = _oblique()
    node = add_volume(volume)
    ct = ct_from_node(node)
    assert np.shares_memory(ct.array, slicer.util.arrayFromVolume(node))
    slicer.mrmlScene.RemoveNode(node)
    del node
    np.testing.assert_array_equal(ct.array, volume.array)


def test_ct_under_a_warp_is_hardened_into_a_copy(app: Application) -> None:
    i, j, k = np.meshgrid(np.arange(40), np.arange(40), np.arange(40), indexing="ij")
    ball = (1000 * (((i - 20) ** 2 + (j - 20) ** 2 + (k - 16) ** 2) < 60)).astype(np.int16)
    node = add_volume(Volume(ball, np.eye(4)))
    before = slicer.mrmlScene.GetNumberOfNodes()
    node.SetAndObserveTransformNodeID(add_warp(shift_mm=4.0).GetID())
    ct = ct_from_node(node)
    assert slicer.mrmlScene.GetNumberOfNodes() == before + 1, "only the transform was added"
    inside = ct.to_ras(np.argwhere(ct.array > 500))
    np.testing.assert_allclose(inside.mean(0)[1:], (20.0, 20.0), atol=0.3)  # z was 16, the warp moves it by 4
    assert node.GetImageData().GetDimensions() == (40, 40, 40)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), ball.transpose(2, 1, 0))


def test_points_are_read_in_the_world(app: Application) -> None:
    given = [Point((1.0, 2.0, 3.0), "L1", "L1"), Point((4.0, 5.0, -6.0), None, "F-2")]
    node = add_points(given)
    node.AddControlPoint(0, 0, 0)
    node.SetNthControlPointPositionMissing(2)
    assert points_from_node(node) == given
    node.SetAndObserveTransformNodeID(add_transform(MOVE).GetID())
    expected = [MOVE[:3, :3] @ point.position + MOVE[:3, 3] for point in given]
    np.testing.assert_allclose([point.position for point in points_from_node(node)], expected, atol=1e-9)
    node.SetAndObserveTransformNodeID(add_warp(shift_mm=4.0).GetID())
    np.testing.assert_allclose([point.position[2] for point in points_from_node(node)], (7.0, -2.0), atol=1e-6)


def _two_blocks() -> Volume:
    volume = _oblique((20, 22, 24))
    labels = np.zeros(volume.shape, dtype=np.uint8)
    labels[3:9, 5:12, 14:20] = 1
    labels[4:9, 5:13, 2:9] = 2
    return Volume(labels, volume.affine)


@pytest.mark.parametrize("moved", [False, True])
def test_segments_are_read_by_name_and_lie_where_they_are(app: Application, moved: bool) -> None:
    blocks = _two_blocks()
    node = add_segmentation(blocks, {1: "vertebrae_L1", 2: "Th12 body"})
    node.GetSegmentation().AddEmptySegment("", "rib_left_12")
    move = MOVE if moved else np.eye(4)
    if moved:
        node.SetAndObserveTransformNodeID(add_transform(MOVE).GetID())
    labels = labels_from_node(node)
    assert sorted(labels.by_level) == ["L1", "T12"]
    for level, number in (("L1", 1), ("T12", 2)):
        mine = labels.volume.to_ras(np.argwhere(labels.volume.array == labels.by_level[level]))
        truth = Volume(blocks.array, move @ blocks.affine).to_ras(np.argwhere(blocks.array == number))
        assert len(mine) == len(truth)
        np.testing.assert_allclose(sorted(map(tuple, mine)), sorted(map(tuple, truth)), atol=1e-6)


def test_a_segment_without_a_name_is_known_by_its_terminology(app: Application) -> None:
    node = add_segmentation(_two_blocks(), {1: "Segment_1", 2: "Segment_2"})
    for n, code, level in ((0, "14293000", "L2"), (1, "36470004", "L3")):
        segment = node.GetSegmentation().GetNthSegment(n)
        entry = f"any~SCT^123037004^Anatomical Structure~SCT^{code}^{level} vertebra~^^~any~^^~^^"
        segment.SetTag(segment.GetTerminologyEntryTagName(), entry)
    assert sorted(labels_from_node(node).by_level) == ["L2", "L3"]


def test_a_labelmap_is_read_by_number(app: Application) -> None:
    blocks = _two_blocks()
    verse = Volume(np.where(blocks.array == 1, 20, np.where(blocks.array == 2, 21, 0)).astype(np.uint8), blocks.affine)
    labels = labels_from_node(add_volume(verse, "mask", "vtkMRMLLabelMapVolumeNode"), numbering="verse")
    assert labels.by_level == {"L1": 20, "L2": 21}


def _empty_volume() -> object:
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")


def _mr() -> object:
    node = add_volume(_oblique())
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    tree.SetItemAttribute(tree.GetItemByDataNode(node), "DICOM.Modality", "MR")
    return node


@pytest.mark.parametrize(
    ("read", "make", "error", "words"),
    [
        (ct_from_node, lambda: None, InputError, "No CT"),
        (ct_from_node, _empty_volume, InputError, "no voxels"),
        (ct_from_node, lambda: add_points([Point((0, 0, 0))]), InputError, "not a scalar volume"),
        (ct_from_node, lambda: add_volume(_two_blocks(), "m", "vtkMRMLLabelMapVolumeNode"), InputError, "not a scalar"),
        (ct_from_node, _mr, InputError, "MR"),
        (points_from_node, lambda: None, CentroidError, "No centroids"),
        (points_from_node, lambda: add_points([]), CentroidError, "no placed point"),
        (points_from_node, _empty_volume, CentroidError, "not a point list"),
        (labels_from_node, lambda: None, MaskError, "No segmentation"),
        (labels_from_node, _empty_volume, MaskError, "none"),
        (
            labels_from_node,
            lambda: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode"),
            MaskError,
            "no segment",
        ),
        (labels_from_node, lambda: add_segmentation(_two_blocks(), {1: "L1", 2: "L1 body"}), MaskError, "Two segments"),
        (labels_from_node, lambda: add_segmentation(_two_blocks(), {7: "L1"}), MaskError, "empty"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_hint(
    app: Application, read: object, make: object, error: type[VertebralGradingError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        read(make())
    assert caught.value.hint


@pytest.mark.parametrize("name", ["disc L1", "left T12 rib", "cage L4", "nerve_root_L5", "L1 pedicle screw"])
def test_names_of_other_things_are_no_vertebrae(app: Application, name: str) -> None:
    node = add_segmentation(_two_blocks(), {1: "L2", 2: name})
    assert sorted(labels_from_node(node).by_level) == ["L2"]


def test_a_name_the_user_corrected_beats_our_tag(app: Application) -> None:
    node = add_segmentation(_two_blocks(), {1: "L2 grade 1", 2: "V3 grade 2"})
    for n, level in ((0, "L1"), (1, "V3")):
        node.GetSegmentation().GetNthSegment(n).SetTag("VertebralGrading.Level", level)
    assert sorted(labels_from_node(node).by_level) == ["L2", "V3"]


def test_a_segmentation_of_surfaces_only_is_refused_with_a_hint(app: Application) -> None:
    node = add_segmentation(_two_blocks(), {1: "L1", 2: "L2"})
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    node.RemoveBinaryLabelmapRepresentation()
    with pytest.raises(MaskError, match="only surfaces") as caught:
        labels_from_node(node)
    assert "binary labelmap" in caught.value.hint


def test_float_and_unsigned_voxels_become_hounsfield(app: Application) -> None:
    volume = _oblique()
    node = add_volume(Volume(volume.array.astype(np.float32), volume.affine))
    np.testing.assert_array_equal(ct_from_node(node).array, volume.array)
    assert ct_from_node(node).array.dtype == np.int16
