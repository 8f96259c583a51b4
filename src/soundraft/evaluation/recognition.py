"""Scoring a set of transcripts against its references, and the tables and files that come of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from soundraft.metrics import text as metric
from soundraft.metrics.text import Counts


@dataclass(frozen=True)
class Scored:
    """Normalised references and hypotheses of one set of clips, with their edit counts; parallel lists."""

    ids: list[str]
    references: list[str]
    hypotheses: list[str]
    words: list[Counts]
    characters: list[Counts]

    @property
    def wer(self) -> float:
        return metric.pooled_rate(self.words)

    @property
    def cer(self) -> float:
        return metric.pooled_rate(self.characters)


def score(
    *, ids: Sequence[str], references: Sequence[str], hypotheses: Sequence[str], normalizer: metric.Normalizer
) -> Scored:
    """Normalise both sides and count the edits of each pair."""
    said = [normalizer(text) for text in references]
    heard = [normalizer(text) for text in hypotheses]
    pairs = list(zip(said, heard, strict=True))
    return Scored(
        list(ids),
        said,
        heard,
        [metric.word_counts(reference=a, hypothesis=b) for a, b in pairs],
        [metric.character_counts(reference=a, hypothesis=b) for a, b in pairs],
    )


def snapped(scored: Scored, snapper: metric.VocabularySnapper) -> Scored:
    """The same clips with every output word replaced by the nearest vocabulary word."""
    return score(
        ids=scored.ids,
        references=scored.references,
        hypotheses=[snapper(text) for text in scored.hypotheses],
        normalizer=metric.NORMALIZERS["none"],
    )
