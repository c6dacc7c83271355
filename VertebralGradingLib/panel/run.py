"""Grading from the panel: one button that starts and cancels, progress, messages, log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.findings import Finding, Report
from VertebralGradingLib.findings.states import NOT_REACHED
from VertebralGradingLib.panel.worker import runLater
from VertebralGradingLib.report.values import METHOD_NAMES
from VertebralGradingLib.scene.job import Callbacks
from VertebralGradingLib.scene.results import StudyResults

METHODS = {
    "morphometry": (),
    "morphometry, neighbours": ("neighbours",),
    "morphometry, HealthiVert-GAN": ("healthivert",),
    "morphometry, diffusion autoencoder": ("dae",),
    "all": ("neighbours", "healthivert", "dae"),
}
"""What can be chosen in the panel: second opinions beside morphometry."""
DOUBLE_CLICK_MS = 500
"""For so long after a start the button does not cancel, so that a double click does not undo itself."""


class RunPart:
    """The button, the bar and the log.

    Args:
        ui: the panel's widgets.
        logic: the module's logic.
        parameters: returns the parameter node, None while there is none.
        onStart: called when a run begins.
        onRow: called with each provisional finding.
        onResults: called with the results of a run, also of one that was broken off.
        onNothing: called when a run ended without findings.
        mayReplace: asks whether the reader's changes of an image may be replaced, where there are any.
    """

    def __init__(
        self,
        ui: Any,
        logic: Any,
        parameters: Callable[[], Any],
        onStart: Callable[[], None],
        onRow: Callable[[Finding], None],
        onResults: Callable[[StudyResults], None],
        onNothing: Callable[[], None],
        mayReplace: Callable[[Any], bool],
    ) -> None:
        self._ui = ui
        self._logic = logic
        self._parameters = parameters
        self._onStart = onStart
        self._onRow = onRow
        self._onResults = onResults
        self._onNothing = onNothing
        self._mayReplace = mayReplace
        self._began = 0.0
        self._isOver = False
        ui.gradeButton.connect("clicked()", self.onGrade)
        ui.copyLogButton.connect("clicked()", self.onCopyLog)

    def close(self) -> None:
        """Touch no widget any more."""
        self._isOver = True

    def missing(self) -> str:
        """What must be chosen before grading can start, in one line; empty when nothing is missing."""
        parameters = self._parameters()
        if parameters is None:
            return _("The scene is being closed.")
        if parameters.ct is None and parameters.segmentation is None:
            return _("Choose a CT volume.")
        if parameters.centroids is None and parameters.segmentation is None:
            return _("Choose or place centroids, one point in each vertebral body, or choose a segmentation.")
        if parameters.segmentation is None and parameters.centroids.GetNumberOfDefinedControlPoints() == 0:
            return _("Place one point in each vertebral body.")
        return ""

    def updateState(self) -> None:
        """Say what is missing, or that grading can start or be cancelled."""
        ui, missing = self._ui, self.missing()
        if self._logic.isGrading():
            ui.gradeButton.text = _("Cancel")
            ui.gradeButton.toolTip = _("Stop; the rows that are finished are kept.")
            ui.missingLabel.text = ""
            return
        ui.gradeButton.text = _("Grade")
        ui.gradeButton.enabled = not missing
        ui.gradeButton.toolTip = missing or _("Grade every thoracic and lumbar vertebra that has a centroid.")
        ui.missingLabel.text = missing
        ui.missingLabel.visible = bool(missing)
        ui.progressBar.visible = False

    def onGrade(self) -> None:
        """Start, or cancel what runs."""
        if self._logic.isGrading():
            self._ui.statusLabel.text = _("Cancelling...")
            self._logic.cancelGrading()
            return
        parameters = self._parameters()
        if parameters is None or self.missing() or not self._mayReplace(parameters.ct or parameters.segmentation):
            self.updateState()
            return
        callbacks = Callbacks(self._progress, self._row, self._done, self._failed)
        lowest = None if parameters.lowest == "as named" else parameters.lowest
        self.say("")
        self._began = time.monotonic()
        try:
            self._logic.startGrading(
                parameters.ct,
                parameters.centroids,
                parameters.segmentation,
                lowest,
                METHODS[parameters.methods],
                callbacks,
            )
        except VertebralGradingError as error:
            self.tell(error)
            self.updateState()
            return
        self._ui.progressBar.setRange(0, 0)
        self._ui.progressBar.visible = True
        self._ui.gradeButton.enabled = False
        runLater(DOUBLE_CLICK_MS, self._enable)
        self._onStart()
        self.updateState()

    def say(self, text: str) -> None:
        """Show a plain message."""
        self._ui.statusLabel.text = text

    def tell(self, error: VertebralGradingError) -> None:
        """Show what went wrong and what to do."""
        self.say(str(error))
        self.log(f"{error.code}: {error}")

    def log(self, text: str) -> None:
        """Add to the log."""
        if not self._isOver and text.strip():
            self._ui.logText.appendPlainText(text.rstrip())

    def onCopyLog(self) -> None:
        """Put the log on the clipboard."""
        self._ui.logText.selectAll()
        self._ui.logText.copy()

    def _enable(self) -> None:
        if not self._isOver:
            self._ui.gradeButton.enabled = self._logic.isGrading() or not self.missing()

    def _progress(self, done: int, total: int, level: str) -> None:
        if self._isOver:
            return
        self._ui.progressBar.setRange(0, total)
        self._ui.progressBar.value = done
        text = _("{done} of {total} vertebrae").format(done=done, total=total)
        if 0 < done < total:
            left = (time.monotonic() - self._began) / done * (total - done)
            text += _(", about {seconds} s left").format(seconds=max(1, round(left)))
        self.say(text)

    def _row(self, finding: Finding) -> None:
        if not self._isOver:
            self._onRow(finding)

    def _done(self, results: StudyResults, cancelled: bool) -> None:
        if self._isOver:
            return
        self.updateState()
        report = results.report
        count = sum(finding.state != NOT_REACHED for finding in report.findings)
        if cancelled and report.complete:
            self.say(_("Cancelled; the earlier findings were kept."))
        elif cancelled:
            planned = len(report.findings)
            self.say(_("Cancelled; {count} of {planned} vertebrae were finished.").format(count=count, planned=planned))
        else:
            seconds = time.monotonic() - self._began
            self.say(_("{count} vertebrae in {seconds:.1f} s.").format(count=count, seconds=seconds))
        if not (cancelled and report.complete):  # those are of the earlier run
            self._tellNotRun(report)
        self._onResults(results)

    def _failed(self, error: VertebralGradingError, results: StudyResults | None) -> None:
        if self._isOver:
            return
        self.updateState()
        if results is not None:
            self._onResults(results)
        else:
            self._onNothing()
        self.tell(error)
        if results is not None and not results.report.complete:
            self._tellNotRun(results.report)

    def _tellNotRun(self, report: Report) -> None:
        """Say, after what has been said, which methods were asked for and did not run, and why."""
        for method, why in dict(report.provenance.get("not_run") or {}).items():
            line = _("{method} did not run: {why}").format(method=METHOD_NAMES.get(method, method), why=why)
            self.say(f"{self._ui.statusLabel.text} {line}")
            self.log(line)
