"""Findings in sentences, as a reader would put them."""

from __future__ import annotations

from VertebralGradingLib.findings import POSITIONS, SCHMORL_NODE, Finding, Report
from VertebralGradingLib.morphometry.genant import GRADE_NAMES, grade_of_loss
from VertebralGradingLib.report.values import (
    METHOD_NAMES,
    at_position,
    fixed,
    number,
    pair,
    percent,
    quantity,
    reason_text,
    span,
)

_EXCLUSION_TEXT = {SCHMORL_NODE: "Schmorl node"}


def sentence(finding: Finding) -> str:
    """One vertebra, such as "L1: moderate wedge deformity, anterior loss 32 % (27-37).".

    The bracket is the 90 % interval of the loss at that position, in per cent. Where the reader has decided otherwise
    than the program, the sentence says so: "L1: mild wedge deformity by the reader (automatic grade 2), ...".
    """
    grade = finding.final_grade
    if finding.excluded:
        text = finding.exclusion_text
    elif grade is not None:
        text = _deformity(finding, grade) if grade >= 1 else _no_deformity(finding)
    elif finding.undecided:
        text = "not graded"
    else:
        text = f"not assessed: {reason_text(finding)}"
    return f"{finding.level}: {text}.{_exclusion(finding)}"


def other_methods(finding: Finding) -> str:
    """What methods beside the primary one say, such as "Diffusion autoencoder: grade 2 (1.4-2.6)."; may be empty."""
    said = []
    for item in finding.evidence:
        if item.method != finding.primary_method and item.grade is not None:
            interval = span(item.grade_interval)
            name = METHOD_NAMES.get(item.method, item.method)
            said.append(f"{name}: grade {item.grade}" + (f" ({interval})" if interval else "") + ".")
    return " ".join(said)


def summary_sentence(report: Report) -> str:
    """The study in one sentence: how many were assessed, the worst grade, how many of grade 2 or more, and the rest."""
    summary = report.summary
    count = summary["n_assessed"]
    left_out = [finding.level for finding in report.findings if finding.final_grade is None and not finding.excluded]
    excluded = [finding.level for finding in report.findings if finding.excluded]
    open_ones = [finding.level for finding in report.findings if finding.undecided]
    changed = [finding.level for finding in report.findings if finding.changed_by_reader]
    rest = (
        f"{len(left_out)} not assessed ({', '.join(left_out)})" if left_out else "",
        f"{len(excluded)} excluded by the reader ({', '.join(excluded)})" if excluded else "",
        f"for the reader to decide: {', '.join(open_ones)}" if open_ones else "",
        f"graded by the reader: {', '.join(changed)}" if changed else "",
    )
    missing = "; ".join(part for part in rest if part)
    if not count:
        return f"No vertebra was assessed; {missing}." if missing else "No vertebra was assessed."
    worst = summary["worst_grade"]
    parts = [
        f"{count} {'vertebra' if count == 1 else 'vertebrae'} assessed: "
        + (f"worst grade {worst} ({GRADE_NAMES[worst]})" if worst else "no deformity of grade 1 or more"),
        f"{summary['n_grade2_or_more']} of grade 2 or more" if worst else "",
        f"spinal deformity index {summary['spinal_deformity_index']}" if worst else "",
        missing,
    ]
    return "; ".join(part for part in parts if part) + "."


def exclusion_text(name: str) -> str:
    """What a deformity may be other than a fracture, in words; empty for none."""
    return _EXCLUSION_TEXT.get(name, name.replace("_", " "))


def largest_loss(finding: Finding) -> tuple[str, float] | None:
    """Position and size (fraction) of the largest height loss, None when nothing was measured."""
    known = {position: number(finding.height_loss.get(position)) for position in POSITIONS}
    losses = {position: loss for position, loss in known.items() if loss is not None}
    if not losses:
        return None
    position = max(losses, key=lambda name: losses[name])
    return position, losses[position]


def _automatic(finding: Finding) -> str:
    """What the program gave where the reader gives another grade, empty elsewhere."""
    if not finding.changed_by_reader:
        return ""
    grade = finding.automatic_grade
    return "not assessed automatically" if grade is None else f"automatic grade {grade}"


def _deformity(finding: Finding, grade: int) -> str:
    shape = "" if finding.deformity in ("", "none") else f"{finding.deformity} "
    text = f"{GRADE_NAMES[min(grade, 3)]} {shape}deformity"
    automatic = _automatic(finding)
    if automatic:
        text += f" by the reader ({automatic})"
    loss = largest_loss(finding)
    if loss is not None and loss[1] > 0:
        return f"{text}, {_loss_text(finding, *loss)}"
    if number(finding.score) is None:
        return text
    interval = span(finding.grade_interval)
    return f"{text}, score {finding.score:.1f}" + (f" ({interval})" if interval else "")


def _no_deformity(finding: Finding) -> str:
    text = "no deformity of grade 1 or more"
    if finding.undecided:
        return f"{text} outside a focal endplate defect" if finding.suggested_exclusion == SCHMORL_NODE else text
    automatic, loss = _automatic(finding), largest_loss(finding)
    details = [automatic] if automatic else []
    if loss is not None:
        position, share = loss
        details.append(f"largest loss {percent(share)} %, {position}" if share > 0 else "no height loss")
    return f"{text}{' by the reader' if automatic else ''}" + (f" ({'; '.join(details)})" if details else "")


def _loss_text(finding: Finding, position: str, loss: float) -> str:
    interval = pair(at_position(finding, "loss_interval", position))
    bracket = "" if interval is None else f" ({percent(max(interval[0], 0.0))}-{percent(interval[1])})"
    return f"{position} loss {percent(loss)} %{bracket}"


def _exclusion(finding: Finding) -> str:
    """What the deformity may be other than a fracture, what heights alone give, and whose decision it is."""
    if not finding.undecided:
        return ""
    evidence = finding.evidence_of("morphometry") or finding.evidence_of(finding.primary_method)
    loss = largest_loss(finding)
    grade = evidence.grade if evidence is not None else None
    if grade is None and loss is not None:
        grade = grade_of_loss(loss[1])
    where = "; ".join(_defects(finding))
    text = f" Suggested exclusion: {exclusion_text(finding.suggested_exclusion)}{f' ({where})' if where else ''}."
    if grade is None:
        return f"{text} The reader decides."
    alone = f" Heights alone would give grade {grade}"
    if loss is not None and loss[1] > 0:
        alone += f": {_loss_text(finding, *loss)}"
    return f"{text}{alone}; the reader decides."


def _defects(finding: Finding) -> list[str]:
    """Place and size of each focal endplate defect."""
    found = quantity(finding, "defects")
    texts = []
    for defect in found if isinstance(found, (list, tuple)) else ():
        if isinstance(defect, dict):
            ap, lr, depth = (fixed(defect.get(name), 0) for name in ("extent_ap_mm", "extent_lr_mm", "depth_mm"))
            texts.append(f"{defect.get('endplate', 'an')} endplate, {ap} mm AP x {lr} mm LR, {depth} mm deep")
    return texts
