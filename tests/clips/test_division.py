"""How the clips of a run are divided: by their own splits, as declared, else by speaker; never a clip in two splits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
import pytest

from soundraft.clips.base import Facts, Reading, label_of
from soundraft.clips.division import Divided, Sources, divide, shared_speakers
from soundraft.manifest import SPLITS, TooManyBad
from soundraft.runtime import UserError
from soundraft.splits import SplitRule
from tests.tasks import sounds

READING = Reading("pitch")


@dataclass
class Wanted:
    """What of a task decides the splits."""

    target: str = "pitch"
    needs_targets: bool = True

    def target_of(self, facts: Facts) -> str | None:
        return label_of(facts.get(self.target))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 clips of three speakers, a folder up."""
    folder = tmp_path_factory.mktemp("clips")
    sounds.table(folder / "a")
    return folder


@pytest.fixture
def frame(place: Path, monkeypatch: pytest.MonkeyPatch) -> pandas.DataFrame:
    monkeypatch.chdir(place / "a")
    return pandas.read_csv("clips.csv")


def divided(
    train: Any, *, rule: SplitRule | None = None, limit: int | None = None, bad: float = 0.0,
    wanted: Wanted | None = None, seed: int = 0, **others: Any,
) -> Divided:  # fmt: skip
    return divide(wanted or Wanted(), Sources(train, **others), READING, rule=rule, limit=limit, seed=seed,
                  max_bad_fraction=bad)  # fmt: skip


def values(found: Divided, name: str) -> dict[str, set[Any]]:
    return {split: {facts.get(name) for facts in clips.facts} for split, clips in found.parts.items()}


def sizes(found: Divided) -> list[int]:
    return [len(clips) for clips in found.parts.values()]


def test_no_speaker_is_in_two_splits_where_none_are_given(frame: pandas.DataFrame) -> None:
    found = divided(frame)
    speakers = values(found, "speaker")
    assert (set(speakers), sum(map(len, speakers.values()))) == (set(SPLITS), len(sounds.SPEAKERS))
    assert "no speaker in train and test" in found.how
    assert all(clips.ids == sorted(clips.ids) for clips in found.parts.values())
    assert any(values(divided(frame, seed=seed), "speaker") != speakers for seed in range(1, 5))
    found = divided(frame, wanted=Wanted("speaker"))  # who predicts the speaker trains on all of them
    assert (values(found, "speaker")["train"], set(found.parts)) == (set(sounds.SPEAKERS), set(SPLITS))


def test_where_speakers_are_too_few_texts_and_audio_are_kept_apart(frame: pandas.DataFrame) -> None:
    found = divided(frame.assign(speaker=["ann", "bob", "bob"] * 15, text=[f"text {n // 2}" for n in range(45)]))
    texts = values(found, "text")
    assert sum(map(len, texts.values())) == 23
    assert found.how[0].endswith("drawn by text or audio")


def test_the_splits_are_those_of_the_source_or_those_given(frame: pandas.DataFrame) -> None:
    own = frame.assign(split=["train"] * 20 + [""] * 5 + ["dev"] * 10 + ["test"] * 10)
    found = divided(own)
    assert sizes(found) == [25, 10, 10]
    assert found.how[0] == "by the column split"
    found = divided(own.query("split != 'dev'"), validation=frame[25:35])
    assert (sizes(found), found.parts["validation"].ids) == ([25, 10, 10], list(frame.audio[25:35]))
    assert sizes(divided(frame[:20], validation=frame[20:30], test=frame[30:])) == [20, 10, 15]
    assert sizes(divided(own, limit=4)) == [8, 4, 4], "of each split, and of the clips that have none"
    fixed = divided(frame.assign(split=[0, 0, 1, 0, 2] * 9), rule=SplitRule("fixed", column="split"))
    assert sizes(fixed) == [27, 9, 9]


