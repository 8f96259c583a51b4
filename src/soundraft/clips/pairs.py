"""Pairs of noisy and clean speech, from manifests, cuts, Shar directories and tar files, as `Source`s of clips.

Every pair is decoded once when it is opened: what cannot be a pair is rejected with its reason. Where a pair is not
simply two mono files (several channels, a segment, a normalisation, cuts, tar files) it is written to the cache as two
WAV files, under the hash of their content. A clip's audio is the noisy file, its fact `target_path` the clean one; a
row without a target is clean speech alone.
"""

import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.signal import fftconvolve

from soundraft import files, runtime
from soundraft.audio import io
from soundraft.clips.base import Clips, present
from soundraft.clips.blend import Leaf, Tree, blended
from soundraft.clips.opening import Source
from soundraft.corpora.lists import read_listing, rejections
from soundraft.manifest import Rejected, no_clips
from soundraft.parallel import Failure, map_clips
from soundraft.runtime import BadClip, UserError

NOISY_KEY, CLEAN_KEY = "noisy_filepath", "clean_filepath"
TARGET_FIELD = "target_recording"
LEAST_CORRELATION = 0.1  # a target whose correlation with its input is nowhere above this is of another recording
FULL_SCALE, MOST_AT_FULL_SCALE = 0.999, 1e-3
Selector = int | Sequence[int] | Literal["average"] | None
Audio = tuple[np.ndarray, int]  # samples [N, C] and their rate, Hz


@dataclass(frozen=True)
class PairOptions:
    """How pairs are read.

    Attributes:
        input_key, target_key: of a row the path of a file, or a list of paths, which are the channels.
        audio_duration: of a segment, seconds; `None`: the whole clip.
        offset: where a segment begins; both sides of a pair have one offset, drawn by seed and id.
        min_duration, max_duration: shorter and longer clips are dropped, and counted, seconds.
        max_utts: at most so many clips, the first ones; 0: all.
        input_channels, target_channels: of files with several: one, the mean of some, or of all.
        normalization_signal: both sides are divided by the peak of this one.
        needs_target: whether a row without a target is rejected, else it is clean speech alone.
    """

    input_key: str = NOISY_KEY
    target_key: str = CLEAN_KEY
    audio_duration: float | None = None
    offset: Literal["start", "end", "random"] = "start"
    min_duration: float | None = None
    max_duration: float | None = None
    max_utts: int = 0
    input_channels: Selector = None
    target_channels: Selector = None
    normalization_signal: Literal["input_signal", "target_signal"] | None = None
    needs_target: bool = True
    seed: int = 0

    @property
    def changes(self) -> bool:
        """Whether samples are other than those of the files."""
        chosen = (self.audio_duration, self.input_channels, self.target_channels, self.normalization_signal)
        return any(each is not None for each in chosen)


@dataclass(frozen=True)
class Raw:
    """A pair as a source lists it.

    Attributes:
        load: both sides, the second `None` where there is clean speech alone.
        duration: seconds, where the source says it.
        files: of both sides, where each is one file, taken whole.
    """

    id: str
    load: Callable[[], tuple[Audio, Audio | None]]
    duration: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, Path | None] | None = None


def from_manifest(path: Path | str, options: PairOptions) -> Source:
    """Pairs of a manifest of JSON lines; paths in it count from its folder.

    Raises:
        UserError: when it cannot be read, or no pair of it can be used.
    """
    path = Path(path)
    rows, rejected = _rows(path, options)
    raws = [_of_row(row, path.parent, options) for row in rows]
    return _source(str(path), raws, options, rejected)


def from_cuts(path: Path | str, options: PairOptions) -> Source:
    """Cuts of lhotse with a custom field target_recording; relative paths in it count from the working folder."""
    from lhotse import CutSet

    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    return _source(str(path), map(_of_cut, CutSet.from_file(path)), options, [])


