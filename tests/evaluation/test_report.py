import csv
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, f1_score

from soundraft.evaluation import plots, report
from soundraft.evaluation.predictions import read_model
from soundraft.evaluation.report import verdicts
from soundraft.evaluation.results import Result, summary
from soundraft.evaluation.scores import score_labels, score_texts
from soundraft.metrics.labels import trials_of, wilson
from soundraft.metrics.text import normalizer
from soundraft.params import defaults
from soundraft.tasks.asr import columns_by
from soundraft.tasks.base import task_of
from soundraft.tasks.classification import COLUMNS as LABEL_COLUMNS
from tests.evaluation.answers import BOOTSTRAP, CLIPS, IDS, LABELS, label_results, labels, model, text_result

TEXT_COLUMNS = columns_by("wer", "cer")
TEXT_RESULTS = [text_result("start", 0, 90), text_result("raft", 1, 40), text_result("raft", 2, 10)]
TEXT_RESULTS += [text_result("random", 2, 110), text_result("sft", 1, 30), text_result("sft", 2, 0)]


def cells(text: str, heading: str = "") -> list[list[str]]:
    after = text.split(heading)[1].split("\n\n") if heading else [text]
    lines = next(part for part in after if part.startswith("|")).splitlines()
    assert len({len(line) for line in lines}) == 1, "columns stand under each other"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def label_report(results: list[Result], top: int = 5, division: str = "") -> str:
    with tempfile.TemporaryDirectory() as folder:
        report.write(Path(folder), results, LABEL_COLUMNS, BOOTSTRAP, split="test", top=top, division=division)
        return (Path(folder) / "report.md").read_text()


def test_the_table_has_start_every_cycle_the_last_of_each_control_and_the_baselines() -> None:
    found = cells(report.table(TEXT_RESULTS, TEXT_COLUMNS, BOOTSTRAP))
    assert [line[:2] for line in found] == [
        ["start model", "0"],
        ["RAFT", "1"],
        ["RAFT", "2"],
        ["control: supervised on references", "2"],
        ["control: a random one of K, no reward", "2"],
    ]
    assert found[0][2].startswith("25.0% [")
    assert found[0][4:7] == ["90", "0", "0"]
    assert found[0][7].startswith("12.2% ["), "trn is snapped to turn"
    results = label_results(0.6, 0.7, 0.8, sft=0.65)
    found = cells(label_report(results), "# Emotion")
    assert [line[:2] for line in found[3:]] == [
        ["control: supervised on references", "2"],
        ["control: statistics SVM", "–"],
        ["control: majority class", "–"],
    ]
    last = results[2].scores
    assert found[2][2].startswith("80.0% [")
    assert found[2][3].startswith(f"{balanced_accuracy_score(last.known, last.predictions):.1%} [")
    assert found[2][4] == f"{f1_score(last.known, last.predictions, average='macro'):.1%}"


def test_the_summary_is_flat_short_and_right() -> None:
    numbers = summary(TEXT_RESULTS, TEXT_COLUMNS, BOOTSTRAP)
    assert list(numbers) == [
        "cycles", "wer_before", "wer_after", "wer_after_low", "wer_after_high", "wer_relative_reduction", "cer_after",
        "wer_snapped_before", "wer_snapped_after", "wer_start_before", "wer_start_after",
    ]  # fmt: skip
    assert (numbers["cycles"], numbers["wer_before"], numbers["wer_after"]) == (2, 0.25, pytest.approx(10 / 360))
    assert numbers["wer_relative_reduction"] == pytest.approx(1 - 10 / 90)
    assert numbers["wer_after_low"] <= numbers["wer_after"] <= numbers["wer_after_high"]
    found = summary(label_results(0.6, 0.7, 0.8, sft=0.65), LABEL_COLUMNS, BOOTSTRAP)
    assert list(found) == [
        "cycles", "accuracy_before", "accuracy_after", "accuracy_after_low", "accuracy_after_high", "uar_before",
        "uar_after", "f1_macro_after", "ece_after", "majority_accuracy", "svm_accuracy", "svm_uar",
    ]  # fmt: skip
    assert (found["accuracy_before"], found["accuracy_after"], found["svm_accuracy"]) == (0.6, 0.8, 0.5)
    for each in (numbers, found):
        assert json.loads(json.dumps(each, allow_nan=False)) == each
    alone = summary(TEXT_RESULTS[:1], TEXT_COLUMNS, BOOTSTRAP)
    assert (alone["cycles"], alone["wer_relative_reduction"]) == (0, 0.0)


