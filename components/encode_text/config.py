"""Options of the export of a text encoder, without torch."""

from typing import Annotated

from pydantic import Field

from components.shared.options import Options


class EncoderOptions(Options):
    """Options of the export of a text encoder."""

    max_tokens: Annotated[int, Field(ge=8, le=512)] = 64
    """Tokens of a text that are read; the time of encoding grows with it. Limited to what the model takes."""
    quantise: bool = True
    """Whether weights are stored as int8 (a quarter of the size), inputs of layers scaled dynamically."""
    query_prefix: str = ""
    """Text put before a query, such as 'query: ' for e5. Empty: the model's own prompt, if it has one."""
    item_prefix: str = ""
    """Text put before the text of an item, such as 'passage: ' for e5. Empty: the model's own prompt, if it has one."""
    chinese: bool | None = None
    """Whether texts with Chinese are encoded; null: if the vocabulary has Chinese words, not only characters."""
    scale: Annotated[float, Field(gt=0)] | None = None
    """Factor of the similarities of meaning; null: chosen so that everyday texts that mean the same are as near to each
    other as with the encoder of the shipped relevance model (calibration.py)."""
