"""Audio classification: audio in, a label or a set of labels out; the reward is how near it is to the right one."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import soxr
import torch

from soundraft import distributed, files, runtime
from soundraft.audio import io
from soundraft.audio.features import AudioPerturbation
from soundraft.clips.base import Clips, Facts, Featurizer, Loaded, Reading, label_of, label_set_of
from soundraft.clips.batches import Utterances, decode
from soundraft.evaluation.results import MAJORITY, SVM, Column, Result
from soundraft.evaluation.scores import METRICS, Scores, check_labels, check_training, majority, score_labels
from soundraft.evaluation.svm import fit_svm
from soundraft.manifest import Rejected
from soundraft.metrics.labels import (
    codes,
    every_label,
    fit_temperature,
    indicators,
    label_counts,
    log_losses,
    log_probability_of_sets,
    mean_average_precision,
    mean_recall,
    recall_error,
    tempered,
)
from soundraft.metrics.resampling import Bootstrap
from soundraft.models import checkpoints
from soundraft.models.base import Answer, Model
from soundraft.models.checkpoints import is_classifier
from soundraft.models.classifier import AudioClassifier, SetClassifier, build, load_classifier, load_hub_classifier
from soundraft.models.networks import SideInput, fit_side_input, is_number_or_missing
from soundraft.models.pretrained import PRETRAINED, FrozenFront, kind_of
from soundraft.parallel import BadClip, progress_over
from soundraft.params.sections import Params
from soundraft.rewards.base import Verifier
from soundraft.rewards.labels import LabelReward
from soundraft.runtime import UserError
from soundraft.tasks.base import Data, Task
from soundraft.tracking import Tracker
from soundraft.training.augment import Augmenter
from soundraft.training.learner import (
    Augment,
    EpochRow,
    EpochsReport,
    Validation,
    class_weights,
    examples_of,
    fit_epochs,
)

COLUMNS = (
    Column("accuracy", "accuracy [95 % interval]", "accuracy", interval=True,
           entries=("before", "after", "interval", "svm", "majority")),
    Column("uar", "UAR [95 % interval]", "uar", interval=True, entries=("before", "after", "svm")),
    Column("f1_macro", "macro F1", lambda scores: scores.label_scores.macro.f1, entries=("after",)),
    Column("ece", "ECE", lambda scores: scores.label_scores.ece, "{:.3f}", entries=("after",)),
)  # fmt: skip
SET_COLUMNS = (
    Column("map", "mAP [95 % interval]", "map", interval=True,
           entries=("before", "after", "interval", "svm", "majority")),
    Column("auc_macro", "macro AUC", "auc_macro", "{:.3f}", entries=("before", "after", "svm")),
    Column("f1_micro", "micro F1", "f1_micro", entries=("before", "after", "svm", "majority")),
    Column("f1_macro", "macro F1", "f1_macro", entries=("before", "after", "svm")),
    Column("jaccard", "Jaccard", "jaccard", entries=("before", "after", "svm", "majority")),
)  # fmt: skip
SET_METRICS = ("map", "auc_macro", "f1_micro", "f1_macro", "jaccard")
EPOCH_DRAWS = 100  # of the standard error of an epoch's mAP
CURVES = "learning_curves.csv"
SPEAKER = "speaker"
BY_SPEAKER = (
    "Features are z-scored by speaker (normalize_by: speaker): of each test speaker all clips are used together, "
    "without their labels."
)


class Classification(Task):
    metrics: Sequence[str] = ("uar", "accuracy")
    columns = COLUMNS
    reads = ("classification.",)
    rate = "classification.trainer.cycle_learning_rate"

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.options = params.classification
        self.target = self.options.target
        self.sets = self.options.output == "set"
        self.metrics = SET_METRICS if self.sets else type(self).metrics
        self.train = params.train.model_copy(update={"learning_rate": self.options.trainer.cycle_learning_rate})

    @classmethod
    def recognizes(cls, model: str) -> dict[str, Any] | None:
        if not is_classifier(Path(model)):
            kinds = checkpoints.architectures(model)
            hub = any(kind.endswith(("ForSequenceClassification", "ForAudioClassification")) for kind in kinds)
            return {"task": "classification"} if hub else None
        classifier = load_classifier(Path(model))
        inputs = [f"{item.name}:{item.type}" for item in classifier.side]
        return {
            "task": "classification",
            "classification.target": classifier.target,
            "classification.output": classifier.config.output,
            "classification.inputs": inputs,
            "classification.normalize_by": classifier.config.normalize_by,
        }

    @classmethod
    def started_from(cls, model: str | None) -> dict[str, Any]:
        return {} if model is None else {"classification.encoder.pretrained.model": model}

    def suited(self) -> dict[str, Any]:
        """A pretrained encoder that is named alone is of the kind that its configuration names."""
        encoder = self.options.encoder
        if not encoder.pretrained.model or encoder.type in PRETRAINED:
            return {}
        kind = kind_of(encoder.pretrained.model, encoder.pretrained.revision or None)
        return {"classification.encoder.type": kind, "classification.encoder.members": 1}

    @classmethod
    def is_read(cls, key: str) -> bool:
        return super().is_read(key) and key != "train.learning_rate"  # it is trainer.cycle_learning_rate here

    def reading(self) -> Reading:
        numbers = [name for name, kind in _inputs(self.options.inputs) if kind == "number"]
        columns = {name: name for name, _ in _inputs(self.options.inputs)}
        several = self.options.separator if self.sets else ""
        return Reading(self.target, columns=columns, numbers=numbers, several=several)

    def columns_of(self, scores: Scores) -> Sequence[Column]:
        return SET_COLUMNS if scores.sets else self.columns

    def check(self, data: Data) -> list[str]:
        """That there are labels to learn, and that no split has one that training lacks."""
        labels = self._targets(data.target["train"])
        check_training(labels)
        if self.sets:
            _check_separator(every_label(labels), self.options.separator)
        if not len(data.target.get("validation", [])):
            raise UserError("validation has no clips: the best epoch and the temperature are found by them")
        for split, clips in data.target.items():
            found = self._targets(clips)
            check_labels(labels, found, split=split)
            if self.sets and len(clips) and not _can_rank(found):
                raise UserError(f"{split}: no label is in some of its {len(clips)} clips and not in others: no AUC")
        return []

    def _targets(self, clips: Clips) -> list[Any]:
        """The targets of those clips whose target is known; UserError when no clip has it."""
        found = [self.target_of({self.target: value}) for value in clips.values(self.target)]
        return [target for target in found if target is not None]

    def start_model(self, data: Data, out: Path, tracker: Tracker) -> str:
        """Weights of the epoch with the best macro recall on validation, calibrated there."""

        def log(row: EpochRow) -> None:
            tracker.metrics({f"epoch/{name}": value for name, value in vars(row).items()}, step=row.epoch)

        runtime.seed_torch(self.params.seed)
        classifier = self._build(data.target["train"])
        train = data.load(self, classifier, "target", "train")
        validation = data.load(self, classifier, "target", "validation")
        _check_every_label(classifier.labels, train)
        classifier.fit_normalisation(train.utterances.features)
        report = self._fit(classifier, train.utterances, validation.utterances, log)
        self.after_cycle(classifier, validation)
        scores = self.score(classifier, validation, title="validate")
        metrics = {
            **{f"{key}_validation": scores.value(key) for key in self.metrics},
            "ece_validation": scores.label_scores.ece,
            "temperature": classifier.temperature,
            **({"threshold": classifier.threshold} if isinstance(classifier, SetClassifier) else {}),
            "parameters": sum(weights.numel() for weights in classifier.model.parameters()),
            "epochs": len(report.history),
            "best_epoch": report.best_epoch,
        }
        if distributed.is_main():
            classifier.save(out)
            files.write_json(out / "metrics.json", metrics)
            names = {"validation": "mAP"} if self.sets else {}
            rows = [
                {names.get(name, name): each for name, each in vars(row).items() if name != "seconds"}
                for row in report.history
            ]
            files.write_csv(out / CURVES, rows)
        tracker.metrics(metrics)
        stopped = "stopped early" if report.stopped_early else "all"
        keys = SET_METRICS[:3] if self.sets else ("accuracy", "uar")
        shown = ", ".join(f"{METRICS[key].title} {METRICS[key].show(scores.value(key))}" for key in keys)
        return (
            f"{shown} on {len(scores)} validation clips (epoch {report.best_epoch} of {len(report.history)}, {stopped})"
        )

    def load_model(self, folder: Path) -> Model:
        return load_classifier(folder)

    def open_model(self, name: str) -> Model:
        return (
            load_classifier(Path(name)) if is_classifier(Path(name)) else load_hub_classifier(name, self.options.output)
        )

    def featurizer(self, model: Model, perturbation: AudioPerturbation | None = None) -> Featurizer:
        classifier = _classifier(model)

        def finish(features: torch.Tensor, facts: Facts) -> torch.Tensor:
            if classifier.config.normalize_by == SPEAKER and not facts.get(SPEAKER):
                raise BadClip("no speaker, and normalize_by: speaker needs one")
            return classifier.with_side(features, {item.name: facts.get(item.name) for item in classifier.side})

        versions = {"sample_rate_hz": classifier.sample_rate_hz, "soxr": soxr.__version__}
        depends = {**classifier.features_depend_on(), **versions}
        return Featurizer(lambda samples, rate_hz: _features(classifier, samples, rate_hz), depends, finish)

    def target_of(self, facts: Facts) -> Answer | None:
        value = facts.get(self.target)
        return label_set_of(value, self.options.separator) if self.sets else label_of(value)

    def write_answer(self, answer: Any) -> Any:
        return list(answer) if self.sets else answer

    def read_answer(self, value: Any) -> Any:
        return tuple(value) if self.sets else value

    def describe_answer(self, answer: Any) -> str:
        return "; ".join(answer) if self.sets else str(answer)

    def verifier(self, data: Data) -> Verifier:
        labels = sorted(set(every_label(self._targets(data.target["train"]))))
        try:
            return LabelReward(self.params.reward.labels, labels=labels)
        except UserError as error:
            raise UserError(f"reward.labels (ignore_case, aliases): {error}") from error

    def augment(self, model: Model, seed: int) -> Augment | None:
        return self._augmenter(_classifier(model), weights=None, seed=seed)

    def after_cycle(self, model: Model, validation: Loaded) -> None:
        """Calibrate: temperature, and the threshold of sets, fit clips that the model has not learned."""
        classifier, clips = _classifier(model), validation.utterances
        classifier.calibrate(self._logits(classifier, clips), clips.targets)

    def score(self, model: Model, loaded: Loaded, *, title: str) -> Scores:
        classifier, clips = _classifier(model), loaded.utterances
        probabilities = classifier.probabilities(self._logits(classifier, clips, title=title))
        predictions = classifier.chosen(probabilities) if isinstance(classifier, SetClassifier) else None
        return score_labels(
            clips.ids, probabilities, classifier.labels, target=self.target, predictions=predictions, sets=self.sets,
            references=clips.targets if loaded.has_targets else None,
            paths=loaded.clips.paths, groups=loaded.clips.groups(but=self.target),
        )  # fmt: skip

    def baselines(self, data: Data, test: Loaded, model: Model, like: Scores) -> dict[str, Scores]:
        """The SVM on the statistics of each clip, fitted on the clips that the model learned; the majority class."""
        classifier = _classifier(model)
        train = data.load(self, classifier, "target", "train")
        control = fit_svm(
            self._samples(train.clips, classifier, "the SVM's training clips"),
            train.utterances.targets,
            labels=classifier.labels,
            sample_rate_hz=classifier.sample_rate_hz,
            groups=_speakers(classifier, train.clips),
        )
        tested = self._samples(test.clips, classifier, "the SVM's test clips")
        probabilities = control.probabilities(tested, _speakers(classifier, test.clips))
        svm = score_labels(
            like.ids, probabilities, classifier.labels, target=self.target, references=like.references,
            sets=self.sets, paths=test.clips.paths, groups=test.clips.groups(but=self.target),
        )  # fmt: skip
        return {SVM: svm, MAJORITY: majority(train.utterances.targets, like)}

    def findings(self, results: Sequence[Result], bootstrap: Bootstrap) -> list[str]:
        return [BY_SPEAKER] if self.options.normalize_by == SPEAKER else []

    def notes(self, model: Model, *parts: Loaded) -> list[str]:
        """How many clips are longer than the classifier takes."""
        limit_s = _classifier(model).length_limit_s
        durations_s = [seconds for loaded in parts for seconds in loaded.durations_s]
        longer = sum(seconds > limit_s for seconds in durations_s) if limit_s else 0
        are = "is" if longer == 1 else "are"
        cut = f"only the first {limit_s:g} s are used"
        return [f"{longer:,} of {len(durations_s):,} clips {are} longer than {limit_s:g} s: {cut}"] if longer else []

    def load(self, clips: Clips, model: Model, *, title: str, targets: bool = True, **options: Any) -> Loaded:
        loaded = super().load(clips, model, title=title, targets=targets, **options)
        if _classifier(model).config.normalize_by == SPEAKER:
            loaded = _by_speaker(_classifier(model), loaded)
            self._check_bad(len(loaded.clips), loaded.rejected, targets, options.get("max_bad_fraction"))
        if targets:
            check_labels(_classifier(model).labels, loaded.utterances.targets, split=title)
        return loaded

    def _build(self, train: Clips) -> AudioClassifier:
        options = self.options
        if self.target in {name for name, _ in _inputs(options.inputs)}:
            raise UserError(f"classification.inputs: {self.target} is the target")
        if options.normalize_by == self.target:
            raise UserError(f"classification.normalize_by: {self.target} is the target")
        return build(
            sorted(set(every_label(self._targets(train)))),
            options,
            side=_side_inputs(train, options.inputs),
            channels=_channels(train) if options.channel == "all" else 1,
        )

    def _fit(
        self, classifier: AudioClassifier, train: Utterances, validation: Utterances, log: Callable[[EpochRow], None]
    ) -> EpochsReport:
        trainer, seed = self.options.trainer, self.params.seed
        weights: dict[str, float] | None = class_weights(every_label(train.targets), trainer.class_weights)
        if isinstance(classifier, SetClassifier):
            given, weights = weights or {}, None
            if trainer.class_weights != "none":
                classifier.weights = torch.tensor([given[label] for label in classifier.labels])
            validate = self._set_validation(classifier, validation)
        else:
            validate = self._validation(classifier, validation)
        report = fit_epochs(
            classifier,
            examples_of(train.features, train.targets),
            trainer,
            seed=seed,
            validate=validate,
            augment=self._augmenter(classifier, weights=weights, seed=seed),
            after_epoch=log,
        )
        if isinstance(classifier, SetClassifier):
            classifier.weights = None
        return report

    def _validation(self, classifier: AudioClassifier, validation: Utterances) -> Callable[[], Validation]:
        right = codes(validation.targets, classifier.labels)

        def macro_recall() -> Validation:
            logits = self._logits(classifier, validation)
            counts = label_counts(right, logits.argmax(1) == right).sum(0)
            # calibrated, for how sure an epoch is does not show how good it is
            sure = tempered(logits, fit_temperature(logits, right))
            return Validation(float(mean_recall(counts)), recall_error(counts), log_losses(right, sure))

        return macro_recall

    def _set_validation(self, classifier: SetClassifier, validation: Utterances) -> Callable[[], Validation]:
        right, ones = indicators(validation.targets, classifier.labels), np.ones((1, len(validation)))
        bootstrap = Bootstrap(EPOCH_DRAWS, self.params.seed)

        def precision() -> Validation:
            logits = self._logits(classifier, validation)
            classifier.calibrate(logits, validation.targets)
            sure = classifier.probabilities(logits)
            drawn = [mean_average_precision(right, sure, times) for times in bootstrap.times(len(right))]
            measure = float(mean_average_precision(right, sure, ones)[0])
            error = float(np.nanstd(np.concatenate(drawn)))
            return Validation(measure, error, -log_probability_of_sets(right, sure))

        return precision

    def _augmenter(self, classifier: AudioClassifier, *, weights: dict[str, float] | None, seed: int) -> Augmenter:
        """What clips go through when this classifier learns them."""
        mean, std = classifier.normalisation()
        options = self.options.augment
        if isinstance(classifier.front, FrozenFront):  # its columns are no frequencies
            options = options.model_copy(update={"frequency_masks": 0})
        return Augmenter(
            options, mean=mean, std=std, labels=classifier.labels, weights=weights,
            bands=classifier.front.bands, decibels=classifier.decibels,
            seed=runtime.derive_seed(seed, "augment"),
        )  # fmt: skip

    def _logits(self, classifier: AudioClassifier, clips: Utterances, *, title: str = "validate") -> np.ndarray:
        """What `encode` gives of each clip, `[N, C]` or of sets `[N, C, 2]`, float64, before calibration."""
        rows = decode(classifier, clips, lambda encoded, _: list(encoded), self.params.decoding, title=title)
        shape = (0, len(classifier.labels), 2) if self.sets else (0, len(classifier.labels))
        return torch.stack(rows).double().numpy() if rows else np.zeros(shape)

    def _samples(self, clips: Clips, classifier: AudioClassifier, title: str) -> Iterator[np.ndarray]:
        """What the classifier takes of each clip, `[N]`; of several channels side by side their mean."""
        for index in progress_over(range(len(clips)), total=len(clips), title=title, unit="clip"):
            taken = classifier.prepared(_resampled(classifier, *io.parse(clips.audio(index))))
            yield taken if taken.ndim == 1 else taken.mean(1)


def _by_speaker(classifier: AudioClassifier, loaded: Loaded) -> Loaded:
    """The same with features z-scored by speaker, without clips that have nobody beside them."""
    speakers = [str(facts[SPEAKER]) for facts in loaded.clips.facts]
    scored = [classifier.z_scored(each.features, speakers) for each in (loaded.utterances, *loaded.copies)]
    alone = [place for place in range(len(speakers)) if any(clips[place] is None for clips in scored)]
    kept = sorted(set(range(len(speakers))) - set(alone))

    def with_features(given: Utterances, features: Sequence[torch.Tensor | None]) -> Utterances:
        return Utterances(given.ids, given.targets, cast(list[torch.Tensor], features)).part(kept)

    names, paths = loaded.clips.ids, loaded.clips.paths or loaded.clips.ids
    reason = "the only clip of its speaker, and normalize_by: speaker takes two or more"
    return replace(
        loaded,
        clips=loaded.clips.part(kept),
        utterances=with_features(loaded.utterances, scored[0]),
        copies=[with_features(given, each) for given, each in zip(loaded.copies, scored[1:], strict=True)],
        durations_s=[loaded.durations_s[place] for place in kept],
        rejected=[*loaded.rejected, *(Rejected(names[place], paths[place], reason) for place in alone)],
    )


def _classifier(model: Model) -> AudioClassifier:
    return cast(AudioClassifier, model)


def _speakers(classifier: AudioClassifier, clips: Clips) -> list[str] | None:
    """By whom clips are z-scored, if they are."""
    wanted = classifier.config.normalize_by == SPEAKER
    return [str(facts[SPEAKER]) for facts in clips.facts] if wanted else None


def _inputs(inputs: Sequence[str]) -> list[tuple[str, str]]:
    """Name and type of each side input."""
    return [(name, kind) for name, _, kind in (item.rpartition(":") for item in inputs)]


def _side_inputs(clips: Clips, inputs: Sequence[str]) -> list[SideInput]:
    """Each side input with vocabulary, or mean and deviation, of these clips.

    A clip whose number is none has no part in it: `load` rejects it.

    Raises:
        UserError: when no clip has the input, or none a number.
    """
    found = []
    for name, kind in _inputs(inputs):
        values = clips.values(name)
        usable = [value for value in values if kind != "number" or is_number_or_missing(value)]
        if not any(value is not None for value in usable):
            first = next(place for place, value in enumerate(values) if value is not None)
            raise UserError(f"input {name}: no training clip has a number; {clips.ids[first]} has {values[first]!r}")
        found.append(fit_side_input(name, kind, usable))
    return found


def _channels(clips: Clips) -> int:
    """Of the first clip that can be read."""
    for index in range(len(clips)):
        with suppress(BadClip, FileNotFoundError):  # `load` names those that cannot
            return int(io.parse(clips.audio(index))[0].shape[1])
    raise UserError(f"none of {len(clips)} training clips can be read")


def _check_separator(labels: Sequence[str], separator: str) -> None:
    """Raise UserError where a label looks like several with another separator between them."""
    known = set(labels)
    for other in {*";,|"} - {separator}:
        joined = sorted(label for label in known if other in label and known & {*map(str.strip, label.split(other))})
        if joined:
            raise UserError(
                f"label {joined[0]!r} looks like several: give classification.separator {other!r}, or lists"
            )


def _can_rank(sets: Sequence[Any]) -> bool:
    clips = Counter(every_label(sets))
    return any(count < len(sets) for count in clips.values())


def _check_every_label(labels: Sequence[str], train: Loaded) -> None:
    lost = sorted(set(labels) - set(every_label(train.utterances.targets)))
    if lost:
        raise UserError(
            f"no training clip of {', '.join(map(repr, lost))} can be used: "
            + "; ".join(f"{bad.path}: {bad.reason}" for bad in train.rejected[:10])
        )


def _features(classifier: AudioClassifier, samples: np.ndarray, rate_hz: int) -> torch.Tensor:
    """Samples `[N, C]` at any rate → the features of the classifier, without side inputs.

    Raises:
        BadClip: when every sample is 0, or all channels are taken and there are more or fewer of them than in training.
        UserError: as `AudioClassifier.extract`.
    """
    if len(samples) and not samples.any():
        raise BadClip("silent: every sample is 0")
    features = classifier.extract(_resampled(classifier, samples, rate_hz))
    if features.ndim == 2 and features.shape[1] != classifier.front.columns:
        wanted = classifier.config.channels
        raise BadClip(
            f"number of channels is {samples.shape[1]}; channel: all needs the {wanted} of the training clips"
        )
    return features


def _resampled(classifier: AudioClassifier, samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Samples `[N, C]` at the classifier's rate, `[N]` of one channel."""
    mono = samples if samples.shape[1] > 1 else samples[:, 0]
    return io.resample(mono, rate_hz, classifier.sample_rate_hz)