def test_a_rule_decides_and_each_label_is_in_its_share(frame: pandas.DataFrame) -> None:
    assert sizes(divided(frame, rule=SplitRule("random"))) in ([31, 5, 9], [32, 4, 9], [32, 5, 8])
    found = divided(frame, rule=SplitRule("stratify", (0.6, 0.2, 0.2)))
    assert sizes(found) == [27, 9, 9]
    assert all(len(clips.known_labels("pitch")) % 3 == 0 for clips in found.parts.values())
    found = divided(frame.assign(split="train"), rule=SplitRule("group", (0.4, 0.3, 0.3), "speaker"))
    assert sorted(map(len, values(found, "speaker").values())) == [1, 1, 1]
    assert "splits are not used" in found.notes[0]
    found = divided(frame[:30], rule=SplitRule("random"), test=frame[30:])
    assert sizes(found) == [26, 4, 15], "shares of the splits that are drawn are scaled up"


def test_without_targets_only_clips_that_have_one_are_held_out(frame: pandas.DataFrame) -> None:
    bare = frame.assign(pitch=[None if n % 2 else pitch for n, pitch in enumerate(frame.pitch)])
    found = divided(bare, wanted=Wanted(needs_targets=False))
    assert len(found.parts["train"]) > 22
    assert None not in values(found, "pitch")["test"] | values(found, "pitch")["validation"]
    found = divided(frame.drop(columns="pitch"), wanted=Wanted(needs_targets=False))
    assert (sizes(found), "too few" in found.notes[0]) == ([45], True)


def test_extra_clips_are_trained_on_and_never_tested(place: Path, frame: pandas.DataFrame) -> None:
    sounds.table(place / "more", 12)
    more = pandas.read_csv(place / "more/clips.csv").assign(audio=lambda rows: "../more/" + rows.audio)
    plain, found = divided(frame), divided(frame, extra=more)
    assert set(found.parts["train"].ids) - set(plain.parts["train"].ids) == set(more.audio)
    assert [found.parts[split].ids for split in SPLITS[1:]] == [plain.parts[split].ids for split in SPLITS[1:]]
    found = divided(frame, extra=more.assign(pitch=[*more.pitch[:8], *["shrill"] * 4]))
    assert values(found, "pitch")["train"] == set(sounds.LABELS)
    assert any("8 more" in each and "4 with other labels" in each for each in found.how)
    for extra, word in ((more.assign(pitch="shrill"), "high, low"), (frame, "one split")):
        with pytest.raises(UserError, match=word):
            divided(frame, extra=extra)


def test_bad_lines_count_against_the_limit(place: Path) -> None:
    odd = place / "a/odd.csv"
    odd.write_text((place / "a/clips.csv").read_text() + "a,b\n")
    with pytest.raises(TooManyBad, match="1 of 46"):
        divided(odd)
    assert [bad.path for bad in divided(odd, bad=0.05).rejected] == ["odd.csv:47"]


@pytest.mark.parametrize(
    ("change", "options", "word"),
    [
        (lambda frame: frame[:2], {}, "too few"),
        (lambda frame: frame.assign(split="test"), {}, "no training clips"),
        (lambda frame: frame, {"rule": SplitRule("fixed", column="split")}, "no clip has a split"),
        (lambda frame: frame, {"rule": SplitRule("group", column="room")}, "room"),
        (lambda frame: frame, {"validation": "nowhere"}, "nowhere"),
        (lambda frame: frame[:39], {"test": "clips.csv"}, "00.wav"),
    ],
)
def test_clips_that_cannot_be_divided(frame: pandas.DataFrame, change: Any, options: Any, word: str) -> None:
    with pytest.raises(UserError, match=word):
        divided(change(frame), **options)


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        ("ab", "c", "no speaker in train and test"),
        ("ab", "bc", "1 of 2 test speakers are seen in training"),
        ("", "c", "speakers are not known"),
    ],
)
def test_how_speakers_are_shared_in_words(train: str, test: str, words: str) -> None:
    parts = [sounds.of([b""] * len(names), [{"speaker": name} for name in names]) for names in (train, test)]
    assert shared_speakers(*parts) == words
