"""What methods drew of single vertebrae, kept in the scene: flat pictures, maps of lost height, warped CTs."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.report.height_loss import WARP, by_of
from VertebralGradingLib.report.pictures import BONE_WINDOW
from VertebralGradingLib.report.warped import is_kept_warp
from VertebralGradingLib.scene import folder
from VertebralGradingLib.scene.events import one_event
from VertebralGradingLib.scene.lost_height import SURFACE_CLASS, fill_healthy, fill_map, fill_surface
from VertebralGradingLib.scene.patches import fill_slice
from VertebralGradingLib.spine.reformation import Grid

LEVEL = "VertebralGrading.Level"
DRAWN = "VertebralGrading.Drawn"
"""Which part of an explanation a node is."""
ABOUT = "VertebralGrading.About"
"""What is to be told of it, as JSON."""
PICTURE, LOST, SURFACE, WARPED = "Drawn", "LostHeight", "LostHeightSurface", "Warped"
_VOLUME = "vtkMRMLScalarVolumeNode"
CLASSES = {PICTURE: _VOLUME, LOST: _VOLUME, SURFACE: SURFACE_CLASS, WARPED: _VOLUME}
"""Class of the nodes of each role."""
MAP, HEALTHY, ENDPLATE = "map", "healthy", "endplate"
_NAMES = {
    MAP: "{level} loss of height",
    HEALTHY: "{level} pseudo-healthy",
    ENDPLATE: "{level} endplate, loss of height",
}
_BELOW = {PICTURE: "drawn pictures", WARPED: "warped CT"}
_WARPS = "warps"
"""Parameter of the hidden node with what is kept of warps (:func:`report.warped.kept_warp`), by level, as JSON."""


def loss_part(part: str, warped: bool) -> str:
    """How a node of a map of lost height is marked: the warp's apart from that of other methods."""
    return f"{part} by the warp" if warped else part


