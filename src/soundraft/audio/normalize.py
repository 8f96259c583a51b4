"""s1: recordings of any rate and level → mono WAV at one rate and one loudness."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from soundraft import files
from soundraft.audio import io, loudness
from soundraft.manifest import (
    MANIFEST_NAME,
    Clip,
    Rejected,
    check_bad_fraction,
    read_manifest,
    write_manifest,
)
from soundraft.parallel import BadClip, Failure, map_clips


@dataclass(frozen=True)
class NormalizeSummary:
    clips: int
    rejected: int
    limited: int
    hours: float


@dataclass(frozen=True)
class _Normalizer:
    """Normalises one clip; picklable, so that worker processes can have it."""

    source: Path
    target: Path
    sample_rate_hz: int
    target_db: float
    window_s: float
    silence_db: float
    min_duration_s: float

    def __call__(self, clip: Clip) -> tuple[Clip, bool]:
        samples, rate_hz = io.read(files.inside(self.source, clip.audio_path))
        mono = io.resample(io.to_mono(samples), rate_hz, self.sample_rate_hz)
        duration_s = len(mono) / self.sample_rate_hz
        if duration_s < self.min_duration_s:
            raise BadClip(f"too short: {duration_s:.3f} s; the least is {self.min_duration_s} s")
        peak_db = loudness.gain_to_db(loudness.peak_rms(mono, self.sample_rate_hz, self.window_s))
        if peak_db < self.silence_db:
            raise BadClip(f"silent: loudest window {peak_db:.1f} dBFS; the least is {self.silence_db} dBFS")
        leveled = loudness.level(mono, self.sample_rate_hz, target_db=self.target_db, window_s=self.window_s)
        path = wav_path(clip.audio_path)
        io.write_wav(self.target / path, leveled.samples, self.sample_rate_hz)
        changes = {
            "audio_path": path,
            "duration": round(duration_s, 6),
            "sample_rate": self.sample_rate_hz,
        }
        return clip.model_copy(update=changes), leveled.limited


def wav_path(audio_path: str) -> str:
    """`a.wav` stays; `a.flac` and `a.WAV` become `a.flac.wav` and `a.WAV.wav`."""
    return audio_path if PurePosixPath(audio_path).name.endswith(".wav") else f"{audio_path}.wav"


def normalize_corpus(
    source: Path,
    target: Path,
    *,
    sample_rate_hz: int,
    target_db: float,
    window_s: float,
    silence_db: float,
    min_duration_s: float,
    max_bad_fraction: float,
) -> NormalizeSummary:
    """Normalise every clip of `source/manifest.jsonl` into `target`; bad clips go to `target/quarantine.jsonl`.

    Raises:
        TooManyBad: when the share of bad clips is above `max_bad_fraction`.
    """
    clips = read_manifest(source / MANIFEST_NAME)
    normalizer = _Normalizer(source, target, sample_rate_hz, target_db, window_s, silence_db, min_duration_s)
    clips, rejected = _one_per_output(clips)
    good: list[tuple[Clip, bool]] = []
    results = map_clips(normalizer, clips, title=f"normalize {source.name}")
    for clip, result in zip(clips, results, strict=True):
        if isinstance(result, Failure):
            rejected.append(Rejected(clip.id, clip.audio_path, result.reason))
        else:
            good.append(result)
    check_bad_fraction(len(good), rejected, max_bad_fraction)
    write_manifest(target, (clip for clip, _ in good), rejected)
    hours = sum(clip.duration or 0.0 for clip, _ in good) / 3600
    return NormalizeSummary(len(good), len(rejected), sum(limited for _, limited in good), hours)


def _one_per_output(clips: Sequence[Clip]) -> tuple[list[Clip], list[Rejected]]:
    """`a.flac` beside `a.flac.wav` would write one file from two: the first by id is kept."""
    owners: dict[str, Clip] = {}
    kept, rejected = [], []
    for clip in clips:
        owner = owners.setdefault(wav_path(clip.audio_path), clip)
        if owner.audio_path == clip.audio_path:
            kept.append(clip)
        else:
            reason = f"would be written to the same file as clip {owner.id}"
            rejected.append(Rejected(clip.id, clip.audio_path, reason))
    return kept, rejected
