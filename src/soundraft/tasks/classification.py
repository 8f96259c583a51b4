"""Audio classification: where its models, metrics and data meet."""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from soundraft import distributed, files, runtime
from soundraft.audio import io
from soundraft.audio.features import Alteration
from soundraft.clips.base import Heard, LabelledClips, compute_features, from_dataset, hear, inputs_of, resampled
from soundraft.clips.batches import Utterances
from soundraft.clips.decoding import decode, transcribe
from soundraft.evaluation import report
from soundraft.evaluation.benchmark import timed
from soundraft.evaluation.label_plots import PICTURES, draw, learning_curves
from soundraft.evaluation.plots import plot_error, plot_reward, save_figure
from soundraft.evaluation.report import write_csv
from soundraft.evaluation.results import MAJORITY, SVM, Result, last_trained, model_folders
from soundraft.evaluation.scores import Scores, check_labels, check_training, majority, score_labels
from soundraft.evaluation.svm import fit_svm
from soundraft.manifest import QUARANTINE_NAME, Rejected, Split, check_bad_fraction
from soundraft.metrics import labels as calibration
from soundraft.metrics.labels import codes, label_counts, log_losses, mean_recall, recall_error
from soundraft.metrics.resampling import Bootstrap
from soundraft.models.base import Recognizer
from soundraft.models.classifier import AudioClassifier, build, load_classifier
from soundraft.models.networks import HEAD_KEYS, SideInput, fit_side_input, is_number_or_missing
from soundraft.models.pretrained import PRETRAINED
from soundraft.parallel import BadClip, progress_over
from soundraft.params.classification import Classification, EncoderParams
from soundraft.params.sections import Params
from soundraft.rewards.base import Verifier
from soundraft.rewards.labels import LabelReward
from soundraft.runtime import UserError
from soundraft.tasks.steps import Rules
from soundraft.tracking import Tracker
from soundraft.training.augment import Augmentation, Augmenter
from soundraft.training.learner import (
    Augment,
    EpochRow,
    EpochsReport,
    Judgement,
    Optimizing,
    Schedule,
    class_weights,
    epoch_batches,
    fit_epochs,
    spoken,
)


@dataclass(frozen=True)
class Prepared:
    """All that a training needs.

    Attributes:
        classifier: not trained yet.
        learned, judged: the clips of train and validation, heard.
    """

    classifier: AudioClassifier
    learned: Heard
    judged: Heard


@dataclass(frozen=True)
class Fitted:
    """A trained classifier and how it came about.

    Attributes:
        validation: its answers on the validation clips, by which epoch and calibration were chosen.
        rejected: clips of both splits that could not be used.
        contents: of the others, id → `content_of` their audio.
    """

    classifier: AudioClassifier
    report: EpochsReport
    validation: Scores
    rejected: list[Rejected] = field(default_factory=list)
    contents: dict[str, str] = field(default_factory=dict)


def fit(
    train: LabelledClips,
    validation: LabelledClips,
    options: Classification,
    *,
    seed: int,
    max_bad_fraction: float,
    after_epoch: Callable[[EpochRow], None] | None = None,
) -> Fitted:
    """Train a classifier: weights of the epoch with the best macro recall on validation, calibrated there.

    Raises:
        UserError: as `prepare`.
    """
    prepared = prepare(train, validation, options, seed=seed, max_bad_fraction=max_bad_fraction)
    return learn(prepared, options, seed=seed, after_epoch=after_epoch)


def prepare(
    train: LabelledClips, validation: LabelledClips, options: Classification, *, seed: int, max_bad_fraction: float
) -> Prepared:
    """Build a classifier and hear the clips that it will learn and be judged by.

    Raises:
        UserError: when there are not two labels, validation has one that training lacks, a setting is not possible, or
            more clips are bad than `max_bad_fraction` allows.
    """
    labels = train.known_labels(options.target)
    check_training(labels)
    if not len(validation):
        raise UserError("validation has no clips: the best epoch and the temperature are found by them")
    check_labels(labels, validation.known_labels(options.target), split="validation")
    runtime.seed_torch(seed)
    classifier = _build(sorted(set(labels)), train, options)
    learned = hear(train, classifier, target=options.target, title="features of train")
    check_bad_fraction(len(learned.clips), learned.rejected, max_bad_fraction)
    judged = hear(validation, classifier, target=options.target, title="features of validation")
    check_bad_fraction(len(judged.clips), judged.rejected, max_bad_fraction)
    _check_every_label(classifier.labels, learned)
    classifier.fit_normalisation(learned.utterances.features)
    return Prepared(classifier, learned, judged)


