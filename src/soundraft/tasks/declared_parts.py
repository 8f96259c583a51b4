"""Preprocessing, split, trainer and augmentation of a declaration, in the words of our params."""

from collections.abc import Mapping, Sequence
from typing import Any

from soundraft.audio import mel_filters
from soundraft.audio.spectra import MAX_BANDS, Spectra
from soundraft.params.classification import AugmentParams, SpectraParams, TrainerParams
from soundraft.runtime import UserError
from soundraft.tasks.clip_splits import SplitRule
from soundraft.tasks.declared_keys import Gathered, Keys, Taken

AUDIO_KEYS = tuple(SpectraParams.model_fields)
BANDED = ("fbank", "mel", "mfcc")
_FRAMED = ("stft", "stft_phase", "group_delay", *BANDED)
_USED_BY = {
    "num_filter_bands": ("raw", *BANDED),  # raw: of the filter bank that is learned
    "num_coefficients": ("mfcc",),
    "window_length_in_s": ("raw", *_FRAMED),
    "window_shift_in_s": ("raw", *_FRAMED),
    "num_fft_points": _FRAMED,
    "window_type": _FRAMED,
}
_LEVELS = ("fbank", "mel")
_OF_ENCODERS = ("whisper", "ast")  # whose own features are spectra
_AUGMENT_OF = dict.fromkeys(("gain", "equalizer_db", "background", "background_snr_db"), _LEVELS) | {
    "warp": ("stft", "group_delay", *_LEVELS, *_OF_ENCODERS),
    "frequency_stripes": (*_FRAMED, *_OF_ENCODERS),
    "frequency_share": (*_FRAMED, *_OF_ENCODERS),
}
_PAIRS = (("time_stripes", "time_share"), ("frequency_stripes", "frequency_share"), ("mixup", "mixup_probability"))
_AUGMENT_NEEDS = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])} | {"background_snr_db": "background"}
_NOT_FILLED = "nothing is put in the place of what is missing; without the key it is set aside and counted as bad"
_SPLITS = {name: name for name in ("random", "stratify", "fixed", "speaker", "group", "hash")}
_TRAINER_REASONS = {
    "cycle_learning_rate": "not here: it is that of the pipeline's cycles",
    "train_steps": "not here: give epochs",
    "steps_per_checkpoint": "not here: every epoch is validated",
    "checkpoints_per_epoch": "not here: every epoch is validated once",
    "regularization_lambda": "not here: give weight_decay",
    "oversample_minority": "not here: give trainer.sampling: balanced",
    "undersample_majority": "not here: give trainer.sampling: balanced",
}
_SAMPLING = {name: _TRAINER_REASONS[name] for name in ("oversample_minority", "undersample_majority")}


def read_audio(keys: Keys | None, gathered: Gathered, *, again: bool) -> None:
    """Put preprocessing of the audio into the section: keys directly, or under `audio_feature`.

    Args:
        again: what is here may override what is said elsewhere; else that is refused.
    """
    if keys is None:
        return
    older = keys.section("audio_feature")
    for section in (keys, older):
        if section is None:
            continue
        section.whose = "the preprocessing of audio"
        for name in (*AUDIO_KEYS, "audio_file_length_limit_in_s", "level_db", "channel"):
            taken = section.take(name)
            if taken is None:
                continue
            ours = f"features.{name}" if name in AUDIO_KEYS else name
            said = gathered.places.get(ours)
            if said is not None and (not again or said == keys.at(name)):
                gathered.refuse(taken.place, f"means the same as {said}: give one of them")
            else:
                gathered.put(ours, taken, _otherwise(name, taken.value))
        _only_what_is(section)
    if older is not None:
        older.end()
    keys.end(_SAMPLING)


def _otherwise(name: str, value: Any) -> Any:
    """What a value is called here; `None` where it has the same name."""
    if name == "channel":
        return str(value) if type(value) is int else None
    return {"norm": "none", "num_fft_points": 0}.get(name) if value is None else None


def _only_what_is(keys: Keys) -> None:
    """Keys that have one meaning here."""
    padding = keys.take("padding_value")
    if padding is not None:
        if not isinstance(padding.value, int | float) or isinstance(padding.value, bool):
            keys.gathered.refuse(padding.place, f"got {padding.value!r}; allowed: a number")
        keys.gathered.notes.append(f"{padding.place} changes nothing: padding is masked, no encoder sees it")
    _drop_row(keys, "audio")
    for name in ("fill_value", "computed_fill_value"):
        keys.only(name, [None], _NOT_FILLED)
    keys.only("in_memory", [True], "features are held in memory, and kept on disk from run to run")


def _drop_row(keys: Keys, lacking: str) -> None:
    """Whether rows are dropped that lack audio or target: whose cell is empty, not whose file is."""
    if "missing_value_strategy" in keys and lacking not in keys.gathered.dropped:
        keys.gathered.dropped.append(lacking)
    keys.only("missing_value_strategy", ["drop_row"], _NOT_FILLED)


