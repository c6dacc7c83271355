"""``slicer.packaging``: requirements are checked for real; what would be installed is recorded, never installed.

Only the arguments that all releases since 5.12 share are taken.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from packaging.requirements import Requirement


@dataclass(frozen=True)
class Install:
    """One installation that was asked for.

    Attributes:
        requirements: What pip would have been given.
        constraints: The constraints file, if any.
        requester: Who asked.
    """

    requirements: tuple[str, ...]
    constraints: str | None = None
    requester: str | None = None


installs: list[Install] = []
"""What would have been installed, in order."""

script: dict[str, Any] = {"exit_code": 0, "log": ["Successfully installed (recorded by the test host)"]}
"""How the next installation ends: pip's exit code and its lines of output."""


def pip_check(requirements: Requirement | list[Requirement]) -> bool:
    """Whether requirements are satisfied in this Python."""
    return not _missing(requirements if isinstance(requirements, list) else [requirements])


def pip_ensure(
    requirements: list[Requirement],
    constraints: str | Path | None = None,
    *,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> None:
    """Install what is missing, after asking.

    Raises:
        RuntimeError: the user said no.
        subprocess.CalledProcessError: pip failed.
    """
    missing = _missing(requirements)
    if not missing:
        return
    if skip_in_testing and slicer.app.testingEnabled():
        logging.info("Testing mode is enabled: not installing %s", ", ".join(map(str, missing)))
        return
    if prompt_install:
        text = f"{requester or 'This module'} needs {', '.join(map(str, missing))}. Install now?"
        if not slicer.util.confirmOkCancelDisplay(text):
            raise RuntimeError("Installation was refused")
    pip_install([str(requirement) for requirement in missing], constraints=constraints, requester=requester)


def pip_install(
    requirements: str | list[str],
    constraints: str | Path | None = None,
    no_deps_requirements: str | list[str] | None = None,
    *,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    parent: Any = None,
    logCallback: Callable[[str], None] | None = None,  # noqa: N803
    completedCallback: Callable[[int], None] | None = None,  # noqa: N803
) -> None:
    """Record an installation and end as ``script`` says; without blocking the callbacks come from the event loop.

    Raises:
        subprocess.CalledProcessError: blocking, and ``script`` says that pip fails.
    """
    import subprocess

    items = requirements.split() if isinstance(requirements, str) else list(requirements)
    installs.append(Install(tuple(items), None if constraints is None else str(constraints), requester))

    def run() -> None:
        for line in script["log"]:
            if logCallback is not None:
                logCallback(line)
        if completedCallback is not None:
            completedCallback(script["exit_code"])

    if not blocking:
        import qt

        qt.QTimer.singleShot(0, run)
        return
    run()
    if script["exit_code"]:
        raise subprocess.CalledProcessError(script["exit_code"], ["pip", "install", *items])


def pip_uninstall(requirements: str | list[str], **options: Any) -> None:
    """Record nothing and refuse: no module of this project uninstalls packages."""
    raise NotImplementedError("slicer.packaging.pip_uninstall is not part of the test host")


def load_requirements(path: str | Path) -> list[Requirement]:
    """Requirements of a requirements.txt: comments and options are skipped."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    texts = [line.split(" #")[0].strip() for line in lines]
    return [Requirement(text) for text in texts if text and not text.startswith(("#", "-"))]


def _missing(requirements: list[Requirement]) -> list[Requirement]:
    missing = []
    for requirement in requirements:
        if not isinstance(requirement, Requirement):
            raise TypeError(f"slicer.packaging takes packaging.requirements.Requirement, not {requirement!r}")
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            missing.append(requirement)
    return missing
