"""Between the tokens of a CTC model and text."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from soundraft.models.base import ModelError

REMEMBERED_TEXTS = 1 << 16


class Spelling:
    """Writes texts in tokens and reads collapsed paths, as the model's tokenizer does.

    Attributes:
        upper: whether the vocabulary has upper-case letters only.
    """

    def __init__(self, tokenizer: Any, blank_id: int) -> None:
        from transformers import Wav2Vec2CTCTokenizer

        self.tokenizer = tokenizer
        self.blank_id = blank_id
        self.silent = {tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
        letters = {token for token in tokenizer.get_vocab() if len(token) == 1 and token.isalpha()}
        self.upper = bool(letters) and all(letter == letter.upper() for letter in letters)
        read: Callable = self._read
        write: Callable = self._tokenize
        if isinstance(tokenizer, Wav2Vec2CTCTokenizer):
            self._pieces = self._character_pieces()
            self._letters = self._single_letters()
            read, write = self._join, self._split
        self.text: Callable[[tuple[int, ...]], str] = lru_cache(REMEMBERED_TEXTS)(read)
        self._ids: Callable[[str], tuple[int, ...]] = lru_cache(REMEMBERED_TEXTS)(write)

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text, in the letter case that the vocabulary has.

        Raises:
            ModelError: when the vocabulary lacks a character; learning `<unk>` for it would spoil the model.
        """
        if not self.can_spell(text):
            raise ModelError(
                f"the model's vocabulary cannot spell {self._cased(text)!r}; reward.normalizer: basic may help"
            )
        return list(self._ids(self._cased(text)))

    def can_spell(self, text: str) -> bool:
        return self.tokenizer.unk_token_id not in self._ids(self._cased(text))

    def _cased(self, text: str) -> str:
        return text.upper() if self.upper else text

    def _tokenize(self, cased: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(cased, add_special_tokens=False).input_ids)

    def _split(self, cased: str) -> tuple[int, ...]:
        """As `_tokenize`, 50 times faster for texts of letters that the vocabulary has."""
        ids = [self._letters.get(letter) for letter in cased]
        return self._tokenize(cased) if None in ids else tuple(ids)  # type: ignore[arg-type]

    def _read(self, tokens: tuple[int, ...]) -> str:
        # The tokenizer merges repeats once more: a blank between them keeps "three" from becoming "thre".
        # It drops the blanks itself, and only after merging; `skip_special_tokens` would drop them before.
        separated = [part for token in tokens if token not in self.silent for part in (token, self.blank_id)]
        return self.tokenizer.decode(separated).strip()

    def _join(self, tokens: tuple[int, ...]) -> str:
        """As `_read`, 20 times faster: a tokenizer of characters only joins them."""
        text = "".join([self._pieces.get(token, "") for token in tokens]).strip()  # a head may have more than these
        if self.tokenizer.do_lower_case:
            text = text.lower()
        return self.tokenizer.clean_up_tokenization(text).strip() if self._cleans else text

    def _character_pieces(self) -> dict[int, str]:
        tokenizer = self.tokenizer
        self._cleans = bool(tokenizer.clean_up_tokenization_spaces)
        pieces = {id_: token for token, id_ in tokenizer.get_vocab().items()}
        pieces[tokenizer.word_delimiter_token_id] = tokenizer.replace_word_delimiter_char
        return pieces | dict.fromkeys({self.blank_id, tokenizer.pad_token_id, *self.silent}, "")

    def _single_letters(self) -> dict[str, int]:
        """Letters that are one token wherever they stand, and the space; none where the tokenizer changes case."""
        tokenizer = self.tokenizer
        if tokenizer.do_lower_case:
            return {}
        vocabulary = tokenizer.get_vocab()
        letters = {token: id_ for token, id_ in vocabulary.items() if len(token) == 1 and token.isalpha()}
        return letters | {tokenizer.replace_word_delimiter_char: tokenizer.word_delimiter_token_id}
