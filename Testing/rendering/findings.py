"""Findings of every state, as the tests of report and sentences need them."""

from __future__ import annotations

from typing import Any

from VertebralGradingLib.findings import POSITIONS, Evidence, Finding, Hypothesis, Report, not_reached
from VertebralGradingLib.findings.flags import FLAG_TEXT


def six_points(center: Any, heights: Any = (20.0, 22.0, 24.0)) -> tuple[tuple[float, float, float], ...]:
    r, a, s = center
    return tuple(
        (r, a + ahead, s + sign * height / 2)
        for ahead, height in zip((13.0, 0.0, -13.0), heights, strict=True)
        for sign in (1, -1)
    )


def finding(level: str = "L1", grade: int = 2, **changes: Any) -> Finding:
    center = tuple(changes.pop("center_ras_mm", (0.0, 16.0, 140.0)))
    loss = changes.pop("height_loss", {"anterior": 0.32, "middle": 0.2, "posterior": 0.02})
    quantities = {
        "reference_mm": {"anterior": 27.0, "middle": 26.0, "posterior": 28.0},
        "reference_sd_mm": {"anterior": 1.2, "middle": 1.2, "posterior": 1.1},
        "loss_interval": {position: [loss.get(position, 0) - 0.05, loss.get(position, 0) + 0.05] for position in loss},
        "trabecular_hu": 118.4,
        "depth_mm": None,
    }
    known: dict[str, Any] = {
        "score": 2.0,
        "grade_interval": (1.6, 2.3),
        "loss_percent": 32.0,
        "loss_interval_percent": (27.0, 37.0),
        "grade_probabilities": (0.01, 0.02, 0.95, 0.02),
        "deformity": "wedge",
        "points_ras_mm": six_points(center),
        "heights_mm": {"anterior": 18.4, "middle": 20.8, "posterior": 27.4},
        "height_loss": loss,
        "flags": ("mask_found",),
        "evidence": (Evidence("morphometry", grade, (1.6, 2.3), 2.0, quantities),),
    }
    return Finding(level, changes.pop("state", f"grade {grade}"), center, **{**known, **changes})


def not_assessed(level: str = "T12", reason: str = "cut_by_volume_edge") -> Finding:
    return Finding(level, "not assessed", (0.0, 13.0, 170.0), reason, flags=(reason,))


def borderline(level: str = "T9", reason: str = "chance of grade 1 or more 34 %", **changes: Any) -> Finding:
    loss = {"anterior": 0.17, "middle": 0.1, "posterior": 0.02}
    known: dict[str, Any] = {"height_loss": loss, "deformity": "none", "reason": reason, "state": "borderline"}
    return finding(level, **{**known, **changes})


def undecided(level: str = "T11", **changes: Any) -> Finding:
    """A focal defect alone makes the grade."""
    hypotheses = (
        Hypothesis("Schmorl node", 0, 4.0, (-3.0, 11.0), (1.0, 0.0, 0.0, 0.0)),
        Hypothesis("fracture", 2, 29.0, (22.0, 36.0), (0.0, 0.2, 0.8, 0.0)),
    )
    nothing: dict[str, Any] = dict.fromkeys(
        ("score", "grade_interval", "loss_percent", "loss_interval_percent", "grade_probabilities")
    )
    reason = "focal endplate defect (superior endplate, 13 mm AP x 13 mm LR, 5 mm deep)"
    known = {"state": "undecided", "reason": reason, "hypotheses": hypotheses, "deformity": "", **nothing}
    return finding(level, **{**known, **changes})


def treated(level: str = "L2", **changes: Any) -> Finding:
    return undecided(level, state="treated", reason=FLAG_TEXT["implant_or_cement"], hypotheses=(), **changes)


def report_of(*findings: Finding, **study: Any) -> Report:
    provenance = {"program": "VertebralGrading", "version": "0.1.0", "times_s": {"total": 1.234567}}
    return Report({"modality": "CT", "spacing_mm": [0.7, 0.7, 1.0], "complete": True, **study}, findings, provenance)


def stopped() -> Report:
    """Three sound vertebrae of nine; then the run was stopped."""
    sound = [finding(level, 0, height_loss=dict.fromkeys(POSITIONS, 0.01)) for level in ("T9", "T10", "T11")]
    rest = [not_reached(f"L{n}", (0.0, 16.0, 140.0)) for n in range(1, 7)]
    return report_of(*sound, *rest, complete=False)
