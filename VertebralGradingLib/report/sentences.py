"""Findings in sentences, as a reader would put them. A state's word is the same everywhere (:mod:`states`)."""

from __future__ import annotations

from collections.abc import Sequence

from VertebralGradingLib.findings import NEVER_ASSESSED, POSITIONS, Finding, Hypothesis, Report
from VertebralGradingLib.findings.deformity_index import OUTSIDE, RANGE, deformity_index, stands_outside
from VertebralGradingLib.findings.depression import depression_text
from VertebralGradingLib.findings.flags import FOCAL
from VertebralGradingLib.findings.states import (
    BORDERLINE,
    MEANING,
    NOT_ASSESSED,
    NOT_REACHED,
    TREATED,
    UNDECIDED,
    state_of_grade,
)
from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS, SEVERITY
from VertebralGradingLib.report.values import (
    METHOD_NAMES,
    at_position,
    fixed,
    flag_text,
    number,
    pair,
    percent,
    reason_text,
    span,
)

MILDEST = "no height loss of 20 % or more"


def sentence(finding: Finding) -> str:
    """One vertebra, such as "L1: grade 2, moderate wedge deformity, anterior loss 32 % (27-37).".

    The bracket is the 90 % interval of the loss at that position, in per cent. Where the reader has decided otherwise
    than the program, the sentence says so: "L1: grade 1 by the reader (automatic: grade 2), ...".
    """
    return f"{finding.level}: {_text(finding)}."


def sentence_to_copy(finding: Finding) -> str:
    """The sentence with what it does not say, for a reader's own report."""
    return f"{sentence(finding)} {NEVER_ASSESSED}"


def considerations_text(finding: Finding) -> str:
    """What to consider, as sentences: "Consider physiological wedging: ..."; may be empty."""
    return " ".join(f"{one.text[:1].upper()}{one.text[1:]}." for one in finding.considerations)


def remarks(finding: Finding, but: Sequence[str] = ()) -> list[str]:
    """What a table says of a vertebra beside its numbers, each once: reason, answers, considerations, flags in words.

    Args:
        finding: the row.
        but: flags that are not told.
    """
    words = [reason_text(finding)] if finding.reason else []
    words += [hypothesis_text(one) for one in finding.hypotheses]
    words += [OUTSIDE] if stands_outside(finding) else []
    words += [text] if (text := depression_text(finding)) and not finding.excluded else []
    words += [one.text for one in finding.considerations]
    told = (*but, FOCAL) if finding.state == UNDECIDED else but  # its reason describes the defect
    words += [flag_text(flag) for flag in finding.flags if flag not in told]
    return list(dict.fromkeys(words))


def other_methods(finding: Finding) -> str:
    """What methods beside morphometry say, such as "Diffusion autoencoder: grade 2 (1.4-2.6)."; may be empty."""
    said = []
    for item in finding.evidence:
        if item.method != "morphometry" and item.grade is not None:
            interval = span(item.grade_interval)
            name = METHOD_NAMES.get(item.method, item.method)
            said.append(f"{name}: grade {item.grade}" + (f" ({interval})" if interval else "") + ".")
    return " ".join(said)


def summary_sentence(report: Report) -> str:
    """The study in one sentence: how many were assessed, the worst grade, and every other state with its levels."""
    summary = report.summary
    head = assessed_text(report.findings, report.complete)
    excluded = [finding.level for finding in report.findings if finding.excluded]
    changed = [finding.level for finding in report.findings if finding.changed_by_reader]
    not_assessed = [one["level"] for one in summary["not_assessed"] if one["level"] not in excluded]
    parts = [
        _worst(report),
        *_index(report),
        _listed(BORDERLINE, summary["borderline"]),
        _undecided_ones(report),
        _listed(TREATED, summary["treated"]),
        _listed(NOT_ASSESSED, not_assessed),
        _listed(NOT_REACHED, summary["not_reached"]),
        _listed("excluded by the reader", excluded),
        _listed("changed by the reader", changed),
        *(methods_that_differ(finding) for finding in report.findings if finding.methods_differ),
    ]
    rest = "; ".join(part for part in parts if part)
    return f"{head}: {rest}." if rest else f"{head}."


def assessed_text(findings: Sequence[Finding], complete: bool) -> str:
    """What leads every output: "9 of 9 assessed", or "3 of 9 assessed; run not finished"."""
    count = sum(finding.final_grade is not None for finding in findings)
    return f"{count} of {len(findings)} assessed" + ("" if complete else "; run not finished")


def methods_that_differ(finding: Finding) -> str:
    """Who says what where methods differ by a grade or more, such as "methods differ at L1: Morphometry 2, ..."."""
    graded = [(METHOD_NAMES.get(item.method, item.method), item.grade) for item in finding.evidence]
    said = ", ".join(f"{name} {grade}" for name, grade in graded if grade is not None)
    return f"methods differ at {finding.level}: {said}"


def largest_loss(finding: Finding) -> tuple[str, float] | None:
    """Position and size (fraction) of the largest height loss, None when nothing was measured."""
    known = {position: number(finding.height_loss.get(position)) for position in POSITIONS}
    losses = {position: loss for position, loss in known.items() if loss is not None}
    if not losses:
        return None
    position = max(losses, key=lambda name: losses[name])
    return position, losses[position]


