"""Vertebrae as segments that are named and coloured by their final state."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk

from VertebralGradingLib.findings import Finding
from VertebralGradingLib.findings.states import NOT_REACHED
from VertebralGradingLib.report.colors import caption, color_of
from VertebralGradingLib.resources import resource
from VertebralGradingLib.scene.inputs import LEVEL_TAG, segment_level
from VertebralGradingLib.segmentation.labels import VertebraLabels

GRADE_TAG = "VertebralGrading.Grade"
STATE_TAG = "VertebralGrading.State"
INTERVAL_TAG = "VertebralGrading.ScoreInterval"
NAME_TAG = "VertebralGrading.OriginalName"
COLOR_TAG = "VertebralGrading.OriginalColor"
TERM_TAG = "VertebralGrading.OriginalTerminology"
_TAGS = (LEVEL_TAG, GRADE_TAG, STATE_TAG, INTERVAL_TAG, NAME_TAG, COLOR_TAG, TERM_TAG)


def segment_name(finding: Finding) -> str:
    """Name of a segment: "L1 grade 3", "L1 grade 2 (reader)", "L1 excluded", "T12 borderline" or so."""
    return f"{finding.level} {caption(finding)}"


def fill_segments(
    node: Any, labels: VertebraLabels, findings: Sequence[Finding], to_local: NDArray[np.float64], image_node: Any
) -> Iterator[None]:
    """Replace a segmentation's segments by one for each finding that has a label, with its closed surface.

    A vertebra that the run did not reach has none, also where the user's own labels show it.

    Args:
        node: segmentation node; its segments take the levels as identifiers.
        labels: bodies or vertebrae on a voxel grid; affine in world coordinates.
        findings: cranial to caudal.
        to_local: (4, 4) from the world to the frame that the node stands in.
        image_node: volume whose geometry DICOM export shall use, or None.

    Yields:
        After each segment, so that a window can stay alive meanwhile.
    """
    segmentation = node.GetSegmentation()
    segmentation.RemoveAllSegments()
    if image_node is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(image_node)
    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segmentation.SetSourceRepresentationName(binary)
    findings = [finding for finding in findings if finding.state != NOT_REACHED]
    image, numbers = _shared_image(labels, findings, to_local)
    for finding in findings:
        if finding.level in numbers:
            segment = slicer.vtkSegment()
            segment.SetLabelValue(numbers[finding.level])
            segment.AddRepresentation(binary, image)  # one image for all: Slicer's shared labelmap
            dress(segment, finding)
            segmentation.AddSegment(segment, finding.level)
            node.CreateClosedSurfaceRepresentation()  # of the segments that have none yet
            yield


def recolor(node: Any, findings: Sequence[Finding]) -> None:
    """Name, colour and tag the segments of each level by its finding; shapes stay as they are."""
    segmentation = node.GetSegmentation()
    by_level = {finding.level: finding for finding in findings}
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        finding = by_level.get(segment_level(segment) or segment_id)
        if finding is None:
            continue
        dress(segment, finding)


def dress(segment: Any, finding: Finding) -> None:
    """Name, colour, tag and code a segment by a finding."""
    segment.SetName(segment_name(finding))
    segment.SetColor(*(value / 255.0 for value in color_of(finding).rgb))
    segment.SetTag(LEVEL_TAG, finding.level)
    segment.SetTag(GRADE_TAG, "" if finding.final_grade is None else str(finding.final_grade))
    segment.SetTag(STATE_TAG, "excluded" if finding.excluded else finding.final_state)
    low, high = finding.grade_interval or (None, None)
    segment.SetTag(INTERVAL_TAG, "" if low is None else f"{low:.2f} {high:.2f}")
    entry = terminology_entry(finding.level)
    if entry:
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)


def relabel(node: Any, names: dict[str, str]) -> None:
    """Rename levels, all at once: the segment of each old name becomes that of its new one."""
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetSegment(segment_id) for segment_id in segmentation.GetSegmentIDs()]
    for segment, level in [(segment, segment_level(segment)) for segment in segments]:
        if level in names:
            segment.SetTag(LEVEL_TAG, names[level])
            segment.SetName(names[level])


def recolor_given(node: Any, findings: Sequence[Finding]) -> None:
    """Name and colour the user's own segments by grade; only on request. The first name is kept in a tag."""
    segmentation = node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        value = vtk.reference("")
        if segment_level(segment) and not segment.GetTag(NAME_TAG, value):
            segment.SetTag(NAME_TAG, segment.GetName())
            segment.SetTag(COLOR_TAG, " ".join(f"{part:.6f}" for part in segment.GetColor()))
            entry = vtk.reference("")
            segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
            segment.SetTag(TERM_TAG, str(entry))
    recolor(node, findings)


def restore_given(node: Any) -> None:
    """Give segments the names, colours and codes back that they had before :func:`recolor_given`."""
    segmentation = node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        name = vtk.reference("")
        if segment.GetTag(NAME_TAG, name):
            segment.SetName(str(name))
            color, entry = vtk.reference(""), vtk.reference("")
            if segment.GetTag(COLOR_TAG, color):
                segment.SetColor(*(float(part) for part in str(color).split()))
            if segment.GetTag(TERM_TAG, entry):
                segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), str(entry))
            for tag in _TAGS:
                segment.RemoveTag(tag)


def terminology_entry(level: str) -> str:
    """Slicer's terminology entry of a vertebra (DICOM CID 7603); empty for T13, L6 and unknown levels."""
    table = _terminology()
    code = table["types"].get(level)
    if code is None:
        return ""
    category = "^".join(table["category"])
    kind = f"{table['category'][0]}^{code}^{level} vertebra"
    return f"{table['context']}~{category}~{kind}~^^~Anatomic codes - DICOM master list~^^~^^"


@cache
def _terminology() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(resource("terminology/vertebrae.json").read_text(encoding="utf-8"))
    return table


def _shared_image(
    labels: VertebraLabels, findings: Sequence[Finding], to_local: NDArray[np.float64]
) -> tuple[Any, dict[str, int]]:
    """The labels as an oriented image in the node's frame, and the label of each level."""
    numbers: dict[str, int] = {}
    for finding in findings:
        label = labels.by_level.get(finding.level) or labels.label_at(np.array(finding.center_ras_mm))
        if label is not None and label not in numbers.values():
            numbers[finding.level] = label
    boxes = [labels.boxes[label] for label in numbers.values() if label in labels.boxes]
    low = [max(min((box[axis].start for box in boxes), default=0) - 1, 0) for axis in range(3)]
    high = [max((box[axis].stop for box in boxes), default=2) + 1 for axis in range(3)]
    part = labels.volume.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    kept = np.zeros(int(part.max(initial=0)) + 1, dtype=np.uint16)
    kept[[label for label in numbers.values() if label < len(kept)]] = [n for n in numbers.values() if n < len(kept)]
    voxels = kept[part]
    affine = labels.volume.affine.copy()
    affine[:3, 3] = labels.volume.to_ras(np.array(low))
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*voxels.shape)
    scalars = numpy_to_vtk(np.ascontiguousarray(voxels.transpose(2, 1, 0)).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(to_local @ affine))
    return image, numbers