def learn(
    prepared: Prepared, options: Classification, *, seed: int, after_epoch: Callable[[EpochRow], None] | None = None
) -> Fitted:
    """The training itself, once: it leaves the prepared classifier trained."""
    classifier, learned, judged = prepared.classifier, prepared.learned, prepared.judged
    report = _learn(classifier, learned, judged, options, seed=seed, after_epoch=after_epoch)
    calibrate(classifier, judged.utterances)
    told = predict(classifier, judged, target=options.target)
    contents = learned.contents | judged.contents
    return Fitted(classifier, report, told, learned.rejected + judged.rejected, contents)


def calibrate(classifier: AudioClassifier, clips: Utterances) -> None:
    """Fit the temperature to clips that it has not learned."""
    right = codes(clips.texts, classifier.labels)
    classifier.temperature = calibration.fit_temperature(_logits(classifier, clips), right)


def predict(classifier: AudioClassifier, heard: Heard, *, target: str, title: str = "predict") -> Scores:
    """The calibrated answers on clips with features; references where the clips have them."""
    found = answers(classifier, heard.utterances, target=target, title=title)
    return replace(found, paths=heard.clips.paths, groups=heard.clips.groups(but=target))


def answers(classifier: AudioClassifier, clips: Utterances, *, target: str, title: str) -> Scores:
    """The calibrated answers on clips, whose texts are the references; where all are empty there are none."""
    probabilities = calibration.tempered(_logits(classifier, clips, title=title), classifier.temperature)
    references = clips.texts if any(clips.texts) else None
    return score_labels(clips.ids, probabilities, classifier.labels, target=target, references=references)


def augmenter(
    classifier: AudioClassifier, augment: Mapping[str, Any], *, weights: dict[str, float] | None, seed: int
) -> Augmenter:
    """What clips go through when this classifier learns them; `augment` is that section of the params.

    Only the columns of some features are levels of bands, which a gain moves alike, or stand in the order of their
    frequencies, so that they can be warped.
    """
    mean, std = classifier.normalisation()
    how = Augmentation(**augment)
    return Augmenter(
        how if classifier.front.decibels else replace(how, gain=0.0, equalizer_db=0.0, background=0.0),
        mean=mean, std=std, labels=classifier.labels, weights=weights, bands=classifier.front.bands,
        decibels=classifier.front.decibels,
        seed=runtime.derive_seed(seed, "augment"),
    )  # fmt: skip


def side_inputs(clips: LabelledClips, inputs: Sequence[str]) -> list[SideInput]:
    """What `name:type` says, with vocabulary, or mean and deviation, of these clips.

    A clip whose number is none has no part in it: `hear` sets it aside.

    Raises:
        UserError: when no clip has the input, or none a number.
    """
    found = []
    for name, kind in (item.rsplit(":", 1) for item in inputs):
        values = clips.values(name)
        usable = [value for value in values if kind != "number" or is_number_or_missing(value)]
        if not any(value is not None for value in usable):
            first = next(place for place, value in enumerate(values) if value is not None)
            raise UserError(f"input {name}: no training clip has a number; {clips.ids[first]} has {values[first]!r}")
        found.append(fit_side_input(name, kind, usable))
    return found


def encoder_settings(encoder: EncoderParams) -> dict[str, object]:
    """The chosen encoder with its own knobs and those of what stands behind it."""
    head = {key: getattr(encoder, key) for key in HEAD_KEYS}
    if encoder.type in PRETRAINED:  # which always is one network
        return {"type": encoder.type, **head, **encoder.pretrained.model_dump()}
    knobs = getattr(encoder, encoder.type).model_dump()
    return {"type": encoder.type, "members": encoder.members, **head, **knobs}


def _build(labels: list[str], train: LabelledClips, options: Classification) -> AudioClassifier:
    if options.target in {item.rsplit(":", 1)[0] for item in options.inputs}:
        raise UserError(f"classification.inputs: {options.target} is what is to be told")
    return build(
        labels,
        features=options.features.model_dump(),
        encoder=encoder_settings(options.encoder),
        side=side_inputs(train, options.inputs),
        channel=options.channel,
        channels=_channels(train) if options.channel == "all" else 1,
        length_limit_s=options.audio_file_length_limit_in_s,
        level_db=options.level_db,
        target=options.target,
    )


