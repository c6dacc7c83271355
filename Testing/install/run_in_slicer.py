"""Run inside Slicer by ``run_in_slicer.sh``: the module's self-test, and where module and library came from."""

import os
import shutil
from pathlib import Path

import slicer
import slicer.testing

results = Path(os.environ["RESULT_FOLDER"])
try:
    folder = Path(os.environ["MODULE_FOLDER"])
    loaded = Path(slicer.modules.vertebralgrading.path)  # Slicer found the module and could load it
    assert loaded.parent.samefile(folder), f"Slicer loaded {loaded}"

    slicer.testing.runUnitTest([str(folder)], "VertebralGrading")

    import VertebralGradingLib

    library = Path(VertebralGradingLib.__file__).parents[1]
    assert library.samefile(os.environ["LIBRARY_FOLDER"]), f"the library came from {library}"
    (results / "passed").touch()
finally:
    shutil.copyfile(slicer.app.errorLogModel().filePath, results / "slicer.log")
