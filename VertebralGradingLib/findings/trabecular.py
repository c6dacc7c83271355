"""CT number of trabecular bone for the head of a report: of L1 where it is unfractured, else of its neighbours.

The CT number is no bone density, and nothing is concluded from it. The published reading aids are told as text, for L1
alone: Pickhardt et al., Ann Intern Med 2013;158:588 (1867 adults, abdominal CT, 120 kVp, region of interest in an axial
slice of L1, osteoporosis by DXA).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from VertebralGradingLib.findings.flags import CUT
from VertebralGradingLib.findings.states import state_of_grade

if TYPE_CHECKING:
    from VertebralGradingLib.findings import Finding

SENSITIVE_HU, SPECIFIC_HU, AIDS_KV = 160, 110, 120
"""CT numbers of L1, and the tube voltage they hold for (Pickhardt et al. 2013)."""
FIRST_CHOICE, OTHERS = "L1", ("T12", "L2", "L3")
"""Whose CT number is told, and whose mean where that one cannot be."""
_UNSOUND = frozenset(("implant_or_cement", CUT))


@dataclass(frozen=True)
class Trabecular:
    """CT number of trabecular bone of one study.

    Attributes:
        hu: mean over the trabecular core, and over ``levels``.
        levels: L1 alone, or those of T12, L2 and L3 that are unfractured.
        tube_voltage_kv: of the CT, None where the source does not tell.
    """

    hu: float
    levels: tuple[str, ...]
    tube_voltage_kv: float | None = None

    @property
    def title(self) -> str:
        """Whose number it is: "L1 trabecular", or "mean trabecular of T12, L2"."""
        if self.levels == (FIRST_CHOICE,):
            return f"{FIRST_CHOICE} trabecular"
        return f"{'mean trabecular' if len(self.levels) > 1 else 'trabecular'} of {', '.join(self.levels)}"

    @property
    def voltage(self) -> str:
        """The tube voltage in words."""
        if self.tube_voltage_kv is None:
            return "tube voltage not known"
        return f"tube voltage {self.tube_voltage_kv:g} kVp"

    @property
    def aids(self) -> str:
        """The published reading aids, or why they do not apply; empty without L1."""
        if self.levels != (FIRST_CHOICE,):
            return ""
        if self.tube_voltage_kv not in (None, AIDS_KV):
            return f"The published reading aids are for {AIDS_KV} kVp and do not apply."
        return (
            f"Published reading aids, at {AIDS_KV} kVp in an axial region of interest of L1 (Pickhardt 2013): "
            f"{SENSITIVE_HU} HU or less was 90 % sensitive, {SPECIFIC_HU} HU or less more than 90 % specific for "
            "osteoporosis by DXA. Here it is the mean of the whole trabecular core."
        )

    @property
    def text(self) -> str:
        """All of it, such as "L1 trabecular 134 HU (tube voltage not known; ...). Published reading aids ..."."""
        caveat = "contrast medium raises it; no bone density, no diagnosis"
        head = f"{self.title[0].upper()}{self.title[1:]}"
        return f"{head} {self.hu:.0f} HU ({self.voltage}; {caveat}). {self.aids}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "hu": self.hu,
            "levels": list(self.levels),
            "tube_voltage_kv": self.tube_voltage_kv,
            "text": self.text,
        }


def trabecular(findings: Sequence[Finding], study: Mapping[str, Any]) -> Trabecular | None:
    """CT number for the head of a report, None where no vertebra of T12 to L3 can tell it.

    Only vertebrae of final state grade 0 count, with no metal or cement noticed: a fracture compacts bone, and a
    borderline vertebra may have one.

    Args:
        findings: of one study.
        study: what was read; ``tube_voltage_kv`` where the source tells it.
    """
    known = {finding.level: value for finding in findings if (value := _own(finding)) is not None}
    levels = (FIRST_CHOICE,) if FIRST_CHOICE in known else tuple(level for level in OTHERS if level in known)
    if not levels:
        return None
    mean = sum(known[level] for level in levels) / len(levels)
    return Trabecular(round(mean, 1), levels, study.get("tube_voltage_kv"))


def _own(finding: Finding) -> float | None:
    said = finding.evidence_of("morphometry")
    if said is None or finding.excluded or finding.final_state != state_of_grade(0) or _UNSOUND & set(finding.flags):
        return None
    value = said.quantities.get("trabecular_hu")
    return None if value is None else float(value)
