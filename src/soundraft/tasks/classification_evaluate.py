"""Every model of a run of audio classification on the test split, and the controls that need no cycle."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from soundraft import files
from soundraft.audio import io
from soundraft.evaluation import classification_report as report
from soundraft.evaluation.classification import Predicted, check_labels, majority, predicted
from soundraft.evaluation.classification_curves import plot_error, write_curves
from soundraft.evaluation.classification_plots import visualize
from soundraft.evaluation.plots import plot_reward
from soundraft.evaluation.report import START, TRAINED, Bootstrap, model_folders
from soundraft.evaluation.statistics_svm import fit_control
from soundraft.manifest import QUARANTINE_NAME, Rejected, check_bad_fraction
from soundraft.models.classifier import AudioClassifier
from soundraft.models.classifier_files import load_classifier
from soundraft.parallel import progress_over
from soundraft.params.sections import Params
from soundraft.tasks.classification import predict
from soundraft.tasks.classification_start import CURVES
from soundraft.tasks.labelled import Heard, LabelledClips, from_dataset, hear, resampled
from soundraft.tracking import Tracker

PICTURES = ("confusion_matrix", "calibration", "roc_curves", "precision_recall", "frequency_vs_f1",
            "confidence_thresholding")  # fmt: skip


def evaluate(params: Params, chains: Path, dataset: Path, out: Path, tracker: Tracker) -> str:
    """Write report, pictures, predictions and errors of all models in `chains`; the report's head, for a person."""
    options, target = params.evaluate, params.classification.target
    train, test = from_dataset(dataset / "target", "train"), from_dataset(dataset / "target", "test")
    rows, rejected = _rows(params, chains, train, test)
    bootstrap = Bootstrap(options.bootstrap_samples, params.seed)
    report.write(out, rows, bootstrap, top=options.table_rows, division=speakers_shared(train, test))
    files.write_jsonl(out / QUARANTINE_NAME, map(vars, rejected))
    write_curves(out / "curves.csv", rows, bootstrap)
    plot_error(out / "error.png", rows, bootstrap)
    last = report.last_trained(rows).predicted
    notes = {visualize(name, out / f"{name}.png", given=last) for name in PICTURES} - {""}
    history = read_curves(chains / "base" / CURVES)
    visualize("learning_curves", out / "learning_curves.png", history=history)
    cycles = {
        int(path.parent.name): files.read_json(path) for path in sorted(chains.glob("raft/[0-9][0-9]/metrics.json"))
    }
    plot_reward(out / "reward.png", cycles)
    for row in rows:
        name = "raft" if row.chain in (START, TRAINED) else row.chain
        tracker.metrics({f"{name}/accuracy": row.accuracy}, step=row.cycle)
    for cycle, numbers in cycles.items():
        tracker.missing_metrics({f"raft/{key}": value for key, value in numbers.items()}, step=cycle)
    tracker.files(out)
    text = (out / "report.md").read_text(encoding="utf-8")
    said = [text.partition("## ")[0].strip(), *(f"note: {note}" for note in notes)]
    return "\n\n".join([f"Test set, {len(rows[0].predicted.ids)} clips, {target}", *said])


def read_curves(path: Path) -> list[dict[str, float]]:
    """The epochs of a training, as the start left them."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def svm(train: LabelledClips, test: Heard, classifier: AudioClassifier, *, target: str) -> Predicted:
    """The control on the statistics of each clip, fitted on the clips that the model learned, asked about the same."""
    learned = hear(train, classifier, target=target, title="which training clips can be used")
    control = fit_control(
        _samples(learned.clips, classifier, "the control's training clips"),
        learned.utterances.texts,
        labels=classifier.labels,
        sample_rate_hz=classifier.sample_rate_hz,
    )
    probabilities = control.probabilities(_samples(test.clips, classifier, "the control's test clips"))
    return predicted(
        test.utterances.ids, probabilities, classifier.labels, target=target, references=test.utterances.texts,
        paths=test.clips.paths, groups=test.clips.groups(but=target),
    )  # fmt: skip


def _rows(
    params: Params, chains: Path, train: LabelledClips, test: LabelledClips
) -> tuple[list[report.Row], list[Rejected]]:
    """Of every model and of the controls, and the test clips that could not be used."""
    target = params.classification.target
    rows = []
    classifier = load_classifier(chains / "base")
    heard = hear(test, classifier, target=target, title="features of test")  # made once: all models are akin
    check_bad_fraction(len(heard.clips), heard.rejected, params.limits.max_bad_fraction)
    check_labels(classifier.labels, heard.utterances.texts, split="test")
    for chain, cycle, folder in model_folders(chains):
        classifier = load_classifier(folder)
        algorithm = params.train.algorithm if chain == TRAINED else chain
        found = predict(classifier, heard, target=target, title=f"test, {chain} {cycle}")
        rows.append(report.Row(chain, algorithm, cycle, found))
    control = svm(train, heard, classifier, target=target)
    shares = majority(train.known_labels(target), rows[0].predicted)
    rows += [report.Row(report.SVM, report.SVM, 0, control), report.Row(report.MAJORITY, report.MAJORITY, 0, shares)]
    return rows, heard.rejected


def _samples(clips: LabelledClips, classifier: AudioClassifier, title: str) -> Iterator[np.ndarray]:
    """What the classifier hears of each clip, `[N]`; of several channels that it hears side by side their mean."""
    for index in progress_over(range(len(clips)), total=len(clips), title=title, unit="clip"):
        heard = classifier.heard(resampled(classifier, *io.parse(clips.audio(index))))
        yield heard if heard.ndim == 1 else heard.mean(1)


def speakers_shared(train: LabelledClips, test: LabelledClips) -> str:
    """Whether speakers of the test clips are heard in training, in words."""
    known, tested = ({str(facts["speaker"]) for facts in clips.facts if "speaker" in facts} for clips in (train, test))
    return division_of(known, tested)


def division_of(train: set[str], test: set[str]) -> str:
    """How train and test are related by their speakers, in words."""
    if not train or not test:
        return "speakers are not known"
    shared = len(train & test)
    return f"{shared} of {len(test)} test speakers are heard in training" if shared else "no speaker in train and test"
