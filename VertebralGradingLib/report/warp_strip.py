"""A vertebra at other grades by the warp, side by side: pictures with grade, heights and movement of the endplates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.counterfactual.live import LiveWarp
from VertebralGradingLib.findings import POSITIONS
from VertebralGradingLib.report.canvas import BLACK, Canvas, Color
from VertebralGradingLib.report.colors import colors_of_loss, colors_of_movement
from VertebralGradingLib.report.pictures import outline, to_gray
from VertebralGradingLib.report.scales import loss_bar, movement_bar

NOT_CONVINCING = "no convincing picture"
_ZOOM, _SLIDER_ZOOM, _CROP_MM, _SLIDER_CROP_MM = 3, 2, 84, 80
_BAR, _LINE, _GAP, _MARGIN = 24, 16, 6, 4
_AS_IT_IS: Color = (0, 114, 178)
_WARPED: Color = (0, 0, 0)
_SIZE = 12
_CHIP = 19
_LETTER_PX = 6.2
_PANEL = 235


def warp_png(answer: Mapping[str, Any], level: str, grades: Sequence[float] | None = None) -> bytes:
    """The strip: the CT and the grades; below each what was moved in mm, the heights with their loss, and the movement.

    Args:
        answer: as :func:`counterfactual.explained.explained` gives it.
        level: of the vertebra.
        grades: which of those that were wanted; all where missing.
    """
    edge = _CROP_MM * _ZOOM
    wanted = [float(grade) for grade in answer["wanted"]]
    chosen = list(range(len(wanted))) if grades is None else [wanted.index(float(grade)) for grade in grades]
    told = [_told_as_is(answer), *(_told(answer, n) for n in chosen)]
    numbers = _BAR + 2 * (edge + _GAP)
    height = numbers + _CHIP + _GAP + _LINE * max(map(len, told)) + _MARGIN
    canvas = Canvas(np.full((height, len(told) * (edge + _GAP), 3), 255, dtype=np.uint8))
    for k, lines in enumerate(told):
        left = k * (edge + _GAP)
        n = None if k == 0 else chosen[k - 1]
        canvas.text(left + edge / 2, 17, _title(level, None if n is None else wanted[n]), 14, BLACK, "middle", True)
        hidden = [] if n is None else list(answer["reasons"][n])
        if hidden:
            _cover(canvas, (left, _BAR), edge, hidden)
        else:
            image = answer["original"] if n is None else answer["changed"][n]
            canvas.rgb[_BAR : _BAR + edge, left : left + edge] = to_gray(_enlarged(_middle(image)))[..., None]
        if n is None:
            _scales(canvas, (left, _BAR + edge + _GAP), edge)
        elif not hidden:
            _moved(canvas, (left, _BAR + edge + _GAP), answer["rise_mm"][n], answer["body"], answer["changed_body"][n])
        loss = answer["loss"] if n is None else answer["reached_loss"][n]
        _chips(canvas, (left, numbers), edge, _values(loss))
        for row, text in enumerate(lines):
            canvas.text(left + 2, numbers + _CHIP + _GAP + (row + 1) * _LINE - 4, text, _SIZE, BLACK)
    return canvas.png()


def slider_png(
    pictures: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    level: str,
    grade: float,
    losses: tuple[Sequence[float], Sequence[float]],
    body: Any = None,
    convincing: bool = True,
) -> bytes:
    """The CT, the same warped to a grade, and what was moved; or that there is no convincing picture.

    Args:
        pictures: (N, N) HU of the CT and of the warped one, and movement upwards (mm), at 1 mm.
        level: of the vertebra.
        grade: where the slider stands.
        losses: of anterior, middle and posterior height, as it is and at the grade (fractions).
        body: (N, N) the body as it is; its edge is drawn where things were moved.
        convincing: whether the warp may be shown as an answer.
    """
    before, after, rise = (_middle(image, _SLIDER_CROP_MM) for image in pictures)
    edge = _SLIDER_CROP_MM * _SLIDER_ZOOM
    canvas = Canvas(np.full((_BAR + edge + _GAP + _CHIP + 58, 3 * edge + 2 * _GAP, 3), 255, dtype=np.uint8))
    moved = colors_of_movement(rise)
    if body is not None:
        moved[outline(_middle(np.asarray(body, dtype=bool), _SLIDER_CROP_MM))] = _AS_IT_IS
    shown = (to_gray(before)[..., None], to_gray(after)[..., None], moved)
    titles = (_title(level, None), _title(level, grade), "moved up or down (mm)")
    for n, (image, title) in enumerate(zip(shown, titles, strict=True)):
        left = n * (edge + _GAP)
        canvas.text(left + edge / 2, 17, title, _SIZE, BLACK, "middle", bold=True)
        canvas.rgb[_BAR : _BAR + edge, left : left + edge] = np.repeat(np.repeat(image, 2, 0), 2, 1)
        if n == 1 and not convincing:
            _cover(canvas, (left, _BAR), edge)
        elif n < 2:
            _chips(canvas, (left, _BAR + edge + _GAP), edge, losses[n])
        elif not convincing:
            canvas.rgb[_BAR : _BAR + edge, left : left + edge] = _PANEL
        else:
            _frame(canvas, (left, _BAR), edge)
    top = _BAR + edge + _GAP + _CHIP + 6
    loss_bar(canvas, (2, top), 2 * edge - 4, "above: lost height, anterior / middle / posterior")
    movement_bar(canvas, (2 * (edge + _GAP) + 2, top), edge - 6, "down, up (mm)")
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


def slider_losses(live: LiveWarp, answer: Mapping[str, Any], grade: float) -> tuple[list[float], list[float]]:
    """Loss of anterior, middle and posterior height as it is and at a grade, against those before any fracture."""
    healthy = np.array(_values(answer["healthy_mm"]))
    return _values(answer["loss"]), [float(value) for value in 1.0 - live.heights(grade) / healthy]


def _title(level: str, grade: float | None) -> str:
    return f"{level} as it is" if grade is None else f"{level} at grade {grade:.4g}"


def _cover(canvas: Canvas, corner: tuple[int, int], edge: int, reasons: Sequence[str] = ()) -> None:
    """What stands instead of a picture that is not convincing."""
    left, top = corner
    canvas.rgb[top : top + edge, left : left + edge] = _PANEL
    canvas.text(left + edge / 2, top + edge / 2 - 20, NOT_CONVINCING, 14, BLACK, "middle", bold=True)
    lines = [line for reason in reasons for line in _wrapped(reason, int(edge / _LETTER_PX))]
    for k, line in enumerate(lines):
        canvas.text(left + edge / 2, top + edge / 2 + k * _LINE, line, _SIZE, BLACK, "middle")


def _moved(canvas: Canvas, corner: tuple[int, int], rise: Any, own: Any, body: Any) -> None:
    """What was moved, in colours, with the body's edge as it is and as it becomes."""
    left, top = corner
    rgb = colors_of_movement(_enlarged(_middle(rise)))
    for mask, color in ((own, _AS_IT_IS), (body, _WARPED)):
        edges = outline(_enlarged(_middle(np.asarray(mask, dtype=bool))))
        edges[1:] |= edges[:-1]
        rgb[edges] = color
    edge = len(rgb)
    canvas.rgb[top : top + edge, left : left + edge] = rgb
    _frame(canvas, corner, edge)


