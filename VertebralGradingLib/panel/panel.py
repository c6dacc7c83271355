"""The panel as a whole: makes its parts and passes on what one of them tells the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.findings import Finding
from VertebralGradingLib.panel.explain import ExplainPart
from VertebralGradingLib.panel.export import ExportPart
from VertebralGradingLib.panel.inputs import InputsPart
from VertebralGradingLib.panel.layout import Views
from VertebralGradingLib.panel.run import RunPart
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.panel.setup import SetupPart
from VertebralGradingLib.panel.vertebrae import VertebraePart
from VertebralGradingLib.panel.worker import runLater
from VertebralGradingLib.reading import is_edited, set_reader
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.scene.studies import all_results, results_of


class Panel:
    """Everything below the module's title.

    Args:
        widget: the top widget of the .ui file.
        ui: its named children.
        logic: the module's logic.
        parameters: returns the parameter node, None while there is none.
    """

    def __init__(self, widget: Any, ui: Any, logic: Any, parameters: Callable[[], Any]) -> None:
        self._logic = logic
        self._parameters = parameters
        self._isEntered = False
        self._isOver = False
        self._isFollowing = False
        self._dragIsPending = False
        self._ui = ui
        self.session = Session(self.onChanged, self.onSelected, self.onError, self.onDragged)
        self.views = Views()
        self.inputs = InputsPart(ui, parameters, self.change, self.updateState)
        self.run = RunPart(
            ui, logic, parameters, self.onStart, self.onRow, self.onGraded, self.followChoice, self.mayReplace
        )
        logic.onLog = self.run.log
        self.setup = SetupPart(ui, logic, self.change, self.run.log)
        self.vertebrae = VertebraePart(ui, self.session, self.change)
        self.explain = ExplainPart(ui, self.session, logic)
        self.export = ExportPart(ui, self.session, self.change)
        self._shortcuts = [
            self._shortcut(widget, "Alt+Up", self.vertebrae.onPrevious),
            self._shortcut(widget, "Alt+Down", self.vertebrae.onNext),
            self._shortcut(widget, "Ctrl+Z", self.vertebrae.onUndo),
            self._shortcut(widget, "Ctrl+Y", self.vertebrae.onRedo),
        ]
        self.vertebrae.clear()
        self.updateState()

    def enter(self) -> None:
        """The user has come to the module."""
        self._isEntered = True
        self.explain.setEntered(True)
        threading.Thread(target=_warm, name="VertebralGrading imports", daemon=True).start()
        self.followChoice()
        if self.session.results is not None:
            self.views.arrange(self.session.results)
            self.onSelected()
        self.updateState()

    def exit(self) -> None:
        """The user leaves the module."""
        self._isEntered = False
        self.inputs.stopPlacing()
        self.explain.setEntered(False)
        self.views.restore()

    def close(self) -> None:
        """The module goes."""
        self._isOver = True
        self.inputs.stopFollowing()
        self.vertebrae.close()
        self.run.close()
        self.setup.close()
        self.explain.close()
        self.views.restore()
        self.session.close()

    def closeStudy(self) -> None:
        """Show no study."""
        self.explain.leave()
        self.session.close()
        self.vertebrae.clear()
        self.explain.closed()
        self.export.updateState()

    def sceneCloses(self) -> None:
        """The scene goes, and the study with it."""
        self.inputs.stopFollowing()
        self.closeStudy()

    def followChoice(self) -> None:
        """Show the study of the chosen image, or none; where nothing is chosen, choose the only study of the scene."""
        parameters = self._parameters()
        if self._isFollowing or parameters is None or self._logic.isGrading():
            return
        self._isFollowing = True
        try:
            chosen, studies = parameters.ct or parameters.segmentation, all_results(slicer.mrmlScene)
            if chosen is None and len(studies) == 1 and studies[0].image_node is not None:
                chosen = studies[0].image_node
                if chosen.IsA("vtkMRMLScalarVolumeNode"):
                    parameters.ct = chosen
                parameters.centroids = studies[0].centroids_node
                parameters.segmentation = studies[0].given_node
            found = results_of(chosen) if chosen is not None else None
            shown = self.session.results
            if found is None:
                if shown is not None or self.vertebrae.hasRows():
                    self.closeStudy()
            elif shown is None or shown.node is not found.node:
                self.change(lambda: self.onResults(found))
        finally:
            self._isFollowing = False

    def updateState(self) -> None:
        """Say what is missing and enable what can be used."""
        if self._isOver:
            return
        self.followChoice()
        self.run.updateState()
        self.inputs.updateState(self._parameters())

    def change(self, action: Callable[[], None]) -> None:
        """Do what the user asked for; a typed error is shown in the panel, not in a pop-up."""
        self.run.say("")
        try:
            action()
        except VertebralGradingError as error:
            self.onError(error)

    def mayReplace(self, node: Any) -> bool:
        """Ask whether the reader's changes of an image may go; True where there are none."""
        results = results_of(node) if node is not None else None
        try:
            if results is None or not is_edited(results.report):
                return True
        except VertebralGradingError:
            return True  # what cannot be read cannot be kept
        return bool(slicer.util.confirmOkCancelDisplay(_("Grade again and drop your changes to this study?")))

    def onStart(self) -> None:
        """A run begins: rows will come."""
        self.explain.leave()
        self.session.close()
        self.inputs.stopPlacing()
        self.vertebrae.clear(_("Provisional rows; the reference still grows."))
        self.explain.closed()
        self.export.updateState()

    def onRow(self, finding: Finding) -> None:
        """A provisional finding has come."""
        self.vertebrae.add(finding)

    def onGraded(self, results: StudyResults) -> None:
        """A run has ended with findings: the reader who is named in the panel has made it."""
        name = str(self._ui.readerLineEdit.text).strip()
        if name and not results.report.provenance.get("reader"):
            results.update(set_reader(results.report, name))
        self.onResults(results)

    def onDragged(self) -> None:
        """A point is being dragged: draw once for any number of steps."""
        if not self._dragIsPending:
            self._dragIsPending = True
            runLater(0, self._drawDrag)

    def _drawDrag(self) -> None:
        self._dragIsPending = False
        if not self._isOver and self.session.results is not None:
            self.onChanged()

    def onResults(self, results: StudyResults) -> None:
        """A study has been graded or loaded."""
        self.explain.leave()
        results.renew()
        if self._isEntered:
            self.views.arrange(results)
        self.session.open(results)
        self.explain.opened()

    def onChanged(self) -> None:
        """The findings have changed."""
        self.vertebrae.update()
        self.explain.update()
        self.export.updateState()

    def onSelected(self) -> None:
        """Another vertebra is looked at."""
        self.vertebrae.updateSelection()
        self.explain.update()
        if self._isEntered and self.session.results is not None and self.session.finding is not None:
            self.views.show(self.session.results, self.session.finding)

    def onError(self, error: VertebralGradingError) -> None:
        """Something was refused."""
        self.run.tell(error)

    def _shortcut(self, widget: Any, keys: str, call: Callable[[], None]) -> Any:
        shortcut = qt.QShortcut(widget)
        shortcut.setKey(qt.QKeySequence(keys))
        shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
        shortcut.connect("activated()", call)
        return shortcut


def _warm() -> None:
    """Do once what grading needs while the user chooses, so that the first click is not slower than the next."""
    import VertebralGradingLib.scene.job  # noqa: F401
    from VertebralGradingLib.spine.points import Point
    from VertebralGradingLib.spine.spine import build_spine

    build_spine([Point((0.0, 0.0, -30.0 * n)) for n in range(5)])  # loads the libraries that are loaded on use