def _channels(clips: LabelledClips) -> int:
    """Of the first clip that can be read."""
    for index in range(len(clips)):
        with suppress(BadClip, FileNotFoundError):  # `hear` names those that cannot
            return int(io.parse(clips.audio(index))[0].shape[1])
    raise UserError(f"none of {len(clips)} training clips can be read")


def _check_every_label(labels: Sequence[str], learned: Heard) -> None:
    lost = sorted(set(labels) - set(learned.utterances.texts))
    if lost:
        raise UserError(
            f"no training clip of {', '.join(map(repr, lost))} can be used: "
            + "; ".join(f"{bad.path}: {bad.reason}" for bad in learned.rejected[:10])
        )


def _learn(
    classifier: AudioClassifier,
    learned: Heard,
    judged: Heard,
    options: Classification,
    *,
    seed: int,
    after_epoch: Callable[[EpochRow], None] | None,
) -> EpochsReport:
    trainer, clips = options.trainer, learned.utterances
    right = codes(judged.utterances.texts, classifier.labels)

    def macro_recall() -> Judgement:
        logits = _logits(classifier, judged.utterances)
        sums = label_counts(right, logits.argmax(1) == right).sum(0)
        # calibrated, for how sure an epoch is says nothing of how good it is
        sure = calibration.tempered(logits, calibration.fit_temperature(logits, right))
        return Judgement(float(mean_recall(sums)), recall_error(sums), log_losses(right, sure))

    weights = class_weights(clips.texts, trainer.class_weights)
    return fit_epochs(
        classifier,
        spoken(clips.features, clips.texts),
        epochs=trainer.epochs,
        batches=epoch_batches(
            trainer.sampling, lengths=clips.lengths, labels=clips.texts, batch_size=trainer.batch_size, seed=seed
        ),
        schedule=Schedule(trainer.learning_rate, trainer.warmup_share, trainer.final_lr_share),
        optimizing=Optimizing(trainer.weight_decay, trainer.max_grad_norm, 1),
        validate=macro_recall,
        patience=trainer.early_stop,
        augment=augmenter(classifier, options.augment.model_dump(), weights=weights, seed=seed),
        average_decay=trainer.average_decay,
        after_epoch=after_epoch,
        title="train",
    )


def _logits(classifier: AudioClassifier, clips: Utterances, *, title: str = "validate") -> np.ndarray:
    """`[N, C]`, float64, before calibration."""
    rows = decode(classifier, clips, lambda encoded, _: list(encoded), title=title)
    return torch.stack(rows).double().numpy() if rows else np.zeros((0, len(classifier.labels)))


# Audio classification before RAFT: quality of the start model, its speed and memory on this machine.


def baseline(params: Params, model: Path, dataset: Path) -> tuple[dict[str, float], dict[str, Any], str]:
    """Quality, what the machine has to do with it, and both for a person."""
    classifier = load_classifier(model)
    target = params.classification.target
    heard = hear(from_dataset(dataset / "target", "validation"), classifier, target=target, title="features")
    scores = predict(classifier, heard, target=target)
    quality = {**scores.values("validation"), "ece_validation": scores.label_scores.ece}
    options = params.benchmark
    machine = _speed(classifier, heard, clips=options.clips, warmup=options.warmup, repeats=options.repeats)
    machine |= {"peak_memory_gib": runtime.peak_memory_bytes() / 2**30}
    told = (
        f"accuracy {scores.value('accuracy'):.1%}, UAR {scores.value('uar'):.1%} (validation); "
        f"{machine['clips_per_s']:.0f} clips/s from audio to label, {machine['network_clips_per_s']:.0f} with features "
        f"at hand; latency p50 {1000 * machine['latency_p50_s']:.1f} ms"
    )
    return quality, machine, told


def _speed(classifier: AudioClassifier, heard: Heard, *, clips: int, warmup: int, repeats: int) -> dict[str, Any]:
    """Medians over the repeats: from the bytes of audio files to labels, one clip at a time; the network in batches."""
    part = heard.clips.part(range(min(clips, len(heard.clips))))
    audio = [part.audio(index) for index in range(len(part))]

    def work(index: int) -> None:
        features = compute_features(classifier, *io.parse(audio[index]))
        whole = classifier.with_side(features, inputs_of(part.facts[index], classifier))
        classifier.greedy(classifier.encode([whole]))

    network = partial(transcribe, classifier, heard.utterances.part(range(len(part))))
    alone, batched = timed(
        [partial(work, index) for index in range(len(part))], [network], warmup=warmup, repeats=repeats
    )
    return {
        "latency_p50_s": float(np.median(np.median(alone, axis=1))),
        "clips_per_s": len(part) / float(np.median(alone.sum(1))),
        "network_clips_per_s": len(part) / float(np.median(batched)),
    }


