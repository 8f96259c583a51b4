"""s1: recordings of any rate and level → mono WAV at one rate and one loudness."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files
from soundraft.audio import io, loudness
from soundraft.ledger import Entry, Worker, bring_up_to_date, code_key
from soundraft.manifest import MANIFEST_NAME, QUARANTINE_NAME, Clip, Rejected, write_manifest
from soundraft.params.sections import Normalize
from soundraft.runtime import BadClip

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

    def __str__(self) -> str:
        return (
            f"{self.clips} clips, {self.hours:.2f} h, {self.made} made, {self.removed} removed; "
            f"{self.rejected} rejected (quarantine.jsonl), gain limited on {self.limited}, {self.clipped} clipped"
        )


def normalize_clips(
    clips: Sequence[Clip],
    source: Path,
    target: Path,
    options: Normalize,
    *,
    max_bad_fraction: float,
    owned: bool = False,
    adopt: bool = False,
) -> NormalizeSummary:
    """Normalise clips of the folder `source` into `target`; bad ones go to its quarantine.jsonl.

    Clips that are there from an earlier run, from the same bytes by the same code, stay; others of that run go.

    Args:
        owned: the folder is the pipeline's: whatever else lies there goes, too.
        adopt: as of `Ledger`.

    Raises:
        TooManyBad: when the share of bad clips is above `max_bad_fraction`.
    """
    normalizer = Normalizer(source, target, options)
    done = bring_up_to_date(clips, normalizer, max_bad_fraction=max_bad_fraction, owned=owned, adopt=adopt)
    results = [entry.result for _, entry in done.good]
    return NormalizeSummary(
        clips=len(results),
        made=done.made,
        removed=done.removed,
        rejected=len(done.rejected),
        limited=sum(result["limited"] for result in results),
        clipped=sum(result["clipped_samples"] > 0 for result in results),
        hours=sum(result["duration"] for result in results) / 3600,
    )


class Normalizer(Worker):
    """Normalises a clip, and its paired target by the same gain."""

    def __init__(self, source: Path, target: Path, options: Normalize) -> None:
        code = [Path(__file__).with_name(name) for name in ("containers.py", "io.py", "loudness.py", "normalize.py")]
        key = code_key(code, ("numpy", "soundfile", "soxr"), options.model_dump())
        super().__init__("s1_normalize", source, target, key)
        self.options = options

    def input_names(self, clip: Clip) -> list[str]:
        return [name for name in (clip.audio_path, clip.target_path) if name]

    def output_names(self, clip: Clip) -> list[str]:
        """The target beside its input in name, because one target may serve many inputs."""
        path = clip.audio_path if clip.audio_path.endswith(".wav") else f"{clip.audio_path}.wav"  # a.WAV → a.WAV.wav
        return [path] + ([f"targets/{path}"] if clip.target_path else [])

    def make(self, clip: Clip, inputs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        rate_hz = self.options.sample_rate_hz
        waves = [self._mono(data) for data in inputs]
        result = {"duration": round(len(waves[0]) / rate_hz, 6)} | self._level(waves)
        gain = np.float32(loudness.db_to_gain(result["gain_db"]))
        return result, [io.wav_bytes(wave * gain, rate_hz) for wave in waves]

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

    def write_lists(self, good: Sequence[tuple[Clip, Entry]], rejected: Sequence[Rejected]) -> list[str]:
        levels = ({"id": clip.id} | {key: entry.result[key] for key in _LEVELS} for clip, entry in good)
        files.write_jsonl(self.target / LEVELS_NAME, levels)
        rows = []
        for clip, entry in good:
            audio, target = (*entry.outputs, None)[:2]
            measured = {"duration": entry.result["duration"], "sample_rate": self.options.sample_rate_hz}
            rows.append(clip.model_copy(update={"audio_path": audio, "target_path": target, **measured}))
        write_manifest(self.target, rows, rejected)
        return [LEVELS_NAME, MANIFEST_NAME, QUARANTINE_NAME]
