"""Runs without DVC, of both tasks: what is written, continued, refused, measured and predicted."""

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from sklearn.metrics import accuracy_score, recall_score

import soundraft
from soundraft import AudioRAFTConfig, AudioRAFTTrainer, AudioSample, RunResult, files
from soundraft.audio import io
from soundraft.clips.base import Clips
from soundraft.clips.opening import Source
from soundraft.manifest import SPLITS
from soundraft.params import defaults
from soundraft.runtime import UserError
from soundraft.tasks import steps, use
from tests.tasks import letters, sounds

Train = Callable[..., RunResult]


def train_asr(folder: Path, data: Any = None, **changes: Any) -> RunResult:
    params = letters.SMALL | changes.pop("params", {})
    usual = {"num_cycles": 1, "samples_per_prompt": 8, "learning_rate": 2e-3, "model_name": str(letters.checkpoint())}
    config = AudioRAFTConfig(output_dir=folder, params=params, **(usual | changes))
    return AudioRAFTTrainer(config).train(data_of(train_asr) if data is None else data)


def train_classifier(folder: Path, data: Any = None, **changes: Any) -> RunResult:
    params = {key: value for key, value in sounds.TOY.items() if key.startswith(("classification", "train.r", "eval"))}
    params |= {"train.presentations_per_cycle": 64, "classification.trainer.epochs": 4} | changes.pop("params", {})
    usual = {"num_cycles": 1, "samples_per_prompt": 8, "task": "classification"}
    config = AudioRAFTConfig(output_dir=folder, params=params, **(usual | changes))
    return AudioRAFTTrainer(config).train(data_of(train_classifier) if data is None else data)


def data_of(train: Train) -> list[AudioSample]:
    """Samples with splits."""
    if train is train_asr:
        parts = {"train": (20, 0), "validation": (6, 50), "test": (8, 70)}
        return [each for split, (n, first) in parts.items() for each in letters.samples(n, first=first, split=split)]
    return [
        AudioSample(None, facts["label"], task="classification", sample_rate=8000,
                    audio_array=sounds.wave(facts["label"], speaker=facts["speaker"], seed=n + 100 * len(split)),
                    metadata={"id": f"{split}{n}", "split": split, "speaker": facts["speaker"]})
        for split, count in {"train": 27, "validation": 9, "test": 12}.items()
        for n, facts in enumerate(sounds.clips(count).facts)
    ]  # fmt: skip


@pytest.fixture(params=[train_asr, train_classifier], ids=["asr", "classification"])
def train(request: pytest.FixtureRequest) -> Train:
    chosen: Train = request.param
    return chosen


