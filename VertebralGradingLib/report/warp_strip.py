"""A vertebra at other grades by the warp, side by side: pictures with grade, heights and movement of the endplates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.counterfactual.live import LiveWarp
from VertebralGradingLib.report.canvas import BLACK, Canvas, Color
from VertebralGradingLib.report.pictures import outline, to_gray

NOT_CONVINCING = "no convincing picture"
_ZOOM, _SLIDER_ZOOM, _CROP_MM = 3, 2, 84
_BAR, _LINE, _GAP, _MARGIN = 24, 16, 6, 4
_AS_IT_IS: Color = (0, 114, 178)
_WARPED: Color = (213, 94, 0)
_SIZE = 12
_LETTER_PX = 6.2
_PANEL = 235


def warp_png(answer: Mapping[str, Any], level: str) -> bytes:
    """The strip: the CT, and below each grade its heights; once plain and once with the body's outline.

    Args:
        answer: as :func:`counterfactual.explained.explained` gives it.
        level: of the vertebra.
    """
    edge = _CROP_MM * _ZOOM
    count = 1 + len(answer["wanted"])
    lines = [_told_as_is(answer, level), *(_told(answer, n) for n in range(count - 1))]
    height = _BAR + 2 * (edge + _GAP) + _LINE * max(map(len, lines)) + _MARGIN
    canvas = Canvas(np.full((height, count * (edge + _GAP), 3), 255, dtype=np.uint8))
    own = np.asarray(answer["body"], dtype=bool)
    for n in range(count):
        left = n * (edge + _GAP)
        image = answer["original"] if n == 0 else answer["changed"][n - 1]
        body = own if n == 0 else np.asarray(answer["changed_body"][n - 1], dtype=bool)
        title = f"{level} as it is" if n == 0 else f"{level} at grade {answer['wanted'][n - 1]:g}"
        canvas.text(left + edge / 2, 17, title, 14, BLACK, "middle", bold=True)
        hidden = n > 0 and bool(answer["reasons"][n - 1])
        for row in range(2):
            top = _BAR + row * (edge + _GAP)
            place = (slice(top, top + edge), slice(left, left + edge))
            canvas.rgb[place] = to_gray(_enlarged(_middle(image)))[..., None]
            if row == 1:
                if n:
                    canvas.rgb[place][outline(_enlarged(_middle(own)))] = _AS_IT_IS
                canvas.rgb[place][outline(_enlarged(_middle(body)))] = _WARPED if n else _AS_IT_IS
            elif hidden:
                _cover(canvas, (left, top), edge, answer["reasons"][n - 1])
        for k, text in enumerate(lines[n]):
            canvas.text(left + 2, _BAR + 2 * (edge + _GAP) + (k + 1) * _LINE - 3, text, _SIZE, BLACK)
    return canvas.png()


def slider_png(
    before: NDArray[Any], after: NDArray[Any], level: str, grade: float, reasons: Sequence[str] = ()
) -> bytes:
    """The CT and, beside it, the same warped to a grade, or why it is not shown; both (N, N) HU at 1 mm."""
    edge = _CROP_MM * _SLIDER_ZOOM
    canvas = Canvas(np.full((_BAR + edge, 2 * edge + _GAP, 3), 255, dtype=np.uint8))
    pictures = ((before, f"{level} as it is"), (after, f"{level} at grade {grade:.1f}"))
    for n, (image, title) in enumerate(pictures):
        left = n * (edge + _GAP)
        grey = np.repeat(np.repeat(to_gray(_middle(image)), _SLIDER_ZOOM, 0), _SLIDER_ZOOM, 1)
        canvas.rgb[_BAR : _BAR + edge, left : left + edge] = grey[..., None]
        canvas.text(left + edge / 2, 17, title, _SIZE, BLACK, "middle", bold=True)
    if reasons:
        _cover(canvas, (edge + _GAP, _BAR), edge, reasons)
    return canvas.png()


def slider_reasons(live: LiveWarp, answer: Mapping[str, Any], grade: float) -> list[str]:
    """Why there is no convincing picture at a grade: what its nearest knot says."""
    place = min(range(len(live.grades)), key=lambda k: abs(live.grades[k] - grade))
    return list(answer["reasons"][place])


def slider_text(live: LiveWarp, answer: Mapping[str, Any], grade: float) -> str:
    """What is told below the slider's picture: heights there, as they are and before.

    Args:
        live: the warp.
        answer: the explanation it came with.
        grade: where the slider stands.
    """
    heights = " / ".join(f"{value:.1f}" for value in live.heights(grade))
    own, before = _three(answer["heights_mm"]), _three(answer["healthy_mm"])
    return (
        f"Its own CT, warped, nothing drawn anew: {heights} mm anterior/middle/posterior at grade {grade:.1f}; "
        f"{own} mm as it is, {before} mm before any fracture (estimated)."
    )


def _cover(canvas: Canvas, corner: tuple[int, int], edge: int, reasons: Sequence[str]) -> None:
    """What stands instead of a picture that is not convincing."""
    left, top = corner
    canvas.rgb[top : top + edge, left : left + edge] = _PANEL
    canvas.text(left + edge / 2, top + edge / 2 - 20, NOT_CONVINCING, 14, BLACK, "middle", bold=True)
    lines = [line for reason in reasons for line in _wrapped(reason, int(edge / _LETTER_PX))]
    for k, line in enumerate(lines):
        canvas.text(left + edge / 2, top + edge / 2 + k * _LINE, line, _SIZE, BLACK, "middle")


def _wrapped(text: str, letters: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _told_as_is(answer: Mapping[str, Any], level: str) -> list[str]:
    return [
        f"graded {answer['score']:.1f} against its own earlier heights",
        f"{_three(answer['heights_mm'])} mm ant / mid / post",
        f"before: {_three(answer['healthy_mm'])} mm (estimated)",
    ]


def _told(answer: Mapping[str, Any], n: int) -> list[str]:
    moved = answer["moved_mm"][n]
    return [
        f"{_three(answer['reached_mm'][n])} mm ant / mid / post",
        f"superior endplate {_three(moved['upper'], True)} mm",
        f"inferior endplate {_three(moved['lower'], True)} mm",
        f"spine above: tilt {answer['tilt_deg'][n]:+.0f}°, down {answer['sink_mm'][n]:+.1f} mm",
    ]


def _three(values: Mapping[str, float], signed: bool = False) -> str:
    return " / ".join(f"{value:{'+' if signed else ''}.1f}" for value in values.values())


def _middle(image: Any) -> NDArray[Any]:
    values = np.asarray(image)
    cut = (len(values) - _CROP_MM) // 2
    return values[cut : cut + _CROP_MM, cut : cut + _CROP_MM]


def _enlarged(image: NDArray[Any]) -> NDArray[Any]:
    """(N, N) -> (3N, 3N), linear; masks stay masks."""
    from scipy.ndimage import zoom

    wide = zoom(image.astype(np.float32), _ZOOM, order=1, mode="nearest", grid_mode=True)
    return np.asarray(wide >= 0.5 if image.dtype == bool else wide)
