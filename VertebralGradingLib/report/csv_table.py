"""The findings as a table: one row for each vertebra, cranial to caudal. Heights in mm, losses as fractions.

State and grade are the program's own; the reader's stand in columns of their own. A run that was stopped has a row for
every vertebra that it did not reach.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from VertebralGradingLib.findings import POSITIONS, Finding, Reading, Report
from VertebralGradingLib.findings.deformity_index import counts, deformity_index
from VertebralGradingLib.findings.depression import ENDPLATES, compared_endplates, depressed
from VertebralGradingLib.report.values import number, pair, quantity, reason_text

Value = str | float | int | bool | None
"""Of one cell."""

COLUMNS = (
    "level",
    "state",
    "grade",
    "loss_percent",
    "loss_percent_low",
    "loss_percent_high",
    *(f"probability_grade_{grade}" for grade in range(4)),
    "score",
    "score_low",
    "score_high",
    "reason",
    "deformity",
    *(f"{position}_mm" for position in POSITIONS),
    *(f"loss_{position}" for position in POSITIONS),
    "trabecular_hu",
    "flags",
    "hypotheses",
    "other_methods",
    "reader_state",
    "reader_grade",
    "reader_exclusion",
    "reader_confirmed",
    "reader_agreed",
    "second_reader_state",
    "second_reader_exclusion",
    "center_r_mm",
    "center_a_mm",
    "center_s_mm",
    *(f"{name}_endplate_{what}_mm" for name in ENDPLATES for what in ("depth", "usual")),
    "endplates_depressed",
    "considerations",
    "index_grade",
    "spinal_deformity_index",
    "spinal_deformity_index_text",
)


_DIGITS = {
    "trabecular_hu": 1,
    **dict.fromkeys(("loss_percent", "loss_percent_low", "loss_percent_high"), 1),
    **{f"{name}_mm": 2 for name in (*POSITIONS, "center_r", "center_a", "center_s")},
    **{f"{name}_endplate_{what}_mm": 1 for name in ENDPLATES for what in ("depth", "usual")},
}
"""Decimals of a cell; three where nothing else is said."""


def csv_text(report: Report) -> str:
    """The table with a header line; cells without a value are empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows(report.findings):
        writer.writerow({name: _cell(name, value) for name, value in row.items()})
    return out.getvalue()


def rows(findings: Sequence[Finding]) -> list[dict[str, Value]]:
    """One row for each vertebra by column: texts, numbers, truth values; None where there is no value.

    The spinal deformity index is the study's, the same in each row; ``index_grade`` is what a vertebra adds to it.
    """
    index = deformity_index(findings)
    study: dict[str, Value] = {"spinal_deformity_index": index.value, "spinal_deformity_index_text": index.text}
    return [_row(finding, study) for finding in findings]


def _row(finding: Finding, study: dict[str, Value]) -> dict[str, Value]:
    low, high = pair(finding.grade_interval) or (None, None)
    loss_low, loss_high = pair(finding.loss_interval_percent) or (None, None)
    first, second = finding.reading or Reading(), finding.second_reading or Reading()
    plates = compared_endplates(finding)
    row: dict[str, Value] = {
        **study,
        "index_grade": finding.final_grade if counts(finding) else None,
        "endplates_depressed": ";".join(depressed(finding)),
        "considerations": ";".join(one.code for one in finding.considerations),
        "level": finding.level,
        "state": finding.state,
        "grade": finding.grade,
        "loss_percent": number(finding.loss_percent),
        "loss_percent_low": loss_low,
        "loss_percent_high": loss_high,
        "score": number(finding.score),
        "score_low": low,
        "score_high": high,
        "reason": reason_text(finding) if finding.reason else "",
        "deformity": finding.deformity,
        "trabecular_hu": number(quantity(finding, "trabecular_hu")),
        "flags": ";".join(finding.flags),
        "hypotheses": ";".join(f"{one.grade} if {one.cause}" for one in finding.hypotheses),
        "other_methods": ";".join(
            f"{one.method} {one.grade}" for one in finding.evidence if one.method != "morphometry"
        ),
        "reader_state": first.state,
        "reader_grade": first.grade,
        "reader_exclusion": first.exclusion,
        "reader_confirmed": first.confirmed,
        "reader_agreed": first.agreed,
        "second_reader_state": second.state,
        "second_reader_exclusion": second.exclusion,
    }
    for grade in range(4):
        chances = finding.grade_probabilities
        row[f"probability_grade_{grade}"] = None if chances is None else number(chances[grade])
    for position in POSITIONS:
        row[f"{position}_mm"] = number(finding.heights_mm.get(position))
        row[f"loss_{position}"] = number(finding.height_loss.get(position))
    for name in ENDPLATES:
        for what in ("depth", "usual"):
            row[f"{name}_endplate_{what}_mm"] = number(plates.get(name, {}).get(f"{what}_mm"))
    for axis, value in zip("ras", finding.center_ras_mm, strict=True):
        row[f"center_{axis}_mm"] = number(value)
    return {name: row[name] for name in COLUMNS}


def _cell(name: str, value: str | float | int | bool | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.{_DIGITS.get(name, 3)}f}"
    return _no_formula(value) if isinstance(value, str) else str(value)


def _no_formula(text: str) -> str:
    """Keep a spreadsheet from taking a text for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
