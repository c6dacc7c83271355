"""Where a node stands in the world: linear parent transforms are composed, others are hardened into a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from VertebralGradingLib.errors import InputError


def to_world(node: Any) -> NDArray[np.float64]:
    """(4, 4) matrix from a node's own frame to the world (RAS mm); the identity without a parent transform.

    Raises:
        InputError: a parent transform is not linear.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    matrix = vtk.vtkMatrix4x4()
    if not parent.IsTransformToWorldLinear() or not parent.GetMatrixTransformToWorld(matrix):
        raise InputError(
            "The node stands under a transform that is not linear.", "Harden the transform in the Transforms module."
        )
    return slicer.util.arrayFromVTKMatrix(matrix)


def is_warped(node: Any) -> bool:
    """Whether a node stands under a transform that is not linear."""
    parent = node.GetParentTransformNode()
    return parent is not None and not parent.IsTransformToWorldLinear()


@contextmanager
def in_linear_frame(node: Any) -> Iterator[Any]:
    """The node itself; under a transform that is not linear, a hardened copy that leaves the scene afterwards.

    Raises:
        InputError: the transform cannot be applied.
    """
    if not is_warped(node):
        yield node
        return
    scene = node.GetScene()
    copy = scene.AddNewNodeByClass(node.GetClassName(), f"{node.GetName()} hardened")
    try:
        copy.SetSaveWithScene(False)
        copy.SetHideFromEditors(True)
        copy.CopyContent(node)
        copy.SetAndObserveTransformNodeID(node.GetTransformNodeID())
        if not copy.HardenTransform():
            raise InputError(
                "The transform of the node cannot be hardened.", "Harden or remove it in the Transforms module."
            )
        yield copy
    finally:
        scene.RemoveNode(copy)