def from_shar(place: Path | str | Sequence[Path | str], options: PairOptions) -> Source:
    """A Shar directory of lhotse, or several.

    Raises:
        UserError: also when a directory lacks the field target_recording.
    """
    from lhotse import CutSet

    folders = [Path(each) for each in ([place] if isinstance(place, str | Path) else place)]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
        fields = sorted({each.name.split(".")[0] for each in folder.iterdir() if each.is_file()})
        if not {"cuts", TARGET_FIELD} <= set(fields):
            raise UserError(
                f"{folder}: a Shar directory needs the fields cuts, recording and {TARGET_FIELD}; it has "
                f"{', '.join(fields) or 'no files'}; export it with -a recording:flac -c {TARGET_FIELD}:flac"
            )
    cuts = [cut for folder in folders for cut in CutSet.from_shar(in_dir=folder, shuffle_shards=False)]
    return _source(", ".join(map(str, folders)), map(_of_cut, cuts), options, [])


def from_tar(manifest: Path | str, tars: str | Path | Sequence[str | Path], options: PairOptions) -> Source:
    """Pairs of a manifest whose paths are names in tar files; both may be several, as `name__OP_0..7_CL_.tar`."""
    manifests = [Path(each) for each in expanded(manifest)]
    members: dict[str, tuple[Path, str]] = {}
    for tar in (Path(each) for each in expanded(tars)):
        if not tar.is_file():
            raise UserError(f"{tar}: no such file")
        with tarfile.open(tar) as opened:
            members |= {name: (tar, name) for name in opened.getnames()}
    raws, rejected = [], []
    for path in manifests:
        rows, bad = _rows(path, options)
        raws += [_of_member(row, members, options) for row in rows]
        rejected += bad
    return _source(", ".join(map(str, manifests)), raws, options, rejected)


def from_tree(tree: Tree, options: PairOptions, *, count: int | None = None) -> Source:
    """The sources of a tree as one, drawn by their shares.

    Args:
        count: of draws; `None`: as many as there are clips in all. A clip that is drawn again has a name of its own.
    """
    sources = [_of_leaf(leaf, options) for leaf in tree.leaves]
    total = sum(len(source.clips) for source in sources) if count is None else count
    drawn = blended(tree.leaves, [len(source.clips) for source in sources], total, options.seed)
    again = sum(times > 0 for _, _, times in drawn)
    clips = [_again(sources[leaf], tree.leaves[leaf], place, times) for leaf, place, times in drawn]
    shares = ", ".join(
        f"{source.title} {leaf.probability:.1%}" for source, leaf in zip(sources, tree.leaves, strict=True)
    )
    notes = [*tree.notes, f"{total} draws from {len(sources)} sources: {shares}; {again} come again"]
    return Source(
        "input_cfg", _joined(clips), [None] * len(clips), "of the tree of sources",
        rejected=[bad for source in sources for bad in source.rejected],
        dropped=[bad for source in sources for bad in source.dropped],
        notes=notes + [note for source in sources for note in source.notes],
    )  # fmt: skip


def expanded(names: str | Path | Sequence[str | Path]) -> list[str]:
    """Names with a range, such as `a__OP_0..2_CL_.tar` or `a_{0..2}.tar`, one by one."""
    if not isinstance(names, str | Path):
        return [found for name in names for found in expanded(name)]
    found = re.search(r"(?:_OP_|\{)(\d+)\.\.(\d+)(?:_CL_|\})", str(names))
    if not found:
        return [str(names)]
    low, high = found[1], found[2]
    numbers = (f"{number:0{len(low)}d}" for number in range(int(low), int(high) + 1))
    return [each for number in numbers for each in expanded(str(names).replace(found[0], number, 1))]


def check_pair(noisy: Audio, clean: Audio) -> None:
    """Raise BadClip when the one cannot be the clean speech of the other, samples `[N]`."""
    (one, one_hz), (other, other_hz) = noisy, clean
    if one_hz != other_hz:
        raise BadClip(f"the target has {other_hz} Hz, the input {one_hz} Hz: they must be of one rate")
    if len(one) != len(other):
        raise BadClip(f"the target has {len(other)} samples, the input {len(one)}: they must be of one length")
    if not other.any():
        raise BadClip("the target is silent")
    loud = float(np.mean(np.abs(other) >= FULL_SCALE))
    if loud > MOST_AT_FULL_SCALE:
        raise BadClip(f"the target is clipped: {loud:.1%} of its samples are at full scale")
    scale = np.sqrt(float(one @ one) * float(other @ other))
    nearest = float(np.abs(fftconvolve(one, other[::-1])).max() / scale) if scale else 0.0
    if nearest < LEAST_CORRELATION:
        raise BadClip(f"the target is of another recording: its correlation with the input is {nearest:.2f}")


