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
from VertebralGradingLib.reading import is_edited
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
        self.session = Session(self.onChanged, self.onSelected, self.onError)
        self.views = Views()
        self.inputs = InputsPart(ui, parameters, self.change)
        self.run = RunPart(ui, logic, parameters, self.onStart, self.onRow, self.onResults, self.mayReplace)
        logic.onLog = self.run.log
        self.setup = SetupPart(ui, logic.keeper(), self.change, self.run.log)
        self.vertebrae = VertebraePart(ui, self.session, self.change)
        self.explain = ExplainPart(ui, self.session)
        self.export = ExportPart(ui, self.session, self.change)
        self._shortcuts = [
            self._shortcut(widget, "Alt+Up", self.vertebrae.onPrevious),
            self._shortcut(widget, "Alt+Down", self.vertebrae.onNext),
            self._shortcut(widget, "Ctrl+Z", self.session.undo),
            self._shortcut(widget, "Ctrl+Y", self.session.redo),
        ]
        self.vertebrae.clear()
        self.updateState()

    def enter(self) -> None:
        """The user has come to the module."""
        self._isEntered = True
        threading.Thread(target=_warm, name="VertebralGrading imports", daemon=True).start()
        if self.session.results is None:
            self.openStudyInScene()
        else:
            self.views.arrange(self.session.results)
        self.updateState()

    def exit(self) -> None:
        """The user leaves the module."""
        self._isEntered = False
        self.views.restore()

    def close(self) -> None:
        """The module goes."""
        self.run.close()
        self.setup.close()
        self.explain.close()
        self.views.restore()
        self.session.close()

    def closeStudy(self) -> None:
        """The scene goes, and the study with it."""
        self.session.close()
        self.vertebrae.clear()
        self.explain.update()
        self.export.updateState()

    def openStudyInScene(self) -> None:
        """Show the study that the scene holds: the one of the chosen CT, else the only one."""
        parameters = self._parameters()
        chosen = parameters.ct if parameters is not None else None
        found = results_of(chosen) if chosen is not None else None
        studies = all_results(slicer.mrmlScene)
        if found is None and len(studies) == 1:
            found = studies[0]
        if found is not None:
            self.change(lambda: self.onResults(found))

    def updateState(self) -> None:
        """Say what is missing and enable what can be used."""
        self.run.updateState()
        parameters = self._parameters()
        self.inputs.updateState(parameters)

    def change(self, action: Callable[[], None]) -> None:
        """Do what the user asked for; a typed error is shown in the panel, not in a pop-up."""
        try:
            action()
        except VertebralGradingError as error:
            self.onError(error)

    def mayReplace(self, node: Any) -> bool:
        """Ask whether the reader's changes of an image may go; True where there are none."""
        results = results_of(node) if node is not None else None
        if results is None or not is_edited(results.report):
            return True
        return bool(slicer.util.confirmOkCancelDisplay(_("Grade again and drop your changes to this study?")))

    def onStart(self) -> None:
        """A run begins: rows will come."""
        self.session.close()
        self.vertebrae.clear(_("Provisional rows; the reference still grows."))
        self.explain.update()
        self.export.updateState()

    def onRow(self, finding: Finding) -> None:
        """A provisional finding has come."""
        self.vertebrae.add(finding)

    def onResults(self, results: StudyResults) -> None:
        """A study has been graded or loaded."""
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
    """Load what grading needs while the user chooses, so that the first click is not slower than the next."""
    import VertebralGradingLib.scene.job  # noqa: F401
