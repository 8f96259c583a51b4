"""data/README.md has an entry for each corpus, and says what the registry says."""

import re
from pathlib import Path
from typing import get_args

import pytest

from soundraft.corpora import CORPORA
from soundraft.params.sections import CorpusName

TEXT = (Path(__file__).resolve().parents[2] / "data" / "README.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", TEXT, flags=re.DOTALL | re.MULTILINE))


def test_every_corpus_has_an_entry_and_every_entry_a_corpus() -> None:
    assert sorted(ENTRIES) == sorted(get_args(CorpusName))


@pytest.mark.parametrize("name", list(CORPORA))
def test_an_entry_says_what_the_registry_says(name: str) -> None:
    info, entry = CORPORA[name].info, " ".join(ENTRIES[name].split())
    for heading in ("source", "splits", "preparation", "size"):
        assert re.search(rf"- \*\*[\w, ]*{heading}[\w, ]*\*\*: ", entry, flags=re.IGNORECASE), heading
    licence = re.split(r"[;(:]", info.licence)[0].strip()
    assert licence.lower() in entry.lower()
    repository = re.match(r"[\w-]+/[\w.-]+", info.source)
    if repository:
        assert f"`{repository[0]}`" in entry
    for number in re.findall(r"\d[\d,]*\d", info.size):
        assert number in entry, "sizes agree"
