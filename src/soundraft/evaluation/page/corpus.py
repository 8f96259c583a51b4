"""What each split of a corpus consists of, and what splits share."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from soundraft.audio.ecdc import CODEBOOK_SIZE
from soundraft.clips.base import Clips
from soundraft.dataset.tokens import TokenDataset
from soundraft.manifest import SPLITS, Split

BINS = 24


def describe(corpora: Mapping[Any, Mapping[Split, Clips]], target: str) -> dict[str, Any]:
    """By corpus: a row for each split, histograms of the lengths, and what two splits have in common.

    Args:
        target: the fact that a model answers.
    """
    return {name: _corpus(splits, target) for name, splits in corpora.items() if splits}


def _corpus(splits: Mapping[Split, Clips], target: str) -> dict[str, Any]:
    names = [name for name in SPLITS if name in splits]
    known = _words(splits["train"]) if "train" in splits else Counter()
    seconds = {name: [float(f["duration"]) for f in splits[name].facts if f.get("duration")] for name in names}
    every = [value for values in seconds.values() for value in values]
    low, high = (min(every), max(every)) if every else (0.0, 1.0)
    if high - low <= 0.01 * high:  # clips of one length
        low, high = 0.9 * low, 1.1 * high
    edges = np.linspace(low, high, BINS + 1)
    return {
        "splits": [_split(name, splits[name], known, target) for name in names],
        "edges": edges.tolist(),
        "lengths": [[name, np.histogram(values, edges)[0].tolist()] for name, values in seconds.items() if values],
        "shared": _shared(splits, names),
    }


def _split(name: str, clips: Clips, known: Counter[str], target: str) -> dict[str, Any]:
    words, durations = _words(clips), [float(f["duration"]) for f in clips.facts if f.get("duration")]
    complete = bool(durations) and len(durations) == len(clips)
    unknown = sum(count for word, count in words.items() if word not in known)
    answers = {str(facts[target]) for facts in clips.facts if facts.get(target) not in (None, "")}
    return {
        "split": name,
        "clips": len(clips),
        "hours": sum(durations) / 3600 if complete else None,
        "speakers": len({facts["speaker"] for facts in clips.facts if facts.get("speaker")}),
        "words": words.total(),
        "vocabulary": len(words),
        "unknown_share": unknown / words.total() if words and name != "train" else None,
        "answers": len(answers),
    }


def _words(clips: Clips) -> Counter[str]:
    return Counter(word for facts in clips.facts for word in str(facts.get("text") or "").lower().split())


def _shared(splits: Mapping[Split, Clips], names: list[Split]) -> list[dict[str, Any]]:
    """Of each two splits how many ids, recordings, speakers and texts both have."""
    recordings = {name: {content for content in splits[name].contents() if content} for name in names}
    rows = []
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            row: dict[str, Any] = {"splits": f"{one} and {other}"}
            row["clips"] = len({*splits[one].ids} & {*splits[other].ids})
            row["recordings"] = len(recordings[one] & recordings[other])
            for fact in ("speaker", "text"):
                sets = [{str(f[fact]) for f in splits[each].facts if f.get(fact)} for each in (one, other)]
                row[fact] = len(sets[0] & sets[1]) if all(sets) else None
            rows.append(row)
    return rows


def codebook_use(tokens: TokenDataset) -> list[dict[str, Any]]:
    """A row for each codebook: how many of its entries occur, and the perplexity, 2 to the entropy in bits."""
    counts = np.zeros((0, CODEBOOK_SIZE), np.int64)
    for item in (tokens[index] for index in range(len(tokens))):
        codes = item["codes"].numpy()  # [T, K]
        counts = np.pad(counts, ((0, max(0, codes.shape[1] - len(counts))), (0, 0)))
        for codebook, row in enumerate(codes.T):
            counts[codebook] += np.bincount(row, minlength=CODEBOOK_SIZE)
    return [
        {"codebook": place + 1, "used": int((row > 0).sum()), "of": CODEBOOK_SIZE, "perplexity": _perplexity(row)}
        for place, row in enumerate(counts)
    ]


def _perplexity(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
