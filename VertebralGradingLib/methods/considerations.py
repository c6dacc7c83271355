"""What a reader may consider instead of a fracture: each line has a measured condition, and none is a diagnosis.

Endplates are compared with what is usual (:mod:`morphometry.usual`), and the findings of a whole study are looked at
together, since wedging in series and usual depths need the neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from VertebralGradingLib.findings import Consideration, Finding
from VertebralGradingLib.findings.depression import ENDPLATES, endplates_flat
from VertebralGradingLib.findings.flags import FOCAL
from VertebralGradingLib.findings.states import BORDERLINE, UNDECIDED, state_of_grade
from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS
from VertebralGradingLib.morphometry.height_rows import UNTRUSTED
from VertebralGradingLib.morphometry.heights import INSET
from VertebralGradingLib.morphometry.usual import margin_mm, usual_depths, wedge_degrees
from VertebralGradingLib.spine.anatomy import ORDER, THORACIC

FLAT = "short_endplates_flat"
"""Flag of height loss without a depressed endplate: seldom a fracture by the algorithm-based qualitative method (Jiang
et al., Osteoporos Int 2004;15:887; Ferrar et al., Osteoporos Int 2005;16:717)."""

WEDGING, CUPID, SCHEUERMANN, LIMBUS = "physiological_wedging", "cupids_bow", "scheuermann", "limbus_vertebra"
CODES = (WEDGING, CUPID, SCHEUERMANN, LIMBUS)

WEDGED_LEVELS = frozenset(("T6", "T7", "T8", "T9", "T11", "T12", "L1", "L2"))
"""Where bodies are wedged by nature; what is lost in front stays below grade 2 then."""
CUPID_LEVELS = frozenset(("L3", "L4", "L5"))
PAIRED_MM, CORNER_MM = 1.0, 2.0
"""Least sizes of what is taken for paired dips and for a missing corner."""
SERIES, SERIES_DEG = 3, 5.0
"""Wedged by so many degrees and more, so many neighbours are a series (Sorensen's criterion of Scheuermann's
kyphosis)."""
UNEVEN_MM, UNEVEN_VERTEBRAE = 0.5, 2
"""Robust standard deviation about a smooth bowl from which an endplate is uneven, and how many of a series must have an
uneven endplate or a focal defect, since some wedging is normal. It is the least count that raised the line in every
synthetic spine with Scheuermann and in none without (``Testing/benchmarks/endplate_depression.py``, seeds 7000 to 7024
and 7300 to 7307)."""


def considered(findings: Sequence[Finding]) -> list[Finding]:
    """Findings of one study with usual depths, :data:`FLAT` and considerations, as their states are now."""
    compared = _compared(findings)
    series = _series(compared)
    return [_considered(finding, series.get(finding.level, ())) for finding in compared]


def _considered(finding: Finding, series: tuple[Finding, ...]) -> Finding:
    lines = (_wedging(finding), _cupid(finding), _scheuermann(series), _limbus(finding))
    flags = tuple(flag for flag in finding.flags if flag != FLAT)
    if _is_short(finding) and endplates_flat(finding):
        flags = (*flags, FLAT)
    return replace(finding, flags=flags, considerations=tuple(line for line in lines if line is not None))


def _is_short(finding: Finding) -> bool:
    return bool(finding.grade) or finding.state == BORDERLINE


def _is_open(finding: Finding) -> bool:
    """Whether there is anything that may be a fracture."""
    return _is_short(finding) or finding.state == UNDECIDED


def _compared(findings: Sequence[Finding]) -> list[Finding]:
    """Findings whose endplates have usual depths, the excess over them and whether they are depressed."""
    rows = [finding for finding in findings if _measured(finding) is not None]
    if not rows:
        return list(findings)
    known = all(_said(finding)["level_known"] for finding in rows)
    places = np.array([float(_said(finding)["axis_position" if known else "order"]) for finding in rows])
    sound = [finding.state == state_of_grade(0) and not UNTRUSTED & set(finding.flags) for finding in rows]
    usual = {}
    for name in ENDPLATES:
        depths = np.array([float(_said(finding)["endplates"][name]["depth_mm"]) for finding in rows])
        usual[name] = usual_depths(name, places, depths, sound)
    changed = {}
    for n, finding in enumerate(rows):
        plates = {}
        for name in ENDPLATES:
            own = {**_said(finding)["endplates"][name], "usual_mm": float(usual[name][n])}
            own["excess_mm"] = own["depth_mm"] - own["usual_mm"]
            plates[name] = {**own, "depressed": bool(own["excess_mm"] > margin_mm(finding.level))}
        changed[finding.level] = _with_endplates(finding, plates)
    return [changed.get(finding.level, finding) for finding in findings]


def _with_endplates(finding: Finding, plates: dict[str, Any]) -> Finding:
    evidence = tuple(
        replace(one, quantities={**one.quantities, "endplates": plates}) if one.method == "morphometry" else one
        for one in finding.evidence
    )
    return replace(finding, evidence=evidence)


def _said(finding: Finding) -> dict[str, Any]:
    said = finding.evidence_of("morphometry")
    return {} if said is None else said.quantities


def _measured(finding: Finding) -> dict[str, Any] | None:
    """Its endplates, None where they were not measured."""
    plates: dict[str, Any] | None = _said(finding).get("endplates")
    return plates


def _wedging(finding: Finding) -> Consideration | None:
    heights, losses = finding.heights_mm, finding.height_loss
    mild = finding.state in (BORDERLINE, state_of_grade(1))
    if finding.level not in WEDGED_LEVELS or not mild or not endplates_flat(finding):
        return None
    lost, wedge = losses["anterior"], 1.0 - heights["anterior"] / heights["posterior"]
    if lost < max(losses.values()) or lost >= GRADE_BOUNDS[1] or wedge <= 0.0:
        return None
    return Consideration(
        WEDGING,
        f"consider physiological wedging: anterior height {100 * wedge:.0f} % below the posterior, "
        f"{100 * lost:.0f} % below what is expected, endplates flat",
    )


def _cupid(finding: Finding) -> Consideration | None:
    plates = _measured(finding)
    if plates is None or finding.level not in CUPID_LEVELS:
        return None
    plate = plates["inferior"]
    if not (_is_open(finding) or plate["depressed"]) or min(plate["paired_mm"], plate["depth_mm"]) < PAIRED_MM:
        return None
    return Consideration(
        CUPID,
        f"consider Cupid's bow: two posterior paramedian dips of the inferior endplate, {plate['paired_mm']:.1f} mm "
        "deeper than the midline between them",
    )


def _limbus(finding: Finding) -> Consideration | None:
    plates = _measured(finding)
    if plates is None or not (finding.gradable or finding.state == UNDECIDED):
        return None
    corner = plates["superior"]["corner_mm"]
    if corner < CORNER_MM:
        return None
    return Consideration(
        LIMBUS,
        f"consider limbus vertebra: anterosuperior corner {corner:.0f} mm below the endplate behind it",
    )


def _series(findings: Sequence[Finding]) -> dict[str, tuple[Finding, ...]]:
    """Level -> the run of wedged thoracic neighbours it belongs to, where that is long and uneven enough."""
    runs: list[list[Finding]] = []
    for finding in findings:
        if finding.level not in THORACIC or not _wedged(finding):
            continue
        if runs and ORDER.index(finding.level) == ORDER.index(runs[-1][-1].level) + 1:
            runs[-1].append(finding)
        else:
            runs.append([finding])
    telling = [run for run in runs if len(run) >= SERIES and sum(map(_is_uneven, run)) >= UNEVEN_VERTEBRAE]
    return {one.level: tuple(run) for run in telling for one in run}


def _wedged(finding: Finding) -> bool:
    return (finding.gradable or finding.state == UNDECIDED) and any(angle >= SERIES_DEG for angle in _angle(finding))


def _angle(finding: Finding) -> Iterator[float]:
    """The angle between its endplates (degrees), where it was measured."""
    depth, heights = _said(finding).get("depth_mm"), finding.heights_mm
    if depth and heights:
        yield wedge_degrees(heights["anterior"], heights["posterior"], (1.0 - 2.0 * INSET) * float(depth))


def _scheuermann(series: tuple[Finding, ...]) -> Consideration | None:
    if not series:
        return None
    angles = ", ".join(f"{angle:.0f}" for one in series for angle in _angle(one))
    text = f"consider Scheuermann: {series[0].level}-{series[-1].level} wedged by {SERIES_DEG:.0f} degrees or more "
    text += f"each ({angles})"
    uneven = ", ".join(one.level for one in series if _is_uneven(one))
    return Consideration(SCHEUERMANN, f"{text}, endplates uneven at {uneven}")


def _is_uneven(finding: Finding) -> bool:
    plates = _measured(finding)
    rough = plates is not None and any(plates[name]["unevenness_mm"] >= UNEVEN_MM for name in ENDPLATES)
    return rough or FOCAL in finding.flags
