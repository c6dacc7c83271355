"""``slicer.testing``: running a module's self-test."""

from __future__ import annotations

import sys
import unittest


def exitSuccess() -> None:  # noqa: N802
    """Slicer would end here; a test goes on."""


def exitFailure(message: str = "") -> None:  # noqa: N802
    """Raise: the test failed."""
    raise RuntimeError(message)


def runUnitTest(path: str | list[str], testname: str) -> None:  # noqa: N802
    """Run the unittest cases of a module, each test method on its own.

    Raises:
        RuntimeError: a test failed.
    """
    sys.path.extend([path] if isinstance(path, str) else path)
    suite = unittest.TestLoader().loadTestsFromName(testname)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    if not result.wasSuccessful():
        exitFailure(f"{testname} failed")
