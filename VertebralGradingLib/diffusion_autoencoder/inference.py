"""The trained system: patches to latents, to noise and back, and what a vertebra would look like at another grade."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from VertebralGradingLib.diffusion_autoencoder import VOI_MM
from VertebralGradingLib.diffusion_autoencoder.latent import TOP, LatentGrader
from VertebralGradingLib.diffusion_autoencoder.network import AutoencoderConfig, NoisePredictor, SemanticEncoder
from VertebralGradingLib.diffusion_autoencoder.patches import finer, to_hu, to_network
from VertebralGradingLib.diffusion_autoencoder.sampler import DECODERS, PRESETS, Preset, ddim_encode
from VertebralGradingLib.errors import InputError, MethodError
from VertebralGradingLib.models.loading import fitting
from VertebralGradingLib.models.registry import Model, find_model
from VertebralGradingLib.models.threads import leave_a_core
from VertebralGradingLib.models.weights import read_arrays
from VertebralGradingLib.spine.reformation import PATCH_SIZE

MODEL = "diffusion-autoencoder"
"""The model in the registry."""
FILES = {"encoder": "encoder.safetensors", "denoiser": "denoiser.safetensors", "latent": "latent.safetensors"}
AIR_HU = -250.0
"""Darker than this, in the window, is air or lung (sheet 1 says -500 HU; the window ends at -300)."""
NEW_AIR_MM2 = 30.0
OUTSIDE_SHARE = 0.30
"""Of the change's energy, beyond which it is said that more than this vertebra changed (sheet 1, section 8)."""
_KEPT = 8
"""Patches whose noise is remembered."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """One vertebra as it is and as it would look at another grade.

    Images are HU at 1 mm, in the window, (128, 128) or what of it the network sees.

    Attributes:
        original: the patch, as the network sees it.
        decoded: the patch taken to noise and back unchanged: what the counterfactual is compared with.
        changed: the same noise decoded with the moved latent.
        score: continuous grade of the patch.
        wanted: the grade that was asked for.
        reached: continuous grade of ``changed``, encoded again.
        new_air_mm2: area that became air.
        outside_share: share of the change's energy outside of the vertebra of interest.
        psnr_db: of ``decoded`` against ``original``.
        warnings: "new_air", "changes_elsewhere".
    """

    original: NDArray[np.float32]
    decoded: NDArray[np.float32]
    changed: NDArray[np.float32]
    score: float
    wanted: float
    reached: float
    new_air_mm2: float
    outside_share: float
    psnr_db: float
    warnings: tuple[str, ...]

    @property
    def difference(self) -> NDArray[np.float32]:
        """(128, 128) HU: what the move of the latent changed, free of what inversion lost."""
        return self.changed - self.decoded


class PatchEncoder:
    """From patches to latents.

    Args:
        config: layout of the network.
        encoder: patch -> z_sem.
        device: where it runs.
        labelled: whether it was trained with labels, so that the first number of a latent is a score.
    """

    def __init__(
        self, config: AutoencoderConfig, encoder: SemanticEncoder, device: str = "cpu", labelled: bool = False
    ) -> None:
        self.config, self.device, self.labelled = config, device, labelled
        self.encoder = _ready(encoder, device)

    @classmethod
    def of_run(cls, folder: Path, device: str = "cpu") -> PatchEncoder:
        """The encoder that a training run left (``state.json`` and ``encoder.safetensors``).

        Raises:
            InputError: the folder holds none.
        """
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            config = AutoencoderConfig.from_dict(state["config"]["network"])
            labelled = float(state["config"].get("labels", 0.0)) > 0.0
            encoder = SemanticEncoder(config)
            encoder.load_state_dict(_tensors(read_arrays(folder / FILES["encoder"])))
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, MethodError) as error:
            raise InputError(
                "The folder holds no trained encoder.", "Give the folder that was given to train dae --out."
            ) from error
        return cls(config, encoder, device, labelled)

    def seen(self, hu: NDArray[Any]) -> Tensor:
        """(B, 128, 128) HU -> (B, 1, size, size) in -1..1."""
        x = torch.from_numpy(np.ascontiguousarray(hu, dtype=np.float32))[:, None].to(self.device)
        return to_network(x, self.config.size, self.config.spacing_mm)

    @torch.inference_mode()
    def encode(self, hu: NDArray[Any], batch: int = 32) -> NDArray[np.float64]:
        """(B, 128, 128) HU -> (B, L) latents."""
        return np.concatenate([self.encode_seen(self.seen(hu[k : k + batch])) for k in range(0, len(hu), batch)])

    @torch.inference_mode()
    def encode_seen(self, x: Tensor) -> NDArray[np.float64]:
        """(B, 1, size, size) in -1..1 -> (B, L) latents."""
        return np.asarray(self.encoder(x).double().cpu().numpy())


class Autoencoder(PatchEncoder):
    """Encoder, noise predictor and latent grader, in use.

    Args:
        config: layout of the networks.
        encoder: patch -> z_sem.
        denoiser: (x, time, z) -> noise; None where only grades are wanted.
        grader: fitted to latents of this encoder.
        device: where the networks run.
        strength: how far the noise predicted for a moved latent is taken beyond that of the own one; 1 for no more than
            it says (guidance as in Ho and Salimans 2022, with the own latent in the place of none).
    """

    def __init__(
        self,
        config: AutoencoderConfig,
        encoder: SemanticEncoder,
        denoiser: NoisePredictor | None,
        grader: LatentGrader,
        device: str = "cpu",
        strength: float = 1.0,
    ) -> None:
        super().__init__(config, encoder, device, labelled=bool(grader.way[0] == 1.0))
        self.grader, self.strength = grader, strength
        self.denoiser = None if denoiser is None else _ready(denoiser, device)
        self._noise: OrderedDict[tuple[bytes, int], Tensor] = OrderedDict()

    @classmethod
    def load(cls, device: str = "cpu", decode: bool = True, model: Model | None = None) -> Autoencoder:
        """The installed model, verified.

        Args:
            device: where to run.
            decode: whether the noise predictor is wanted too.
            model: instead of the one that is found by name.

        Raises:
            MethodError: it is not installed, is damaged, or does not fit this program.
        """
        model = model or find_model(MODEL)
        card = model.verify()
        with fitting(model):
            config = AutoencoderConfig.from_dict(card.config["network"])
            encoder = SemanticEncoder(config)
            encoder.load_state_dict(_tensors(read_arrays(model.path(FILES["encoder"]))))
            denoiser = None
            if decode:
                denoiser = NoisePredictor(config)
                denoiser.load_state_dict(_tensors(read_arrays(model.path(FILES["denoiser"]))))
            latent = LatentGrader.from_arrays(read_arrays(model.path(FILES["latent"])), str(card.config["calibration"]))
            strength = float(card.config.get("strength", 1.0))
            if len(latent.mean) != config.latent or not 1.0 <= strength <= 10.0:
                raise ValueError("the grader was fitted to latents of another encoder, or the strength is none")
        leave_a_core()
        return cls(config, encoder, denoiser, latent, device, strength)

    def invert(self, hu: NDArray[Any], z: NDArray[Any], steps: int, progress: Progress | None = None) -> Tensor:
        """x_T of one patch (128, 128) and its latent; computed once for each patch and number of steps."""
        key = (np.ascontiguousarray(hu, dtype=np.float32).tobytes(), steps)
        if key not in self._noise:
            self._noise[key] = ddim_encode(self._predictor(z[None]), self.seen(hu[None]), steps, progress=progress)
            while len(self._noise) > _KEPT:
                self._noise.popitem(last=False)
        self._noise.move_to_end(key)
        return self._noise[key]

    def decode(
        self, noise: Tensor, z: NDArray[Any], preset: Preset, progress: Progress | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images of latents (B, L) from the same noise (1, 1, size, size): as the networks see them, and as told.

        The first latent is the patch's own; the others are drawn with :attr:`strength`.
        """
        start = noise.expand(len(z), -1, -1, -1)
        x = DECODERS[preset.decode_solver](self._guided(z), start, preset.decode_steps, progress=progress)
        return x, to_hu(finer(x, self.config.spacing_mm))

    def drawn(self, hu: NDArray[Any], wish: NDArray[Any], preset: str = "live") -> NDArray[np.float32]:
        """A patch (128, 128) HU with the noise it comes from, drawn from another latent (L,), at 1 mm in the window."""
        how = PRESETS[preset]
        z = self.encode(hu[None])[0]
        _, shown = self.decode(self.invert(hu, z, how.encode_steps), np.stack([z, wish]), how)
        return np.asarray(shown[1, 0].cpu().numpy(), dtype=np.float32)

    def counterfactuals(
        self,
        hu: NDArray[Any],
        wanted: NDArray[Any] | list[float],
        preset: str = "live",
        project: bool = True,
        inside: NDArray[np.bool_] | None = None,
        progress: Progress | None = None,
    ) -> list[Counterfactual]:
        """One vertebra at several grades.

        Args:
            hu: (128, 128) sagittal patch at 1 mm.
            wanted: grades 0..3, continuous.
            preset: one of :data:`sampler.PRESETS`.
            project: see :meth:`LatentGrader.moved`.
            inside: where the vertebra is, of the images' shape; a box around the middle where None.
            progress: called with (steps done, steps).

        Raises:
            InputError: a grade outside of 0..3, an unknown preset, or a patch of another size.
            MethodError: there is no noise predictor.
        """
        grades = np.asarray(wanted, dtype=float)
        if not (np.isfinite(grades).all() and (grades >= 0).all() and (grades <= TOP).all()):
            raise InputError("The grade wanted is not between 0 and 3.", "Choose 0 to 3; parts are allowed.")
        if preset not in PRESETS:
            raise InputError(f"There is no preset {preset!r}.", f"Choose one of: {', '.join(PRESETS)}.")
        edge = int(self.config.size * self.config.spacing_mm)
        if hu.shape != (PATCH_SIZE, PATCH_SIZE) or not np.isfinite(hu).all():
            raise InputError(
                f"The patch is not {PATCH_SIZE} x {PATCH_SIZE} pixels of 1 mm.", "Cut it with sagittal_patch."
            )
        if not len(grades):
            raise InputError("No grade was asked for.", "Choose 0 to 3; parts are allowed.")
        how = PRESETS[preset]
        total = how.encode_steps + how.decode_steps
        z = self.encode(hu[None])[0]
        noise = self.invert(hu, z, how.encode_steps, _stage(progress, 0, total))
        moved = np.stack([z, *(self.grader.moved(z, float(g), project) for g in grades)])
        seen, shown = self.decode(noise, moved, how, _stage(progress, how.encode_steps, total))
        reached = np.atleast_1d(self.grader.score(self.encode_seen(seen[1:])))
        original = to_hu(finer(self.seen(hu[None]), self.config.spacing_mm))[0, 0].cpu().numpy()
        images = shown[:, 0].cpu().numpy()
        score = float(self.grader.score(z))
        inside = box(edge) if inside is None else inside
        return [
            _described(original, images[0], image, inside, (score, float(g), float(r)))
            for image, g, r in zip(images[1:], grades, reached, strict=True)
        ]

    def _guided(self, z: NDArray[Any]) -> Callable[[Tensor, Tensor], Tensor]:
        if self.strength == 1.0:
            return self._predictor(z)
        count = len(z)
        both = self._predictor(np.concatenate([z, np.repeat(z[:1], count - 1, 0)]))

        def predict(x: Tensor, time: Tensor) -> Tensor:
            seen = both(torch.cat([x, x[1:]]), torch.cat([time, time[1:]]))
            plain, usual = seen[:count], torch.cat([seen[:1], seen[count:]])
            return usual + self.strength * (plain - usual)

        return predict

    @torch.inference_mode()
    def _predictor(self, z: NDArray[Any]) -> Callable[[Tensor, Tensor], Tensor]:
        """Noise of (x, time) with latents (B, L), whose guiding picture is drawn once for all steps."""
        if self.denoiser is None:
            raise MethodError("The part of the model that draws images is not loaded.", "Load it with decode=True.")
        denoiser = self.denoiser
        latent = torch.from_numpy(np.asarray(z, dtype=np.float32)).to(self.device)
        drawn = None if denoiser.guide is None else denoiser.guide(latent)
        return lambda x, time: denoiser(x.contiguous(memory_format=torch.channels_last), time, latent, drawn)


