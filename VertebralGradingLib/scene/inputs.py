"""From nodes to what the package works on. World coordinates are RAS mm, as in Slicer."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from VertebralGradingLib.errors import CentroidError, InputError, MaskError
from VertebralGradingLib.image.io import as_labels
from VertebralGradingLib.image.volume import Volume, as_ct, empty_grid
from VertebralGradingLib.scene.transforms import in_linear_frame, to_world
from VertebralGradingLib.segmentation.labels import VertebraLabels, interpret
from VertebralGradingLib.spine.anatomy import parse_level
from VertebralGradingLib.spine.points import Point


def ct_from_node(node: Any) -> Volume:
    """The CT of a scalar volume node in int16 HU; int16 voxels are not copied, others are."""
    volume = voxels_from_node(node)
    return as_ct(volume.array, volume.affine, keep=volume.array)


def voxels_from_node(node: Any) -> Volume:
    """The voxels of a scalar volume node as they are, never copied; they live on when the node leaves the scene.

    Raises:
        InputError: no node, another kind of node, no voxels, or a modality other than CT.
    """
    if node is None:
        raise InputError("No CT is chosen.", "Choose the CT volume.")
    if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError("The node chosen as CT is not a scalar volume.", "Choose the CT volume.")
    _check_modality(node)
    with in_linear_frame(node) as linear:
        array, affine = _voxels(linear)
    return Volume(array, affine)


def points_from_node(node: Any) -> list[Point]:
    """The defined control points of a point list, in world coordinates under any transform.

    Raises:
        CentroidError: no node, another kind of markup, or no point.
    """
    if node is None:
        raise CentroidError("No centroids are chosen.", "Choose a point list with one point per vertebral body.")
    if not node.IsA("vtkMRMLMarkupsFiducialNode"):
        raise CentroidError("The node chosen as centroids is not a point list.", "Choose a point list.")
    if node.GetAttribute(RESULT):
        raise CentroidError("These points are results of a grading.", "Choose a list with one point per vertebra.")
    points, position = [], [0.0, 0.0, 0.0]
    for n in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(n) != slicer.vtkMRMLMarkupsNode.PositionDefined:
            continue
        node.GetNthControlPointPositionWorld(n, position)
        label = node.GetNthControlPointLabel(n) or ""
        if np.isfinite(position).all():
            points.append(Point((position[0], position[1], position[2]), parse_level(label), label))
    if not points:
        raise CentroidError("The point list has no placed point.", "Place one point in each vertebral body.")
    return points


def rename_points(node: Any, names: dict[str, str]) -> None:
    """Give the control points of a list the new names of their levels, all at once; others keep theirs."""
    was = node.StartModify()
    for n in range(node.GetNumberOfControlPoints()):
        level = parse_level(node.GetNthControlPointLabel(n) or "")
        if level in names:
            node.SetNthControlPointLabel(n, names[level])
    node.EndModify(was)


def labels_from_node(node: Any, numbering: str = "auto") -> VertebraLabels:
    """The vertebrae of a segmentation, by segment name or terminology, or of a labelmap volume, by number.

    Segments that name no vertebra (ribs, discs, "sacrum") are left out; when none does, the segments are taken by
    their number, as a labelmap would be.

    Raises:
        MaskError: no node, another kind of node, an empty segmentation, or one level in two segments.
    """
    if node is None:
        raise MaskError("No segmentation is chosen.", "Choose one, or grade without.")
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        with in_linear_frame(node) as linear:
            whole = Volume(*_voxels(linear))
        volume = _filled(whole)
        return replace(interpret(as_labels(volume.array, volume.affine), numbering), scan=whole.grid())
    if not node.IsA("vtkMRMLSegmentationNode"):
        raise MaskError("The node chosen as segmentation is none.", "Choose a segmentation or a labelmap volume.")
    with in_linear_frame(node) as linear:
        return _labels_of_segments(linear, numbering)


def segment_level(segment: Any) -> str | None:
    """The level that a segment stands for: by its name, its tag from an earlier grading, or its terminology.

    A name comes first because a user may have corrected it; one that speaks of a disc, rib or screw names no vertebra.
    """
    name = (segment.GetName() or "").replace("_", " ")
    if _NO_VERTEBRA.search(name):
        return None
    return parse_level(name) or _tag(segment, LEVEL_TAG) or parse_level(_terminology_type(segment))


RESULT = "VertebralGrading.Result"
"""Attribute of point lists that a grading made; they are no centroids."""
_NO_VERTEBRA = re.compile(
    r"\b(dis[ck]s?|ribs?|roots?|nerves?|cages?|screws?|pedicles?|canal|cord|facets?|laminae?|costal|endplates?)\b",
    re.IGNORECASE,
)
LEVEL_TAG = "VertebralGrading.Level"
"""Segment tag that holds the level of a segment named after its grade."""


def _labels_of_segments(node: Any, numbering: str) -> VertebraLabels:
    segmentation = node.GetSegmentation()
    levels: dict[str, str] = {}
    for segment_id in segmentation.GetSegmentIDs():
        level = segment_level(segmentation.GetSegment(segment_id))
        if level is not None and level in levels.values():
            raise MaskError(f"Two segments are named {level}.", "Rename or delete one of them.")
        if level is not None:
            levels[segment_id] = level
    chosen = list(levels) or list(segmentation.GetSegmentIDs())
    if not chosen:
        raise MaskError("The segmentation has no segment.", "Choose one with the vertebrae, or grade without.")
    labels = as_labels(*_merged(node, chosen))
    scan = _scan_of(node)
    if not levels:
        return replace(interpret(labels, numbering), scan=scan)
    names = {number: levels[segment_id] for number, segment_id in enumerate(chosen, start=1)}
    return VertebraLabels(labels, names, scan=scan)


def _scan_of(node: Any) -> Volume | None:
    """The grid that a segmentation was drawn on, which reaches farther than its segments; None where it knows none."""
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    text = node.GetSegmentation().GetConversionParameter(name)
    image = slicer.vtkOrientedImageData()
    if not text or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False):
        return None
    return empty_grid(image.GetDimensions(), _image_affine(node, image))


def _image_affine(node: Any, image: Any) -> NDArray[np.float64]:
    """(4, 4) voxel of an image's array -> world: the image's matrix counts from zero, its array from the extent."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    affine = np.asarray(to_world(node) @ slicer.util.arrayFromVTKMatrix(matrix), dtype=np.float64)
    affine[:3, 3] += affine[:3, :3] @ np.array(image.GetExtent()[::2], dtype=float)
    return affine


