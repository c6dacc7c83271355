"""Relative height loss as a grading method: against the shape of sound neighbours, until there is a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from VertebralGradingLib.errors import CentroidError, MaskError, MethodError
from VertebralGradingLib.findings import Evidence
from VertebralGradingLib.genant import grade_of_score, score_of_loss
from VertebralGradingLib.healthivert.neighbours import from_neighbours
from VertebralGradingLib.healthivert.rhlv import RelativeHeightLoss
from VertebralGradingLib.morphometric import MorphometricGrading
from VertebralGradingLib.study import Study
from VertebralGradingLib.volume import Volume

_EDGE_SHARE = 6.0 / 5.0
"""A wedge that is lost at its edge loses five sixths of that in the third there (sheet 2, section 8)."""
_SD_LOSS = 0.05
"""Of a loss against neighbours: the 8 sound vertebrae of the development mask verse004 differ from theirs by 0.04 in
the whole and 0.05 in a third (root mean square)."""
_FRACTURED = 1
"""Grade of morphometry from which on a vertebra is no example for its neighbours."""


class HeightLossGrading:
    """Unlearned grading by relative height loss; the baseline that HealthiVert-GAN's network has to beat."""

    name = "healthivert"
    requires: tuple[str, ...] = ()
    needs_bodies = True

    def check(self, ct: Volume | None) -> None:
        """It needs nothing that may be missing."""

    def grade(self, study: Study) -> dict[str, Evidence]:
        """Evidence for every measured vertebra that has a sound neighbour."""
        broken, out = _broken(study), {}
        for item in study.vertebrae:
            level = item.vertebra.level
            if item.measurement is None:
                continue
            try:
                seen = from_neighbours(study, level, broken)
            except MaskError:
                continue
            loss = seen.relative_height_loss()
            graded = graded_loss(loss)
            score = float(score_of_loss(max(graded, 0.0)))
            low, high = (float(score_of_loss(max(graded + k * 1.645 * _SD_LOSS, 0.0))) for k in (-1, 1))
            out[level] = Evidence(
                method=self.name,
                grade=grade_of_score(score),
                grade_interval=(low, high),
                score=score,
                quantities={
                    "reference": "neighbours",
                    "reference_levels": list(seen.sources),
                    "relative_height_loss": loss.thirds,
                    "relative_height_loss_whole": loss.whole,
                    "relative_height_loss_sides": seen.relative_height_loss("coronal").thirds,
                },
            )
        return out

    def explain(self, study: Study, level: str, kind: str = "height_loss_map", **options: Any) -> dict[str, Any]:
        """Where one vertebra lost height.

        Returns:
            ``loss`` (columns, depth) share of the expected height that is missing, from front to back and from right to
            left in steps of 1 mm, NaN outside of the body; ``own_mm`` and ``expected_mm`` of the same shape; ``thirds``
            and ``sides``, means by name; ``reference_levels``.

        Raises:
            CentroidError: no such level, or it was not measured.
            MaskError: it has no sound neighbour.
            MethodError: another kind.
        """
        if kind != "height_loss_map" or options:
            raise MethodError("Relative height loss offers one explanation.", "Ask for height_loss_map, no options.")
        if level not in {item.vertebra.level for item in study.vertebrae if item.measurement is not None}:
            raise CentroidError(f"{level} was not measured.", "Choose a vertebra that has heights.")
        seen = from_neighbours(study, level, _broken(study))
        rows, columns = (np.flatnonzero(np.isfinite(seen.own_mm).any(axis)) for axis in (1, 0))
        cut = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return {
            "loss": seen.loss[cut],
            "own_mm": seen.own_mm[cut],
            "expected_mm": seen.healthy_mm[cut],
            "thirds": seen.relative_height_loss().thirds,
            "sides": seen.relative_height_loss("coronal").thirds,
            "reference_levels": list(seen.sources),
        }


def graded_loss(loss: RelativeHeightLoss) -> float:
    """The loss that Genant's limits are applied to: the largest of front edge, middle and whole, as in morphometry."""
    front, middle, _ = loss.features
    return max(_EDGE_SHARE * front, middle, loss.whole)


def _broken(study: Study) -> set[str]:
    """Levels that morphometry calls fractured."""
    said = MorphometricGrading().grade(study)
    return {level for level, one in said.items() if (one.grade or 0) >= _FRACTURED}
