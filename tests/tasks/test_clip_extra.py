"""More clips to learn from: they join what is learned, and nothing that is judged."""

from pathlib import Path
from typing import Any

import pandas
import pytest
from soundraft.tasks.classifier_run import join_extra, open_extra

import soundraft
from soundraft.clips.opening import Wanted, open_clips
from soundraft.runtime import UserError
from tests.tasks import tones

WANTED = Wanted(target="pitch")


def frame(folder: Path, count: int = 24, **changed: Any) -> pandas.DataFrame:
    """Clips with absolute paths and ids of their own."""
    folder.mkdir()
    rows = [
        row | {"audio": str(folder / row["audio"]), "id": f"{folder.name}/{row['audio']}"} | changed
        for row in tones.rows(folder, count)
    ]
    return pandas.DataFrame(rows)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    place = tmp_path_factory.mktemp("clips")
    return frame(place / "own"), frame(place / "more", 12)


def test_extra_clips_are_learned_and_neither_validated_on_nor_tested(
    clips: tuple[pandas.DataFrame, pandas.DataFrame], tmp_path: Path
) -> None:
    own, more = clips
    without = soundraft.fit(tones.CONFIG, own)
    result = soundraft.fit(tones.CONFIG, own, extra_df=more, output_dir=tmp_path / "run")
    added = set(result.division.parts["train"].ids) - set(without.division.parts["train"].ids)
    assert added == set(more["id"])
    assert (result.test.ids, result.validation.ids) == (without.test.ids, without.validation.ids)
    assert result.training.history[0].loss != without.training.history[0].loss
    assert "12 more training clips of data frame" in (tmp_path / "run" / "report.md").read_text()


def test_extra_clips_are_in_every_fold(clips: tuple[pandas.DataFrame, pandas.DataFrame]) -> None:
    own, more = clips
    without, found = (soundraft.cross_validate(tones.CONFIG, own, folds="k", k=2, extra=each) for each in (None, more))
    assert [with_extra.train - plain.train for with_extra, plain in zip(found.scores, without.scores, strict=True)] == [
        12,
        12,
    ]
    assert sorted(found.predicted.ids) == sorted(own["id"])


def test_test_clips_that_are_learned_under_another_name_are_told_once(
    clips: tuple[pandas.DataFrame, pandas.DataFrame], tmp_path: Path
) -> None:
    own, more = clips  # the extra clips are byte for byte the first twelve
    said: list[str] = []
    result = soundraft.fit(tones.CONFIG, own, extra_df=more, output_dir=tmp_path / "run", tell=said.append)
    names = [name.removeprefix("own/") for name in result.test.ids]
    both = [name for name in names if f"more/{name}" in set(more["id"])]
    (note,) = [line for line in said if "very audio" in line]
    have = "has" if len(both) == 1 else "have"
    assert note.startswith(f"note: {len(both)} of {len(result.test.ids)} test clips {have} the very audio of a ")
    assert f"(own/{both[0]} that of more/{both[0]})" in note
    assert note.removeprefix("note: ") in (tmp_path / "run" / "report.md").read_text()
    said.clear()
    soundraft.cross_validate(tones.CONFIG, own, folds="k", k=2, extra=more, tell=said.append)
    assert len([line for line in said if "very audio" in line]) == 2  # another one of each fold
    soundraft.fit(tones.CONFIG, own, tell=said.append)
    assert len([line for line in said if "very audio" in line]) == 2


def test_labels_that_training_lacks_do_not_widen_the_task(clips: tuple[pandas.DataFrame, pandas.DataFrame]) -> None:
    own, more = clips
    parts = {"train": open_clips(own[own["pitch"] != "high"], WANTED).clips}
    extra = open_extra(more, WANTED, max_bad_fraction=0.0)
    assert extra is not None
    joined, words = join_extra(parts, extra, target="pitch")  # type: ignore[arg-type]
    assert set(joined["train"].known_labels("pitch")) == {"low", "middle"}
    assert words == "8 more training clips of data frame (4 with other labels left out)"
    assert joined["train"].audio(len(parts["train"])) == Path(more["audio"][0]).read_bytes()


def test_extra_clips_that_help_nothing_or_are_tested_are_refused(
    clips: tuple[pandas.DataFrame, pandas.DataFrame],
) -> None:
    own, more = clips
    with pytest.raises(UserError, match=r"no clip has a pitch that the training clips have; they have high, low"):
        soundraft.fit(tones.CONFIG, own, extra_df=more.assign(pitch="shrill"))
    with pytest.raises(UserError, match=r"data frame: \d+ of its clips are in train already, own/00.wav first"):
        soundraft.fit(tones.CONFIG, own, extra_df=own)
