"""How token files and sidecars come into a dataset: copied, linked, named by path, or embedded in its tables."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from soundraft.audio import ecdc
from soundraft.audio.token_index import TokenFile
from soundraft.parallel import BadClip
from soundraft.params.sections import Materialize
from soundraft.runtime import UserError
from soundraft.sidecar import content, format

COND_SUBDIR = "cond"


@dataclass(frozen=True)
class Found:
    """A clip's token file and sidecar, looked at.

    Attributes:
        stored: hash of the three files.
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
        return content.files_hash([self.codes.tobytes(), self.cond.tobytes(), self.meta.encode()])


@dataclass(frozen=True)
class Store:
    """Where the files of a dataset come from and go; picklable, so that worker processes can have it.

    Attributes:
        tokens_root: folder of the token files.
        cond_root: folder of the sidecars; `None` for a dataset without.
        suffix: ending of the sidecars.
        folder: where the dataset is built.
        home: where it will be read.
        open_tokens: whether each token file is opened; not needed after an audit of the same content.
    """

    tokens_root: Path
    cond_root: Path | None
    suffix: str
    folder: Path
    home: Path
    materialize: Materialize
    tokens_subdir: str
    open_tokens: bool

    def sources(self, token: TokenFile) -> tuple[str, ...]:
        if self.cond_root is None:
            return (f"{self.tokens_root}/{token.path}",)
        return content.paths_of(self.tokens_root, self.cond_root, token, self.suffix)

    def relative(self, token: TokenFile) -> tuple[str, ...]:
        """The same files as the dataset names them, relative to its folder."""
        tokens, conds = self.prefixes
        if self.cond_root is None:
            return (f"{tokens}/{token.path}",)
        cond = f"{conds}/{token.name}{self.suffix}"
        return f"{tokens}/{token.path}", cond, format.json_path(cond)

    @cached_property
    def prefixes(self) -> tuple[str, str]:
        """The folders of token files and of sidecars, relative to the dataset."""
        if self.materialize != "none":
            return self.tokens_subdir, COND_SUBDIR
        return (_way(self.tokens_root, self.home), _way(self.cond_root or self.tokens_root, self.home))

    def prepare(self, token: TokenFile) -> None:
        """Try out whether files can be placed, on one of them.

        Raises:
            UserError: when hard links are asked for and cannot be made.
        """
        if self.materialize != "link":
            return
        probe = self.folder / "link.tmp"
        for source in self.sources(token):
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
        """Look at a clip's files and, when the clip is wanted, place them."""
        token, wanted = job
        sources = self.sources(token)
        data = [content.read(path) for path in sources]
        stored = content.files_hash(data)
        try:
            names = self._check(token, sources[1:], data[0] or b"")
        except BadClip as error:
            return Found(stored, problem=str(error))
        place = {"copy": _copy, "link": _link}.get(self.materialize)
        if wanted and place is not None:
            for source, found, relative in zip(sources, data, self.relative(token), strict=True):
                _place(source, found or b"", f"{self.folder}/{relative}", place)
        return Found(stored, names)

    def embedded(self, token: TokenFile) -> Embedded:
        tokens = ecdc.read(self.tokens_root / token.path)
        codes = np.ascontiguousarray(tokens.codes.T, dtype=np.int16)
        if self.cond_root is None:
            return Embedded(codes, np.empty((tokens.frames, 0), np.float32), "{}")
        path = self.sources(token)[1]
        values = np.ascontiguousarray(format.read_values(path), dtype=np.float32)
        meta = format.read_meta(format.json_path(path))
        return Embedded(codes, values, json.dumps(meta, ensure_ascii=False, allow_nan=False))

    def _check(self, token: TokenFile, sidecar_paths: tuple[str, ...], data: bytes) -> tuple[str, ...]:
        if token.problem:
            raise BadClip(token.problem)
        if self.open_tokens:
            check_codes(token, ecdc.parse(data).codes)
        if not sidecar_paths:
            return ()
        if not any(format.exists(sidecar_paths[0])):
            raise BadClip(f"no sidecar {token.name}{self.suffix}")
        sidecar = format.read(sidecar_paths[0])
        if len(sidecar.values) != token.frames:
            raise BadClip(f"the sidecar has {len(sidecar.values)} frames, the token file has {token.frames}")
        return sidecar.names


def _place(source: str, data: bytes, target: str, place: Callable[[str, bytes, str], None]) -> None:
    try:
        place(source, data, target)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        place(source, data, target)


def _copy(_source: str, data: bytes, target: str) -> None:
    with open(target, "wb", buffering=0) as stream:
        rest = memoryview(data)
        while rest:
            rest = rest[stream.write(rest) :]


def _link(source: str, _data: bytes, target: str) -> None:
    os.link(os.path.realpath(source), target)


def check_codes(token: TokenFile, codes: np.ndarray) -> None:
    """Raise BadClip unless codes `[K, T]` have the size that is stated of them."""
    if codes.shape != (token.codebooks, token.frames):
        stated = f"{token.codebooks} codebooks, {token.frames} frames"
        raise BadClip(f"the token file has {codes.shape[0]} codebooks, {codes.shape[1]} frames; stated are {stated}")


def _way(root: Path, home: Path) -> str:
    return os.path.relpath(os.path.realpath(root), os.path.realpath(home)).replace(os.sep, "/")