def test_files_hold_every_detail_and_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        out = tmp_path / name
        report.write(out / "texts", TEXT_RESULTS, TEXT_COLUMNS, BOOTSTRAP, split="test", top=2)
        report.write(out / "labels", label_results(0.6, 0.8), LABEL_COLUMNS, BOOTSTRAP, split="test", top=2)
        plots.plot_error(out / "texts/error.png", TEXT_RESULTS, TEXT_COLUMNS, BOOTSTRAP)
        plots.plot_error(out / "labels/error.png", label_results(0.6, 0.8), LABEL_COLUMNS, BOOTSTRAP)
        plots.plot_reward(out / "texts/reward.png", {1: {"reward_mean": 0.4, "reward_best": 0.7, "reward_kept": 0.8}})
    paths = [path for path in (tmp_path / "one").rglob("*.*") if path.is_file()]
    assert len(paths) == 8 + 9
    for path in paths:
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()

    def rows(name: str) -> list[dict[str, str]]:
        with (tmp_path / "one" / name).open() as stream:
            return list(csv.DictReader(stream))

    assert [(line["id"], line["errors"]) for line in rows("texts/worst_clips.csv")] == [
        ("clip000", "1"), ("clip001", "1"),
    ]  # fmt: skip
    assert [tuple(line.values()) for line in rows("texts/confusions.csv")] == [
        ("turn", "trn", "6"),
        ("open", "trn", "2"),
    ]
    assert [float(line["trained"]) for line in rows("texts/curves.csv")] == pytest.approx([0.25, 40 / 360, 10 / 360])
    assert [float(line["sft"]) for line in rows("texts/curves.csv")] == pytest.approx([0.25, 30 / 360, 0])
    assert [float(line["trained"]) for line in rows("labels/curves.csv")] == pytest.approx([0.4, 0.2])
    assert sum(int(line["clips"]) for line in rows("labels/confusions.csv")) == 24
    assert [line["label"] for line in rows("labels/classes.csv")] == LABELS


def test_a_run_without_cycles_is_drawn(tmp_path: Path) -> None:
    plots.plot_error(tmp_path / "error.png", TEXT_RESULTS[:1], TEXT_COLUMNS, BOOTSTRAP)
    plots.plot_reward(tmp_path / "reward.png", {})
    assert (tmp_path / "error.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("results", "place", "words"),
    [
        (label_results(0.5, 0.6, svm=0.9), 0, "**The statistics SVM is better than the model (cycle 1)**"
             "|90.0% against 60.0%, +30.0 points [+|the interval excludes"),
        (label_results(0.5, 0.6, svm=0.625), 0, "not clearly better than the statistics SVM|may be chance"),
        (label_results(0.5, 0.625, svm=0.6), 0, "not clearly better than the statistics SVM|+2.5 points|may be chance"),
        (label_results(0.5, 0.9, svm=0.6), 0, "The model (cycle 1) is better than the statistics SVM: accuracy 90.0%"),
        (label_results(0.5, 0.6, svm=0.6), 0, "not clearly better"),
        (label_results(0.8), 0, "The model (the start model) is better than"),
        (label_results(0.8, 0.8, 0.6), -1, "**No cycle beats|worse|accuracy 60.0% against 80.0%|cycle 1, has 80.0%."),
        (label_results(0.8, 0.8, 0.81), -1, "**No cycle beats|not clearly better|accuracy 81.7% against 80.0%"),
        (label_results(0.6, 0.7, 0.9), -1, "Cycle 2, the last, is better than the start model: accuracy 90.0% against"),
        (label_results(0.6, 0.9, 0.5), -1, "Cycle 2, the last, is not clearly better|cycle 1, has 90.0%"),
        (label_results(0.2, 0.3, svm=0.1, sft=0.5), 0, "“supervised on references” is better than the model (cycle 1)"),
        (label_results(0.2, 0.3, svm=0.1), 1, "not clearly better than the majority class**: accuracy 30.0% against 3"),
        (TEXT_RESULTS, 0, "supervised on references” is better than|WER 0.0% against 2.8%, -2.8 points [-"),
        (TEXT_RESULTS, -1, "Cycle 2, the last, is better than the start model: WER 2.8% against 25.0%, -22.2 points"),
    ],
)  # fmt: skip
def test_better_is_what_the_interval_says(results: list[Result], place: int, words: str) -> None:
    sentence = verdicts(results, BOOTSTRAP)[place]
    assert all(part in sentence for part in words.split("|")), sentence
    assert "a random one" not in " ".join(verdicts(TEXT_RESULTS, BOOTSTRAP)), "a worse control is not worth a sentence"


