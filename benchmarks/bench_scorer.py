"""How fast samples are scored: edit counts against jiwer, and whole cycles by both kinds of reward, on one core.

    python benchmarks/bench_scorer.py

Counted for the counts: words and characters of every pair, as the reward by references takes them; the baseline is
jiwer, pair by pair, whose pooled rates must come out. A cycle is 600 clips of 64 samples as an early model makes them,
each text with letters missing; both kinds normalise, score and check their guards.
"""

import random

import jiwer
import numpy as np
from timing import compare, report, seconds

from soundraft.corpora import espeak
from soundraft.metrics import text as metric
from soundraft.params import defaults
from soundraft.rewards import Evidence, Verifier, transcript_verifier

PAIRS = 20_000
CLIPS = 600
SAMPLES = 64
LETTERS_KEPT = 0.9
ALL_PARTS = ("agreement", "words", "vocabulary", "length", "language")


def draw(rng: random.Random) -> str:
    return espeak.draw_text(rng, "train")


def worn(text: str, rng: random.Random) -> str:
    return " ".join("".join(c for c in text if rng.random() < LETTERS_KEPT).split())


def ours(pairs: list[tuple[str, str]]) -> tuple[float, float]:
    words = [metric.word_counts(reference=reference, hypothesis=hypothesis) for reference, hypothesis in pairs]
    characters = [
        metric.character_counts(reference=reference, hypothesis=hypothesis) for reference, hypothesis in pairs
    ]
    return float(metric.error_rate(np.sum(words, axis=0))), float(metric.error_rate(np.sum(characters, axis=0)))


def theirs(pairs: list[tuple[str, str]]) -> tuple[float, float]:
    words = [jiwer.process_words(reference, hypothesis) for reference, hypothesis in pairs]
    characters = [jiwer.process_characters(reference, hypothesis) for reference, hypothesis in pairs]
    return _pooled(words), _pooled(characters)


def _pooled(outputs: list) -> float:
    errors = sum(out.substitutions + out.deletions + out.insertions for out in outputs)
    return errors / sum(out.substitutions + out.deletions + out.hits for out in outputs)


def score(verifier: Verifier, clips: list[tuple[str, list[str]]]) -> None:
    for reference, samples in clips:
        results = verifier.verify_samples(samples, Evidence(reference, duration_s=len(reference) / 15))
        assert all(result.reward is not None for result in results)


def main() -> None:
    rng = random.Random(0)
    texts = [draw(rng) for _ in range(5000)]
    references = [draw(rng) for _ in range(PAIRS)]
    pairs = [(reference, worn(reference, rng)) for reference in references]
    assert ours(pairs) == theirs(pairs)
    wer, cer = ours(pairs)
    print(f"pooled rates of {PAIRS} pairs equal those of jiwer: WER {wer:.6f}, CER {cer:.6f}")
    ours_s, theirs_s = compare(lambda: ours(pairs), lambda: theirs(pairs), repeats=5)
    report("edit counts of words and characters", PAIRS / ours_s, "pairs/s", 50_000)
    report("the same against jiwer, pair by pair", theirs_s / ours_s, "×", 3)

    reward = defaults().reward
    clips = [(reference, [worn(reference, rng) for _ in range(SAMPLES)]) for reference in references[:CLIPS]]
    by_reference_s = seconds(
        lambda: score(transcript_verifier(reward.model_copy(update={"kind": "reference"}), texts=[]), clips)
    )
    report(f"a cycle of {CLIPS} × {SAMPLES} samples, reference", by_reference_s, "s", 2, at_least=False)
    for name, weights in (
        ("agreement and words", {"agreement": 1.0, "words": 1.0}),
        ("all parts but stability", dict.fromkeys(ALL_PARTS, 1.0)),
    ):
        own = reward.unsupervised
        parts = own.model_copy(
            update={"weights": own.weights.model_copy(update=dict.fromkeys(ALL_PARTS, 0.0) | weights)}
        )
        options = reward.model_copy(update={"kind": "unsupervised", "unsupervised": parts})
        verifier = transcript_verifier(options, texts=texts)
        unsupervised_s = seconds(lambda verifier=verifier: score(verifier, clips))  # type: ignore[misc]
        report(f"the same, unsupervised, {name}", unsupervised_s, "s", 2, at_least=False)


if __name__ == "__main__":
    main()
