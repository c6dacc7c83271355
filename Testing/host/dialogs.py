"""Dialogs that would wait for a person: what was shown is recorded, answers are given beforehand.

A question without a prepared answer fails the test instead of waiting for ever.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any


class UnexpectedDialogError(AssertionError):
    """A dialog asked something for which no answer was prepared."""


@dataclass(frozen=True)
class Shown:
    """One dialog.

    Attributes:
        kind: "info", "warning", "error", "question", "message" (a message box made directly), "file" or "text".
        text: What it said; for files the title of the dialog.
        title: Its window title.
        details: Its detailed text.
    """

    kind: str
    text: str
    title: str = ""
    details: str = ""


shown: list[Shown] = []
_answers: deque[tuple[str, Any]] = deque()


def answer(kind: str, value: Any) -> None:
    """Prepare the answer to the next dialog of a kind.

    Args:
        kind: See :class:`Shown`.
        value: True or False for a question; a path or "" (cancelled) for a file; a button (``qt.QMessageBox.Yes``)
            for a message.
    """
    _answers.append((kind, value))


def ask(dialog: Shown, default: Any = None) -> Any:
    """Record a dialog and return its answer, or the default if there is one.

    Raises:
        UnexpectedDialogError: neither.
    """
    shown.append(dialog)
    for index, (kind, value) in enumerate(_answers):
        if kind == dialog.kind:
            del _answers[index]
            return value
    if default is None:
        raise UnexpectedDialogError(f"a {dialog.kind} dialog waits for an answer: {dialog.title!r}: {dialog.text!r}")
    return default


def unused_answers() -> list[tuple[str, Any]]:
    """Answers that no dialog asked for."""
    return list(_answers)


def reset() -> None:
    """Forget all that was shown and prepared."""
    shown.clear()
    _answers.clear()
