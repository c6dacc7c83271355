"""Which search finds bodies on a CT: the learned network where it can be used, else the one without weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import MethodError
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.body import BodyMask, Place
from VertebralGradingLib.segmentation.classical import find_body_classical

Find = Callable[
    [Volume, NDArray[np.float64], NDArray[np.float64], float | None, float | None],
    BodyMask,
]
"""From CT, centroid (RAS mm), axes (right, anterior, up) and the steps to the next centroids up and down to a body."""

FindAll = Callable[[Volume, Sequence[Place]], Sequence[BodyMask]]
"""The same for several places at once, one body for each, equal to those found one by one."""

CHOICES = ("auto", "network", "classical")
DEFAULT = "auto"
"""What is used where nothing else is asked for."""
ENVIRONMENT = "VERTEBRAL_GRADING_BODIES"
"""Environment variable that says otherwise, for a whole site."""
NOT_LEARNED = "network_unavailable"
"""Flag of bodies found without the network although it was wanted where it can be had."""


@dataclass(frozen=True)
class Finder:
    """A search, and what to tell of it.

    Attributes:
        find: the search.
        about: for a report's provenance: ``source``, and model, version and checksum, or why there is none.
        flags: of every body it finds.
        find_all: the search of several at once, where that is faster than one by one.
    """

    find: Find
    about: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    find_all: FindAll | None = None

    def ahead(self, ct: Volume, places: Sequence[Place]) -> Finder:
        """The same search, with these places searched at once beforehand; it still answers for any other place."""
        if self.find_all is None or not places:
            return self
        known = dict(zip(map(_key, places), self.find_all(ct, places), strict=True))

        def find(
            volume: Volume,
            center: NDArray[np.float64],
            axes: NDArray[np.float64],
            up: float | None = None,
            down: float | None = None,
        ) -> BodyMask:
            body = known.get(_key((center, axes))) if volume is ct else None
            return self.find(volume, center, axes, up, down) if body is None else body

        return replace(self, find=find)


def _key(place: Place) -> bytes:
    return b"".join(np.ascontiguousarray(part, dtype=np.float64).tobytes() for part in place)


CLASSICAL = Finder(find_body_classical, {"source": "classical"})


def chosen(wanted: str | None) -> str:
    """One of :data:`CHOICES`: what is wanted, else what :data:`ENVIRONMENT` says, else :data:`DEFAULT`.

    Raises:
        MethodError: another word.
    """
    name = wanted or os.environ.get(ENVIRONMENT) or DEFAULT
    if name not in CHOICES:
        raise MethodError(f"Bodies cannot be found by {name!r}.", f"Choose one of: {', '.join(CHOICES)}.")
    return name


def choose_finder(wanted: str | None = None, device: str = "cpu") -> Finder:
    """The search to use.

    Args:
        wanted: see :func:`chosen`; "auto" takes the network where it is installed, whole, and torch is there, else the
            classical search, with a flag; "network" insists; "classical" loads neither torch nor weights.
        device: where the network runs.

    Raises:
        MethodError: another choice, or the network is insisted on and cannot be used.
    """
    wanted = chosen(wanted)
    if wanted == "classical":
        return CLASSICAL
    try:
        return _network(device)
    except MethodError as error:
        if wanted == "network":
            raise
        return Finder(find_body_classical, {"source": "classical", "why": error.message}, (NOT_LEARNED,))


def _network(device: str) -> Finder:
    from VertebralGradingLib.models.registry import find_model
    from VertebralGradingLib.segmentation.learned import MODEL

    model = find_model(MODEL)
    return _loaded(str(model.folder), model.checksum, device)


@lru_cache(maxsize=2)
def _loaded(folder: str, checksum: str, device: str) -> Finder:
    """The network, loaded once for all studies; the arguments tell when it has been replaced."""
    from VertebralGradingLib.models.registry import find_model
    from VertebralGradingLib.segmentation.learned import MODEL, NetworkFinder

    model = find_model(MODEL)
    about = {"source": "network", "model": model.name, "version": model.version, "checksum": checksum}
    finder = NetworkFinder.load(device, model)
    return Finder(finder, about, find_all=finder.find_all)
