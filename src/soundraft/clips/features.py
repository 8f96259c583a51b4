"""Features kept on disk between stages, cycles and controls.

`cache_root()/features/KEY/*.safetensors`: KEY is a hash of everything that features depend on but the audio. A file
holds the features that one load had to make, at most `FILE_BYTES` of them, and names each clip by a hash of its audio
file's bytes. So a clip is found whatever corpus, split or selection asks for it, and a file is never changed:

    frames    the clips' features one after the other, `[ΣT, F]` or `[ΣT]`
    lengths   of each clip, `[N]`
    clips     (metadata) JSON: the hash of each clip's audio, and a hash of its features

What does not match its hash is not used: the file is removed, and its clips are made again when they are asked for.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import xxhash

from soundraft import files, runtime

FORMAT = 1
FILE_BYTES = 256 << 20
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Place:
    """Where the features of a clip lie: rows of a file, and their hash."""

    path: Path
    start: int
    end: int
    content: str


class FeatureCache:
    """Features by the bytes of the audio file; made by `compute` where they are not kept yet.

    New ones are written when the context ends, and before when there are many.

    Args:
        depends: what features depend on beside the audio: settings, rates, versions of libraries.
        compute: bytes of an audio file → features `[T, F]` or `[T]`.
    """

    def __init__(self, depends: Mapping[str, Any], compute: Callable[[bytes], torch.Tensor]) -> None:
        text = json.dumps({"format": FORMAT, **depends}, sort_keys=True)
        self.folder = runtime.cache_root() / "features" / hashlib.sha256(text.encode()).hexdigest()[:32]
        self._compute = compute
        self._new: dict[str, torch.Tensor] = {}
        self._new_bytes = 0
        self._open: dict[Path, Any] = {}
        self._places: dict[str, Place] = {}
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            self._read_index(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._open.clear()
        if kind is None:
            self._write()

    def of(self, audio: bytes, content: str | None = None) -> torch.Tensor:
        """The features of an audio file's bytes; `content_of` them need not be computed again where it is known."""
        name = content or files.content_of(audio)
        features = self._new.get(name)
        if features is None:
            features = self._kept(name)
        if features is None:
            features = self._new[name] = self._compute(audio).contiguous()
            self._new_bytes += features.nbytes
            if self._new_bytes >= FILE_BYTES:
                self._write()
        return features

    def _kept(self, name: str) -> torch.Tensor | None:
        place = self._places.get(name)
        if place is None:
            return None
        features = self._open[place.path].get_slice("frames")[place.start : place.end]
        if _hash(features) == place.content:
            return features
        self._drop(place.path)
        return None

    def _read_index(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            opened = safe_open(path, framework="pt")
            clips = json.loads(opened.metadata()["clips"])
            ends = opened.get_tensor("lengths").cumsum(0).tolist()
        except (SafetensorError, KeyError, TypeError, ValueError):
            self._drop(path)
            return
        self._open[path] = opened
        for (name, content), start, end in zip(clips, [0, *ends], ends, strict=False):
            self._places[name] = Place(path, start, end, content)

    def _drop(self, path: Path) -> None:
        """A damaged file: forget it."""
        self._open.pop(path, None)
        self._places = {name: place for name, place in self._places.items() if place.path != path}
        path.unlink(missing_ok=True)

    def _write(self) -> None:
        from safetensors.torch import save

        if not self._new:
            return
        tensors = {
            "frames": torch.cat(list(self._new.values())),
            "lengths": torch.tensor([len(features) for features in self._new.values()]),
        }
        clips = [(name, _hash(features)) for name, features in self._new.items()]
        data = save(tensors, {"clips": json.dumps(clips)})
        files.write_bytes(self.folder / f"{xxhash.xxh3_128_hexdigest(data)}{SUFFIX}", data)
        self._new, self._new_bytes = {}, 0


def _hash(features: torch.Tensor) -> str:
    return xxhash.xxh3_64_hexdigest(features.numpy().data)
