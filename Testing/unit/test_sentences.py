"""Findings in sentences: every state, what the reader decided, runs that stopped, and the word beside a colour."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rendering.findings import borderline, finding, not_assessed, report_of, stopped, treated, undecided

from VertebralGradingLib.findings import POSITIONS, Evidence, Finding, Reading, not_reached
from VertebralGradingLib.report.colors import caption, color_of
from VertebralGradingLib.report.sentences import sentence, summary_sentence


def test_sentence_of_a_deformity_gives_the_largest_loss_and_its_interval() -> None:
    assert sentence(finding()) == "L1: grade 2, moderate wedge deformity, anterior loss 32 % (27-37)."
    crush = {"anterior": 0.41, "middle": 0.45, "posterior": 0.3}
    assert sentence(finding("T8", 3, deformity="crush", height_loss=crush)) == (
        "T8: grade 3, severe crush deformity, middle loss 45 % (40-50)."
    )


def test_a_deformity_is_a_fracture_once_the_reader_has_confirmed_it() -> None:
    assert sentence(finding(reading=Reading(confirmed=True))) == (
        "L1: grade 2, moderate wedge vertebral fracture, anterior loss 32 % (27-37)."
    )


def test_sentence_of_grade_0_says_no_loss_only_where_there_is_none() -> None:
    small = {"anterior": 0.02, "middle": 0.08, "posterior": 0.0}
    assert sentence(finding("T9", 0, deformity="none", height_loss=small)) == (
        "T9: grade 0, no height loss of 20 % or more (largest: middle loss 8 % (3-13))."
    )
    taller = dict.fromkeys(POSITIONS, -0.1)
    assert sentence(finding("T9", 0, height_loss=taller)) == "T9: grade 0, no height loss of 20 % or more."
    low = {"anterior": 0.02, "middle": 0.08, "posterior": 0.25}
    assert sentence(finding("L5", 0, height_loss=low)) == "L5: grade 0 (largest: posterior loss 25 % (20-30))."


def test_sentence_of_borderline_says_why() -> None:
    assert sentence(borderline()) == (
        "T9: borderline: below grade 1, which cannot be excluded; compare Genant 0.5 "
        "(chance of grade 1 or more 34 %; largest: anterior loss 17 % (12-22))."
    )
    low = {"anterior": 0.02, "middle": 0.08, "posterior": 0.25}
    text = sentence(borderline(reason="posterior loss 25 %", height_loss=low))
    assert text.endswith("compare Genant 0.5 (posterior loss 25 %).")


def test_sentence_of_what_was_not_assessed_gives_the_reason_in_words() -> None:
    assert sentence(not_assessed()) == "T12: not assessed: cut by the edge of the volume."
    assert sentence(not_assessed("T7", "the mask is too ragged")) == "T7: not assessed: the mask is too ragged."
    assert sentence(not_reached("L4", (0.0, 0.0, 0.0))) == "L4: not reached: the run stopped before it."


def test_sentence_of_an_undecided_vertebra_tells_both_answers() -> None:
    assert sentence(undecided()) == (
        "T11: undecided, focal endplate defect (superior endplate, 13 mm AP x 13 mm LR, 5 mm deep): "
        "grade 0 if Schmorl node (loss 4 %, -3 to 11), grade 2 if fracture (loss 29 %, 22-36); the reader decides."
    )
    report = report_of(finding("T10", 0, height_loss=dict.fromkeys(POSITIONS, 0.02)), undecided())
    assert summary_sentence(report) == (
        "1 of 2 assessed: no height loss of 20 % or more in these; spinal deformity index at least 0 (1 of 13 levels); "
        "undecided: T11 (0 if Schmorl node, 2 if fracture)."
    )


def test_sentence_of_a_treated_body_waits_for_the_reader() -> None:
    assert sentence(treated()) == "L2: treated, metal or cement in or near the body; the reader confirms."
    assert sentence(treated(reading=Reading(confirmed=True))).endswith("; confirmed by the reader.")
    assert "treated: L2" in summary_sentence(report_of(treated()))


def test_sentences_do_without_missing_quantities() -> None:
    bare = finding(evidence=(Evidence("morphometry", 2, None, None, {"loss_interval": None}),), grade_interval=None)
    assert sentence(bare) == "L1: grade 2, moderate wedge deformity, anterior loss 32 %."
    assert sentence(replace(bare, height_loss={}, score=None)) == "L1: grade 2, moderate wedge deformity."
    assert "nan" not in sentence(replace(bare, height_loss=dict.fromkeys(POSITIONS, float("nan")), score=float("nan")))


def test_summary_sentence() -> None:
    report = report_of(finding("L1", 2), finding("L2", 1), not_assessed())
    assert summary_sentence(report) == (
        "2 of 3 assessed: worst grade 2 (moderate), 1 of grade 2 or more among these; "
        "spinal deformity index at least 3 (2 of 13 levels); not assessed: T12."
    )
    whole = report_of(finding("L1", 2), borderline())
    assert summary_sentence(whole) == (
        "2 of 2 assessed: worst grade 2 (moderate), 1 of grade 2 or more; "
        "spinal deformity index at least 2 (2 of 13 levels); borderline: T9."
    )
    low = finding("L5", 0, height_loss={"anterior": 0.0, "middle": 0.0, "posterior": 0.3})
    assert summary_sentence(report_of(low)) == (
        "1 of 1 assessed: none of these of grade 1 or more; no spinal deformity index (0 of 13 levels)."
    )
    assert summary_sentence(report_of()) == "0 of 0 assessed."
    assert summary_sentence(report_of(not_assessed())) == "0 of 1 assessed: not assessed: T12."


def test_a_run_that_stopped_says_so_first_and_promises_nothing() -> None:
    assert summary_sentence(stopped()) == (
        "3 of 9 assessed; run not finished: none of these of grade 1 or more; "
        "spinal deformity index at least 0 (3 of 13 levels); not reached: L1, L2, L3, L4, L5, L6."
    )


def test_methods_that_differ_stand_in_the_headline_with_who_says_what() -> None:
    one = finding()
    one = replace(one, evidence=(*one.evidence, Evidence("dae", 0, (0.0, 0.4), 0.1)))
    assert summary_sentence(report_of(one)).endswith("; methods differ at L1: Morphometry 2, Diffusion autoencoder 0.")


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (finding(reading=Reading("grade 2")), "L1: grade 2, moderate wedge deformity, anterior loss 32 % (27-37)."),
        (
            finding(reading=Reading("grade 1")),
            "L1: grade 1 by the reader (automatic: grade 2), mild wedge deformity, anterior loss 32 % (27-37).",
        ),
        (
            finding(reading=Reading("grade 0")),
            "L1: grade 0 by the reader (automatic: grade 2), largest: anterior loss 32 % (27-37).",
        ),
        (
            replace(not_assessed(), reading=Reading("grade 3")),
            "T12: grade 3 by the reader (automatic: not assessed), severe deformity.",
        ),
        (finding(reading=Reading("grade 1", "Schmorl node")), "L1: excluded by the reader (Schmorl node)."),
        (
            replace(not_assessed(), reading=Reading(exclusion="image quality")),
            "T12: excluded by the reader (image quality).",
        ),
    ],
)
def test_sentence_says_what_the_reader_decided(one: Finding, text: str) -> None:
    assert sentence(one) == text


def test_an_undecided_vertebra_is_open_until_the_reader_decides() -> None:
    assert "the reader decides" in sentence(undecided())
    assert "undecided: T11" in summary_sentence(report_of(undecided()))
    assert sentence(undecided(reading=Reading(exclusion="Schmorl node"))) == (
        "T11: excluded by the reader (Schmorl node)."
    )
    decided = undecided(reading=Reading("grade 2"))
    assert sentence(decided).startswith("T11: grade 2 by the reader (automatic: undecided), moderate deformity")
    assert "undecided:" not in summary_sentence(report_of(decided))


def test_summary_sentence_says_what_the_reader_decided() -> None:
    report = report_of(
        finding("T9", 3, reading=Reading(exclusion="degenerative")),
        finding("T10", 0),
        finding("T11", 0, reading=Reading("grade 1")),
        not_assessed("T12"),
        finding("L1", 2, reading=Reading("grade 2")),
    )
    assert summary_sentence(report) == (
        "3 of 5 assessed: worst grade 2 (moderate), 1 of grade 2 or more among these; "
        "spinal deformity index at least 3 (3 of 13 levels); not assessed: T12; excluded by the reader: T9; "
        "changed by the reader: T11."
    )
    alone = report_of(finding("T9", 3, reading=Reading(exclusion="degenerative")))
    assert summary_sentence(alone) == "0 of 1 assessed: excluded by the reader: T9."


def test_colour_and_caption_follow_the_final_state() -> None:
    cases = [
        (finding(), "grade 2", "grade 2"),
        (finding(reading=Reading("grade 2")), "grade 2", "grade 2"),
        (finding(reading=Reading("grade 0")), "grade 0", "grade 0 (reader)"),
        (finding(reading=Reading("borderline")), "borderline", "borderline (reader)"),
        (replace(not_assessed(), reading=Reading("grade 3")), "grade 3", "grade 3 (reader)"),
        (finding(reading=Reading(exclusion="Schmorl node")), "not assessed", "excluded"),
        (not_assessed(), "not assessed", "not assessed"),
        (undecided(), "undecided", "undecided"),
        (treated(), "treated", "treated"),
        (undecided(reading=Reading("grade 1")), "grade 1", "grade 1 (reader)"),
    ]
    assert [(color_of(one).state, caption(one)) for one, _, _ in cases] == [(key, text) for _, key, text in cases]
