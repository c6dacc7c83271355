"""Tables of the page: all vertebrae, methods that differ, provenance."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from VertebralGradingLib.findings import POSITIONS, Finding, Reading, Report
from VertebralGradingLib.findings.flags import FLAG_TEXT
from VertebralGradingLib.report.colors import StateColor, color_of_grade, color_of_state
from VertebralGradingLib.report.sentences import remarks
from VertebralGradingLib.report.values import (
    METHOD_NAMES,
    MISSING,
    chance_text,
    fixed,
    flag_text,
    graded_loss_text,
    number,
    percent,
    quantity,
    span,
)


def escape(value: Any) -> str:
    """Text for HTML, quotes included."""
    return html.escape(str(value), quote=True)


def state_cell(color: StateColor) -> str:
    """A swatch and the state's word."""
    return f'<span class="swatch" style="background:{escape(color.color)}"></span>{escape(color.state)}'


def was_read(report: Report) -> bool:
    """Whether a reader has said something or is named."""
    named = report.provenance.get("reader") or report.provenance.get("second_reader")
    return bool(named) or any(finding.reading or finding.second_reading for finding in report.findings)


def vertebra_table(findings: Sequence[Finding], read: bool = False) -> str:
    """Every vertebra, cranial to caudal.

    Args:
        findings: the rows.
        read: whether to show what the reader says.
    """
    reader = '<th rowspan="2">Reader</th>' if read else ""
    head = (
        f'<tr><th rowspan="2">Level</th><th rowspan="2">State</th>{reader}<th rowspan="2">Graded loss<br>% (90 %)</th>'
        '<th rowspan="2" class="r">Chance of<br>grade 1+</th>'
        '<th rowspan="2">Deformity</th><th colspan="3">Height (mm)</th><th colspan="3">Loss (%)</th>'
        '<th rowspan="2" class="r">Trabecular<br>HU</th><th rowspan="2">Remarks</th></tr><tr>'
        + 2 * "".join(f'<th title="{position}">{position[:3].capitalize()}.</th>' for position in POSITIONS)
        + "</tr>"
    )
    shared = _shared_flags(findings)
    rows = "".join(_vertebra_row(finding, shared, read) for finding in findings)
    table = f'<div class="wide"><table class="all"><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
    if not shared:
        return table
    words = escape("; ".join(flag_text(flag) for flag in shared))
    return f'{table}<p class="note"><small>All assessed vertebrae: {words}.</small></p>'


def _shared_flags(findings: Sequence[Finding]) -> list[str]:
    """Flags that every assessed vertebra carries: said once, below the table."""
    assessed = [finding for finding in findings if finding.gradable]
    if len(assessed) < 2:
        return []
    return [flag for flag in assessed[0].flags if all(flag in finding.flags for finding in assessed)]


def _reader_cell(finding: Finding) -> str:
    if finding.reading is None and finding.second_reading is None:
        return f"<td>{MISSING}</td>"
    first, second = _said(finding.reading), _said(finding.second_reading)
    return f'<td class="t">{first or MISSING}{f"; second: {second}" if second else ""}</td>'


def _said(reading: Reading | None) -> str:
    """What one reader says; empty where that is nothing."""
    if reading is None:
        return ""
    if reading.exclusion:
        return f"excluded: {escape(reading.exclusion)}"
    words = [state_cell(color_of_state(reading.state))] if reading.state else []
    words += [word for word, is_so in (("agrees", reading.agreed), ("confirmed", reading.confirmed)) if is_so]
    return ", ".join(words)


