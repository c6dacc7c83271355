"""What the chosen vertebra would look like at another grade: a slider, quick previews, then the refined picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from slicer.i18n import tr as _

from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.panel.drawn import DrawnPart
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.panel.worker import runLater
from VertebralGradingLib.report.drawn import Drawn, is_whole, told
from VertebralGradingLib.scene.explaining import Wish
from VertebralGradingLib.scene.results import StudyResults

PREVIEW, REFINED = "live", "fine"
REST_MS = 400
"""The refined picture is drawn when the slider has stood still for so long."""
_STEPS = 10
"""Of the slider, for one grade."""
_PARTS = {"original": "{level} as the network sees it", "decoded": "{level} redrawn"}


class CounterfactualPart(DrawnPart):
    """The slider and its pictures; arguments as of :class:`drawn.DrawnPart`."""

    def __init__(self, ui: Any, session: Session, logic: Any, showPicture: Callable[[Any, bytes], None]) -> None:
        super().__init__(ui, session, logic, showPicture)
        self._isSetting = False
        self._rest = 0
        ui.gradeSlider.connect("valueChanged(int)", self.onSlider)
        self.hide()

    def forget(self) -> None:
        """Let go of the study."""
        self._rest += 1
        super().forget()

    def hide(self) -> None:
        """Show something else."""
        self._isShown = False
        self._setVisible(False)

    def show(self) -> None:
        """Show the chosen vertebra; what the scene keeps of it at once, else a picture is asked for."""
        self._isShown = True
        self._setVisible(True)
        another = self._another()
        if another is None:
            return
        finding, results = another
        self._level = finding.level
        self._rest += 1
        self._ui.patchLabel.clear()
        pictures, about = results.kept(finding.level)
        if is_whole(pictures, about):
            self._setSlider(float(about["wanted"]))
            self._draw(pictures, about)
            return
        self._setSlider(0.0 if finding.final_grade else 3.0)
        self._ask(PREVIEW)

    def onSlider(self, value: int) -> None:
        """Another grade is wanted."""
        self._ui.gradeSliderLabel.text = _("Grade {grade:.1f}").format(grade=value / _STEPS)
        if not self._isSetting and self._isShown:
            self._ask(PREVIEW)

    def _ask(self, preset: str) -> None:
        grade = self._ui.gradeSlider.value / _STEPS
        if self._send("counterfactual", "dae", {"grades": [grade], "preset": preset}) and preset == PREVIEW:
            self._say(_("drawing..."))

    def _onAnswer(self, wish: Wish, answer: Mapping[str, Any], results: StudyResults) -> None:
        wanted = wish.options["grades"][0]
        if wish.options["preset"] == REFINED and wanted != self._ui.gradeSlider.value / _STEPS:
            return  # the slider was moved meanwhile, and a preview is coming
        arrays, about = told(answer)
        if self._isShown:
            self._draw(arrays, about)
        if wish.options["preset"] == REFINED:
            self._keep(results, wish.level, arrays, about)
        elif not self._explaining.busy:
            self._rest += 1
            rest = self._rest
            runLater(REST_MS, lambda: self._refine(rest))

    def _refine(self, rest: int) -> None:
        if rest == self._rest and self._isShown and not self._isOver and not self._explaining.busy:
            self._ask(REFINED)

    def _keep(self, results: StudyResults, level: str, arrays: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Keep the refined pictures in the scene."""
        names = {part: name.format(level=level) for part, name in _PARTS.items()}
        names["changed"] = f"{level} at grade {about['wanted']:.1f}"
        try:
            grid = self._explaining.grid(level).crop(len(arrays["changed"]))
            results.keep(level, {part: (names[part], arrays[part]) for part in names}, grid, about)
        except VertebralGradingError as error:
            self._say(str(error))

    def _draw(self, pictures: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        drawn = Drawn.of_pictures(self._level, pictures, about)
        self._showPicture(self._ui.patchLabel, drawn.png)
        self._say(drawn.text)

    def _setSlider(self, grade: float) -> None:
        self._isSetting = True
        self._ui.gradeSlider.value = round(grade * _STEPS)
        self.onSlider(self._ui.gradeSlider.value)
        self._isSetting = False

    def _setVisible(self, visible: bool) -> None:
        for widget in (self._ui.gradeSlider, self._ui.gradeSliderLabel, self._ui.drawnLabel):
            widget.visible = visible
