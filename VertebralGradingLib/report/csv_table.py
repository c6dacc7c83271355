"""The findings as a table: one row for each vertebra, cranial to caudal. Heights in mm, losses as fractions."""

from __future__ import annotations

import csv
import io
from typing import Any

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
    "center_r_mm",
    "center_a_mm",
    "center_s_mm",
)


def csv_text(report: Report) -> str:
    """The table with a header line; cells without a value are empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(finding) for finding in report.findings)
    return out.getvalue()


def _row(finding: Finding) -> dict[str, str]:
    low, high = pair(finding.grade_interval) or (None, None)
    row: dict[str, Any] = {
        "level": finding.level,
        "grade": "" if finding.grade is None else str(finding.grade),
        "score": _number(finding.score),
        "score_low": _number(low),
        "score_high": _number(high),
        "gradable": "true" if finding.gradable else "false",
        "reason": "" if finding.gradable else reason_text(finding),
        "deformity": finding.deformity,
        "trabecular_hu": _number(quantity(finding, "trabecular_hu"), 1),
        "flags": ";".join(finding.flags),
        "suggested_exclusion": finding.suggested_exclusion,
        "method": finding.primary_method,
    }
    for position in POSITIONS:
        row[f"{position}_mm"] = _number(finding.heights_mm.get(position), 2)
        row[f"loss_{position}"] = _number(finding.height_loss.get(position))
    for axis, value in zip("ras", finding.center_ras_mm, strict=True):
        row[f"center_{axis}_mm"] = _number(value, 2)
    text = ("level", "reason", "deformity", "flags", "suggested_exclusion", "method")
    return {name: _no_formula(value) if name in text else value for name, value in row.items()}


def _number(value: Any, digits: int = 3) -> str:
    known = number(value)
    return "" if known is None else f"{known:.{digits}f}"


def _no_formula(text: str) -> str:
    """Keep a spreadsheet from taking a text for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