def test_no_sentence_calls_better_what_may_be_chance() -> None:
    def result(name: str, frequent: int, rare: int) -> Result:
        right = ["a"] * 100 + ["b"] * 10
        said = ["a"] * frequent + ["b"] * (100 - frequent) + ["b"] * rare + ["a"] * (10 - rare)
        sure = np.array([[0.9, 0.1] if each == "a" else [0.1, 0.9] for each in said])
        scores = score_labels([str(n) for n in range(110)], sure, ["a", "b"], references=right)
        return Result.baseline(name, scores) if name == "svm" else Result(model("start", 0), scores)

    rarely, often = result("start", 88, 10), result("svm", 95, 3)  # 98 and 98 right, UAR 94 and 62.5 %
    text = " ".join(verdicts([rarely, often], BOOTSTRAP))
    assert "is not clearly better than the statistics SVM**: accuracy" in text
    assert "In its favour speaks: UAR 94.0% against 62.5%" in text
    for sentence in text.split(". "):
        assert not (" is better" in sentence and "may be chance" in sentence), sentence


@pytest.mark.parametrize("right", [0, 3, 299, 300])
def test_intervals_of_labels_are_wilsons_and_never_empty(right: int) -> None:
    said, labels = [0] * right + [1] * (300 - right), ["a", "b"]
    scores = score_labels([str(n) for n in range(300)], np.eye(2)[said], labels, references=["a"] * 300)
    theirs = binomtest(right, 300).proportion_ci(method="wilson")
    for key in ("accuracy", "uar"):
        found = scores.estimate(key, BOOTSTRAP)
        assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-6)
        assert found.high - found.low > 0.005


def test_the_interval_of_uar_covers_as_often_as_it_says() -> None:
    rng, recalls, sizes = np.random.default_rng(0), np.array([0.99, 0.9, 0.7]), [100, 60, 15]
    covered = 0
    for _ in range(400):
        hits = rng.binomial(sizes, recalls)
        counts = np.concatenate([hits, sizes]).astype(float)
        low, high = wilson(float((hits / sizes).mean()), trials_of(counts, "uar"))
        covered += low <= recalls.mean() <= high
    assert 0.91 <= covered / 400 <= 0.98


