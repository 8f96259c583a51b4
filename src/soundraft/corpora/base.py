"""What every corpus family shares: what is asked of it and what it leaves behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from soundraft.manifest import Clip, Rejected, Split
from soundraft.runtime import UserError

Role = Literal["start", "target"]


@dataclass(frozen=True)
class Request:
    """Which part of a corpus to bring in.

    Attributes:
        role: `start` is what the first model learns from, `target` what RAFT adapts it to.
        path: the user's folder, for a family that reads one; `None` when not given.
        clips: how many clips of each split; `None` takes all that the source has.
        seed: of everything that is drawn.
        options: the params section of the family, such as `corpus.espeak`.
    """

    role: Role
    path: Path | None
    clips: Mapping[Split, int | None]
    seed: int
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Fetched:
    """Clips whose audio lies in the folder that was asked for.

    Attributes:
        usable: how many items of the source were good; clips may be made of several, or be fewer by request.
        rejected: the items of the source that were set aside.
    """

    clips: list[Clip]
    usable: int
    rejected: list[Rejected]


class CorpusError(UserError):
    """The corpus cannot be brought in; the message says why and what would help."""


def require_folder(request: Request, *, family: str) -> Path:
    if request.path is None:
        raise CorpusError(f"corpus.{request.role}.path is empty: '{family}' needs the folder that holds the recordings")
    if not request.path.is_dir():
        raise CorpusError(f"corpus.{request.role}.path: no such folder: {request.path}")
    return request.path
