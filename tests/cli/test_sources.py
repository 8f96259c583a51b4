import argparse

import pytest

from soundraft.cli.options import language_of


@pytest.mark.parametrize(
    ("language", "corpus", "code"),
    [
        ("en_us", "fleurs", "en"),
        ("zh-CN", None, "zh"),
        (None, "librispeech", "en"),
        (None, "fleurs", ""),
        (None, "x", ""),
    ],
)
def test_the_language_is_the_one_given_or_the_only_one_of_the_corpus(
    language: str | None, corpus: str | None, code: str
) -> None:
    assert language_of(argparse.Namespace(language=language, corpus=corpus)) == code
