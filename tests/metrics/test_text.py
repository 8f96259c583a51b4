import random
import unicodedata

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundraft.metrics import text as metric


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
    assert metric.confusions(["今天天气"], ["今天天汽"], top=9) == [("气", "汽", 1)]


@pytest.mark.parametrize(
    ("kind", "language", "text", "expected"),
    [
        ("none", "", "  Don’t \t stop", "Don’t stop"),
        ("basic", "", "  Hello,  WORLD! ", "hello world"),
        ("basic", "", "don't 'quote' it", "don't quote it"),
        ("basic", "", "don’t ‘quote’ it", "don't quote it"),
        ("basic", "", "don`t `quote' it", "don't quote it"),
        ("basic", "", "co\u00adoperate \ufeffnow", "cooperate now"),
        ("basic", "", "Grüße aus Köln – 10°", "grüsse aus köln 10"),
        ("basic", "", "привет, мир", "привет мир"),
        ("basic", "", "ﬁne", "fine"),
        ("basic", "", "...", ""),
        ("basic", "", "İstanbul I\u0307zmir ILIK", "istanbul izmir ilik"),
        ("basic", "tr", "İstanbul IŞIK", "istanbul ışık"),
        ("basic", "az_AZ", "IŞIQ", "ışıq"),
        ("whisper-english", "", "The colour of the centre", "the color of the center"),
        ("whisper-english", "", "Twenty-one dollars", "$21"),
        ("whisper-english", "", "I won't, um, go!", "i will not go"),
        ("whisper-english", "", "I won’t go", "i will not go"),
        ("whisper-english", "", "Mr. Brown's [laughs] house", "mister brown is house"),
        ("whisper-english", "", "", ""),
        ("whisper-english", "", "zero five two", "052"),
        ("whisper-english", "", "052", "052"),
        ("whisper-multilingual", "", "  Grüße, aus KÖLN!", "grüße aus köln"),
        ("whisper-multilingual", "", "你好，世界", "你好 世界"),
        ("whisper-multilingual", "", "(rires) ça va ?", "ça va"),
        ("whisper-multilingual", "", "twenty one", "twenty one"),
        ("whisper-multilingual", "tr", "İYİ IŞIK", "iyi ışık"),
    ],
)
def test_the_normalisers(kind: str, language: str, text: str, expected: str) -> None:
    assert metric.normalized(text, kind, language) == expected


SPOKEN = "zero oh one twenty two hundred and a half point five dollars percent Mr. it's won't 052 3.14 $20 um ’s ŉ İ"


@pytest.mark.parametrize("kind", metric.NORMALIZERS)
@given(st.text() | st.lists(st.sampled_from(SPOKEN.split()), max_size=8).map(" ".join), st.sampled_from(["", "tr"]))
def test_a_normalised_text_stays_as_it_is(kind: str, text: str, language: str) -> None:
    once = metric.normalized(text, kind, language)
    assert metric.normalized(once, kind, language) == once
    if kind == "basic":
        assert all(unicodedata.category(sign)[0] in "LMN" or sign in " '" for sign in once)
        assert once.casefold() == once


def test_errors_are_counted_in_characters_where_words_have_no_spaces() -> None:
    for text in ("今天天气很好", "これはペンです", "สวัสดีครับ", "ຂອບໃຈ", "ကျေးဇူး", "អរគុណ", "我们 用 GPS"):
        assert metric.is_unspaced(text)
    for text in ("", "052", "turn on", "привет мир", "안녕하세요 여러분", "don't 说"):
        assert not metric.is_unspaced(text)
    assert metric.units("我们 用") == ["我", "们", "用"]
    assert metric.character_counts(reference="我们 用", hypothesis="我们用") == (3, 0, 0, 0)


def test_snapping_takes_the_nearest_word() -> None:
    snap = metric.VocabularySnapper(["one", "two", "three", "four"])
    assert snap("oe thre four fuor") == "one three four four"
    assert snap("") == ""
    assert metric.VocabularySnapper([])("oe thre") == "oe thre"
