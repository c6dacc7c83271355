"""The trained system: sagittal and coronal generators, what they make of a vertebra, and the volume to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralGradingLib.errors import InputError, MethodError
from VertebralGradingLib.healthivert.attention import SliceClassifier
from VertebralGradingLib.healthivert.calibration import Calibration
from VertebralGradingLib.healthivert.fusion import DrawnStack, fused
from VertebralGradingLib.healthivert.network import Generator, GeneratorConfig
from VertebralGradingLib.healthivert.pseudo_healthy import Floats, PseudoHealthy, column_heights
from VertebralGradingLib.healthivert.rhlv import View
from VertebralGradingLib.healthivert.stacks import BodyFrame, stack_of
from VertebralGradingLib.healthivert.synthesis import ViewNetworks
from VertebralGradingLib.healthivert.volumes import PseudoHealthyVolumes, closed_volumes
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.models.loading import fitting
from VertebralGradingLib.models.registry import Model, find_model
from VertebralGradingLib.models.threads import leave_a_core
from VertebralGradingLib.models.weights import read_arrays
from VertebralGradingLib.morphometry.sheets import AHEAD_MM, LEFT_MM, Sheets
from VertebralGradingLib.spine.spine import Spine
from VertebralGradingLib.study import MeasuredVertebra

MODEL = "healthivert"
"""The model in the registry."""
VIEWS: tuple[View, ...] = ("sagittal", "coronal")


@dataclass(frozen=True, eq=False)
class Healthivert:
    """Generators in use.

    Attributes:
        views: networks of each view; one is enough.
        calibration: of the heights that they draw.
        sd_loss: standard deviation of a third's loss, of vertebrae that lost nothing.
        straight: whether they were trained on blocks straightened along the spine, as published.
    """

    views: Mapping[View, ViewNetworks]
    calibration: Calibration = field(default_factory=Calibration)
    sd_loss: float = 0.05
    straight: bool = False

    @classmethod
    def load(cls, model: Model | None = None) -> Healthivert:
        """The installed model, verified.

        Raises:
            MethodError: it is not installed, is damaged, or does not fit this program.
        """
        model = model or find_model(MODEL)
        card = model.verify()
        views: dict[View, ViewNetworks] = {}
        with fitting(model):
            for view in VIEWS:
                about = card.config[view]
                files = (read_arrays(model.path(f"{view}.safetensors")), read_arrays(model.path(classifier_file(view))))
                views[view] = _networks(about["network"], int(about["classifier"]), *files)
            calibration = Calibration.from_list(card.config["calibration"])
            sd_loss, straight = float(card.config["sd_loss"]), card.config.get("frame", "plane") == "straight"
            if not 0.0 < sd_loss < 1.0:
                raise ValueError("the spread of losses is none")
        leave_a_core()
        return cls(views, calibration, sd_loss, straight)

    @classmethod
    def of_runs(cls, folders: Mapping[View, Path]) -> Healthivert:
        """What training runs left, one folder for each view.

        Raises:
            InputError: a folder holds no finished run, or one of another view.
        """
        views: dict[View, ViewNetworks] = {}
        frames: set[str] = set()
        for view, folder in folders.items():
            try:
                told = json.loads((folder / "state.json").read_text(encoding="utf-8"))
                state = told["config"]
                files = (read_arrays(folder / "generator.safetensors"), read_arrays(folder / "classifier.safetensors"))
                views[view] = _networks(state["network"], int(state["classifier"]["width"]), *files)
                frames.add(state["slices"].get("frame", "plane"))
                if state["slices"].get("view", view) != view or len(frames) > 1 or told["step"] < state["steps"]:
                    raise ValueError("another view, slices of two kinds, or not finished")
            except (OSError, KeyError, TypeError, ValueError, RuntimeError, MethodError) as error:
                raise InputError(
                    f"The folder holds no trained {view} generators.",
                    "Give the folder that was given to train healthivert --out.",
                ) from error
        return cls(views, straight="straight" in frames)

    @property
    def size(self) -> int:
        """Rows and columns of a slice."""
        return next(iter(self.views.values())).generator.config.size

    def drawn(
        self,
        ct: Volume,
        chain: Sequence[MeasuredVertebra],
        number: int,
        broken: Sequence[bool],
        spine: Spine | None = None,
        step_mm: float | None = None,
    ) -> list[DrawnStack]:
        """Slices of every view through one vertebra, drawn.

        Args:
            ct: HU.
            chain: measured vertebrae, cranial to caudal.
            number: which of them.
            broken: which of them are made pseudo-healthy before their neighbours are.
            spine: theirs, for networks that want slices along its curve.
            step_mm: between slices; :data:`stacks.STEP_MM` by default.

        Raises:
            MaskError: no slice can be used.
        """
        frame, out = self._frame(chain[number], spine), []
        for view, networks in self.views.items():
            offsets = frame.offsets(view) if step_mm is None else frame.offsets(view, step_mm)
            stack = stack_of(ct, chain, number, broken, view, offsets, networks.generator.config.size, frame)
            out.append(networks.draw(stack))
        return out

    def _frame(self, item: MeasuredVertebra, spine: Spine | None) -> BodyFrame:
        frame = BodyFrame.of(item)
        if not self.straight:
            return frame
        if spine is None:
            raise MethodError("These networks want slices along the spine's curve.", "Give the spine.")
        return frame.straightened(spine, item.vertebra, self.size)

    def pseudo_healthy(
        self,
        ct: Volume,
        chain: Sequence[MeasuredVertebra],
        number: int,
        broken: Sequence[bool],
        spine: Spine | None = None,
    ) -> PseudoHealthy:
        """Heights of one vertebra and of its pseudo-healthy self; see :meth:`drawn`."""
        item = chain[number]
        assert item.measurement is not None  # the caller gives measured vertebrae
        stacks = self.drawn(ct, chain, number, broken, spine)
        return compared(item.vertebra.level, item.measurement.sheets, stacks, self.calibration)

    def volumes(
        self,
        ct: Volume,
        chain: Sequence[MeasuredVertebra],
        number: int,
        broken: Sequence[bool],
        spine: Spine | None = None,
        scale: float = 0.0,
    ) -> tuple[PseudoHealthy, PseudoHealthyVolumes]:
        """The same with slices of 1 mm, and the pseudo-healthy CT and body in patient space; see :meth:`drawn`.

        ``scale`` is taken off log heights (:func:`patient.patient_scale`).
        """
        item = chain[number]
        assert item.measurement is not None  # the caller gives measured vertebrae
        stacks = self.drawn(ct, chain, number, broken, spine, 1.0)
        calibration = replace(self.calibration, whole=self.calibration.whole + scale)
        found = compared(item.vertebra.level, item.measurement.sheets, stacks, calibration)
        return found, closed_volumes(ct, item, stacks, self.size, calibration, self._frame(item, spine))


def compared(
    level: str, sheets: Sheets, stacks: Sequence[DrawnStack], calibration: Calibration | None = None
) -> PseudoHealthy:
    """A body beside what was drawn of it, both measured in the same slices.

    Args:
        level: its name.
        sheets: its edges, in the frame in which the slices stand.
        stacks: drawn slices, of one view or both.
        calibration: of the heights that were drawn; none by default.
    """
    behind, left, u, v = places_mm(sheets)
    inside = np.isfinite(column_heights(sheets))
    own = fused([stack.as_it_is() for stack in stacks], behind, left).thickness_mm
    factor = (calibration or Calibration()).factor(u, v)
    healthy = fused(stacks, behind, left).scaled(factor).thickness_mm
    return PseudoHealthy(level, np.where(inside, own, np.nan), np.where(inside, healthy, np.nan))


def places_mm(sheets: Sheets) -> tuple[Floats, Floats, Floats, Floats]:
    """Where a sheet's columns and depths lie, behind and to the left of the middle of the body's box.

    Returns:
        in mm, and from -1 to 1 by half of the body.
    """
    columns, depths = (np.flatnonzero(sheets.valid.any(axis)) for axis in (1, 0))
    behind = AHEAD_MM[columns[[0, -1]]].mean() - AHEAD_MM
    left = LEFT_MM - LEFT_MM[depths[[0, -1]]].mean()
    return behind, left, behind / behind[columns[-1]], left / left[depths[-1]]


def classifier_file(view: View) -> str:
    """Name of a classifier's weights."""
    return f"{view}-classifier.safetensors"


def _networks(
    layout: Mapping[str, Any], width: int, generator: Mapping[str, Any], classifier: Mapping[str, Any]
) -> ViewNetworks:
    drawing, looking = Generator(GeneratorConfig.from_dict(layout)), SliceClassifier(width)
    drawing.load_state_dict(_tensors(generator))
    looking.load_state_dict(_tensors(classifier))
    return ViewNetworks(_ready(drawing), _ready(looking))


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.asarray(array, dtype=np.float32)) for name, array in arrays.items()}


def _ready(network: Any) -> Any:
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
