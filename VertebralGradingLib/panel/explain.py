"""Why a vertebra has its grade: its patch with the six points, and the heights beside what was expected."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.panel.counterfactual import CounterfactualPart
from VertebralGradingLib.panel.height_loss import HeightLossPart
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.panel.warp import WarpPart
from VertebralGradingLib.panel.worker import runLater
from VertebralGradingLib.report.explanation import patch_png, profile_png
from VertebralGradingLib.report.sentences import considerations_text, other_methods, sentence
from VertebralGradingLib.scene.inputs import voxels_from_node

_WARPED, _LOST, _DRAWN = 1, 2, 3
"""Places of the warped vertebra, of the map of lost height and of the drawn vertebra in the list."""


class ExplainPart:
    """The section "Explain"; its list has what morphometry shows, and what learned methods draw.

    Args:
        ui: the panel's widgets.
        session: the study.
        logic: the module's logic, which has the worker.
    """

    def __init__(self, ui: Any, session: Session, logic: Any) -> None:
        self._ui = ui
        self._session = session
        self._counterfactual = CounterfactualPart(ui, session, logic, _show)
        self._heightLoss = HeightLossPart(ui, session, logic, _show)
        self._warp = WarpPart(ui, session, logic, _show)
        self._volume: Volume | None = None
        self._isPending = False
        self._isOver = False
        ui.explainComboBox.addItems(
            [
                _("heights against what is expected"),
                _("the vertebra at another grade"),
                _("where height was lost"),
                _("the vertebra at another grade, drawn by the diffusion autoencoder"),
            ]
        )
        ui.explainComboBox.connect("currentIndexChanged(int)", self.onKind)
        ui.explainCollapsibleButton.connect("contentsCollapsed(bool)", self.onCollapsed)

    def close(self) -> None:
        """Touch no widget any more."""
        self._isOver = True
        self._counterfactual.close()
        self._heightLoss.close()
        self._warp.close()

    def setEntered(self, entered: bool) -> None:
        """The user comes to the module, or leaves it."""
        self._warp.setEntered(entered)
        if not entered:
            self.leave()

    def leave(self) -> None:
        """The user leaves the module, or the study goes: show nothing that belongs to it."""
        self._heightLoss.hide()
        self._warp.leave()

    def opened(self) -> None:
        """Read the image of the study once."""
        self._volume = None
        self._counterfactual.forget()
        self._heightLoss.forget()
        self._warp.forget()
        results = self._session.results
        node = results.image_node if results is not None else None
        if node is not None and node.IsA("vtkMRMLScalarVolumeNode"):
            try:
                self._volume = voxels_from_node(node)
            except VertebralGradingError:
                self._volume = None  # a picture less; grading has told why, or will
        self.update()

    def closed(self) -> None:
        """Let go of the image."""
        self._volume = None
        self._counterfactual.forget()
        self._heightLoss.forget()
        self._warp.forget()
        self.update()

    def onKind(self, index: int) -> None:
        """Show something else."""
        self._counterfactual.forget()
        self._heightLoss.forget()
        self._warp.forget()
        self._ui.patchLabel.clear()
        self.update()

    def onCollapsed(self, collapsed: bool) -> None:
        """Draw when the section is opened."""
        if not collapsed:
            self.update()

    def update(self) -> None:
        """Draw the chosen vertebra when the window has had its turn, once for any number of changes."""
        if not self._isPending:
            self._isPending = True
            runLater(0, self._draw)

    def _draw(self) -> None:
        self._isPending = False
        if self._isOver:
            return
        ui, finding, report = self._ui, self._session.finding, self._session.report
        shown = ui.explainComboBox.currentIndex
        if shown != _DRAWN:
            self._counterfactual.hide()
        if shown != _LOST:
            self._heightLoss.hide()
        if shown != _WARPED:
            self._warp.hide()
        if finding is None or report is None:
            ui.sentenceLabel.text = ""
            for label in (ui.patchLabel, ui.profileLabel, ui.drawnLabel):
                label.clear()
            return
        said = (sentence(finding), considerations_text(finding), other_methods(finding))
        ui.sentenceLabel.text = " ".join(text for text in said if text)
        if ui.explainCollapsibleButton.collapsed:
            return
        ui.profileLabel.visible = shown not in (_DRAWN, _LOST, _WARPED)
        if shown == _DRAWN:
            self._counterfactual.show()
            return
        if shown == _LOST:
            self._heightLoss.show()
            return
        if shown == _WARPED:
            self._warp.show()
            return
        dark = ui.sentenceLabel.palette.color(qt.QPalette.Window).lightness() < 128
        if self._volume is not None:
            _show(ui.patchLabel, patch_png(finding, self._volume))
        else:
            ui.patchLabel.clear()
        _show(ui.profileLabel, profile_png(report.findings, finding.level, dark))


def _show(label: Any, png: bytes) -> None:
    pixmap = qt.QPixmap()
    pixmap.loadFromData(qt.QByteArray(png))
    label.setPixmap(pixmap)
    label.minimumHeight = pixmap.height()
