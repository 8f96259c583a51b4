"""`soundraft train --config`, `evaluate`, `predict` and `visualize`, one after the other on tones."""

from pathlib import Path

import numpy as np
import pandas
import pytest
import yaml

from soundraft import cli, files
from soundraft.cli import look
from soundraft.evaluation import label_plots
from soundraft.evaluation.predictions import write_predictions
from soundraft.evaluation.scores import score_labels
from tests.tasks import tones
from tests.test_cli import pixels, soundraft


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    (folder / "config.yaml").write_text(yaml.safe_dump(tones.CONFIG))
    return tones.table(folder)


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    cli.main([str(word) for word in command(table, out)])
    return out


def command(table: Path, out: Path, *more: object) -> list[object]:
    return ["train", "--config", table.parent / "config.yaml", "--dataset", table, "--output", out, *more]


def test_training_says_what_it_made_and_what_is_next(
    table: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = soundraft(capsys, *command(table, tmp_path / "out"))
    accuracy = files.read_json(run / "test_statistics.json")["classifier"]["accuracy"]
    lines = said.splitlines()
    assert lines[0].startswith("pitch: clips train 33, validation 5, test 10; drawn at random, 70/10/20, seed 0;")
    shown = [line.split() for line in lines]
    assert ["classifier", f"{accuracy:.1%}"] in [words[:2] for words in shown]
    assert any(line.startswith("control: statistics SVM") for line in lines)
    assert f"{tmp_path}/out: model, report.md, predictions.parquet" in said
    assert f"soundraft predict --model {tmp_path}/out --dataset NEW.csv" in said
    assert "**" not in said
    assert (tmp_path / "out/report.md").read_bytes() == (run / "report.md").read_bytes()
    assert "seed 3;" in soundraft(capsys, *command(table, tmp_path / "other", "--seed", 3))


def test_a_learning_rate_that_is_too_large_is_told(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(tones.CONFIG | {"trainer": {"epochs": 3, "learning_rate": 1e8}}))
    argv = ("train", "--config", config, "--dataset", table, "--output", tmp_path / "out")
    soundraft(capsys, *argv, code="a smaller learning rate may help")
    assert not (tmp_path / "out").exists()


def test_another_target(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundraft(capsys, *command(table, tmp_path / "out", "--target", "speaker"))
    assert files.read_json(tmp_path / "out/description.json")["labels"] == sorted(tones.SPEAKERS)


def test_folds(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = soundraft(capsys, *command(table, tmp_path / "out", "--folds", "speaker", "--k", 3))
    assert "fold 3 (3 of 3): accuracy " in said
    assert "mean of 3 folds: accuracy " in said
    assert "folds.md, folds.json" in said
    assert len(files.read_json(tmp_path / "out/folds.json")["scores"]) == 3
    declared = table.parent / "folds.yaml"
    declared.write_text((table.parent / "config.yaml").read_text() + "\nfolds: k\nk: 2\n")
    said = soundraft(capsys, "train", "--config", declared, "--dataset", table, "--output", tmp_path / "again")
    assert "mean of 2 folds: accuracy " in said
    argv = ("visualize", "--visualization", "learning_curves", "--from", tmp_path / "out")
    soundraft(capsys, *argv, code="is a cross-validation: what each fold learned by epochs is not kept")


def test_a_folder_with_its_own_splits(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tones.rows(tmp_path / "data")
    for number, row in enumerate(rows):
        row |= {
            "file_name": row.pop("audio"),
            "label": row.pop("pitch"),
            "split": ("train", "dev", "test")[number // 16],
        }
    tones.write_csv(tmp_path / "data/metadata.csv", rows)
    config = table.parent / "config.yaml"
    options = ("--config", config, "--dataset", tmp_path / "data", "--target", "label")
    said = soundraft(capsys, "train", *options, "--output", tmp_path / "out")
    assert f"clips train 16, validation 16, test 16; by the splits of {tmp_path / 'data'}" in said
    said = soundraft(capsys, "evaluate", "--model", tmp_path / "out", "--dataset", tmp_path / "data")
    assert "note: the 16 test clips of 48" in said
    assert "label, 16 clips: accuracy " in said


def test_evaluate_and_predict(run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    statistics = files.read_json(run / "test_statistics.json")["classifier"]
    said = soundraft(capsys, "evaluate", "--model", run, "--dataset", table, "--output", tmp_path / "e")
    assert "note: 38 of 48 clips were trained or validated on, and are left out" in said
    assert f"pitch, 10 clips: accuracy {statistics['accuracy']:.1%} [" in said
    assert (tmp_path / "e/predictions.parquet").read_bytes() == (run / "predictions.parquet").read_bytes()
    assert "pitch, 48 clips" in soundraft(capsys, "evaluate", "--model", run, "--dataset", table, "--split", "all")
    said = soundraft(capsys, "predict", "--model", run, "--dataset", table, "--output", tmp_path / "p.csv")
    assert f"{tmp_path}/p.csv: 48 clips" in said
    soundraft(capsys, "predict", "--model", run / "model", "--dataset", table, "--output", tmp_path / "p.parquet")
    one, other = pandas.read_csv(tmp_path / "p.csv"), pandas.read_parquet(tmp_path / "p.parquet")
    assert list(one.pitch_predictions) == list(other.pitch_predictions)
    assert list(one.columns) == list(other.columns)
    assert list(one.speaker) == list(other.speaker)


def test_a_table_may_name_its_columns_otherwise(
    run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = table.parent / "other.csv"
    pandas.read_csv(table).rename(columns={"audio": "sound", "pitch": "height"}).to_csv(other, index=False)
    said = soundraft(capsys, "evaluate", "--model", run, "--dataset", table, "--split", "all")
    argv = ("--model", run, "--dataset", other)
    names = ("--columns", "audio=sound", "pitch=height")
    assert soundraft(capsys, "evaluate", *argv, "--split", "all", *names) == said
    out = tmp_path / "p.csv"
    soundraft(capsys, "predict", *argv, "--columns", "audio=sound", "--output", out)
    assert len(pandas.read_csv(out)) == 48
    known = "columns: label is none that this model reads; it reads pitch, audio, split"
    soundraft(capsys, "evaluate", *argv, "--columns", "label=height", code=known)
    hint = "are named in the declaration, each with the key column"
    soundraft(capsys, *command(other, tmp_path / "out", *names), code=hint)


def test_predict_tells_which_clips_are_set_aside(
    run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{table.parent}/{number % 48:02d}.wav" for number in range(48)] + ["gone.wav"]
    (tmp_path / "new.csv").write_text("audio\n" + "\n".join(lines) + "\n")
    argv = ("predict", "--model", run, "--dataset", "new.csv")
    soundraft(capsys, *argv, code="1 of 49 clips were rejected")
    assert len(pandas.read_parquet("predictions.parquet")) == 48
    (tmp_path / "new.csv").write_text(f"audio\nbad.wav\n{table.parent}/00.wav\n")
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    with pytest.raises(SystemExit):
        cli.main([str(word) for word in argv])
    said = capsys.readouterr().out
    assert "rejected: bad.wav: not readable as audio" in said
    assert "predictions.parquet: 1 clips" in said
    (tmp_path / "fsdd").mkdir()
    for name in ("00.wav", "01.wav"):
        (tmp_path / "fsdd" / name).write_bytes((table.parent / name).read_bytes())
    (tmp_path / "fsdd/bad.wav").write_bytes(b"no audio")
    with pytest.raises(SystemExit, match="1 of 3 clips"):
        cli.main(["predict", "--model", str(run), "--dataset", "./fsdd"])
    assert capsys.readouterr().out.count("rejected: ") == 1
    argv = ("predict", "--model", run, "--dataset", "fsdd")
    soundraft(capsys, *argv, code="fsdd needs it; for the folder of that name write ./fsdd")


def test_a_recording_is_told_at_once(
    run: Path, table: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recording = table.parent / "02.wav"
    said = soundraft(capsys, "predict", "--model", run, "--dataset", recording, "--output", tmp_path / "p.csv")
    found = pandas.read_csv(tmp_path / "p.csv")
    assert said.startswith(f"{recording}: {found.pitch_predictions[0]} ({found.pitch_probability[0]:.1%})\n")
    argv = ("predict", "--model", run, "--dataset", recording, "--limit", 3)
    soundraft(capsys, *argv, code="--limit is for corpora and folders")
    soundraft(capsys, "predict", "--model", run, "--dataset", table, "--split", "test", code="--split is for corpora")


def test_an_interruption_is_a_line_and_leaves_nothing(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("soundraft.tasks.classification.fit_epochs", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in command(table, tmp_path / "out")])
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip().splitlines()[-1] == "soundraft train: stopped"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", look.NAMES)
def test_every_picture(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    argv = ("visualize", "--visualization", name, "--from", run, "--output")
    said = soundraft(capsys, *argv, tmp_path / "p.png")
    assert said.startswith(f"{tmp_path}/p.png: {name} of ")
    assert pixels(tmp_path / "p.png").std() > 5
    soundraft(capsys, *argv, tmp_path / "p.svg")
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")


def test_what_no_font_has_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["\U0010fffd", "calm"]
    write_predictions(tmp_path / "p.parquet", score_labels(["a", "b"], np.eye(2), labels, references=labels))
    argv = ("visualize", "--visualization", "calibration", "--from", tmp_path / "p.parquet", "--output")
    said = soundraft(capsys, *argv, tmp_path / "p.png")
    assert r"note: no installed font has '\U0010fffd' of the labels: drawn as boxes" in said.splitlines()


def test_pictures_are_those_there_are() -> None:
    assert sorted(look.NAMES) == sorted(label_plots.NAMES)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--model", "x"), "--model is for RAFT"),
        (("--set", "train.cycles=3"), "--set is for RAFT"),
        (("--samples-per-prompt", "3"), "--samples-per-prompt is for RAFT"),
        (("--dry-run",), "--dry-run is for RAFT"),
        (("--task", "asr"), "--task asr: a declaration is of the task classification"),
        (("--k", "3"), "--k is the number of folds"),
        (("--folds", "k", "--test", "x"), "--test does not go with --folds"),
        (("--limit", "3"), "--limit is for corpora and folders"),
        (("--split", "train"), "--split is for corpora and folders"),
        (("--subset", "x"), "--subset is for corpora and folders"),
        (("--target", "colour"), "no column colour; it has audio, pitch, speaker, fold, age"),
        (("--dataset", "nowhere"), "nowhere: neither a folder nor a corpus"),
        (("--dataset", "nowhere.csv"), "nowhere.csv: no such file"),
        (("--config", "digits"), "the subset of a corpus is --subset"),
        (("--config", "nowhere.yaml"), "cannot read nowhere.yaml: No such file"),
    ],
)
def test_what_does_not_go_together_is_told_in_a_line(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    soundraft(capsys, *command(table, tmp_path / "out", *more), code=message)
    assert not (tmp_path / "out").exists()


def test_options_of_a_declaration_alone(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = ("train", "--dataset", table, "--output", tmp_path / "out")
    soundraft(capsys, *alone, "--model", "x", "--folds", "k", code="--folds needs a declaration: --config FILE.yaml")
    soundraft(capsys, *alone, code="name the recogniser to start from with --model, or a declaration")
    for argv, message in (
        (("evaluate", "--model", tmp_path, "--dataset", table), "no classifier in it"),
        (("predict", "--model", tmp_path, "--dataset", table, "--output", "p.txt"), "writes a .parquet or a .csv file"),
        (("visualize", "--visualization", "calibration", "--from", tmp_path), "no predictions.parquet in it"),
        (("visualize", "--visualization", "calibration", "--from", "nowhere"), "no such run or file: nowhere"),
    ):
        soundraft(capsys, *argv, code=message)
    soundraft(capsys, "visualize", "--visualization", "pie", "--from", tmp_path, code=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_subset_is_called_as_in_train(
    command: str, table: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = (command, "--model", run, "--dataset", table, "--subset", "digits")
    soundraft(capsys, *argv, code="--subset is for corpora and folders")


def test_extra_clips_are_named_on_the_command_line(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "more").mkdir()
    rows = [row | {"id": f"more/{row['audio']}"} for row in tones.rows(tmp_path / "more", 12)]
    more = tones.write_csv(tmp_path / "more" / "clips.csv", rows)
    said = soundraft(capsys, *command(table, tmp_path / "out", "--extra", more))
    assert f"12 more training clips of {more}" in said
