"""The study that the panel shows: its results in the scene, the chosen vertebra, and the reader's changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.findings import Finding, Report
from VertebralGradingLib.reading import History
from VertebralGradingLib.scene.live import PointsWatcher
from VertebralGradingLib.scene.results import StudyResults


class Session:
    """One study at a time; every change goes through :meth:`apply`, so that each can be taken back.

    Args:
        onChanged: called when the findings or the study have changed.
        onSelected: called when another vertebra is chosen.
        onError: called with a typed error.
        onDragged: called at each step of a drag, which may come faster than a panel can be drawn.

    Attributes:
        results: the study in the scene, None without one.
        level: the chosen vertebra.
        onLeaving: called before another vertebra is chosen or a change is made, to take what was typed but not entered.
    """

    def __init__(
        self,
        onChanged: Callable[[], None],
        onSelected: Callable[[], None],
        onError: Callable[[VertebralGradingError], None],
        onDragged: Callable[[], None],
    ) -> None:
        self.onLeaving: Callable[[], None] | None = None
        self._onDragged = onDragged
        self._onChanged = onChanged
        self._onSelected = onSelected
        self._onError = onError
        self._watcher: PointsWatcher | None = None
        self._history = History()
        self._observed: tuple[Any, int] | None = None
        self._dragging = ""
        self.results: StudyResults | None = None
        self.level = ""

    @property
    def report(self) -> Report | None:
        """The findings as they are shown, None without a study."""
        return None if self.results is None else self._history.current

    @property
    def finding(self) -> Finding | None:
        """The chosen vertebra's finding."""
        return None if self.report is None else next((f for f in self.report.findings if f.level == self.level), None)

    @property
    def canUndo(self) -> bool:
        """Whether there is a change to take back."""
        return self.results is not None and self._history.can_undo

    @property
    def canRedo(self) -> bool:
        """Whether a change that was taken back can be made again."""
        return self.results is not None and self._history.can_redo

    def open(self, results: StudyResults) -> None:
        """Show a study; its changes so far cannot be taken back.

        Raises:
            InputError: the results in the scene cannot be read.
        """
        self.close()
        self._history = History()
        self._history.push(results.report)
        self.results = results
        self._watcher = PointsWatcher(results, self._dragged, self._onError)
        node = results.points_node
        if node is not None:
            event = slicer.vtkMRMLMarkupsNode.PointStartInteractionEvent
            self._observed = (node, node.AddObserver(event, self._dragBegins))
        levels = self.levels()
        if self.level not in levels:
            self.level = levels[0] if levels else ""
        self._onChanged()
        self._onSelected()

    def close(self) -> None:
        """Let go of the study; nothing is observed any more."""
        if self._watcher is not None:
            self._watcher.stop()
        if self._observed is not None:
            node, tag = self._observed
            node.RemoveObserver(tag)
        self._watcher = self._observed = self.results = None
        self._dragging = ""

    def levels(self) -> list[str]:
        """Levels of the findings, cranial to caudal."""
        return [] if self.report is None else [finding.level for finding in self.report.findings]

    def select(self, level: str) -> None:
        """Choose a vertebra."""
        if level in self.levels() and level != self.level:
            self._leave()
            self.level = level
            self._dragging = ""
            self._onSelected()

    def step(self, by: int) -> None:
        """Choose the next vertebra caudally (1) or cranially (-1); stays at the ends."""
        levels = self.levels()
        if self.level in levels:
            self.select(levels[min(max(levels.index(self.level) + by, 0), len(levels) - 1)])

    def apply(self, report: Report) -> None:
        """Show changed findings and remember the ones before.

        Raises:
            InputError: the results have left the scene; nothing has changed then.
        """
        if self._watcher is not None and self._history.current != report:
            before = self.levels()
            self._watcher.show(report)
            self._history.push(report)
            self._shown(before)

    def undo(self) -> None:
        """Take the last change back.

        Raises:
            InputError: as :meth:`apply`.
        """
        self._leave()
        if self.canUndo:
            self._step(self._history.undo, self._history.redo)

    def redo(self) -> None:
        """Make the change again that was taken back.

        Raises:
            InputError: as :meth:`apply`.
        """
        if self.canRedo:
            self._step(self._history.redo, self._history.undo)

    def _step(self, move: Callable[[], Report | None], back: Callable[[], Report | None]) -> None:
        before, report = self.levels(), move()
        try:
            if self._watcher is not None and report is not None:
                self._watcher.show(report)
        except VertebralGradingError:
            back()
            raise
        self._shown(before)

    def _shown(self, before: list[str]) -> None:
        self._dragging = ""
        levels = self.levels()
        if levels != before and self.level in before:  # shifted: the same vertebra has another name
            self.level = levels[min(before.index(self.level), len(levels) - 1)]
        self._onChanged()

    def _leave(self) -> None:
        if self.onLeaving is not None and self.results is not None:
            self.onLeaving()

    def _dragBegins(self, caller: Any, event: str) -> None:
        self._leave()
        self._dragging = ""

    def _dragged(self, report: Report, level: str) -> None:
        """Take what a drag makes of the findings; one drag is one step of the history."""
        if self._dragging == level:
            self._history.undo()
        self._history.push(report)
        self._dragging = level
        self.level = level if level in self.levels() else self.level
        self._onDragged()
