"""How a grading method plugs in, and the table of methods. Nothing heavy is imported before a method is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from VertebralGradingLib.errors import MethodError

if TYPE_CHECKING:
    from VertebralGradingLib.findings import Evidence
    from VertebralGradingLib.image.volume import Volume
    from VertebralGradingLib.study import Study

METHODS: dict[str, str] = {
    "morphometry": "VertebralGradingLib.methods.morphometric:MorphometricGrading",
    "neighbours": "VertebralGradingLib.healthivert.method:NeighbourGrading",
    "healthivert": "VertebralGradingLib.healthivert.method:HealthivertGrading",
    "dae": "VertebralGradingLib.diffusion_autoencoder.method:LatentGrading",
}
"""Name -> "module:Class". Morphometry gives the state; the others are second opinions."""
REQUIRES: dict[str, tuple[str, ...]] = {
    "morphometry": (),
    "neighbours": (),
    "healthivert": ("torch", "weights:healthivert"),
    "dae": ("torch", "weights:diffusion-autoencoder"),
}
"""What each needs, told without importing it."""


class GradingMethod(Protocol):
    """What a method offers.

    Attributes:
        name: its name in :data:`METHODS`.
        requires: what it needs beyond the core ("torch", "weights:..."), for `info`.
        needs_bodies: whether :meth:`explain` needs the bodies of the study measured.
        quick: whether provisional findings wait for it.
    """

    name: str
    requires: tuple[str, ...]
    needs_bodies: bool
    quick: bool

    def check(self, ct: Volume | None) -> None:
        """Tell what is missing before anything is measured.

        Raises:
            MethodError: it cannot grade this.
        """
        ...

    def grade(self, study: Study) -> dict[str, Evidence]:
        """Evidence by level for every vertebra it can judge."""
        ...

    def explain(self, study: Study, level: str, kind: str, **options: Any) -> dict[str, Any]:
        """Arrays and numbers that show why a vertebra has its grade.

        Raises:
            MethodError: the kind is not offered.
        """
        ...


def load(name: str) -> GradingMethod:
    """Make a method.

    Raises:
        MethodError: the name is not known.
    """
    if name not in METHODS:
        raise MethodError(f"The method {name!r} is not known.", f"Choose one of: {', '.join(METHODS)}.")
    module, _, cls = METHODS[name].partition(":")
    method: GradingMethod = getattr(importlib.import_module(module), cls)()
    return method
