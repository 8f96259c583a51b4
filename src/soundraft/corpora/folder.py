"""The user's own recordings: a folder with a `manifest.jsonl` or a `metadata.csv` beside the audio.

`metadata.csv` is what Hugging Face's AudioFolder reads: a column `file_name`, a column `text` or
`transcription`, and optionally `id`, `speaker` and `split`. Clips without a split get one so that
no speaker is in two splits (`dataset/splits.py`).
"""

import csv
from pathlib import Path

from soundraft.corpora.base import Corpus, CorpusError, CorpusInfo, Fetched, Request, require_folder
from soundraft.dataset.splits import assign_splits
from soundraft.manifest import MANIFEST_NAME, SPLITS, Clip, Rejected, parse_manifest, parse_rows

METADATA_NAME = "metadata.csv"
_COLUMNS = {"file_name": "audio_path", "transcription": "text"}


def fetch(request: Request, _out: Path) -> Fetched:
    """The listed recordings, where they are.

    Raises:
        CorpusError: when the folder or its list is absent or unusable.
    """
    folder = require_folder(request, family="folder")
    listed, rejected = _read_list(folder)
    clips = _limit(assign_splits(listed, request.seed), request)
    return Fetched(clips, len(listed), rejected, folder)


def _read_list(folder: Path) -> tuple[list[Clip], list[Rejected]]:
    if (folder / MANIFEST_NAME).is_file():
        return parse_manifest(folder / MANIFEST_NAME)
    if (folder / METADATA_NAME).is_file():
        return _read_metadata(folder / METADATA_NAME)
    raise CorpusError(
        f"{folder}: neither {MANIFEST_NAME} (lines with audio_path and text) nor {METADATA_NAME} "
        "(columns file_name and text) is there"
    )


def _read_metadata(path: Path) -> tuple[list[Clip], list[Rejected]]:
    """The rows of `metadata.csv`, through the same checks as a manifest."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8: {error}") from error
    reader = csv.DictReader(text.splitlines(keepends=True))
    columns = [_COLUMNS.get(name, name) for name in reader.fieldnames or []]
    known = {"id", "audio_path", "text", "speaker", "split"}
    if "audio_path" not in columns:
        raise CorpusError(f"{path}: no column file_name; found: {', '.join(columns) or 'none'}")
    rows = []
    for number, values in enumerate(reader, start=2):
        row = {_COLUMNS.get(name, name): value for name, value in values.items() if name and value}
        extra = {name: row.pop(name) for name in list(row) if name not in known}
        rows.append((f"{path.name}:{number}", row | ({"metadata": extra} if extra else {})))
    return parse_rows(rows)


def _limit(clips: list[Clip], request: Request) -> list[Clip]:
    kept: list[Clip] = []
    for split in SPLITS:
        kept += [clip for clip in clips if clip.split == split][: request.clips[split]]
    return kept


CORPUS = Corpus(
    CorpusInfo(
        source="your folder of recordings with manifest.jsonl or metadata.csv",
        task="asr",
        about="Your own recordings.",
        licence="yours",
        size="yours",
        languages="any",
        splits="yours; clips without one get it by speaker",
        takes=frozenset({"path"}),
        needs=frozenset({"path"}),
    ),
    fetch,
)
