"""The few terminology entries the tests need, in the file format of Slicer's terminology lists.

Slicer's own lists are not part of the library the tests run on. The lists here carry the names of Slicer's lists but
hold only vertebrae and two other structures, with their SNOMED CT codes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MASTER = "Segmentation category and type - DICOM master list"
GENERAL = "Segmentation category and type - 3D Slicer General Anatomy list"
REGIONS = "Anatomic codes - DICOM master list"

_SCHEMA = "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc"
_TYPES = (("51299004", "Clavicle", (242, 206, 142)), ("272673000", "Bone", (241, 214, 145)))


def _code(value: str, meaning: str, **more: Any) -> dict[str, Any]:
    return {"CodeMeaning": meaning, "CodingSchemeDesignator": "SCT", "CodeValue": value, **more}


def write_terminologies(folder: Path) -> None:
    """Write the lists that the terminologies logic loads when it starts."""
    types = [_code(value, meaning, recommendedDisplayRGBValue=list(rgb)) for value, meaning, rgb in _TYPES]
    category = _code("123037004", "Anatomical Structure", showAnatomy=True, Type=types)
    region = _code("421060004", "Vertebral column")
    for name, stem in ((GENERAL, "SlicerGeneralAnatomy"), (MASTER, "DICOM-Master")):
        content: dict[str, Any] = {
            "SegmentationCategoryTypeContextName": name,
            "@schema": f"{_SCHEMA}/segment-context-schema.json#",
            "SegmentationCodes": {"Category": [category]},
        }
        (folder / f"SegmentationCategoryTypeModifier-{stem}.term.json").write_text(json.dumps(content))
    content = {
        "AnatomicContextName": REGIONS,
        "@schema": f"{_SCHEMA}/anatomic-context-schema.json#",
        "AnatomicCodes": {"AnatomicRegion": [region]},
    }
    (folder / "AnatomicRegionAndModifier-DICOM-Master.term.json").write_text(json.dumps(content))
