"""Every state from study to files: runs that stop, cut and treated bodies, defects, posterior losses, chances."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from functools import cache
from typing import Any

import jsonschema
import numpy as np
import pytest
from rendering.analytic import Phantom, Pit, analytic_spine, box_spine_ct, grid_around, label_volume, usual_heights

from VertebralGradingLib.findings import Finding, Report
from VertebralGradingLib.findings.states import NOT_REACHED
from VertebralGradingLib.methods.decision import BORDERLINE_CHANCE, WIDEST, decide
from VertebralGradingLib.pipeline import grade, unfinished_report
from VertebralGradingLib.report.csv_table import csv_text
from VertebralGradingLib.report.profile import height_profile
from VertebralGradingLib.report.sentences import sentence, summary_sentence
from VertebralGradingLib.resources import resource
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.spine import build_spine

NINE = ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5")
FIVE = ("T11", "T12", "L1", "L2", "L3")


def of(report: Report, level: str) -> Finding:
    return next(finding for finding in report.findings if finding.level == level)


def checked(report: Report) -> Report:
    """The report, which is valid under the schema and comes back from JSON."""
    content = json.loads(report.to_json())
    schema = json.loads(resource("schema/findings.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(content)
    assert Report.from_dict(content).to_dict() == content
    return report


def from_mask(levels: tuple[str, ...], change: dict[str, tuple[float, float, float]], **more: Any) -> Report:
    """A spine whose heights at some levels are multiplied, graded by its mask."""
    heights = usual_heights(levels)
    for level, shares in change.items():
        heights[levels.index(level)] *= shares
    methods, progress = more.pop("methods", ()), more.pop("progress", None)
    spine = analytic_spine(levels, heights, **more)
    labels = interpret(label_volume(spine, *grid_around(spine)))
    return checked(grade(None, build_spine(spine.points()), labels, methods, progress))


# --- runs that stop --------------------------------------------------------------------------------------------------


@cache
def stopped() -> Report:
    """Stopped when the fourth of nine was to begin."""
    return from_mask(NINE, {}, progress=lambda done, total, level: done < 3)


def test_a_run_stopped_after_three_of_nine_has_a_row_for_each_and_says_so_first() -> None:
    report = stopped()
    assert [finding.level for finding in report.findings] == list(NINE)
    assert [finding.state == NOT_REACHED for finding in report.findings] == [False] * 3 + [True] * 6
    assert not report.complete
    assert summary_sentence(report).startswith("3 of 9 assessed; run not finished")
    rows = list(csv.DictReader(io.StringIO(csv_text(report))))
    assert [row["state"] for row in rows[3:]] == [NOT_REACHED] * 6
    assert {row["anterior_mm"] for row in rows[3:]} == {""}
    text = " ".join([summary_sentence(report), *(sentence(finding) for finding in report.findings)])
    assert "deformity" not in text.replace("spinal deformity index", "")


def test_a_worker_that_was_killed_leaves_the_same_rows() -> None:
    shape = analytic_spine(NINE, usual_heights(NINE))
    mask = interpret(label_volume(shape, *grid_around(shape)))
    spine = build_spine(shape.points())
    report = checked(unfinished_report(None, spine, mask, stopped().findings[:3]))
    assert [finding.state for finding in report.findings] == [finding.state for finding in stopped().findings]
    assert report.summary["not_reached"] == list(NINE[3:])


# --- cut, treated, defects -------------------------------------------------------------------------------------------


def test_a_cut_body_has_no_height_loss_or_dot_anywhere() -> None:
    spine = analytic_spine(FIVE, usual_heights(FIVE))
    affine, shape = grid_around(spine)
    cut = int((np.linalg.inv(affine) @ [*spine.centers[0], 1.0])[2]) + 3
    labels = interpret(label_volume(spine, affine, (*shape[:2], cut)))
    report = checked(grade(None, build_spine(spine.points()), labels))
    finding = of(report, "T11")
    assert (finding.state, finding.reason) == ("not assessed", "cut by the edge of the volume")
    assert (finding.heights_mm, finding.height_loss, finding.points_ras_mm, finding.evidence) == ({}, {}, (), ())
    drawn = height_profile(report.findings)
    assert drawn.count("<circle") == 3 * 4
    (row,) = [row for row in csv.DictReader(io.StringIO(csv_text(report))) if row["level"] == "T11"]
    assert {row[name] for name in ("anterior_mm", "loss_middle", "loss_percent", "score")} == {""}


@cache
def case() -> Phantom:
    heights = usual_heights(FIVE)
    spine = analytic_spine(FIVE, heights, origin=(12, -30, 200))
    return box_spine_ct(spine, *grid_around(spine, margin_mm=30))


def test_a_cemented_body_is_treated_until_the_reader_confirms() -> None:
    phantom = case()
    ct, mask = phantom.ct, interpret(phantom.labels, "verse")
    middle = np.rint(ct.to_index(np.array([p.position for p in phantom.points if p.level == "L1"]))[0]).astype(int)
    filled = ct.array.copy()
    filled[tuple(slice(n - 7, n + 8) for n in middle)] = 2600
    report = checked(grade(replace(ct, array=filled), build_spine(phantom.points), mask))
    finding = of(report, "L1")
    assert (finding.state, finding.grade, finding.loss_percent) == ("treated", None, None)
    assert "the reader confirms" in sentence(finding)
    assert report.summary["treated"] == ["L1"]
    assert all(of(report, level).gradable for level in FIVE if level != "L1")


@pytest.mark.parametrize("methods", [(), ("neighbours",), ("dae",), ("healthivert",)])
def test_a_schmorl_node_is_undecided_whatever_methods_run(methods: tuple[str, ...]) -> None:
    """Without a CT two of them cannot run, and the others go on."""
    pit = Pit("L1", +1, depth_mm=9.0, ap_mm=13.0, lr_mm=14.0)
    report = from_mask(FIVE, {}, pits=[pit], methods=methods)
    finding = of(report, "L1")
    assert finding.state == "undecided"
    schmorl, fracture = finding.hypotheses
    assert schmorl.grade == 0
    assert fracture.grade >= 1
    assert sum(fracture.grade_probabilities or ()) == pytest.approx(1.0)
    assert f"grade {fracture.grade} if fracture" in sentence(finding)
    assert finding.height_loss["middle"] > 0.2, "what was measured stays in the evidence"
    assert finding.grade_probabilities is None
    assert set(report.provenance.get("not_run", {})) == set(methods) - {"neighbours"}
    assert report.provenance["methods"] == ["morphometry", *(set(methods) & {"neighbours"})]


# --- borderline ------------------------------------------------------------------------------------------------------


def test_a_posterior_loss_that_makes_no_grade_is_borderline_but_not_at_l5() -> None:
    report = from_mask(NINE, {"L1": (1.0, 1.0, 0.75), "L5": (1.0, 1.0, 0.62)})
    finding = of(report, "L1")
    assert finding.height_loss["posterior"] >= 0.2
    assert (finding.state, finding.grade) == ("borderline", 0)
    assert finding.reason.startswith("posterior loss 2")
    assert "no height loss" not in sentence(finding)
    assert of(report, "L5").height_loss["posterior"] >= 0.2
    assert of(report, "L5").state == "grade 0"
    assert "no height loss" not in sentence(of(report, "L5"))
    assert "no height loss" not in summary_sentence(report)


def test_a_wedge_just_below_grade_1_is_borderline_and_a_sound_body_is_not() -> None:
    report = from_mask(FIVE, {"L1": (0.82, 0.92, 1.0)})
    finding = of(report, "L1")
    assert finding.loss_percent is not None
    assert 13 < finding.loss_percent < 20
    assert finding.state == "borderline"
    assert finding.reason.startswith("chance of grade 1 or more")
    assert {of(report, level).state for level in FIVE if level != "L1"} == {"grade 0"}


def test_the_limit_of_borderline_divides() -> None:
    said = of(from_mask(FIVE, {}), "L1").evidence[0]

    def state(chance: float) -> str:
        chances = [1.0 - chance, chance, 0.0, 0.0]
        return decide("L1", replace(said, quantities={**said.quantities, "grade_probabilities": chances}), ()).state

    assert state(BORDERLINE_CHANCE + 1e-6) == "borderline"
    assert state(BORDERLINE_CHANCE - 1e-3) == "grade 0"


@pytest.mark.parametrize("flags", [(), ("low_confidence_mask", "disc_below_resolution", "thick_slices")])
def test_a_vertebra_is_refused_by_the_width_of_its_interval_and_not_by_remarks(flags: tuple[str, ...]) -> None:
    said = of(from_mask(FIVE, {}), "L1").evidence[0]

    def decided(half: float) -> tuple[str, str]:
        loss = said.quantities["graded_loss"]
        wide = {**said.quantities, "graded_loss_interval": [loss - half, loss + half]}
        decision = decide("L1", replace(said, quantities=wide), flags)
        return decision.state, decision.reason

    assert decided(WIDEST - 1e-6) == ("grade 0", "")
    assert decided(WIDEST + 0.02) == (
        "not assessed",
        f"too uncertain: the loss is known to ± {100 * WIDEST + 2:.0f} % only",
    )


@pytest.mark.parametrize("share", [0.95, 0.84, 0.78, 0.72, 0.6])
def test_chances_and_grade_cannot_disagree(share: float) -> None:
    finding = of(from_mask(FIVE, {"L1": (share, (1 + share) / 2, 1.0)}), "L1")
    chances = finding.grade_probabilities
    assert chances is not None
    assert finding.grade is not None
    assert sum(chances) == pytest.approx(1.0)
    assert sum(chances[: finding.grade]) <= 0.5 <= sum(chances[: finding.grade + 1])
    low, high = finding.loss_interval_percent or (np.nan, np.nan)
    assert low < (finding.loss_percent or 0.0) < high
