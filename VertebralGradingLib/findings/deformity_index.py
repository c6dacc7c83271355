"""The spinal deformity index: the sum of Genant's grades over T4-L4.

Source: Crans et al., Bone 2005;37:175 (grades of T4 to L4 added up). Levels that were not assessed are not grade 0, so
that the sum over the others is a least value; levels outside T4-L4 do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from VertebralGradingLib.spine.anatomy import INDEX_LEVELS, ORDER

if TYPE_CHECKING:
    from VertebralGradingLib.findings import Finding

RANGE = f"{INDEX_LEVELS[0]}-{INDEX_LEVELS[-1]}"
OUTSIDE = f"outside the standard range {RANGE}"


@dataclass(frozen=True)
class DeformityIndex:
    """The index of one study.

    Attributes:
        value: the sum, None where levels are not named or none of T4-L4 was assessed.
        n_levels: how many of the 13 levels it covers.
        outside: levels of final grade 1 or more that do not count, being outside T4-L4.
        named: whether all levels are known.
    """

    value: int | None
    n_levels: int
    outside: tuple[str, ...] = ()
    named: bool = True

    @property
    def complete(self) -> bool:
        """Whether all 13 levels were assessed, so that the sum is the index and not a least value."""
        return self.n_levels == len(INDEX_LEVELS)

    @property
    def number(self) -> str:
        """The value alone: "3", "at least 3", or "none"."""
        if self.value is None:
            return "none"
        return str(self.value) if self.complete else f"at least {self.value}"

    @property
    def coverage(self) -> str:
        """What it covers: "8 of 13 levels", or why there is none."""
        if not self.named:
            return "levels are not named"
        return f"{self.n_levels} of {len(INDEX_LEVELS)} levels"

    @property
    def text(self) -> str:
        """The one phrase for all outputs, such as "spinal deformity index at least 3 (8 of 13 levels)"."""
        if self.value is None:
            return f"no spinal deformity index ({self.coverage})"
        return f"spinal deformity index {self.number} ({self.coverage})"


def deformity_index(findings: Sequence[Finding]) -> DeformityIndex:
    """Index of a study by final grades; borderline counts as 0, what the reader excludes does not count."""
    if any(finding.level not in ORDER for finding in findings):
        return DeformityIndex(None, 0, named=False)
    counted = [finding.final_grade for finding in findings if counts(finding)]
    grades = [grade for grade in counted if grade is not None]
    outside = tuple(finding.level for finding in findings if stands_outside(finding))
    return DeformityIndex(sum(grades) if grades else None, len(grades), outside)


def counts(finding: Finding) -> bool:
    """Whether a vertebra's grade is part of the index."""
    return finding.level in INDEX_LEVELS and finding.final_grade is not None


def stands_outside(finding: Finding) -> bool:
    """Whether a named vertebra of final grade 1 or more is left out of the index by its level."""
    return finding.level in ORDER and finding.level not in INDEX_LEVELS and bool(finding.final_grade)
