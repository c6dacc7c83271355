"""Tests import their own helpers as ``rendering.*`` from this folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
# Bodies are found without a network unless a test asks for one: what the core does must not depend on weights.
os.environ["VERTEBRAL_GRADING_BODIES"] = "classical"
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes: it and what it starts use one core
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
