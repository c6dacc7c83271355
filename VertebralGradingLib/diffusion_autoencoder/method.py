"""The diffusion autoencoder as a grading method: a score from the latent of each patch, and counterfactuals."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.diffusion_autoencoder import VOI_MM
from VertebralGradingLib.errors import CentroidError, InputError, MethodError
from VertebralGradingLib.findings import Evidence
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.models.loading import Kept
from VertebralGradingLib.morphometry.genant import grade_of_score
from VertebralGradingLib.spine.reformation import sagittal_patch
from VertebralGradingLib.spine.spine import Spine, Vertebra
from VertebralGradingLib.study import Study

if TYPE_CHECKING:
    from VertebralGradingLib.diffusion_autoencoder.inference import Autoencoder, Counterfactual
    from VertebralGradingLib.models.registry import Model

MOST_GRADES = 64
"""Counterfactuals of one request."""


class LatentGrading:
    """Diffusion-autoencoder latent grading (Keicher, Atad et al. 2023)."""

    name = "dae"
    requires: tuple[str, ...] = ("torch", "weights:diffusion-autoencoder")
    needs_bodies, quick = False, False

    def check(self, ct: Volume | None) -> None:
        """Tell what is missing before anything is measured.

        Raises:
            MethodError: there is no CT, no model, or no PyTorch.
        """
        _ct(ct)
        loaded()

    def grade(self, study: Study) -> dict[str, Evidence]:
        """Evidence for every vertebra that the CT shows whole; there is none for one that its edge may cut.

        Raises:
            MethodError: there is no CT, no model, or no PyTorch.
        """
        ct = _ct(study.ct)
        system, version = loaded()
        patches = {}
        for item in study.vertebrae:
            vertebra = item.vertebra
            if is_shown(ct, study.spine, vertebra):
                patches[vertebra.level] = sagittal_patch(ct, study.spine, vertebra).image
        if not patches:
            return {}
        z = system.encode(np.stack(list(patches.values())))
        grader = system.grader
        rows = zip(patches, grader.distance(z), grader.score(z), grader.interval(z), grader.direct(z), strict=True)
        return {
            level: Evidence(
                method=self.name,
                grade=grade_of_score(float(score)),
                grade_interval=(float(interval[0]), float(interval[1])),
                score=float(score),
                quantities={
                    "distance": float(distance),
                    "direct_grade": int(direct),
                    "calibration": grader.calibration.kind,
                    "model": version,
                },
            )
            for level, distance, score, interval, direct in rows
        }

    def explain(self, study: Study, level: str, kind: str = "counterfactual", **options: Any) -> dict[str, Any]:
        """What a vertebra would look like at other grades.

        Args:
            study: with a CT; bodies need not be measured.
            level: which vertebra.
            kind: "counterfactual".
            options: ``grades`` (0..3, continuous; 0, 1, 2 and 3 where missing), ``preset``, ``project``
                (:meth:`inference.Autoencoder.counterfactuals`), ``binary`` for the other side of the hyperplane
                between healthy and fractured instead of grades.

        Returns:
            ``original``, ``decoded`` (128, 128) and ``changed`` (N, 128, 128) HU at 1 mm; ``score``, ``wanted``,
            ``reached``, ``new_air_mm2``, ``outside_share``, ``psnr_db``, ``warnings`` (a list for each grade).

        Raises:
            CentroidError: no such level, or it lies outside of the CT.
            MethodError: another kind, no CT, no model, or no PyTorch.
        """
        if kind != "counterfactual":
            raise MethodError(f"The latent method does not explain by {kind!r}.", "It offers: counterfactual.")
        wanted, preset, project, binary = _wishes(options)
        ct = _ct(study.ct)
        vertebra = study.spine.by_level.get(level)
        if vertebra is None or not is_shown(ct, study.spine, vertebra):
            raise CentroidError(f"{level} does not lie in the CT as a whole.", "Choose another vertebra.")
        system, _ = loaded()
        patch = sagittal_patch(ct, study.spine, vertebra).image
        if binary:
            wanted = [system.grader.other_side(system.encode(patch[None])[0])]
        return as_arrays(system.counterfactuals(patch, wanted, preset, project))


def is_shown(ct: Volume, spine: Spine, vertebra: Vertebra) -> bool:
    """Whether the CT holds the whole box around a vertebra, so that its edge does not look like lost height."""
    _, anterior, up = spine.axes(vertebra).T
    corners = [
        vertebra.center + a * VOI_MM[0] / 2 * up + b * VOI_MM[1] / 2 * anterior for a in (-1, 1) for b in (-1, 1)
    ]
    return bool(ct.contains(np.array(corners)).all())


def as_arrays(made: list[Counterfactual]) -> dict[str, Any]:
    """Counterfactuals of one vertebra as arrays and lists."""
    changed: NDArray[np.float32] = np.stack([one.changed for one in made])
    return {
        "original": made[0].original,
        "decoded": made[0].decoded,
        "changed": changed,
        "score": made[0].score,
        "wanted": [one.wanted for one in made],
        "reached": [one.reached for one in made],
        "new_air_mm2": [one.new_air_mm2 for one in made],
        "outside_share": [one.outside_share for one in made],
        "psnr_db": made[0].psnr_db,
        "warnings": [list(one.warnings) for one in made],
    }


def _load() -> Callable[[Model], Autoencoder]:
    from VertebralGradingLib.diffusion_autoencoder.inference import Autoencoder

    return lambda model: Autoencoder.load(model=model)


_LOADED = Kept(
    "diffusion-autoencoder", _load, "Latent grading needs PyTorch.", "Install PyTorch, or choose another method."
)


def loaded() -> tuple[Autoencoder, str]:
    """The installed system and its version; kept from call to call, so that previews are quick.

    Raises:
        MethodError: there is no model, or no PyTorch.
    """
    return _LOADED.get()


def _wishes(options: dict[str, Any]) -> tuple[list[float], str, bool, bool]:
    """Grades, preset, whether to project, whether to cross the hyperplane: out of options that may come from anywhere.

    Raises:
        MethodError: an unknown name.
        InputError: a value of another kind.
    """
    unknown = set(options) - {"grades", "preset", "project", "binary"}
    if unknown:
        raise MethodError(f"Unknown options: {', '.join(sorted(unknown))}.", "Use grades, preset, project and binary.")
    grades = options.get("grades", [0.0, 1.0, 2.0, 3.0])
    preset, project, binary = options.get("preset", "live"), options.get("project", True), options.get("binary", False)
    numbers = isinstance(grades, (list, tuple)) and all(
        isinstance(one, (int, float)) and not isinstance(one, bool) for one in grades
    )
    if not numbers or not 1 <= len(grades) <= MOST_GRADES:
        raise InputError("The grades wanted are no list of numbers.", f"Give 1 to {MOST_GRADES} numbers, 0 to 3.")
    if not isinstance(preset, str) or not isinstance(project, bool) or not isinstance(binary, bool):
        raise InputError(
            "An option of the counterfactual cannot be used.", "preset is a word, project and binary are true or false."
        )
    return [float(one) for one in grades], preset, project, binary


def _ct(ct: Volume | None) -> Volume:
    if ct is None:
        raise MethodError("The latent method needs a CT.", "Give a CT, or choose morphometry.")
    return ct
