"""Numbers of a finding as text, and where to find them. Missing or non-finite values become a dash."""

from __future__ import annotations

import math
from typing import Any

from VertebralGradingLib.findings import Finding
from VertebralGradingLib.findings.flags import FLAG_TEXT

MISSING = "–"
METHOD_NAMES = {
    "morphometry": "Morphometry",
    "neighbours": "Height loss against neighbours",
    "healthivert": "HealthiVert-GAN",
    "dae": "Diffusion autoencoder",
}


def number(value: Any) -> float | None:
    """A finite float, or None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None


def fixed(value: Any, digits: int = 1) -> str:
    """A number with so many decimals."""
    known = number(value)
    return MISSING if known is None else f"{round(known, digits) + 0.0:.{digits}f}"


def percent(fraction: Any) -> str:
    """A fraction in whole per cent, without the sign for per cent."""
    known = number(fraction)
    return MISSING if known is None else str(round(100 * known))


def pair(value: Any) -> tuple[float, float] | None:
    """Two finite numbers, or None."""
    try:
        low, high = (number(item) for item in value)
    except (TypeError, ValueError):
        return None
    return None if low is None or high is None else (low, high)


def span(value: Any, digits: int = 1) -> str:
    """An interval such as "1.6-2.3" or "-9 to 9", empty when missing."""
    known = pair(value)
    if known is None:
        return ""
    low, high = (f"{round(one, digits) + 0.0:.{digits}f}" for one in known)
    return f"{low}{' to ' if low.startswith('-') else '-'}{high}"


def graded_loss_text(finding: Finding) -> str:
    """The graded loss with its 90 % interval in per cent, such as "30 (22-37)"."""
    interval = span(finding.loss_interval_percent, 0)
    return fixed(finding.loss_percent, 0) + (f" ({interval})" if interval else "")


def chance_text(finding: Finding) -> str:
    """The chance of grade 1 or more, such as "97 %"."""
    chance = finding.chance_of_grade_1
    return MISSING if chance is None else f"{100 * chance:.0f} %"


def quantity(finding: Finding, name: str) -> Any:
    """A quantity of the evidence, of morphometry first, then of the other methods; None when no method has it."""
    evidence = sorted(finding.evidence, key=lambda item: item.method != "morphometry")
    return next((item.quantities[name] for item in evidence if item.quantities.get(name) is not None), None)


def at_position(finding: Finding, name: str, position: str) -> Any:
    """A quantity that has one value for each of anterior, middle and posterior."""
    values = quantity(finding, name)
    return values.get(position) if isinstance(values, dict) else None


def flag_text(flag: str) -> str:
    """A flag in words."""
    return FLAG_TEXT.get(flag, flag.replace("_", " "))


def reason_text(finding: Finding) -> str:
    """Why a vertebra has its state, in words."""
    return flag_text(finding.reason) if finding.reason else "no reason given"
