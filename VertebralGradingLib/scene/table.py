"""Findings as a table node, with the columns of the CSV file, typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from VertebralGradingLib.findings import Finding
from VertebralGradingLib.report.csv_table import COLUMNS, rows

NO_GRADE = -1
"""What the integer columns of grades and of the spinal deformity index hold where there is none."""

_TEXT = frozenset(
    (
        "level", "state", "reason", "deformity", "flags", "hypotheses", "other_methods", "reader_state",
        "reader_exclusion", "second_reader_state", "second_reader_exclusion", "endplates_depressed", "considerations",
        "spinal_deformity_index_text",
    )
)  # fmt: skip
_INTEGER = frozenset(
    ("grade", "reader_grade", "reader_confirmed", "reader_agreed", "index_grade", "spinal_deformity_index")
)
_DESCRIPTION = {
    "state": "the program's own state",
    "grade": f"automatic Genant grade 0-3, 0 where borderline; {NO_GRADE}: none",
    "loss_percent": "graded loss, per cent of the expected height",
    "loss_percent_low": "lower end of its 90 % interval",
    "loss_percent_high": "upper end of its 90 % interval",
    **{f"probability_grade_{grade}": f"chance of grade {grade}" for grade in range(4)},
    "hypotheses": "grades of an undecided vertebra by cause",
    "other_methods": "grades by methods beside morphometry",
    "reader_grade": f"the reader's Genant grade 0-3, which goes before the automatic one; {NO_GRADE}: none",
    "reader_exclusion": "why the reader leaves the vertebra out",
    "score": "grade on a continuous axis, 0-3",
    "score_low": "lower end of the 90 % interval of the score",
    "score_high": "upper end of the 90 % interval of the score",
    "reason": "why the vertebra has no grade or is borderline",
    **{f"loss_{name}": "height loss as a fraction of the expected height" for name in ("anterior", "middle")},
    "loss_posterior": "height loss as a fraction of the expected height",
    "index_grade": f"what the vertebra adds to the spinal deformity index; {NO_GRADE}: it does not count",
    "spinal_deformity_index": f"sum of the grades of T4-L4, of the whole study; {NO_GRADE}: none",
    "endplates_depressed": "endplates deeper below their rim than usual",
    "considerations": "what to consider instead of a fracture",
    "trabecular_hu": "mean HU of the cancellous core",
}


def fill_table(node: Any, findings: Sequence[Finding]) -> None:
    """Replace a table node's content; missing numbers are NaN, a missing grade is :data:`NO_GRADE`."""
    values = rows(findings)
    columns = {name: _column(name, [row[name] for row in values]) for name in COLUMNS}
    set_columns(node, columns)
    for name in COLUMNS:
        if name.endswith("_mm"):
            node.SetColumnUnitLabel(name, "mm")
        if name in _DESCRIPTION:
            node.SetColumnDescription(name, _DESCRIPTION[name])


def set_columns(node: Any, columns: dict[str, Any]) -> None:
    """Replace a table node's columns by VTK arrays, in one event."""
    was = node.StartModify()
    try:
        node.SetUseColumnTitleAsColumnHeader(True)
        node.RemoveAllColumns()
        for name, array in columns.items():
            array.SetName(name)
            node.AddColumn(array)
            node.SetColumnType(name, array.GetDataType())
    finally:
        node.EndModify(was)


def text_column(values: Sequence[str]) -> Any:
    """A column of texts."""
    array = vtk.vtkStringArray()
    for value in values:
        array.InsertNextValue(value)
    return array


def number_column(values: Sequence[float | None]) -> Any:
    """A column of numbers (double), NaN where there is none."""
    return numpy_to_vtk(np.array([np.nan if v is None else v for v in values], dtype=np.float64), deep=True)


def _column(name: str, values: Sequence[Any]) -> Any:
    if name in _TEXT:
        return text_column([str(value) for value in values])
    if name in _INTEGER:
        array = vtk.vtkIntArray()
        for value in values:
            array.InsertNextValue(NO_GRADE if value is None else int(value))
        return array
    return number_column(values)