class DrawnNodes(ABC):
    """The part of a study's results that methods drew, vertebra by vertebra."""

    node: Any

    @abstractmethod
    def add(self, role: str, name: str) -> Any:
        """Make a node that belongs to the study."""

    @abstractmethod
    def referenced(self, role: str) -> Iterator[Any]:
        """The study's nodes of a role."""

    @abstractmethod
    def home(self) -> int:
        """The study's folder."""

    def drawn_node(self, level: str, part: str) -> Any:
        """Node of one vertebra that a method drew (:meth:`keep`, :meth:`keep_height_loss`), None when there is none."""
        return next((node for node in self._drawn(level) if node.GetAttribute(DRAWN) == part), None)

    def keep(self, level: str, pictures: Mapping[str, tuple[str, NDArray[Any]]], grid: Grid, about: Any) -> None:
        """Keep what a learned method drew of one vertebra in the scene, instead of what it drew of it before.

        Args:
            level: which vertebra.
            pictures: part -> (name of the node, (R, C) HU).
            grid: where they lie.
            about: what is to be told of them; as for JSON.
        """
        with one_event(self.node.GetScene()):
            for part, (name, image) in pictures.items():
                fill_slice(self._part(PICTURE, level, part, name, about), image, grid, BONE_WINDOW)

    def kept(self, level: str) -> tuple[dict[str, NDArray[Any]], Any]:
        """Pictures (R, C) HU by part that :meth:`keep` has kept, and what is to be told of them; empty without any."""
        nodes = [node for node in self.referenced(PICTURE) if node.GetAttribute(LEVEL) == level]
        if any(node.GetImageData() is None for node in nodes):
            return {}, None  # its file was not found on loading
        pictures = {str(node.GetAttribute(DRAWN)): slicer.util.arrayFromVolume(node)[0] for node in nodes}
        return pictures, _about(nodes)

    def keep_height_loss(self, level: str, answer: Mapping[str, Any], png: str, text: str) -> None:
        """Keep where one vertebra lost height: its upper endplate in colours, the map, and the pseudo-healthy CT.

        What the warp tells and what another method tells are kept beside each other.

        Args:
            level: which vertebra.
            answer: of kind "height_loss_map" (:mod:`healthivert.method`, :mod:`methods.lost_height`).
            png: its picture, in base64.
            text: what is told of it.
        """
        warped = by_of(answer) == WARP
        parts = {part: loss_part(part, warped) for part in _NAMES}
        names = {part: name.format(level=level) + (", warped" if warped else "") for part, name in _NAMES.items()}
        about = {"png": png, "text": text}
        with one_event(self.node.GetScene()):
            fill_map(self._part(LOST, level, parts[MAP], names[MAP], about), answer)
            fill_surface(self._part(SURFACE, level, parts[ENDPLATE], names[ENDPLATE], {}), answer)
            if answer.get("pseudo_healthy") is not None and not answer.get("reasons"):
                fill_healthy(self._part(LOST, level, parts[HEALTHY], names[HEALTHY], {}), answer)
            else:
                old = self.drawn_node(level, parts[HEALTHY])
                if old is not None:
                    folder.remove(old)

    def kept_height_loss(self, level: str, warped: bool = False) -> tuple[str, str] | None:
        """Picture (PNG in base64) and text that :meth:`keep_height_loss` has kept, None without any.

        Args:
            level: which vertebra.
            warped: whether what the warp tells is wanted, or what another method does.
        """
        node = self.drawn_node(level, loss_part(MAP, warped))
        about = _about([node]) if node is not None else None
        if not isinstance(about, dict) or not isinstance(about.get("png"), str):
            return None
        return about["png"], str(about.get("text", ""))

    def keep_warp(self, level: str, about: Mapping[str, Any]) -> None:
        """Keep a warp of one vertebra (:func:`report.warped.kept_warp`), instead of what was kept of it before."""
        self._store_warps(self._warps() | {level: dict(about)})

    def kept_warp(self, level: str) -> dict[str, Any] | None:
        """What :meth:`keep_warp` has kept, None without any or where it cannot be read."""
        about = self._warps().get(level)
        return about if is_kept_warp(about) else None

    def forget_warps(self) -> None:
        """Keep no warp any more: their heights and names are of other findings."""
        self.node.UnsetParameter(_WARPS)
        for node in list(self.referenced(WARPED)):
            folder.remove(node)

    def keep_warped_ct(self, level: str, ct: Volume, wish: Mapping[str, Any], image: Any) -> Any:
        """Keep the CT around one vertebra as it was warped, instead of the one before; returns its node.

        Args:
            level: which vertebra.
            ct: HU, in patient space.
            wish: ``grade`` and ``shape``.
            image: the study's CT, whose window is taken.
        """
        name = f"{level} warped to grade {wish['grade']:.1f}"
        with one_event(self.node.GetScene()):
            node = self._part(WARPED, level, WARPED, name, dict(wish))
            slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(np.asarray(ct.array).transpose(2, 1, 0)))
            node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ct.affine))
            if node.GetDisplayNode() is None:
                node.CreateDefaultDisplayNodes()
            take_window(node, image)
        return node

    def warped_ct(self, level: str, wish: Mapping[str, Any]) -> Any:
        """The node of :meth:`keep_warped_ct` for the same wish, None where there is none."""
        node = self.drawn_node(level, WARPED)
        return node if node is not None and node.GetImageData() is not None and _about([node]) == dict(wish) else None

    def _warps(self) -> dict[str, Any]:
        try:
            found = json.loads(self.node.GetParameter(_WARPS) or "{}")
        except (ValueError, TypeError):
            return {}
        return found if isinstance(found, dict) else {}

    def _store_warps(self, warps: Mapping[str, Any]) -> None:
        self.node.SetParameter(_WARPS, json.dumps(warps, ensure_ascii=True, allow_nan=False))

    def _part(self, role: str, level: str, part: str, name: str, about: Any) -> Any:
        """The node of a part, made where there is none."""
        scene = self.node.GetScene()
        node = self.drawn_node(level, part) or self.add(role, name)
        if not node.GetName().startswith(name):
            node.SetName(scene.GenerateUniqueName(name))
        node.SetAttribute(LEVEL, level)
        node.SetAttribute(DRAWN, part)
        node.SetAttribute(ABOUT, json.dumps(about))
        folder.item_of(node, folder.subfolder(scene, self.home(), _BELOW.get(role, "loss of height")))
        return node

    def _drawn(self, level: str) -> Iterator[Any]:
        nodes = (node for role in CLASSES for node in self.referenced(role))
        return (node for node in nodes if node.GetAttribute(LEVEL) == level)


def take_window(node: Any, image: Any) -> None:
    """Show a volume in the window and level of another; in that of bone where the other is none or has none."""
    display = node.GetDisplayNode()
    if display is None:
        return
    like = image.GetDisplayNode() if image is not None and image.IsA(_VOLUME) else None
    display.AutoWindowLevelOff()
    if like is None:
        display.SetWindowLevelMinMax(*BONE_WINDOW)
    else:
        display.SetWindowLevel(like.GetWindow(), like.GetLevel())
        display.SetInterpolate(like.GetInterpolate())


def _about(nodes: list[Any]) -> Any:
    try:
        return json.loads(nodes[0].GetAttribute(ABOUT)) if nodes else None
    except (ValueError, TypeError):
        return None
