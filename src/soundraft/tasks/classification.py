"""Audio classification: where its models, metrics and data meet."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from soundraft import runtime
from soundraft.audio import io
from soundraft.dataset.loader import Utterances
from soundraft.evaluation.classification import Predicted, check_labels, check_training, predicted
from soundraft.manifest import Rejected, check_bad_fraction
from soundraft.metrics import calibration, resampling
from soundraft.metrics.labels import codes, log_losses
from soundraft.models.classifier import AudioClassifier, build
from soundraft.models.classifier_network import HEAD_KEYS
from soundraft.models.decoding import decode
from soundraft.models.pretrained_encoders import PRETRAINED
from soundraft.models.side_inputs import SideInput, fit_side_input, is_number_or_missing
from soundraft.parallel import BadClip
from soundraft.params.classification import Classification, EncoderParams
from soundraft.runtime import UserError
from soundraft.tasks.labelled import Heard, LabelledClips, hear
from soundraft.training.augment import Augmentation, Augmenter
from soundraft.training.epochs import EpochRow, EpochsReport, Judgement, class_weights, epoch_batches, fit_epochs
from soundraft.training.supervised import Optimizing, Schedule, spoken


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
    validation: Predicted
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


def predict(classifier: AudioClassifier, heard: Heard, *, target: str, title: str = "predict") -> Predicted:
    """The calibrated answers on clips with features; references where the clips have them."""
    found = answers(classifier, heard.utterances, target=target, title=title)
    return replace(found, paths=heard.clips.paths, groups=heard.clips.groups(but=target))


def answers(classifier: AudioClassifier, clips: Utterances, *, target: str, title: str) -> Predicted:
    """The calibrated answers on clips, whose texts are the references; where all are empty there are none."""
    probabilities = calibration.tempered(_logits(classifier, clips, title=title), classifier.temperature)
    references = clips.texts if any(clips.texts) else None
    return predicted(clips.ids, probabilities, classifier.labels, target=target, references=references)


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
        correct = logits.argmax(1) == right
        _, recall = resampling.rates(right, correct)
        error = resampling.recall_error(right, correct)
        # calibrated, for how sure an epoch is says nothing of how good it is
        sure = calibration.tempered(logits, calibration.fit_temperature(logits, right))
        return Judgement(recall, error, log_losses(right, sure))

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
