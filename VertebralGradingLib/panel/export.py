"""Writing the findings with the reader's changes: CSV, JSON, HTML and an overview picture."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from VertebralGradingLib.errors import CentroidError, OutputError, VertebralGradingError
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.report import write_report
from VertebralGradingLib.report.drawn import HEIGHT_LOSS, Drawn, is_whole
from VertebralGradingLib.report.write import NAMES
from VertebralGradingLib.scene.inputs import ct_from_node, labels_from_node, points_from_node
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.spine.spine import Spine, build_spine


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
        self._written: tuple[str, str] | None = None
        ui.exportButton.connect("clicked()", self.onExport)
        ui.exportPathLineEdit.connect("currentPathChanged(QString)", self.onPath)
        self.updateState()

    def updateState(self) -> None:
        """Say what is missing, or that findings can be written; what was written is older than what is shown now."""
        self._ui.exportLabel.text = ""
        hasStudy, folder = self._session.report is not None, str(self._ui.exportPathLineEdit.currentPath)
        self._ui.exportButton.enabled = hasStudy and bool(folder)
        missing = _("Grade a study first.") if not hasStudy else "" if folder else _("Choose a folder.")
        self._ui.exportButton.toolTip = missing or _(
            "Write the findings with your changes. No patient name, ID, date or path is written."
        )

    def onPath(self, path: str) -> None:
        """Enable the button when a folder is chosen."""
        self.updateState()

    def onExport(self) -> None:
        """Write into the chosen folder."""
        self._change(self._export)

    def _export(self) -> None:
        results, report = self._session.results, self._session.report
        if results is None or report is None:
            return
        try:
            folder = _folder(str(self._ui.exportPathLineEdit.currentPath))
            written = (str(folder), results.node.GetID())
            question = _("The folder holds findings already. Replace them?")
            if (folder / NAMES["json"]).exists() and written != self._written:
                if not slicer.util.confirmOkCancelDisplay(question):
                    return
            volume, spine = _pictures(results)
            files = write_report(report, folder, volume, spine, not _isVolume(results), _drawn(results))
        except VertebralGradingError as error:
            self._ui.exportLabel.text = str(error)  # beside the button; the panel's status line may be out of sight
            raise
        self._written = written
        names = ", ".join(sorted(path.name for path in files.values()))
        self._ui.exportLabel.text = _("Written: {names}").format(names=names)


def _folder(text: str) -> Path:
    """The folder that was typed or chosen.

    Raises:
        OutputError: it is no whole path.
    """
    folder = Path(text.strip()).expanduser()
    if not text.strip() or not folder.is_absolute():
        raise OutputError(_("The folder is no whole path."), _("Choose a folder, such as one on the desktop."))
    return folder


def _drawn(results: StudyResults) -> list[Drawn]:
    """What the scene keeps of drawn vertebrae."""
    levels = [finding.level for finding in results.report.findings]
    kept = [(level, *results.kept(level)) for level in levels]
    lost = [(level, results.kept_height_loss(level, warped)) for level in levels for warped in (True, False)]
    warps = [results.kept_warp(level) for level in levels]
    return [
        *(Drawn.of_warp(about) for about in warps if about is not None),
        *(Drawn(level, b64decode(found[0]), found[1], HEIGHT_LOSS) for level, found in lost if found is not None),
        *(Drawn.of_pictures(level, pictures, about) for level, pictures, about in kept if is_whole(pictures, about)),
    ]


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
    try:
        spine = build_spine(points_from_node(centroids)) if centroids is not None else None
    except CentroidError:  # the list was changed since; a picture less
        spine = None
    return volume, spine
