"""Subject-hierarchy items for data nodes, as the full application makes them.

In Slicer, plugins of the subject-hierarchy widgets give each shown data node an item when the node is added or a scene
was read, and take the item away with the node. The MRML library alone does neither.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk

# The kinds of nodes for which Slicer has a subject-hierarchy plugin.
OWNED = (
    "vtkMRMLVolumeNode",
    "vtkMRMLModelNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLTransformNode",
    "vtkMRMLTableNode",
    "vtkMRMLPlotChartNode",
    "vtkMRMLPlotSeriesNode",
    "vtkMRMLTextNode",
)


class SubjectHierarchyItems:
    """Makes and removes the items while ``active``; off, it observes nothing."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._tags: list[int] = []

    @property
    def active(self) -> bool:
        return bool(self._tags)

    @active.setter
    def active(self, active: bool) -> None:
        if active == self.active:
            return
        if active:
            observe = self._scene.AddObserver
            self._tags = [
                observe(slicer.vtkMRMLScene.NodeAddedEvent, self._node_added),
                observe(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._node_about_to_be_removed),
                observe(slicer.vtkMRMLScene.EndImportEvent, self._import_ended),
                observe(slicer.vtkMRMLScene.EndCloseEvent, self._close_ended),
            ]
        else:
            for tag in self._tags:
                self._scene.RemoveObserver(tag)
            self._tags = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_added(self, _scene: Any, _event: str, node: Any) -> None:
        if not self._scene.IsImporting():
            self._add(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_about_to_be_removed(self, _scene: Any, _event: str, node: Any) -> None:
        if self._scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = self._hierarchy()
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _import_ended(self, *_: Any) -> None:
        nodes = self._scene.GetNodesByClass("vtkMRMLStorableNode")
        nodes.UnRegister(None)
        for index in range(nodes.GetNumberOfItems()):
            self._add(nodes.GetItemAsObject(index))

    def _close_ended(self, *_: Any) -> None:
        self._hierarchy()  # closing the scene took the hierarchy node away; asking for it makes a new one

    def _hierarchy(self) -> Any:
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)

    def _add(self, node: Any) -> None:
        exclude = slicer.vtkMRMLSubjectHierarchyConstants.GetSubjectHierarchyExcludeFromTreeAttributeName()
        if node.GetHideFromEditors() or node.GetAttribute(exclude) or not any(map(node.IsA, OWNED)):
            return
        hierarchy = self._hierarchy()
        if not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
