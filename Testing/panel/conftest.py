"""The panel tests run in one application with the host's Qt side; each starts and ends with an empty scene."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from host import dialogs, packaging, qt_actions, signals
from host.application import Application
from host.cases import SOME_POINTS
from host.install import running, switches
from host.panel_driver import PanelDriver, shown_panel

from VertebralGradingLib.models import places


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    """The running application, with Qt."""
    with running() as started:
        yield started


@pytest.fixture
def host(application: Application) -> Iterator[SimpleNamespace]:
    """``qt``, ``ctk``, ``slicer`` and the running application; the test fails if a callable raised unseen."""
    import ctk
    import qt
    import slicer

    application.clear()
    signals.slot_errors.clear()
    dialogs.reset()
    packaging.installs.clear()
    switches.testing = True
    yield SimpleNamespace(qt=qt, ctk=ctk, slicer=slicer, application=application)
    switches.testing = True
    qt_actions.set_theme("light")
    qt_actions.settle()
    assert not dialogs.unused_answers(), "prepared answers that no dialog asked for"
    application.clear()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where imported models are looked for; it holds none."""
    folder = tmp_path / "models"
    monkeypatch.setenv(places.ENVIRONMENT, str(folder))
    return folder


@pytest.fixture
def panel(host: SimpleNamespace, tmp_path: Path, models: Path) -> Iterator[PanelDriver]:
    """The panel with a part of the demo's spine graded, and "Explain" open."""
    with shown_panel(tmp_path) as driver:
        driver.show_graded(SOME_POINTS)
        driver.ui.explainCollapsibleButton.collapsed = False
        yield driver
