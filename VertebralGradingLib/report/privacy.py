"""Nothing that could name a person, a date or a place on disk leaves with a report.

No part of the package puts such text into a report; this is the last look before it is written.
"""

from __future__ import annotations

import math
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import PurePath
from typing import Any

REMOVED = "[removed]"

_PATH = re.compile(
    r"""file:/.*                                # URL of a file
    | (?<![\w:/.<])(?:~|/[^\s/]+)(?:/[^/\n]+)+.* # POSIX, two parts or more, to the end: names hold spaces
    | \b[A-Za-z]:[\\/](?!/).*                   # Windows drive
    | \\\\[^\s\\]+\\.*                          # Windows share
    | [^\s/\\"']+\.(?:nii(?:\.gz)?|nrrd|nhdr|mha|mhd|dcm|ima|fcsv|mrk\.json)\b  # names of image files
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_DATE = re.compile(r"\b(?:19|20)\d\d(?:[-/.]\d\d?[-/.]\d\d?|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))\b")
_UID = re.compile(r"\b[0-2](?:\.\d+){5,}\b")
_KEYS = re.compile(r"patient|birth|accession|series_?uid|study_?uid|instance_?uid|user_?name|host_?name", re.IGNORECASE)


def without_private(value: Any) -> Any:
    """A copy of dataclasses, dicts, lists and texts in which paths, image file names, dates and UIDs read "[removed]".

    Entries whose key speaks of a patient, a user or an identifier are left out. Numbers of numpy become plain, and
    those that are not finite become None, so that the result can be written as JSON.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: without_private(getattr(value, f.name)) for f in fields(value)})
    if isinstance(value, dict):
        return {
            without_private(str(key)): without_private(item)
            for key, item in value.items()
            if not _KEYS.search(str(key))
        }
    if isinstance(value, (list, tuple)):
        return type(value)(without_private(item) for item in value)
    if isinstance(value, str):
        return _UID.sub(REMOVED, _DATE.sub(REMOVED, _PATH.sub(REMOVED, value)))
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return REMOVED
    if hasattr(value, "tolist"):
        return without_private(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
