"""The findings as a table: one row for each vertebra, cranial to caudal. Heights in mm, losses as fractions.

``grade`` is the program's own; the reader's stands in columns of its own.
"""

from __future__ import annotations

import csv
import io

from VertebralGradingLib.findings import POSITIONS, Finding, Report
from VertebralGradingLib.report.values import number, pair, quantity, reason_text

COLUMNS = (
    "level",
    "grade",
    "score",
    "score_low",
    "score_high",
    "gradable",
    "reason",
    "deformity",
    *(f"{position}_mm" for position in POSITIONS),
    *(f"loss_{position}" for position in POSITIONS),
    "trabecular_hu",
    "flags",
    "suggested_exclusion",
    "method",
    "reader_grade",
    "reader_exclusion",
    "center_r_mm",
    "center_a_mm",
    "center_s_mm",
)


_DIGITS = {"trabecular_hu": 1, **{f"{name}_mm": 2 for name in (*POSITIONS, "center_r", "center_a", "center_s")}}
"""Decimals of a cell; three where nothing else is said."""


def csv_text(report: Report) -> str:
    """The table with a header line; cells without a value are empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for finding in report.findings:
        writer.writerow({name: _cell(name, value) for name, value in row_values(finding).items()})
    return out.getvalue()


def row_values(finding: Finding) -> dict[str, str | float | int | bool | None]:
    """One row by column: texts, numbers, ``gradable`` as bool; None where there is no value."""
    low, high = pair(finding.grade_interval) or (None, None)
    row: dict[str, str | float | int | bool | None] = {
        "level": finding.level,
        "grade": finding.grade,
        "score": number(finding.score),
        "score_low": low,
        "score_high": high,
        "gradable": finding.gradable,
        "reason": "" if finding.gradable else reason_text(finding),
        "deformity": finding.deformity,
        "trabecular_hu": number(quantity(finding, "trabecular_hu")),
        "flags": ";".join(finding.flags),
        "suggested_exclusion": finding.suggested_exclusion,
        "method": finding.primary_method,
        "reader_grade": None if finding.reading is None else finding.reading.grade,
        "reader_exclusion": "" if finding.reading is None else finding.reading.exclusion,
    }
    for position in POSITIONS:
        row[f"{position}_mm"] = number(finding.heights_mm.get(position))
        row[f"loss_{position}"] = number(finding.height_loss.get(position))
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
