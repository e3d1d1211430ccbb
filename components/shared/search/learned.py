"""What of a search is learned, in its folder: text encoder, vectors of the items, relevance model."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from components.shared.fetching import fetch
from components.shared.search.config import SearchOptions
from components.shared.search.dense import DenseIndex
from components.shared.search.documents import Document
from components.shared.search.relevance import SHIPPED, RelevanceModel
from components.shared.text.encoder import FILES, TextEncoder

_DENSE, _MODEL = "dense", "relevance.json"


def build_learned(documents: Iterable[Document], folder: Path, options: SearchOptions, previous: Path | None) -> None:
    """Write the encoder, the vectors of a catalog and the relevance model into its search folder.

    Args:
        documents: Items, row by row.
        folder: Search folder.
        options: Where encoder and relevance model come from; without either, nothing is written.
        previous: An earlier search folder of these options, whose encoder, vectors and relevance model are used.

    Raises:
        InputError: the encoder or the relevance model cannot be read.
        BundleError: the encoder is damaged.
    """
    held = folder / _DENSE
    if options.encoder:
        held.mkdir()
        source = options.encoder.rstrip("/") if previous is None else str(previous / _DENSE)
        for name in FILES:
            fetch(f"{source}/{name}", held / name, "search.encoder", "give a folder that encode_text wrote")
        encoder = TextEncoder.load(held, threads=0)
        known = None if previous is None else DenseIndex.load(previous / _DENSE, encoder, options.least_meaning)
        DenseIndex.build(documents, held, encoder, known)
    if previous is not None and (previous / _MODEL).exists():
        shutil.copyfile(previous / _MODEL, folder / _MODEL)
    elif options.relevance:
        fetch(options.relevance, folder / _MODEL, "search.relevance", "give a file that train_relevance wrote")
        RelevanceModel.read(folder / _MODEL)
    elif options.encoder:
        shutil.copyfile(SHIPPED, folder / _MODEL)


def load_learned(folder: Path, options: SearchOptions, threads: int) -> tuple[DenseIndex | None, RelevanceModel | None]:
    """The dense leg and the relevance model of a search folder, None for what it lacks.

    Args:
        folder: Search folder.
        options: That it was built with.
        threads: Of the encoder.
    """
    held, model = folder / _DENSE, folder / _MODEL
    dense = DenseIndex.load(held, TextEncoder.load(held, threads), options.least_meaning) if held.exists() else None
    return dense, RelevanceModel.read(model) if model.exists() else None
