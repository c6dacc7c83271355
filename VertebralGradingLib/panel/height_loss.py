"""Where the chosen vertebra lost height: map and curve, coloured endplate in 3-D, pseudo-healthy CT in the slices."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import slicer
from slicer.i18n import tr as _

from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.panel.worker import runLater
from VertebralGradingLib.report.drawn import Drawn
from VertebralGradingLib.scene.drawn import ENDPLATE, HEALTHY
from VertebralGradingLib.scene.explaining import Explaining, Wish
from VertebralGradingLib.scene.lost_height import show_legend

KIND = "height_loss_map"
NETWORK, NEIGHBOURS = "healthivert", "neighbours"


class HeightLossPart:
    """The map, its nodes in the scene, and the box that shows the pseudo-healthy CT in the slice views.

    Args:
        ui: the panel's widgets.
        session: the study.
        logic: the module's logic, which has the worker.
        showPicture: puts a PNG on a label.
    """

    def __init__(self, ui: Any, session: Session, logic: Any, showPicture: Callable[[Any, bytes], None]) -> None:
        self._ui = ui
        self._session = session
        self._showPicture = showPicture
        self._explaining = Explaining(
            lambda: logic.keeper().worker(), runLater, self._answered, self._failed, slicer.app.temporaryPath, True
        )
        self._levels: tuple[str, ...] | None = None
        self._level = self._note = ""
        self._surface: Any = None  # what is shown of a study that may be gone when it is to be hidden
        self._image: Any = None
        self._isShown = self._isOver = False
        ui.healthyCheckBox.connect("toggled(bool)", self.onToggled)
        self.hide()

    def close(self) -> None:
        """Touch no widget any more."""
        self.leave()
        self._isOver = True
        self.forget()

    def forget(self) -> None:
        """Let go of the study."""
        self.leave()
        self._levels, self._level = None, ""
        self._explaining.close()

    def hide(self) -> None:
        """Show something else."""
        self.leave()
        self._isShown, self._level = False, ""
        self._ui.healthyCheckBox.visible = False

    def show(self) -> None:
        """Show the chosen vertebra; what the scene keeps of it at once, else a map is asked for."""
        self._isShown = True
        self._ui.healthyCheckBox.visible = True
        self._ui.drawnLabel.visible = True
        if self._levels is not None and self._levels != tuple(self._session.levels()):
            self.forget()  # vertebrae have got other names: what is under way is of another one
        finding, results = self._session.finding, self._session.results
        if finding is None or results is None or finding.level == self._level:
            return
        self.leave()
        self._level, self._note = finding.level, ""
        self._ui.patchLabel.clear()
        kept = results.kept_height_loss(finding.level)
        if kept is not None:
            self._draw(base64.b64decode(kept[0]), kept[1])
            return
        self._ask(NETWORK if finding.evidence_of(NEIGHBOURS) is None or finding.evidence_of(NETWORK) else NEIGHBOURS)

    def onToggled(self, checked: bool) -> None:
        """Show the pseudo-healthy CT in the slice views, or the CT as it is."""
        results = self._session.results
        healthy = results.drawn_node(self._level, HEALTHY) if checked and results is not None else None
        if healthy is not None and results is not None:
            self._image = results.image_node
            _inSlices(healthy)
        elif self._image is not None:
            image, self._image = self._image, None
            if image.GetScene() is not None:
                _inSlices(image)

    def leave(self) -> None:
        """Show the CT as it is, and no coloured endplate."""
        if self._isOver:
            return
        surface, self._surface = self._surface, None
        if surface is not None and surface.GetScene() is not None:
            show_legend(surface, False)
        self._ui.healthyCheckBox.checked = False
        self._ui.healthyCheckBox.enabled = False

    def _ask(self, method: str) -> None:
        results = self._session.results
        if results is None or self._isOver or not self._level:
            return
        try:
            levels = tuple(self._session.levels())
            if levels != self._levels:
                self._explaining.open(results)
                self._levels = levels
            self._explaining.ask(Wish(self._level, KIND, method))
        except VertebralGradingError as error:
            self._say(str(error))
            return
        self._say(_("looking for lost height..."))

    def _answered(self, wish: Wish, answer: Mapping[str, Any]) -> None:
        results, same = self._session.results, self._levels == tuple(self._session.levels())
        if self._isOver or wish.level != self._level or results is None or not same:
            return
        drawn = Drawn.of_height_loss(wish.level, answer)
        text = f"{self._note} {drawn.text}".strip()
        try:
            results.keep_height_loss(wish.level, answer, base64.b64encode(drawn.png).decode(), text)
        except VertebralGradingError as error:
            self._say(str(error))
            return
        if self._isShown:
            self._draw(drawn.png, text)

    def _failed(self, wish: Wish, error: VertebralGradingError) -> None:
        if self._isOver or wish.level != self._level:
            return
        if wish.method == NETWORK and error.code == "method":
            self._note = _("HealthiVert-GAN cannot be used: {reason}").format(reason=error.message)
            self._ask(NEIGHBOURS)  # which needs neither, and the text says so
            return
        self._say(str(error))

    def _draw(self, png: bytes, text: str) -> None:
        self._showPicture(self._ui.patchLabel, png)
        self._say(text)
        results = self._session.results
        if results is None:
            return
        self._surface = results.drawn_node(self._level, ENDPLATE)
        if self._surface is not None:
            show_legend(self._surface, True)
        self._ui.healthyCheckBox.enabled = results.drawn_node(self._level, HEALTHY) is not None

    def _say(self, text: str) -> None:
        if self._isShown:
            self._ui.drawnLabel.text = text


def _inSlices(volume: Any) -> None:
    """Show a volume in all slice views, where there are any."""
    if volume.IsA("vtkMRMLScalarVolumeNode") and slicer.app.layoutManager() is not None:
        slicer.util.setSliceViewerLayers(background=volume)
