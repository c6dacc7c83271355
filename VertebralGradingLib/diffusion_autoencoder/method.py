"""The diffusion autoencoder as a grading method: a score from the latent of each patch, and counterfactuals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import CentroidError, MethodError
from VertebralGradingLib.findings import Evidence
from VertebralGradingLib.genant import grade_of_score
from VertebralGradingLib.reformation import sagittal_patch
from VertebralGradingLib.study import Study
from VertebralGradingLib.volume import Volume

if TYPE_CHECKING:
    from VertebralGradingLib.diffusion_autoencoder.inference import Autoencoder, Counterfactual

_LOADED: dict[str, Autoencoder] = {}
"""The one model that is kept, by its version and checksum."""


class LatentGrading:
    """Diffusion-autoencoder latent grading (Keicher, Atad et al. 2023)."""

    name = "dae"
    requires: tuple[str, ...] = ("torch", "weights:diffusion-autoencoder")
    needs_bodies = False

    def grade(self, study: Study) -> dict[str, Evidence]:
        """Evidence for every vertebra whose patch lies in the CT.

        Raises:
            MethodError: there is no CT, no model, or no PyTorch.
        """
        ct = _ct(study)
        system, version = loaded()
        patches = {}
        for item in study.vertebrae:
            vertebra = item.vertebra
            if bool(ct.contains(vertebra.center)):
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
                (:meth:`inference.Autoencoder.counterfactuals`).

        Returns:
            ``original``, ``decoded`` (128, 128) and ``changed`` (N, 128, 128) HU at 1 mm; ``score``, ``wanted``,
            ``reached``, ``new_air_mm2``, ``outside_share``, ``psnr_db``, ``warnings`` (a list for each grade).

        Raises:
            CentroidError: no such level, or it lies outside of the CT.
            MethodError: another kind, no CT, no model, or no PyTorch.
        """
        if kind != "counterfactual":
            raise MethodError(f"The latent method does not explain by {kind!r}.", "It offers: counterfactual.")
        unknown = set(options) - {"grades", "preset", "project"}
        if unknown:
            raise MethodError(f"Unknown options: {', '.join(sorted(unknown))}.", "Use grades, preset and project.")
        ct = _ct(study)
        vertebra = study.spine.by_level.get(level)
        if vertebra is None or not bool(ct.contains(vertebra.center)):
            raise CentroidError(f"{level} does not lie in the CT.", "Choose another vertebra.")
        system, _ = loaded()
        patch = sagittal_patch(ct, study.spine, vertebra).image
        wanted = [float(g) for g in options.get("grades", (0.0, 1.0, 2.0, 3.0))]
        made = system.counterfactuals(
            patch, wanted, str(options.get("preset", "live")), bool(options.get("project", True))
        )
        return as_arrays(made)


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


def loaded() -> tuple[Autoencoder, str]:
    """The installed system and its version; kept from call to call, so that previews are quick.

    Raises:
        MethodError: there is no model, or no PyTorch.
    """
    from VertebralGradingLib.models.registry import find_model

    model = find_model("diffusion-autoencoder")
    key = f"{model.folder} {model.checksum}"
    if key not in _LOADED:
        try:
            from VertebralGradingLib.diffusion_autoencoder.inference import Autoencoder
        except (ImportError, OSError) as error:  # the latter where a library of it is broken
            raise MethodError("Latent grading needs PyTorch.", "Install PyTorch, or choose another method.") from error
        system = Autoencoder.load(model=model)
        _LOADED.clear()
        _LOADED[key] = system
    return _LOADED[key], model.version


def _ct(study: Study) -> Volume:
    if study.ct is None:
        raise MethodError("The latent method needs a CT.", "Give a CT, or choose morphometry.")
    return study.ct
