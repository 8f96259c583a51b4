"""`soundraft train --config`, `evaluate`, `predict` and `visualize`, one after the other on tones."""

import shutil
from pathlib import Path

import pandas
import pytest
import yaml

from soundraft import cli, files
from soundraft.cli import look
from tests.conftest import soundraft
from tests.tasks import tones
from tests.test_cli import pixels


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


def test_training_makes_the_same_again_and_another_seed_another_run(
    table: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = soundraft(capsys, *command(table, Path())[:-2])
    accuracy = files.read_json(run / "test_statistics.json")["classifier"]["accuracy"]
    assert ["classifier", f"{accuracy:.1%}"] in [line.split()[:2] for line in said.splitlines()]
    assert "soundraft predict --model runs/clips" in said
    assert (tmp_path / "runs/clips/report.md").read_bytes() == (run / "report.md").read_bytes()
    soundraft(capsys, *command(table, tmp_path / "other", "--seed", 3, "--target", "speaker"))
    assert files.read_json(tmp_path / "other/description.json")["labels"] == sorted(tones.SPEAKERS)


def test_folds_with_more_clips(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "more").mkdir()
    rows = [row | {"id": f"more/{row['audio']}"} for row in tones.rows(tmp_path / "more", 12)]
    more = tones.write_csv(tmp_path / "more/clips.csv", rows)
    said = soundraft(capsys, *command(table, tmp_path / "out", "--folds", "speaker", "--k", 3, "--extra", more))
    assert "audio of a training" in said, "the extra clips are the same as some of the tested ones"
    assert len(files.read_json(tmp_path / "out/folds.json")["scores"]) == 3
    argv = ("visualize", "--visualization", "learning_curves", "--from", tmp_path / "out")
    soundraft(capsys, *argv, code="is a cross-validation")


def test_evaluate_and_predict(run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    statistics = files.read_json(run / "test_statistics.json")["classifier"]
    said = soundraft(capsys, "evaluate", "--model", run, "--dataset", table, "--output", tmp_path / "e")
    assert f"pitch, 10 clips: accuracy {statistics['accuracy']:.1%} [" in said
    assert (tmp_path / "e/predictions.parquet").read_bytes() == (run / "predictions.parquet").read_bytes()
    soundraft(capsys, "predict", "--model", run, "--dataset", table, "--output", tmp_path / "p.csv")
    soundraft(capsys, "predict", "--model", run / "model", "--dataset", table, "--output", tmp_path / "p.parquet")
    one, other = pandas.read_csv(tmp_path / "p.csv"), pandas.read_parquet(tmp_path / "p.parquet")
    assert len(one) == 48
    assert list(one.columns) == list(other.columns)
    assert list(one.pitch_predictions) == list(other.pitch_predictions)
    assert list(one.speaker) == list(other.speaker)
    recording = table.parent / "02.wav"
    said = soundraft(capsys, "predict", "--model", run, "--dataset", recording, "--output", tmp_path / "p.csv")
    alone = pandas.read_csv(tmp_path / "p.csv")
    assert said.startswith(f"{recording}: {alone.pitch_predictions[0]} ({alone.pitch_probability[0]:.1%})\n")


def test_a_table_may_name_its_columns_differently(
    run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = table.parent / "other.csv"
    pandas.read_csv(table).rename(columns={"audio": "sound", "pitch": "height"}).to_csv(other, index=False)
    said = soundraft(capsys, "evaluate", "--model", run, "--dataset", table, "--split", "all")
    assert "pitch, 48 clips" in said
    argv, names = ("--model", run, "--dataset", other), ("--columns", "audio=sound", "pitch=height")
    assert soundraft(capsys, "evaluate", *argv, "--split", "all", *names) == said
    soundraft(capsys, "predict", *argv, "--columns", "audio=sound", "--output", tmp_path / "p.csv")
    assert len(pandas.read_csv(tmp_path / "p.csv")) == 48
    soundraft(capsys, "evaluate", *argv, "--columns", "label=height", code="label")
    soundraft(capsys, *command(other, tmp_path / "out", *names), code="--columns")


def test_predict_names_the_rejected_clips_once(
    run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{table.parent}/{number % 48:02d}.wav" for number in range(48)]
    (tmp_path / "new.csv").write_text("\n".join(["audio", *lines, "gone.wav"]))
    soundraft(capsys, "predict", "--model", run, "--dataset", "new.csv", code="1 of 49 clips")
    assert len(pandas.read_parquet("predictions.parquet")) == 48
    (tmp_path / "fsdd").mkdir()
    for name in ("00.wav", "01.wav"):
        shutil.copy(table.parent / name, tmp_path / "fsdd" / name)
    (tmp_path / "fsdd/bad.wav").write_bytes(b"no audio")
    with pytest.raises(SystemExit, match="1 of 3 clips"):
        cli.main(["predict", "--model", str(run), "--dataset", "./fsdd"])
    assert capsys.readouterr().out.count("bad.wav") == 1
    soundraft(capsys, "predict", "--model", run, "--dataset", "fsdd", code="write ./fsdd")


def test_an_interruption_is_a_line_and_leaves_nothing(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("soundraft.tasks.classification.fit_epochs", interrupted)
    said = soundraft(capsys, *command(table, tmp_path / "out"), code=130)
    assert said.strip().splitlines()[-1] == "soundraft train: stopped"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", look.NAMES)
def test_every_picture(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    argv = ("visualize", "--visualization", name, "--from", run, "--output")
    assert soundraft(capsys, *argv, tmp_path / "p.png").startswith(f"{tmp_path}/p.png: {name} of ")
    assert pixels(tmp_path / "p.png").std() > 5
    soundraft(capsys, *argv, tmp_path / "p.svg")
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")


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
        (("--limit", "3"), "--limit is for corpora and folders"),
        (("--subset", "x"), "--subset is for corpora and folders"),
        (("--target", "colour"), "no column colour"),
        (("--dataset", "nowhere"), "nowhere: neither a folder nor a corpus"),
        (("--dataset", "nowhere.csv"), "nowhere.csv: no such file"),
        (("--config", "digits"), "--subset"),
        (("--config", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_what_does_not_go_together_is_refused(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], named: str
) -> None:
    soundraft(capsys, *command(table, tmp_path / "out", *more), code=named)
    assert not (tmp_path / "out").exists()


def test_wrong_models_outputs_and_runs_are_refused(
    table: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, picture = ("train", "--dataset", table), ("visualize", "--visualization")
    for argv, named in (
        ((*alone, "--model", "x", "--folds", "k"), "--folds needs a declaration"),
        (alone, "--model"),
        (("evaluate", "--model", tmp_path, "--dataset", table), str(tmp_path)),
        (("evaluate", "--model", run, "--dataset", table, "--subset", "digits"), "--subset"),
        (("predict", "--model", run, "--dataset", table, "--output", "p.txt"), "p.txt"),
        (("predict", "--model", run, "--dataset", table, "--split", "test"), "--split is for corpora"),
        ((*picture, "calibration", "--from", tmp_path), "no predictions.parquet"),
        ((*picture, "calibration", "--from", "nowhere"), "no such run"),
    ):
        soundraft(capsys, *argv, code=named)
    soundraft(capsys, *picture, "pie", "--from", tmp_path, code=2)
