"""A warp that was looked at, as it is kept: what was asked for and reached, its checks, and its strip of grades."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from VertebralGradingLib.counterfactual.checks import (
    GAS_SHARE,
    LEAST_JACOBIAN,
    MISSED_MM,
    OUTSIDE_SHARE,
    SEAM_SHARE,
)
from VertebralGradingLib.counterfactual.live import STRIP_GRADES
from VertebralGradingLib.counterfactual.request import SHAPES
from VertebralGradingLib.findings import POSITIONS
from VertebralGradingLib.report.warp_strip import NOT_CONVINCING, warp_png

Rows = tuple[tuple[str, ...], ...]
_LISTS = ("wanted", "target_mm", "reached_mm", "reached", "moved_mm", "tilt_deg", "sink_mm", "least_jacobian")
_MORE = ("checks", "reasons")
_SINGLE = ("shape", "tilt_share", "sink_share", "score", "heights_mm", "healthy_mm")
HEAD = (
    "grade",
    "asked for (mm)",
    "reached (mm)",
    "missed (mm)",
    "least Jacobian",
    "gas in the body",
    "seam through bone",
    "bent beside",
    "picture",
)
"""Columns of :func:`numbers`."""


def kept_warp(answer: Mapping[str, Any], level: str, grade: float) -> dict[str, Any]:
    """What is kept of a warp, as for JSON.

    Args:
        answer: as :func:`counterfactual.explained.explained` gives it, with the grades of a strip among those wanted.
        level: of the vertebra.
        grade: that is looked at.

    Returns:
        ``level``, ``grade``, ``shape``, ``tilt_share``, ``sink_share``, ``score``, ``heights_mm``, ``healthy_mm``; for
        each grade of the strip ``wanted``, ``target_mm``, ``reached_mm``, ``reached``, ``moved_mm``, ``tilt_deg``,
        ``sink_mm``, ``least_jacobian``, ``checks``, ``reasons``; ``png``, the strip in base64.
    """
    wanted = [float(one) for one in answer["wanted"]]
    place = [wanted.index(one) for one in STRIP_GRADES]
    kept: dict[str, Any] = {"level": level, "grade": float(grade)} | {name: answer[name] for name in _SINGLE}
    kept |= {name: [answer[name][n] for n in place] for name in (*_LISTS, *_MORE)}
    return kept | {"png": base64.b64encode(warp_png(answer, level, STRIP_GRADES)).decode()}


def is_kept_warp(about: Any) -> bool:
    """Whether this is what :func:`kept_warp` gives, whole enough to be shown."""
    if not isinstance(about, dict) or not {"level", "grade", "png", *_SINGLE, *_LISTS, *_MORE} <= set(about):
        return False
    grade = about["grade"]
    named = about["shape"] in SHAPES and isinstance(about["png"], str)
    whole = all(isinstance(about[name], list) and len(about[name]) == len(STRIP_GRADES) for name in (*_LISTS, *_MORE))
    return named and whole and isinstance(grade, (int, float)) and 0.0 <= grade <= 3.0


def warp_sentence(about: Mapping[str, Any]) -> str:
    """What is told below a kept warp."""
    shown = sum(not reasons for reasons in about["reasons"])
    hidden = "" if shown == len(about["reasons"]) else f" {len(about['reasons']) - shown} of {len(about['reasons'])} "
    hidden = f"{hidden}grades have {NOT_CONVINCING}." if hidden else ""
    shape = "its own shape" if about["shape"] == SHAPES[0] else f"the shape of a {about['shape']} fracture"
    return (
        f"Its own CT, warped, nothing drawn anew, in {shape}; looked at: grade {about['grade']:.1f}. As it is "
        f"{three(about['heights_mm'])} mm anterior/middle/posterior, before any fracture {three(about['healthy_mm'])} "
        f"mm (estimated). Of a change the spine above follows {100 * about['sink_share']:.0f} % in sinking and "
        f"{100 * about['tilt_share']:.0f} % in tilt (assumed).{hidden}"
    )


def numbers(answer: Mapping[str, Any], places: Sequence[int] | None = None) -> Rows:
    """The numbers behind the pictures: a head, the limits, and one row for each grade.

    Args:
        answer: an explanation, or what :func:`kept_warp` gives.
        places: which of its grades; all where missing.
    """
    limits = (
        *("limit", "", "", f"{MISSED_MM:.1f}", f"{LEAST_JACOBIAN:.2f}"),
        *(f"{100 * share:.1f} %" for share in (GAS_SHARE, SEAM_SHARE, OUTSIDE_SHARE)),
        "",
    )
    rows = [HEAD, limits]
    for n in range(len(answer["wanted"])) if places is None else places:
        check = answer["checks"][n]
        shares = (f"{100 * check[name]:.1f} %" for name in ("gas_share", "seam_share", "outside_share"))
        rows.append(
            (
                f"{answer['wanted'][n]:.4g}",
                three(answer["target_mm"][n]),
                three(answer["reached_mm"][n]),
                f"{check['missed_mm']:.2f}",
                f"{answer['least_jacobian'][n]:.2f}",
                *shares,
                "; ".join(answer["reasons"][n]) or "convincing",
            )
        )
    return tuple(tuple(row) for row in rows)


def fold_html(answer: Mapping[str, Any], grade: float, reasons: Sequence[str]) -> str:
    """The numbers behind one picture as rich text for a label: why it is hidden, then the checks of its nearest grade.

    Args:
        answer: an explanation with the grades that were solved.
        grade: that is looked at.
        reasons: why its picture is hidden; none where it is shown.
    """
    wanted = [float(one) for one in answer["wanted"]]
    near = min(range(len(wanted)), key=lambda n: abs(wanted[n] - grade))
    head, limits, row = numbers(answer, [near])
    lines = [
        f"<tr><td>{html.escape(name)}&nbsp;</td><td>{html.escape(value)}&nbsp;</td><td>{html.escape(limit)}</td></tr>"
        for name, value, limit in zip(head[1:-1], row[1:-1], limits[1:-1], strict=True)
    ]
    why = html.escape("; ".join(reasons) or "convincing: every check is passed")
    return (
        f"{why}<table><tr><td><i>at grade {wanted[near]:.4g}</i></td><td></td><td><i>limit</i></td></tr>"
        f"{''.join(lines)}</table>"
    )


def three(values: Mapping[str, float]) -> str:
    """Anterior, middle and posterior number with one decimal."""
    return " / ".join(f"{np.round(values[position], 1) + 0.0:.1f}" for position in POSITIONS)
