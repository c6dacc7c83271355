"""What the parts of the panel have in common that show what a worker draws of the chosen vertebra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import slicer

from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.findings import Finding
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.panel.worker import runLater
from VertebralGradingLib.scene.explaining import Explaining, Wish
from VertebralGradingLib.scene.results import StudyResults


class DrawnPart:
    """A part that asks for pictures of the chosen vertebra, and shows what comes for as long as it is the chosen one.

    Args:
        ui: the panel's widgets.
        session: the study.
        logic: the module's logic, which has the worker.
        showPicture: puts a PNG on a label.
        withBodies: whether the study's bodies are handed to the worker too.
    """

    def __init__(
        self,
        ui: Any,
        session: Session,
        logic: Any,
        showPicture: Callable[[Any, bytes], None],
        withBodies: bool = False,
    ) -> None:
        self._ui = ui
        self._session = session
        self._showPicture = showPicture
        self._explaining = Explaining(
            lambda: logic.keeper().worker(),
            runLater,
            self._answered,
            self._failed,
            slicer.app.temporaryPath,
            withBodies,
        )
        self._levels: tuple[str, ...] | None = None
        self._level = ""
        self._isShown = self._isOver = False

    def close(self) -> None:
        """Touch no widget any more."""
        self._isOver = True
        self.forget()

    def forget(self) -> None:
        """Let go of the study."""
        self._levels, self._level = None, ""
        self._explaining.close()

    def _onAnswer(self, wish: Wish, answer: Mapping[str, Any], results: StudyResults) -> None:
        """Show what was asked for, and keep it in the study that it is of."""
        raise NotImplementedError

    def _answered(self, wish: Wish, answer: Mapping[str, Any]) -> None:
        results = self._session.results
        if results is not None and self._isWanted(wish) and self._isSameStudy():
            self._onAnswer(wish, answer, results)

    def _failed(self, wish: Wish, error: VertebralGradingError) -> None:
        if self._isWanted(wish):
            self._say(str(error))

    def _another(self) -> tuple[Finding, StudyResults] | None:
        """The chosen vertebra and its study, unless there is none or it is being shown."""
        if self._levels is not None and not self._isSameStudy():
            self.forget()  # vertebrae have got other names: what is under way is of another one
        finding, results = self._session.finding, self._session.results
        if finding is None or results is None or finding.level == self._level:
            return None
        return finding, results

    def _send(self, kind: str, method: str, options: Mapping[str, Any] | None = None) -> bool:
        """Ask for a picture of the chosen vertebra; tell whether it is asked for, and say why if it cannot be."""
        results = self._session.results
        if results is None or self._isOver or not self._level:
            return False
        try:
            if not self._isSameStudy():
                self._explaining.open(results)
                self._levels = tuple(self._session.levels())
            self._explaining.ask(Wish(self._level, kind, method, dict(options or {})))
        except VertebralGradingError as error:
            self._say(str(error))
            return False
        return True

    def _isWanted(self, wish: Wish) -> bool:
        return not self._isOver and wish.level == self._level

    def _isSameStudy(self) -> bool:
        """Whether the vertebrae are called as they were when a picture was asked for first."""
        return self._levels == tuple(self._session.levels())

    def _say(self, text: str) -> None:
        if self._isShown:
            self._ui.drawnLabel.text = text
