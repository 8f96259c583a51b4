import random
import unicodedata

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundraft.metrics import text as metric

WORDS = st.lists(st.sampled_from(["one", "two", "three", "on", "off"]), max_size=8).map(" ".join)


def edit_distance(left: list[str], right: list[str]) -> int:
    """Levenshtein by the textbook."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


@given(WORDS, WORDS)
def test_errors_are_the_edit_distance(reference: str, hypothesis: str) -> None:
    words = metric.word_counts(reference=reference, hypothesis=hypothesis)
    assert words.errors == edit_distance(reference.split(), hypothesis.split())
    assert words.reference_length == len(reference.split())
    assert words.hits + words.substitutions + words.insertions == len(hypothesis.split())
    characters = metric.character_counts(reference=reference, hypothesis=hypothesis)
    assert characters.errors == edit_distance(list(reference), list(hypothesis))


def random_pairs(number: int, seed: int) -> list[tuple[str, str]]:
    """References of 1–12 words and what a bad recogniser makes of them; some hypotheses are empty."""
    rng = random.Random(seed)
    words = ["a", "an", "the", "light", "lights", "kitchen", "köln", "привет", "on", "off", "one", "won"]
    pairs = []
    for _ in range(number):
        reference = rng.choices(words, k=rng.randint(1, 12))
        kept = [rng.choice(words) if rng.random() < 0.3 else word for word in reference if rng.random() < 0.8]
        kept.insert(rng.randint(0, len(kept)), rng.choice(words))
        pairs.append((" ".join(reference), "" if rng.random() < 0.05 else " ".join(kept)))
    return pairs


def test_counts_and_pooled_rates_are_those_of_jiwer() -> None:
    pairs = random_pairs(2500, seed=1)
    references, hypotheses = map(list, zip(*pairs, strict=True))
    for count, process, rate in (
        (metric.word_counts, jiwer.process_words, jiwer.wer),
        (metric.character_counts, jiwer.process_characters, jiwer.cer),
    ):
        ours = [count(reference=reference, hypothesis=hypothesis) for reference, hypothesis in pairs]
        theirs = [process(*pair) for pair in pairs]
        assert ours == [metric.Counts(x.hits, x.substitutions, x.deletions, x.insertions) for x in theirs]
        assert metric.error_rate(np.sum(ours, axis=0)) == pytest.approx(rate(references, hypotheses), abs=1e-12)


def test_an_empty_reference_makes_everything_an_insertion() -> None:
    assert metric.word_counts(reference="", hypothesis="one two") == metric.Counts(0, 0, 0, 2)
    assert metric.character_counts(reference="", hypothesis="one two") == metric.Counts(0, 0, 0, 7)
    assert metric.word_counts(reference="", hypothesis="") == metric.Counts(0, 0, 0, 0)


def test_the_corpus_rate_is_pooled_not_averaged() -> None:
    short = metric.word_counts(reference="one", hypothesis="two")
    long = metric.word_counts(reference="one two three one two three one two three", hypothesis="one " * 9)
    assert metric.error_rate(np.sum([short, long], axis=0)) == 7 / 10
    with pytest.raises(ValueError, match="no reference word"):
        metric.error_rate(np.array(metric.word_counts(reference="", hypothesis="one")))


def test_confusions_count_substitutions_deletions_and_insertions() -> None:
    pairs = [
        ("one two three", "one too three"),
        ("one two", "one too"),
        ("one two", "one"),
        ("one", "one uh"),
        ("", "x"),
    ]
    references, hypotheses = zip(*pairs, strict=True)
    assert metric.confusions(references, hypotheses, top=10) == [("two", "too", 2), ("", "uh", 1), ("two", "", 1)]
    assert metric.confusions(references, hypotheses, top=1) == [("two", "too", 2)]
    assert metric.confusions(["", ""], ["a", ""], top=9) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Hello,  WORLD! ", "hello world"),
        ("don't 'quote' it", "don't quote it"),
        ("Grüße aus Köln – 10°", "grüsse aus köln 10"),
        ("привет, мир", "привет мир"),
        ("ﬁne", "fine"),
        ("...", ""),
    ],
)
def test_the_basic_normaliser(text: str, expected: str) -> None:
    assert metric.basic(text) == expected


@given(st.text())
def test_the_basic_normaliser_keeps_letters_marks_and_digits(text: str) -> None:
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or c == "'" else " " for c in folded)
    assert metric.basic(text) == " ".join(filter(None, (word.strip("'") for word in kept.split())))


@pytest.mark.parametrize(
    ("rules", "text", "expected"),
    [
        ("english", "The colour of the centre", "the color of the center"),
        ("english", "Twenty-one dollars", "$21"),
        ("english", "I won't, um, go!", "i will not go"),
        ("english", "Mr. Brown's [laughs] house", "mister brown is house"),
        ("english", "", ""),
        ("multilingual", "  Grüße, aus KÖLN!", "grüße aus köln"),
        ("multilingual", "你好，世界", "你好 世界"),
        ("multilingual", "(rires) ça va ?", "ça va"),
        ("multilingual", "twenty one", "twenty one"),
    ],
)
def test_whispers_rules(rules: str, text: str, expected: str) -> None:
    assert metric.NORMALIZERS[f"whisper-{rules}"](text) == expected


def test_snapping_takes_the_nearest_word() -> None:
    snap = metric.VocabularySnapper(["one", "two", "three", "four"])
    assert snap("oe thre four fuor") == "one three four four"
    assert snap("") == ""
    assert metric.VocabularySnapper([])("oe thre") == "oe thre"
