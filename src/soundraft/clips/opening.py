"""Where clips of a classifier come from: a table, a data frame, a corpus, or clips in memory."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from soundraft import corpora
from soundraft.audio import io
from soundraft.clips.base import LabelledClips, label_of
from soundraft.corpora.base import AudioDataset, AudioSample
from soundraft.corpora.lists import JSON_SUFFIXES, LIST_SUFFIXES, SPLIT_SPELLINGS, read_listing, rejections
from soundraft.manifest import SPLITS, Rejected, Split
from soundraft.parallel import BadClip
from soundraft.runtime import UserError

AUDIO_NAMES = ("audio", "audio_path")
PARQUET = ".parquet"
TABLES = tuple(dict.fromkeys((*LIST_SUFFIXES, *JSON_SUFFIXES, PARQUET)))
_NUMBERED: Mapping[str, Split] = {"0": "train", "1": "validation", "2": "test"}
_NO_NUMBER = {"", "nan", "na", "n/a", "none", "null", "?"}


@dataclass(frozen=True)
class Wanted:
    """What is read of each clip.

    Attributes:
        audio: the column with the audio, where the data has it; else it is one of `AUDIO_NAMES`.
        columns: by the name that a fact shall have, the column that has it.
        numbers: those facts that are numbers.
        target: the fact that is told; `None` where it need not be known.
        split: the column that says of which split a clip is, where the data has it.
        drop: rows are dropped whose cell is empty in these: audio, target.
    """

    audio: str = "audio"
    columns: Mapping[str, str] = field(default_factory=dict)
    numbers: Sequence[str] = ()
    target: str | None = None
    split: str = "split"
    drop: Sequence[str] = ()


@dataclass(frozen=True)
class Source:
    """Clips as somebody has them.

    Attributes:
        title: what they are called.
        splits: of each clip; `None` where the data says none.
        rejected: lines that are no clips.
        notes: what a person should know of them.
        dropped: rows that were to be dropped, with what they lack.
        split_by: where the splits are from, in words.
    """

    title: str
    clips: LabelledClips
    splits: list[Split] | None
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dropped: list[Rejected] = field(default_factory=list)
    split_by: str = ""


def open_clips(data: Any, wanted: Wanted) -> Source:
    """Read what is known of every clip; no audio is read yet.

    Args:
        data: a csv, tsv, jsonl or parquet file (paths in it count from its folder), a pandas data frame (they count
            from the working folder), a recording or a list of them, the name of a corpus, a folder or manifest, or an
            `AudioDataset`.

    Raises:
        UserError: when there are no clips, no column with audio, none of the files, or a column that is needed is not
            there.
    """
    if isinstance(data, AudioDataset):
        return _of_dataset(data.name, data, wanted)
    if hasattr(data, "to_dict") and hasattr(data, "columns"):  # a data frame, without importing pandas
        rows = [{str(name): value for name, value in row.items()} for row in data.to_dict("records")]
        return _of_rows("data frame", [str(name) for name in data.columns], rows, Path(), [], wanted)
    if isinstance(data, list | tuple) and all(isinstance(each, str | Path) for each in data):
        return _of_recordings("the list", data, wanted)
    if not isinstance(data, str | Path):
        raise UserError(f"{type(data).__name__} is no data: give a file, files, a data frame, a corpus or a folder")
    path = Path(data)
    if str(data) not in corpora.CORPORA and path.name.lower().endswith(TABLES):
        return _of_file(path, wanted)
    if path.name.lower().endswith(io.AUDIO_SUFFIXES) and not path.is_dir():
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        return _of_recordings(str(path), [path], wanted)
    return _of_corpus(data, wanted)


def _of_recordings(title: str, paths: Sequence[str | Path], wanted: Wanted) -> Source:
    """Recordings of which nothing else is known."""
    rows = [{"audio": str(path)} for path in paths]
    return _of_rows(title, ["audio"], rows, Path(), [], replace(wanted, audio="audio"))


def _of_corpus(name: str | Path, wanted: Wanted) -> Source:
    from soundraft.corpora import load_audio_dataset

    if str(name) in corpora.CORPORA:
        dataset = load_audio_dataset(str(name))
    elif Path(name).is_dir():
        dataset = load_audio_dataset("folder", path=name, unlabelled=wanted.target is None)
    else:
        there = ", ".join(corpora.CORPORA)
        raise UserError(f"{name}: neither a table ({', '.join(TABLES)}), a folder nor a corpus; there are {there}")
    return _of_dataset(str(name), dataset, wanted)


def _of_dataset(title: str, dataset: AudioDataset, wanted: Wanted) -> Source:
    """Facts of a sample are its metadata, and what is said, where that is known."""
    samples: list[AudioSample] = list(dataset)
    rows = [
        {"audio": sample.audio_path if sample.audio_array is None else sample}
        | ({"text": sample.text} if sample.task == "asr" else {"label": sample.text})
        | sample.metadata
        for sample in samples
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    rejected = list(getattr(dataset, "rejected", []))
    source = _of_rows(title, columns, rows, Path(), rejected, replace(wanted, audio="audio"))
    corpus = corpora.CORPORA.get(dataset.name)
    rule = f" ({corpus.info.splits})" if corpus else ""
    return replace(source, split_by=f"by the splits of {title}{rule}")


def _of_file(path: Path, wanted: Wanted) -> Source:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.name.lower().endswith(PARQUET):
        columns, rows = _read_parquet(path)
        return _of_rows(str(path), columns, rows, path.parent, [], wanted)
    listing = read_listing(path, audio_names={wanted.audio.lower(), *AUDIO_NAMES})
    rows = [
        row.pop("metadata") | row if isinstance(row.get("metadata"), dict) else row for row in listing.rows.values()
    ]
    return _of_rows(str(path), listing.columns, rows, path.parent, rejections(listing.findings), wanted)


def _read_parquet(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a parquet file: {error}") from error
    return table.column_names, table.to_pylist()


def _of_rows(
    title: str, columns: Sequence[str], rows: Sequence[dict[str, Any]], folder: Path, rejected: list[Rejected],
    wanted: Wanted,
) -> Source:  # fmt: skip
    audio_column = _audio_column(title, columns, wanted)
    if not rows:
        raise UserError(f"{title}: no clips")
    _check_columns(title, columns, wanted)
    notes: list[str] = []
    facts = [_facts(row, audio_column, wanted) for row in rows]
    _mark_missing(facts, wanted, notes)
    audio = [row.get(audio_column) for row in rows]
    paths = [_shown(value) or f"row {number}" for number, value in enumerate(audio, start=1)]
    _check_some_exist(title, audio, folder)
    clips = LabelledClips(_ids(title, rows, paths), lambda place: _bytes(audio[place], folder), facts, paths)
    splits = _splits(title, [row.get(wanted.split) for row in rows], wanted.split)
    return _without_dropped(
        Source(title, clips, splits, rejected, notes, split_by=f"by the column {wanted.split}"),
        [_has_audio(value) for value in audio],
        wanted,
    )


def _without_dropped(source: Source, has_audio: Sequence[bool], wanted: Wanted) -> Source:
    """The same without the rows that lack what `wanted.drop` names."""
    clips, target, lacking = source.clips, wanted.target, dict[int, str]()
    for place, facts in enumerate(clips.facts):
        if "audio" in wanted.drop and not has_audio[place]:
            lacking[place] = "audio"
        elif "target" in wanted.drop and target is not None and label_of(facts.get(target)) is None:
            lacking[place] = target
    kept = [place for place in range(len(clips)) if place not in lacking]
    counts = Counter(lacking.values())
    notes = [
        f"{count:,} of {len(clips):,} rows have no {name} and are dropped, as missing_value_strategy: drop_row asks"
        for name, count in counts.items()
    ]
    if not kept:
        raise UserError(f"{source.title}: {'; '.join(notes)}: no clip is left")
    dropped = [
        Rejected(clips.ids[place], (clips.paths or clips.ids)[place], f"no {name}, dropped")
        for place, name in lacking.items()
    ]
    splits = None if source.splits is None else [source.splits[place] for place in kept]
    return replace(source, clips=clips.part(kept), splits=splits, notes=[*source.notes, *notes], dropped=dropped)


def _audio_column(title: str, columns: Sequence[str], wanted: Wanted) -> str:
    names = (wanted.audio, *AUDIO_NAMES)
    found = next((name for name in names if name in columns), None)
    if found is None:
        asked = ", ".join(dict.fromkeys(names))
        raise UserError(f"{title}: no column with audio ({asked}); it has {', '.join(columns) or 'no columns'}")
    return found


def _check_columns(title: str, columns: Sequence[str], wanted: Wanted) -> None:
    lacking = [column for column in wanted.columns.values() if column not in columns]
    if lacking:
        hint = ": a table can have the rest beside it" if list(columns) == ["audio"] else ""  # recordings alone
        raise UserError(f"{title}: no column {', '.join(lacking)}; it has {', '.join(columns)}{hint}")


def _facts(row: Mapping[str, Any], audio_column: str, wanted: Wanted) -> dict[str, Any]:
    """What is known of a clip, under the names that are wanted; NaN and empty text are not known."""
    known = {name: value for name, value in row.items() if name not in (audio_column, "id", wanted.split)}
    known |= {name: row.get(column) for name, column in wanted.columns.items()}
    present = {name: _plain(value) for name, value in known.items()}
    return {name: value for name, value in present.items() if value is not None and value != ""}


def _plain(value: Any) -> Any:
    """A number without a fraction is written as such: labels 0, 1, 2 that a data frame holds as 0.0, 1.0, 2.0."""
    value = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() else value
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def _mark_missing(facts: Sequence[dict[str, Any]], wanted: Wanted, notes: list[str]) -> None:
    """Numbers that say NaN are missing, as are those that are not there; they are counted."""
    for name in wanted.numbers:
        for each in facts:
            if isinstance(each.get(name), str) and each[name].strip().lower() in _NO_NUMBER:
                del each[name]
        missing = sum(name not in each for each in facts)
        if missing:
            notes.append(f"{name}: {missing} of {len(facts)} clips have no number; the network is told so")


def _ids(title: str, rows: Sequence[Mapping[str, Any]], paths: Sequence[str]) -> list[str]:
    """The column `id`, else the paths."""
    ids = [str(_plain(row["id"])) for row in rows] if all(row.get("id") not in (None, "") for row in rows) else paths
    twice = [name for name, times in Counter(ids).items() if times > 1]
    if twice:
        many = f"{len(twice)} names stand" if len(twice) > 1 else "1 name stands"
        reason = "results need unique ones: leave the others out, or add a column id"
        raise UserError(f"{title}: {many} for several clips, {twice[0]} first; {reason}")
    return list(ids)


def _splits(title: str, values: Sequence[Any], column: str) -> list[Split] | None:
    given = [_plain(value) for value in values]
    if all(value in (None, "") for value in given):
        return None
    known = {**SPLIT_SPELLINGS, **_NUMBERED}
    odd = Counter(str(value) for value in given if str(value).strip().lower() not in known)
    if odd:
        named = ", ".join(
            f"{'none' if value in ('', 'None') else repr(value)} ({count})" for value, count in odd.items()
        )
        raise UserError(f"{title}: column {column} has {named}; allowed: {', '.join(SPLITS)}, or 0, 1, 2 for these")
    return [known[str(value).strip().lower()] for value in given]


def _check_some_exist(title: str, audio: Sequence[Any], folder: Path) -> None:
    """Raise UserError when no file is there: then it is the paths that are wrong, not the files."""
    named = [value for value in audio if isinstance(value, str | Path)]
    if len(audio) == len(named) == 1 and not (folder / named[0]).is_file():
        raise UserError(f"{title}: its only audio file does not exist: {folder.resolve() / named[0]}")
    if named and len(named) == len(audio) and not any((folder / value).is_file() for value in named):
        shown = ", ".join(str(value) for value in named[:3])
        place = folder.resolve()
        raise UserError(
            f"{title}: none of its {len(named)} audio files exists, such as {shown}; paths count from {place}"
        )


def _shown(audio: Any) -> str:
    """What a person calls a clip's audio."""
    if isinstance(audio, AudioSample):
        return str(audio.metadata.get("id") or audio.audio_path)
    if isinstance(audio, Mapping):
        return str(audio.get("path") or "")
    return str(audio) if isinstance(audio, str | Path) else ""


def _has_audio(value: Any) -> bool:
    """Whether a cell names or holds audio, be it there or not; NaN and what a table leaves empty does not."""
    if isinstance(value, Mapping):
        return bool(value.get("bytes") or value.get("path"))
    plain = _plain(value)
    return plain is not None and not (isinstance(plain, str | bytes) and not plain.strip())


def _bytes(audio: Any, folder: Path) -> bytes:
    """Of the audio file: read from its path, or as they are, alone or in the form of a `datasets` column.

    Raises:
        BadClip: when there is none.
    """
    if isinstance(audio, Mapping):
        audio = audio.get("bytes") or audio.get("path")
    if isinstance(audio, bytes):
        return audio
    if isinstance(audio, AudioSample) and audio.audio_array is not None and audio.sample_rate is not None:
        return io.wav_bytes(io.to_mono(audio.audio_array.reshape(len(audio.audio_array), -1)), audio.sample_rate)
    if isinstance(audio, str | Path) and str(audio):
        return io.read_file(folder / audio)
    if hasattr(audio, "shape") or isinstance(audio, list):
        raise BadClip(f"a {type(audio).__name__} has no sample rate: give a path, or the bytes of an audio file")
    raise BadClip("no audio")
