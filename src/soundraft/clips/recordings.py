"""Recordings that somebody has, as a run takes them: splits of samples, read straight from the audio."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from soundraft import corpora, runtime
from soundraft.audio import io
from soundraft.audio.features import Alteration, AudioProcessor
from soundraft.clips.batches import Utterances
from soundraft.corpora.base import AudioDataset, AudioSample
from soundraft.corpora.lists import JSON_SUFFIXES
from soundraft.manifest import SPLITS, Rejected, Split
from soundraft.models import ModelError, Recognizer
from soundraft.parallel import BadClip, progress_over
from soundraft.runtime import UserError
from soundraft.splits import Key, hashed_split, origin_keys

Source = str | Path | AudioDataset | Sequence[AudioSample]
Splits = dict[Split, list[AudioSample]]


@dataclass(frozen=True)
class Corpus:
    """A source with its splits.

    Attributes:
        title: what it is called.
        language: code of the one language that it has, where that is known, else empty.
    """

    title: str
    splits: Splits
    language: str = ""


@dataclass(frozen=True)
class Loaded:
    """The clips of a split as a model takes them; those that cannot be used are in `rejected`.

    Attributes:
        perturbed: altered copies of the clips, in the order of the alterations.
    """

    clips: Utterances
    durations_s: list[float]
    perturbed: list[Utterances]
    rejected: list[Rejected] = field(default_factory=list)


def open_source(source: Source, *, limit: int | None, seed: int, unlabelled: bool = False) -> Corpus:
    """A corpus of the registry, a folder or list of recordings, or samples in memory.

    Samples say their split in `metadata["split"]`; those that do not are train.

    Args:
        limit: at most so many clips of each split, drawn by `seed`.
        unlabelled: recordings may lack texts, and a folder of them a list.

    Raises:
        UserError: when there is no such corpus, or it has no transcripts.
    """
    if isinstance(source, str | Path):
        source = _named(source, limit, seed, unlabelled)
    title = source.name if isinstance(source, AudioDataset) else "samples in memory"
    splits: Splits = defaultdict(list)
    for sample in source:
        if sample.task != "asr":
            raise UserError(f"{title}: {name_of(sample)} has a {sample.task} label; asr needs what is said")
        splits[_split_of(sample, title)].append(sample)
    if not splits:
        raise UserError(f"{title}: no clips")
    language = corpora.CORPORA[title].info.languages if title in corpora.CORPORA else ""
    drawn = {split: _drawn(samples, limit, seed) for split, samples in splits.items()}
    return Corpus(title, drawn, language if language.isalpha() and len(language) == 2 else "")


def _named(source: str | Path, limit: int | None, seed: int, unlabelled: bool) -> AudioDataset:
    """What a name or a path stands for: a name of the registry goes first."""
    from soundraft.corpora import load_audio_dataset

    if str(source) in corpora.CORPORA:
        return load_audio_dataset(str(source), limit=limit, seed=seed)
    path = Path(source)
    if not path.exists():
        known = ", ".join(corpora.CORPORA)
        raise UserError(f"{source}: neither a corpus nor a folder or list of recordings; there are {known}")
    kind = "jsonl" if path.name.lower().endswith(JSON_SUFFIXES) else "folder"
    dataset = load_audio_dataset(kind, path=path, seed=seed, unlabelled=unlabelled)
    dataset.name = str(source)
    return dataset


def all_of(corpus: Corpus) -> list[AudioSample]:
    return [sample for split in SPLITS for sample in corpus.splits.get(split, [])]


def draw_validation(train: Sequence[AudioSample], seed: int) -> tuple[list[AudioSample], list[AudioSample], str]:
    """About a tenth of the clips for validation, by speaker or source where those are known and enough, else by text.

    Returns:
        What remains for training, what is for validation, and by what it was drawn, in words.

    Raises:
        UserError: when there are too few clips.
    """
    by: list[tuple[str, Callable[[AudioSample], Key]]] = [("speaker or source", _origin), ("text", _text)]
    for what, key in by:
        drawn = [hashed_split(seed, key(sample)) == "validation" for sample in train]
        if any(drawn) and not all(drawn):
            rest = [sample for sample, held_out in zip(train, drawn, strict=True) if not held_out]
            return rest, [sample for sample, held_out in zip(train, drawn, strict=True) if held_out], what
    raise UserError(f"{len(train)} training clips are too few to draw a validation split from: give one")


def check_names(samples: Sequence[AudioSample], title: str) -> None:
    """Raise UserError when two clips of a split have one name: nobody could tell their results apart."""
    twice = [name for name, times in Counter(map(name_of, samples)).items() if times > 1]
    if twice:
        raise UserError(f'{title}: {len(twice)} names stand for several clips, {twice[0]} first; give metadata["id"]')


def name_of(sample: AudioSample) -> str:
    """The clip's id, else its path."""
    name = sample.metadata.get("id") or sample.audio_path
    if name is None:
        raise UserError('a sample without audio_path needs metadata["id"]: results are told apart by it')
    return str(name)


