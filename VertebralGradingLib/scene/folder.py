"""The subject-hierarchy folder that holds what belongs to one graded study."""

from __future__ import annotations

import uuid
from typing import Any

import slicer
import vtk

MARK = "VertebralGrading.Folder"
"""Attribute of the folders that this package made: the mark of their study, or "part" for those inside."""


def hierarchy(scene: Any) -> Any:
    """The scene's subject hierarchy node; made when there is none yet."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def item_of(node: Any, parent: int | None = None) -> int:
    """The item of a node, made where Slicer has not made one yet; moved below ``parent`` when that is given."""
    tree = hierarchy(node.GetScene())
    item = tree.GetItemByDataNode(node)
    if not item:
        item = tree.CreateItem(tree.GetSceneItemID() if parent is None else parent, node)
    elif parent is not None and tree.GetItemParent(item) != parent:
        tree.SetItemParent(item, parent)
    return int(item)


def marked_folder(owner: Any, beside: Any, name: str) -> int:
    """The folder that belongs to a node, made beside another one, so that results lie in its patient and study.

    Args:
        owner: the hidden node of the study; both carry the same mark, which outlives the numbering of nodes.
        beside: node that the folder shall lie beside, or None.
        name: of the folder when it is made.
    """
    tree = hierarchy(owner.GetScene())
    study = owner.GetAttribute(MARK) or uuid.uuid4().hex
    owner.SetAttribute(MARK, study)
    everything = vtk.vtkIdList()
    tree.GetItemChildren(tree.GetSceneItemID(), everything, True)
    for n in range(everything.GetNumberOfIds()):
        if tree.GetItemAttribute(everything.GetId(n), MARK) == study:
            return int(everything.GetId(n))
    parent = tree.GetItemParent(item_of(beside)) if beside is not None else tree.GetSceneItemID()
    item = tree.CreateFolderItem(parent, name)
    tree.SetItemAttribute(item, MARK, study)
    return int(item)


def subfolder(scene: Any, parent: int, name: str) -> int:
    """The folder of that name directly below one of ours, made when it is not there."""
    tree = hierarchy(scene)
    item = tree.GetItemChildWithName(parent, name)
    if not item:
        item = tree.CreateFolderItem(parent, name)
        tree.SetItemAttribute(item, MARK, "part")
    return int(item)


def marked_above(node: Any) -> int:
    """The folder made for a study that a node lies in, at any depth; 0 when it lies in none."""
    tree = hierarchy(node.GetScene())
    item = tree.GetItemByDataNode(node)
    while item and item != tree.GetSceneItemID():
        item = tree.GetItemParent(item)
        if item and tree.GetItemAttribute(item, MARK) not in ("", "part"):
            return int(item)
    return 0


def remove(node: Any) -> None:
    """Take a node out of the scene with its item and with the display and storage nodes that are its own."""
    scene = node.GetScene()
    own = []
    if node.IsA("vtkMRMLDisplayableNode"):
        own += [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        own += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    tree = hierarchy(scene)
    item = tree.GetItemByDataNode(node)
    if item:
        tree.RemoveItem(item, False, False)
    for other in (node, *own):
        if other is not None and other.GetScene() is not None:
            scene.RemoveNode(other)


def remove_if_empty(scene: Any, item: int) -> None:
    """Remove a folder of ours, and those in it, unless something else lies in them."""
    tree = hierarchy(scene)
    if not item or not tree.GetItemAttribute(item, MARK):
        return
    children = vtk.vtkIdList()
    tree.GetItemChildren(item, children)
    for n in range(children.GetNumberOfIds()):
        remove_if_empty(scene, children.GetId(n))
    tree.GetItemChildren(item, children)
    if not children.GetNumberOfIds():
        tree.RemoveItem(item, False, False)
