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
def test_word_errors_are_the_edit_distance(reference: str, hypothesis: str) -> None:
    counts = metric.word_counts(reference=reference, hypothesis=hypothesis)
    assert counts.errors == edit_distance(reference.split(), hypothesis.split())
    assert counts.reference_length == len(reference.split())
    assert counts.hits + counts.substitutions + counts.insertions == len(hypothesis.split())


@given(WORDS, WORDS)
def test_character_errors_are_the_edit_distance(reference: str, hypothesis: str) -> None:
    counts = metric.character_counts(reference=reference, hypothesis=hypothesis)
    assert counts.errors == edit_distance(list(reference), list(hypothesis))


def test_the_corpus_rate_is_pooled_not_averaged() -> None:
    short = metric.word_counts(reference="one", hypothesis="two")
    long = metric.word_counts(reference="one two three one two three one two three", hypothesis="one " * 9)
    assert metric.pooled_rate([short, long]) == 7 / 10
    with pytest.raises(ValueError, match="no reference word"):
        metric.pooled_rate([metric.word_counts(reference="", hypothesis="one")])


def test_the_interval_covers_the_rate_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        errors = rng.binomial(5, 0.3, size=60)
        counts = [metric.Counts(5 - int(e), int(e), 0, 0) for e in errors]
        low, high = metric.bootstrap_interval(counts, samples=300, seed=trial)
        covered += low <= 0.3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_confusions_count_substitutions_deletions_and_insertions() -> None:
    pairs = [
        ("one two three", "one too three"),
        ("one two", "one too"),
        ("one two", "one"),
        ("one", "one uh"),
        ("", "x"),
    ]
    assert metric.confusions(pairs, top=10) == [("two", "too", 2), ("", "uh", 1), ("two", "", 1)]
    assert metric.confusions(pairs, top=1) == [("two", "too", 2)]


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


def test_snapping_takes_the_nearest_word() -> None:
    snap = metric.VocabularySnapper(["one", "two", "three", "four"])
    assert snap("oe thre four fuor") == "one three four four"
    assert snap("") == ""
