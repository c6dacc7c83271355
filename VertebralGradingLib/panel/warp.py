"""The chosen vertebra's own CT warped to the slider's grade: solved once by the worker, then only read from the CT."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from VertebralGradingLib.counterfactual.live import KNOT_GRADES, LiveWarp
from VertebralGradingLib.counterfactual.request import SHAPES
from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.findings import Finding
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.panel.drawn import DrawnPart
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.panel.worker import runLater
from VertebralGradingLib.report.warp_strip import (
    NOT_CONVINCING,
    slider_losses,
    slider_png,
    slider_reasons,
    slider_text,
)
from VertebralGradingLib.report.warped import fold_html, kept_warp
from VertebralGradingLib.scene.explaining import Wish
from VertebralGradingLib.scene.in_place import InPlace
from VertebralGradingLib.scene.inputs import voxels_from_node
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.spine.reformation import Grid

REST_MS = 400
"""What is looked at is kept when the slider has stood still for so long."""
_STEPS = 10
"""Of the slider, for one grade."""


class WarpPart(DrawnPart):
    """The slider, the shape, the warped picture, and the box that shows the warped CT in the slice views.

    Arguments as of :class:`drawn.DrawnPart`.
    """

    def __init__(self, ui: Any, session: Session, logic: Any, showPicture: Callable[[Any, bytes], None]) -> None:
        super().__init__(ui, session, logic, showPicture, withBodies=True)
        self._solved: dict[str, tuple[LiveWarp, Mapping[str, Any]]] = {}
        self._reference: list[float] = []
        self._volume: Volume | None = None
        self._grid: Grid | None = None
        self._inPlace = InPlace()
        self._rest = 0
        self._isSetting = False
        ui.shapeComboBox.addItems([_("own shape"), _("wedge"), _("biconcave"), _("crush")])  # as SHAPES
        ui.shapeComboBox.connect("currentIndexChanged(int)", self.onShape)
        ui.gradeSlider.connect("valueChanged(int)", self.onSlider)
        ui.warpCheckBox.connect("toggled(bool)", self.onToggled)
        # It works wherever the focus is, for as long as the user is in the module and the box can be used.
        self._shortcut = qt.QShortcut(ui.warpCheckBox)
        self._shortcut.setKey(qt.QKeySequence("B"))
        self._shortcut.setContext(qt.Qt.WindowShortcut)
        self._shortcut.enabled = False
        self._shortcut.connect("activated()", self.onBeforeAfter)
        self._setVisible(False)

    def close(self) -> None:
        """Touch no widget any more."""
        self.leave()
        super().close()

    def forget(self) -> None:
        """Let go of the study."""
        self.leave()
        self._rest += 1
        if not self._isOver:
            self._ui.warpCheckBox.enabled = False
        super().forget()
        self._solved, self._volume, self._grid = {}, None, None

    def setEntered(self, entered: bool) -> None:
        """The user comes to the module or leaves it: the key belongs to it."""
        if not self._isOver:
            self._shortcut.enabled = entered

    def leave(self) -> None:
        """Show the CT as it is in the slice views."""
        self._inPlace.put_back()
        if not self._isOver:
            self._ui.warpCheckBox.checked = False

    def hide(self) -> None:
        """Show something else."""
        if self._isShown:
            self.leave()
            self._setVisible(False)
        self._isShown = False

    def show(self) -> None:
        """Show the chosen vertebra; its warp is asked for once, from the grade and shape that the scene has kept."""
        self._isShown = True
        self._setVisible(True)
        another = self._another()
        if another is None:
            return
        finding, results = another
        self.leave()
        self._level, self._solved = finding.level, {}
        self._rest += 1
        self._ui.patchLabel.clear()
        self._ui.warpCheckBox.enabled = False
        kept = results.kept_warp(finding.level)
        self._isSetting = True
        if kept is not None:
            self._ui.shapeComboBox.currentIndex = SHAPES.index(kept["shape"])
            self._ui.gradeSlider.value = round(kept["grade"] * _STEPS)
        else:
            self._ui.gradeSlider.value = 0 if finding.final_grade else 3 * _STEPS
        self._isSetting = False
        self._setReference(finding)
        self._ask()

    def onShape(self, index: int) -> None:
        """Another shape is wanted."""
        if not self._isSetting and self._isShown and self._level:
            self._ask()

    def onSlider(self, value: int) -> None:
        """Another grade is wanted."""
        if self._isShown and not self._isSetting and self._shape in self._solved:
            self._draw()

    def onToggled(self, checked: bool) -> None:
        """Show the warped CT in the slice views, or the CT as it is."""
        if not checked:
            self._inPlace.put_back()
        elif self._isShown:
            self._showInPlace()

    def onBeforeAfter(self) -> None:
        """The key: before and after."""
        self._ui.warpCheckBox.checked = not self._ui.warpCheckBox.checked

    @property
    def _shape(self) -> str:
        return SHAPES[max(int(self._ui.shapeComboBox.currentIndex), 0)]

    @property
    def _grade(self) -> float:
        return float(self._ui.gradeSlider.value) / _STEPS

    def _setReference(self, finding: Finding) -> None:
        evidence = finding.evidence_of("morphometry")
        known = {} if evidence is None else evidence.quantities.get("reference_mm") or {}
        self._reference = [float(value) for value in known.values()]

    def _ask(self) -> None:
        """Draw what is solved, or let the shape be solved."""
        self._ui.warpCheckBox.enabled = False
        if not self._reference:
            self._say(_("This vertebra has no heights to change."))
        elif self._shape in self._solved:
            self._draw()
        else:
            self.leave()
            wish = {"grades": list(KNOT_GRADES), "knots": True, "shape": self._shape, "reference_mm": self._reference}
            if self._send("counterfactual", "morphometry", wish):
                self._say(_("warping..."))

    def _showInPlace(self) -> None:
        """Show the warped CT of the slider's grade: the scene's own, or one that the worker makes."""
        results = self._session.results
        wish = {"grade": self._grade, "shape": self._shape}
        node = results.warped_ct(self._level, wish) if results is not None else None
        if node is not None and results is not None:
            self._inPlace.show(node, results.segmentation_node)
            return
        options: dict[str, Any] = {"grades": [self._grade], "shape": self._shape, "reference_mm": self._reference}
        options |= {"volumes": True, "read": True}
        if not self._send("counterfactual", "morphometry", options):
            self._ui.warpCheckBox.checked = False

    def _onAnswer(self, wish: Wish, answer: Mapping[str, Any], results: StudyResults) -> None:
        try:
            if wish.options.get("volumes"):
                self._takeVolume(wish, answer, results)
                return
            live = LiveWarp.from_arrays(answer)
            self._grid = self._explaining.grid(wish.level)
            if self._volume is None:
                self._volume = voxels_from_node(results.image_node)
        except VertebralGradingError as error:
            self._say(str(error))
            return
        self._solved[wish.options["shape"]] = (live, answer)
        if self._isShown and wish.options["shape"] == self._shape:
            self._draw()

    def _takeVolume(self, wish: Wish, answer: Mapping[str, Any], results: StudyResults) -> None:
        grade, shape = float(wish.options["grades"][0]), str(wish.options["shape"])
        wanted = self._isShown and self._ui.warpCheckBox.checked and (grade, shape) == (self._grade, self._shape)
        if not wanted:
            return  # the slider was moved meanwhile, or the CT is wanted again
        if answer["reasons"][0]:
            self._refuse(answer["reasons"][0])
            return
        ct = Volume(answer["volume_0"], np.array(answer["affine"], dtype=np.float64))
        wished = {"grade": grade, "shape": shape}
        node = results.keep_warped_ct(wish.level, ct, wished, results.image_node)
        self._inPlace.show(node, results.segmentation_node)

    def _refuse(self, reasons: list[str]) -> None:
        self._ui.warpCheckBox.checked = False
        self._ui.warpCheckBox.enabled = False
        self._say(f"{NOT_CONVINCING}: {'; '.join(reasons)}")

    def _draw(self) -> None:
        if self._volume is None or self._grid is None:
            return
        live, about = self._solved[self._shape]
        grade = self._grade
        before = sample(self._volume, self._grid.points())[..., 0]
        after, rise = (image[..., 0] for image in live.frame_and_rise(self._volume, grade, self._grid))
        reasons = slider_reasons(live, about, grade)
        losses = slider_losses(live, about, grade)
        png = slider_png((before, after, rise), self._level, grade, losses, about["body"], not reasons)
        self._showPicture(self._ui.patchLabel, png)
        hidden = _("{what}: why, and the numbers, stand below").format(what=NOT_CONVINCING)
        self._say(hidden if reasons else slider_text(live, about, grade))
        self._ui.checksLabel.text = fold_html(about, grade, reasons)
        self._ui.warpCheckBox.enabled = not reasons
        self._inPlace.put_back()
        if reasons:
            self._ui.warpCheckBox.checked = False
        self._rest += 1
        rest = self._rest
        runLater(REST_MS, lambda: self._rested(rest))

    def _rested(self, rest: int) -> None:
        """Keep what is looked at, and show it in the slice views where that is wanted."""
        if rest != self._rest or self._isOver or not self._isShown:
            return
        results, solved = self._session.results, self._solved.get(self._shape)
        if results is None or solved is None or not self._isSameStudy():
            return
        about = solved[1]
        results.keep_warp(self._level, kept_warp(about, self._level, self._grade))
        if self._ui.warpCheckBox.checked and not self._inPlace.is_shown:
            self._showInPlace()

    def _setVisible(self, visible: bool) -> None:
        ui = self._ui
        for widget in (ui.gradeSlider, ui.gradeSliderLabel, ui.drawnLabel):
            widget.visible = visible
        for widget in (ui.shapeComboBox, ui.warpCheckBox, ui.checksCollapsibleButton):
            widget.visible = visible
