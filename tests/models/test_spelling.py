import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import Wav2Vec2CTCTokenizer

from soundraft.models.ctc import Spelling, character_tokenizer

SPELLING = Spelling(character_tokenizer(), 0)


@given(st.lists(st.integers(0, 29), max_size=12), st.booleans(), st.booleans())
def test_joining_characters_is_what_the_tokenizer_does(tokens: list[int], lower: bool, cleans: bool) -> None:
    tokenizer: Wav2Vec2CTCTokenizer = character_tokenizer()
    tokenizer.do_lower_case, tokenizer.clean_up_tokenization_spaces = lower, cleans
    spelling = Spelling(tokenizer, 0)
    assert spelling.text(tuple(tokens)) == spelling._read(tuple(tokens))


@given(st.text("abyz '|A<é", max_size=12), st.booleans())
def test_splitting_into_letters_is_what_the_tokenizer_does(text: str, lower: bool) -> None:
    tokenizer: Wav2Vec2CTCTokenizer = character_tokenizer()
    tokenizer.do_lower_case = lower
    spelling = Spelling(tokenizer, 0)
    assert spelling._split(text) == spelling._tokenize(text)


def test_texts_of_known_letters_need_no_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    spelling = Spelling(character_tokenizer(), 0)
    monkeypatch.setattr(spelling, "tokenizer", None)
    assert spelling._split("one two") == tuple(SPELLING.tokens("one two"))


def test_what_is_no_text_is_not_written() -> None:
    unknown = SPELLING.tokenizer.unk_token_id
    assert SPELLING.text((unknown, *SPELLING.tokens("two"), unknown)) == "two"