def test_where_words_have_no_spaces_cer_is_the_headline(tmp_path: Path) -> None:
    right = ["今天天气很好", "我们 去公园", "สวัสดีครับ"] * 20
    ids = [f"clip{number}" for number in range(len(right))]
    results = []
    for name, cycle in (("start", 0), ("raft", 1)):
        said = [text[:-1] + "x" if cycle == 0 else text.replace(" ", "") for text in right]
        scores = score_texts(ids=ids, references=right, hypotheses=said, normalizer=normalizer("basic"))
        results.append(Result(model(name, cycle), scores))
    assert [metric.key for metric in results[0].scores.metrics] == ["cer", "wer"]
    assert results[1].scores.value("cer") == 0
    columns = task_of(defaults()).columns_of(results[0].scores)
    report.write(tmp_path, results, columns, BOOTSTRAP, split="test", top=3)
    text = (tmp_path / "report.md").read_text()
    assert "CER [95 % interval]" in text
    assert "Words have no spaces" in text
    assert "Cycle 1, the last, is better than the start model: CER 0.0% against" in text
    assert json.loads((tmp_path / "metrics.json").read_text())["cer_before"] == results[0].scores.value("cer")
    for which in (0, 1):
        _, read = read_model(tmp_path / "predictions.parquet", cycle=which)
        assert read.value("cer") == results[which].scores.value("cer")


def test_classes_groups_and_worst_clips_are_those_of_the_last_model() -> None:
    results = label_results(0.6, 0.7)
    text = label_report(results, top=4, division="no speaker in two splits")
    assert "Division into splits: no speaker in two splits." in text
    last = results[1].scores
    classes = cells(text, "## Classes, by cycle 1")
    assert [line[:2] for line in classes] == [[label, "40"] for label in LABELS]
    assert [line[3] for line in classes] == [f"{score.recall:.1%}" for score in last.label_scores.classes]
    assert [line[:2] for line in cells(text, "## By speaker")] == [[f"s{number}", "30"] for number in range(4)]
    assert "## By one" not in text, "a group of one value says nothing"
    many = [replace(each, scores=replace(each.scores, groups={"room": list(last.ids)})) for each in results]
    rooms = cells(label_report(many, top=4), "## By room")
    assert [line[3] for line in rooms] == ["0.0%"] * 4
    worst = cells(text, "## Worst clips of cycle 1")
    assert [line[0] for line in worst] == [row["id"] for row in report.worst(last, top=4)]
    assert "None: every clip" in label_report(label_results(1.0))


def test_labels_without_test_clips_and_a_single_one_are_said() -> None:
    some = labels(0.7).part(np.flatnonzero(np.arange(CLIPS) % 3 < 2).tolist())
    text = label_report([Result(model("start"), some)])
    assert "Labels without a test clip, 1, are left out of UAR, macro F1 and AUC: sad." in text
    text = label_report([Result(model("start"), labels(0.7, references=["joy"] * len(IDS)))])
    assert "No kappa: all references are 'joy'." in text
    assert cells(text, "## Further measures")[0][4:7] == ["–", "–", "–"]


def test_clips_are_chosen_for_a_reason() -> None:
    """Worst of the last model, right ones, those that it mends and those that it loses; random ones by the seed."""
    first, last = labels(0.6, 50), labels(0.7, 1)
    results = [Result(model("start"), first), Result(model("raft", 1), last)]
    why = report.chosen_clips(results, seed=0)
    at = {name: place for place, name in enumerate(first.ids)}

    def of(reason: str) -> list[int]:
        return [at[name] for name, reasons in why.items() if reason in reasons]

    assert all(last.correct[of("most improved")] & ~first.correct[of("most improved")])
    assert all(first.correct[of("newly broken")] & ~last.correct[of("newly broken")])
    assert min(last.clip_errors[of("worst")]) >= sorted(last.clip_errors)[-report.CHOSEN]
    assert len(of("random")) == len(of("worst")) == report.CHOSEN
    assert of("random") != [at[name] for name, each in report.chosen_clips(results, seed=1).items() if "random" in each]
    wrong = report.chosen_clips([text_result("start", 0, 10), text_result("raft", 1, 4)], seed=0)
    assert sorted(name for name, reasons in wrong.items() if "worst" in reasons)[:4] == IDS[:4]
    assert {name for name, reasons in wrong.items() if "most improved" in reasons} == set(IDS[4:10])
    assert not any("newly broken" in reasons for reasons in wrong.values())