def _frame(canvas: Canvas, corner: tuple[int, int], edge: int) -> None:
    left, top = corner
    for place in ((top, slice(left, left + edge)), (top + edge - 1, slice(left, left + edge))):
        canvas.rgb[place] = 160
    for place_x in (left, left + edge - 1):
        canvas.rgb[top : top + edge, place_x] = 160


def _scales(canvas: Canvas, corner: tuple[int, int], edge: int) -> None:
    """Both scales and the key of the outlines."""
    left, top = corner
    left += 6
    width = edge - 24
    below = movement_bar(canvas, (left, top + 14), width, "right: moved along the body's axis (mm)")
    below = loss_bar(canvas, (left, below + 22), width, "below: lost height, ant / mid / post")
    for n, (color, text) in enumerate(((_AS_IT_IS, "body as it is"), (_WARPED, "body as it becomes"))):
        y = below + 34 + n * 20
        canvas.line((left, y - 4), (left + 22, y - 4), color, 2.0)
        canvas.text(left + 30, y, text, _SIZE, BLACK)


def _chips(canvas: Canvas, corner: tuple[int, int], width: int, losses: Sequence[float]) -> None:
    """Three fields with the loss of each height, in its colour."""
    left, top = corner
    step = width / len(losses)
    for n, loss in enumerate(losses):
        x = left + n * step
        color = tuple(int(v) for v in colors_of_loss(np.array(loss)))
        canvas.rectangle((x, top), (x + step - 3, top + _CHIP - 2), (160, 160, 160))
        canvas.rectangle((x + 1, top + 1), (x + step - 4, top + _CHIP - 3), color)  # type: ignore[arg-type]
        canvas.text(x + step / 2 - 1, top + _CHIP - 6, f"{round(100 * loss)} %", _SIZE, BLACK, "middle")


def _wrapped(text: str, letters: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _told_as_is(answer: Mapping[str, Any]) -> list[str]:
    return [
        f"{_three(answer['heights_mm'])} mm ant / mid / post",
        f"graded {answer['score']:.1f} against its own earlier heights,",
        f"{_three(answer['healthy_mm'])} mm (estimated)",
        f"shape: {answer['shape']}",
    ]


def _told(answer: Mapping[str, Any], n: int) -> list[str]:
    moved, sink = answer["moved_mm"][n], float(answer["sink_mm"][n])
    way = "down" if sink >= 0.0 else "up"
    return [
        f"{_three(answer['reached_mm'][n])} mm ant / mid / post",
        f"superior endplate {_three(moved['superior'], True)} mm",
        f"inferior endplate {_three(moved['inferior'], True)} mm",
        f"spine above: tilt {answer['tilt_deg'][n]:+.0f}°, {way} {abs(sink):.1f} mm",
    ]


def _three(values: Mapping[str, float], signed: bool = False) -> str:
    return " / ".join(f"{round(value, 1) + 0.0:{'+' if signed else ''}.1f}" for value in values.values())


def _values(values: Mapping[str, float]) -> list[float]:
    return [float(values[position]) for position in POSITIONS]


def _middle(image: Any, size_mm: int = _CROP_MM) -> NDArray[Any]:
    values = np.asarray(image)
    cut = (len(values) - size_mm) // 2
    return values[cut : cut + size_mm, cut : cut + size_mm]


def _enlarged(image: NDArray[Any]) -> NDArray[Any]:
    """(N, N) -> (3N, 3N), linear; masks stay masks."""
    from scipy.ndimage import zoom

    wide = zoom(image.astype(np.float32), _ZOOM, order=1, mode="nearest", grid_mode=True)
    return np.asarray(wide >= 0.5 if image.dtype == bool else wide)
