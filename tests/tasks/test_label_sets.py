"""Clips with several labels each: mixed tones, learned, improved by a cycle, predicted, measured and compared."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import soundraft
from soundraft import files
from soundraft.audio import io
from soundraft.clips.base import Clips, Reading, label_set_of
from soundraft.clips.opening import open_clips
from soundraft.evaluation import compare, label_plots
from soundraft.evaluation.predictions import read_model, write_predictions
from soundraft.evaluation.results import MAJORITY, SVM
from soundraft.metrics.resampling import Bootstrap
from soundraft.models.classifier import SetClassifier, load_classifier
from soundraft.runtime import CACHE_VARIABLE, UserError
from soundraft.splits import SplitRule, draw
from soundraft.tasks import measure, steps
from soundraft.tasks.base import Data
from soundraft.tasks.classification import Classification
from soundraft.tasks.run import RunResult
from soundraft.tracking import Tracker
from tests.evaluation.answers import model
from tests.tasks import sounds

TONES = {"deep": 300, "high": 2600, "middle": 900}
SETS = [names for count in range(4) for names in combinations(TONES, count)]  # of none, one, two and all three
PARAMS = {"classification__output": "set", "classification__target": "tags"}


def wav(names: Any, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    times = np.arange(round((0.3 + 0.1 * rng.random()) * sounds.RATE_HZ)) / sounds.RATE_HZ
    tones = [0.2 * np.sin(2 * np.pi * (TONES[name] * times + rng.random())) for name in names]
    return io.wav_bytes((sum(tones) + 0.03 * rng.standard_normal(len(times))).astype(np.float32), sounds.RATE_HZ)


def clips(count: int, seed: int) -> Clips:
    """Every set by turns."""
    facts = [{"tags": list(SETS[index % len(SETS)]), "speaker": f"s{index % 3}"} for index in range(count)]
    return sounds.of([wav(each["tags"], 1000 * seed + n) for n, each in enumerate(facts)], facts, prefix=f"{seed}/")


PARTS = {"train": clips(40, 1), "validation": clips(24, 2), "test": clips(24, 3)}


def task(**changes: Any) -> Classification:
    return Classification(sounds.params(**PARAMS, **changes))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> tuple[Classification, Data, Path]:
    folder = tmp_path_factory.mktemp("started") / "start"
    own, data = task(), Data(dict(PARTS))  # type: ignore[arg-type]
    steps.start(own, data, folder, Tracker())
    return own, data, folder


def test_every_label_of_a_clip_is_learned_and_every_way_reports_it(started: Any, tmp_path: Path) -> None:
    own, data, folder = started
    results, table = measure.evaluate(own, data, [(model("start"), folder)], tmp_path, Tracker())
    found, by_chain = results[0].scores, {each.model.chain: each.scores for each in results}
    assert found.value("map") > 0.95
    assert found.value("jaccard") > 0.8
    assert found.references == [tuple(each) for each in PARTS["test"].values("tags")]
    assert by_chain[SVM].value("map") > 0.8 > by_chain[MAJORITY].value("map")
    assert "mAP" in table
    assert "| deep " in (tmp_path / "report.md").read_text()
    pictures = {path.stem for path in tmp_path.glob("*.png")}
    assert pictures & {"roc_curves", "calibration", "confusion_matrix"} == {"roc_curves", "calibration"}
    numbers = files.read_json(tmp_path / "metrics.json")
    assert (numbers["map_after"], numbers["svm_map"]) == (found.value("map"), by_chain[SVM].value("map"))
    kept = files.read_json(folder / "config.json")
    validated = data.load(own, load_classifier(folder), "target", "validation")
    assert kept["threshold"] == files.read_json(folder / "metrics.json")["threshold"] != 0.5
    f1 = own.score(load_classifier(folder), validated, title="").value("f1_micro")
    assert f1 == files.read_json(folder / "metrics.json")["f1_micro_validation"]
    with pytest.raises(UserError, match="several labels"):
        label_plots.draw("confusion_matrix", tmp_path / "matrix.png", found)


def test_predictions_are_written_and_read_with_lists(started: Any, tmp_path: Path) -> None:
    own, data, folder = started
    found = own.score(load_classifier(folder), data.load(own, load_classifier(folder), "target", "test"), title="")
    write_predictions(tmp_path / "one.parquet", found)
    _, read = read_model(tmp_path / "one.parquet")
    assert (read.predictions, read.references, read.sets) == (found.predictions, found.references, True)
    assert {key: read.value(key) for key in own.metrics} == {key: found.value(key) for key in own.metrics}
    assert json.loads(pandas.read_parquet(tmp_path / "one.parquet").to_json())["tags_predictions"]["1"] == ["deep"]
    pair = [compare.read_candidate(tmp_path / "one.parquet")] * 2
    assert compare.compare(*pair, Bootstrap(100, 0)).differences["map"].difference == 0


def test_a_cycle_improves_a_start_that_is_biased(started: Any, tmp_path: Path) -> None:
    """It finds a middle tone nearly everywhere; the rewards of its own samples say where there is none."""
    own, data, folder = started
    biased = load_classifier(folder)
    assert isinstance(biased, SetClassifier)
    output = biased.model.output[1]
    output.bias.data += torch.tensor([0.0, 0.0, 2.0])
    biased.save(tmp_path / "biased")
    own = task(
        train__samples_per_prompt=32,
        train__rounds_per_cycle=6,
        train__presentations_per_cycle=960,
        classification__trainer__cycle_learning_rate=0.02,
    )
    metrics, _, line = steps.cycle(own, data, tmp_path / "biased", tmp_path / "one", number=1, base=tmp_path / "biased")
    loaded = data.load(own, biased, "target", "test")
    first, last = (load_classifier(tmp_path / name) for name in ("biased", "one"))
    with np.errstate(all="ignore"):
        before, after = (np.exp(each.encode(loaded.utterances.features).numpy()[..., 0]) for each in (first, last))
    wrong = np.array(["middle" not in each for each in loaded.utterances.targets])
    assert after[wrong, 2].mean() < before[wrong, 2].mean() - 0.2, "the middle tone is no longer found everywhere"
    assert metrics["reward_mean"] > 0.5
    assert "mAP" in line
    drawn = pandas.read_parquet(tmp_path / "one" / "rollouts.parquet")
    assert "deep; middle" in set(drawn.text)
    assert set(drawn.reward.round(3)) >= {0.5, 1.0}
    assert (drawn.success == (drawn.reward == 1)).all()


def test_the_loss_is_the_binary_cross_entropy_and_samples_follow_it(started: Any) -> None:
    own, data, folder = started
    found = load_classifier(folder)
    features = data.load(own, found, "target", "test").utterances.features[:4]
    log_probs = found.encode(features).double()
    assert np.allclose(log_probs.exp().sum(-1), 1)
    (first, *_) = found.loss(features, [[("deep", "middle"), ()], [()], [()], [("high",)]])
    own_log_probs = [log_probs[0, 0, 0] + log_probs[0, 1, 1] + log_probs[0, 2, 0], log_probs[0, :, 1].sum()]
    assert np.allclose(first.log_probs.detach(), own_log_probs, atol=1e-5)  # type: ignore[attr-defined]
    assert np.allclose(first.losses.detach(), [-each / 3 for each in own_log_probs], atol=1e-5)
    flat = log_probs * 0 - np.log(2)
    flat[0, 0] = flat.new_tensor([np.log(0.9), np.log(0.1)])
    drawn = found.sample(flat, 2000, temperature=1.0, seeds=[1, 1, 2, 3])
    shares = [np.mean([name in answer for answer in drawn[0]]) for name in found.labels]
    assert np.allclose(shares, [0.9, 0.5, 0.5], atol=0.04)
    assert drawn[1] != drawn[2]
    assert drawn == found.sample(flat, 2000, temperature=1.0, seeds=[1, 1, 2, 3])
    with pytest.raises(UserError, match="'bass' is unknown; there are: deep, high, middle"):
        found.loss(features[:1], [[("bass",)]])


def test_every_way_of_training_reaches_the_weights(tmp_path: Path) -> None:
    parts = {"train": PARTS["train"].part(range(21)), "validation": PARTS["validation"]}
    ways: list[dict[str, Any]] = [{}, {"trainer__class_weights": "balanced"}, {"augment__label_smoothing": 0.2},
                                  {"encoder__members": 2}, {"trainer__sampling": "balanced"}]  # fmt: skip
    digests = set()
    for number, changes in enumerate(ways):
        given = {f"classification__{name}": value for name, value in {**changes, "trainer__epochs": 1}.items()}
        steps.start(task(**given), Data(dict(parts)), tmp_path / str(number), Tracker())  # type: ignore[arg-type]
        digests.add(files.content_hash(tmp_path / str(number) / "model.safetensors"))
    assert len(digests) == len(ways)


def declared(**output: Any) -> dict[str, Any]:
    return {**sounds.CONFIG, "output_features": [{"name": "tags", "type": "set", **output}]}


@contextmanager
def without_pictures() -> Iterator[None]:
    """They are drawn in the first test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "_plot", lambda *_: [])
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """Trained on a csv whose cells have labels with a bar between them."""
    folder = tmp_path_factory.mktemp("run")
    rows = []
    for number in range(48):
        names = SETS[number % len(SETS)]
        (folder / f"{number:02d}.wav").write_bytes(wav(names, number))
        rows.append({"audio": f"{number:02d}.wav", "tags": "|".join(names) or "[]", "speaker": f"s{number % 12}"})
    table = sounds.write_csv(folder / "clips.csv", rows)
    given = declared(preprocessing={"separator": "|"})
    with without_pictures():
        return table, soundraft.fit(given, table, output_dir=folder / "run")


