"""Splits and folds are drawn as they say."""

from collections import Counter

import pytest

from soundraft.clips.base import LabelledClips
from soundraft.clips.splitting import SplitRule, advice, draw, folds_of
from soundraft.runtime import UserError


def clips(count: int = 200, *, speakers: int = 8) -> LabelledClips:
    facts = [
        {"label": "rare" if n % 10 == 0 else f"l{n % 3}", "speaker": f"s{n % speakers}", "fold": 1 + n % 5}
        for n in range(count)
    ]
    return LabelledClips([f"c{n}" for n in range(count)], lambda place: b"", facts)


@pytest.mark.parametrize("rule", [SplitRule(), SplitRule("stratify"), SplitRule("group", column="speaker")])
def test_every_clip_is_in_one_split_whatever_the_order(rule: SplitRule) -> None:
    given = clips()
    parts = draw(given, rule, target="label", seed=1)
    assert Counter(name for part in parts.values() for name in part.ids) == Counter(given.ids)
    reverse = draw(given.part(range(len(given) - 1, -1, -1)), rule, target="label", seed=1)
    assert {split: set(part.ids) for split, part in parts.items()} == {
        split: set(part.ids) for split, part in reverse.items()
    }
    other = draw(given, rule, target="label", seed=2)
    assert set(other["test"].ids) != set(parts["test"].ids)


def test_shares_and_labels() -> None:
    parts = draw(clips(), SplitRule("stratify", (0.6, 0.2, 0.2)), target="label", seed=0)
    assert [len(parts[split]) for split in ("train", "validation", "test")] == [120, 40, 40]
    for split, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        counts = Counter(parts[split].values("label"))  # type: ignore[index]
        assert abs(counts["rare"] - share * 20) <= 1
    assert [len(part) for part in draw(clips(), SplitRule(), target="label", seed=0).values()] == [140, 20, 40]
    parts = draw(clips(), SplitRule(), target="label", seed=0, among=("train", "validation"))
    assert [len(parts[split]) for split in ("train", "validation", "test")] == [175, 25, 0]


def test_what_chance_lost_and_a_stratified_split_would_not_is_told() -> None:
    facts = [{"label": "rare" if n < 2 else f"l{n % 2}"} for n in range(40)]
    given = LabelledClips([f"c{n}" for n in range(40)], lambda place: b"", facts)
    told = set()
    for seed in range(40):
        parts = draw(given, SplitRule(), target="label", seed=seed)
        said = advice(given, parts, SplitRule(), target="label", seed=seed)
        lost = "rare" not in parts["train"].values("label")
        assert ("train has no clip of 'rare'" in said) == lost
        better = draw(given, SplitRule("stratify"), target="label", seed=seed)
        assert "rare" in better["train"].values("label")
        if said == "":
            assert set(better["test"].values("label")) <= set(parts["test"].values("label"))
        told.add(said)
        assert advice(given, better, SplitRule("stratify"), target="label", seed=seed) == ""
    assert "" in told
    assert any("preprocessing.split.type: stratify would give train such clips" in said for said in told)
    alone = given.part(range(1, 40))
    for seed in range(20):
        parts = draw(alone, SplitRule(), target="label", seed=seed)
        better = draw(alone, SplitRule("stratify"), target="label", seed=seed)
        assert "rare" in better["train"].values("label")
        lost = "rare" not in parts["train"].values("label")
        assert ("train has no clip of 'rare'" in advice(alone, parts, SplitRule(), target="label", seed=seed)) == lost


def test_what_a_fold_validates_it_has_learned() -> None:
    facts = [{"label": f"rare{n}" if n < 9 else f"l{n % 3}", "speaker": f"s{n % 4}"} for n in range(60)]
    facts += [{"label": f"rare{n}", "speaker": f"s{(n + 1) % 4}"} for n in range(9)]  # two clips each, of two speakers
    given = LabelledClips([f"c{n}" for n in range(69)], lambda place: b"", facts)
    for seed in range(10):
        for fold in folds_of(given, "speaker", target="label", k=None, seed=seed):
            labels = {split: set(part.values("label")) for split, part in fold.parts.items()}
            assert labels["validation"] <= labels["train"]
            assert labels["test"] <= labels["train"]
            assert 4 <= len(fold.parts["validation"]) <= 6


def test_no_speaker_is_in_two_splits() -> None:
    for seed in range(5):
        parts = draw(clips(), SplitRule("group", column="speaker"), target="label", seed=seed)
        speakers = [set(part.values("speaker")) for part in parts.values()]
        assert not speakers[0] & speakers[1]
        assert not speakers[0] & speakers[2]
        assert not speakers[1] & speakers[2]
        assert len(parts["train"]) >= 100


@pytest.mark.parametrize(
    ("kind", "k", "folds"), [("speaker", None, 8), ("speaker", 4, 4), ("official", None, 5), ("k", 5, 5)]
)
def test_each_clip_is_tested_once_by_a_model_that_never_heard_it(kind: str, k: int | None, folds: int) -> None:
    given = clips()
    found = folds_of(given, kind, target="label", k=k, seed=0)
    assert len(found) == folds
    assert Counter(name for fold in found for name in fold.parts["test"].ids) == Counter(given.ids)
    by = {"speaker": "speaker", "official": "fold"}.get(kind)
    for fold in found:
        sets = [set(fold.parts[split].ids) for split in ("train", "validation", "test")]
        assert sum(map(len, sets)) == len(given)
        assert len(sets[1]) >= 0.09 * (len(sets[0]) + len(sets[1]))
        if by:
            heard = set(fold.parts["train"].values(by)) | set(fold.parts["validation"].values(by))
            assert not heard & set(fold.parts["test"].values(by))
    if kind == "k":
        assert {Counter(fold.parts["test"].values("label"))["rare"] for fold in found} == {4}


def test_what_cannot_be_divided() -> None:
    for rule, message in (
        (SplitRule("group", column="speaker"), "2 different values of speaker are too few"),
        (SplitRule("group", column="room"), "no clip has a room; there is fold, label, speaker"),
    ):
        with pytest.raises(UserError, match=message):
            draw(clips(speakers=2), rule, target="label", seed=0)
    with pytest.raises(UserError, match="too few to draw a validation split"):
        draw(clips(2), SplitRule(), target="label", seed=0)
    with pytest.raises(UserError, match="1 folds by speaker: it takes two or more"):
        folds_of(clips(speakers=1), "speaker", target="label", k=None, seed=0)
    with pytest.raises(UserError, match="leave k out"):
        folds_of(clips(), "official", target="label", k=3, seed=0)
    with pytest.raises(UserError, match="got 'leave'; there are official, speaker, k"):
        folds_of(clips(), "leave", target="label", k=3, seed=0)
