"""Names and order of vertebrae, and the numbering of public data sets. Pure standard library.

Sources: VerSe numbering from anjany/verse (README); TotalSegmentator v1 and v2 class tables from
wasserth/TotalSegmentator (README). Vertebrae are always mapped by name, never by number.
"""

from __future__ import annotations

import re

CERVICAL = tuple(f"C{i}" for i in range(1, 8))
THORACIC = tuple(f"T{i}" for i in range(1, 14))
LUMBAR = tuple(f"L{i}" for i in range(1, 7))
ORDER: tuple[str, ...] = (*CERVICAL, *THORACIC, *LUMBAR, "S1")
"""Every level from cranial to caudal; T13 and L6 are variants that most spines do not have."""

COMMON: tuple[str, ...] = tuple(level for level in ORDER if level not in ("T13", "L6"))
"""The levels of a spine without variants, cranial to caudal."""

GRADABLE: frozenset[str] = frozenset((*THORACIC, *LUMBAR))
"""Levels whose bodies are measured. Cervical bodies and the sacrum only help the curve."""

INDEX_LEVELS: tuple[str, ...] = COMMON[COMMON.index("T4") : COMMON.index("L4") + 1]
"""The 13 levels of the spinal deformity index, T4 to L4."""

VERSE: dict[int, str] = {
    **{i: f"C{i}" for i in range(1, 8)},
    **{i + 7: f"T{i}" for i in range(1, 13)},
    **{i + 19: f"L{i}" for i in range(1, 7)},
    26: "S1",
    28: "T13",
}

_TS_DESCENDING = (*(f"L{i}" for i in range(5, 0, -1)), *(f"T{i}" for i in range(12, 0, -1)), *reversed(CERVICAL))

TOTALSEGMENTATOR_V2: dict[int, str] = {
    26: "S1",
    **{27 + n: level for n, level in enumerate(_TS_DESCENDING)},
}

TOTALSEGMENTATOR_V1: dict[int, str] = {18 + n: level for n, level in enumerate(_TS_DESCENDING)}

NUMBERINGS: dict[str, dict[int, str]] = {
    "verse": VERSE,
    "totalsegmentator": TOTALSEGMENTATOR_V2,
    "totalsegmentator-v1": TOTALSEGMENTATOR_V1,
}

_NAME = re.compile(r"(?<![A-Za-z])(TH|[BLHS]WK?|[CTDLS])[ _]?(\d{1,2})(?![0-9A-Za-z])", re.IGNORECASE)
_PREFIX = {"TH": "T", "D": "T", **{f"{a}W{k}": b for a, b in ("BT", "LL", "HC", "SS") for k in ("", "K")}}


def parse_level(text: str) -> str | None:
    """Read a level out of a label such as ``"L1"``, ``"Th12"``, ``"vertebrae_T4"`` or ``"D7 body"``.

    Returns:
        The standard name ("T12"), or None when the text names no vertebra or more than one. Slicer's automatic
        names ("F-1", and "L-1" in a list called L) and bare numbers are not names.
    """
    found = set()
    for prefix, number in _NAME.findall(text.replace("_", " ")):
        letter = _PREFIX.get(prefix.upper(), prefix.upper())
        level = f"{letter}{int(number)}"
        if level in ORDER:
            found.add(level)
    return found.pop() if len(found) == 1 else None


def rank(level: str) -> int:
    """Position of a level in :data:`ORDER`, 0 for C1.

    Raises:
        KeyError: the level is not a standard name.
    """
    try:
        return ORDER.index(level)
    except ValueError:
        raise KeyError(level) from None


def axis_position(level: str) -> float:
    """Level as a number on one axis for curves over level: T1 = 1 .. T12 = 12, L1 = 13 .. L5 = 17, S1 = 18.

    Variants lie between their neighbours: T13 = 12.5, L6 = 17.5. Cervical levels count down from C7 = 0.
    """
    if level == "T13":
        return 12.5
    if level == "L6":
        return 17.5
    return float(COMMON.index(level) - COMMON.index("T1") + 1)


def levels_from(lowest: str, count: int) -> list[str]:
    """Names of ``count`` consecutive vertebrae, cranial to caudal, whose lowest is ``lowest``.

    Variants (T13, L6) are used only when ``lowest`` is itself one.

    Raises:
        ValueError: there are not that many vertebrae above ``lowest``.
    """
    chain = [level for level in ORDER if level in COMMON or level == lowest]
    end = chain.index(lowest) + 1
    if count > end:
        raise ValueError(f"there are no {count} vertebrae from C1 down to {lowest}")
    return chain[end - count : end]


def region(level: str) -> str:
    """Region of a level as published tables group them: T1-T5, T6-T9, T10-T12, L1-L4, L5, or the letter's name."""
    letter, number = level[0], int(level[1:])
    if letter == "T":
        return "T1-T5" if number <= 5 else "T6-T9" if number <= 9 else "T10-T12"
    if letter == "L":
        return "L1-L4" if number <= 4 else "L5"
    return "cervical" if letter == "C" else "sacral"