@dataclass(frozen=True)
class _Made:
    noisy: str
    clean: str | None
    duration: float


def _source(title: str, raws: Iterable[Raw], options: PairOptions, rejected: Sequence[Rejected]) -> Source:
    listed = list(raws)
    twice = [name for name, times in Counter(raw.id for raw in listed).items() if times > 1]
    if twice:
        raise UserError(f"{title}: {twice[0]} stands for several clips ({len(twice)} such names); add a column id")
    kept, dropped, notes = _of_length(listed, options)
    kept = kept[: options.max_utts] if options.max_utts else kept
    made = list(map_clips(partial(_made, options), kept, title="pairs"))
    bad = [
        *rejected,
        *(
            Rejected(raw.id, raw.id, each.reason)
            for raw, each in zip(kept, made, strict=True)
            if isinstance(each, Failure)
        ),
    ]
    good = [(raw, each) for raw, each in zip(kept, made, strict=True) if isinstance(each, _Made)]
    if not good:
        raise no_clips(title, [*bad, *dropped])
    paths = [each.noisy for _, each in good]
    facts = [present({**raw.facts, "duration": each.duration, "target_path": each.clean}) for raw, each in good]
    clips = Clips([raw.id for raw, _ in good], lambda place: files.read_file(paths[place]), facts, paths)
    return Source(title, clips, [None] * len(clips), f"of {title}", rejected=bad, dropped=dropped, notes=notes)


def _of_length(raws: Sequence[Raw], options: PairOptions) -> tuple[list[Raw], list[Rejected], list[str]]:
    """Those that are neither too short nor too long, by what the source says of them."""
    low, high = options.min_duration or 0.0, options.max_duration or float("inf")
    kept, dropped = [], []
    for raw in raws:
        if raw.duration is None or low <= raw.duration <= high:
            kept.append(raw)
        else:
            dropped.append(Rejected(raw.id, raw.id, f"{raw.duration:g} s long, dropped"))
    limits = f"min_duration {low:g} s, max_duration {high:g} s"
    notes = [f"{len(dropped)} of {len(raws)} clips are dropped by {limits}"] if dropped else []
    return kept, dropped, notes


def _made(options: PairOptions, raw: Raw) -> _Made:
    """Check a pair, and write what differs from its files."""
    noisy, clean = raw.load()
    several = noisy[0].shape[1] > 1 or (clean is not None and clean[0].shape[1] > 1)
    one = _mono(noisy, options.input_channels, "the input")
    other = None if clean is None else _mono(clean, options.target_channels, "the target")
    if other is not None:
        check_pair(one, other)
    if raw.files is not None and not options.changes and not several:
        noisy_path, clean_path = raw.files
        return _Made(str(noisy_path), None if clean_path is None else str(clean_path), len(one[0]) / one[1])
    part = _segment(raw.id, len(one[0]), one[1], options)
    sides = [one[0][part]] if other is None else [one[0][part], other[0][part]]
    scale = _scale(sides, options.normalization_signal)
    written = [_written(side * scale, one[1]) for side in sides]
    return _Made(written[0], None if other is None else written[1], len(sides[0]) / one[1])


def _mono(audio: Audio, selector: Selector, what: str) -> Audio:
    samples, rate_hz = audio
    if selector is None or selector == "average":
        return io.to_mono(samples), rate_hz
    chosen = [selector] if isinstance(selector, int) else list(selector)
    if not all(-samples.shape[1] <= int(each) < samples.shape[1] for each in chosen):
        raise BadClip(f"{what} has {samples.shape[1]} channels; the channel selector is {selector}")
    return io.to_mono(samples[:, [int(each) for each in chosen]]), rate_hz


