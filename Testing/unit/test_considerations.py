"""What to consider instead of a fracture: each line comes by its own measured condition, and not without it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import jsonschema
import numpy as np
import pytest
from rendering.analytic import Pit, analytic_spine, grid_around, label_volume, usual_heights
from rendering.findings import borderline, finding, report_of

from VertebralGradingLib.findings import Finding, Report
from VertebralGradingLib.findings.depression import depressed, depression_text
from VertebralGradingLib.findings.flags import FLAG_TEXT
from VertebralGradingLib.methods.considerations import (
    CODES,
    CUPID,
    FLAT,
    LIMBUS,
    SCHEUERMANN,
    WEDGING,
    considered,
)
from VertebralGradingLib.methods.regrading import move_points, shift_levels
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.report.csv_table import rows
from VertebralGradingLib.report.html import html_page
from VertebralGradingLib.report.sentences import considerations_text, remarks, sentence
from VertebralGradingLib.resources import resource
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.anatomy import axis_position
from VertebralGradingLib.spine.spine import build_spine

WEDGE_HEIGHTS = {"anterior": 18.0, "middle": 19.5, "posterior": 22.0}
WEDGE_LOSS = {"anterior": 0.21, "middle": 0.12, "posterior": 0.02}


def plates(superior: float = 0.8, inferior: float = 1.2, **special: float) -> dict[str, dict[str, float]]:
    """Endplates as measured: depths (mm), and "paired_mm" of the inferior or "corner_mm" of the superior one."""
    nothing = {"unevenness_mm": 0.2, "paired_mm": 0.0, "corner_mm": -0.5}
    return {
        "superior": {"depth_mm": superior, **nothing, "corner_mm": special.get("corner_mm", -0.5)},
        "inferior": {"depth_mm": inferior, **nothing, "paired_mm": special.get("paired_mm", 0.0)},
    }


def with_plates(one: Finding, measured: dict[str, Any] | None = None, **more: Any) -> Finding:
    known = one.level[0] in "TL"
    quantities = {
        **one.evidence[0].quantities,
        "endplates": plates() if measured is None else measured,
        "level_known": known,
        "axis_position": axis_position(one.level) if known else 1.0,
        "order": 1.0,
        "depth_mm": 30.0,
        **more,
    }
    return replace(one, evidence=(replace(one.evidence[0], quantities=quantities),))


def sound(level: str, measured: dict[str, Any] | None = None) -> Finding:
    heights = dict.fromkeys(WEDGE_HEIGHTS, 22.0)
    return with_plates(finding(level, 0, heights_mm=heights, height_loss=dict.fromkeys(WEDGE_LOSS, 0.0)), measured)


def wedged(level: str, grade_: int = 1, measured: dict[str, Any] | None = None, **changes: Any) -> Finding:
    known: dict[str, Any] = {"heights_mm": WEDGE_HEIGHTS, "height_loss": WEDGE_LOSS, **changes}
    return with_plates(finding(level, grade_, **known), measured)


def codes(one: Finding, *neighbours: Finding) -> list[str]:
    found = next(f for f in considered([one, *neighbours]) if f.level == one.level)
    assert all(line.text.startswith("consider ") for line in found.considerations)
    return [line.code for line in found.considerations]


@pytest.mark.parametrize("level", ["T6", "T7", "T8", "T9", "T11", "T12", "L1", "L2"])
def test_physiological_wedging_where_bodies_are_wedged_by_nature(level: str) -> None:
    assert codes(wedged(level)) == [WEDGING]
    small = {"heights_mm": WEDGE_HEIGHTS, "height_loss": {**WEDGE_LOSS, "anterior": 0.17}}
    assert codes(with_plates(borderline(level, **small))) == [WEDGING]


@pytest.mark.parametrize("level", ["T5", "T10", "L3", "L4", "V1"])
def test_no_physiological_wedging_elsewhere(level: str) -> None:
    assert codes(wedged(level)) == []


def test_no_physiological_wedging_without_its_condition() -> None:
    assert codes(wedged("T8", measured=plates(superior=4.0))) == [], "an endplate is depressed"
    assert codes(wedged("T8", 2)) == [], "grade 2"
    assert codes(wedged("T8", 0)) == [], "nothing to explain"
    assert codes(wedged("T8", height_loss={**WEDGE_LOSS, "anterior": 0.25})) == [], "25 % lost"
    taller = {**WEDGE_HEIGHTS, "anterior": 23.0}
    assert codes(wedged("T8", heights_mm=taller)) == [], "no wedge"
    biconcave = {**WEDGE_LOSS, "middle": 0.22}
    assert codes(wedged("T8", height_loss=biconcave)) == [], "not lowest in front"
    assert codes(finding("T8", 1)) == [], "endplates were not measured"


def test_flag_of_flat_endplates_says_what_is_short_only() -> None:
    def flagged(one: Finding) -> bool:
        return FLAT in considered([one])[0].flags

    assert flagged(wedged("T8")) and flagged(wedged("L4", 3)) and flagged(with_plates(borderline("T9")))
    assert not flagged(wedged("T8", measured=plates(superior=4.0)))
    assert not flagged(wedged("T8", measured=plates(inferior=4.0)))
    assert not flagged(sound("T8"))
    assert not flagged(finding("T8", 1)), "endplates were not measured"
    assert FLAG_TEXT[FLAT] == "short, endplates flat"
    assert FLAG_TEXT[FLAT] in remarks(considered([wedged("T8")])[0])


def test_a_flag_that_no_longer_holds_goes() -> None:
    flagged = considered([wedged("T8")])[0]
    again = considered([replace(flagged, state="grade 0")])[0]
    assert FLAT not in again.flags and not again.considerations
    assert considered([flagged])[0] == flagged, "twice is once"


def test_what_is_usual_comes_from_the_patients_sound_vertebrae() -> None:
    """2.5 mm are much among bowls of 0.5 mm and nothing among bowls of 2.5 mm."""
    own = wedged("L1", measured=plates(superior=2.5))
    levels = ("T10", "T11", "T12", "L2", "L3", "L4")
    flat = considered([own, *(sound(level, plates(superior=0.3)) for level in levels)])[0]
    deep = considered([own, *(sound(level, plates(superior=2.5)) for level in levels)])[0]
    assert depressed(flat) == ("superior",) and depressed(deep) == ()
    assert FLAT in deep.flags and FLAT not in flat.flags
    broken = considered([own, *(wedged(level, 3, plates(superior=2.5)) for level in levels)])[0]
    assert depressed(broken) == ("superior",), "broken vertebrae do not tell what is usual"


def test_sentence_says_which_endplate_and_by_how_much() -> None:
    one = considered([wedged("L1", 2, plates(superior=6.2))])[0]
    assert depression_text(one) == "superior endplate depressed by 6 mm (usual 1 mm)"
    assert sentence(one).endswith(", superior endplate depressed by 6 mm (usual 1 mm).")
    assert "endplate" not in sentence(considered([wedged("L1", 2)])[0])


@pytest.mark.parametrize("level", ["L3", "L4", "L5"])
def test_cupids_bow_of_paired_dips(level: str) -> None:
    bow = plates(inferior=4.0, paired_mm=1.6)
    assert CUPID in codes(wedged(level, measured=bow))
    assert CUPID in codes(sound(level, bow)), "the inferior endplate is deep, which wants a reason"
    assert CUPID not in codes(wedged(level, measured=plates(inferior=4.0, paired_mm=0.4)))
    assert CUPID not in codes(wedged("L2", measured=bow))
    assert CUPID not in codes(sound(level, plates(inferior=1.2, paired_mm=1.1))), "nothing to explain"


def test_limbus_by_its_corner() -> None:
    assert codes(sound("L3", plates(corner_mm=3.4))) == [LIMBUS]
    assert codes(sound("L3", plates(corner_mm=1.2))) == []


def series(levels: tuple[str, ...], anterior: float, uneven: bool = True) -> list[Finding]:
    """Neighbours of grade 0 that are lower in front, uneven or not."""
    heights = {"anterior": anterior, "middle": 21.0, "posterior": 22.0}
    shape = plates()
    shape["superior"]["unevenness_mm"] = 0.8 if uneven else 0.2
    loss = dict.fromkeys(WEDGE_LOSS, 0.05)
    return [with_plates(finding(level, 0, heights_mm=heights, height_loss=loss), shape) for level in levels]


def test_scheuermann_in_series_of_three() -> None:
    """Anterior and posterior height lie 84 % of 30 mm apart: 2.3 mm are 5.2 degrees, 2.1 mm are 4.8."""
    three = ("T7", "T8", "T9")
    found = considered(series(three, 22.0 - 2.3))
    assert [[line.code for line in one.considerations] for one in found] == 3 * [[SCHEUERMANN]]
    assert "T7-T9 wedged by 5 degrees or more each (5, 5, 5), endplates uneven at T7, T8, T9" in str(found[0])
    for other in (
        series(three, 22.0 - 2.1),
        series(("T7", "T8"), 19.0),
        series(("T6", "T8", "T9"), 19.0),
        series(("L1", "L2", "L3"), 19.0),
        series(three, 19.0, uneven=False),
    ):
        assert not any(one.considerations for one in considered(other))


def test_scheuermann_needs_two_uneven_vertebrae() -> None:
    one = [*series(("T7",), 19.0), *series(("T8", "T9"), 19.0, uneven=False)]
    assert not any(f.considerations for f in considered(one))
    two = [*series(("T7", "T8"), 19.0), *series(("T9",), 19.0, uneven=False)]
    assert all([line.code for line in f.considerations] == [SCHEUERMANN] for f in considered(two))
    node = [replace(f, flags=("focal_endplate_defect",)) if f.level == "T8" else f for f in one]
    assert "endplates uneven at T7, T8" in considered(node)[2].considerations[0].text


LEVELS = ("T7", "T8", "T9", "T10", "T11")


@cache
def graded(*pits: Pit) -> Report:
    """Five bodies with planes for endplates; T9 has lost 20 % in front."""
    heights = usual_heights(LEVELS)
    heights[:, 1] = heights[:, [0, 2]].mean(1)
    heights[2] *= [0.80, 0.90, 1.0]
    spine = analytic_spine(LEVELS, heights, depth=28.0, width=34.0, pits=pits)
    return grade(None, build_spine(spine.points()), interpret(label_volume(spine, *grid_around(spine))))


def test_a_flat_wedge_and_a_depressed_one_are_told_apart_from_end_to_end() -> None:
    flat = next(one for one in graded().findings if one.level == "T9")
    assert flat.state in ("borderline", "grade 1")
    assert FLAT in flat.flags and [line.code for line in flat.considerations] == [WEDGING]
    broken = next(one for one in graded(Pit("T9", 1, 4.0, 16.0, 20.0, power=6.0)).findings if one.level == "T9")
    assert depressed(broken) == ("superior",) and FLAT not in broken.flags and not broken.considerations
    quantities = broken.evidence[0].quantities["endplates"]["superior"]
    assert quantities["depth_mm"] == pytest.approx(4.0, abs=0.7)
    assert quantities["excess_mm"] == pytest.approx(quantities["depth_mm"] - quantities["usual_mm"])
    assert "superior endplate depressed by 4 mm" in sentence(broken)


def test_they_stand_in_json_report_and_table_and_are_read_back() -> None:
    report = graded()
    schema = json.loads(resource("schema/findings.schema.json").read_text(encoding="utf-8"))
    content = json.loads(report.to_json())
    jsonschema.Draft202012Validator(schema).validate(content)
    line = schema["$defs"]["finding"]["properties"]["considerations"]["items"]["properties"]
    assert tuple(line["code"]["enum"]) == CODES
    again = Report.from_dict(content)
    assert again.findings[2].considerations == report.findings[2].considerations
    assert rows(report.findings)[2]["considerations"] == WEDGING
    page = html_page(report, None, None, False, None)
    text = considerations_text(report.findings[2])
    heights = report.findings[2].heights_mm
    wedge = 100 * (1 - heights["anterior"] / heights["posterior"])
    assert text.startswith(f"Consider physiological wedging: anterior height {wedge:.0f} % below the posterior, ")
    assert text.replace(" %", "&nbsp;%") in page


def test_findings_without_them_are_still_read() -> None:
    content = json.loads(graded().to_json())
    for item in content["findings"]:
        del item["considerations"]
        del item["evidence"][0]["quantities"]["endplates"]
    old = Report.from_dict(content)
    assert not any(one.considerations for one in old.findings)
    assert considered(old.findings)[2].considerations == ()
    for name in (
        "spinal_deformity_index_levels",
        "spinal_deformity_index_text",
        "outside_standard_range",
        "trabecular",
    ):
        del content["summary"][name]
    del content["study"]["tube_voltage_kv"]
    schema = json.loads(resource("schema/findings.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(content)


def test_they_follow_what_the_reader_moves_and_renames() -> None:
    shifted = shift_levels(graded(), 1)
    assert shifted.findings[2].level == "T10"
    assert WEDGING not in [line.code for line in shifted.findings[2].considerations]
    one = graded().findings[2]
    up = np.array(one.evidence[0].quantities["up_ras"])
    points = np.array(one.points_ras_mm)
    points[0] += 4.0 * up  # the anterior height as it was
    moved = move_points(graded(), "T9", points)
    assert moved.findings[2].state == "grade 0"
    assert FLAT not in moved.findings[2].flags and not moved.findings[2].considerations


def test_no_line_is_a_diagnosis() -> None:
    report = report_of(*considered([wedged("T8"), sound("L4", plates(inferior=4.0, paired_mm=1.6))]))
    assert [line.code for one in report.findings for line in one.considerations] == [WEDGING, CUPID]