def test_a_declared_run_of_type_set_is_used_like_any_other(run: tuple[Path, RunResult], tmp_path: Path) -> None:
    table, result = run
    assert result.folder is not None
    assert result.scores.sets
    assert set(result.scores.references or []) <= {tuple(sorted(each)) for each in SETS}
    answers = soundraft.predict(result.folder, table)
    assert answers.columns.tolist()[2:5] == ["tags_predictions", "tags_probability", "tags_probabilities_deep"]
    assert all(isinstance(each, list) for each in answers.tags_predictions)
    found = soundraft.evaluate(result.folder, table, split="all", output_dir=tmp_path / "again")
    assert list(found.estimates()) == ["map", "auc_macro", "f1_micro", "f1_macro", "jaccard"]
    assert "majority class" in (tmp_path / "again" / "report.md").read_text()
    with without_pictures():
        again = soundraft.fit(declared(preprocessing={"separator": "|"}), table, output_dir=result.folder)
    assert again.scores.value("map") == result.scores.value("map"), "a finished run is read again"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["b", "a", "a"], ("a", "b")),
        ([], ()),
        ("b; a", ("a", "b")),
        ("a", ("a",)),
        ("a;", ("a",)),
        ("[]", ()),
        ("['Child speech, kid speaking', 'Music']", ("Child speech, kid speaking", "Music")),
        ("", None),
        (None, None),
        (float("nan"), None),
        ([None, "a"], ("a",)),
        (3, ("3",)),
    ],
)
def test_what_a_cell_means(value: Any, expected: Any) -> None:
    assert label_set_of(value, ";") == expected