# The supervised start of audio classification: a classifier trained on the corpus's train split.


CURVES = "learning_curves.csv"


def start(params: Params, dataset: Path, out: Path, tracker: Tracker) -> str:
    """Train on a dataset that s5 built, and write model, curves and metrics; what came of it, for a person."""

    def log(row: EpochRow) -> None:
        tracker.metrics({f"epoch/{name}": value for name, value in row.as_dict().items()}, step=row.epoch)

    fitted = fit(
        from_dataset(dataset, "train"),
        from_dataset(dataset, "validation"),
        params.classification,
        seed=params.seed,
        max_bad_fraction=params.limits.max_bad_fraction,
        after_epoch=log,
    )
    found, report = fitted.validation.label_scores, fitted.report
    metrics = {
        **fitted.validation.values("validation"),
        "ece_validation": found.ece,
        "temperature": fitted.classifier.temperature,
        "parameters": sum(weights.numel() for weights in fitted.classifier.model.parameters()),
        "epochs": len(report.history),
        "best_epoch": report.best_epoch,
    }
    if distributed.is_main():
        fitted.classifier.save(out)
        files.write_json(out / "metrics.json", metrics)
        curves = [{key: value for key, value in row.as_dict().items() if key != "seconds"} for row in report.history]
        write_csv(out / CURVES, curves)
        files.write_jsonl(out / QUARANTINE_NAME, map(vars, fitted.rejected))
    tracker.metrics(metrics)
    stopped = "stopped early" if report.stopped_early else "all"
    return (
        f"accuracy {found.accuracy:.1%}, UAR {found.macro.recall:.1%} on {found.clips} validation clips "
        f"(epoch {report.best_epoch} of {len(report.history)}, {stopped})"
    )


# What a cycle improves in audio classification: classifiers, judged by the right label.


class Judged:
    """The `Subject` of a cycle of classification.

    Args:
        target: the fact that is told.
        labels: all there are.
        reward: the section `reward.labels` of the params.
        augment: the section `classification.augment`.
    """

    measured: Sequence[str] = ("target",)
    altered: Sequence[Alteration] = ()

    def __init__(
        self, target: str, labels: Sequence[str], *, reward: Mapping[str, Any], augment: Mapping[str, Any]
    ) -> None:
        self.target = target
        # the samples of a later round depend on how the clips of an earlier one were altered
        told_apart = (target, list(labels), sorted(reward.items()), sorted(augment.items()))
        self.judged_by = hashlib.sha256(repr(told_apart).encode()).hexdigest()
        aliases: dict[str, list[str]] = defaultdict(list)
        for pair in reward["aliases"]:
            label, _, alias = pair.partition("=")
            aliases[label].append(alias)
        names = {key: reward[key] for key in ("ignore_case", "fuzzy_threshold")}
        try:
            self.verifier: Verifier = LabelReward(labels=labels, aliases=aliases, **names)
        except UserError as error:
            raise UserError(f"reward.labels (ignore_case, aliases): {error}") from error
        self._augment = dict(augment)

    def load_model(self, folder: Path) -> Recognizer:
        return load_classifier(folder)

    def load_clips(
        self,
        dataset: Path,
        split: Split,
        recognizer: Recognizer,
        *,
        indices: Sequence[int] | None = None,
        altered: Alteration | None = None,
    ) -> Utterances:
        clips = from_dataset(dataset, split)
        title = f"features {dataset.name}/{split}"
        heard = hear(
            clips if indices is None else clips.part(indices), _classifier(recognizer), target=self.target, title=title
        )
        check_labels(_classifier(recognizer).labels, heard.utterances.texts, split=split)
        return heard.utterances

    def augment(self, recognizer: Recognizer, seed: int) -> Augment | None:
        return augmenter(_classifier(recognizer), self._augment, weights=None, seed=seed)

    def validate(self, recognizer: Recognizer, clips: Utterances, corpus: str) -> dict[str, float]:
        """As the protocol says; by the target's clips the model is also calibrated anew, its weights are others now."""
        classifier = _classifier(recognizer)
        if corpus == "target":
            calibrate(classifier, clips)
        scores = answers(classifier, clips, target=self.target, title=f"validate {corpus}")
        return scores.values(f"{corpus}_validation")

    def describe(self, metrics: Mapping[str, Any]) -> str:
        accuracy, uar = (metrics.get(f"{name}_target_validation") for name in ("accuracy", "uar"))
        return "" if accuracy is None else f"accuracy {accuracy:.1%}, UAR {uar:.1%}"


