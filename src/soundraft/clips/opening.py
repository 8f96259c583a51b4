"""The one door: clips of any task from a dataset of ours, a corpus, a folder, a table, a data frame, or from memory."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import corpora, files, runtime
from soundraft.audio import io
from soundraft.audio.features import AudioProcessor
from soundraft.clips.base import Clips, Reading, from_dataset, label_of, present
from soundraft.corpora import load_audio_dataset
from soundraft.corpora.base import AudioDataset, AudioSample
from soundraft.corpora.lists import JSON_SUFFIXES, LIST_SUFFIXES, SPELLINGS, SPLIT_SPELLINGS, read_listing, rejections
from soundraft.dataset.table import DICT_NAME
from soundraft.manifest import SPLITS, Rejected, Split, no_clips
from soundraft.parallel import BadClip
from soundraft.runtime import UserError
from soundraft.splits import Key, group_splits, origin_keys

AUDIO_NAMES = SPELLINGS["audio_path"]
PARQUET = ".parquet"
TABLES = tuple(dict.fromkeys((*LIST_SUFFIXES, *JSON_SUFFIXES, PARQUET)))
_NUMBERED: Mapping[str, Split] = {"0": "train", "1": "validation", "2": "test"}
_NO_NUMBER = {"", "nan", "na", "n/a", "none", "null", "?"}
_FACTS = ("text", "label", "speaker", "source", "duration")  # found under their other spellings, too


@dataclass(frozen=True)
class Source:
    """Clips as a source lists them.

    Attributes:
        title: what it is called.
        splits: of each clip, `None` where the source has none for it.
        split_by: where the splits are from, in words.
        language: code of the one language that it has, where that is known, else empty.
        rejected: lines that are no clips.
        dropped: rows that the reading drops, with what they lack.
        notes: what the user should know of them.
    """

    title: str
    clips: Clips
    splits: list[Split | None]
    split_by: str = ""
    language: str = ""
    rejected: list[Rejected] = field(default_factory=list)
    dropped: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def has_splits(self) -> bool:
        return any(split is not None for split in self.splits)

    def grouped(
        self, seed: int, shares: Mapping[Split, float], *, by: Sequence[str] = ("speaker", "source")
    ) -> list[Split]:
        """A split for each clip by speaker, source recording, text or audio; the given ones stay.

        Args:
            shares: of the splits that are held out.
            by: which of speaker and source recording are heeded.
        """
        contents = self.clips.contents()
        keys: list[list[Key]] = []
        for place, facts in enumerate(self.clips.facts):
            speaker, source = (facts.get(name) if name in by else None for name in ("speaker", "source"))
            origin = origin_keys(speaker and str(speaker), source, facts.get("text") and str(facts["text"]))
            content = contents[place]
            keys.append([*origin, ("audio", self.clips.ids[place]) if content is None else ("content", content)])
        return group_splits(keys, self.splits, seed=seed, shares=shares)

    def limited(self, limit: int | None, seed: int) -> "Source":
        """At most so many clips of each split, drawn by their ids and the seed."""
        if limit is None:
            return self
        kept = []
        for split in (*SPLITS, None):
            own = [place for place, each in enumerate(self.splits) if each == split]
            kept += sorted(own, key=lambda n: runtime.derive_seed("limit", seed, self.clips.ids[n]))[:limit]
        return self.part(sorted(kept))

    def part(self, places: Sequence[int]) -> "Source":
        return replace(self, clips=self.clips.part(places), splits=[self.splits[place] for place in places])


def open_clips(data: Any, reading: Reading, *, limit: int | None = None, seed: int = 0) -> Source:
    """List clips with what is known of each; no audio is decoded yet.

    Args:
        data: a csv, tsv, jsonl or parquet file (paths in it count from its folder), a pandas data frame (they count
            from the working folder), a recording or a list of them, a dataset that s5 built, the name of a corpus, a
            folder of recordings, an `AudioDataset` or `AudioSample`s.
        limit: at most so many clips of each split, drawn by `seed`.
        seed: also of what is drawn to make a corpus.

    Raises:
        UserError: when there are no clips, no column with audio, none of the files, or a column that is needed is not
            there.
    """
    return _open(data, reading, limit, seed).limited(limit, seed)


def _open(data: Any, reading: Reading, limit: int | None, seed: int) -> Source:
    if isinstance(data, AudioDataset):
        return _of_samples(data.name, data, reading, getattr(data, "rejected", []))
    if hasattr(data, "to_dict") and hasattr(data, "columns"):  # a data frame, without importing pandas
        rows = [{str(name): value for name, value in row.items()} for row in data.to_dict("records")]
        return _of_rows("data frame", [str(name) for name in data.columns], rows, Path(), reading)
    if isinstance(data, list | tuple) and data and all(isinstance(each, AudioSample) for each in data):
        return _of_samples("samples in memory", data, reading)
    if isinstance(data, list | tuple) and all(isinstance(each, str | Path) for each in data):
        return _of_recordings("the list", data, reading)
    if not isinstance(data, str | Path):
        raise UserError(f"{type(data).__name__} is no data: give a file, files, a data frame, a corpus or a folder")
    path = Path(data)
    if str(data) in corpora.CORPORA:
        return _of_samples(str(data), load_audio_dataset(str(data), limit=limit, seed=seed), reading)
    if path.name.lower().endswith(TABLES):
        return _of_file(path, reading)
    if path.is_dir():
        return _of_folder(path, reading, seed)
    if path.name.lower().endswith(io.AUDIO_SUFFIXES):
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        return _of_recordings(str(path), [path], reading)
    there = ", ".join(corpora.CORPORA)
    raise UserError(f"{data}: neither a table ({', '.join(TABLES)}), a folder nor a corpus; there are {there}")


def _of_folder(path: Path, reading: Reading, seed: int) -> Source:
    if not (path / DICT_NAME).is_file():
        dataset = load_audio_dataset("folder", path=path, seed=seed, unlabelled=reading.target is None)
        return replace(_of_samples(str(path), dataset, reading, dataset.rejected), split_by=f"by the splits of {path}")
    parts = {split: from_dataset(path, split) for split in SPLITS if (path / split).is_dir()}
    clips = next(iter(parts.values())).part([])
    for part in parts.values():
        clips = clips.joined(part)
    splits: list[Split | None] = [split for split, part in parts.items() for _ in part.ids]
    return Source(str(path), clips, splits, split_by=f"by the splits of {path}")


def _of_recordings(title: str, paths: Sequence[str | Path], reading: Reading) -> Source:
    """Recordings of which nothing else is known."""
    rows = [{"audio": str(path)} for path in paths]
    return _of_rows(title, ["audio"], rows, Path(), replace(reading, audio="audio"))


def _of_samples(
    title: str, samples: Iterable[AudioSample], reading: Reading, rejected: Sequence[Rejected] = ()
) -> Source:
    """Facts of a sample are its metadata, and its text or label."""
    rows = [
        {("text" if sample.task == "asr" else "label"): sample.text}
        | present({"duration": sample.duration})
        | sample.metadata
        | {"audio": sample.audio_path if sample.audio_array is None else sample}
        for sample in samples
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    source = _of_rows(title, columns, rows, Path(), replace(reading, audio="audio", split="split"), rejected)
    info = corpora.CORPORA[title].info if title in corpora.CORPORA else None
    language = info.languages if info and info.languages.isalpha() and len(info.languages) == 2 else ""
    rule = f" ({info.splits})" if info else ""
    return replace(source, language=language, split_by=f"by the splits of {title}{rule}")


def _of_file(path: Path, reading: Reading) -> Source:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.name.lower().endswith(PARQUET):
        columns, rows = _read_parquet(path)
        return _of_rows(str(path), columns, rows, path.parent, reading)
    listing = read_listing(path, audio_names={reading.audio.lower(), *AUDIO_NAMES})
    rows = [
        row.pop("metadata") | row if isinstance(row.get("metadata"), dict) else row for row in listing.rows.values()
    ]
    return _of_rows(str(path), listing.columns, rows, path.parent, reading, rejections(listing.findings))


def _read_parquet(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a parquet file: {error}") from error
    return table.column_names, table.to_pylist()


def _of_rows(
    title: str, columns: Sequence[str], rows: Sequence[dict[str, Any]], folder: Path, reading: Reading,
    rejected: Sequence[Rejected] = (),
) -> Source:  # fmt: skip
    if not rows and (rejected or not columns):
        raise no_clips(title, rejected)
    audio_column = _audio_column(title, columns, reading)
    if not rows:
        raise no_clips(title, rejected)
    reading = _with_spellings(title, columns, reading)
    notes: list[str] = []
    facts = [_facts(row, audio_column, reading) for row in rows]
    _mark_missing(facts, reading, notes)
    audio = [row.get(audio_column) for row in rows]
    paths = [_shown(value) or f"row {number}" for number, value in enumerate(audio, start=1)]
    _check_some_exist(title, audio, folder)
    clips = Clips(_ids(title, rows, paths), lambda place: _bytes(audio[place], folder), facts, paths)
    splits = _splits(title, [row.get(reading.split) for row in rows], reading.split)
    source = Source(title, clips, splits, f"by the column {reading.split}", rejected=list(rejected), notes=notes)
    return _without_dropped(source, [_has_audio(value) for value in audio], reading)


def _without_dropped(source: Source, has_audio: Sequence[bool], reading: Reading) -> Source:
    """The same without the rows that lack what `reading.drop` names."""
    clips, target, lacking = source.clips, reading.target, dict[int, str]()
    for place, facts in enumerate(clips.facts):
        if "audio" in reading.drop and not has_audio[place]:
            lacking[place] = "audio"
        elif "target" in reading.drop and target is not None and label_of(facts.get(target)) is None:
            lacking[place] = target
    kept = [place for place in range(len(clips)) if place not in lacking]
    notes = [
        f"{count:,} of {len(clips):,} rows have no {name} and are dropped, as missing_value_strategy: drop_row asks"
        for name, count in Counter(lacking.values()).items()
    ]
    if not kept:
        raise UserError(f"{source.title}: {'; '.join(notes)}: no clip is left")
    dropped = [
        Rejected(clips.ids[place], (clips.paths or clips.ids)[place], f"no {name}, dropped")
        for place, name in lacking.items()
    ]
    return replace(source.part(kept), notes=[*source.notes, *notes], dropped=dropped)


def _audio_column(title: str, columns: Sequence[str], reading: Reading) -> str:
    names = tuple(dict.fromkeys((reading.audio, *AUDIO_NAMES)))
    found = next((name for name in names if name in columns), None)
    if found is None:
        raise UserError(
            f"{title}: no column with audio ({', '.join(names)}); it has {', '.join(columns) or 'no columns'}"
        )
    return found


def _with_spellings(title: str, columns: Sequence[str], reading: Reading) -> Reading:
    """The same with the columns of facts that the source spells otherwise, such as sentence for text."""
    lacking = [column for column in reading.columns.values() if column not in columns]
    if lacking:
        hint = ": a table can have the rest beside it" if list(columns) == ["audio"] else ""  # recordings alone
        raise UserError(f"{title}: no column {', '.join(lacking)}; it has {', '.join(columns)}{hint}")
    theirs = {name.lower(): name for name in reversed(columns)}
    spelled = {
        ours: next(theirs[name] for name in SPELLINGS[ours] if name in theirs)
        for ours in _FACTS
        if ours not in columns and any(name in theirs for name in SPELLINGS[ours])
    }
    return replace(reading, columns=spelled | dict(reading.columns))


def _facts(row: Mapping[str, Any], audio_column: str, reading: Reading) -> dict[str, Any]:
    """What is known of a clip, under the names that are wanted; NaN and empty text are not known."""
    known = {name: value for name, value in row.items() if name not in (audio_column, "id", reading.split)}
    known |= {name: row.get(column) for name, column in reading.columns.items()}
    return present({name: _plain(value) for name, value in known.items()})


def _plain(value: Any) -> Any:
    """A number without a fraction is written as such: labels 0, 1, 2 that a data frame holds as 0.0, 1.0, 2.0."""
    value = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() else value
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def _mark_missing(facts: Sequence[dict[str, Any]], reading: Reading, notes: list[str]) -> None:
    """Numbers that are NaN are missing, as are those that are not there; they are counted."""
    for name in reading.numbers:
        for each in facts:
            if isinstance(each.get(name), str) and each[name].strip().lower() in _NO_NUMBER:
                del each[name]
        missing = sum(name not in each for each in facts)
        if missing:
            notes.append(
                f"{name}: {missing} of {len(facts)} clips have no number; the network is given that it is missing"
            )


def _ids(title: str, rows: Sequence[Mapping[str, Any]], paths: Sequence[str]) -> list[str]:
    """The column `id`, else the paths."""
    ids = [str(_plain(row["id"])) for row in rows] if all(row.get("id") not in (None, "") for row in rows) else paths
    twice = [name for name, times in Counter(ids).items() if times > 1]
    if twice:
        many = f"{len(twice)} names stand" if len(twice) > 1 else "1 name stands"
        reason = "results need unique ones: leave the others out, or add a column id"
        raise UserError(f"{title}: {many} for several clips, {twice[0]} first; {reason}")
    return list(ids)


def _splits(title: str, values: Sequence[Any], column: str) -> list[Split | None]:
    plain = map(_plain, values)
    given = ["" if value is None or value is False else str(value).strip().lower() for value in plain]
    known = {**SPLIT_SPELLINGS, **_NUMBERED}
    odd = Counter(text for text in given if text and text not in known)
    if odd:
        named = ", ".join(f"{value!r} ({count})" for value, count in odd.items())
        raise UserError(f"{title}: column {column} has {named}; allowed: {', '.join(SPLITS)}, or 0, 1, 2 for these")
    return [known.get(text) for text in given]


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
    """The name of a clip's audio."""
    if isinstance(audio, AudioSample):
        return str(audio.metadata.get("id") or audio.audio_path or "")
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
    if isinstance(audio, AudioSample):
        return _bytes_of_array(audio)
    if isinstance(audio, str | Path) and str(audio):
        return files.read_file(folder / audio)
    if hasattr(audio, "shape") or isinstance(audio, list):
        raise BadClip(f"a {type(audio).__name__} has no sample rate: give a path, or the bytes of an audio file")
    raise BadClip("no audio")


def _bytes_of_array(sample: AudioSample) -> bytes:
    if sample.audio_array is None or sample.sample_rate is None:
        raise BadClip("audio_array without sample_rate" if sample.sample_rate is None else "no audio")
    whole = AudioProcessor(sample.sample_rate, normalize=False, mono=False, max_duration=None)
    try:
        waveform = whole.load_array(np.asarray(sample.audio_array), sample.sample_rate).waveform
    except UserError as error:
        raise BadClip(str(error)) from error
    return io.float_wav_bytes(waveform.numpy().T, sample.sample_rate)