def digest(samples: Iterable[AudioSample]) -> str:
    """A hash of what a split consists of: names, texts and the bytes of the audio."""
    total = hashlib.sha256()
    for sample in samples:
        total.update(f"{name_of(sample)}\x1f{sample.text}\x1f{_audio_hash(sample)}\x1e".encode())
    return total.hexdigest()


def load(
    samples: Sequence[AudioSample],
    recognizer: Recognizer,
    normalize: Callable[[str], str],
    *,
    title: str,
    altered: Sequence[Alteration] = (),
    needs_texts: bool = True,
) -> Loaded:
    """Read every clip (mono, at the model's rate) and make its features; only these stay in memory.

    Args:
        altered: what is done to the samples for copies that are to be recognised beside the clips.
        needs_texts: a clip without text is bad; else its text is empty.
    """
    processor = AudioProcessor(recognizer.sample_rate_hz, normalize=False, max_duration=None)
    out = Loaded(Utterances([], [], []), [], [Utterances([], [], []) for _ in altered])
    for sample in progress_over(samples, total=len(samples), title=f"features {title}", unit="clip"):
        name = name_of(sample)
        try:
            if needs_texts and sample.text is None:
                raise BadClip("no text")
            wave = wave_of(sample, processor)
            features = [recognizer.extract(samples) for samples in (wave, *(change.apply(wave) for change in altered))]
        except (BadClip, ModelError) as error:  # also a clip that is longer than the model's window
            out.rejected.append(Rejected(name, str(sample.audio_path or name), str(error)))
            continue
        for clips, own in zip((out.clips, *out.perturbed), features, strict=True):
            clips.ids.append(name)
            clips.texts.append(normalize(sample.text or ""))
            clips.features.append(own)
        out.durations_s.append(len(wave) / recognizer.sample_rate_hz)
    return out


def first_features(samples: Sequence[AudioSample], recognizer: Recognizer) -> torch.Tensor:
    """Of the first clip that can be used.

    Raises:
        UserError: when none can, with the first one's reason.
    """
    processor = AudioProcessor(recognizer.sample_rate_hz, normalize=False, max_duration=None)
    reasons = []
    for sample in samples:
        try:
            return recognizer.extract(wave_of(sample, processor))
        except (BadClip, ModelError) as error:
            reasons.append(f"{name_of(sample)}: {error}")
    raise UserError(f"none of {len(samples)} clips can be used; {reasons[0]}")


def wave_of(sample: AudioSample, processor: AudioProcessor) -> np.ndarray:
    """Mono samples `[N]` at the processor's rate.

    Raises:
        BadClip: when the file is not there or not audio, or the array has no rate.
    """
    if sample.audio_array is None:
        if sample.audio_path is None:
            raise BadClip("neither audio_path nor audio_array")
        return processor.load(sample.audio_path).waveform.numpy()
    if sample.sample_rate is None:
        raise BadClip("audio_array without sample_rate")
    return processor.load_array(sample.audio_array, sample.sample_rate).waveform.numpy()


def duration_s(sample: AudioSample) -> float:
    """Seconds, from what is known without decoding where something is."""
    if sample.duration is not None:
        return sample.duration
    if sample.audio_array is not None and sample.sample_rate:
        return max(sample.audio_array.shape) / sample.sample_rate
    if sample.audio_path is None:
        return 0.0
    wave, rate_hz = io.read(sample.audio_path)
    return len(wave) / rate_hz


def _split_of(sample: AudioSample, title: str) -> Split:
    given = sample.metadata.get("split") or "train"
    if given not in SPLITS:
        raise UserError(f"{title}: {name_of(sample)} is of split {given!r}; there are {', '.join(SPLITS)}")
    return given


def _drawn(samples: list[AudioSample], limit: int | None, seed: int) -> list[AudioSample]:
    if limit is None or len(samples) <= limit:
        return samples
    order = sorted(range(len(samples)), key=lambda n: runtime.derive_seed("limit", seed, name_of(samples[n])))
    return [samples[index] for index in sorted(order[:limit])]


def _origin(sample: AudioSample) -> Key:
    facts: Mapping[str, Any] = sample.metadata
    keys = origin_keys(facts.get("speaker"), facts.get("source"), sample.text)
    return keys[0] if keys else ("audio", name_of(sample))


def _text(sample: AudioSample) -> Key:
    keys = origin_keys(None, None, sample.text)
    return keys[0] if keys else ("audio", name_of(sample))


def _audio_hash(sample: AudioSample) -> str:
    if sample.audio_array is not None:
        array = np.ascontiguousarray(sample.audio_array)
        return hashlib.sha256(f"{array.shape}{array.dtype}{sample.sample_rate}".encode() + array.tobytes()).hexdigest()
    if sample.audio_path is None or not sample.audio_path.is_file():
        return "absent"
    return hashlib.sha256(sample.audio_path.read_bytes()).hexdigest()