def check_features(features: Mapping[str, Any], gathered: Gathered) -> int:
    """Refuse features that cannot be computed; the points of the transform.

    Where the declaration leaves these open they are as many as it takes for no filter to be empty.

    Args:
        features: the section `features`, valid in itself.
    """
    for name, types in _USED_BY.items():
        if f"features.{name}" in gathered.values and features["type"] not in types:
            place, kind = gathered.places[f"features.{name}"], features["type"]
            gathered.notes.append(f"{place} changes nothing: it is of {', '.join(types)}, and this is {kind}")
    declared = "features.num_fft_points" in gathered.values and features["num_fft_points"]
    points = int(features["num_fft_points"])
    try:
        plain = Spectra(**{**features, "type": "stft"})
        bands = features["num_filter_bands"]
        if not declared and features["type"] in BANDED and bands <= MAX_BANDS:  # else `Spectra` refuses them
            scale: dict[str, Any] = {"rate_hz": plain.sample_rate_hz, "snapped": features["type"] == "fbank"}
            empty = mel_filters.empty(bands, fft_points=plain.fft_points, **scale)
            if empty:
                points = mel_filters.fewest_fft_points(bands, at_least=plain.fft_points, **scale)
                gathered.notes.append(
                    f"num_fft_points is {points}: with the {plain.fft_points} of the window {empty} of {bands} filters "
                    "would be empty"
                )
        Spectra(**{**features, "num_fft_points": points})
    except UserError as error:
        name, _, reason = str(error).partition(" ")
        gathered.refuse(gathered.places.get(f"features.{name}", f"preprocessing.{name}"), f"got {reason}")
    return points


def read_split(keys: Keys) -> SplitRule:
    """How clips are divided, from the general `preprocessing`, in today's spelling and the older one."""
    section = keys.section("split", whose="a split")
    rule = _read_split(keys, section)
    probabilities = keys.take("split_probabilities")
    stratify = keys.take("stratify")
    forced = keys.take("force_split")
    for older in (probabilities, stratify, forced):
        if section is not None and older is not None and older.value is not None:
            keys.gathered.refuse(older.place, f"{section.place} says how clips are divided: give one of them")
    shares = _shares(keys, probabilities, rule.probabilities)
    column, kind = rule.column, rule.kind
    if stratify is not None and stratify.value is not None:
        kind, column = "stratify", _column(keys, stratify)
    if forced is not None and not isinstance(forced.value, bool):
        keys.gathered.refuse(forced.place, f"got {forced.value!r}; allowed: true, false")
    said = rule.said or bool(stratify and stratify.value) or bool(forced and forced.value)
    keys.only("sample_ratio", [1.0, 1], "all clips are taken; --limit takes fewer")
    return SplitRule(kind, shares, column, said)


def _read_split(keys: Keys, section: Keys | None) -> SplitRule:
    usual = SplitRule()
    if section is None:
        return usual
    kind_taken = section.take("type")
    kind = section.one_of(kind_taken, _SPLITS) or usual.kind
    column = section.take("column")
    shares = usual.probabilities
    if kind != "fixed":
        shares = _shares(keys, section.take("probabilities"), shares)
    section.end({"probabilities": "a fixed split has none: its column says where clips belong"})
    name = None if column is None else _column(keys, column)
    if kind == "speaker":
        return SplitRule("group", shares, name or "speaker", True)
    if kind in ("group", "hash"):
        if name is None:
            keys.gathered.refuse(section.at("column"), f"missing: a {kind} split needs the column of the groups")
        return SplitRule("group", shares, name, True)
    if kind == "random" and name is not None and column is not None:
        keys.gathered.refuse(column.place, "a random split has no column; stratify, fixed, group and speaker have one")
    return SplitRule(kind, shares, name or ("split" if kind == "fixed" else None), kind_taken is not None)


def _shares(keys: Keys, taken: Taken | None, usual: tuple[float, float, float]) -> tuple[float, float, float]:
    if taken is None or taken.value is None:
        return usual
    value = taken.value
    good = (
        isinstance(value, Sequence)
        and len(value) == 3
        and all(isinstance(share, int | float) and 0 < share < 1 for share in value)
        and abs(sum(value) - 1) < 1e-6
    )
    if not good:
        reason = "three shares above 0 that sum to 1: train, validation, test, such as [0.7, 0.1, 0.2]"
        keys.gathered.refuse(taken.place, f"got {value!r}; allowed: {reason}")
        return usual
    return (float(value[0]), float(value[1]), float(value[2]))


def _column(keys: Keys, taken: Taken) -> str:
    if not isinstance(taken.value, str) or not taken.value:
        keys.gathered.refuse(taken.place, f"got {taken.value!r}; allowed: the name of a column")
    return str(taken.value)


