"""The subject-hierarchy folder that holds what belongs to one graded study."""

from __future__ import annotations

from typing import Any

import slicer
import vtk


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


def folder_beside(node: Any, name: str) -> int:
    """A new folder beside a node, so that results lie in the patient and study that the node lies in."""
    tree = hierarchy(node.GetScene())
    return int(tree.CreateFolderItem(tree.GetItemParent(item_of(node)), name))


def subfolder(scene: Any, parent: int, name: str) -> int:
    """The folder of that name directly below another, made when it is not there."""
    tree = hierarchy(scene)
    item = tree.GetItemChildWithName(parent, name)
    return int(item or tree.CreateFolderItem(parent, name))


def folder_of(node: Any) -> int:
    """The folder that a node lies in, 0 when it lies in none."""
    tree = hierarchy(node.GetScene())
    item = tree.GetItemByDataNode(node)
    parent = tree.GetItemParent(item) if item else 0
    return int(parent) if parent and parent != tree.GetSceneItemID() else 0


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
    """Remove a folder, and the folders in it, unless something that is no folder lies in them."""
    tree = hierarchy(scene)
    if not item or tree.GetItemDataNode(item) is not None:
        return
    children = vtk.vtkIdList()
    tree.GetItemChildren(item, children)
    for n in range(children.GetNumberOfIds()):
        remove_if_empty(scene, children.GetId(n))
    tree.GetItemChildren(item, children)
    if not children.GetNumberOfIds():
        tree.RemoveItem(item, False, False)
