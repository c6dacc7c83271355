"""The scene tests run in one headless application; each starts from an empty scene."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from host.application import Application, start


@pytest.fixture
def app() -> Iterator[Application]:
    """The running application with an empty scene, emptied again afterwards."""
    application = start()
    application.clear()
    yield application
    application.automatic_subject_hierarchy = True
    application.clear()
