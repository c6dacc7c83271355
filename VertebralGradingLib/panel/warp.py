"""The chosen vertebra's own CT warped to the slider's grade: solved once by the worker, then only read from the CT."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from slicer.i18n import tr as _

from VertebralGradingLib.counterfactual.live import KNOT_GRADES, LiveWarp
from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.panel.drawn import DrawnPart
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.report.warp_strip import slider_png, slider_reasons, slider_text
from VertebralGradingLib.scene.explaining import Wish
from VertebralGradingLib.scene.inputs import voxels_from_node
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.spine.reformation import Grid

_STEPS = 10
"""Of the slider, for one grade."""


class WarpPart(DrawnPart):
    """The slider and the warped picture; arguments as of :class:`drawn.DrawnPart`."""

    def __init__(self, ui: Any, session: Session, logic: Any, showPicture: Callable[[Any, bytes], None]) -> None:
        super().__init__(ui, session, logic, showPicture, withBodies=True)
        self._live: LiveWarp | None = None
        self._about: Mapping[str, Any] = {}
        self._volume: Volume | None = None
        self._grid: Grid | None = None
        ui.gradeSlider.connect("valueChanged(int)", self.onSlider)

    def forget(self) -> None:
        """Let go of the study."""
        super().forget()
        self._live, self._volume, self._grid = None, None, None

    def hide(self) -> None:
        """Show something else."""
        if self._isShown:
            self._setVisible(False)
        self._isShown = False

    def show(self) -> None:
        """Show the chosen vertebra: its warp is asked for once."""
        self._isShown = True
        self._setVisible(True)
        another = self._another()
        if another is None:
            return
        finding, _results = another
        self._level, self._live = finding.level, None
        self._ui.patchLabel.clear()
        self._ui.gradeSlider.value = 0 if finding.final_grade else 3 * _STEPS
        evidence = finding.evidence_of("morphometry")
        if evidence is None or "reference_mm" not in evidence.quantities:
            self._say(_("This vertebra has no heights to change."))
            return
        reference = [float(value) for value in evidence.quantities["reference_mm"].values()]
        wish = {"grades": list(KNOT_GRADES), "knots": True, "reference_mm": reference}
        if self._send("counterfactual", "morphometry", wish):
            self._say(_("warping..."))

    def onSlider(self, value: int) -> None:
        """Another grade is wanted."""
        if self._isShown and self._live is not None:
            self._draw(value / _STEPS)

    def _onAnswer(self, wish: Wish, answer: Mapping[str, Any], results: StudyResults) -> None:
        try:
            self._live, self._about = LiveWarp.from_arrays(answer), answer
            self._grid = self._explaining.grid(wish.level)
            if self._volume is None:
                self._volume = voxels_from_node(results.image_node)
        except VertebralGradingError as error:
            self._say(str(error))
            return
        if self._isShown:
            self._draw(self._ui.gradeSlider.value / _STEPS)

    def _draw(self, grade: float) -> None:
        if self._live is None or self._volume is None or self._grid is None:
            return
        before = sample(self._volume, self._grid.points())[..., 0]
        after = self._live.frame(self._volume, grade, self._grid)[..., 0]
        reasons = slider_reasons(self._live, self._about, grade)
        self._showPicture(self._ui.patchLabel, slider_png(before, after, self._level, grade, reasons))
        self._say(slider_text(self._live, self._about, grade))

    def _setVisible(self, visible: bool) -> None:
        for widget in (self._ui.gradeSlider, self._ui.gradeSliderLabel, self._ui.drawnLabel):
            widget.visible = visible