def test_lists_of_every_source_are_one(tmp_path: Path) -> None:
    rows = [{"audio": f"{n}.wav", "tags": names} for n, names in enumerate((["b", "a"], [], ["a"]))]
    for row in rows:
        (tmp_path / row["audio"]).write_bytes(wav([], 0))  # type: ignore[operator]
    pandas.DataFrame(rows).to_parquet(tmp_path / "clips.parquet")
    files.write_jsonl(tmp_path / "clips.jsonl", rows)
    sounds.write_csv(tmp_path / "clips.csv", [{**row, "tags": ";".join(row["tags"]) or "[]"} for row in rows])
    reading = Reading("tags", several=";")
    for name in ("clips.parquet", "clips.jsonl", "clips.csv"):
        assert open_clips(tmp_path / name, reading).clips.values("tags") == [["a", "b"], [], ["a"]], name
    with pytest.raises(UserError, match="output of type set"):
        open_clips(tmp_path / "clips.parquet", Reading("tags"))


@pytest.mark.parametrize(
    ("train", "validation", "changes", "words"),
    [
        ([["a"], ["b"]], [["a"], ["c"]], {}, "validation: 1 of 2 .*'c'"),
        ([["a"], []], [["a"], []], {}, "'a' or no label"),
        ([["a", "b"], ["a"]], [["a"], ["a"]], {}, "validation: no label is in some"),
        (["a,b", "a"], ["a", "a,b"], {}, "'a,b' looks like several: .*','"),
        (["[a", "b"], ["a"], {}, r"'\[a' is no list of labels"),
    ],
)
def test_what_cannot_be_learned_is_named(train: Any, validation: Any, changes: Any, words: str) -> None:
    parts = {
        split: sounds.of([b""] * len(given), [{"tags": each} for each in given], prefix=split)
        for split, given in (("train", train), ("validation", validation))
    }
    with pytest.raises(UserError, match=words):
        task(**changes).check(Data(parts))  # type: ignore[arg-type]


def test_folds_and_metrics_of_one_label_are_refused_by_name(run: tuple[Path, RunResult]) -> None:
    with pytest.raises(UserError, match="folds"):
        soundraft.cross_validate(declared(), run[0], folds="k")
    for metric, words in (("uar", "of sets by mAP"), ("speed", "validation_metric")):
        with pytest.raises(UserError, match=words):
            soundraft.fit({**declared(), "trainer": {"validation_metric": metric}}, run[0])


def test_a_stratified_split_has_each_label_in_its_share() -> None:
    given = [["common"]] * 60 + [["common", "rare"]] * 20 + [[]] * 20
    found = draw(
        Clips([str(n) for n in range(100)], lambda _: b"", [{"tags": each} for each in given]),
        SplitRule("stratify", (0.5, 0.25, 0.25)), target="tags", seed=0,
    )  # fmt: skip
    for split, share in (("train", 0.5), ("validation", 0.25), ("test", 0.25)):
        rare = sum(split == each for each, names in zip(found, given, strict=True) if "rare" in names)
        assert rare == pytest.approx(20 * share, abs=1)
    given = [["x", "y"], ["x"], ["x"], ["x"], ["z"], ["z", "y"]]
    for seed in range(5):
        found = draw(
            Clips(list("abcdef"), lambda _: b"", [{"tags": each} for each in given]),
            SplitRule("stratify", (0.4, 0.2, 0.4)), target="tags", seed=seed, among=("train", "test"),
        )  # fmt: skip
        trained = {name for split, names in zip(found, given, strict=True) if split == "train" for name in names}
        assert trained == {"x", "y", "z"}
