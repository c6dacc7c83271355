"""Counterfactuals against the truth: the same synthetic vertebra, in the same place and scanner, at another grade.

A fractured vertebra at grade 0 is compared with its own image before the fracture; a healthy one at grades 1 to 3 with
itself broken in each of Genant's shapes, of which the nearest counts and is named. All images are seen as the network
sees them, and brought over each other by whole pixels first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.counterfactual.reading import FlatBody, flat_body
from VertebralGradingLib.errors import InputError, MaskError
from VertebralGradingLib.evaluation.flat import (
    Image,
    Mask,
    around,
    brought_over,
    change_beside,
    psnr,
    ssim,
)
from VertebralGradingLib.evaluation.spines import draw_spines
from VertebralGradingLib.evaluation.statistics import by_subject, written

if TYPE_CHECKING:
    from VertebralGradingLib.diffusion_autoencoder.inference import Autoencoder, Counterfactual

SHAPES = ("wedge", "biconcave", "crush")
LOSS_OF_GRADE = {1: 0.225, 2: 0.32, 3: 0.48}
"""Graded loss of the vertebra that stands for a grade."""
_GALLERY_SPINES, _GALLERY = 24, 480
_BATCH = 12
_PREVIEW_TARGET = 0.5
_MEAN_LEVELS = 1.5


@dataclass(frozen=True, eq=False)
class Target:
    """One true image at the wanted grade.

    Attributes:
        name: "healed", or the shape of the fracture.
        image: (128, 128) HU.
        mask: the body in it.
        heights_mm: (3,) true.
    """

    name: str
    image: Image
    mask: Mask
    heights_mm: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Case:
    """One vertebra that is to be shown at another grade.

    Attributes:
        subject: its spine.
        level: which.
        position: on the axis of levels.
        image: (128, 128) HU as it is.
        bodies: masks of its neighbours' bodies.
        mask: its own body.
        grade: as it is.
        wanted: the grade to show.
        targets: true images at that grade.
    """

    subject: str
    level: str
    position: float
    image: Image
    bodies: list[Mask]
    mask: Mask
    grade: int
    wanted: int
    targets: list[Target]


@dataclass(frozen=True, eq=False)
class Gallery:
    """Real (rendered) patches with known grades, for the baselines.

    Attributes:
        images: (N, 128, 128) HU.
        grade: (N,).
        position: (N,).
        z: (N, L) latents, standardised.
    """

    images: NDArray[np.float32]
    grade: NDArray[np.int64]
    position: NDArray[np.float64]
    z: NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """What one method made of one case.

    Attributes:
        subject, level, grade, wanted, method: which.
        nearest: name of the target it is most like.
        ssim, psnr_db: inside the vertebra, against that target.
        height_mae_mm, height_bias_mm: of the three heights against it, NaN where no body was found.
        reached: continuous grade of the image, encoded again.
        excess: change of the neighbours beyond the true image's own, by the whole change; NaN where nothing was drawn.
        outside_share, new_air_mm2: of the counterfactual, NaN for others.
    """

    subject: str
    level: str
    grade: int
    wanted: int
    method: str
    nearest: str
    ssim: float
    psnr_db: float
    height_mae_mm: float
    height_bias_mm: float
    reached: float
    excess: float = float("nan")
    outside_share: float = float("nan")
    new_air_mm2: float = float("nan")


def draw_cases(count: int, seed: int = 9000) -> Iterator[list[Case]]:
    """Vertebrae without mimics, one list for each: a fractured one to grade 0, a healthy one to 1, 2 and 3, in turn.

    Args:
        count: of vertebrae.
        seed: fixes them.
    """
    given = 0
    for drawn in draw_spines(seed, 1, lambda level: level[1:] != "1" or level[0] == "L", 0.25):
        for level in (*drawn.broken[:1], *drawn.whole[:1]):
            cases = _cases(drawn.pool, level, int(drawn.rng.integers(1 << 31)), drawn.subject)
            if cases:
                yield cases
                given += 1
            if given == count:
                return


def _cases(pool: list[Any], level: str, seed: int, subject: str) -> list[Case]:
    from VertebralGradingLib.morphometry.genant import grade_of_loss
    from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
    from VertebralGradingLib.phantom.fracture import fracture
    from VertebralGradingLib.phantom.parameters import healed
    from VertebralGradingLib.phantom.truth import body_heights
    from VertebralGradingLib.spine.anatomy import axis_position

    spine, loss = pool[0].spine, pool[0].graded_loss(level)
    wanted, names, states = [0], ["healed"], [healed(spine, (level,))]
    if level not in pool[0].truths:
        pairs = [(grade, shape) for grade in LOSS_OF_GRADE for shape in SHAPES]
        wanted, names = [grade for grade, _ in pairs], [shape for _, shape in pairs]
        try:
            states = [fracture(spine, level, LOSS_OF_GRADE[grade], seed, shape) for grade, shape in pairs]
        except (ValueError, MaskError):
            return []  # this body cannot take one of the shapes
    data = PhantomDataset(pool, seed, DatasetOptions(jitter=0.5))
    item, number = [(0, level)], len(states) + 1
    poses = data.poses(item, [seed]) * number
    images, labels = data.scanned([spine, *states], item * number, [seed] * number, poses)
    pictures, bodies = images[:, 0].numpy(), labels[:, 0].numpy()
    own = int(bodies[0][bodies.shape[1] // 2, bodies.shape[2] // 2])
    masks = bodies == own
    if own == 0 or masks.sum((1, 2)).min() < 100 or (images[0, 0] < -900).any():
        return []  # the click missed the body, or the scan ends in the patch
    beside = [bodies[0] == other for other in np.unique(bodies[0]) if other not in (0, own)]
    position, grade, image = axis_position(level), grade_of_loss(max(loss, 0.0)), pictures[0]
    out = []
    for aim in sorted(set(wanted)):
        targets = [
            Target(names[k], pictures[k + 1], masks[k + 1], body_heights(states[k], level))
            for k in range(len(states))
            if wanted[k] == aim
        ]
        out.append(Case(subject, level, position, image, beside, masks[0], grade, aim, targets))
    return out


def draw_gallery(system: Autoencoder, seed: int = 9500, count: int = _GALLERY) -> Gallery:
    """Patches of other people, all grades equally often.

    Args:
        system: its encoder.
        seed: fixes them.
        count: of patches.
    """
    from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
    from VertebralGradingLib.phantom.pool import draw_pool

    pool = draw_pool(_GALLERY_SPINES, seed, mimic_rate=0.0)
    data = PhantomDataset(pool, seed, DatasetOptions(batch=_BATCH, jitter=0.5))
    batches = [data.batch(n) for n in range(-(-count // _BATCH))]
    images = np.concatenate([batch["image"][:, 0].numpy() for batch in batches])
    grade, position = (np.concatenate([b[name].numpy() for b in batches]) for name in ("grade", "position"))
    return Gallery(images, grade, position, system.grader.standardised(system.encode(images)))


def judge(
    system: Autoencoder,
    cases: Sequence[Case],
    gallery: Gallery,
    preset: str = "fine",
    project: bool = True,
    others: Mapping[str, Callable[[Case], Image]] | None = None,
) -> list[Row]:
    """All methods on the cases of one vertebra (one image); ``others`` draw it at grade 0, by name.

    Raises:
        InputError: the cases do not share their image.
        MethodError: the body network is not installed.
    """
    first = cases[0]
    if any(case.image is not first.image for case in cases):
        raise InputError("These cases are not of one image.", "Give what draw_cases yields.")
    wanted = [float(case.wanted) for case in cases]
    inside = around(first.mask)
    made = system.counterfactuals(first.image, wanted, preset, project, inside=inside)
    rows: list[Row] = []
    for case, one in zip(cases, made, strict=True):
        drawn = {name: draw(case) for name, draw in (others or {}).items()} if case.wanted == 0 else {}
        rows += _judged(system, case, one, gallery, project, drawn)
    return rows


def _judged(
    system: Autoencoder, case: Case, made: Counterfactual, gallery: Gallery, project: bool, drawn: Mapping[str, Image]
) -> list[Row]:
    seen = [(target, as_seen(system, target.image)) for target in case.targets]
    latent = system.grader.standardised(
        system.grader.moved(system.encode(case.image[None])[0], float(case.wanted), project)
    )
    alike = np.flatnonzero(gallery.grade == case.wanted)
    near = alike[np.argmin(np.square(gallery.z[alike] - latent).sum(1))]
    level = alike[np.abs(gallery.position[alike] - case.position) <= _MEAN_LEVELS]
    images = {
        "counterfactual": made.changed,
        **{name: as_seen(system, image) for name, image in drawn.items()},
        "no edit": made.decoded,
        "nearest neighbour": as_seen(system, gallery.images[near]),
        "mean image": as_seen(system, gallery.images[level if len(level) else alike].mean(0)),
        "truth itself": seen[0][1],
    }
    rows = []
    for name, image in images.items():
        scores = []
        for target, picture in seen:
            region = around(target.mask)
            moved = brought_over(image, picture, region)
            scores.append((ssim(moved, picture, region), psnr(moved, picture, region), target, picture))
        likeness, noise, target, picture = max(scores, key=lambda s: s[0])
        body: FlatBody | None = flat_body(image)
        error = np.full(3, np.nan) if body is None else body.heights_mm - target.heights_mm
        extra: dict[str, float] = {}
        if name == "counterfactual":
            own = around(case.mask | target.mask)
            whole = float(np.square(made.difference)[own].sum())
            beside = change_beside(made.decoded, made.changed, case.bodies)
            true = change_beside(as_seen(system, case.image), picture, case.bodies)
            extra = {
                "excess": max(beside - true, 0.0) / max(whole + beside, 1e-6),
                "outside_share": 1.0 - whole / max(float(np.square(made.difference).sum()), 1e-6),
                "new_air_mm2": made.new_air_mm2,
            }
        reached = (
            made.reached if name == "counterfactual" else float(system.grader.score(system.encode(image[None]))[0])
        )
        rows.append(
            Row(
                case.subject, case.level, case.grade, case.wanted, name, target.name, likeness, noise,
                float(np.abs(error).mean()), float(error.mean()), reached, **extra,
            )
        )  # fmt: skip
    return rows


def as_seen(system: Autoencoder, patch: Image) -> NDArray[np.float32]:
    """A patch (128, 128) HU as the network sees it, at 1 mm."""
    from VertebralGradingLib.diffusion_autoencoder.patches import finer, to_hu

    seen = finer(system.seen(np.asarray(patch)[None]), system.config.spacing_mm)
    return np.asarray(to_hu(seen)[0, 0].cpu().numpy(), dtype=np.float32)


def describe(rows: Sequence[Row]) -> list[str]:
    """The table: likeness, heights and grades by direction and method; then what happens beside the vertebra."""
    lines = [
        f"{len({(r.subject, r.level) for r in rows})} vertebrae of {len({r.subject for r in rows})} spines; "
        "likeness inside the vertebra; mean [90 % interval over spines]",
        f"{'':30s} {'SSIM':23s} {'PSNR dB':20s} {'height MAE mm':20s} bias   within 0.5 of the grade",
    ]
    groups: list[tuple[str, Callable[[Row], bool]]] = [("to grade 0", lambda r: r.wanted == 0)]
    groups += [(f"to grade {g}", lambda r, g=g: r.wanted == g) for g in LOSS_OF_GRADE]  # type: ignore[misc]
    groups.append(("all", lambda r: True))
    for title, chosen in groups:
        for method in dict.fromkeys(r.method for r in rows):
            part = [r for r in rows if r.method == method and chosen(r)]
            if not part:
                continue
            near = np.mean([abs(r.reached - r.wanted) <= _PREVIEW_TARGET for r in part])
            missing = sum(not np.isfinite(r.height_mae_mm) for r in part)
            lines.append(
                f"{title + ', ' + method:30s} {_mean(part, 'ssim')} {_mean(part, 'psnr_db', 1):20s} "
                f"{_mean(part, 'height_mae_mm', 2):20s} "
                f"{_known_mean([r.height_bias_mm for r in part]):+.2f}  {near:.3f}"
                + (f"   ({missing} without a body)" if missing else "")
            )
    made = [r for r in rows if r.method == "counterfactual"]
    shapes = {name: sum(r.nearest == name for r in made if r.wanted) for name in SHAPES}
    lines += [
        "nearest shape of the broken ones: " + ", ".join(f"{name} {count}" for name, count in shapes.items()),
        f"excess change of the neighbours: {_mean(made, 'excess')}; within 0.15: "
        f"{np.mean([r.excess <= 0.15 for r in made]):.3f}",
        f"change outside of the vertebra (share of its energy): {_mean(made, 'outside_share')}; warned "
        f"{np.mean([r.outside_share > 0.30 for r in made]):.3f}; new air: "
        f"{np.mean([r.new_air_mm2 > 30 for r in made]):.3f}",
    ]
    return lines


def _known_mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _mean(rows: Sequence[Row], name: str, digits: int = 3) -> str:
    values = np.array([getattr(row, name) for row in rows], dtype=float)

    return written(*by_subject(lambda k: _known_mean(values[k]), [row.subject for row in rows], 300), digits)
