"""Reading and writing files for ``slicer.util``: what the host has of ``slicer.app.coreIOManager()``.

The work is done by the real module logics and storage nodes; this only chooses which.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
import vtk

# File name endings and the file type Slicer would choose, longest first.
FILE_TYPES = (
    (".seg.nrrd", "SegmentationFile"),
    (".seg.nhdr", "SegmentationFile"),
    (".mrk.json", "MarkupsFile"),
    (".fcsv", "MarkupsFile"),
    (".nii.gz", "VolumeFile"),
    (".nii", "VolumeFile"),
    (".nrrd", "VolumeFile"),
    (".nhdr", "VolumeFile"),
    (".mha", "VolumeFile"),
    (".mhd", "VolumeFile"),
    (".dcm", "VolumeFile"),
    (".ctbl", "ColorTableFile"),
    (".csv", "TableFile"),
    (".tsv", "TableFile"),
    (".txt", "TextFile"),
    (".h5", "TransformFile"),
    (".tfm", "TransformFile"),
    (".vtp", "ModelFile"),
    (".stl", "ModelFile"),
    (".mrb", "SceneFile"),
    (".mrml", "SceneFile"),
)

# Class of a storable node and the file type its writer answers to.
WRITERS = (
    ("vtkMRMLSegmentationNode", "SegmentationFile"),
    ("vtkMRMLVolumeNode", "VolumeFile"),
    ("vtkMRMLMarkupsNode", "MarkupsFile"),
    ("vtkMRMLTableNode", "TableFile"),
    ("vtkMRMLTextNode", "TextFile"),
    ("vtkMRMLModelNode", "ModelFile"),
    ("vtkMRMLColorNode", "ColorTableFile"),
    ("vtkMRMLTransformNode", "TransformFile"),
)

# The bits of the loading options of vtkSlicerVolumesLogic::AddArchetypeVolume.
VOLUME_OPTIONS = {"labelmap": 1, "center": 2, "singleFile": 4, "autoWindowLevel": 8, "discardOrientation": 16}


class CoreIOManager:
    """Loads and saves nodes and scenes in the running application's scene."""

    __slots__ = ("_host", "_readers")

    def __init__(self, host: Any) -> None:
        self._host = host
        self._readers: dict[str, Callable[[str, dict[str, Any], Any], Any]] = {
            "VolumeFile": self._load_volume,
            "SegmentationFile": self._load_segmentation,
            "MarkupsFile": self._load_markups,
            "TableFile": lambda path, _, log: self._logic("Tables").AddTable(path, _base_name(path), True, "", log),
            "ColorTableFile": lambda path, _, log: self._logic("Colors").LoadColorFile(path, _base_name(path), log),
            "ModelFile": lambda path, _, log: self._logic("Models").AddModel(path, _LPS, log),
            "TransformFile": lambda path, _, log: self._logic("Transforms").AddTransform(path, self._host.scene, log),
        }

    def fileType(self, path: Any) -> str:  # noqa: N802 - Slicer's name
        """Return the file type Slicer's readers would claim the file with, by its ending."""
        name = str(path).lower()
        return next((kind for ending, kind in FILE_TYPES if name.endswith(ending)), "NoFile")

    def fileWriterFileType(self, node: Any) -> str:  # noqa: N802
        """Return the file type of the writer for a node."""
        return next((kind for class_name, kind in WRITERS if node.IsA(class_name)), "NoFile")

    def loadNodes(self, kind: str, properties: dict[str, Any], loaded: Any, messages: Any) -> bool:  # noqa: N802
        """Load a file into the scene, put the node into ``loaded`` and tell whether it worked."""
        path = properties["fileName"]
        if kind == "SceneFile":
            return self._load_scene(path, bool(properties.get("clear", False)), messages)
        if kind not in self._readers:
            raise NotImplementedError(f"the test host does not read files of type {kind}")
        node = self._readers[kind](path, properties, messages)
        if node is None:
            return False
        loaded.AddItem(node)
        return True

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any) -> bool:  # noqa: N802
        """Save a node, or the scene, and tell whether it worked."""
        path = properties.get("fileName")
        if not isinstance(path, str) or not path:  # Qt cannot turn a pathlib.Path into a string
            messages.AddMessage(vtk.vtkCommand.ErrorEvent, "saveNodes failed: fileName must be a str and not empty")
            return False
        if kind == "SceneFile":
            return self._save_scene(path, messages)
        node = self._host.scene.GetNodeByID(properties["nodeID"])
        if node is None or self.fileWriterFileType(node) != kind or not node.AddDefaultStorageNode():
            messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"no writer of type {kind} for this node")
            return False
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        storage.SetURI(None)
        if "useCompression" in properties:
            storage.SetUseCompression(int(properties["useCompression"]))
        written = bool(storage.WriteData(node))
        messages.AddMessages(storage.GetUserMessages())
        return written

    def _logic(self, name: str) -> Any:
        return self._host.module_logic(name)

    def _load_volume(self, path: str, properties: dict[str, Any], messages: Any) -> Any:
        options = sum(bit for name, bit in VOLUME_OPTIONS.items() if properties.get(name))
        files = vtk.vtkStringArray()
        for name in properties.get("fileNames", ()):
            files.InsertNextValue(name)
        name = properties.get("name", _base_name(path))
        node = self._logic("Volumes").AddArchetypeVolume(path, name, options, files, messages)
        if node is None:
            return None
        if "colorNodeID" in properties:
            node.GetDisplayNode().SetAndObserveColorNodeID(properties["colorNodeID"])
        if properties.get("show", True):
            selection = self._host.logic.GetSelectionNode()
            if node.IsA("vtkMRMLLabelMapVolumeNode"):
                selection.SetActiveLabelVolumeID(node.GetID())
            else:
                selection.SetActiveVolumeID(node.GetID())
            self._host.logic.PropagateVolumeSelection()
        return node

    def _load_segmentation(self, path: str, properties: dict[str, Any], messages: Any) -> Any:
        colors = self._host.scene.GetNodeByID(properties["colorNodeID"]) if "colorNodeID" in properties else None
        return self._logic("Segmentations").LoadSegmentationFromFile(
            path, bool(properties.get("autoOpacities", True)), properties.get("name", ""), colors, messages
        )

    def _load_markups(self, path: str, properties: dict[str, Any], messages: Any) -> Any:
        node_id = self._logic("Markups").LoadMarkups(path, properties.get("name", ""), messages)
        return self._host.scene.GetNodeByID(node_id.split(",")[0]) if node_id else None

    def _load_scene(self, path: str, clear: bool, messages: Any) -> bool:
        scene = self._host.scene
        if path.lower().endswith(".mrb"):
            return bool(scene.ReadFromMRB(path, clear, messages))
        scene.SetURL(path)
        return bool(scene.Connect(messages) if clear else scene.Import(messages))

    def _save_scene(self, path: str, messages: Any) -> bool:
        scene = self._host.scene
        if path.lower().endswith(".mrb"):
            return bool(scene.WriteToMRB(path, None, messages))
        if path.lower().endswith(".mrml"):
            scene.SetURL(path)
            scene.SetRootDirectory(str(Path(path).parent))
            return bool(scene.Commit(None, messages))
        return bool(scene.SaveSceneToSlicerDataBundleDirectory(path, None, messages))


_LPS = slicer.vtkMRMLStorageNode.CoordinateSystemLPS


def _base_name(path: str) -> str:
    """Return the file's name up to its first dot, which Slicer's readers name nodes by."""
    return Path(path).name.split(".")[0]
