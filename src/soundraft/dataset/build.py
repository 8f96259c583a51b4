"""s5: normalised recordings with text → a Hugging Face `DatasetDict` with the audio inside.

Columns: `id, wav (bytes, path), text, speaker, duration (s), sample_rate (Hz)`; the splits are train, validation
and test. The bytes on disk depend on nothing but the clips.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from soundraft import files
from soundraft.manifest import (
    MANIFEST_NAME,
    QUARANTINE_NAME,
    SPLITS,
    Clip,
    Rejected,
    Split,
    check_bad_fraction,
    read_manifest,
)
from soundraft.parallel import progress_over
from soundraft.runtime import UserError

MAX_SHARD_SIZE = "500MB"


def build_dataset(source: Path, out: Path, *, max_bad_fraction: float) -> dict[Split, int]:
    """Save the clips of `source/manifest.jsonl` as a dataset in `out`; clips without text go to its quarantine.

    Returns:
        The number of clips per split.

    Raises:
        TooManyBad: when the share of clips without text or split is above `max_bad_fraction`.
        UserError: when a split has no clips at all.
    """
    from datasets import Dataset, DatasetDict, DatasetInfo, NamedSplit, disable_progress_bars

    disable_progress_bars()  # ours says which corpus and split
    clips, rejected = _with_text(read_manifest(source / MANIFEST_NAME))
    check_bad_fraction(len(clips), rejected, max_bad_fraction)
    splits = DatasetDict()
    with tempfile.TemporaryDirectory(prefix="soundraft-") as cache:
        for split in SPLITS:
            chosen = [clip for clip in clips if clip.split == split]
            if not chosen:
                raise UserError(f"{source}: no clips in the {split} split; training and evaluation need all three")
            # named by content: the generator's own hash would follow paths and code
            fingerprint = _fingerprint(source, chosen)
            packed = Dataset.from_generator(
                _rows,
                _features(audio=False),
                cache,
                gen_kwargs={"source": source, "clips": chosen},
                fingerprint=fingerprint,
            )
            info = DatasetInfo(features=_features(audio=True))
            splits[split] = Dataset(packed.data, info, NamedSplit(split), fingerprint=fingerprint)
        splits.save_to_disk(out, max_shard_size=MAX_SHARD_SIZE)
    files.write_jsonl(out / QUARANTINE_NAME, (vars(item) for item in rejected))
    return {split: len(table) for split, table in splits.items()}


def _fingerprint(source: Path, clips: list[Clip]) -> str:
    audio = files.content_hash(*(files.inside(source, clip.audio_path) for clip in clips))
    rows = "\n".join(clip.model_dump_json() for clip in clips)
    return hashlib.sha256(f"{audio}\n{rows}".encode()).hexdigest()[:16]


def _with_text(clips: list[Clip]) -> tuple[list[Clip], list[Rejected]]:
    good, bad = [], []
    for clip in clips:
        if not (clip.text or "").strip():
            bad.append(Rejected(clip.id, clip.audio_path, "empty transcript"))
        elif clip.split is None:
            bad.append(Rejected(clip.id, clip.audio_path, "no split"))
        else:
            good.append(clip)
    return good, bad


def _features(*, audio: bool) -> Any:
    """The schema. Writing goes through the plain struct: `Audio` would ask for torchcodec even for ready bytes."""
    from datasets import Audio, Features, Value

    return Features(
        {
            "id": Value("string"),
            "wav": Audio(decode=False) if audio else {"bytes": Value("binary"), "path": Value("string")},
            "text": Value("string"),
            "speaker": Value("string"),
            "duration": Value("float64"),
            "sample_rate": Value("int32"),
        }
    )


def _rows(source: Path, clips: list[Clip]) -> Iterator[dict[str, Any]]:
    title = f"pack {source.name}/{clips[0].split}"
    for clip in progress_over(clips, total=len(clips), title=title, unit="clip"):
        yield {
            "id": clip.id,
            "wav": {"bytes": files.inside(source, clip.audio_path).read_bytes(), "path": clip.audio_path},
            "text": clip.text,
            "speaker": clip.speaker,
            "duration": clip.duration,
            "sample_rate": clip.sample_rate,
        }
