"""The studies of a scene: finding the results of an image, making them, showing a report in one go."""

from __future__ import annotations

from typing import Any

import slicer

from VertebralGradingLib.errors import InputError
from VertebralGradingLib.findings import Report
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.scene.results import CENTROIDS, GIVEN, IMAGE, MODULE, StudyResults
from VertebralGradingLib.segmentation.labels import VertebraLabels
from VertebralGradingLib.spine.spine import Spine


def show_report(
    report: Report,
    image_node: Any,
    *,
    ct: Volume | None = None,
    spine: Spine | None = None,
    labels: VertebraLabels | None = None,
    centroids_node: Any = None,
    given_node: Any = None,
) -> StudyResults:
    """Put findings into the scene of their image, in place of earlier ones of the same image.

    Args:
        report: the findings.
        image_node: volume that was graded, or segmentation where there was no volume.
        ct: its voxels, for the patches; without it there are none.
        spine: the centroids' spine, for the patches of vertebrae that were not measured.
        labels: bodies found, or the user's vertebrae, in world coordinates.
        centroids_node: the user's point list.
        given_node: the user's own segmentation; it is referred to and left as it is.

    Raises:
        InputError: the image has left the scene.
    """
    results = results_for(image_node, centroids_node, given_node)
    for _ in results.show(report, ct, spine, labels):
        pass
    return results


def results_for(image_node: Any, centroids_node: Any = None, given_node: Any = None) -> StudyResults:
    """The results of an image, made where it has none yet; see :func:`show_report`.

    Raises:
        InputError: the image has left the scene.
    """
    scene = image_node.GetScene() if image_node is not None else None
    if scene is None:
        raise InputError("The image has left the scene.", "Load it again; the results were not shown.")
    results = results_of(image_node) or _new(scene, image_node)
    for role, node in ((CENTROIDS, centroids_node), (GIVEN, given_node)):
        present = node is not None and node.GetScene() is not None
        results.node.SetNodeReferenceID(role, node.GetID() if present else None)
    return results


def results_of(image_node: Any) -> StudyResults | None:
    """The results of an image, None when it has none in its scene."""
    for results in all_results(image_node.GetScene()):
        if results.node.GetNodeReferenceID(IMAGE) == image_node.GetID():
            return results
    return None


def all_results(scene: Any) -> list[StudyResults]:
    """The results of every study in a scene."""
    nodes = scene.GetNodesByClass("vtkMRMLScriptedModuleNode")
    nodes.UnRegister(None)
    found = [nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems())]
    return [StudyResults(node) for node in found if node.GetModuleName() == MODULE]


def _new(scene: Any, image_node: Any) -> StudyResults:
    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetModuleName(MODULE)
    node.SetName("VertebralGrading results")
    node = scene.AddNode(node)
    node.SetNodeReferenceID(IMAGE, image_node.GetID())
    return StudyResults(node)
