"""Languages of texts in Latin letters that the analyzer knows; other scripts have analyzers of their own."""

from typing import Literal

Language = Literal[
    "basque", "catalan", "czech", "danish", "dutch", "english", "esperanto", "estonian", "finnish", "french", "german",
    "hungarian", "indonesian", "irish", "italian", "lithuanian", "norwegian", "polish", "portuguese", "romanian",
    "spanish", "swedish", "turkish",
]  # fmt: skip
"""Snowball's names of languages."""
ENGLISH: Language = "english"
