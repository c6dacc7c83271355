"""Writing the findings with the reader's changes: CSV, JSON, HTML and an overview picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from VertebralGradingLib.errors import OutputError
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.report import write_report
from VertebralGradingLib.scene.inputs import ct_from_node, labels_from_node, points_from_node
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.spine import Spine, build_spine
from VertebralGradingLib.volume import Volume


class ExportPart:
    """The section "Export".

    Args:
        ui: the panel's widgets.
        session: the study.
        change: runs an action and shows its error, if it has one.
    """

    def __init__(self, ui: Any, session: Session, change: Callable[[Callable[[], None]], None]) -> None:
        self._ui = ui
        self._session = session
        self._change = change
        ui.exportButton.connect("clicked()", self.onExport)
        ui.exportPathLineEdit.connect("currentPathChanged(QString)", self.onPath)
        self.updateState()

    def updateState(self) -> None:
        """Say what is missing, or that findings can be written."""
        hasStudy, folder = self._session.report is not None, str(self._ui.exportPathLineEdit.currentPath)
        self._ui.exportButton.enabled = hasStudy and bool(folder)
        missing = _("Grade a study first.") if not hasStudy else "" if folder else _("Choose a folder.")
        self._ui.exportButton.toolTip = missing or _(
            "Write the findings with your changes. No patient name, ID, date or path is written."
        )

    def onPath(self, path: str) -> None:
        """Enable the button when a folder is chosen."""
        self._ui.exportLabel.text = ""
        self.updateState()

    def onExport(self) -> None:
        """Write into the chosen folder."""
        self._change(self._export)

    def _export(self) -> None:
        folder = str(self._ui.exportPathLineEdit.currentPath)
        results, report = self._session.results, self._session.report
        if results is None or report is None:
            return
        volume, spine = _pictures(results)
        written = write_report(report, folder, volume, spine, is_mask=not _isVolume(results))
        names = ", ".join(sorted(path.name for path in written.values()))
        self._ui.exportLabel.text = _("Written: {names}").format(names=names)


def _isVolume(results: StudyResults) -> bool:
    node = results.image_node
    return node is not None and bool(node.IsA("vtkMRMLScalarVolumeNode"))


def _pictures(results: StudyResults) -> tuple[Volume | None, Spine | None]:
    """What pictures are made from; None for what has left the scene.

    Raises:
        OutputError: the image was moved since it was graded, so that pictures would not fit.
    """
    node = results.image_node
    if node is None:
        return None, None
    if results.image_moved():
        raise OutputError(_("The CT has another place than when it was graded."), _("Grade again, or move it back."))
    volume = ct_from_node(node) if _isVolume(results) else labels_from_node(node).volume
    centroids = results.centroids_node
    spine = build_spine(points_from_node(centroids)) if centroids is not None else None
    return volume, spine
