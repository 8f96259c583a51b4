"""Classifiers without the pipeline, on tones: what is trained, written, measured and refused."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, recall_score

import soundraft
from soundraft import files
from soundraft.runtime import UserError
from soundraft.tasks import classifier_run
from soundraft.tasks.folds import t_interval
from tests.tasks import tones


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tones.table(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> soundraft.ClassifierResult:
    return soundraft.fit(tones.CONFIG, table, output_dir=tmp_path_factory.mktemp("run") / "out")


def config(**top: Any) -> dict[str, Any]:
    return copy.deepcopy(tones.CONFIG) | top


def test_a_run_learns_and_is_measured_right(run: soundraft.ClassifierResult) -> None:
    found, test = run.scores, run.test
    assert found.accuracy == accuracy_score(test.known, test.predictions) > 0.8
    assert found.macro.recall == pytest.approx(recall_score(test.known, test.predictions, average="macro"))
    assert [len(run.division.parts[split]) for split in ("train", "validation", "test")] == [33, 5, 10]
    assert run.division.how.startswith("drawn at random, 70/10/20, seed 0; ")
    assert test.ids == run.svm.ids == run.majority.ids
    assert len(run.training.history) == 4


def test_its_folder_has_all_of_it(run: soundraft.ClassifierResult) -> None:
    folder = run.folder
    assert folder is not None
    assert sorted(path.name for path in folder.iterdir()) == [
        "description.json", "learning_curves.csv", "model", "predictions.parquet", "quarantine.jsonl", "report.md",
        "splits.csv", "test_statistics.json", "training_statistics.json",
    ]  # fmt: skip
    statistics = files.read_json(folder / "test_statistics.json")
    assert statistics["classifier"]["accuracy"] == run.scores.accuracy
    assert {"svm", "majority", "by_group"} < statistics.keys()
    assert {row["value"] for row in statistics["by_group"]["speaker"]} <= set(tones.SPEAKERS)
    assert len(files.read_json(folder / "training_statistics.json")["epochs"]) == 4
    described = files.read_json(folder / "description.json")
    assert described["clips"] == {"train": 33, "validation": 5, "test": 10}
    assert described["classification"]["encoder"]["stacked_cnn"]["num_filters"] == 16
    report = (folder / "report.md").read_text()
    assert "| control: statistics SVM |" in report
    assert "| control: majority class |" in report
    assert "start model" not in report
    accuracy = f"10 test clips: accuracy {run.scores.accuracy:.1%}, UAR "
    assert repr(run).startswith(f"ClassifierResult({accuracy}")
    assert repr(run).endswith(f"; folder {folder})")
    assert len((folder / "splits.csv").read_text().splitlines()) == 1 + 48
    with pytest.raises(UserError, match="is not empty: name another folder"):
        soundraft.fit(tones.CONFIG, "x.csv", output_dir=folder)


def test_the_same_seed_gives_the_same_model(run: soundraft.ClassifierResult, table: Path, tmp_path: Path) -> None:
    assert run.folder is not None
    again = soundraft.fit(tones.CONFIG, table, output_dir=tmp_path / "again")
    assert again.folder is not None
    for name in ("model/model.safetensors", "report.md", "predictions.parquet"):
        assert (run.folder / name).read_bytes() == (again.folder / name).read_bytes()
    other = soundraft.fit(tones.CONFIG, table, seed=1)
    assert other.folder is None
    assert other.test.ids != run.test.ids


def test_predict_says_the_same_as_the_run(run: soundraft.ClassifierResult, table: Path) -> None:
    assert run.folder is not None
    for model in (run, run.folder, run.folder / "model", run.classifier):
        frame = soundraft.predict(model, table)
        assert list(frame.columns) == [
            "id", "path", "pitch_predictions", "pitch_probability",
            "pitch_probabilities_high", "pitch_probabilities_low", "pitch_probabilities_middle",
        ]  # fmt: skip
        assert len(frame) == 48
        mine = frame.set_index("id").loc[run.test.ids]
        assert list(mine.pitch_predictions) == run.test.predictions
        np.testing.assert_allclose(mine.filter(like="probabilities").sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(mine.pitch_probability, run.test.confidence, atol=1e-6)


def test_predict_needs_no_labels_and_sets_bad_files_aside(
    run: soundraft.ClassifierResult, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(table.parent / f"{number:02d}.wav") for number in range(48)]
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    frame = soundraft.predict(run, pandas.DataFrame({"audio_path": names}))
    assert len(frame) == 48
    frame = soundraft.predict(run, pandas.DataFrame({"audio": [names[0], str(tmp_path / "bad.wav"), "nowhere.wav"]}))
    assert list(frame.id) == names[:1]
    assert [bad["reason"].split(":")[0] for bad in frame.attrs["rejected"]] == ["not readable as audio", "no such file"]
    with pytest.raises(UserError, match="1 of 1 clips are bad"):
        soundraft.predict(run, pandas.DataFrame({"audio": [str(tmp_path / "bad.wav")]}))


def test_a_run_whose_description_is_broken_is_told(
    run: soundraft.ClassifierResult, table: Path, tmp_path: Path
) -> None:
    assert run.folder is not None
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run/description.json").write_text("{")
    with pytest.raises(UserError, match=r"run/description.json is not JSON: Expecting"):
        soundraft.predict(tmp_path / "run", table)


def test_evaluate_leaves_out_what_was_trained_on(run: soundraft.ClassifierResult, table: Path, tmp_path: Path) -> None:
    found = soundraft.evaluate(run.folder, table, output_dir=tmp_path / "out")
    assert found.predicted.ids == run.test.ids
    assert found.scores.accuracy == run.scores.accuracy
    assert found.notes == ["38 of 48 clips were trained or validated on, and are left out"]
    assert "majority class" in (tmp_path / "out/report.md").read_text()
    assert soundraft.evaluate(run, table, split="all").scores.clips == 48
    assert soundraft.evaluate(run, table, split="validation").scores.clips == 5
    with pytest.raises(UserError, match="there is no split 'dev'"):
        soundraft.evaluate(run, table, split="dev")
    rows = [{"audio": str(table.parent / "01.wav"), "pitch": "shrill"}]
    with pytest.raises(UserError, match="labels that were not seen in training: 'shrill'"):
        soundraft.evaluate(run, pandas.DataFrame(rows), split="all")
    with pytest.raises(UserError, match="no column pitch"):
        soundraft.evaluate(run, pandas.DataFrame([{"audio": "x"}]))


def test_what_was_learned_is_known_by_its_audio(run: soundraft.ClassifierResult, table: Path, tmp_path: Path) -> None:
    assert run.folder is not None
    moved = pandas.read_csv(table)
    for number, name in enumerate(moved.audio):
        shutil.copy(table.parent / name, tmp_path / f"other{number}.wav")
    moved.audio = [str(tmp_path / f"other{number}.wav") for number in range(48)]
    left_out = ["38 of 48 clips were trained or validated on, and are left out"]
    for model in (run, run.folder):
        found = soundraft.evaluate(model, moved)
        assert (found.scores, found.notes) == (run.scores, left_out)
        assert soundraft.evaluate(model, moved, split="validation").scores.clips == 5
    found = soundraft.evaluate(run, moved.assign(split="test"), split="test")
    assert found.notes[1:] == ["38 of these were trained or validated on, whatever their split says"]

    older = tmp_path / "older"
    shutil.copytree(run.folder, older)
    known = pandas.read_csv(older / "splits.csv")
    assert known.content.nunique() == 48
    known.drop(columns="content").to_csv(older / "splits.csv", index=False)
    assert soundraft.evaluate(older, table).notes == left_out
    assert soundraft.evaluate(older, moved).scores.clips == 48


def test_data_that_was_divided_otherwise_is_measured_on_what_the_run_did_not_hear(
    run: soundraft.ClassifierResult, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table.parent)
    frame = pandas.read_csv(table)
    own = frame.assign(split=["train" if number < 24 else "test" for number in range(48)])
    learned = sum(name not in run.test.ids for name in frame.audio[24:])
    assert 0 < learned < 24
    found = soundraft.evaluate(run, own)
    assert (found.predicted.ids, found.scores) == (run.test.ids, run.scores)
    assert found.notes == [
        "38 of 48 clips were trained or validated on, and are left out; "
        f"{learned} of them are among the data's own 24 test clips, which --split test measures"
    ]
    same = soundraft.evaluate(
        run, frame.assign(split=["test" if name in run.test.ids else "train" for name in frame.audio])
    )
    assert (same.scores, same.notes) == (run.scores, ["the 10 test clips of 48"])


def test_a_model_alone_says_that_nobody_knows_what_it_learned(run: soundraft.ClassifierResult, table: Path) -> None:
    found = soundraft.evaluate(run.classifier, table)
    assert found.scores.clips == 48
    assert found.notes == ["what the model learned from is not known: clips that it was trained on are not left out"]


def test_an_evaluation_is_written_whole_or_not_at_all(
    run: soundraft.ClassifierResult, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_jsonl", full)
        with pytest.raises(OSError, match="no space left"):
            soundraft.evaluate(run, table, output_dir=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    soundraft.evaluate(run, table, output_dir=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "predictions.parquet", "quarantine.jsonl", "report.md", "test_statistics.json",
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(UserError, match="name a folder of its own"):
        soundraft.evaluate(run, table, output_dir=".")


def test_data_frames_with_splits_of_their_own_and_side_inputs(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(table.parent)
    frame = pandas.read_csv(table)
    frame.loc[::7, "age"] = np.nan
    given = config()
    given["input_features"] += [
        {"name": "who", "type": "category", "column": "speaker"},
        {"name": "age", "type": "number"},
    ]
    said: list[str] = []
    result = soundraft.fit(given, frame[:30], frame[30:39], frame[39:], tell=said.append)
    assert result.test.ids == [f"{number:02d}.wav" for number in range(39, 48)]
    assert [item.name for item in result.classifier.side] == ["who", "age"]
    assert result.classifier.side[0].vocabulary == tuple(sorted(tones.SPEAKERS))
    known = frame[:30]["age"].dropna()
    assert result.classifier.side[1].mean == pytest.approx(known.mean())
    assert said[0] == "note: age: 5 of 30 clips have no number; the network is told so"
    assert said[-1].startswith("pitch: clips train 30, validation 9, test 9; splits given; 3 of 3 test speakers")
    assert len(soundraft.predict(result, frame)) == 48
    with pytest.raises(UserError, match=r"9 names are in train and test, 30\.wav first"):
        soundraft.fit(tones.CONFIG, frame[:39], None, frame[30:])
    with pytest.raises(UserError, match="no column age"):
        soundraft.predict(result, frame.drop(columns="age"))


def test_the_kind_of_split_is_told(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(table.parent)
    frame = pandas.read_csv(table)
    quick = {"trainer": {**tones.CONFIG["trainer"], "epochs": 1}}
    by_speaker = config(preprocessing={"split": {"type": "speaker", "probabilities": [0.5, 0.25, 0.25]}}, **quick)
    result = soundraft.fit(by_speaker, frame)
    assert "drawn by speaker, 50/25/25, seed 0; no speaker in train and test" in result.division.how
    with_split = frame.assign(part=[0, 0, 1, 0, 0, 2, 0, 0] * 6)
    fixed = config(preprocessing={"split": {"type": "fixed", "column": "part"}}, **quick)
    result = soundraft.fit(fixed, with_split)
    assert (len(result.test.ids), result.division.how.partition(";")[0]) == (6, "by the column part")
    result = soundraft.fit(config(**quick), with_split.rename(columns={"part": "split"}))
    assert (len(result.test.ids), result.division.how.partition(";")[0]) == (6, "by the column split")
    drawn = config(preprocessing={"split": {"type": "random"}}, **quick)
    result = soundraft.fit(drawn, with_split.rename(columns={"part": "split"}))
    assert len(result.test.ids) == 10
    assert "its column split is passed over" in result.division.notes[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.assign(pitch="low"), "all 33 training clips are 'low'"),
        (lambda frame: frame.assign(split=["train"] * 30 + ["test"] * 18, pitch=[*frame.pitch[:47], "shrill"]),
         "test: 1 of 18 clips have labels that were not seen in training: 'shrill'"),
        (lambda frame: frame.assign(audio=["x" * n + ".wav" for n in range(48)]), "none of its 48 audio files exists"),
        (lambda frame: frame.assign(audio=[*frame.audio[:20], *(f"no{n}.wav" for n in range(28))]), "no such file"),
        (lambda frame: frame.assign(pitch=None), "no clip has a pitch"),
        (lambda frame: frame.drop(columns="pitch"), "no column pitch; it has audio, speaker, fold, age"),
        (lambda frame: frame[:0], "no clips"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_used(table: Path, monkeypatch: pytest.MonkeyPatch, change: Any, message: str) -> None:
    monkeypatch.chdir(table.parent)
    with pytest.raises(UserError) as caught:
        soundraft.fit(tones.CONFIG, change(pandas.read_csv(table)))
    assert message in str(caught.value)


def test_a_test_label_that_training_never_saw_costs_no_training(
    run: soundraft.ClassifierResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = run.division.parts
    odd = replace(parts["test"], facts=[{**parts["test"].facts[0], "pitch": "shrill"}, *parts["test"].facts[1:]])
    monkeypatch.delattr(classifier_run.classification, "prepare")
    with pytest.raises(
        UserError, match=r"test: 1 of 10 clips have labels that were not seen in training: 'shrill' \(1\)"
    ):
        classifier_run.train_and_test(run.declared, replace(run.division, parts={**parts, "test": odd}), seed=0)


def test_a_label_that_chance_kept_from_training_comes_with_what_to_declare(table: Path) -> None:
    frame = pandas.read_csv(table)
    frame = frame.assign(id=frame.audio, audio=[str(table.parent / name) for name in frame.audio])
    wanted = dict.fromkeys(soundraft.fit(config(trainer={"epochs": 1}), frame).test.ids[:2], "shrill")
    frame.pitch = [wanted.get(name, pitch) for name, pitch in zip(frame.id, frame.pitch, strict=True)]
    said: list[str] = []
    with pytest.raises(UserError) as caught:
        soundraft.fit(tones.CONFIG, frame, tell=said.append)
    _, found, better = str(caught.value).partition("drawn at random, train has no clip of 'shrill'")
    assert "test: 2 of 10 clips have labels that were not seen in training: 'shrill' (2)" in str(caught.value)
    assert "; preprocessing.split.type: stratify would give train" in better
    assert f"note: {found}{better}" in said
    stratified = config(preprocessing={"split": {"type": "stratify"}}, trainer={"epochs": 1})
    assert "shrill" in soundraft.fit(stratified, frame).classifier.labels
    with pytest.raises(UserError) as caught:
        soundraft.fit(tones.CONFIG, frame[:40].replace("shrill", "low"), None, frame[40:].assign(pitch="deep"), seed=1)
    assert "stratify" not in str(caught.value)


def test_lines_that_are_no_clips_count_as_bad(table: Path, tmp_path: Path) -> None:
    odd = table.with_name("odd.csv")
    odd.write_text(table.read_text() + "a,b\n")
    with pytest.raises(UserError, match="1 of 49 clips are bad"):
        soundraft.fit(tones.CONFIG, odd)
    found = soundraft.fit(config(limits={"max_bad_fraction": 0.05}), odd)
    assert [bad.path for bad in found.rejected] == ["odd.csv:50"]


def test_folds(table: Path, tmp_path: Path) -> None:
    said: list[str] = []
    found = soundraft.cross_validate(
        tones.CONFIG, table, folds="official", output_dir=tmp_path / "out", tell=said.append
    )
    assert [score.name for score in found.scores] == ["1", "2", "3", "4"]
    assert all(score.test == 12 and score.validation + score.train == 36 for score in found.scores)
    assert all(3 <= score.validation <= 6 for score in found.scores)
    accuracies = [score.accuracy for score in found.scores]
    assert found.means["accuracy"].mean == pytest.approx(np.mean(accuracies))
    assert found.means["uar_gain"].mean == pytest.approx(np.mean([score.uar - score.svm_uar for score in found.scores]))
    assert sorted(found.predicted.ids) == [f"{number:02d}.wav" for number in range(48)]
    assert found.predicted.correct.mean() == pytest.approx(np.mean(accuracies))
    assert json.loads((tmp_path / "out/folds.json").read_text())["scores"][0]["name"] == "1"
    assert "| mean ± 95 %" in (tmp_path / "out/folds.md").read_text()
    assert pq.read_table(tmp_path / "out/predictions.parquet")["held_out"].to_pylist()[:2] == ["1", "1"]
    assert (tmp_path / "out/models/3/model.safetensors").is_file()
    assert len(said) == 5
    assert said[0] == "pitch: 48 clips in 4 folds by the column fold"
    with pytest.raises(UserError, match=r"one classifier a fold; name one, such as .*out/models/1$"):
        soundraft.predict(tmp_path / "out", table)
    (tmp_path / "out/folds.json").unlink()  # as the folder of a pipeline with models/base
    with pytest.raises(UserError, match=r"out: it has several models; name one, such as .*out/models/1$"):
        soundraft.predict(tmp_path / "out", table)
    with pytest.raises(UserError, match="leave one out"):
        soundraft.cross_validate(config(preprocessing={"split": {"type": "speaker"}}), table, folds="speaker")


def test_folds_that_the_declaration_asks_for(table: Path) -> None:
    found = soundraft.cross_validate(config(folds="k", k=2), table)
    assert (found.kind, len(found.scores)) == ("k", 2)
    assert repr(found).startswith(f"FoldsResult(2 folds by drawing: accuracy {found.means['accuracy']}, uar ")
    found = soundraft.cross_validate(config(folds="k", k=2), table, folds="speaker", k=3)
    assert (found.kind, len(found.scores)) == ("speaker", 3)
    with pytest.raises(UserError, match=r"asks for folds \(speaker\): cross_validate does that"):
        soundraft.fit(config(folds="speaker"), table)
    with pytest.raises(UserError, match="folds: none are asked for, here or in the declaration; there are official"):
        soundraft.cross_validate(tones.CONFIG, table)


def test_a_label_that_some_fold_cannot_learn_costs_no_training(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(classifier_run.classification, "prepare")
    frame = pandas.read_csv(table)
    frame = frame.assign(audio=[str(table.parent / name) for name in frame.audio])
    frame.loc[frame.index[-1], "pitch"] = "shrill"  # of the last fold
    with pytest.raises(
        UserError, match=r"^fold 4: 1 of 12 clips have labels that were not seen in training: 'shrill' \(1\)"
    ):
        soundraft.cross_validate(tones.CONFIG, frame, folds="official")


def test_the_interval_is_students() -> None:
    from scipy import stats

    values = np.array([0.7, 0.8, 0.75, 0.9])
    found = t_interval(values)
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
