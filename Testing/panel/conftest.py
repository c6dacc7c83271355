"""The panel tests run in one application with the host's Qt side; each starts and ends with an empty scene."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from host import dialogs, packaging, qt_actions, signals
from host.application import Application, start
from host.install import install, switches


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    """The running application, with Qt."""
    running = start()
    install(running)
    yield running
    running.stop()


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
