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
from VertebralGradingLib.findings import Evidence, Finding, Report, not_reached
from VertebralGradingLib.findings.flags import CUT
from VertebralGradingLib.findings.states import NOT_ASSESSED
from VertebralGradingLib.image.volume import Volume, check_hounsfield
from VertebralGradingLib.methods import table as method_table
from VertebralGradingLib.methods.considerations import considered
from VertebralGradingLib.methods.decision import decide, decided
from VertebralGradingLib.methods.morphometric import judged
from VertebralGradingLib.segmentation import CLASSICAL, Finder, VertebraLabels, mask_label
from VertebralGradingLib.segmentation.finders import choose_finder, chosen
from VertebralGradingLib.spine.spine import Spine
from VertebralGradingLib.study import MeasuredVertebra, Progress, Study, prepare

_RECENT = 8
"""A provisional finding is judged by so many vertebrae at most, so that a long spine does not take ever longer."""


def grade(
    ct: Volume | None,
    spine: Spine,
    mask: VertebraLabels | None = None,
    methods: Sequence[str] = (),
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
        methods: second opinions, names out of :data:`table.METHODS`; morphometry always gives the state and the
            heights. A method that cannot run is left out, and ``provenance["not_run"]`` says why.
        progress: see :data:`study.Progress`; a stopped run reports what was finished, and what was not reached.
        on_finding: called with a provisional finding after each vertebra, by the methods that are quick; the reference
            it is graded by still grows.
        on_study: called once with the measured study, for callers that want more than findings, such as body masks.
        bodies_by: how bodies are found that no mask shows: "auto", "network", "classical", or None for the default
            (:func:`finders.choose_finder`).

    Raises:
        InputError: neither CT nor mask, or an image that is no CT.
        CentroidError: no centroid lies in the image, or none marks a thoracic or lumbar vertebra.
        MethodError: an unknown method, or a network was asked for by ``bodies_by`` that cannot be used.
    """
    started = time.perf_counter()
    wanted = [method_table.load(name) for name in dict.fromkeys(methods) if name != "morphometry"]
    _check(ct, spine, mask)
    opinions = _Opinions(wanted, ct)
    finder = _finder(ct, spine, mask, bodies_by)

    def tell(partial: Study) -> None:
        if on_finding is not None:
            recent = judged(replace(partial, vertebrae=partial.vertebrae[-_RECENT:]))
            on_finding(_findings(recent, opinions.of(recent, quick=True))[-1])

    study = judged(prepare(ct, spine, mask, progress, tell, finder))
    prepared = time.perf_counter()
    if on_study is not None:
        on_study(study)
    findings = [*_findings(study, opinions.of(study)), *_unreached(spine, [v.vertebra.level for v in study.vertebrae])]
    times = {"bodies_s": prepared - started, "methods_s": time.perf_counter() - prepared}
    provenance = _provenance(opinions.names, times, finder)
    if opinions.not_run:
        provenance["not_run"] = opinions.not_run
    return Report(_describe(study), tuple(findings), provenance)


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
    methods: Sequence[str] = (),
) -> Report:
    """A report of the provisional findings that :func:`grade` had given before it was broken off, and of the rest.

    Of the methods that were asked for, those without evidence had not had their turn.
    """
    study = Study(ct, spine, mask, complete=False)
    said = [finding.evidence_of("morphometry") for finding in findings]
    learned = any(one is not None and one.quantities.get("mask_source") == "network" for one in said)
    finder = replace(CLASSICAL, about={"source": "network"}) if learned else CLASSICAL
    rest = _unreached(spine, [finding.level for finding in findings])
    ran = {one.method for finding in findings for one in finding.evidence}
    wanted = [name for name in dict.fromkeys(methods) if name != "morphometry"]
    provenance = _provenance([name for name in wanted if name in ran], {}, finder)
    not_run = {name: "It had given nothing when the run stopped." for name in wanted if name not in ran}
    if not_run:
        provenance["not_run"] = not_run
    return Report(_describe(study), tuple(considered([*findings, *rest])), provenance)


def _unreached(spine: Spine, finished: Sequence[str]) -> list[Finding]:
    """A finding for every vertebra that was planned and not finished."""
    planned = [vertebra for vertebra in spine.vertebrae if vertebra.gradable_level]
    return [not_reached(one.level, _triple(one.center)) for one in planned if one.level not in finished]


class _Opinions:
    """What methods beside morphometry say; one that fails is left out from then on, with the reason.

    Args:
        methods: that were asked for.
        ct: HU, or None.
    """

    def __init__(self, methods: Sequence[method_table.GradingMethod], ct: Volume | None) -> None:
        self.not_run: dict[str, str] = {}
        self._methods = []
        for method in methods:
            try:
                method.check(ct)
                self._methods.append(method)
            except MethodError as error:
                self.not_run[method.name] = str(error)

    @property
    def names(self) -> list[str]:
        """Of the methods that run."""
        return [method.name for method in self._methods]

    def of(self, study: Study, quick: bool = False) -> dict[str, dict[str, Evidence]]:
        """Evidence by method and level; of the methods that are quick, or of all."""
        said = {}
        for method in [one for one in self._methods if one.quick or not quick]:
            try:
                said[method.name] = method.grade(study)
            except MethodError as error:
                self._methods.remove(method)
                self.not_run[method.name] = str(error)
        return said


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


def _findings(study: Study, opinions: dict[str, dict[str, Evidence]]) -> list[Finding]:
    """What morphometry and the other methods say about each vertebra, joined."""
    assert study.heights is not None  # callers let it be judged
    return considered([_finding(item, study.heights.get(item.vertebra.level), opinions) for item in study.vertebrae])


def _finding(item: MeasuredVertebra, heights: Evidence | None, opinions: dict[str, dict[str, Evidence]]) -> Finding:
    """One vertebra; other methods stand beside morphometry and change nothing but flags."""
    level, measurement = item.vertebra.level, item.measurement
    cut = CUT in item.flags  # half a body has nothing that a method could judge
    others = [evidence[level] for evidence in opinions.values() if level in evidence and not cut]
    said = [*([] if heights is None else [heights]), *others]
    flags = list(dict.fromkeys((*item.flags, *(flag for one in said for flag in one.flags))))
    measured = heights is not None and measurement is not None
    finding = Finding(
        level=level,
        state=NOT_ASSESSED,
        center_ras_mm=_triple(item.vertebra.center if measurement is None else measurement.body.centroid()),
        points_ras_mm=tuple(_triple(point) for point in measurement.points_ras) if measured and measurement else (),
        flags=tuple(flags),
        evidence=tuple(said),
    )
    finding = decided(finding, decide(level, heights, flags, item.problem))
    return finding.with_flags(["methods_disagree"]) if finding.methods_differ else finding


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
        "tube_voltage_kv": volume.tube_voltage_kv if study.ct is not None else None,
        "flags": [*study.spine.flags, *volume.notes],
    }


def _provenance(opinions: Sequence[str], times: dict[str, float], finder: Finder = CLASSICAL) -> dict[str, Any]:
    import scipy
    import SimpleITK as sitk

    return {
        "program": "VertebralGrading",
        "version": __version__,
        "methods": ["morphometry", *opinions],
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
