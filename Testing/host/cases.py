"""Putting arrays of the package into the scene, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from VertebralGradingLib.demo import demo_case
from VertebralGradingLib.findings import Report
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.methods.bodies import body_labels
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.segmentation.labels import VertebraLabels
from VertebralGradingLib.spine.points import Point
from VertebralGradingLib.spine.spine import build_spine

demo = cache(demo_case)
"""The synthetic spine and its points, drawn once in a process of tests; nobody writes into them."""


SOME_POINTS = tuple(demo()[1][1:5])
"""The demo's wedged L1 and what is beside it."""


@cache
def _graded_demo(points: tuple[Point, ...]) -> tuple[str, VertebraLabels]:
    """Findings (JSON) and bodies of the synthetic spine; graded once in a process of tests."""
    bodies: list[VertebraLabels] = []
    report = grade(demo()[0], build_spine(points), on_study=lambda study: bodies.append(body_labels(study)))
    return json.dumps(report.to_dict()), bodies[0]


def show_graded_demo(volume: Any, markups: Any, points: Sequence[Point]) -> Any:
    """Put the findings of the synthetic spine into the scene, as a run over these nodes does; returns the results.

    Args:
        volume: node with the synthetic spine's voxels.
        markups: node with these points.
        points: of the synthetic spine, all of them or some.

    For tests of what comes after grading; those of grading itself grade.
    """
    from VertebralGradingLib.scene.grading import read_inputs

    report, bodies = _graded_demo(tuple(points))
    return read_inputs(volume, markups).show(Report.from_dict(json.loads(report)), bodies)


def add_volume(volume: Volume, name: str = "CT", class_name: str = "vtkMRMLScalarVolumeNode") -> Any:
    """A volume node with the same voxels in the same places."""
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(volume.array.transpose(2, 1, 0)))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(volume.affine))
    node.CreateDefaultDisplayNodes()
    return node


def add_points(points: Sequence[Point], name: str = "centroids") -> Any:
    """A point list."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    for point in points:
        n = node.AddControlPointWorld(*point.position)
        node.SetNthControlPointLabel(n, point.label or point.level or "")
    return node


def add_segmentation(volume: Volume, names: dict[int, str], name: str = "vertebrae") -> Any:
    """A segmentation with one segment for each label."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    reference = add_volume(volume, "grid", "vtkMRMLLabelMapVolumeNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    for label, text in names.items():
        segment = node.GetSegmentation().AddEmptySegment("", text)
        array = (volume.array == label).astype(np.uint8).transpose(2, 1, 0)
        slicer.util.updateSegmentBinaryLabelmapFromArray(np.ascontiguousarray(array), node, segment, reference)
    slicer.mrmlScene.RemoveNode(reference)
    return node


def add_transform(matrix: NDArray[np.float64], name: str = "move") -> Any:
    """A linear transform node, (4, 4) to its parent."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def add_warp(shift_mm: float = 4.0, name: str = "warp") -> Any:
    """A transform that is not linear: a grid that moves everything by one vector, plus a small wave to the right."""
    import vtk

    grid = vtk.vtkImageData()
    grid.SetDimensions(9, 9, 9)
    grid.SetOrigin(-400.0, -400.0, -800.0)
    grid.SetSpacing(100.0, 100.0, 200.0)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    field = vtk.util.numpy_support.vtk_to_numpy(grid.GetPointData().GetScalars()).reshape(9, 9, 9, 3)
    field[:] = (0.0, 0.0, shift_mm)
    field[:, :, :, 0] = 0.5 * np.sin(np.arange(9.0))[:, None, None]
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(grid)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
    node.SetAndObserveTransformToParent(transform)
    return node


def observers(*nodes: Any, highest_tag: int = 20000) -> int:
    """How many observers VTK objects have in all."""
    return sum(node.GetCommand(tag) is not None for node in nodes for tag in range(1, highest_tag))
