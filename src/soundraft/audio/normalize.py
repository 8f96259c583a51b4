"""s1: recordings of any rate and level → mono WAV at one rate and one loudness."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    write_manifest,
)
from soundraft.params.sections import Normalize
from soundraft.runtime import BadClip

MAKER = "s1_normalize"
LEVELS_NAME = "levels.jsonl"
_LEVELS = ("gain_db", "limited", "clipped_samples")


@dataclass(frozen=True)
class NormalizeSummary:
    clips: int
    made: int
    removed: int
    rejected: int
    limited: int
    clipped: int
    hours: float


def normalize_clips(
    clips: Sequence[Clip],
    source: Path,
    target: Path,
    options: Normalize,
    *,
    max_bad_fraction: float,
    owned: bool = False,
) -> NormalizeSummary:
    """Normalise clips of the folder `source` into `target`; bad ones go to its quarantine.jsonl.

    Clips that are there from an earlier run, from the same bytes by the same code, stay; others of that run go.

    Args:
        owned: the folder is the pipeline's: whatever else lies there goes, too.

    Raises:
        TooManyBad: when the share of bad clips is above `max_bad_fraction`.
    """
    files.check_apart(source, target)
    clips, rejected = one_per_output(clips, _output_names)
    code = [Path(__file__).with_name(name) for name in ("io.py", "loudness.py", "normalize.py")]
    stage_key = code_key(code, ("numpy", "soundfile", "soxr"), options.model_dump())
    with Ledger(target, MAKER, owned=owned) as ledger:
        normalizer = _Normalizer(source.resolve(), target.resolve(), options, stage_key)
        done = bring_up_to_date(clips, normalizer, ledger, title=f"normalize {source.name}")
        rejected += done.rejected
        check_bad_fraction(len(done.good), rejected, max_bad_fraction)
        levels = [{"id": clip.id} | {key: entry.result[key] for key in _LEVELS} for clip, entry in done.good]
        files.write_jsonl(target / LEVELS_NAME, levels)
        write_manifest(
            target, [_normalized(clip, entry, options.sample_rate_hz) for clip, entry in done.good], rejected
        )
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
    options: Normalize
    stage_key: str

    def stays(self, job: tuple[Clip, Entry]) -> bool:
        clip, known = job
        return holds(known, self._key(clip, self._inputs(clip)), self.target)

    def __call__(self, clip: Clip) -> Entry:
        inputs = self._inputs(clip)
        waves = [self._mono(data) for data in inputs]
        result = {"duration": round(len(waves[0]) / self.options.sample_rate_hz, 6)} | self._level(waves)
        gain = np.float32(loudness.db_to_gain(result["gain_db"]))
        hashes = {}
        for name, wave in zip(_output_names(clip), waves, strict=True):
            data = io.wav_bytes(wave * gain, self.options.sample_rate_hz)
            files.write_bytes(self.target / name, data)
            hashes[name] = output_hash(data)
        return Entry(clip.id, self._key(clip, inputs), result, hashes)

    def _inputs(self, clip: Clip) -> list[bytes]:
        return [io.read_file(self.source / name) for name in (clip.audio_path, clip.target_path) if name]

    def _key(self, clip: Clip, inputs: Sequence[bytes]) -> str:
        return item_key(self.stage_key, *inputs, "\n".join(_output_names(clip)).encode())

    def _mono(self, data: bytes) -> np.ndarray:
        mono = io.decode(data, self.options.sample_rate_hz)
        duration_s = len(mono) / self.options.sample_rate_hz
        if duration_s < self.options.min_duration_s:
            raise BadClip(f"too short: {duration_s:.3f} s; the least is {self.options.min_duration_s} s")
        return mono

    def _level(self, waves: Sequence[np.ndarray]) -> dict[str, Any]:
        """One gain for the input and its paired target, from the input's level."""
        options = self.options
        loudest = loudness.peak_rms(waves[0], options.sample_rate_hz, options.window_s)
        level_db = loudness.gain_to_db(loudest)
        if level_db < options.silence_db:
            raise BadClip(f"silent: loudest window {level_db:.1f} dBFS; the least is {options.silence_db} dBFS")
        gain = loudness.gain_for(waves, loudest, target_db=options.target_db, limit=options.on_clipping == "limit")
        levels = loudness.gain_to_db(gain.factor), gain.limited, gain.clipped_samples
        return dict(zip(_LEVELS, levels, strict=True))


def _normalized(clip: Clip, entry: Entry, rate_hz: int) -> Clip:
    """The row of a clip after s1."""
    audio, target = (*entry.outputs, None)[:2]
    changes = {
        "audio_path": audio,
        "target_path": target,
        "duration": entry.result["duration"],
        "sample_rate": rate_hz,
    }
    return clip.model_copy(update=changes)


def _output_names(clip: Clip) -> list[str]:
    """Where a clip goes, and its paired target: beside each other in name, because one target may serve many inputs."""
    path = clip.audio_path if clip.audio_path.endswith(".wav") else f"{clip.audio_path}.wav"  # a.WAV → a.WAV.wav
    return [path] + ([f"targets/{path}"] if clip.target_path else [])
