"""Why a vertebra has its grade: its patch with the six points, and the heights beside what was expected."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.panel.worker import runLater
from VertebralGradingLib.report.explanation import patch_png, profile_png
from VertebralGradingLib.report.sentences import sentence
from VertebralGradingLib.scene.inputs import voxels_from_node
from VertebralGradingLib.volume import Volume


class ExplainPart:
    """The section "Explain". Learned methods add entries to its list of kinds (``pipeline.explain``).

    Args:
        ui: the panel's widgets.
        session: the study.
    """

    def __init__(self, ui: Any, session: Session) -> None:
        self._ui = ui
        self._session = session
        self._volume: Volume | None = None
        self._isPending = False
        self._isOver = False
        ui.explainComboBox.addItems([_("heights against what is expected")])
        ui.explainComboBox.enabled = ui.explainComboBox.count > 1
        ui.explainCollapsibleButton.connect("contentsCollapsed(bool)", self.onCollapsed)

    def close(self) -> None:
        """Touch no widget any more."""
        self._isOver = True

    def opened(self) -> None:
        """Read the image of the study once."""
        self._volume = None
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
        if finding is None or report is None:
            ui.sentenceLabel.text = ""
            ui.patchLabel.clear()
            ui.profileLabel.clear()
            return
        ui.sentenceLabel.text = sentence(finding)
        if ui.explainCollapsibleButton.collapsed:
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
