"""Typed errors. Each carries a message for the user, a hint what to do next, and a short machine-readable code."""

from __future__ import annotations


class VertebralGradingError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: what is wrong, in one sentence without patient data or file paths.
        hint: what the user can do about it.
    """

    code = "error"
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Message and hint in one string."""
        return f"{self.message} {self.hint}".strip()


class InputError(VertebralGradingError):
    """A file or volume cannot be used: unreadable, wrong modality, wrong dimension, broken geometry."""

    code = "input"
    exit_code = 3


class CentroidError(VertebralGradingError):
    """The centroids make no sense: none, too few, contradictory names, not in the volume."""

    code = "centroids"
    exit_code = 4


class MaskError(VertebralGradingError):
    """The mask cannot be used: no vertebra labels, not on the CT, wrong kind."""

    code = "mask"
    exit_code = 5


class MethodError(VertebralGradingError):
    """A grading method is unknown, or something it needs (weights, torch) is missing."""

    code = "method"
    exit_code = 6


class OutputError(VertebralGradingError):
    """Results could not be written: full disk, no permission."""

    code = "output"
    exit_code = 7
