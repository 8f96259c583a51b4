"""s1: recordings of any rate and level → mono WAV at one rate and one loudness."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from soundraft import files
from soundraft.audio import io, loudness
from soundraft.ledger import Entry, Ledger, bring_up_to_date, code_key, holds, item_key, output_hash
from soundraft.manifest import (
    MANIFEST_NAME,
    QUARANTINE_NAME,
    Clip,
    check_bad_fraction,
    one_per_output,
    read_manifest,
    write_manifest,
)
from soundraft.parallel import BadClip

MAKER = "s1_normalize"
LEVELS_NAME = "levels.jsonl"
_PACKAGES = ("numpy", "soundfile", "soxr")
OnClipping = Literal["limit", "report"]


@dataclass(frozen=True)
class Leveling:
    """What s1 does to a clip.

    Attributes:
        sample_rate_hz: rate of the output.
        target_db: level of the loudest window, dBFS RMS.
        window_s: length of the sliding window.
        silence_db: a clip whose loudest window is below this is set aside.
        min_duration_s: a shorter clip is set aside.
        on_clipping: `limit` the gain to full scale, or keep it and `report` the samples that were cut.
    """

    sample_rate_hz: int
    target_db: float
    window_s: float
    silence_db: float
    min_duration_s: float
    on_clipping: OnClipping


@dataclass(frozen=True)
class NormalizeSummary:
    clips: int
    made: int
    removed: int
    rejected: int
    limited: int
    clipped: int
    hours: float


def normalize_corpus(source: Path, target: Path, leveling: Leveling, *, max_bad_fraction: float) -> NormalizeSummary:
    """Normalise every clip of `source/manifest.jsonl` into `target`; bad clips go to `target/quarantine.jsonl`."""
    clips = read_manifest(source / MANIFEST_NAME)
    return normalize_clips(clips, source, target, leveling, max_bad_fraction, owned=True)


def normalize_clips(
    clips: Sequence[Clip],
    source: Path,
    target: Path,
    leveling: Leveling,
    max_bad_fraction: float,
    *,
    owned: bool = False,
) -> NormalizeSummary:
    """Normalise clips of the folder `source` into `target`.

    Clips that are there from an earlier run, from the same bytes by the same code, stay; others of that run go.

    Args:
        owned: the folder is the pipeline's: whatever else lies there goes, too.

    Raises:
        TooManyBad: when the share of bad clips is above `max_bad_fraction`.
    """
    files.check_apart(source, target)
    clips, rejected = one_per_output(clips, _output_names)
    here = Path(__file__).parent
    code = [here / name for name in ("io.py", "loudness.py", "normalize.py")]
    stage_key = code_key(code, _PACKAGES, asdict(leveling))
    with Ledger(target, MAKER, owned=owned) as ledger:
        normalizer = _Normalizer(source.resolve(), target.resolve(), leveling, stage_key)
        done = bring_up_to_date(clips, normalizer, ledger, title=f"normalize {source.name}")
        rejected += done.rejected
        check_bad_fraction(len(done.good), rejected, max_bad_fraction)
        levels = [{"id": clip.id} | _level(entry) for clip, entry in done.good]
        files.write_jsonl(target / LEVELS_NAME, levels)
        write_manifest(target, [_normalized(clip, entry, leveling) for clip, entry in done.good], rejected)
        removed = ledger.finish(keep=[LEVELS_NAME, MANIFEST_NAME, QUARANTINE_NAME])
    return NormalizeSummary(
        clips=len(done.good),
        made=done.made,
        removed=removed,
        rejected=len(rejected),
        limited=sum(level["limited"] for level in levels),
        clipped=sum(level["clipped_samples"] > 0 for level in levels),
        hours=sum(entry.result["duration"] for _, entry in done.good) / 3600,
    )


@dataclass(frozen=True)
class _Normalizer:
    """Normalises one clip; picklable, so that worker processes can have it."""

    source: Path
    target: Path
    leveling: Leveling
    stage_key: str

    def stays(self, job: tuple[Clip, Entry]) -> bool:
        clip, known = job
        return holds(known, self._key(clip, self._inputs(clip)), self.target)

    def __call__(self, clip: Clip) -> Entry:
        names = _output_names(clip)
        inputs = self._inputs(clip)
        waves = [self._mono(data) for data in inputs]
        duration_s = len(waves[0]) / self.leveling.sample_rate_hz
        result = {"duration": round(duration_s, 6)} | self._level(waves)
        hashes = {}
        for name, wave in zip(names, waves, strict=True):
            gain = np.float32(loudness.db_to_gain(result["gain_db"]))
            data = io.wav_bytes(wave * gain, self.leveling.sample_rate_hz)
            files.write_bytes(self.target / name, data)
            hashes[name] = output_hash(data)
        return Entry(clip.id, self._key(clip, inputs), result, hashes)

    def _inputs(self, clip: Clip) -> list[bytes]:
        return [io.read_file(self.source / name) for name in _input_names(clip)]

    def _key(self, clip: Clip, inputs: Sequence[bytes]) -> str:
        return item_key(self.stage_key, *inputs, "\n".join(_output_names(clip)).encode())

    def _mono(self, data: bytes) -> np.ndarray:
        samples, rate_hz = io.parse(data)
        mono = io.resample(io.to_mono(samples), rate_hz, self.leveling.sample_rate_hz)
        duration_s = len(mono) / self.leveling.sample_rate_hz
        if duration_s < self.leveling.min_duration_s:
            raise BadClip(f"too short: {duration_s:.3f} s; the least is {self.leveling.min_duration_s} s")
        return mono

    def _level(self, waves: Sequence[np.ndarray]) -> dict[str, Any]:
        """One gain for the input and its paired target, from the input's level."""
        options = self.leveling
        loudest = loudness.peak_rms(waves[0], options.sample_rate_hz, options.window_s)
        if loudness.gain_to_db(loudest) < options.silence_db:
            level_db = loudness.gain_to_db(loudest)
            raise BadClip(f"silent: loudest window {level_db:.1f} dBFS; the least is {options.silence_db} dBFS")
        gain = loudness.gain_for(waves, loudest, target_db=options.target_db, limit=options.on_clipping == "limit")
        return {
            "gain_db": loudness.gain_to_db(gain.factor),
            "limited": gain.limited,
            "clipped_samples": gain.clipped_samples,
        }


def _level(entry: Entry) -> dict[str, Any]:
    return {key: entry.result[key] for key in ("gain_db", "limited", "clipped_samples")}


def _normalized(clip: Clip, entry: Entry, leveling: Leveling) -> Clip:
    """The row of a clip after s1."""
    names = list(entry.outputs)
    changes = {
        "audio_path": names[0],
        "target_path": names[1] if len(names) > 1 else None,
        "duration": entry.result["duration"],
        "sample_rate": leveling.sample_rate_hz,
    }
    return clip.model_copy(update=changes)


def _input_names(clip: Clip) -> list[str]:
    return [clip.audio_path] + ([clip.target_path] if clip.target_path else [])


def _output_names(clip: Clip) -> list[str]:
    """Where a clip goes, and its paired target: beside each other in name, because one target may serve many inputs."""
    path = wav_path(clip.audio_path)
    return [path] + ([f"targets/{path}"] if clip.target_path else [])


def wav_path(audio_path: str) -> str:
    """`a.wav` stays; `a.flac` and `a.WAV` become `a.flac.wav` and `a.WAV.wav`."""
    return audio_path if audio_path.endswith(".wav") else f"{audio_path}.wav"