def box(edge: int) -> NDArray[np.bool_]:
    """(edge, edge) the box of :data:`VOI_MM` around the middle."""
    offset = np.abs(np.arange(edge) - (edge - 1) / 2)
    return np.outer(offset <= VOI_MM[0] / 2, offset <= VOI_MM[1] / 2)


def _described(
    original: NDArray[np.float32],
    decoded: NDArray[np.float32],
    changed: NDArray[np.float32],
    inside: NDArray[np.bool_],
    grades: tuple[float, float, float],
) -> Counterfactual:
    energy = np.square(changed - decoded)
    outside = float(energy[~inside].sum() / max(float(energy.sum()), 1e-6))
    air = float(((changed < AIR_HU) & (decoded >= AIR_HU) & (original >= AIR_HU)).sum())
    warnings = []
    if air > NEW_AIR_MM2:
        warnings.append("new_air")
    if outside > OUTSIDE_SHARE:
        warnings.append("changes_elsewhere")
    error = float(np.square((decoded - original) / 550.0).mean())
    psnr = 10.0 * float(np.log10(4.0 / max(error, 1e-12)))
    score, wanted, reached = grades
    return Counterfactual(original, decoded, changed, score, wanted, reached, air, outside, psnr, tuple(warnings))


def _stage(progress: Progress | None, before: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(before + done, total)


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(array, dtype=np.float32)) for name, array in arrays.items()}


def _ready(network: Any, device: str) -> Any:
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
