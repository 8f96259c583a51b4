import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from soundraft import files
from soundraft.clips.base import from_dataset, hear
from soundraft.evaluation.predictions import read_predictions
from soundraft.manifest import TooManyBad
from soundraft.models.classifier import load_classifier
from soundraft.runtime import CACHE_VARIABLE, UserError
from soundraft.tasks import classification
from soundraft.tasks.classification import division_of, evaluate, predict, svm
from soundraft.tracking import Tracker
from tests.tasks import sounds

REWARDS = {"reward_mean": 0.5, "reward_best": 1.0, "reward_kept": 1.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A dataset, and chains of two models that differ: `base` and a first cycle."""
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        sounds.dataset(
            folder / "dataset", train=sounds.clips(27, seed=1), validation=sounds.clips(12, seed=2),
            test=sounds.clips(18, seed=3),
        )  # fmt: skip
        (folder / "reports").mkdir()
        for out, epochs in (("base", 2), ("raft/01", 8)):
            (folder / "chains" / out).mkdir(parents=True)
            given = sounds.params(classification__trainer__epochs=epochs)
            classification.start(given, folder / "dataset/target", folder / "chains" / out, Tracker())
        files.write_json(folder / "chains/raft/01/metrics.json", REWARDS)
        files.write_json(folder / "chains/raft/02/inactive.json", {"active": False})
        folder.joinpath("told").write_text(
            evaluate(sounds.params(), folder / "chains", folder / "dataset", folder / "reports", Tracker())
        )
    return folder


def test_the_report_has_every_model_and_both_controls(place: Path) -> None:
    text = (place / "reports/report.md").read_text()
    rows = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")}
    assert {"start model", "RAFT", "control: statistics SVM", "control: majority class"} <= rows
    assert "Division into splits: 3 of 3 test speakers are heard in training." in text
    assert "## By speaker" in text
    assert (place / "told").read_text().startswith("Test set, 18 clips, label\n\n# Label: 18 test clips, 3 labels")
    numbers = json.loads((place / "reports/metrics.json").read_text())
    assert numbers["majority_accuracy"] == pytest.approx(1 / 3)
    assert numbers["svm_accuracy"] > 0.8
    assert len(numbers) <= 12
    assert {path.name for path in (place / "reports").iterdir()} == {
        "calibration.png", "classes.csv", "confidence_thresholding.png", "confusion_matrix.png", "confusions.csv",
        "curves.csv", "error.png", "frequency_vs_f1.png", "learning_curves.png", "metrics.json",
        "precision_recall.png", "predictions.parquet",
        "quarantine.jsonl", "report.md", "reward.png", "roc_curves.png", "worst_clips.csv",
    }  # fmt: skip


def test_predictions_are_those_of_each_model_on_the_test_clips(place: Path) -> None:
    test = from_dataset(place / "dataset/target", "test")
    for cycle, folder in ((0, "base"), (1, "raft/01")):
        kept = read_predictions(place / "reports/predictions.parquet", cycle=cycle)
        model = load_classifier(place / "chains" / folder)
        told = predict(model, hear(test, model, target="label", title=""), target="label")
        np.testing.assert_array_equal(kept.probabilities, told.probabilities)
        assert (kept.ids, kept.references, kept.groups) == (test.ids, test.values("label"), told.groups)
    chains = pq.read_table(place / "reports/predictions.parquet")["chain"].to_pylist()
    assert {name: chains.count(name) for name in chains} == {"start": 18, "trained": 18, "svm": 18, "majority": 18}


def test_the_control_never_hears_a_test_label(place: Path) -> None:
    model = load_classifier(place / "chains/base")
    train, test = (from_dataset(place / "dataset/target", split) for split in ("train", "test"))
    told = svm(train, hear(test, model, target="label", title=""), model, target="label")
    kept = read_predictions(place / "reports/predictions.parquet", algorithm="svm", cycle=0)
    np.testing.assert_allclose(told.probabilities, kept.probabilities)
    for facts in test.facts:
        facts["label"] = "high"
    blind = svm(train, hear(test, model, target="label", title=""), model, target="label")
    np.testing.assert_array_equal(blind.probabilities, told.probabilities)


def test_the_control_passes_over_what_the_model_could_not_learn(place: Path) -> None:
    model = load_classifier(place / "chains/base")
    train, test = (from_dataset(place / "dataset/target", split) for split in ("train", "test"))
    heard = hear(test, model, target="label", title="")
    audio = [*(train.audio(index) for index in range(27)), b"broken", train.audio(0), train.audio(1)[:444]]
    more = sounds.of(audio, [*train.facts, {"label": "low"}, {"label": None}, {"label": "low"}])
    told, plain = (svm(each, heard, model, target="label") for each in (more, train))
    np.testing.assert_array_equal(told.probabilities, plain.probabilities)


def test_test_clips_that_cannot_be_used_are_counted_and_listed(place: Path, tmp_path: Path) -> None:
    train, validation, test = (
        from_dataset(place / "dataset/target", split) for split in ("train", "validation", "test")
    )
    del test.facts[4]["label"]
    folder = sounds.dataset(tmp_path / "dataset", train=train, validation=validation, test=test)
    with pytest.raises(TooManyBad, match=r"1 of 18 clips are bad; limits.max_bad_fraction allows 1.0%\n.*no label"):
        evaluate(sounds.params(), place / "chains", folder, tmp_path, Tracker())
    evaluate(sounds.params(limits__max_bad_fraction=0.1), place / "chains", folder, tmp_path, Tracker())
    assert json.loads((tmp_path / "quarantine.jsonl").read_text())["id"] == test.ids[4]
    test.facts[4]["label"] = "falling"
    shutil.rmtree(folder)
    sounds.dataset(folder, train=train, validation=validation, test=test)
    with pytest.raises(
        UserError, match=r"test: 1 of 18 clips have labels that were not seen in training: 'falling' \(1\)"
    ):
        evaluate(sounds.params(), place / "chains", folder, tmp_path, Tracker())


def test_two_evaluations_write_the_same_bytes(place: Path, tmp_path: Path) -> None:
    evaluate(sounds.params(), place / "chains", place / "dataset", tmp_path, Tracker())
    for path in sorted((place / "reports").iterdir()):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_start_leaves_its_curves(place: Path) -> None:
    with (place / "chains/base/learning_curves.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(0 <= float(row["validation"]) <= 1 for row in rows)
    numbers = json.loads((place / "chains/base/metrics.json").read_text())
    assert numbers["temperature"] == load_classifier(place / "chains/base").temperature
    assert numbers["uar_validation"] == max(float(row["validation"]) for row in rows)


def test_the_baseline_measures_quality_and_the_machine(place: Path) -> None:
    quality, machine, told = classification.baseline(
        sounds.params(benchmark__repeats=1, benchmark__warmup=0), place / "chains/base", place / "dataset"
    )
    kept = json.loads((place / "chains/base/metrics.json").read_text())
    assert quality == {name: kept[name] for name in ("accuracy_validation", "uar_validation", "ece_validation")}
    assert machine["clips_per_s"] > 0
    assert f"UAR {quality['uar_validation']:.1%}" in told


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ({"a", "b"}, {"c"}, "no speaker in train and test"),
        ({"a", "b"}, {"b", "c"}, "1 of 2 test speakers are heard in training"),
        (set(), {"c"}, "speakers are not known"),
    ],
)
def test_the_division_is_told_in_words(train: set[str], test: set[str], told: str) -> None:
    assert division_of(train, test) == told
