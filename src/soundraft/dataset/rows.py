"""One clip of a dataset: which parts belong to it, its row, where its files go, and the hash of what it holds."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xxhash

from soundraft import files
from soundraft.audio import ecdc
from soundraft.audio.ecdc import TokenFile
from soundraft.manifest import SPLITS, Clip, Rejected, parse_rows, read_manifest
from soundraft.params.sections import Materialize
from soundraft.runtime import BadClip, UserError
from soundraft.sidecar import format, listing

Layout = Literal["cond", "esf"]
COND_SUBDIR = "cond"
NOT_HASHED = ("wav", "audio", "cond", "codes", "meta")  # bytes are hashed as such; where files lie is not content


@dataclass(frozen=True)
class Sources:
    """Where the parts of a dataset lie.

    Attributes:
        tokens: folder of token files.
        cond: folder of sidecars; `None` for a dataset without.
        wavs: folder of the audio that tokens and clips name; `None` for a dataset without.
        manifest: the clips, with texts and splits; `None` takes every token file as a clip.
        cond_suffix, tokens_suffix: endings of the sidecars and of the token files.
        recursive: nested folders too.
        max_files: take the first so many token files; `None`: all.
    """

    tokens: Path
    cond: Path | None
    wavs: Path | None = None
    manifest: Path | None = None
    cond_suffix: str = format.SUFFIX
    tokens_suffix: str = ecdc.SUFFIX
    recursive: bool = True
    max_files: int | None = None


@dataclass(frozen=True)
class Form:
    """What the dataset looks like.

    Attributes:
        name: what its card calls it.
        codec: the codec's checkpoint, for the card; empty when it is not known.
        needs_text: clips without text are rejected.
        split: of clips whose manifest names none; `None` rejects them.
        all_splits: train, validation and test must have clips.
        layout: where sidecars lie in the dataset: in the folder `cond`, or (esf) beside their token files.
    """

    name: str
    materialize: Materialize
    tokens_subdir: str = "tokens"
    codec: str = ""
    needs_text: bool = False
    split: str | None = None
    all_splits: bool = False
    layout: Layout = "cond"

    def __post_init__(self) -> None:
        if self.layout == "esf" and self.materialize not in ("copy", "link"):
            raise UserError(f"layout esf places files: materialize {self.materialize} does not; take copy or link")
        if self.split == COND_SUBDIR:
            raise UserError(f"no split can be called {COND_SUBDIR}: the sidecars have that folder")
        if Path(self.tokens_subdir).name != self.tokens_subdir or self.tokens_subdir in (*SPLITS, self.split, ".."):
            raise UserError(
                f"the token folder is a plain name that no split has, such as tokens: {self.tokens_subdir!r}"
            )


@dataclass(frozen=True)
class Part:
    """A clip, its token file, and the split it goes to."""

    clip: Clip
    token: TokenFile
    split: str


def join(sources: Sources, tokens: Sequence[TokenFile], form: Form) -> tuple[list[Part], list[Rejected]]:
    """Clips and token files that belong together, sorted by id, and what has no counterpart, text or split."""
    named = [token for token in tokens if files.is_utf8(token.path)]
    if sources.manifest is None:
        clips, rejected = parse_rows([(token.path, {"id": token.name, "audio_path": token.wav}) for token in named])
    else:
        clips, rejected = read_manifest(sources.manifest), []
        if sources.max_files is not None:
            wanted = {token.wav for token in tokens}
            clips = [clip for clip in clips if clip.audio_path in wanted]
    unnamed = (
        token.path.encode(errors="backslashreplace").decode() for token in tokens if not files.is_utf8(token.path)
    )
    rejected += [Rejected(name, name, "the name is not UTF-8") for name in unnamed]
    left: dict[str, list[TokenFile]] = {}
    for token in named:
        left.setdefault(token.wav, []).append(token)
    parts = []
    for clip in sorted(clips, key=lambda clip: clip.id):
        waiting, split = left.get(clip.audio_path, []), clip.split or form.split
        found = waiting.pop(0) if waiting else None
        reason = _missing(clip, found, split, sources, form)
        if reason or found is None or split is None:
            rejected.append(Rejected(clip.id, clip.audio_path, reason))
        else:
            parts.append(Part(clip, found, split))
    for waiting in left.values():
        rejected += [Rejected(token.name, token.path, "no clip for this token file") for token in waiting]
    return parts, rejected


def _missing(clip: Clip, token: TokenFile | None, split: str | None, sources: Sources, form: Form) -> str:
    if form.needs_text and not (clip.text or "").strip():
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


@dataclass(frozen=True)
class Found:
    """A clip's token file and sidecar, checked.

    Attributes:
        stored: hash of the files, or of the embedded codes and conditioning.
        names: the features.
        problem: why the clip cannot be in a dataset; empty when it can.
    """

    stored: str
    names: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Embedded:
    """What `embed` puts into a row: codes int16 [T, K], cond float32 [T, D], and the sidecar's json."""

    codes: np.ndarray
    cond: np.ndarray
    meta: str

    def hash(self) -> str:
        return listing.files_hash([self.codes.tobytes(), self.cond.tobytes(), self.meta.encode()])


