from hypothesis import given
from hypothesis import strategies as st
from transformers import Wav2Vec2CTCTokenizer

from soundraft.models.scratch import character_tokenizer
from soundraft.models.spelling import Spelling

SPELLING = Spelling(character_tokenizer(), 0)


@given(st.lists(st.integers(0, 29), max_size=12), st.booleans(), st.booleans())
def test_joining_characters_is_what_the_tokenizer_does(tokens: list[int], lower: bool, cleans: bool) -> None:
    tokenizer: Wav2Vec2CTCTokenizer = character_tokenizer()
    tokenizer.do_lower_case, tokenizer.clean_up_tokenization_spaces = lower, cleans
    spelling = Spelling(tokenizer, 0)
    assert spelling.text(tuple(tokens)) == spelling._read(tuple(tokens))


def test_what_is_no_text_is_not_written() -> None:
    unknown = SPELLING.tokenizer.unk_token_id
    assert SPELLING.text((unknown, *SPELLING.tokens("two"), unknown)) == "two"
