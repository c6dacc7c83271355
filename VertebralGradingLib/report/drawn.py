"""What a method drew of a vertebra, as a picture for panel and report: it at another grade, or where it lost height."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.report.canvas import BLACK, Canvas
from VertebralGradingLib.report.height_loss import height_loss_png, height_loss_sentence
from VertebralGradingLib.report.pictures import difference_rgb, to_gray
from VertebralGradingLib.report.scales import change_bar
from VertebralGradingLib.report.warped import Rows, numbers, warp_sentence

WARNINGS = {
    "new_air": "air appears that is not in the CT",
    "changes_elsewhere": "more than this vertebra changes",
}
CAPTIONS = ("{level} as it is", "redrawn unchanged", "drawn at grade {grade:.1f}", "what the grade changed (HU)")
AT_ANOTHER_GRADE, HEIGHT_LOSS, WARPED = "at another grade", "loss of height", "warped to other grades"
_TOLD = {"wanted", "score", "reached", "psnr_db", "outside_share", "warnings"}
_OF_EACH = ("wanted", "reached", "outside_share", "new_air_mm2", "warnings")
_EDGE, _BAR, _SCALE = 192, 20, 50
_CROP_MM = 96


@dataclass(frozen=True)
class Drawn:
    """A picture that a method drew of one vertebra.

    Attributes:
        level: which.
        png: the picture.
        text: what is told of it.
        shows: "at another grade", "loss of height" or "warped to other grades".
        numbers: a table behind a fold, its head first; none where empty.
    """

    level: str
    png: bytes
    text: str
    shows: str = AT_ANOTHER_GRADE
    numbers: Rows = ()

    @classmethod
    def of_pictures(cls, level: str, pictures: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Drawn:
        """A counterfactual.

        Args:
            level: of the vertebra.
            pictures: ``original``, ``decoded`` and ``changed`` (N, N) HU.
            about: see :func:`counterfactual_sentence`.
        """
        images = (pictures["original"], pictures["decoded"], pictures["changed"])
        return cls(
            level, counterfactual_png(*images, float(about["wanted"]), level=level), counterfactual_sentence(about)
        )

    @classmethod
    def of_height_loss(cls, level: str, answer: Mapping[str, Any]) -> Drawn:
        """A map of lost height.

        Args:
            level: of the vertebra.
            answer: as for :func:`height_loss.height_loss_png`.
        """
        return cls(level, height_loss_png(answer, level), height_loss_sentence(answer), HEIGHT_LOSS)

    @classmethod
    def of_warp(cls, about: Mapping[str, Any]) -> Drawn:
        """A strip of warped pictures.

        Args:
            about: as :func:`warped.kept_warp` gives it.
        """
        return cls(about["level"], base64.b64decode(about["png"]), warp_sentence(about), WARPED, numbers(about))


def is_whole(pictures: Mapping[str, Any], about: Any) -> bool:
    """Whether pictures and what is told of them are all there, as :meth:`Drawn.of_pictures` needs them."""
    return {"original", "decoded", "changed"} <= set(pictures) and isinstance(about, dict) and _TOLD <= set(about)


def figures(drawn: Sequence[Drawn]) -> str:
    """The pictures with their texts, as HTML."""
    cards = [
        f'<figure><img alt="{html.escape(one.level)} {html.escape(one.shows)}" '
        f'src="data:image/png;base64,{base64.b64encode(one.png).decode()}">'
        f"<figcaption><b>{html.escape(one.level)}</b>"
        f'<small class="t">{html.escape(one.text)}</small>{_fold(one.numbers)}</figcaption></figure>'
        for one in drawn
    ]
    wide = " wide-pictures" if any(one.shows == WARPED for one in drawn) else ""
    return f'<div class="drawn{wide}">{"".join(cards)}</div>'


def _fold(rows: Rows) -> str:
    """A table behind a fold; nothing without rows."""
    if not rows:
        return ""
    head, *rest = (tuple(html.escape(cell) for cell in row) for row in rows)
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rest)
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<details><summary>Numbers and checks</summary><div class="wide">{table}</div></details>'


def told(answer: Mapping[str, Any]) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Pictures and what is told of them, of the first grade of an explanation by counterfactuals.

    Args:
        answer: as :meth:`diffusion_autoencoder.method.LatentGrading.explain` gives it, or as it comes from a worker.
    """
    pictures = {name: np.asarray(answer[name], dtype=np.float32) for name in ("original", "decoded")}
    pictures["changed"] = np.asarray(answer["changed"][0], dtype=np.float32)
    about = {name: answer[name] for name in ("score", "psnr_db")}
    return pictures, about | {name: answer[name][0] for name in _OF_EACH}


