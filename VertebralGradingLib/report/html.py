"""The report as one HTML page: no scripts, no network, every text escaped, every picture embedded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib._version import __version__
from VertebralGradingLib.findings import NEVER_ASSESSED, RESEARCH_USE, Finding, Report
from VertebralGradingLib.findings.deformity_index import RANGE, deformity_index
from VertebralGradingLib.findings.states import (
    BORDERLINE,
    MEANING,
    NOT_ASSESSED,
    NOT_REACHED,
    TREATED,
    UNDECIDED,
    state_of_grade,
)
from VertebralGradingLib.findings.trabecular import trabecular
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS
from VertebralGradingLib.report.colors import color_of, color_of_grade, shown_colors
from VertebralGradingLib.report.drawn import HEIGHT_LOSS, WARPED, Drawn, figures
from VertebralGradingLib.report.overview import overview_svg
from VertebralGradingLib.report.patches import PATCH_MM, strip
from VertebralGradingLib.report.pictures import Overview
from VertebralGradingLib.report.profile import height_profile
from VertebralGradingLib.report.sentences import assessed_text, considerations_text, sentence, summary_sentence
from VertebralGradingLib.report.style import CSS
from VertebralGradingLib.report.tables import (
    disagreement_table,
    escape,
    methods_table,
    provenance_table,
    state_cell,
    vertebra_table,
    was_read,
)
from VertebralGradingLib.report.values import METHOD_NAMES, MISSING
from VertebralGradingLib.spine.spine import Spine

TITLE = "Vertebral grading report"


def html_page(
    report: Report,
    volume: Volume | None,
    spine: Spine | None,
    is_mask: bool,
    overview: tuple[Overview, NDArray[np.uint8]] | None,
    drawn: Sequence[Drawn] = (),
) -> str:
    """The whole page.

    Args:
        report: findings without private text.
        volume: CT (HU), or labels when ``is_mask``; without it the page has no pictures.
        spine: for patches of vertebrae that were not measured.
        is_mask: whether ``volume`` holds labels.
        overview: the overview and its grey picture, None without one.
        drawn: what a learned method drew of vertebrae.
    """
    findings = report.findings
    body = [
        f"<h1>{TITLE}</h1>",
        f'<p class="use">{escape(RESEARCH_USE)}</p>',
        *_warnings(report),
        _tiles(report),
        f"<p>{escape(summary_sentence(report))}</p>",
        *_head_lines(report),
        _section("What needs a look", _notable(report)),
    ]
    if overview is not None:
        body.append(_section("Overview", _overview(findings, *overview, is_mask)))
    if volume is not None and findings:
        body.append(_section("Each vertebra", _strip(findings, volume, spine, is_mask)))
    maps = [one for one in drawn if one.shows == HEIGHT_LOSS]
    warped = [one for one in drawn if one.shows == WARPED]
    others = [one for one in drawn if one.shows not in (HEIGHT_LOSS, WARPED)]
    if maps:
        body.append(_section("Where height was lost", figures(maps) + _map_note()))
    if warped:
        body.append(_section("Vertebrae warped to other grades", figures(warped) + _warp_note()))
    if others:
        body.append(_section("Vertebrae at another grade", figures(others) + _drawn_note()))
    profile = height_profile(findings)
    if profile:
        body.append(_section("Heights over level", _profile(profile, findings)))
    if findings:
        read = was_read(report)
        body.append(_section("All vertebrae", vertebra_table(findings, read) + _table_note(read)))
    rest = [finding for finding in findings if finding.excluded or finding.final_state in (NOT_ASSESSED, NOT_REACHED)]
    if rest:
        body.append(_section("Not assessed, not reached, excluded", _sentences(rest)))
    said = methods_table(findings)
    if said:
        body.append(_section("Each method", said))
    differ = disagreement_table(findings)
    if differ:
        body.append(_section("Methods that differ by a grade or more", differ))
    body += [
        _section("Reading the numbers", _caveats()),
        _section("Provenance", provenance_table(report)),
        f'<footer><p class="use">{escape(RESEARCH_USE)}</p></footer>',
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="only light">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f'<meta name="generator" content="VertebralGrading {escape(__version__)}">'
        f"<style>{CSS}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _warnings(report: Report) -> list[str]:
    """What a reader must know before anything else: a run that was stopped, methods that did not run."""
    warnings = []
    if not report.complete:
        warnings.append(f"{assessed_text(report.findings, complete=False)}.")
    for method, why in dict(report.provenance.get("not_run") or {}).items():
        warnings.append(f"{METHOD_NAMES.get(method, method)} did not run: {why}")
    return [f'<p class="warning">{escape(warning)}</p>' for warning in warnings]


def _tiles(report: Report) -> str:
    summary = report.summary
    assessed, total = summary["n_assessed"], len(report.findings)
    worst, index = summary["worst_grade"], deformity_index(report.findings)
    bone = trabecular(report.findings, report.study)
    undecided = len(summary["undecided"])
    rest = f"; {undecided} undecided" if undecided else ""
    tiles = [
        (f"worst{rest}", state_cell(color_of_grade(worst)) if assessed else MISSING),
        ("assessed vertebrae of grade 2 or more", str(summary["n_grade2_or_more"]) if assessed else MISSING),
        (f"spinal deformity index {RANGE}; {index.coverage}", MISSING if index.value is None else index.number),
        ("vertebrae assessed", f"{assessed} of {total}"),
    ]
    if bone is not None:
        tiles.append((f"{bone.title}; {bone.voltage}", f"{bone.hu:.0f} HU"))
    return (
        '<div class="tiles">'
        + "".join(f'<div><b>{value}</b><span class="what">{escape(what)}</span></div>' for what, value in tiles)
        + "</div>"
    )


def _head_lines(report: Report) -> list[str]:
    """Trabecular CT number with its caveats, and what is never assessed."""
    bone = trabecular(report.findings, report.study)
    return [f"<p>{escape(line)}</p>" for line in ([] if bone is None else [bone.text]) + [NEVER_ASSESSED]]


def _notable(report: Report) -> str:
    """Every vertebra of final grade 1 or more, borderline, undecided, treated or changed, or with what to consider."""
    quiet = (state_of_grade(0), NOT_ASSESSED, NOT_REACHED)
    counting = [finding for finding in report.findings if not finding.excluded]
    shown = [f for f in counting if f.final_state not in quiet or f.changed_by_reader or f.considerations]
    if shown:
        return _sentences(shown)
    if all(finding.final_grade is None for finding in report.findings):
        return "<p>No vertebra was assessed.</p>"
    return f"<p>Nothing among the vertebrae that were {'assessed' if report.complete else 'finished'}.</p>"


def _sentences(findings: Sequence[Finding]) -> str:
    items = "".join(
        f'<li><span class="swatch" style="background:{escape(color_of(finding).color)}"></span>'
        f"{escape(_sentence(finding)).replace(' %', '&nbsp;%')}</li>"
        for finding in findings
    )
    return f'<ul class="findings">{items}</ul>'


def _sentence(finding: Finding) -> str:
    """The finding, and what to consider unless the reader has left it out."""
    return sentence(finding) if finding.excluded else f"{sentence(finding)} {considerations_text(finding)}".rstrip()


def _key(findings: Sequence[Finding]) -> str:
    items = "".join(f'<span class="item">{state_cell(entry)}</span>' for entry in shown_colors(findings))
    return f'<p class="key">{items}</p>'


def _overview(findings: Sequence[Finding], overview: Overview, gray: NDArray[np.uint8], is_mask: bool) -> str:
    what = "the label mask" if is_mask else "the CT"
    note = (
        f"Sagittal picture of {what} along the spine's curve, anterior left (A), posterior right (P), cranial on top. "
        "Distances up-down and front-back are true; sideways bends are unrolled."
    )
    aside = f"<aside>{_key(findings)}<p><small>{note}</small></p></aside>"
    return f'<div class="overview">{overview_svg(overview, gray, findings)}{aside}</div>'


def _strip(findings: tuple[Finding, ...], volume: Volume, spine: Spine | None, is_mask: bool) -> str:
    note = (
        f"{PATCH_MM} mm wide, anterior left, each in the plane it was measured in. Lines join the points between which "
        "the anterior (A), middle (M) and posterior (P) height was measured."
    )
    return f'{strip(findings, volume, spine, is_mask)}<p class="note"><small>{note}</small></p>'


def _drawn_note() -> str:
    note = (
        "Drawn by a network, not measured: what it takes this vertebra to look like at the grade that is given. "
        "Compare with its redrawing, not with the CT: what is lost there is the network's own error."
    )
    return f'<p class="note"><small>{escape(note)}</small></p>'


def _warp_note() -> str:
    note = (
        "The vertebra's own CT, moved to the heights of each grade and measured again; nothing is drawn anew, and "
        "texture shows no fracture. How far the spine above follows is assumed. Where a check fails nothing is shown."
    )
    return f'<p class="note"><small>{escape(note)}</small></p>'


def _map_note() -> str:
    note = (
        "Every column of the body against its expected height; what lies within 1.5 mm of the wall is left out. The "
        "loss of a third is less than that of its edge: of a wedge, five sixths. What a network drew was not measured."
    )
    return f'<p class="note"><small>{escape(note)}</small></p>'


def _profile(profile: str, findings: Sequence[Finding]) -> str:
    note = (
        "Dots: measured heights, in the colour of the state, with its number from grade 1. Line: expected height "
        "with its 90 % band. A dash means not measured; the line is broken where nothing is expected."
    )
    return f'<div class="profile">{profile}</div>{_key(findings)}<p><small>{note}</small></p>'


def _table_note(read: bool) -> str:
    reader = (
        "State and numbers are the program's. Where the reader gives a grade or excludes a vertebra, that counts in "
        "the summary, the lists and the colours. "
    )
    return (
        f"<p><small>{reader if read else ''}"
        "Graded loss: the largest of anterior, middle and mean loss, with its 90 % interval. Loss: share of the "
        "expected height that is missing; negative where the body is taller.</small></p>"
    )


def _caveats() -> str:
    bounds = ", ".join(f"grade {n} from {100 * bound:.0f} %" for n, bound in enumerate(GRADE_BOUNDS, start=1))
    notes = (
        f"Grades follow the height loss of Genant's semi-quantitative scale ({bounds}).",
        *(f"{state}: {MEANING[state]}." for state in (BORDERLINE, UNDECIDED, TREATED)),
        "Not assessed is not grade 0; counts cover the assessed vertebrae only. The spinal deformity index is the sum "
        f"of the grades of {RANGE}, borderline counted as 0 (Crans 2005); while not all 13 levels are assessed it is a "
        "least value.",
        "Endplate depression: depth of the central endplate below the plane of its own rim, against what the patient's "
        "other vertebrae and a published mean (Wang 2012) make usual. Short, endplates flat: height is lost and no "
        "endplate is depressed, which is seldom a fracture by the algorithm-based qualitative method (Jiang 2004, "
        "Ferrar 2005). A wedge whose endplate stays a plane counts as flat, broken or not.",
        "Consider ...: raised by measured conditions only. It is no diagnosis, and its absence excludes nothing.",
        "A loss of height is not always a fracture: developmental, degenerative and endplate changes lower a body too.",
        "Trabecular HU is no bone density. It rises with contrast medium, depends on tube voltage (kVp), "
        "reconstruction kernel and scanner, and is raised by compacted bone in a fractured body; compare only within "
        "one scan.",
    )
    return '<ul class="notes">' + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>"
