"""Where the chosen vertebra lost height: map and curve, coloured endplate in 3-D, pseudo-healthy CT in the slices."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import slicer
from slicer.i18n import tr as _

from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.panel.drawn import DrawnPart
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.report.drawn import Drawn
from VertebralGradingLib.scene.drawn import ENDPLATE, HEALTHY
from VertebralGradingLib.scene.explaining import Wish
from VertebralGradingLib.scene.lost_height import show_legend
from VertebralGradingLib.scene.results import StudyResults

KIND = "height_loss_map"
NETWORK, NEIGHBOURS = "healthivert", "neighbours"


class HeightLossPart(DrawnPart):
    """The map, its nodes in the scene, and the box that shows the pseudo-healthy CT in the slice views.

    Arguments as of :class:`drawn.DrawnPart`.
    """

    def __init__(self, ui: Any, session: Session, logic: Any, showPicture: Callable[[Any, bytes], None]) -> None:
        super().__init__(ui, session, logic, showPicture, withBodies=True)
        self._note = ""
        self._surface: Any = None  # what is shown of a study that may be gone when it is to be hidden
        self._image: Any = None
        ui.healthyCheckBox.connect("toggled(bool)", self.onToggled)
        self.hide()

    def close(self) -> None:
        """Touch no widget any more."""
        self.leave()
        super().close()

    def forget(self) -> None:
        """Let go of the study."""
        self.leave()
        super().forget()

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
        another = self._another()
        if another is None:
            return
        finding, results = another
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
        if self._send(KIND, method):
            self._say(_("looking for lost height..."))

    def _onAnswer(self, wish: Wish, answer: Mapping[str, Any], results: StudyResults) -> None:
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
        if self._isWanted(wish) and wish.method == NETWORK and error.code == "method":
            self._note = _("HealthiVert-GAN cannot be used: {reason}").format(reason=error.message)
            self._ask(NEIGHBOURS)  # which needs neither, and the text says so
            return
        super()._failed(wish, error)

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


def _inSlices(volume: Any) -> None:
    """Show a volume in all slice views, where there are any."""
    if volume.IsA("vtkMRMLScalarVolumeNode") and slicer.app.layoutManager() is not None:
        slicer.util.setSliceViewerLayers(background=volume)
