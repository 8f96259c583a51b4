import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from soundraft.evaluation import classification_report, predictions, scores
from soundraft.evaluation.classification_report import MAJORITY, SVM, Row, report, summary, verdicts
from soundraft.evaluation.report import Bootstrap
from soundraft.evaluation.scores import Predicted, predicted

LABELS = ["anger", "joy", "sad"]
BOOTSTRAP = Bootstrap(samples=200, seed=0)
CLIPS = 120


def answers(share: float, seed: int = 0) -> Predicted:
    """Exactly this share of the answers is right."""
    rng = np.random.default_rng(seed)
    right = np.arange(CLIPS) % 3
    told = np.where(rng.permutation(CLIPS) < share * CLIPS, right, (right + rng.integers(1, 3, CLIPS)) % 3)
    shares = rng.dirichlet(np.ones(3), CLIPS)
    shares[np.arange(CLIPS), told] += 1
    return predicted(
        [f"clip{number:03d}" for number in range(CLIPS)],
        shares / 2,
        LABELS,
        target="emotion",
        references=[LABELS[place] for place in right],
        groups={"speaker": [f"s{number % 4}" for number in range(CLIPS)], "one": ["same"] * CLIPS},
    )


def chain(start: float, *cycles: float, svm: float = 0.5, **controls: float) -> list[Row]:
    trained = [Row("trained", "raft", number, answers(share, number)) for number, share in enumerate(cycles, 1)]
    own = [Row(name, name, number, answers(share)) for name, share in controls.items() for number in (1, 2)]
    first = answers(start, 50)
    return [
        Row("start", "start", 0, first),
        *trained,
        Row(MAJORITY, MAJORITY, 0, scores.majority(["joy", "joy", "sad"], first)),
        Row(SVM, SVM, 0, answers(svm, 60)),
        *own,
    ]


def table(text: str, heading: str) -> list[list[str]]:
    after = text.split(heading)[1].split("\n\n")
    lines = next(part for part in after if part.startswith("|")).splitlines()
    assert len({len(line) for line in lines}) == 1, "columns stand under each other"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_has_every_cycle_then_controls_machine_and_majority() -> None:
    rows = chain(0.6, 0.7, 0.8, sft=0.65, random=0.4)
    cells = table(report(rows, BOOTSTRAP, top=5), "# Emotion")
    assert [line[:2] for line in cells] == [
        ["start model", "0"],
        ["RAFT", "1"],
        ["RAFT", "2"],
        ["control: supervised on references", "2"],
        ["control: a random one of K, no reward", "2"],
        ["control: statistics SVM", "–"],
        ["control: majority class", "–"],
    ]
    last = rows[2].predicted
    assert cells[2][2].startswith("80.0% [")
    assert cells[2][3].startswith(f"{balanced_accuracy_score(last.known, last.predictions):.1%} [")
    assert cells[2][4] == f"{f1_score(last.known, last.predictions, average='macro'):.1%}"
    assert cells[2][5] == f"{scores.label_scores(last).ece:.3f}"
    assert cells[6][2].startswith("33.3% [")


def test_a_better_machine_is_said_and_whether_it_may_be_luck() -> None:
    clear = verdicts(chain(0.5, 0.6, svm=0.9), BOOTSTRAP)[0]
    assert clear.startswith("**The statistics SVM is better than the model** (cycle 1): accuracy 90.0% against 60.0%")
    assert "+30.0 points [+" in clear
    assert "the interval excludes 0" in clear
    close = verdicts(chain(0.5, 0.6, svm=0.625), BOOTSTRAP)[0]
    assert close.startswith("**The statistics SVM is better")
    assert "may be luck" in close
    worse = verdicts(chain(0.5, 0.9, svm=0.6), BOOTSTRAP)[0]
    assert worse.startswith("The model (cycle 1) is better than the statistics SVM: accuracy 90.0% against 60.0%")
    assert "equally accurate" in verdicts(chain(0.5, 0.6, svm=0.6), BOOTSTRAP)[0]


def test_that_no_cycle_beats_the_start_is_said() -> None:
    none = verdicts(chain(0.8, 0.8, 0.7), BOOTSTRAP)[-1]
    assert none.startswith("**No cycle beats the supervised start.** Of the last: accuracy 70.0% against 80.0%, -10.0")
    assert none.endswith("The best, cycle 1, has 80.0%.")
    gained = verdicts(chain(0.6, 0.7, 0.9), BOOTSTRAP)[-1]
    assert gained.startswith("Cycle 2, the last, is better than the start model: accuracy 90.0% against 60.0%")
    fallen = verdicts(chain(0.6, 0.9, 0.5), BOOTSTRAP)[-1]
    assert fallen.startswith("Cycle 2, the last, is not better than the start model")
    assert "cycle 1, has 90.0%" in fallen
    alone = verdicts(chain(0.8), BOOTSTRAP)
    assert [line[:40] for line in alone] == ["The model (the start model) is better th"]


