"""The spinal deformity index over T4-L4: what counts, what is said of the rest, and that all outputs say the same."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import jsonschema
import pytest
from rendering.findings import borderline, finding, not_assessed, report_of, treated, undecided

from VertebralGradingLib.findings import NEVER_ASSESSED, Finding, Reading, Report
from VertebralGradingLib.findings.deformity_index import OUTSIDE, deformity_index
from VertebralGradingLib.report.csv_table import csv_text
from VertebralGradingLib.report.html import html_page
from VertebralGradingLib.report.sentences import remarks, sentence, sentence_to_copy, summary_sentence
from VertebralGradingLib.resources import resource
from VertebralGradingLib.spine.anatomy import INDEX_LEVELS


def whole(**grades: int) -> list[Finding]:
    """T4 to L4, grade 0 where nothing else is said."""
    return [finding(level, grades.get(level, 0)) for level in INDEX_LEVELS]


def validated(report: Report) -> dict[str, object]:
    schema = json.loads(resource("schema/findings.schema.json").read_text(encoding="utf-8"))
    summary = {**schema["properties"]["summary"], "$defs": schema["$defs"]}
    jsonschema.Draft202012Validator(summary).validate(report.to_dict()["summary"])
    return report.summary


def test_thirteen_levels_from_t4_to_l4() -> None:
    assert len(INDEX_LEVELS) == 13
    assert (INDEX_LEVELS[0], INDEX_LEVELS[8], INDEX_LEVELS[9], INDEX_LEVELS[-1]) == ("T4", "T12", "L1", "L4")


def test_all_thirteen_levels_give_the_index() -> None:
    index = deformity_index(whole(T8=2, L1=3, L4=1))
    assert (index.value, index.n_levels, index.complete) == (6, 13, True)
    assert index.text == "spinal deformity index 6 (13 of 13 levels)"


@pytest.mark.parametrize(
    "unassessed",
    [not_assessed("T9"), undecided("T9"), treated("T9"), finding("T9", 3, reading=Reading(exclusion="old fracture"))],
)
def test_a_level_without_a_grade_makes_it_a_least_value(unassessed: Finding) -> None:
    findings = [unassessed if one.level == "T9" else one for one in whole(L1=2)]
    assert deformity_index(findings).text == "spinal deformity index at least 2 (12 of 13 levels)"


def test_borderline_counts_as_0_and_the_readers_grade_goes_first() -> None:
    findings = [borderline("T9") if one.level == "T9" else one for one in whole(L1=2)]
    assert deformity_index(findings).value == 2
    read = [replace(one, reading=Reading("grade 1")) if one.level == "T9" else one for one in findings]
    assert deformity_index(read).value == 3


@pytest.mark.parametrize("level", ["T1", "T3", "L5", "L6", "T13"])
def test_levels_outside_t4_to_l4_do_not_count_and_are_marked(level: str) -> None:
    outside = finding(level, 3)
    index = deformity_index([*whole(L1=1), outside])
    assert (index.value, index.n_levels, index.outside) == (1, 13, (level,))
    assert OUTSIDE in remarks(outside)
    assert OUTSIDE not in remarks(finding(level, 0))
    assert OUTSIDE not in remarks(finding("L1", 3))
    report = report_of(outside, *whole(L1=1))
    assert f"of grade 1 or more outside T4-L4: {level}" in summary_sentence(report)
    assert validated(report)["outside_standard_range"] == [level]


def test_unknown_levels_have_no_index() -> None:
    report = report_of(finding("V1", 2), finding("V2", 0))
    assert deformity_index(report.findings).text == "no spinal deformity index (levels are not named)"
    assert validated(report)["spinal_deformity_index"] is None
    assert "no spinal deformity index (levels are not named)" in summary_sentence(report)


def test_every_output_has_the_same_phrase() -> None:
    report = report_of(finding("T3", 1), finding("T12", 2), finding("L1", 1), not_assessed("L2"))
    phrase = "spinal deformity index at least 3 (2 of 13 levels)"
    summary = validated(report)
    assert summary["spinal_deformity_index_text"] == phrase
    assert (summary["spinal_deformity_index"], summary["spinal_deformity_index_levels"]) == (3, 2)
    assert phrase in summary_sentence(report)
    page = html_page(report, None, None, False, None)
    assert phrase in page
    assert "<b>at least 3</b>" in page
    assert OUTSIDE in page
    rows = list(csv.DictReader(io.StringIO(csv_text(report))))
    assert {row["spinal_deformity_index_text"] for row in rows} == {phrase}
    assert [row["index_grade"] for row in rows] == ["", "2", "1", ""]
    assert sum(int(row["index_grade"] or 0) for row in rows) == int(rows[0]["spinal_deformity_index"]) == 3


def test_what_is_never_assessed_is_said_in_report_and_copied_sentences() -> None:
    assert NEVER_ASSESSED == "Age, posterior wall and cause are not assessed."
    one = finding()
    assert sentence_to_copy(one) == f"{sentence(one)} {NEVER_ASSESSED}"
    page = html_page(report_of(one), None, None, False, None)
    assert page.count(NEVER_ASSESSED) == 1
    assert page.index(NEVER_ASSESSED) < page.index("What needs a look")