def hypothesis_text(hypothesis: Hypothesis) -> str:
    """One answer of an undecided vertebra: "grade 2 if fracture (loss 29 %, 22-36)"."""
    interval = span(hypothesis.loss_interval_percent, 0)
    loss = "" if hypothesis.loss_percent is None else f"loss {fixed(hypothesis.loss_percent, 0)} %"
    if loss and interval:
        loss += f", {interval}"
    return f"{state_of_grade(hypothesis.grade)} if {hypothesis.cause}" + (f" ({loss})" if loss else "")


def _text(finding: Finding) -> str:
    if finding.excluded:
        return finding.exclusion_text
    grade = finding.final_grade
    if grade:
        return _deformity(finding, grade)
    if grade == 0:
        return _borderline(finding) if finding.final_state == BORDERLINE else _grade_0(finding)
    reason = reason_text(finding)
    if finding.state == UNDECIDED:
        answers = ", ".join(hypothesis_text(one) for one in finding.hypotheses)
        return f"{UNDECIDED}, {reason}: {answers}; the reader decides"
    if finding.state == TREATED:
        return f"{TREATED}, {reason}; {'confirmed by the reader' if finding.confirmed else 'the reader confirms'}"
    return f"{finding.state}: {reason}"


def _by_reader(finding: Finding) -> str:
    """That the state is the reader's, and which the program gave; empty where they are the same."""
    return f" by the reader (automatic: {finding.state})" if finding.changed_by_reader else ""


def _deformity(finding: Finding, grade: int) -> str:
    shape = "" if finding.deformity in ("", "none") else f"{finding.deformity} "
    kind = "vertebral fracture" if finding.confirmed else "deformity"
    text = f"{state_of_grade(grade)}{_by_reader(finding)}, {SEVERITY[grade]} {shape}{kind}"
    loss = largest_loss(finding)
    lost = _loss_text(finding, *loss) if loss is not None and loss[1] > 0 else ""
    return ", ".join(part for part in (text, lost, depression_text(finding)) if part)


def _borderline(finding: Finding) -> str:
    details = [finding.reason] if finding.state == BORDERLINE and finding.reason else []
    details += [text] if (text := depression_text(finding)) else []
    return f"{BORDERLINE}{_by_reader(finding)}: {MEANING[BORDERLINE]}{_details(finding, details)}"


def _grade_0(finding: Finding) -> str:
    """Grade 0; that no height is lost is said only where all three losses say so."""
    losses = [number(finding.height_loss.get(position)) for position in POSITIONS]
    lost = any(loss is not None and loss >= GRADE_BOUNDS[0] for loss in losses)
    known = all(loss is not None for loss in losses)
    text = f"{state_of_grade(0)}{_by_reader(finding)}"
    return (f"{text}, {MILDEST}" if known and not lost else text) + _details(finding, [])


def _details(finding: Finding, before: list[str]) -> str:
    """What else is known, in brackets, or after a comma where the reader's word has brackets already."""
    details, loss = list(before), largest_loss(finding)
    if loss is not None and loss[1] > 0 and not any(f"{loss[0]} loss" in one for one in before):
        details.append(f"largest: {_loss_text(finding, *loss)}")
    told = "; ".join(details)
    if not told:
        return ""
    return f", {told}" if finding.changed_by_reader else f" ({told})"


def _loss_text(finding: Finding, position: str, loss: float) -> str:
    interval = pair(at_position(finding, "loss_interval", position))
    bracket = "" if interval is None else f" ({percent(max(interval[0], 0.0))}-{percent(interval[1])})"
    return f"{position} loss {percent(loss)} %{bracket}"


def _worst(report: Report) -> str:
    """The worst grade among the assessed, or what can be said where none is of grade 1 or more."""
    summary = report.summary
    worst = summary["worst_grade"]
    if worst is None:
        return ""
    if worst:
        among = " among these" if has_more(report) else ""
        return f"worst grade {worst} ({SEVERITY[worst]}), {summary['n_grade2_or_more']} of grade 2 or more{among}"
    assessed = [finding for finding in report.findings if finding.final_grade == 0]
    losses = [largest_loss(finding) for finding in assessed]
    below = all(loss is not None and loss[1] < GRADE_BOUNDS[0] for loss in losses)
    if below and report.complete:
        return f"{MILDEST} in these"
    return "none of these of grade 1 or more"


def _index(report: Report) -> list[str]:
    """The spinal deformity index, and what stands outside it; nothing where no vertebra was assessed."""
    index = deformity_index(report.findings)
    if not report.summary["n_assessed"]:
        return []
    return [index.text, _listed(f"of grade 1 or more outside {RANGE}", list(index.outside))]


def has_more(report: Report) -> bool:
    """Whether there are vertebrae that do not count."""
    return not report.complete or report.summary["n_assessed"] < len(report.findings)


def _undecided_ones(report: Report) -> str:
    told = []
    for finding in report.findings:
        if finding.undecided:
            answers = ", ".join(f"{one.grade} if {one.cause}" for one in finding.hypotheses)
            told.append(f"{finding.level} ({answers})" if answers else finding.level)
    return _listed(UNDECIDED, told)


def _listed(what: str, levels: list[str]) -> str:
    return f"{what}: {', '.join(levels)}" if levels else ""
