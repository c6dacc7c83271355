"""Relative height loss as grading methods: against what generators draw, and against the shape of sound neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from VertebralGradingLib.errors import CentroidError, MaskError, MethodError
from VertebralGradingLib.findings import Evidence
from VertebralGradingLib.findings.flags import CUT
from VertebralGradingLib.healthivert.neighbours import from_neighbours
from VertebralGradingLib.healthivert.patient import patient_scale
from VertebralGradingLib.healthivert.pseudo_healthy import PseudoHealthy, lost_height_map
from VertebralGradingLib.healthivert.rhlv import RelativeHeightLoss
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.models.loading import Kept
from VertebralGradingLib.morphometry.genant import grade_of_score, score_of_loss
from VertebralGradingLib.morphometry.height_rows import UNTRUSTED
from VertebralGradingLib.study import MeasuredVertebra, Study

if TYPE_CHECKING:
    from VertebralGradingLib.healthivert.inference import Healthivert
    from VertebralGradingLib.models.registry import Model

MAP = "height_loss_map"
"""Kind of explanation."""
_EDGE_SHARE = 6.0 / 5.0
"""A wedge that is lost at its edge loses five sixths of that in the third there (sheet 2, section 8)."""
_SD_LOSS = 0.05
"""Of a loss against neighbours: the 8 sound vertebrae of the development mask verse004 differ from theirs by 0.04 in
the whole and 0.05 in a third (root mean square)."""


class NeighbourGrading:
    """Unlearned grading by relative height loss: the baseline that HealthiVert-GAN has to beat."""

    name = "neighbours"
    requires: tuple[str, ...] = ()
    needs_bodies, quick = True, True

    def check(self, ct: Volume | None) -> None:
        """It needs nothing that may be missing."""

    def grade(self, study: Study) -> dict[str, Evidence]:
        """Evidence for every vertebra that was measured without doubt and has a sound neighbour."""
        broken, out = study.fractured, {}
        for item in _whole(study):
            try:
                seen = from_neighbours(study, item.vertebra.level, broken)
            except MaskError:
                continue
            about = {"reference": "neighbours", "reference_levels": list(seen.sources)}
            out[item.vertebra.level] = _evidence(self.name, seen, about, _SD_LOSS)
        return out

    def explain(self, study: Study, level: str, kind: str = MAP, **options: Any) -> dict[str, Any]:
        """Where one vertebra lost height.

        Returns:
            ``loss`` (columns, depth) share of the expected height that is missing, from front to back and from right to
            left in steps of 1 mm, NaN outside of the body; ``own_mm`` and ``expected_mm`` of the same shape;
            ``uncertain`` (columns, depth) where the loss cannot be told; ``thirds`` and ``sides``, means by name;
            ``whole``; ``anterior_rim``; ``endplate_ras_mm`` (columns, depth, 3) the upper endplate there,
            ``map_affine`` (4, 4) column, depth, height below the middle (mm) -> RAS mm; ``reference_levels``.

        Raises:
            CentroidError: no such level, or it was not measured.
            MaskError: it has no sound neighbour.
            MethodError: another kind.
        """
        _check_kind(kind, options)
        item = _place(study, level)
        seen = from_neighbours(study, level, study.fractured)
        return {**lost_height_map(seen, item), "reference": "neighbours", "reference_levels": list(seen.sources)}


class HealthivertGrading:
    """Relative height loss against pseudo-healthy vertebrae drawn by HealthiVert-GAN's generators."""

    name = "healthivert"
    requires: tuple[str, ...] = ("torch", "weights:healthivert")
    needs_bodies, quick = True, False

    def check(self, ct: Volume | None) -> None:
        """Tell what is missing before anything is measured.

        Raises:
            MethodError: there is no CT, no model, or no PyTorch.
        """
        _ct(ct)
        loaded()

    def grade(self, study: Study) -> dict[str, Evidence]:
        """Evidence for every vertebra that was measured without doubt and that the slices show.

        Raises:
            MethodError: there is no CT, no model, or no PyTorch.
        """
        ct = _ct(study.ct)
        system, version = loaded()
        patient = _Patient(study, ct, system)
        out = {}
        for number, item in enumerate(patient.items):
            seen = patient.seen(number) if patient.whole[number] else None
            if seen is None:
                continue
            scale = patient.scale(number)
            about = {"reference": "network", "model": version, "patient_scale": scale}
            try:
                evidence = _evidence(self.name, seen.lowered(scale), about, system.sd_loss)
            except MaskError:
                continue
            out[item.vertebra.level] = evidence
        return out

    def explain(self, study: Study, level: str, kind: str = MAP, **options: Any) -> dict[str, Any]:
        """Where one vertebra lost height, and what it might have looked like.

        Returns:
            as :meth:`NeighbourGrading.explain`, without ``reference_levels``; besides ``affine`` (4, 4) index -> RAS mm
            of ``original`` and ``pseudo_healthy`` (R, C, D) HU and of ``body`` and ``pseudo_healthy_body`` (bool);
            ``as_coded``, thirds by the published rules.

        Raises:
            CentroidError: no such level, or it was not measured.
            MaskError: the slices do not show it.
            MethodError: another kind, no CT, no model, or no PyTorch.
        """
        _check_kind(kind, options)
        ct = _ct(study.ct)
        item = _place(study, level)
        system, version = loaded()
        patient = _Patient(study, ct, system)
        number = patient.items.index(item)
        scale = patient.scale(number)
        seen, volumes = system.volumes(ct, patient.items, number, patient.broken, study.spine, scale)
        return {
            **lost_height_map(seen, item),
            "reference": "network",
            "model": version,
            "patient_scale": scale,
            "as_coded": volumes.relative_height_loss("as_coded").thirds,
            "affine": volumes.affine,
            "original": np.rint(volumes.original).astype(np.int16),
            "pseudo_healthy": np.rint(volumes.healthy).astype(np.int16),
            "body": volumes.body,
            "pseudo_healthy_body": volumes.healthy_body,
        }


