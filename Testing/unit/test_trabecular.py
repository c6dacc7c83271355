"""The trabecular CT number in the head of the report: whose it is, with which caveats, and when it is left out."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import pytest
from rendering.findings import borderline, finding, report_of, treated

from VertebralGradingLib.findings import Finding, Reading
from VertebralGradingLib.findings.trabecular import Trabecular, trabecular
from VertebralGradingLib.report.html import html_page
from VertebralGradingLib.resources import resource


def sound(level: str, hu: float | None) -> Finding:
    one = finding(level, 0)
    said = one.evidence[0]
    return replace(one, evidence=(replace(said, quantities={**said.quantities, "trabecular_hu": hu}),))


def text(*findings: Finding, **study: float | None) -> str:
    told = trabecular(findings, study)
    return "" if told is None else told.text


def test_l1_comes_with_caveats_and_reading_aids() -> None:
    told = text(sound("T12", 90.0), sound("L1", 133.6), sound("L2", 70.0))
    assert told.startswith("L1 trabecular 134 HU (tube voltage not known; contrast medium raises it; ")
    assert "160 HU or less was 90 % sensitive, 110 HU or less more than 90 % specific" in told
    assert "at 120 kVp" in told and "Pickhardt 2013" in told and "no diagnosis" in told


def test_voltage_is_told_where_it_is_known_and_aids_hold_at_120_only() -> None:
    assert "(tube voltage 120 kVp;" in text(sound("L1", 133.6), tube_voltage_kv=120.0)
    assert "160 HU" in text(sound("L1", 133.6), tube_voltage_kv=120.0)
    other = text(sound("L1", 133.6), tube_voltage_kv=100.0)
    assert "160 HU" not in other
    assert other.endswith("The published reading aids are for 120 kVp and do not apply.")


@pytest.mark.parametrize(
    "first",
    [
        finding("L1", 2),
        borderline("L1"),
        treated("L1"),
        replace(sound("L1", 50.0), flags=("implant_or_cement",)),
        replace(sound("L1", 50.0), flags=("cut_by_volume_edge",)),
        replace(sound("L1", 50.0), reading=Reading(exclusion="haemangioma")),
        replace(sound("L1", 50.0), reading=Reading("grade 1")),
        sound("L1", None),
    ],
)
def test_without_a_sound_l1_its_neighbours_mean_is_told_without_aids(first: Finding) -> None:
    told = text(sound("T11", 10.0), sound("T12", 100.0), first, sound("L2", 110.0), finding("L3", 1), sound("L4", 10.0))
    assert told.startswith("Mean trabecular of T12, L2 105 HU (")
    assert "160" not in told and "Pickhardt" not in told
    assert "contrast medium" in told and "tube voltage not known" in told


def test_nothing_is_told_where_no_vertebra_can_tell() -> None:
    assert trabecular([finding("L1", 2), sound("T8", 120.0), sound("L4", 120.0)], {}) is None
    assert trabecular([sound("V3", 120.0)], {}) is None
    assert report_of(finding("L1", 2)).summary["trabecular"] is None


def test_a_vertebra_the_reader_calls_grade_0_counts() -> None:
    read = replace(finding("L1", 1), reading=Reading("grade 0"))
    assert text(read).startswith("L1 trabecular 118 HU")


def test_report_and_summary_hold_it() -> None:
    report = report_of(sound("L1", 133.6), tube_voltage_kv=None)
    schema = json.loads(resource("schema/findings.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema["properties"]["summary"]).validate(report.to_dict()["summary"])
    told = report.summary["trabecular"]
    assert (told["hu"], told["levels"], told["tube_voltage_kv"]) == (133.6, ["L1"], None)
    page = html_page(report, None, None, False, None)
    assert page.index(told["text"]) < page.index("What needs a look")
    assert "<b>134 HU</b>" in page


def test_one_neighbour_is_no_mean() -> None:
    assert Trabecular(100.0, ("T12",)).title == "trabecular of T12"
