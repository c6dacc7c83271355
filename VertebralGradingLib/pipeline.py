"""From images and centroids to findings: the two entries everything else calls, :func:`grade` and :func:`explain`."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from VertebralGradingLib._version import __version__
from VertebralGradingLib.errors import CentroidError, InputError, MethodError
from VertebralGradingLib.findings import Evidence, Finding, Report
from VertebralGradingLib.image.volume import Volume, check_hounsfield
from VertebralGradingLib.methods import table as method_table
from VertebralGradingLib.methods.morphometric import defect_decision, judged
from VertebralGradingLib.segmentation import CLASSICAL, Finder, VertebraLabels, mask_label
from VertebralGradingLib.segmentation.finders import choose_finder, chosen
from VertebralGradingLib.spine.spine import Spine
from VertebralGradingLib.study import MeasuredVertebra, Progress, Study, prepare

_BLOCKING = {
    "far_off_curve": "centroid far off the spine's curve",
    "cut_by_volume_edge": "cut by the edge of the volume",
    "implant_or_cement": "metal or cement in or near the body",
    "disc_below_resolution": "slices too thick to find this body's edges; give a mask",
    "low_confidence_mask": "the body's edges were not found with confidence",
    "implausible_heights": "heights do not fit any vertebra of this spine",
}


_RECENT = 8
"""A provisional finding is judged by so many vertebrae at most, so that a long spine does not take ever longer."""


def grade(
    ct: Volume | None,
    spine: Spine,
    mask: VertebraLabels | None = None,
    methods: Sequence[str] = ("morphometry",),
    progress: Progress | None = None,
    on_finding: Callable[[Finding], None] | None = None,
    on_study: Callable[[Study], None] | None = None,
    bodies_by: str | None = None,
) -> Report:
    """Grade every thoracic and lumbar vertebra of a spine.

    Args:
        ct: HU, or None when a mask is given.
        spine: ordered centroids.
        mask: vertebra labels, or None to find the bodies on the CT.
        methods: names out of :data:`table.METHODS`; the first is the primary one.
        progress: see :data:`study.Progress`; a stopped run reports what was finished.
        on_finding: called with a provisional finding after each vertebra, by the methods that are quick; the reference
            it is graded by still grows.
        on_study: called once with the measured study, for callers that want more than findings, such as body masks.
        bodies_by: how bodies are found that no mask shows: "auto", "network", "classical", or None for the default
            (:func:`finders.choose_finder`).

    Raises:
        InputError: neither CT nor mask, or an image that is no CT.
        CentroidError: no centroid lies in the image, or none marks a thoracic or lumbar vertebra.
        MethodError: no or an unknown method, or a network was asked for that cannot be used.
    """
    started = time.perf_counter()
    if not methods:
        raise MethodError("No method was chosen.", f"Choose one of: {', '.join(method_table.METHODS)}.")
    # heights, their losses and points always come from morphometry, whatever grades
    graders = [method_table.load(name) for name in dict.fromkeys((*methods, "morphometry"))]
    _check(ct, spine, mask)
    for grader in graders:
        grader.check(ct)
    finder = _finder(ct, spine, mask, bodies_by)
    quick = [grader for grader in graders if grader.quick]

    def tell(partial: Study) -> None:
        if on_finding is not None:
            recent = judged(replace(partial, vertebrae=partial.vertebrae[-_RECENT:]))
            on_finding(_findings(recent, quick)[-1])

    study = judged(prepare(ct, spine, mask, progress, tell, finder))
    prepared = time.perf_counter()
    if on_study is not None:
        on_study(study)
    findings = _findings(study, graders)
    times = {"bodies_s": prepared - started, "methods_s": time.perf_counter() - prepared}
    return Report(_describe(study), tuple(findings), _provenance(methods, times, finder))


def explain(
    ct: Volume | None,
    spine: Spine,
    mask: VertebraLabels | None = None,
    *,
    level: str,
    kind: str = "heights",
    method: str = "morphometry",
    bodies_by: str | None = None,
    study: Study | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Why a vertebra has its grade, as arrays and numbers of one method.

    Args:
        ct: HU, or None.
        spine: ordered centroids.
        mask: vertebra labels, or None.
        level: which vertebra.
        kind: of explanation; each method has its own.
        method: which.
        bodies_by: as for :func:`grade`.
        study: what :func:`grade` told ``on_study``, so that nothing is measured again.
        options: of the method.

    Raises:
        CentroidError: no such level.
        MethodError: the method or kind is not known.
    """
    grader = method_table.load(method)
    if level not in spine.by_level:
        raise CentroidError(f"There is no vertebra {level}.", f"Choose one of: {', '.join(spine.by_level)}.")
    if study is not None:
        pass  # it has been measured already
    elif grader.needs_bodies:
        study = judged(prepare(ct, spine, mask, finder=_finder(ct, spine, mask, bodies_by)))
    else:
        study = Study(ct, spine, mask)
    return grader.explain(study, level, kind, **options)


