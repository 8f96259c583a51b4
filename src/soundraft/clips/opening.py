"""The one door: clips of any task from a dataset of ours, a corpus, a folder, a table, a data frame, or from memory."""

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from soundraft import corpora, files, runtime
from soundraft.audio import ecdc, io
from soundraft.clips.base import OF_DATASET, Clips, Reading, from_dataset, label_of, label_set_of, present
from soundraft.corpora import load_audio_dataset
from soundraft.corpora.base import AudioDataset, AudioSample, check_limit
from soundraft.corpora.lists import JSON_SUFFIXES, LIST_SUFFIXES, SPELLINGS, SPLIT_SPELLINGS, read_listing, rejections
from soundraft.dataset import table
from soundraft.manifest import SPLITS, Rejected, Split, no_clips
from soundraft.parallel import BadClip
from soundraft.runtime import UserError
from soundraft.splits import Key, group_splits, origin_keys

AUDIO_NAMES = (*SPELLINGS["audio_path"], "noisy_filepath")
TARGET, TARGET_NAMES = "target_path", ("target_path", "clean_filepath", "target_filepath")  # the clean side of a pair
ARRAY_NAMES, RATE_NAMES = ("audio_array", "array"), ("sampling_rate", "sample_rate")
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
        drawn: whether the source has no splits of its own, and all were drawn.
        language: code of the one language that it has, where that is known, else empty.
        rejected: lines that are no clips.
        dropped: rows that the reading drops, with what they lack.
        notes: what the user should know of them.
    """

    title: str
    clips: Clips
    splits: list[Split | None]
    split_by: str = ""
    drawn: bool = False
    language: str = ""
    rejected: list[Rejected] = field(default_factory=list)
    dropped: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def has_splits(self) -> bool:
        """Whether it has splits of its own."""
        return not self.drawn and any(split is not None for split in self.splits)

    def grouped(
        self, seed: int, shares: Mapping[Split, float], *, by: Sequence[str] = ("speaker", "source")
    ) -> list[Split]:
        """A split for each clip by speaker, source recording, text or audio; the given ones stay.

        Args:
            shares: of the splits that are held out.
            by: which of speaker and source recording are heeded.
        """
        keys: list[list[Key]] = []
        for name, facts, content in zip(self.clips.ids, self.clips.facts, self.clips.contents(), strict=True):
            speaker, source = (facts.get(each) if each in by else None for each in ("speaker", "source"))
            origin = origin_keys(speaker and str(speaker), source, facts.get("text") and str(facts["text"]))
            keys.append([*origin, ("audio", name) if content is None else ("content", content)])
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


def open_clips(
    data: Any, reading: Reading, *, split: Split | None = None, limit: int | None = None, seed: int = 0
) -> Source:
    """List clips with what is known of each; no audio is decoded yet.

    Args:
        data: a csv, tsv, jsonl or parquet file (paths in it count from its folder), a pandas data frame, a
            `datasets.Dataset` or a list of dicts (they count from the working folder), a recording or a list of them, a
            dataset that s5 or `save_to_disk` made, the name of a corpus, a folder of recordings, an `AudioDataset` or
            `AudioSample`s; or a dict with one of these for each split, such as a `DatasetDict`; or a `Source`.
        split: of a corpus by name bring in these clips alone.
        limit: at most so many clips of each split, drawn by `seed`.
        seed: also of what is drawn to make a corpus.

    Raises:
        UserError: when there are no clips, no column with audio, none of the files, or a column that is needed is not
            there.
    """
    check_limit(limit)
    return _open(data, reading, split, limit, seed).limited(limit, seed)


def _open(data: Any, reading: Reading, split: Split | None, limit: int | None, seed: int) -> Source:
    if isinstance(data, Source):
        return data
    if isinstance(data, AudioDataset):
        return _of_samples(data.name, data, reading)
    if isinstance(data, Mapping) and data and all(str(name).lower() in SPLIT_SPELLINGS for name in data):
        title = type(data).__name__
        return _joined(title, {str(name): _open(part, reading, None, None, seed) for name, part in data.items()})
    if hasattr(data, "column_names") and hasattr(data, "with_format") and hasattr(data, "__len__"):
        return _of_dataset("dataset", data, reading)  # of `datasets`, without importing it
    if hasattr(data, "to_dict") and hasattr(data, "columns"):  # a data frame, without importing pandas
        return _of_rows("data frame", [str(name) for name in data.columns], data.to_dict("records"), Path(), reading)
    if isinstance(data, list | tuple):
        return _of_list(data, reading)
    if not isinstance(data, str | Path):
        kinds = "a file, files, a data frame, a dataset, a list of dicts, a corpus or a folder"
        raise UserError(f"{type(data).__name__} is no data: give {kinds}")
    path = Path(data)
    if str(data) in corpora.CORPORA:
        return _of_samples(str(data), load_audio_dataset(str(data), split, limit, seed=seed), reading)
    if path.name.lower().endswith(TABLES):
        return _of_file(path, reading)
    if table.is_saved(path):
        return _of_saved(path, reading)
    if path.is_dir():
        folder = load_audio_dataset("folder", path=path, seed=seed, unlabelled=reading.target is None)
        return _of_samples(str(path), folder, reading)
    if path.name.lower().endswith(io.AUDIO_SUFFIXES):
        return _of_list([path], reading, title=str(path))
    there = ", ".join(corpora.CORPORA)
    raise UserError(f"{data}: neither a table ({', '.join(TABLES)}), a folder nor a corpus; there are {there}")


def _of_list(items: Sequence[Any], reading: Reading, *, title: str = "the list") -> Source:
    """Of recordings of which nothing else is known, of dicts, or of samples."""
    if items and all(isinstance(each, AudioSample) for each in items):
        return _of_samples("samples in memory", items, reading)
    rows = [{"audio": str(each)} if isinstance(each, str | Path) else each for each in items]
    odd = [type(each).__name__ for each in rows if not isinstance(each, Mapping)]
    if odd:
        raise UserError(f"{title}: {odd[0]} in it is no clip: give paths, dicts or samples")
    return _of_rows(title, None, rows, Path(), reading)


def _joined(title: str, parts: Mapping[str, Source]) -> Source:
    """One source of several, each of them a split."""
    names = Counter(name for part in parts.values() for name in part.clips.ids)
    found: list[Clips] = []
    for split, part in parts.items():
        ids = [f"{split}/{name}" if names[name] > 1 else name for name in part.clips.ids]
        found.append(replace(part.clips, ids=ids))
    splits = [SPLIT_SPELLINGS.get(name.lower()) for name, part in parts.items() for _ in part.splits]
    return Source(
        title, functools.reduce(Clips.joined, found), splits, f"by the splits of {title}",
        rejected=[bad for part in parts.values() for bad in part.rejected],
        dropped=[bad for part in parts.values() for bad in part.dropped],
        notes=[f"{split}: {note}" for split, part in parts.items() for note in part.notes],
    )  # fmt: skip


def _of_saved(path: Path, reading: Reading) -> Source:
    """A dataset that s5 built, or another program with `save_to_disk`; or one split of it."""
    if (path / table.STATE_NAME).is_file():
        return _of_saved_split(path, path, reading)
    return _joined(
        str(path), {split: _of_saved_split(path / split, path, reading) for split in table.read_splits(path)}
    )


def _of_saved_split(place: Path, folder: Path, reading: Reading) -> Source:
    if set(OF_DATASET) <= set(table.read_table(place).column_names):
        clips = from_dataset(place.parent, place.name)
        return Source(str(place), clips, [None] * len(clips))
    import datasets

    try:
        saved = datasets.load_from_disk(str(place))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{place / table.INFO_NAME} is damaged: {error}") from error
    return _of_dataset(str(place), saved, reading, folder)


@dataclass(frozen=True)
class _Stored:
    """Audio in a dataset: what it is called, and how it is read."""

    name: str
    read: Callable[[], Any]


def _of_dataset(title: str, data: Any, reading: Reading, folder: Path = Path()) -> Source:
    """Of a `datasets.Dataset`, which decodes nothing; a recording is read when it is asked for."""
    audio = _audio_column(title, data.column_names, reading)
    plain, cells = data.with_format("arrow"), data.select_columns([audio]).with_format("arrow")
    rows = plain.remove_columns([audio])[:].to_pylist() or [{} for _ in range(len(data))]
    for name, feature in data.features.items():
        if hasattr(feature, "int2str"):  # labels that are kept as numbers
            for row in rows:
                row[name] = None if row[name] in (None, -1) else feature.names[row[name]]
        elif hasattr(getattr(feature, "feature", None), "int2str"):  # lists of them
            for row in rows:
                row[name] = None if row[name] is None else [feature.feature.names[each] for each in row[name]]
    names = [name for batch in cells.iter(256) for chunk in batch.column(0).chunks for name in _paths_in(chunk)]
    for place, (row, name) in enumerate(zip(rows, names, strict=True)):
        row[audio] = _Stored(name, functools.partial(_cell, cells, place))
    return _of_rows(title, data.column_names, rows, folder, reading)


def _cell(cells: Any, place: int) -> Any:
    return cells[place].column(0)[0].as_py()


def _paths_in(column: Any) -> list[str]:
    """The paths in a column of audio; empty texts where it has none."""
    import pyarrow as pa

    if pa.types.is_struct(column.type) and column.type.get_field_index("path") >= 0:
        column = column.field("path")
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return [path or "" for path in column.to_pylist()] if text else [""] * len(column)


def _of_samples(title: str, samples: Iterable[AudioSample], reading: Reading) -> Source:
    """Facts of a sample are its metadata, and its text or label."""
    rows = []
    for sample in samples:
        known = {"text" if sample.task == "asr" else "label": sample.text} | present({"duration": sample.duration})
        audio: Any = sample.audio_path
        if sample.audio_array is not None:
            name = str(sample.metadata.get("id") or sample.audio_path or "")
            audio = {"array": sample.audio_array, "sampling_rate": sample.sample_rate, "path": name}
        rows.append({**known, **sample.metadata, "audio": audio})
    rejected, drawn = getattr(samples, "rejected", ()), getattr(samples, "drawn", False)
    source = _of_rows(title, None, rows, Path(), replace(reading, audio="audio", split="split"), rejected)
    info = corpora.CORPORA[title].info if title in corpora.CORPORA else None
    language = info.languages if info and info.languages.isalpha() and len(info.languages) == 2 else ""
    rule = f" ({info.splits})" if info else ""
    how = "drawn by speaker, source recording, text or audio" if drawn else f"by the splits of {title}{rule}"
    return replace(source, language=language, split_by=how, drawn=drawn)


def _of_file(path: Path, reading: Reading) -> Source:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if not path.name.lower().endswith(PARQUET):
        listing = read_listing(path, audio_names={reading.audio.lower(), *AUDIO_NAMES})
        rows, bad = list(listing.rows.values()), rejections(listing.findings)
        return _of_rows(str(path), listing.columns, rows, path.parent, reading, bad)
    found = files.read_parquet(path)
    return _of_rows(str(path), found.column_names, found.to_pylist(), path.parent, reading)


def _of_rows(
    title: str, columns: Sequence[str] | None, rows: Sequence[Mapping[Any, Any]], folder: Path, reading: Reading,
    rejected: Sequence[Rejected] = (),
) -> Source:  # fmt: skip
    """Of rows whose columns are these, or else those that any row has; what an object `metadata` has is facts, too."""
    columns = columns if columns is not None else list(dict.fromkeys(str(name) for row in rows for name in row))
    if not rows and (rejected or not columns):
        raise no_clips(title, rejected)
    audio_column = _audio_column(title, columns, reading)
    if not rows:
        raise no_clips(title, rejected)
    rows = [_flat(row) for row in rows]
    reading = _with_spellings(title, columns, reading)
    notes: list[str] = []
    facts = [_with_target(_facts(row, audio_column, reading), folder) for row in rows]
    _mark_missing(facts, reading, notes)
    if reading.several:
        _read_sets(title, facts, reading)
    else:
        _check_single(title, facts, reading.target, notes)
    audio = [_audio_in(row, audio_column) for row in rows]
    paths = [_shown(value) or f"row {number}" for number, value in enumerate(audio, start=1)]
    _check_some_exist(title, paths, audio, folder)
    clips = Clips(_ids(title, rows, paths), lambda place: _bytes(audio[place], folder), facts, paths)
    splits = _splits(title, [row.get(reading.split) for row in rows], reading.split)
    source = Source(title, clips, splits, f"by the column {reading.split}", rejected=list(rejected), notes=notes)
    return _without_dropped(source, [_has_audio(value) for value in audio], reading)


def _flat(row: Mapping[Any, Any]) -> dict[str, Any]:
    inner = row.get("metadata")
    outer = {str(name): value for name, value in row.items() if name != "metadata" or not isinstance(inner, dict)}
    return inner | outer if isinstance(inner, dict) else outer


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
    names = tuple(dict.fromkeys((reading.audio, *AUDIO_NAMES, *ARRAY_NAMES)))
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
    other = (audio_column, *ARRAY_NAMES, "id", reading.split)
    known = {name: value for name, value in row.items() if name not in other}
    known |= {name: row.get(column) for name, column in reading.columns.items()}
    return present({name: _plain(value) for name, value in known.items()})


def _with_target(facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """With the path of the clean side of a pair, which counts from the folder as that of the audio does."""
    named = next((name for name in TARGET_NAMES if isinstance(facts.get(name), str)), None)
    if named is None:
        return facts
    return {name: value for name, value in facts.items() if name != named} | {TARGET: str(folder / facts[named])}


def _plain(value: Any) -> Any:
    """A number without a fraction is written as such: labels 0, 1, 2 that a data frame holds as 0.0, 1.0, 2.0."""
    value = value.tolist() if hasattr(value, "tolist") else value
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


def _check_single(title: str, facts: Sequence[dict[str, Any]], target: str | None, notes: list[str]) -> None:
    """Raise UserError when a clip has several targets, and say where the text of one looks like several."""
    for each in facts if target else ():
        value = each.get(target or "")
        if isinstance(value, list | tuple | Mapping):
            if len(value) != 1 or isinstance(value, Mapping):
                raise UserError(
                    f"{title}: {value!r:.80} is no single {target}; classification.output set (an output of type set) "
                    "learns several of a clip"
                )
            each[target or ""] = value[0]
    known = {str(each[target]) for each in facts if target in each} if target != "text" else set()
    joined = sorted(
        value for value in known if len(parts := re.split("[,;|]", value)) > 1 and known & {*map(str.strip, parts)}
    )
    if joined:
        notes.append(f"{target} {joined[0]!r} looks like several: it is learned as one of its own, unless "
                     "classification.output is set")  # fmt: skip


def _read_sets(title: str, facts: Sequence[dict[str, Any]], reading: Reading) -> None:
    """Make the target of each clip a list of labels, where it is known."""
    for each in facts if reading.target else ():
        try:
            labels = label_set_of(each.get(reading.target or ""), reading.several)
        except UserError as error:
            raise UserError(f"{title}: {reading.target}: {error}") from error
        if labels is not None:
            each[reading.target or ""] = list(labels)


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


def _check_some_exist(title: str, paths: Sequence[str], audio: Sequence[Any], folder: Path) -> None:
    """Raise UserError when no file is there: then it is the paths that are wrong, not the files."""
    if all(path.endswith(ecdc.SUFFIX) for path in paths):
        raise UserError(f"{title}: its audio is token files (*{ecdc.SUFFIX}), and models take recordings")
    named = [folder / value for value in audio if isinstance(value, str | Path)]
    if len(named) == len(audio) and not any(path.is_file() for path in named):
        shown = ", ".join(map(str, paths[:3]))
        of = f"none of its {len(named)} audio files exists" if len(named) > 1 else "its only audio file does not exist"
        raise UserError(f"{title}: {of}: {shown}; paths count from {folder.resolve()}")


def _audio_in(row: Mapping[str, Any], column: str) -> Any:
    """What names or holds the audio of a row; an array gets the rate that stands in a column of its own."""
    cell = row.get(column)
    if not _has_audio(cell):
        cell = next((row[name] for name in ARRAY_NAMES if row.get(name) is not None), cell)
    if not (hasattr(cell, "shape") or isinstance(cell, list | tuple)):
        return cell
    rates = (row[name] for name in RATE_NAMES if row.get(name) is not None)
    return {"array": cell, "sampling_rate": next(rates, None)}


def _shown(audio: Any) -> str:
    """The name of a clip's audio."""
    if isinstance(audio, _Stored):
        return audio.name
    if isinstance(audio, Mapping):
        return str(audio.get("path") or "")
    return str(audio) if isinstance(audio, str | Path) else ""