def rules(params: Params, dataset: Path) -> Rules:
    """Of a cycle of the pipeline, on a dataset that s5 built."""
    target = params.classification.target
    labels = sorted(set(from_dataset(dataset / "target", "train").known_labels(target)))
    subject = Judged(
        target, labels, reward=params.reward.labels.model_dump(), augment=params.classification.augment.model_dump()
    )
    # the start corpus is the target itself: to replay it would be to learn the references beside the samples
    own = {"learning_rate": params.classification.trainer.cycle_learning_rate, "replay_fraction": 0.0}
    return Rules.of(subject, params.train.model_dump() | own, seed=params.seed)


def _classifier(recognizer: Recognizer) -> AudioClassifier:
    return cast(AudioClassifier, recognizer)


# Every model of a run of audio classification on the test split, and the controls that need no cycle.


def evaluate(params: Params, chains: Path, dataset: Path, out: Path, tracker: Tracker) -> str:
    """Write report, pictures, predictions and errors of all models in `chains`; the report's head, for a person."""
    options, target = params.evaluate, params.classification.target
    train, test = from_dataset(dataset / "target", "train"), from_dataset(dataset / "target", "test")
    results, rejected = _results(params, chains, train, test)
    bootstrap, top = Bootstrap(options.bootstrap_samples, params.seed), options.table_rows
    text = report.label_report(results, bootstrap, top=top, division=speakers_shared(train, test))
    report.write(out, results, report.LABEL_COLUMNS, bootstrap, text=text, top=top)
    files.write_jsonl(out / QUARANTINE_NAME, map(vars, rejected))
    plot_error(out / "error.png", results, report.LABEL_COLUMNS, bootstrap)
    last = last_trained(results).scores
    notes = {draw(name, out / f"{name}.png", last) for name in PICTURES} - {""}
    save_figure(learning_curves(read_curves(chains / "base" / CURVES)), out / "learning_curves.png")
    cycles = {
        int(path.parent.name): files.read_json(path) for path in sorted(chains.glob("raft/[0-9][0-9]/metrics.json"))
    }
    plot_reward(out / "reward.png", cycles)
    report.track(tracker, results, report.LABEL_COLUMNS)
    for cycle, numbers in cycles.items():
        tracker.missing_metrics({f"raft/{key}": value for key, value in numbers.items()}, step=cycle)
    tracker.files(out)
    said = [text.partition("## ")[0].strip(), *(f"note: {note}" for note in notes)]
    return "\n\n".join([f"Test set, {len(results[0].scores)} clips, {target}", *said])


def read_curves(path: Path) -> list[dict[str, float]]:
    """The epochs of a training, as the start left them."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def svm(train: LabelledClips, test: Heard, classifier: AudioClassifier, *, target: str) -> Scores:
    """The predictions of the baseline, fitted to the clips that the model learned."""
    learned = hear(train, classifier, target=target, title="which training clips can be used")
    fitted = fit_svm(
        _samples(learned.clips, classifier, "the SVM's training clips"),
        learned.utterances.texts,
        labels=classifier.labels,
        sample_rate_hz=classifier.sample_rate_hz,
    )
    probabilities = fitted.probabilities(_samples(test.clips, classifier, "the SVM's test clips"))
    return score_labels(
        test.utterances.ids, probabilities, classifier.labels, target=target, references=test.utterances.texts,
        paths=test.clips.paths, groups=test.clips.groups(but=target),
    )  # fmt: skip


def _results(
    params: Params, chains: Path, train: LabelledClips, test: LabelledClips
) -> tuple[list[Result], list[Rejected]]:
    """Of every model and of the controls, and the test clips that could not be used."""
    target = params.classification.target
    results = []
    classifier = load_classifier(chains / "base")
    heard = hear(test, classifier, target=target, title="features of test")  # made once: all models are akin
    check_bad_fraction(len(heard.clips), heard.rejected, params.limits.max_bad_fraction)
    check_labels(classifier.labels, heard.utterances.texts, split="test")
    for model, folder in model_folders(chains, params.train.algorithm):
        classifier = load_classifier(folder)
        scores = predict(classifier, heard, target=target, title=f"test, {model.chain} {model.cycle}")
        results.append(Result(model, scores))
    control = svm(train, heard, classifier, target=target)
    shares = majority(train.known_labels(target), results[0].scores)
    return [*results, Result.baseline(SVM, control), Result.baseline(MAJORITY, shares)], heard.rejected


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