def read_trainer(keys: Keys, target: str) -> None:
    """Put the trainer into the section; `target` is the one output."""
    taken = keys.take("trainer", "training")
    if taken is None:
        return
    trainer = Keys(taken.value, taken.place, keys.gathered, whose="the trainer")
    stop = trainer.take("early_stop")
    if stop is not None:
        keys.gathered.put("trainer.early_stop", stop, 0 if stop.value == -1 else None)
    others = [name for name in TrainerParams.model_fields if name not in ("early_stop", "cycle_learning_rate")]
    trainer.copy({name: (name,) for name in others}, prefix="trainer.")
    _optimizer(trainer)
    _schedule(trainer)
    clipping = trainer.section("gradient_clipping", whose="gradient_clipping")
    if clipping is not None:
        clipping.copy({"max_grad_norm": ("clipglobalnorm",)}, prefix="trainer.")
        for name in ("clipnorm", "clipvalue"):
            clipping.only(name, [None], "gradients are clipped by their common norm, clipglobalnorm")
        clipping.end()
    metrics = ["uar", "macro_recall", "recall_macro"]
    trainer.only("validation_metric", metrics, "epochs are chosen by the macro recall on validation")
    trainer.only("validation_field", [target], "there is one output")
    trainer.end(_TRAINER_REASONS)


def _optimizer(trainer: Keys) -> None:
    """AdamW, and Adam, which is AdamW without weight decay."""
    optimizer = trainer.section("optimizer", whose="the optimizer")
    if optimizer is None:
        return
    gathered = trainer.gathered
    kind = optimizer.take("type")
    name = optimizer.one_of(kind, {"adam": "adam", "adamw": "adamw"})
    optimizer.copy({"learning_rate": ("lr",), "weight_decay": ("weight_decay",)}, prefix="trainer.")
    if name == "adam" and kind is not None:
        if gathered.values.get("trainer.weight_decay", 0) != 0:
            reason = "adam adds weight decay to the gradients, which is not here; take adamw"
            gathered.refuse(gathered.places["trainer.weight_decay"], reason)
        gathered.put("trainer.weight_decay", kind, 0.0)
        gathered.notes.append(f"{kind.place} adam: weight decay is 0, which makes AdamW Adam")
    optimizer.end()


def _schedule(trainer: Keys) -> None:
    """Linear warm-up, then half a cosine, or no decay."""
    schedule = trainer.section("learning_rate_scheduler", whose="the scheduler")
    if schedule is None:
        return
    schedule.copy({"warmup_share": ("warmup_fraction",)}, prefix="trainer.")
    decay = schedule.take("decay")
    if decay is not None:
        known = {"cosine": "cosine", None: "none"}
        if schedule.one_of(decay, known) == "none":
            said = trainer.gathered.places.get("trainer.final_lr_share")
            if said is not None:
                trainer.gathered.refuse(decay.place, f"says what {said} says: give one of them")
            trainer.gathered.put("trainer.final_lr_share", decay, 1.0)
    schedule.only("warmup_evaluations", [0], "give warmup_fraction")
    schedule.only("reduce_on_plateau", [0], "the learning rate follows a cosine")
    schedule.end()


def read_training_loss(feature: Keys) -> None:
    """What an output feature says of its loss, its decoder and its calibration."""
    loss = feature.section("loss", whose="the loss")
    if loss is not None:
        loss.only("type", ["softmax_cross_entropy"], "the only loss")
        loss.copy({"class_weights": ("class_weights",)}, prefix="trainer.")
        loss.end()
    decoder = feature.section("decoder", whose="the decoder")
    if decoder is not None:
        decoder.only("type", ["classifier"], "one linear layer")
        decoder.end()
    feature.only("calibration", [True], "probabilities are always calibrated on validation")
    preprocessing = feature.section("preprocessing", whose="the preprocessing of an output")
    if preprocessing is not None:
        _drop_row(preprocessing, "target")
        preprocessing.end()


def read_augment(keys: Keys) -> None:
    augment = keys.section("augment", whose="augment")
    if augment is not None:
        augment.copy({name: (name,) for name in AugmentParams.model_fields}, prefix="augment.")
        augment.end()


def check_augment(augment: AugmentParams, features: str, gathered: Gathered) -> None:
    """Note what is declared and changes nothing.

    Args:
        features: their type, or the pretrained encoder that brings its own.
    """
    for name in AugmentParams.model_fields:
        place = gathered.places.get(f"augment.{name}")
        if place is None or not getattr(augment, name):
            continue
        needed, types = _AUGMENT_NEEDS.get(name), _AUGMENT_OF.get(name)
        if needed is not None and not getattr(augment, needed):
            gathered.notes.append(f"{place} changes nothing: {needed} is 0")
        elif types is not None and features not in types:
            gathered.notes.append(f"{place} changes nothing: it is of {', '.join(types)}, and this is {features}")
