"""`soundraft train --config`, `evaluate`, `predict` and `visualize`, one after the other on sounds."""

import contextlib
import io
import json
from pathlib import Path

import pandas
import pytest
import yaml

from soundraft import cli, files
from soundraft.cli import look
from tests.conftest import Say
from tests.tasks import sounds
from tests.test_cli import pixels


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "config.yaml").write_text(yaml.safe_dump(sounds.CONFIG))
    return sounds.table(folder)


@pytest.fixture(scope="module")
def trained(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run in its usual folder, and what was printed."""
    home, said = tmp_path_factory.mktemp("run"), io.StringIO()
    with contextlib.chdir(home), contextlib.redirect_stdout(said):
        cli.main([str(word) for word in command(table, Path())[:-2]])
    return home / "runs/clips", said.getvalue()


@pytest.fixture(scope="module")
def run(trained: tuple[Path, str]) -> Path:
    return trained[0]


def command(table: Path, out: Path, *more: object) -> list[object]:
    return ["train", "--config", table.parent / "config.yaml", "--dataset", table, "--output", out, *more]


def test_training_shows_its_numbers_and_another_target_is_another_run(
    table: Path, trained: tuple[Path, str], tmp_path: Path, say: Say
) -> None:
    run, said = trained
    assert f"{files.read_json(run / 'metrics.json')['accuracy_after']:.1%}" in said
    assert "soundraft predict --model runs/clips" in said
    words = command(table, tmp_path / "other", "--seed", 3, "--target", "speaker", "--limit", 30)
    names = {"--output": "--output_directory", str(table): f"ludwig://{table}"}  # as Ludwig's users type them
    say(*(names.get(str(word), word) for word in words))
    assert files.read_json(tmp_path / "other/start/config.json")["labels"] == sorted(sounds.SPEAKERS)
    assert len(pandas.read_csv(tmp_path / "other/splits.csv")) == 30


def test_folds_with_more_clips(table: Path, tmp_path: Path, say: Say) -> None:
    rows = [row | {"id": f"more/{row['audio']}"} for row in sounds.rows(tmp_path / "more", 12)]
    more = sounds.write_csv(tmp_path / "more/clips.csv", rows)
    assert "very audio" in say(*command(table, tmp_path / "out", "--folds", "speaker", "--k", 3, "--extra", more))
    assert len(files.read_json(tmp_path / "out/folds.json")["scores"]) == 3
    say("visualize", "--visualization", "learning_curves", "--from", tmp_path / "out", code="is a cross-validation")


def test_evaluate_and_predict(run: Path, table: Path, tmp_path: Path, say: Say) -> None:
    accuracy = files.read_json(run / "metrics.json")["accuracy_after"]
    said = say("evaluate", "--model", run, "--dataset", table, "--output", tmp_path / "e")
    assert f"accuracy {accuracy:.1%} [" in said
    kept = pandas.read_parquet(run / "predictions.parquet")
    again = pandas.read_parquet(tmp_path / "e/predictions.parquet")
    assert list(again[again.chain == "start"].pitch_predictions) == list(kept[kept.chain == "start"].pitch_predictions)
    say("predict", "--model", run, "--dataset", table, "--output", tmp_path / "p.csv")
    say("predict", "--model", run / "start", "--dataset", table, "--output", tmp_path / "p.parquet")
    one, other = pandas.read_csv(tmp_path / "p.csv"), pandas.read_parquet(tmp_path / "p.parquet")
    assert (len(one), list(one.columns)) == (45, list(other.columns))
    assert list(one.pitch_predictions) == list(other.pitch_predictions)
    said = say("predict", "--model", run, "--dataset", table.parent / "02.wav", "--output", tmp_path / "p.csv")
    alone = pandas.read_csv(tmp_path / "p.csv")
    assert f"02.wav: {alone.pitch_predictions[0]} ({alone.pitch_probability[0]:.1%})\n" in said
    say("benchmark", "--model", run, "--dataset", table, "--repeats", 1, "--output", tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text())["accuracy"] > 0.8
    assert "accuracy" in say("compare", run, tmp_path / "e")


def test_a_table_may_name_its_columns_differently(run: Path, table: Path, tmp_path: Path, say: Say) -> None:
    other = table.parent / "other.csv"
    pandas.read_csv(table).rename(columns={"audio": "sound", "pitch": "height"}).to_csv(other, index=False)
    said = say("evaluate", "--model", run, "--dataset", table, "--split", "all")
    argv, names = ("--model", run, "--dataset", other), ("--columns", "audio=sound", "pitch=height")
    assert say("evaluate", *argv, "--split", "all", *names) == said
    say("predict", *argv, "--columns", "audio=sound", "--output", tmp_path / "p.csv")
    assert len(pandas.read_csv(tmp_path / "p.csv")) == 45
    say("evaluate", *argv, "--columns", "label=height", code="label")
    say(*command(other, tmp_path / "out", *names), code="--columns")


def test_predict_names_the_rejected_clips_once(
    run: Path,
    table: Path,
    tmp_path: Path,
    say: Say,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    sounds.rows(tmp_path / "fsdd", 2)
    (tmp_path / "new.csv").write_text("audio\nfsdd/00.wav\nfsdd/01.wav\ngone.wav\n")
    say("predict", "--model", run, "--dataset", "new.csv", code="1 of 3 clips")
    assert len(pandas.read_parquet("predictions.parquet")) == 2
    (tmp_path / "fsdd/bad.wav").write_bytes(b"no audio")
    with pytest.raises(SystemExit, match="1 of 3 clips"):
        cli.main(["predict", "--model", str(run), "--dataset", "./fsdd"])
    assert capsys.readouterr().out.count("bad.wav") == 1
    say("predict", "--model", run, "--dataset", "fsdd", code="write ./fsdd")


def test_an_interruption_is_a_line_and_leaves_no_model(
    table: Path, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("soundraft.tasks.classification.fit_epochs", interrupted)
    said = say(*command(table, tmp_path / "out"), code=130)
    assert said.strip().splitlines()[-1] == "soundraft train: stopped"
    assert not (tmp_path / "out/start").exists()


@pytest.mark.parametrize("name", look.NAMES)
def test_every_picture(run: Path, tmp_path: Path, say: Say, name: str) -> None:
    argv = ("visualize", "--visualization", name, "--from", run, "--output")
    if name == "calibration":
        say(*argv, tmp_path / "p.svg")
        assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    assert f"{tmp_path}/p.png" in say(*argv, tmp_path / "p.png")
    assert pixels(tmp_path / "p.png").std() > 5


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--model", "x"), "--model"),
        (("--set", "train.cycles=3"), "--set"),
        (("--samples-per-prompt", "3"), "--samples-per-prompt"),
        (("--dry-run",), "--dry-run"),
        (("--task", "asr"), "--task asr"),
        (("--k", "3"), "--k"),
        (("--folds", "k", "--test", "x"), "--test does not go with --folds"),
        (("--subset", "x"), "--subset is for corpora and folders"),
        (("--target", "colour"), "colour"),
        (("--dataset", "nowhere"), "nowhere"),
        (("--dataset", "nowhere.csv"), "nowhere.csv: no such file"),
        (("--config", "digits"), "--subset"),
        (("--config", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_what_does_not_go_together_is_refused(
    table: Path, tmp_path: Path, say: Say, more: tuple[str, ...], named: str
) -> None:
    say(*command(table, tmp_path / "out", *more), code=named)
    assert not (tmp_path / "out").exists()


def test_wrong_models_outputs_and_runs_are_refused(table: Path, run: Path, tmp_path: Path, say: Say) -> None:
    alone, picture = ("train", "--dataset", table), ("visualize", "--visualization")
    for argv, named in (
        ((*alone, "--model", "x", "--folds", "k"), "--folds needs a declaration"),
        (("transcribe", table.parent / "00.wav", "--model", run), "classifier"),
        (("evaluate", "--model", run / "gone", "--dataset", table), "gone"),
        (("evaluate", "--model", tmp_path, "--dataset", table), str(tmp_path)),
        (("evaluate", "--model", run, "--dataset", table, "--subset", "digits"), "--subset"),
        (("predict", "--model", run, "--dataset", table, "--output", "p.txt"), "p.txt"),
        (("predict", "--model", run, "--dataset", table, "--split", "test"), "--split is for corpora"),
        ((*picture, "calibration", "--from", tmp_path), "no predictions.parquet"),
        ((*picture, "calibration", "--from", "nowhere"), "no such run"),
    ):
        say(*argv, code=named)
    say(*picture, "pie", "--from", tmp_path, code=2)
