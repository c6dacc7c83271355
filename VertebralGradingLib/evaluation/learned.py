"""Networks that draw a vertebra at another grade, as they are compared with the warp without learning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.counterfactual.case import WarpCase
from VertebralGradingLib.counterfactual.corrected import Corrected
from VertebralGradingLib.counterfactual.toning import toned
from VertebralGradingLib.counterfactual.warp import Warp, carried, mask_on, picture
from VertebralGradingLib.errors import MaskError, MethodError
from VertebralGradingLib.evaluation.flat import Image, Mask
from VertebralGradingLib.evaluation.likeness import pseudo_healthy_patch
from VertebralGradingLib.evaluation.scenes import Scene
from VertebralGradingLib.morphometry.body import BodyMask
from VertebralGradingLib.morphometry.heights import measure
from VertebralGradingLib.spine.anatomy import axis_position

if TYPE_CHECKING:
    from VertebralGradingLib.diffusion_autoencoder.flow import LatentFlow
    from VertebralGradingLib.diffusion_autoencoder.head import WarpHead
    from VertebralGradingLib.diffusion_autoencoder.inference import Autoencoder
    from VertebralGradingLib.diffusion_autoencoder.refine import RefineConfig
    from VertebralGradingLib.healthivert.synthesis import ViewNetworks

HEAD, BOTH, SHUFFLED = "warp and head", "warp and noise predictor", "warp and noise predictor, latents shuffled"
HEAD_SHUFFLED = "warp and head, latents shuffled"


@dataclass(frozen=True, eq=False)
class Made:
    """A picture made out of a warp.

    Attributes:
        image: (128, 128) HU.
        heights_mm: (3,) of the mask it carries along, None where that stays as the warp has it.
    """

    image: Image
    heights_mm: NDArray[np.float64] | None = None


class Learned:
    """Networks, whichever there are.

    Args:
        before: the installed autoencoder, which also grades pictures.
        system: the same with a noise predictor that can be shown a warp.
        head: corrects warps.
        flow: moves latents.
        generators: of the sagittal view of HealthiVert-GAN.
        foreign: (N, 128, 128) HU patches of other people, whose latents are exchanged for the own ones.
        preset: of the autoencoder without a warp.
        refine: how a warped picture is redrawn.
    """

    def __init__(
        self,
        before: Autoencoder,
        foreign: NDArray[np.float32],
        system: Autoencoder | None = None,
        head: WarpHead | None = None,
        flow: LatentFlow | None = None,
        generators: ViewNetworks | None = None,
        preset: str = "fine",
        refine: RefineConfig | None = None,
    ) -> None:
        self.before, self.system, self.head, self.flow, self.generators = before, system, head, flow, generators
        self.preset, self.refine = preset, refine
        self.foreign = before.encode(foreign)
        self.on_warps = ([HEAD, HEAD_SHUFFLED] if head is not None else []) + (
            [BOTH, SHUFFLED] if system is not None else []
        )

    @classmethod
    def of_runs(
        cls,
        foreign: NDArray[np.float32],
        refine: Path | None = None,
        head: Path | None = None,
        flow: Path | None = None,
        preset: str = "fine",
    ) -> Learned:
        """The installed networks, and those of training runs.

        Raises:
            MethodError: no autoencoder is installed.
            InputError: a folder holds no run, or one of another encoder.
        """
        from VertebralGradingLib.diffusion_autoencoder import parts
        from VertebralGradingLib.diffusion_autoencoder.method import loaded
        from VertebralGradingLib.healthivert.method import loaded as healthivert

        before = loaded()[0]
        try:
            generators = healthivert()[0].views["sagittal"]
        except MethodError:
            generators = None
        return cls(
            before,
            foreign,
            None if refine is None else parts.with_denoiser(before, refine),
            None if head is None else parts.head_of(head),
            None if flow is None else parts.flow_of(flow),
            generators,
            preset,
        )

    def grade(self, image: Image) -> float:
        """Grade of a picture by its latent."""
        return float(self.before.grader.score(self.before.encode(np.asarray(image)[None]))[0])

    def on_warp(
        self,
        name: str,
        scene: Scene,
        case: WarpCase,
        warp: Warp,
        image: Image,
        mask: Mask,
        body: BodyMask,
    ) -> Made:
        """One of :attr:`on_warps`.

        Args:
            name: which.
            scene: whose vertebra is warped.
            case: of it.
            warp: to the wanted grade.
            image: (128, 128) HU warped.
            mask: the body in it.
            body: the true body as it is, which is carried along.
        """
        from VertebralGradingLib.diffusion_autoencoder.parts import correction
        from VertebralGradingLib.diffusion_autoencoder.refine import refined

        other = self._foreign_latent(scene) if name in (SHUFFLED, HEAD_SHUFFLED) else None
        score = case.warper.health.score_of(warp.reached_mm) if other is None else float(other[0])
        if name in (BOTH, SHUFFLED):
            assert self.system is not None
            return Made(refined(self.system, scene.image, image, mask, score, self.refine, other))
        assert self.head is not None
        bodies = np.where(mask, 1, 0)
        for label, neighbour in ((2, case.above), (3, case.below)):
            if neighbour is not None:
                bodies[mask_on(neighbour, scene.grid, warp.field)[..., 0] & ~mask] = label
        move = correction(
            self.before, self.head, scene.image, image, bodies, warp.field.flow_on(scene.grid), score, other
        )
        field = Corrected(warp.field, scene.grid, move)
        made = picture(case.ct, field, scene.grid)[..., 0]
        after = mask_on(case.warper.own.body, scene.grid, field)[..., 0]
        amount = case.toning(warp)
        if case.tone is not None and amount > 0.0:
            made = np.asarray(toned(made, after, case.tone, amount))
        try:
            return Made(made, measure(carried(body, field)).heights_mm)
        except MaskError:
            return Made(made, np.full(3, np.nan))

    def without_warp(self, scene: Scene, grade: float) -> dict[str, Image]:
        """Pictures at a grade by networks that draw all of it."""
        made: dict[str, Image] = {}
        systems = {"shipped autoencoder": self.before}
        if self.system is not None:
            systems["noise predictor alone"] = self.system
        for name, system in systems.items():
            (one,) = system.counterfactuals(scene.image, [grade], self.preset)
            made[name] = one.changed
        newest = self.system or self.before
        z = newest.encode(scene.image[None])[0]
        latents = {"noise predictor alone, latents shuffled": self._foreign_latent(scene)}
        if self.flow is not None:
            latents["noise predictor alone, moved by the flow"] = self.flow.moved(z, float(z[0]), grade)
        for name, wish in latents.items():
            made[name] = newest.drawn(scene.image, wish, self.preset)
        if grade == 0.0 and self.generators is not None:
            position = axis_position(scene.level)
            made["HealthiVert-GAN"] = pseudo_healthy_patch(self.generators, scene.image, scene.body, position)
        return made

    def _foreign_latent(self, scene: Scene) -> NDArray[np.float64]:
        rng = np.random.default_rng([int(scene.image.astype(np.int64).sum()) % (1 << 31), 7])
        return np.asarray(self.foreign[int(rng.integers(len(self.foreign)))])
