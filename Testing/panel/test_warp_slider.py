"""The vertebra's own CT warped, through the panel: asked for once, then every place of the slider at once."""

from __future__ import annotations

import time

from host import qt_actions
from host.cases import SOME_POINTS
from host.panel_driver import WAIT_S, PanelDriver

LEVELS = [point.level for point in SOME_POINTS]


def choose_warped(panel: PanelDriver, level: str = "L1") -> None:
    qt_actions.click_cell(panel.ui.vertebraTable, LEVELS.index(level), 0)
    panel.ui.explainComboBox.currentIndex = 3


def test_slider_is_followed_without_the_worker(panel: PanelDriver) -> None:
    ui = panel.ui
    choose_warped(panel)
    qt_actions.wait_until(lambda: "warped, nothing drawn" in ui.drawnLabel.text, WAIT_S, "the warp")
    assert ui.gradeSlider.visible and not ui.profileLabel.visible
    texts = []
    for value in (0, 15, 30):
        ui.gradeSlider.value = value
        texts.append(ui.drawnLabel.text)  # no waiting: nothing is asked of the worker
        assert f"at grade {value / 10:.1f}" in ui.drawnLabel.text
        assert not ui.patchLabel.pixmap.isNull()
    assert len(set(texts)) == 3
    front = [float(text.split("anew: ")[1].split(" /")[0]) for text in texts]
    assert front[0] > front[1] > front[2]
    started = time.process_time()
    for value in range(31):
        ui.gradeSlider.value = value
    print(f"a step of the slider: {1000 * (time.process_time() - started) / 31:.1f} ms")
    panel.shot("warp")
    qt_actions.click_cell(ui.vertebraTable, LEVELS.index("L2"), 0)
    qt_actions.wait_until(
        lambda: "warped, nothing drawn" in ui.drawnLabel.text and "L2" in ui.sentenceLabel.text, WAIT_S
    )
    ui.explainComboBox.currentIndex = 0
    qt_actions.wait_until(lambda: ui.profileLabel.visible and not ui.gradeSlider.visible, WAIT_S)
