"""``slicer.i18n``: nothing is translated; what would be is checked to be a plain string."""

from __future__ import annotations

translations: dict[str, str] = {}
"""Text -> its translation; tests fill it to see that strings of the panel pass through here."""


def translate(context: str, text: str) -> str:
    """Return the translation of a text."""
    if not isinstance(context, str) or not isinstance(text, str):
        raise TypeError("translate takes a context and a text, both str")
    return translations.get(text, text)


def tr(text: str) -> str:
    """Return the translation of a text in the context of the calling file."""
    return translate("", text)