@pytest.fixture(scope="module", params=[train_asr, train_classifier], ids=["asr", "classification"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Train, RunResult]:
    """A run that others only read."""
    return request.param, request.param(tmp_path_factory.mktemp("finished") / "out", num_cycles=2)


def test_every_run_folder_has_one_shape_and_the_numbers_of_its_result(finished: tuple[Train, RunResult]) -> None:
    _, result = finished
    out, key = result.folder, result.task.metrics[0]
    assert out is not None
    assert {"run.json", "start", "cycles", "splits.csv", "predictions.parquet", "metrics.json", "report.md",
            "quarantine.jsonl"} <= {path.name for path in out.iterdir()}  # fmt: skip
    for folder in (out / "start", out / "cycles/01", out / "cycles/02"):
        assert {"model.safetensors", "config.json", "metrics.json"} <= {path.name for path in folder.iterdir()}
    assert {path.name for path in (out / "cycles").rglob("rollouts.parquet")} == {"rollouts.parquet"}
    metrics = files.read_json(out / "metrics.json")
    assert (metrics["cycles"], metrics[f"{key}_after"]) == (2, result.after.value)  # type: ignore[union-attr]
    assert result.gain.difference == pytest.approx(result.after.value - result.before.value)  # type: ignore[union-attr]
    rows = pandas.read_parquet(out / "predictions.parquet")
    own = rows[rows.chain.isin(["start", "trained"])]
    assert set(own.groupby(["chain", "cycle"]).size()) == {len(result.scores)}
    if key == "wer":  # the texts as they were, too
        for side in ("reference", "prediction"):
            assert list(map(result.task.normalize, rows[f"{side}_raw"])) == list(rows[side])  # type: ignore[attr-defined]
    splits = pandas.read_csv(out / "splits.csv")
    assert list(splits.columns) == ["id", "split", "target", "content"]
    assert set(splits[splits.split == "test"].id) == set(result.scores.ids)
    assert all(note in (out / "report.md").read_text() for note in result.notes)
    record = files.read_json(out / "run.json")
    assert (record["task"], record["data"]["target_test"]["clips"]) == (result.task.params.task, len(result.scores))
    rates = [metrics[f"{key}_before"], metrics[f"{key}_after"]]
    assert rates[1] < 0.75 * rates[0] if key == "wer" else rates[1] > 0.8, "it learns"


def test_it_goes_on_where_it_was_and_another_run_is_refused(
    finished: tuple[Train, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, first = finished
    out = tmp_path / "out"
    shutil.copytree(first.folder or "", out)
    kept = {path: path.stat().st_mtime_ns for part in ("start", "cycles") for path in (out / part).rglob("*.*")}
    report = (out / "report.md").read_bytes()
    again = train(out, num_cycles=2)
    assert (again.after, again.cycles) == (first.after, first.cycles)
    assert (out / "report.md").read_bytes() == report
    record = files.read_json(out / "run.json")  # as an older version wrote it, which did not know a key
    usual = defaults().leaves()
    record["params"].pop(next(key for key, value in record["params"].items() if value == usual[key]))
    files.write_json(out / "run.json", record)
    assert len(train(out, num_cycles=3).cycles) == 3
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    with pytest.raises(UserError) as caught:
        train(out, num_cycles=2, samples_per_prompt=4, params={"train.temperature": 1.5})
    assert all(f"params.train.{name} was" in str(caught.value) for name in ("samples_per_prompt", "temperature"))
    assert "learning_rate" not in str(caught.value)
    data = letters.samples(20) if train is train_asr else sounds.table(tmp_path / "other")
    options: dict[str, Any] = {} if train is train_asr else {"params": {"classification.target": "pitch"}}
    with pytest.raises(UserError, match=r"data\.target_train\.digest was"):
        train(out, data, num_cycles=2, **options)
    with pytest.raises(UserError, match="no run of ours"):
        train(out / "start")
    (out / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json"):
        train(out, num_cycles=2)


def test_a_killed_run_becomes_the_one_that_was_not(
    finished: tuple[Train, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, result = finished
    whole = Path(result.folder or "")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place in ("cycle", "write"):  # after the start model, and after a cycle's training
        with monkeypatch.context() as patched:
            patched.setattr(steps if place == "cycle" else steps.raft, place, killed)
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path / "killed", num_cycles=2)
        assert [path.name for path in (tmp_path / "killed").rglob("*") if path.name == "01"] == []
    train(tmp_path / "killed", num_cycles=2)
    paths = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert paths == sorted(path.relative_to(tmp_path / "killed") for path in (tmp_path / "killed").rglob("*.*"))
    for path in paths:
        assert (whole / path).read_bytes() == (tmp_path / "killed" / path).read_bytes(), path


def test_bad_clips_are_rejected_within_the_limit(train: Train, tmp_path: Path) -> None:
    good = data_of(train)
    bad = [replace(good[0], audio_array=None, audio_path=path, metadata={"split": "train"})
           for path in (tmp_path / "none.wav", None)]  # fmt: skip
    with pytest.raises(UserError, match=r"(?s)2 of \d+ clips are bad.*none\.wav"):
        train(tmp_path / "out", [*good, *bad])
    lenient = {"limits.max_bad_fraction": 0.2} | ({} if train is train_asr else {"classification.trainer.epochs": 1})
    result = train(tmp_path / "more", [*good, *bad], num_cycles=int(train is train_asr), params=lenient)
    assert {each.id for each in result.rejected} == {str(tmp_path / "none.wav"), f"row {len(good) + 2}"}
    assert len((tmp_path / "more/quarantine.jsonl").read_text().splitlines()) == 2


# one trained by a declaration


def config(**top: Any) -> dict[str, Any]:
    return copy.deepcopy(sounds.CONFIG) | top


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sounds.table(tmp_path_factory.mktemp("sounds"))


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    drawn = config(preprocessing={"split": {"type": "random"}})
    return soundraft.fit(drawn, table, output_dir=tmp_path_factory.mktemp("run") / "out")


def test_a_declared_run_is_measured_right_and_no_row_order_changes_a_weight(
    run: RunResult, table: Path, tmp_path: Path
) -> None:
    scores = run.scores
    assert scores.value("accuracy") == accuracy_score(scores.known, scores.predictions) > 0.8
    assert scores.value("uar") == pytest.approx(recall_score(scores.known, scores.predictions, average="macro"))
    assert "statistics SVM" in (run.folder / "report.md").read_text()  # type: ignore[operator]
    mixed = table.with_name("mixed.csv")
    pandas.read_csv(table).sample(frac=1, random_state=0).to_csv(mixed, index=False)
    drawn = config(preprocessing={"split": {"type": "random"}})
    again = soundraft.fit(drawn, mixed, output_dir=tmp_path / "mixed")
    for name in ("start/model.safetensors", "start/config.json", "predictions.parquet", "splits.csv"):
        assert (run.folder / name).read_bytes() == (again.folder / name).read_bytes()  # type: ignore[operator]
    other = soundraft.fit(drawn, table, seed=1)
    assert (other.folder, other.scores.ids != scores.ids) == (None, True)
    assert len(other.predictions) == len(scores), "what it needs is kept as long as the result"


def test_predict_answers_as_the_run_did_and_needs_no_labels(run: RunResult, table: Path) -> None:
    names = ["id", "path", "pitch_predictions", "pitch_probability", *(
        f"pitch_probabilities_{label}" for label in sounds.LABELS)]  # fmt: skip
    for model in (run, run.folder, run.last_model):
        found = soundraft.predict(model, table)
        assert (list(found.columns), len(found)) == (names, 45)
        mine = found.set_index("id").loc[run.scores.ids]
        assert list(mine.pitch_predictions) == run.scores.predictions
        np.testing.assert_allclose(mine.pitch_probability, run.scores.confidence, atol=1e-6)
    bare = pandas.DataFrame({"audio_path": [str(table.parent / "03.wav")]})
    assert list(soundraft.predict(run, bare).pitch_predictions) == [soundraft.predict(run, table).pitch_predictions[3]]


def test_silent_broken_and_missing_clips_get_no_answer(run: RunResult, table: Path, tmp_path: Path) -> None:
    io.write_wav(tmp_path / "silent.wav", np.zeros(4000, np.float32), 8000)
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    places = [table.parent / "00.wav", *(tmp_path / name for name in ("silent.wav", "bad.wav", "gone.wav"))]
    found = soundraft.predict(run, places)
    assert list(found.id) == [str(places[0])]
    reasons = [bad["reason"] for bad in found.attrs["rejected"]]
    assert [word in reason for word, reason in zip(("silent", "readable", "no such file"), reasons, strict=True)]
    with pytest.raises(UserError, match="bad"):
        soundraft.predict(run, places[2:])


def test_evaluate_measures_only_clips_that_the_run_did_not_use(
    run: RunResult, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = len(run.scores)
    found = soundraft.evaluate(run.folder, table, output_dir=tmp_path / "out")
    assert (found.scores.ids, found.scores.value("uar")) == (run.scores.ids, run.scores.value("uar"))
    assert f"{45 - test} of 45 clips" in found.notes[0]
    assert {"report.md", "metrics.json", "predictions.parquet", "quarantine.jsonl"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }  # fmt: skip
    assert [len(soundraft.evaluate(run, table, split=split).scores) for split in ("all", "test")] == [45, test]
    assert len(soundraft.evaluate(run, table, limit=test - 1).scores) == test - 1, "of the clips that are measured"
    moved = pandas.read_csv(table)
    for number, name in enumerate(moved.audio):
        shutil.copy(table.parent / name, tmp_path / f"other{number}.wav")
    moved.audio = [str(tmp_path / f"other{number}.wav") for number in range(45)]
    assert soundraft.evaluate(run, moved).scores.predictions == run.scores.predictions, "known by their audio"
    other = moved.assign(split=["train" if number < 20 else "test" for number in range(45)])
    found = soundraft.evaluate(run, other)
    assert (len(found.scores), "--split test" in found.notes[0]) == (test, True)
    assert "whatever their split says" in soundraft.evaluate(run, other, split="test").notes[1]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run.last_model, "alone")
    found = soundraft.evaluate("alone", table)
    assert (len(found.scores), "not known" in found.notes[0]) == (45, True)
    with pytest.raises(UserError, match="shrill"):
        soundraft.evaluate(run, moved.assign(pitch="shrill"), split="all")
    for options, word in (({"split": "dev"}, "dev"), ({"output_dir": tmp_path / "out"}, "empty"),
                          ({"columns": {"label": "x"}}, "label")):  # fmt: skip
        with pytest.raises(UserError, match=word):
            soundraft.evaluate(run, table, **options)


def test_side_inputs_extra_clips_and_test_clips_that_are_also_trained_on(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table.parent)
    frame = pandas.read_csv(table)
    frame.loc[::7, "age"] = np.nan
    given = config()
    given["input_features"] += [
        {"name": "who", "type": "category", "column": "speaker"},
        {"name": "age", "type": "number"},
    ]
    copies = frame[36:40].assign(id=[f"copy {n}" for n in range(4)])
    said: list[str] = []
    result = soundraft.fit(given, frame[:27], frame[27:36], frame[36:], extra_df=copies, output_dir=tmp_path / "out",
                           say=said.append)  # fmt: skip
    who, age = result.model.side  # type: ignore[attr-defined]
    assert list(who.vocabulary) == sorted(sounds.SPEAKERS)
    assert age.mean == pytest.approx(pandas.concat([frame[:27], copies]).age.mean())
    assert any("age: 4 of 27" in line for line in said)
    (note,) = [note for note in result.notes if "very audio" in note]
    assert note.startswith("4 of 9 test clips")
    assert note in (tmp_path / "out/report.md").read_text()
    assert len(soundraft.predict(result, frame)) == 45
    with pytest.raises(UserError, match="age"):
        soundraft.predict(result, frame.drop(columns="age"))


def test_rows_are_dropped_where_that_is_asked(table: Path, tmp_path: Path) -> None:
    frame = pandas.read_csv(table)
    holes = frame.assign(pitch=[None, *frame.pitch[1:44], " "], audio=[*frame.audio[:43], None, frame.audio[44]])
    holes.to_csv(table.with_name("holes.csv"), index=False)
    drop = {"missing_value_strategy": "drop_row"}
    given = config(trainer={"epochs": 1}, preprocessing={"audio": drop})
    given["output_features"] = [{"name": "pitch", "type": "category", "preprocessing": drop}]
    result = soundraft.fit(given, table.with_name("holes.csv"), output_dir=tmp_path / "out")
    lost = ["00.wav", "row 44", "44.wav"]
    assert [bad.id for bad in result.rejected] == lost
    assert len(pandas.read_csv(tmp_path / "out/splits.csv")) == 42
    found = soundraft.evaluate(result, table.with_name("holes.csv"))
    assert (found.scores.ids, [bad.id for bad in found.rejected]) == (result.scores.ids, lost)
    assert len(soundraft.predict(result, table.with_name("holes.csv"))) == 44, "labels are not needed here"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.assign(pitch="low"), "'low'"),
        (lambda frame: frame.assign(split=["train"] * 30 + ["test"] * 15, pitch=[*frame.pitch[:44], "x"]), "test.*'x'"),
        (lambda frame: frame.assign(audio=[*frame.audio[:20], *(f"no{n}.wav" for n in range(25))]), "no such file"),
        (lambda frame: frame.drop(columns="pitch"), "pitch"),
        (lambda frame: frame[:0], "no clips"),
    ],
)
def test_data_that_cannot_be_used_costs_no_training(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, words: str
) -> None:
    monkeypatch.chdir(table.parent)
    monkeypatch.delattr("soundraft.tasks.classification.fit_epochs")
    with pytest.raises(UserError, match=f"(?s){words}"):
        soundraft.fit(sounds.CONFIG, change(pandas.read_csv(table)), output_dir=tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises((UserError, OSError), match="file"):
        soundraft.fit(sounds.CONFIG, table, output_dir=tmp_path / "file/x")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "sing"}, "sing"),
        ({"params": {"train.tempratur": 1.0}}, "did you mean train.temperature"),
        ({"params": {"train.temperature": "x"}}, "train.temperature: got 'x'"),
        ({"num_cycles": -1}, "train.cycles: got -1"),
        ({"params": {"train.epochs": 2}}, "train.epochs"),
        ({"params": {"train.cycles": 2}}, "train.cycles is given twice"),
        ({"learning_rate": 1e-4, "params": {"train.learning_rate": 1e-3}}, "given twice"),
        ({"task": "classification", "params": {"train.epochs": 2}}, "train.epochs"),
        ({"task": ["asr"]}, "task"),
        ({"params": "train.cycles=2"}, "params"),
        ({"output_dir": 3}, "output_dir"),
        ({"limit": "5"}, "limit"),
        ({"limit": True}, "limit"),
        ({"learning_rate": 1e-4, "min_lr": 1e-3}, "min_lr"),
        ({"keep_top_percent": 0.5}, "write 50"),
        ({"algorithm": "ppo"}, "train.algorithm: got 'ppo'"),
        ({"limit": 0}, "limit"),
    ],
)
def test_wrong_numbers_are_refused_before_anything_is_opened(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        AudioRAFTConfig(**({"model_name": "m", "output_dir": "o", "num_cycles": 1} | changes))


def test_a_configuration_shows_what_the_run_uses() -> None:
    config = AudioRAFTConfig()
    assert (config.model_name, config.num_cycles, config.learning_rate) == ("openai/whisper-small", 6, 5e-5)
    made = config.all_params().leaves()
    different = {key for key, value in made.items() if value != defaults().leaves()[key]}
    assert different == {"train.learning_rate", "train.cycles", "model.checkpoint", "train.epochs"}
    assert AudioRAFTConfig(learning_rate=1e-6).all_params().train.min_lr == 1e-6, "no floor lifts it"
    config = AudioRAFTConfig(task="classification", model_name="openai/whisper-tiny", learning_rate=1e-3)
    found = config.all_params().classification
    assert (found.trainer.cycle_learning_rate, found.encoder.pretrained.model) == (1e-3, "openai/whisper-tiny")


def test_keywords_of_another_type_and_data_that_is_none_are_named(run: RunResult, table: Path, tmp_path: Path) -> None:
    calls: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        (soundraft.evaluate, {"limit": "5"}), (soundraft.evaluate, {"seed": 0.5}), (soundraft.predict, {"limit": 0}),
        (soundraft.evaluate, {"columns": "pitch=x"}), (soundraft.evaluate, {"params": "x"}),
        (soundraft.evaluate, {"output_dir": 3}),
    ]  # fmt: skip
    for call, keyword in calls:
        with pytest.raises(UserError, match=next(iter(keyword))):
            call(run, table, **keyword)
    with pytest.raises(UserError, match="/proc/x"):
        soundraft.evaluate(run, table, output_dir="/proc/x")
    for keyword in ({"limit": "5"}, {"seed": "0"}, {"output_dir": 3}):
        with pytest.raises(UserError, match=next(iter(keyword))):
            soundraft.fit(sounds.CONFIG, table, **keyword)  # type: ignore[arg-type]
    trainer = AudioRAFTTrainer(AudioRAFTConfig(model_name=str(letters.checkpoint()), output_dir=tmp_path / "out"))
    for data in (None, 3, [], {}, [3], {"audio": []}):
        with pytest.raises(UserError):
            trainer.train(data)
    for model in (None, 3, tmp_path, tmp_path / "gone"):
        with pytest.raises(UserError):
            soundraft.evaluate(model, table)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text"),
    [("run.json", None), ("run.json", "{"), ("run.json", '{"version": 2}'), ("splits.csv", None),
     ("splits.csv", ""), ("splits.csv", "no,columns\n1,2\n"), ("splits.csv", "\udcff"),
     ("start/model.safetensors", "x"), ("start/config.json", "{")],
)  # fmt: skip
def test_a_damaged_run_is_refused_in_a_line(
    run: RunResult, table: Path, tmp_path: Path, name: str, text: str | None
) -> None:
    shutil.copytree(run.folder or "", tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    if text is not None:
        (tmp_path / "run" / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError):
        soundraft.evaluate(tmp_path / "run", table)


def test_what_has_no_splits_is_measured_whole_and_a_limit_counts_all_clips(tmp_path: Path) -> None:
    folder, model = letters.recordings(tmp_path / "bare", none=12), str(letters.checkpoint())
    split = letters.recordings(tmp_path / "split", train=6, validation=4, test=5)
    params = {"benchmark.repeats": 1, "benchmark.clips": 1, "evaluate.bootstrap_samples": 100}
    for data, limit, of, count in ((folder, None, "all", 12), (folder, 3, "all", 3), (split, None, "test", 5),
                                   (split, 2, "test", 2)):  # fmt: skip
        found = use.benchmark(model, data, limit=limit, params=params)
        assert (found.split, len(found.evaluation.scores)) == (of, count)
        assert len(soundraft.evaluate(model, data, limit=limit, params=params).scores) == count
    assert len(soundraft.evaluate(model, split, limit=4, split="all", params=params).scores) == 4
    (folder / "000.wav").write_bytes(b"no audio")
    rows = [{"audio": str(path), "text": "one"} for path in sorted(folder.glob("*.wav"))]
    with pytest.raises(UserError, match="1 of 12"):
        use.benchmark(model, pandas.DataFrame(rows), params=params)
    lenient = params | {"limits.max_bad_fraction": 0.1}
    assert len(use.benchmark(model, pandas.DataFrame(rows), params=lenient).evaluation.scores) == 11


def test_the_package_names_what_it_exports() -> None:
    for name in soundraft.__all__:
        assert getattr(soundraft, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        soundraft.nothing  # noqa: B018


def test_of_a_corpus_by_name_only_the_measured_split_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the run that made the model is not known: of a known one any clip may have been trained on."""
    asked: list[str | None] = []

    def opened(data: str, reading: object, *, split: str | None, limit: int | None, seed: int) -> Source:
        asked.append(split)
        names = [each for each in (SPLITS if split is None else [split]) if each != "validation"]
        return Source(data, Clips(list(names), lambda _: b"", [{}] * len(names)), list(names))

    monkeypatch.setattr(use, "open_clips", opened)
    unknown = use.open_model(str(letters.checkpoint()))
    for model, split, reads in (
        (unknown, None, ["test"]), (unknown, "train", ["train"]), (unknown, "all", [None]),
        (replace(unknown, splits={"test": "train"}), None, [None]),
        (replace(unknown, splits={"test": "train"}), "test", ["test"]),
    ):  # fmt: skip
        asked.clear()
        source = use._listed(model, "espeak", None, 0, split)
        assert asked == reads
        assert len(source.clips) == (1 if reads != [None] else 2)