def _segment(name: str, samples: int, rate_hz: int, options: PairOptions) -> slice:
    wanted = samples if options.audio_duration is None else round(options.audio_duration * rate_hz)
    spare = samples - wanted
    if spare <= 0:
        return slice(None)
    if options.offset == "random":
        random = np.random.default_rng(runtime.derive_seed("segment", options.seed, name))
        start = int(random.integers(spare + 1))
    else:
        start = spare if options.offset == "end" else 0
    return slice(start, start + wanted)


def _scale(sides: Sequence[np.ndarray], signal: str | None) -> np.float32:
    if signal is None:
        return np.float32(1)
    peak = float(np.abs(sides[0] if signal == "input_signal" else sides[-1]).max())
    if peak < io.SILENT_PEAK:
        raise BadClip(f"{signal} is silent: nothing to normalise by")
    return np.float32(1 / peak)


def _written(samples: np.ndarray, rate_hz: int) -> str:
    """The place of a WAV file with these samples `[N]`, in the cache."""
    data = io.float_wav_bytes(samples[:, None], rate_hz)
    content = files.content_of(data)
    path = runtime.cache_root() / "pairs" / content[:2] / f"{content}.wav"
    if not path.is_file():
        files.write_bytes(path, data)
    return str(path)


def _rows(path: Path, options: PairOptions) -> tuple[list[dict[str, Any]], list[Rejected]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    listing = read_listing(path, audio_names={options.input_key.lower()})
    if options.input_key not in listing.columns:
        raise UserError(f"{path}: no key {options.input_key}; its rows have {', '.join(listing.columns)}")
    return list(listing.rows.values()), rejections(listing.findings)


def _facts(row: Mapping[str, Any], options: PairOptions) -> dict[str, Any]:
    other = (options.input_key, options.target_key, "id", "duration", "offset")
    return {name: value for name, value in row.items() if name not in other}


def _name(row: Mapping[str, Any], options: PairOptions) -> str:
    given = row.get("id") or row.get(options.input_key)
    start = f"@{row['offset']:g}" if row.get("offset") else ""
    return (",".join(map(str, given)) if isinstance(given, list) else str(given)) + start


def _of_row(row: Mapping[str, Any], folder: Path, options: PairOptions) -> Raw:
    sides = (row.get(options.input_key), row.get(options.target_key))
    start_s, duration = row.get("offset"), row.get("duration")
    whole = start_s is None and all(isinstance(side, str | None) for side in sides)
    paths = (folder / str(sides[0]), folder / sides[1] if isinstance(sides[1], str) else None) if whole else None
    load = partial(_load_files, folder, sides, start_s, duration, options.target_key if options.needs_target else None)
    return Raw(_name(row, options), load, duration, _facts(row, options), paths)


def _load_files(
    folder: Path, sides: tuple[Any, Any], start_s: float | None, duration: float | None, needed: str | None
) -> tuple[Audio, Audio | None]:
    if sides[1] is None and needed:
        raise BadClip(f"no {needed}")
    noisy = _channels(folder, sides[0], start_s, duration)
    return noisy, None if sides[1] is None else _channels(folder, sides[1], start_s, duration)


def _channels(folder: Path, given: Any, start_s: float | None, duration: float | None) -> Audio:
    """Of a file, or of several whose channels stand side by side."""
    names = given if isinstance(given, list) else [given]
    if not names or not all(isinstance(name, str) for name in names):
        raise BadClip(f"{given!r:.60} is no path, nor a list of paths")
    read = [_read(folder / name, start_s, duration) for name in names]
    if len({(len(samples), rate_hz) for samples, rate_hz in read}) > 1:
        raise BadClip(f"the files of the channels differ in length or rate: {', '.join(names)}")
    return np.concatenate([samples for samples, _ in read], axis=1), read[0][1]


def _read(path: Path, start_s: float | None, duration: float | None) -> Audio:
    if start_s is None or duration is None:
        return io.read(path)
    return io.read_part(path, float(start_s), float(duration))


def _of_cut(cut: Any) -> Raw:
    facts = {} if not cut.supervisions else present({
        "text": cut.supervisions[0].text, "speaker": cut.supervisions[0].speaker,
        "language": cut.supervisions[0].language,
    })  # fmt: skip
    return Raw(cut.id, partial(_load_cut, cut), float(cut.duration), facts)


def _load_cut(cut: Any) -> tuple[Audio, Audio]:
    if type(cut).__name__ not in ("MonoCut", "MultiCut"):
        raise BadClip(f"a {type(cut).__name__}, mixed or padded: its {TARGET_FIELD} cannot be cut as its input is")
    if not cut.has_custom(TARGET_FIELD):
        raise BadClip(f"the cut has no custom field {TARGET_FIELD}")
    rate_hz, target = int(cut.sampling_rate), cut.custom[TARGET_FIELD]
    noisy, clean = cut.load_audio(), cut.load_custom(TARGET_FIELD)
    as_columns = [np.ascontiguousarray(np.atleast_2d(each).T, dtype=np.float32) for each in (noisy, clean)]
    return (as_columns[0], rate_hz), (as_columns[1], int(target.sampling_rate))


def _of_member(row: Mapping[str, Any], members: Mapping[str, tuple[Path, str]], options: PairOptions) -> Raw:
    found = [members.get(str(row[key])) if row.get(key) else None for key in (options.input_key, options.target_key)]
    load = partial(_load_members, row.get(options.input_key), row.get(options.target_key), found)
    return Raw(_name(row, options), load, row.get("duration"), _facts(row, options))


def _load_members(noisy: Any, clean: Any, found: Sequence[tuple[Path, str] | None]) -> tuple[Audio, Audio | None]:
    sides: list[Audio | None] = []
    for name, place in ((noisy, found[0]), (clean, found[1])):
        if name is None:
            sides.append(None)
        elif place is None:
            raise BadClip(f"no {name} in the tar files")
        else:
            with tarfile.open(place[0]) as opened:
                member = opened.extractfile(place[1])
                sides.append(io.parse(member.read() if member else b""))
    if sides[0] is None:
        raise BadClip("no audio")
    return sides[0], sides[1]


def _of_leaf(leaf: Leaf, options: PairOptions) -> Source:
    entry, place = leaf.entry, f"input_cfg.{'.'.join(map(str, leaf.path))}"
    keys = {
        "nemo": ("manifest_filepath",), "lhotse": ("cuts_path",), "lhotse_shar": ("shar_path",),
        "nemo_tarred": ("manifest_filepath", "tarred_audio_filepath"),
    }[entry["type"]]  # fmt: skip
    given = {key: entry.get(key, entry.get(f"{key}s")) for key in keys}
    lacking = [key for key, value in given.items() if value is None]
    if lacking:
        raise UserError(f"{place}: a source of type {entry['type']} needs {lacking[0]}")
    unknown = sorted(set(entry) - {"type", "weight", "tags", *keys, *(f"{key}s" for key in keys)})
    if unknown:
        raise UserError(f"{place}.{unknown[0]}: unknown key; a source of type {entry['type']} has {', '.join(keys)}")
    first, *rest = given.values()
    if entry["type"] == "nemo":
        return from_manifest(first, options)
    if entry["type"] == "lhotse":
        return from_cuts(first, options)
    return from_shar(first, options) if entry["type"] == "lhotse_shar" else from_tar(first, rest[0], options)


def _again(source: Source, leaf: Leaf, place: int, times: int) -> Clips:
    clip = source.clips.part([place])
    name = ".".join(map(str, leaf.path))
    return replace(
        clip, ids=[f"{name}/{clip.ids[0]}" + (f"#{times}" if times else "")], facts=[{**clip.facts[0], **leaf.tags}]
    )


def _joined(clips: Sequence[Clips]) -> Clips:
    """Of single clips."""
    return Clips(
        [each.ids[0] for each in clips],
        lambda place: clips[place].audio(0),
        [each.facts[0] for each in clips],
        [each.paths[0] if each.paths else each.ids[0] for each in clips],
    )