def _merged(node: Any, segment_ids: list[str]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Labels 1, 2, ... of segments in their order (ni, nj, nk), and the (4, 4) affine voxel -> world."""
    ids = vtk.vtkStringArray()
    for segment_id in segment_ids:
        ids.InsertNextValue(segment_id)
    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    if not node.GetSegmentation().ContainsRepresentation(binary):
        raise MaskError(
            "The segmentation has no voxels, only surfaces.",
            "Create its binary labelmap in the Segmentations module, with the CT as reference.",
        )
    image = slicer.vtkOrientedImageData()
    extent = slicer.vtkSegmentation.EXTENT_UNION_OF_SEGMENTS
    if not node.GenerateMergedLabelmapForAllSegments(image, extent, None, ids) or image.IsEmpty():
        raise MaskError("The segments are empty.", "Choose a segmentation with the vertebrae, or grade without.")
    return _image_array(image), _image_affine(node, image)


def _voxels(node: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Voxels (ni, nj, nk) as a view, and the (4, 4) affine voxel -> world, of a volume under linear transforms."""
    image = node.GetImageData()
    if image is None or image.GetPointData() is None or image.GetPointData().GetScalars() is None:
        raise InputError("The volume has no voxels.", "Load it again.")
    if image.GetNumberOfScalarComponents() != 1:
        raise InputError("The volume has several channels.", "Choose a scalar CT volume.")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return _image_array(image), to_world(node) @ slicer.util.arrayFromVTKMatrix(matrix)


def _filled(volume: Volume) -> Volume:
    """The box of voxels that are not zero, with one voxel around it; the volume itself where all are zero."""
    box = []
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        used = np.flatnonzero(volume.array.any(axis=other))
        if not len(used):
            return volume
        box.append(slice(max(used[0] - 1, 0), min(used[-1] + 2, volume.shape[axis])))
    if min(side.stop - side.start for side in box) < 2:
        return volume
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_ras(np.array([side.start for side in box]))
    return Volume(volume.array[tuple(box)], affine)


def _image_array(image: Any) -> NDArray[Any]:
    """(ni, nj, nk) view of an image's voxels; the array keeps their memory alive."""
    shape = tuple(reversed(image.GetDimensions()))
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape).transpose(2, 1, 0)


def _check_modality(node: Any) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    modality = hierarchy.GetItemAttribute(item, "DICOM.Modality") if item else ""
    if modality and modality != "CT":
        raise InputError(f"The DICOM modality is {modality}, not CT.", "Choose a CT series.")


def _terminology_type(segment: Any) -> str:
    """Meaning of the type in a segment's terminology entry, "context~category~type~...", each "scheme^code^meaning"."""
    entry = _tag(segment, slicer.vtkSegment.GetTerminologyEntryTagName())
    parts = entry.split("~")
    return parts[2].split("^")[-1] if len(parts) > 2 else ""


def _tag(segment: Any, name: str) -> str:
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""
