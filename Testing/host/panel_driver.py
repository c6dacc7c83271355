"""The module's panel as a test drives it: loaded, shown, clicked, looked at, and taken away without a trace."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer

from VertebralGradingLib.spine.points import Point

from . import qt_actions
from .cases import add_points, add_volume, demo, observers, show_graded_demo
from .scripted_module import load_module, unload_module

MODULE = Path(__file__).resolve().parents[2] / "VertebralGrading" / "VertebralGrading.py"
WAIT_S = 120
SHOTS = os.environ.get("VERTEBRAL_GRADING_ARTEFACTS")
"""Folder for pictures; each test's own where it is not set."""


class PanelDriver:
    """The panel's widget, its controls and what a test does with them.

    Args:
        module: the module object.
        shots: folder for pictures.
    """

    def __init__(self, module: Any, shots: Path) -> None:
        self.module = module
        self.shots = shots
        self.slicer = slicer
        self.scene = slicer.mrmlScene

    @property
    def widget(self) -> Any:
        """The module's widget object."""
        return slicer.modules.VertebralGradingWidget

    @property
    def ui(self) -> Any:
        """The controls by name."""
        return self.widget.ui

    @property
    def session(self) -> Any:
        """The study that the panel shows."""
        return self.widget.panel.session

    @property
    def logic(self) -> Any:
        """The module's logic."""
        return self.widget.logic

    @property
    def pid(self) -> int:
        """Process identifier of the worker, 0 without one."""
        keeper = self.logic._keeper
        return keeper._process.processId() if keeper is not None and keeper._process is not None else 0

    def choose(self, volume: Any, markups: Any) -> None:
        """Choose CT and centroids."""
        qt_actions.choose(self.ui.ctSelector, volume)
        qt_actions.choose(self.ui.centroidsSelector, markups)

    def grade(self) -> None:
        """Click Grade and wait for the end."""
        qt_actions.click(self.ui.gradeButton)
        qt_actions.wait_until(lambda: not self.logic.isGrading(), WAIT_S, "the end of the run")
        qt_actions.settle()

    def show_graded(self, points: Sequence[Point]) -> tuple[Any, Any]:
        """Choose CT and centroids of the synthetic spine, which has been graded already: no worker has run.

        Args:
            points: of the synthetic spine, all of them or some.

        Returns:
            The CT's node and the points'.
        """
        volume, markups = add_volume(demo()[0], "demo"), add_points(points)
        show_graded_demo(volume, markups, points)
        self.choose(volume, markups)
        return volume, markups

    def cell(self, row: int, column: int) -> str:
        """Text of a cell of the table of vertebrae."""
        return str(self.ui.vertebraTable.item(row, column).text())

    def shot(self, name: str) -> None:
        """Take a picture of the whole panel."""
        qt_actions.grab(self.widget.parent, self.shots / f"panel-{name}.png")


def is_running(pid: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def shown_panel(folder: Path) -> Iterator[PanelDriver]:
    """The panel in a window; when it goes, no process and no observer may stay.

    Args:
        folder: for pictures, where no other is set.
    """
    counted = observers(slicer.mrmlScene)
    module = load_module(MODULE)
    slicer.util.selectModule("VertebralGrading")
    shots = Path(SHOTS) if SHOTS else folder / "shots"
    shots.mkdir(parents=True, exist_ok=True)
    panel = PanelDriver(module, shots)
    qt_actions.show(panel.widget.parent, 560, 1500)
    yield panel
    pid = panel.pid
    slicer.util.selectModule("Volumes")
    unload_module(module)
    qt_actions.settle()
    if pid:
        qt_actions.wait_until(lambda: not is_running(pid), 30, "the end of the worker")
    assert observers(slicer.mrmlScene) == counted, "an observer stayed behind"