def unfinished_report(
    ct: Volume | None,
    spine: Spine,
    mask: VertebraLabels | None,
    findings: Sequence[Finding],
    methods: Sequence[str] = ("morphometry",),
) -> Report:
    """A report of the provisional findings that :func:`grade` had given before it was broken off."""
    study = Study(ct, spine, mask, complete=False)
    said = [finding.evidence_of("morphometry") for finding in findings]
    learned = any(one is not None and one.quantities.get("mask_source") == "network" for one in said)
    finder = replace(CLASSICAL, about={"source": "network"}) if learned else CLASSICAL
    return Report(_describe(study), tuple(findings), _provenance(methods, {}, finder))


def _finder(ct: Volume | None, spine: Spine, mask: VertebraLabels | None, wanted: str | None) -> Finder:
    """How bodies are found; nothing is loaded where a mask gives them all."""
    wanted = chosen(wanted)
    graded = [vertebra for vertebra in spine.vertebrae if vertebra.gradable_level]
    if ct is None or (mask is not None and all(mask_label(mask, vertebra) is not None for vertebra in graded)):
        return CLASSICAL
    return choose_finder(wanted)


def _check(ct: Volume | None, spine: Spine, mask: VertebraLabels | None) -> None:
    volume = ct if ct is not None else mask.volume if mask is not None else None
    if volume is None:
        raise InputError("There is neither a CT nor a mask.", "Give a CT, a mask, or both.")
    inside = volume.contains(spine.centers)
    if not inside.any():
        raise CentroidError(
            "No centroid lies inside the image.", "Check that they belong together and use the same coordinates."
        )
    if not any(vertebra.gradable_level for vertebra in spine.vertebrae):
        raise CentroidError("No centroid marks a thoracic or lumbar vertebra.", "Only T1 to L6 are graded.")
    if ct is not None:
        check_hounsfield(ct, spine.centers[inside])


def _findings(study: Study, graders: Sequence[method_table.GradingMethod]) -> list[Finding]:
    """Let every method judge the study, and join what they say about each vertebra."""
    evidence = {grader.name: grader.grade(study) for grader in graders}
    return [_finding(item, evidence, list(evidence)) for item in study.vertebrae]


def _finding(item: MeasuredVertebra, evidence: dict[str, dict[str, Evidence]], methods: Sequence[str]) -> Finding:
    """Join what the methods say about one vertebra."""
    level = item.vertebra.level
    said = [evidence[name][level] for name in methods if level in evidence[name]]
    primary = evidence[methods[0]].get(level)
    flags = list(dict.fromkeys((*item.flags, *(flag for one in said for flag in one.flags))))
    grades = [one.grade for one in said if one.grade is not None]
    if grades and max(grades) - min(grades) >= 1:
        flags.append("methods_disagree")
    exclusion, reason = _why_not(item, primary, flags)
    measurement = item.measurement
    heights = evidence.get("morphometry", {}).get(level)
    quantities = heights.quantities if heights is not None else {}
    center = item.vertebra.center if measurement is None else measurement.body.centroid()
    return Finding(
        level=level,
        grade=None if reason or primary is None else primary.grade,
        score=None if reason or primary is None else primary.score,
        grade_interval=None if reason or primary is None else primary.grade_interval,
        primary_method=methods[0],
        gradable=not reason,
        reason=reason,
        deformity=str(quantities.get("deformity", "none")) if not reason else "none",
        center_ras_mm=_triple(center),
        points_ras_mm=() if measurement is None else tuple(_triple(point) for point in measurement.points_ras),
        heights_mm=dict(quantities.get("heights_mm", {})),
        height_loss=dict(quantities.get("height_loss", {})),
        flags=tuple(flags),
        suggested_exclusion=exclusion,
        evidence=tuple(said),
    )


def _why_not(item: MeasuredVertebra, primary: Evidence | None, flags: list[str]) -> tuple[str, str]:
    """Suggested exclusion and reason why a vertebra is not graded; both empty when it is."""
    if item.problem:
        return "", item.problem
    if primary is None or primary.grade is None:
        return "", "the method could not grade it"
    for flag, reason in _BLOCKING.items():
        if flag in flags:
            return "", reason
    return defect_decision(primary)


def _triple(values: Any) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 3) for v in values)
    return x, y, z


def _describe(study: Study) -> dict[str, Any]:
    """What was read, free of patient data."""
    volume = study.ct if study.ct is not None else study.labels.volume if study.labels is not None else None
    assert volume is not None  # _check has made sure
    return {
        "modality": "CT" if study.ct is not None else "mask",
        "shape": list(volume.shape),
        "spacing_mm": [round(float(v), 4) for v in volume.spacing],
        "levels_named": all(v.known for v in study.spine.vertebrae),
        "mask_given": study.labels is not None,
        "complete": study.complete,
        "flags": [*study.spine.flags, *volume.notes],
    }


def _provenance(methods: Sequence[str], times: dict[str, float], finder: Finder = CLASSICAL) -> dict[str, Any]:
    import scipy
    import SimpleITK as sitk

    return {
        "program": "VertebralGrading",
        "version": __version__,
        "methods": list(methods),
        "norms": "Resources/norms/vertebral_heights.csv",
        "bodies_found_by": dict(finder.about),
        "libraries": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "SimpleITK": sitk.Version().VersionString(),
        },
        "device": "cpu",
        "times_s": {name: round(value, 3) for name, value in times.items()},
    }