def counterfactual_png(
    original: NDArray[Any],
    decoded: NDArray[Any],
    changed: NDArray[Any],
    grade: float,
    spacing_mm: float = 1.0,
    level: str = "",
) -> bytes:
    """Four pictures in two rows: the CT, its redrawing, the vertebra at another grade, and what that changed.

    Args:
        original: (N, N) HU.
        decoded: (N, N) HU, drawn with the vertebra's own latent.
        changed: (N, N) HU, drawn with the moved one.
        grade: that was wanted.
        spacing_mm: of the pixels.
        level: of the vertebra.
    """
    pictures = [*(to_gray(_middle(one, spacing_mm)) for one in (original, decoded, changed))]
    pictures.append(difference_rgb(_middle(changed, spacing_mm) - _middle(decoded, spacing_mm)))
    height = _EDGE + _BAR
    canvas = Canvas(np.full((2 * height + _SCALE, 2 * _EDGE, 3), 255, dtype=np.uint8))
    for n, (picture, caption) in enumerate(zip(pictures, CAPTIONS, strict=True)):
        row, column = divmod(n, 2)
        rgb = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=-1)
        top, left = row * height + _BAR, column * _EDGE
        canvas.rgb[top : top + _EDGE, left : left + _EDGE] = _enlarged(rgb)
        canvas.text(left + _EDGE / 2, top - 6, caption.format(grade=grade, level=level).strip(), 12, BLACK, "middle")
    change_bar(canvas, (_EDGE + 4, 2 * height + 2), _EDGE - 12)
    return canvas.png()


def counterfactual_sentence(about: Mapping[str, Any]) -> str:
    """What is told below the pictures.

    Args:
        about: ``wanted``, ``score``, ``reached``, ``psnr_db``, ``outside_share`` and ``warnings`` of one picture.
    """
    text = (
        f"Drawn by the diffusion autoencoder at grade {about['wanted']:.1f}; it grades this vertebra "
        f"{about['score']:.1f} and its own picture {about['reached']:.1f}. Redrawn unchanged it is "
        f"{likeness_words(about['psnr_db'])}; no heights are measured in what was drawn, the warp tells them in mm. "
        f"{100 * about['outside_share']:.0f} % of the change lies outside of a box of 30 x 44 mm around it."
    )
    said: Sequence[str] = [WARNINGS[name] for name in about["warnings"] if name in WARNINGS]
    return f"{text} Caution: {'; '.join(said)}." if said else text


LIKENESS = ((35.0, "hardly to be told from the CT"), (30.0, "close to the CT"), (25.0, "coarser than the CT"))
"""From so much peak signal to noise on (dB, over the networks' window), what a redrawing is in words. Assumed."""


def likeness_words(psnr_db: float) -> str:
    """How like the CT a redrawing is, in words."""
    return next((words for least, words in LIKENESS if psnr_db >= least), "unlike the CT in much of its detail")


def _middle(image: NDArray[Any], spacing_mm: float) -> NDArray[Any]:
    """What of a picture lies within 48 mm of its middle."""
    half = min(round(_CROP_MM / 2 / spacing_mm), len(image) // 2)
    middle = len(image) // 2
    return np.asarray(image)[middle - half : middle + half, middle - half : middle + half]


def _enlarged(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, N, 3) -> (192, 192, 3) by repeating pixels."""
    index = np.minimum((np.arange(_EDGE) + 0.5) * len(rgb) / _EDGE, len(rgb) - 1).astype(int)
    return rgb[np.ix_(index, index)]
