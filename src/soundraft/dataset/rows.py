"""One clip of a dataset: which parts belong to it, its row, and the hash of what it holds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from soundraft import files
from soundraft.audio import ecdc
from soundraft.audio.ecdc import TokenFile
from soundraft.manifest import Clip, Rejected, parse_rows, read_manifest
from soundraft.runtime import UserError
from soundraft.sidecar import format

NOT_HASHED = ("wav", "audio", "cond", "codes", "meta")  # bytes are hashed as such; where files lie is not content


@dataclass(frozen=True)
class Sources:
    """Where the parts of a dataset lie.

    Attributes:
        tokens: folder of token files.
        cond: folder of sidecars; `None` for a dataset without.
        wavs: folder of the audio that tokens and clips name; `None` for a dataset without.
        manifest: the clips, with texts and splits; `None` takes every token file as a clip.
        cond_suffix: ending of the sidecars.
        tokens_suffix: ending of the token files.
        recursive: nested folders too.
    """

    tokens: Path
    cond: Path | None
    wavs: Path | None = None
    manifest: Path | None = None
    cond_suffix: str = format.SUFFIX
    tokens_suffix: str = ecdc.SUFFIX
    recursive: bool = True


@dataclass(frozen=True)
class Part:
    """A clip, its token file, and the split it goes to."""

    clip: Clip
    token: TokenFile
    split: str


def join(
    sources: Sources, tokens: Sequence[TokenFile], *, needs_text: bool, split: str | None
) -> tuple[list[Part], list[Rejected]]:
    """Clips and token files that belong together, sorted by id, and what has no counterpart, text or split.

    Args:
        split: of clips whose manifest names none.
    """
    named = [token for token in tokens if _is_text(token.path)]
    clips, rejected = _clips(sources, named)
    unnamed = (token.path.encode(errors="backslashreplace").decode() for token in tokens if not _is_text(token.path))
    rejected += [Rejected(name, name, "the name is not UTF-8") for name in unnamed]
    left: dict[str, list[TokenFile]] = {}
    for token in named:
        left.setdefault(token.wav, []).append(token)
    parts = []
    for clip in sorted(clips, key=lambda clip: clip.id):
        waiting, name = left.get(clip.audio_path, []), clip.split or split
        found = waiting.pop(0) if waiting else None
        reason = _missing(clip, found, name, sources, needs_text=needs_text)
        if reason or found is None or name is None:
            rejected.append(Rejected(clip.id, clip.audio_path, reason))
        else:
            parts.append(Part(clip, found, name))
    for waiting in left.values():
        rejected += [Rejected(token.name, token.path, "no clip for this token file") for token in waiting]
    return parts, rejected


def _is_text(name: str) -> bool:
    """Whether a file's name can stand in a table; the bytes of some are no UTF-8."""
    return name.isascii() or name.encode(errors="replace").decode() == name


def _clips(sources: Sources, tokens: Sequence[TokenFile]) -> tuple[list[Clip], list[Rejected]]:
    if sources.manifest is not None:
        return read_manifest(sources.manifest), []
    return parse_rows([(token.path, {"id": token.name, "audio_path": token.wav}) for token in tokens])


def _missing(clip: Clip, token: TokenFile | None, split: str | None, sources: Sources, *, needs_text: bool) -> str:
    if needs_text and not (clip.text or "").strip():
        return "empty transcript"
    if split is None:
        return "no split"
    if token is None:
        return "no token file"
    if sources.wavs is not None and not (sources.wavs / clip.audio_path).is_file():
        return "no audio file"
    return ""


def wav_of(sources: Sources, clip: Clip) -> dict[str, Any] | None:
    """The audio as the column `wav` holds it.

    Raises:
        UserError: when the path leaves its folder through a link, or the file vanished.
    """
    if sources.wavs is None:
        return None
    try:
        return {"bytes": files.inside(sources.wavs, clip.audio_path).read_bytes(), "path": clip.audio_path}
    except (ValueError, FileNotFoundError) as error:
        raise UserError(f"clip {clip.id}: {error}") from error


def plain_row(part: Part, names: Sequence[str]) -> dict[str, Any]:
    """All that is no audio, code or path."""
    clip, token = part.clip, part.token
    return {
        "id": clip.id,
        "text": clip.text,
        "label": clip.label,
        "speaker": clip.speaker,
        "metadata": json.dumps(clip.metadata, ensure_ascii=False, sort_keys=True) if clip.metadata else None,
        "duration": token.samples / ecdc.SAMPLE_RATE_HZ if clip.duration is None else clip.duration,
        "sample_rate": clip.sample_rate or ecdc.SAMPLE_RATE_HZ,
        "frames": token.frames,
        "codebooks": token.codebooks,
        "features": list(names),
    }


def row_hash(row: dict[str, Any], wav: bytes | None, stored: str) -> str:
    """Of one row: its text and numbers, its audio, and `stored`, the hash of its token file and sidecar."""
    plain = {name: row[name] for name in sorted(row) if name not in NOT_HASHED}
    digest = xxhash.xxh3_128(json.dumps(plain, ensure_ascii=False).encode())
    digest.update(wav or b"")
    digest.update(stored.encode())
    return digest.hexdigest()