def _vertebra_row(finding: Finding, shared: Sequence[str], read: bool) -> str:
    words = remarks(finding, shared if finding.gradable else ())
    numbers = [
        *(fixed(finding.heights_mm.get(position)) for position in POSITIONS),
        *(percent(finding.height_loss.get(position)) for position in POSITIONS),
        fixed(quantity(finding, "trabecular_hu"), 0),
    ]
    return (
        f"<tr><th>{escape(finding.level)}</th><td>{state_cell(color_of_state(finding.state))}</td>"
        f"{_reader_cell(finding) if read else ''}"
        f'<td class="n">{escape(graded_loss_text(finding))}</td><td class="n r">{escape(chance_text(finding))}</td>'
        f"<td>{escape(finding.deformity or MISSING)}</td>"
        + "".join(f'<td class="n r">{escape(value)}</td>' for value in numbers)
        + f'<td class="t">{escape("; ".join(words)) or MISSING}</td></tr>'
    )


def disagreement_table(findings: Iterable[Finding]) -> str:
    """What each method says where they differ by a grade or more; empty when they do not."""
    rows = []
    for finding in findings:
        if not finding.methods_differ:
            continue
        for n, item in enumerate(finding.evidence):
            level = f'<th rowspan="{len(finding.evidence)}">{escape(finding.level)}</th>' if n == 0 else ""
            interval = span(item.grade_interval)
            cell = fixed(item.score) + (f" ({interval})" if interval else "")
            words = "; ".join(flag_text(flag) for flag in item.flags)
            rows.append(
                f"<tr>{level}<td>{escape(METHOD_NAMES.get(item.method, item.method))}</td>"
                f"<td>{state_cell(color_of_grade(item.grade))}</td>"
                f'<td class="n">{escape(cell)}</td><td class="t">{escape(words) or MISSING}</td></tr>'
            )
    if not rows:
        return ""
    head = "<tr><th>Level</th><th>Method</th><th>Grade</th><th>Score (90 %)</th><th>Flags</th></tr>"
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def methods_table(findings: Iterable[Finding]) -> str:
    """Grade, score and interval of every method, one row for each vertebra; empty with one method only."""
    shown = list(findings)
    methods = list(dict.fromkeys(item.method for finding in shown for item in finding.evidence))
    if len(methods) < 2:
        return ""
    rows = []
    for finding in shown:
        cells = []
        for method in methods:
            item = finding.evidence_of(method)
            if item is None:
                cells.append(f"<td>{MISSING}</td>")
                continue
            interval = span(item.grade_interval)
            numbers = fixed(item.score) + (f" ({interval})" if interval else "")
            cells.append(f"<td>{state_cell(color_of_grade(item.grade))} {escape(numbers)}</td>")
        rows.append(f"<tr><th>{escape(finding.level)}</th>{''.join(cells)}</tr>")
    head = "".join(f"<th>{escape(METHOD_NAMES.get(method, method))}</th>" for method in methods)
    words = "Score 0 to 3 with its 90 % interval. Morphometry gives the state; the others are second opinions."
    note = f"<p><small>{words}</small></p>"
    return (
        f'<div class="wide"><table><thead><tr><th>Level</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{note}"
    )


def provenance_table(report: Report) -> str:
    """Study and provenance as they were recorded, one line for each entry."""
    lines = [*_lines(report.study), *_lines(report.provenance)]
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in lines)
    return f'<table class="pairs"><tbody>{rows}</tbody></table>' if rows else "<p>Nothing was recorded.</p>"


def _lines(entries: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """(name, value) of a nested dict, names joined by a colon."""
    for key, value in entries.items():
        name = f"{before}{_name(str(key))}"
        if isinstance(value, dict):
            yield from _lines(value, f"{name}: ")
        else:
            yield name, _plain(value)


def _name(key: str) -> str:
    for unit in ("mm", "hu", "ms", "s"):
        if key.endswith(f"_{unit}"):
            return f"{key[: -len(unit) - 1].replace('_', ' ')} ({unit.upper() if unit == 'hu' else unit})"
    return key.replace("_", " ")


def _plain(value: Any) -> str:
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in _lines(value))
    if isinstance(value, (list, tuple)):
        by = " × " if len(value) == 3 and all(number(item) is not None for item in value) else ", "
        return by.join(_plain(item) for item in value) or MISSING
    return FLAG_TEXT.get(str(value), str(value))
