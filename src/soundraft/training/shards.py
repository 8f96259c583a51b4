"""Samples that survive a kill: every finished shard of a cycle's rollouts is a file until the cycle is done."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from soundraft import distributed, files
from soundraft.dataset.loader import Utterances

SHARD_CLIPS = 128


class Shards:
    """The samples of one cycle, in shards of clips.

    Sampling and training are repeatable, so a cycle that was killed goes through the same states again, and the shards
    that it finished need no second sampling. A shard is known by its clips and its place in the cycle.

    Args:
        folder: where they are kept until `clear`; its name must tell apart what has other samples. `None` keeps none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._place = 0

    def texts(self, clips: Utterances, sample: Callable[[Utterances], list[list[str]]]) -> list[list[str]]:
        """The texts of every clip: read where they were finished, else sampled."""
        texts: list[list[str]] = []
        for start in range(0, len(clips), SHARD_CLIPS):
            texts += self._shard(clips.part(range(start, min(start + SHARD_CLIPS, len(clips)))), sample)
        return texts

    def clear(self) -> None:
        """Forget them: the cycle is done and has written its rollouts."""
        distributed.wait_for_everyone()
        if self.folder is not None and self.folder.is_dir() and distributed.is_main():
            shutil.rmtree(self.folder)

    def _shard(self, clips: Utterances, sample: Callable[[Utterances], list[list[str]]]) -> list[list[str]]:
        self._place += 1
        if self.folder is None:
            return sample(clips)
        path = self.folder / f"{self._place:05d}-{_digest(clips.ids)}.json"
        if path.is_file():
            return files.read_json(path)
        texts = sample(clips)
        if distributed.is_main():
            files.write_json(path, texts)
        distributed.wait_for_everyone()
        return texts


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\x1f".join(names).encode()).hexdigest()[:16]
