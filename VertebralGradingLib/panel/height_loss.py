"""Where the chosen vertebra lost height: map and curve, coloured endplate in 3-D, pseudo-healthy CT in the slices.

Against its own CT warped to grade 0, which needs no weights, or against what a network draws (else neighbours' shape).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from slicer.i18n import tr as _

from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.panel.drawn import DrawnPart
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.report.drawn import Drawn
from VertebralGradingLib.scene.drawn import ENDPLATE, HEALTHY, loss_part
from VertebralGradingLib.scene.explaining import Wish
from VertebralGradingLib.scene.in_place import InPlace
from VertebralGradingLib.scene.lost_height import show_legend
from VertebralGradingLib.scene.results import StudyResults

KIND = "height_loss_map"
WARP, NETWORK, NEIGHBOURS = "morphometry", "healthivert", "neighbours"
"""Methods that are asked; the warp is morphometry's."""
_BY_WARP = 0
"""Its place in the list."""


class HeightLossPart(DrawnPart):
    """The map, its nodes in the scene, and the box that shows the pseudo-healthy CT in the slice views.

    Arguments as of :class:`drawn.DrawnPart`.
    """

    def __init__(self, ui: Any, session: Session, logic: Any, showPicture: Callable[[Any, bytes], None]) -> None:
        super().__init__(ui, session, logic, showPicture, withBodies=True)
        self._note = ""
        self._surface: Any = None  # what is shown of a study that may be gone when it is to be hidden
        self._inPlace = InPlace()
        ui.lossComboBox.addItems(
            [_("against its own CT warped to grade 0"), _("against HealthiVert-GAN or neighbours")]
        )
        ui.lossComboBox.connect("currentIndexChanged(int)", self.onBy)
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
        self._setVisible(False)

    def show(self) -> None:
        """Show the chosen vertebra; what the scene keeps of it at once, else a map is asked for."""
        self._isShown = True
        self._setVisible(True)
        self._ui.drawnLabel.visible = True
        another = self._another()
        if another is None:
            return
        finding, results = another
        self.leave()
        self._level, self._note = finding.level, ""
        self._ui.patchLabel.clear()
        kept = results.kept_height_loss(finding.level, self._byWarp)
        if kept is not None:
            self._draw(base64.b64decode(kept[0]), kept[1])
            return
        if self._byWarp:
            said = finding.evidence_of(WARP)
            known = {} if said is None else said.quantities.get("reference_mm") or {}
            self._ask(WARP, {"reference_mm": [float(value) for value in known.values()]} if known else {})
            return
        self._ask(NETWORK if finding.evidence_of(NEIGHBOURS) is None or finding.evidence_of(NETWORK) else NEIGHBOURS)

    def onToggled(self, checked: bool) -> None:
        """Show the pseudo-healthy CT in the slice views, or the CT as it is."""
        results = self._session.results
        healthy = self._node(results, HEALTHY) if checked and results is not None else None
        if healthy is not None and results is not None:
            self._inPlace.show(healthy, results.segmentation_node)
        else:
            self._inPlace.put_back()

    def onBy(self, index: int) -> None:
        """Against something else."""
        if self._isShown:
            self.forget()
            self.show()

    @property
    def _byWarp(self) -> bool:
        return int(self._ui.lossComboBox.currentIndex) == _BY_WARP

    def _node(self, results: StudyResults, part: str) -> Any:
        return results.drawn_node(self._level, loss_part(part, self._byWarp))

    def _setVisible(self, visible: bool) -> None:
        for widget in (self._ui.healthyCheckBox, self._ui.lossComboBox):
            widget.visible = visible

    def leave(self) -> None:
        """Show the CT as it is, and no coloured endplate."""
        if self._isOver:
            return
        surface, self._surface = self._surface, None
        if surface is not None and surface.GetScene() is not None:
            show_legend(surface, False)
        self._inPlace.put_back()
        self._ui.healthyCheckBox.checked = False
        self._ui.healthyCheckBox.enabled = False

    def _ask(self, method: str, options: Mapping[str, Any] | None = None) -> None:
        if self._send(KIND, method, options):
            self._say(_("looking for lost height..."))

    def _onAnswer(self, wish: Wish, answer: Mapping[str, Any], results: StudyResults) -> None:
        drawn = Drawn.of_height_loss(wish.level, answer)
        text = f"{self._note} {drawn.text}".strip()
        try:
            results.keep_height_loss(wish.level, answer, base64.b64encode(drawn.png).decode(), text)
        except VertebralGradingError as error:
            self._say(str(error))
            return
        if self._isShown and (wish.method == WARP) == self._byWarp:
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
        self._surface = self._node(results, ENDPLATE)
        if self._surface is not None:
            show_legend(self._surface, True)
        self._ui.healthyCheckBox.enabled = self._node(results, HEALTHY) is not None
