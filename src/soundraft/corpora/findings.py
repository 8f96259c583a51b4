"""What is wrong with somebody's recordings, and where: the same words in `fetch` and in `datasets validate`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from soundraft.corpora.base import CorpusError
from soundraft.manifest import Clip, Rejected

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        place: `file:line`, or the file.
        severity: an error keeps the clip (or the whole list) out of the corpus; a warning does not.
        id: of the clip, where it has one.
    """

    place: str
    code: str
    severity: Severity
    message: str
    id: str = ""


@dataclass(frozen=True)
class Item:
    """A clip and the place in its source that names it."""

    place: str
    clip: Clip


class SourceError(CorpusError):
    """A list, folder or archive that cannot be used at all."""

    def __init__(self, place: str, code: str, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.finding = Finding(place, code, "error", message)


def rejections(findings: Iterable[Finding]) -> list[Rejected]:
    """The errors among the findings, as the lines of quarantine.jsonl."""
    return [Rejected(item.id or item.place, item.place, item.message) for item in findings if item.severity == "error"]