def test_a_control_as_good_as_the_cycles_and_the_majority_class_are_named() -> None:
    told = "\n".join(verdicts(chain(0.2, 0.3, svm=0.1, sft=0.5, random=0.1), BOOTSTRAP))
    assert (
        "The control “supervised on references” is as good as cycle 1, or better: accuracy 50.0% against 30.0%" in told
    )
    assert "**The model is no better than the majority class**: accuracy 33.3% against 30.0%" in told
    assert "a random one" not in told


def test_classes_groups_and_worst_clips_are_those_of_the_last_model() -> None:
    rows = chain(0.6, 0.7)
    text = report(rows, BOOTSTRAP, top=4, division="no speaker in two splits")
    assert "Division into splits: no speaker in two splits." in text
    found = scores.label_scores(rows[1].predicted)
    classes = table(text, "## Classes, by cycle 1")
    assert [line[:2] for line in classes] == [[label, "40"] for label in LABELS]
    assert [line[3] for line in classes] == [f"{score.recall:.1%}" for score in found.classes]
    speakers = table(text, "## By speaker")
    assert [line[:2] for line in speakers] == [[f"s{number}", "30"] for number in range(4)]
    assert "## By one" not in text, "a group of one value says nothing"
    many = replace(rows[1].predicted, groups={"room": rows[1].predicted.ids})
    rooms = table(report([*rows[:1], replace(rows[1], predicted=many)], BOOTSTRAP, top=4), "## By room: the 4 least")
    assert [line[3] for line in rooms] == ["0.0%"] * 4
    worst = table(text, "## Worst clips of cycle 1")
    assert [line[0] for line in worst] == [clip.id for clip in scores.worst(rows[1].predicted, top=4)]
    assert "None: every clip is told rightly." in report(chain(1.0), BOOTSTRAP, top=4)


def test_labels_without_test_clips_and_a_single_one_are_said() -> None:
    whole = answers(0.7)
    own = [number for number in range(CLIPS) if whole.known[number] != "sad"]
    some = predicted(
        [whole.ids[number] for number in own], whole.probabilities[own], LABELS,
        references=[whole.known[number] for number in own],
    )  # fmt: skip
    text = report([Row("start", "start", 0, some)], BOOTSTRAP, top=3)
    assert "Labels without a test clip, 1, are left out of UAR, macro F1 and AUC: sad." in text
    one = replace(some, references=["joy"] * len(own))
    text = report([Row("start", "start", 0, one)], BOOTSTRAP, top=3)
    assert "No kappa: all references are 'joy'." in text
    assert table(text, "## Further measures")[0][4:7] == ["–", "–", "–"]


def test_the_summary_is_flat_short_and_right() -> None:
    rows = chain(0.6, 0.7, 0.8, sft=0.65)
    numbers = summary(rows, BOOTSTRAP)
    assert len(numbers) == 12
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert (numbers["cycles"], numbers["accuracy_before"], numbers["accuracy_after"]) == (2, 0.6, 0.8)
    assert numbers["accuracy_after_low"] < 0.8 < numbers["accuracy_after_high"]
    assert (numbers["svm_accuracy"], numbers["majority_accuracy"]) == (0.5, pytest.approx(1 / 3))
    assert summary(rows[:1], BOOTSTRAP)["accuracy_after"] == 0.6


def test_the_folder_has_the_report_and_the_answers_of_every_model(tmp_path: Path) -> None:
    rows = chain(0.6, 0.7, 0.8)
    classification_report.write(tmp_path / "one", rows, BOOTSTRAP, top=5)
    classification_report.write(tmp_path / "two", rows, BOOTSTRAP, top=5)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == [
        "classes.csv", "confusions.csv", "metrics.json", "predictions.parquet", "report.md", "worst_clips.csv",
    ]  # fmt: skip
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    again = predictions.read_predictions(tmp_path / "one/predictions.parquet")
    assert again.predictions == rows[2].predicted.predictions
    wrong = list(csv.DictReader((tmp_path / "one/confusions.csv").open()))
    assert sum(int(line["clips"]) for line in wrong) == 24
