"""A volume in the slice views in place of the CT: on top of it, so that the CT is seen around what the volume shows."""

from __future__ import annotations

from typing import Any

import slicer

_CLASS = "vtkMRMLSliceCompositeNode"


class InPlace:
    """Shows one volume in all slice views, and gives back what they showed on top of the CT before."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, float]] | None = None
        self._filled: Any = None

    @property
    def is_shown(self) -> bool:
        """Whether a volume is shown."""
        return self._before is not None

    def show(self, volume: Any, segmentation: Any = None) -> None:
        """Show a volume where it lies; elsewhere the CT is seen.

        Args:
            volume: a scalar volume node.
            segmentation: of the CT; it lies where things were, so that only its outlines are left meanwhile.
        """
        nodes = list(slicer.util.getNodesByClass(_CLASS))
        if self._before is None:
            self._before = [
                (node, str(node.GetForegroundVolumeID() or ""), float(node.GetForegroundOpacity())) for node in nodes
            ]
        for node in nodes:
            node.SetForegroundVolumeID(volume.GetID())
            node.SetForegroundOpacity(1.0)
        display = segmentation.GetDisplayNode() if segmentation is not None else None
        if display is not None and self._filled is None and display.GetVisibility2DFill():
            display.SetVisibility2DFill(False)
            self._filled = display

    def put_back(self) -> None:
        """Show what was shown before."""
        filled, self._filled = self._filled, None
        if filled is not None and filled.GetScene() is not None:
            filled.SetVisibility2DFill(True)
        before, self._before = self._before, None
        for node, volume, opacity in before or []:
            if node.GetScene() is None:
                continue
            known = volume if volume and node.GetScene().GetNodeByID(volume) is not None else None
            node.SetForegroundVolumeID(known)
            node.SetForegroundOpacity(opacity)