@dataclass(frozen=True)
class Store:
    """How token files and sidecars come into a dataset: copied, linked, named by path, or embedded in its tables.

    Picklable, so that worker processes can have it.

    Attributes:
        folder: where the dataset is built.
        home: where it will be read.
        open_tokens: whether each token file is opened; not needed after an audit of the same content.
    """

    sources: Sources
    form: Form
    folder: Path
    home: Path
    open_tokens: bool

    def paths(self, token: TokenFile) -> tuple[str, ...]:
        """A clip's token file, and its sidecar's npy and json where the dataset has sidecars."""
        root, cond = self.sources.tokens, self.sources.cond
        if cond is None:
            return (f"{root}/{token.path}",)
        return listing.paths_of(root, cond, token, self.sources.cond_suffix)

    def relative(self, token: TokenFile) -> tuple[str, ...]:
        """The same files as the dataset names them, relative to its folder."""
        tokens, cond = self.prefixes
        npy = f"{cond}/{token.name}{self.sources.cond_suffix}"
        return (f"{tokens}/{token.path}", npy, format.json_name(npy))[: 1 if self.sources.cond is None else 3]

    @cached_property
    def prefixes(self) -> tuple[str, str]:
        """The folders of token files and of sidecars, relative to the dataset."""
        if self.form.materialize != "none":
            return self.form.tokens_subdir, self.form.tokens_subdir if self.form.layout == "esf" else COND_SUBDIR
        home, roots = os.path.realpath(self.home), (self.sources.tokens, self.sources.cond or self.sources.tokens)
        tokens, cond = (os.path.relpath(os.path.realpath(root), home).replace(os.sep, "/") for root in roots)
        return tokens, cond

    def check_links(self, token: TokenFile) -> None:
        """Raise UserError when hard links are asked for and cannot be made, tried on one clip's files."""
        source = self.paths(token)[0]
        if self.form.materialize in ("link", "none") and not os.path.exists(source) and files.exists(source):
            raise UserError(
                f"{source} is in a pack and is no file of its own: build with embed or copy, or unpack it with "
                f"soundraft inspect {self.sources.tokens} --extract FOLDER"
            )
        probe = self.folder / "link.tmp"
        for source in self.paths(token) if self.form.materialize == "link" else ():
            try:
                os.link(os.path.realpath(source), probe)
                probe.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise UserError(
                    f"no hard link from {source} into {self.home.parent}: {error.strerror}. Links stay within one file "
                    "system; --materialize copy works anywhere"
                ) from error

    def take(self, job: tuple[TokenFile, bool]) -> Found:
        """Check a clip's files and, when the clip is wanted, place them."""
        token, wanted = job
        paths = self.paths(token)
        contents = [listing.read(path) for path in paths]
        stored = listing.files_hash(contents)
        try:
            names = self._check(token, contents[0] or b"")
        except BadClip as error:
            return Found(stored, problem=str(error))
        if wanted and self.form.materialize in ("copy", "link"):
            for source, data, relative in zip(paths, contents, self.relative(token), strict=True):
                target = self.folder / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                if self.form.materialize == "link":
                    os.link(os.path.realpath(source), target)
                else:
                    target.write_bytes(data or b"")
        return Found(stored, names)

    def discard(self, token: TokenFile) -> None:
        """Remove what `take` has placed of a clip."""
        for relative in self.relative(token) if self.form.materialize in ("copy", "link") else ():
            (self.folder / relative).unlink()

    def _check(self, token: TokenFile, data: bytes) -> tuple[str, ...]:
        """The names of the features; raises BadClip."""
        if token.problem:
            raise BadClip(token.problem)
        if self.open_tokens:
            codebooks, frames = ecdc.parse(data).codes.shape
            if (codebooks, frames) != (token.codebooks, token.frames):
                stated = f"stated are {token.codebooks} codebooks, {token.frames} frames"
                raise BadClip(f"the token file has {codebooks} codebooks, {frames} frames; {stated}")
        if self.sources.cond is None:
            return ()
        npy = listing.place(self.sources.cond, token, self.sources.cond_suffix)
        if not any(format.exists(npy)):
            raise BadClip(f"no sidecar {token.name}{self.sources.cond_suffix}")
        sidecar = format.read(npy)
        if len(sidecar.values) != token.frames:
            raise BadClip(f"the sidecar has {len(sidecar.values)} frames, the token file has {token.frames}")
        return sidecar.names

    def embedded(self, token: TokenFile) -> Embedded:
        tokens = ecdc.read(self.sources.tokens / token.path)
        codes = np.ascontiguousarray(tokens.codes.T, dtype=np.int16)
        if self.sources.cond is None:
            return Embedded(codes, np.empty((tokens.frames, 0), np.float32), "{}")
        npy = listing.place(self.sources.cond, token, self.sources.cond_suffix)
        meta = format.read_meta(format.json_path(npy))
        values = np.ascontiguousarray(format.read_values(npy), dtype=np.float32)
        return Embedded(codes, values, json.dumps(meta, ensure_ascii=False, allow_nan=False))