def graded_loss(loss: RelativeHeightLoss) -> float:
    """The loss that Genant's limits are applied to: the largest of front edge, middle and whole, as in morphometry."""
    front, middle, _ = loss.features
    return max(edge_of_third(front), middle, loss.whole)


def edge_of_third(loss: float) -> float:
    """Loss at the front edge of a wedge whose anterior third has lost so much on average (:data:`_EDGE_SHARE`)."""
    return _EDGE_SHARE * loss


def _load() -> Callable[[Model], Healthivert]:
    from VertebralGradingLib.healthivert.inference import Healthivert

    return Healthivert.load


_LOADED = Kept("healthivert", _load, "HealthiVert-GAN needs PyTorch.", "Install PyTorch, or choose neighbours.")


def loaded() -> tuple[Healthivert, str]:
    """The installed networks and their version; kept from call to call.

    Raises:
        MethodError: there is no model, or no PyTorch.
    """
    return _LOADED.get()


def _evidence(method: str, seen: PseudoHealthy, about: dict[str, Any], sd: float) -> Evidence:
    """A grade of a loss.

    Raises:
        MaskError: there is too little to compare.
    """
    loss, sides = seen.relative_height_loss(), seen.relative_height_loss("coronal")
    graded = graded_loss(loss)
    if not np.isfinite(graded):
        raise MaskError("Too little of the vertebra can be compared.", "Check its mask.")
    if graded > max(loss.features[1], loss.whole):
        sd *= _EDGE_SHARE  # of the edge
    score = float(score_of_loss(max(graded, 0.0)))
    low, high = (float(score_of_loss(max(graded + k * 1.645 * sd, 0.0))) for k in (-1, 1))
    quantities = {
        **about,
        "relative_height_loss": loss.thirds,
        "relative_height_loss_whole": loss.whole,
        "relative_height_loss_anterior_rim": _number(seen.anterior_rim_loss),
        "relative_height_loss_sides": {name: _number(value) for name, value in sides.thirds.items()},
    }
    return Evidence(method, grade_of_score(score), (low, high), score, quantities)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _check_kind(kind: str, options: dict[str, Any]) -> None:
    if kind != MAP or options:
        raise MethodError("Relative height loss offers one explanation.", f"Ask for {MAP}, no options.")


def _place(study: Study, level: str) -> MeasuredVertebra:
    """The vertebra of a level.

    Raises:
        CentroidError: it was not measured.
    """
    measured = (item for item in _measured(study) if CUT not in item.flags)
    found = next((item for item in measured if item.vertebra.level == level), None)
    if found is None:
        raise CentroidError(f"{level} was not measured.", "Choose a vertebra that has heights.")
    return found


def _measured(study: Study) -> list[MeasuredVertebra]:
    return [item for item in study.vertebrae if item.measurement is not None]


def _whole(study: Study) -> list[MeasuredVertebra]:
    """Measured vertebrae that are not cut, not implanted, and whose edges were found."""
    return [item for item in _measured(study) if not UNTRUSTED & set(item.flags)]


class _Patient:
    """The measured vertebrae of one study beside what is drawn of them, each once and when it is asked for."""

    def __init__(self, study: Study, ct: Volume, system: Healthivert) -> None:
        levels, whole = study.fractured, _whole(study)
        self.items = _measured(study)
        self.broken = [item.vertebra.level in levels for item in self.items]
        self.whole = [item in whole for item in self.items]
        self._study, self._ct, self._system = study, ct, system
        self._seen: dict[int, PseudoHealthy | None] = {}

    def seen(self, number: int) -> PseudoHealthy | None:
        """One of them, None where the slices do not show it."""
        if number not in self._seen:
            try:
                found = self._system.pseudo_healthy(self._ct, self.items, number, self.broken, self._study.spine)
                self._seen[number] = found
            except MaskError:
                self._seen[number] = None
        return self._seen[number]

    def scale(self, number: int) -> float:
        """See :func:`patient.patient_scale`; sound are those that morphometry does not call fractured."""
        sound = [whole and not broken for whole, broken in zip(self.whole, self.broken, strict=True)]
        return patient_scale(number, sound, self.seen)


def _ct(ct: Volume | None) -> Volume:
    if ct is None:
        raise MethodError("HealthiVert-GAN needs a CT.", "Give a CT, or choose neighbours.")
    return ct