def _has_audio(value: Any) -> bool:
    """Whether a cell names or holds audio, be it there or not; NaN and what a table leaves empty does not."""
    if isinstance(value, Mapping):
        return bool(value.get("bytes") or value.get("path") or value.get("array") is not None)
    if isinstance(value, str | bytes):
        return bool(value.strip())
    return value is not None and (hasattr(value, "__len__") or _plain(value) is not None)


def _bytes(audio: Any, folder: Path) -> bytes:
    """Of the audio file: read from its path, or as they are, alone or in the form of a `datasets` column.

    Raises:
        BadClip: when there is none, or what is there is no audio.
    """
    audio = audio.read() if isinstance(audio, _Stored) else audio
    if isinstance(audio, Mapping) and audio.get("array") is not None:
        return _bytes_of_array(audio["array"], next((audio[name] for name in RATE_NAMES if name in audio), None))
    if isinstance(audio, Mapping):
        audio = audio.get("bytes") or audio.get("path")
    if isinstance(audio, bytes):
        return audio
    if isinstance(audio, str | Path) and str(audio):
        return files.read_file(folder / audio)
    raise BadClip("no audio" if not _has_audio(audio) else f"a {type(audio).__name__} is no audio")


def _bytes_of_array(array: Any, rate_hz: Any) -> bytes:
    try:
        rate_hz = int(rate_hz)
    except (TypeError, ValueError) as error:
        reason = f"sampling_rate {rate_hz!r}" if rate_hz is not None else "no sample rate"
        raise BadClip(f"an array with {reason}: give the rate in Hz beside it") from error
    try:
        io.check_rate("sampling_rate", rate_hz)
        samples = io.from_array(array)
    except ValueError as error:  # UserError too: the array of one clip, as a file, costs that clip alone
        raise BadClip(str(error)) from error
    return io.float_wav_bytes(samples, rate_hz)
