"""An enhancer as NVIDIA NeMo's audio configurations describe it: data, network, loss, optimiser and trainer in YAML.

    name: masking
    model:
      sample_rate: 16000
      train_ds: {manifest_filepath: ???, input_key: noisy_filepath, target_key: clean_filepath, audio_duration: 4.0}
      validation_ds: {manifest_filepath: ???, input_key: noisy_filepath, target_key: clean_filepath}
      encoder: {_target_: nemo.collections.audio.modules.transforms.AudioToSpectrogram, fft_length: 512}
      mask_estimator: {_target_: nemo.collections.audio.modules.masking.MaskEstimatorRNN, num_features: 256}
      loss: {_target_: nemo.collections.audio.losses.SDRLoss, scale_invariant: true}
      optim: {name: adamw, lr: 1e-4, weight_decay: 1e-3}
    trainer: {max_epochs: 50}

`${a.b}` stands for another key, `???` for one that the command line gives. Every key is honoured, or refused by name
with the reason, or listed in a note where it concerns the machine and not the result. `_target_` is a name in a table:
nothing is imported by it. What is left out has the value that NeMo gives it, else that of params.yaml.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from soundraft import files
from soundraft.clips.blend import read_tree
from soundraft.clips.opening import TARGET, Source
from soundraft.clips.pairs import CLEAN_KEY, NOISY_KEY, PairOptions, from_cuts, from_manifest, from_shar, from_tree
from soundraft.params import ParamsError, changed, defaults, explain, nearest, problems_in
from soundraft.params.sections import Params
from soundraft.runtime import UserError

AUDIO, METRICS = "nemo.collections.audio", "torchmetrics.audio"
ENCODER, DECODER = f"{AUDIO}.modules.transforms.AudioToSpectrogram", f"{AUDIO}.modules.transforms.SpectrogramToAudio"
RNN = f"{AUDIO}.modules.masking.MaskEstimatorRNN"
REFERENCE = f"{AUDIO}.modules.masking.MaskReferenceChannel"
LOSSES = {f"{AUDIO}.losses.{name}": name for name in ("SDRLoss", "MSELoss", "MAELoss")}
MEASURES = {  # of metrics.val and metrics.test; SI-SDR and ESTOI are always measured
    f"{METRICS}.ScaleInvariantSignalDistortionRatio": None,
    f"{METRICS}.SignalDistortionRatio": "sdr",
    f"{METRICS}.ShortTimeObjectiveIntelligibility": "stoi",
    f"{METRICS}.PerceptualEvaluationSpeechQuality": "pesq",
}
NCSN = "SpectrogramNoiseConditionalScoreNetworkPlusPlus"
NOT_HERE = {  # other names that `_target_` may have there, and why they are refused
    **{f"{AUDIO}.parts.submodules.{module}.{NCSN}": "no U-Net is here: take mask_estimator"
       for module in ("ncsnpp", "diffusion")},
    f"{AUDIO}.modules.masking.MaskEstimatorGSS": "no guided source separation is here: take MaskEstimatorRNN",
    f"{AUDIO}.modules.masking.MaskBasedBeamformer": "models here have one channel: take MaskReferenceChannel",
    f"{AUDIO}.losses.CombinedLoss": "give one loss, or weights with enhancement.loss.weights.mse=1.0",
}  # fmt: skip
TARGETS = {ENCODER, DECODER, RNN, REFERENCE, *LOSSES, *MEASURES, *NOT_HERE}
SPLITS = ("train_ds", "validation_ds", "test_ds")
SOURCES = ("manifest_filepath", "cuts_path", "shar_path", "input_cfg")
PAIR_KEYS = ("input_key", "target_key", "audio_duration", "min_duration", "max_duration", "max_utts",
             "normalization_signal")  # fmt: skip
DATA_KEYS = (
    *SOURCES, *PAIR_KEYS, "random_offset", "input_channel_selector", "target_channel_selector", "batch_size", "shuffle",
    "seed", "use_lhotse", "truncate_duration", "truncate_offset_type", "reweight_temperature", "strict", "noise_path",
    "noise_snr", "noise_mix_prob", "rir_enabled", "rir_path", "rir_prob",
)  # fmt: skip
ONE_VALUE: dict[str, tuple[Any, str]] = {  # keys that may have one value alone, and why
    "model.num_outputs": (1, "models here give one channel"),
    "model.skip_nan_grad": (False, "a loss that is not finite ends training, and the message names the step"),
    "model.encoder.magnitude_power": (1.0, "masks are applied to the spectrum as it is"),
    "model.encoder.scale": (1.0, "masks are applied to the spectrum as it is"),
    "model.mask_estimator.num_outputs": (1, "models here give one channel"),
    "model.mask_estimator.num_inputs": (1, "models here have one channel: choose with input_channel_selector"),
    "model.mask_estimator.rnn_type": ("gru", "the recurrent cells are GRUs"),
    "model.mask_estimator.dropout": (0.0, "the network has no dropout"),
    "model.mask_estimator.mask_max_db": (0.0, "a mask is at most 1"),
    "model.mask_processor.ref_channel": (0, "models here have one channel"),
    "model.mask_processor._target_": (REFERENCE, "models here have one channel"),
    "model.loss.sdr_max": (None, "the loss has no limit"),
    "trainer.accumulate_grad_batches": (1, "give batch_size"),
    "trainer.precision": (32, "enhancers are trained in float32"),
    "trainer.max_steps": (-1, "give trainer.max_epochs"),
    "trainer.val_check_interval": (1.0, "every epoch is validated once"),
    "trainer.check_val_every_n_epoch": (1, "every epoch is validated once"),
    "exp_manager.ema.every_n_steps": (1, "the average is updated at every step"),
    "exp_manager.ema.validate_original_weights": (False, "the average is what is validated and kept"),
    "exp_manager.early_stopping_callback_params.min_delta": (0.0, "any improvement counts"),
    "exp_manager.early_stopping_callback_params.mode": ("max", "SI-SDR is watched, and higher is better"),
    "exp_manager.early_stopping_callback_params.monitor": ("val_sisdr", "SI-SDR on validation is watched"),
    "exp_manager.resume_from_checkpoint": (None, "a run that was stopped goes on in its folder: --output"),
}
REFUSED = {  # keys that begin so, and why
    "init_from_nemo_model": "training starts from new weights",
    "init_from_pretrained_model": "training starts from new weights",
    "init_strict": "training starts from new weights",
    "model.estimator": "no U-Net is here: take mask_estimator",
    **{f"model.{split}.{name}": f"give enhancement.mixing.{ours}_probability and its range"
       for split in SPLITS for name, ours in (("lowpass", "lowpass"), ("clipping", "clipping"),
                                              ("compression", "codec"), ("perturb_speed", "speed"))},
    **{f"model.{split}.use_bucketing": "batches are of clips of like lengths always" for split in SPLITS},
    **{f"model.{split}.batch_duration": "give batch_size" for split in SPLITS},
}  # fmt: skip
OF_THE_MACHINE = (  # keys that begin so change no result here
    *(f"model.{split}.{name}" for split in SPLITS for name in ("num_workers", "pin_memory", "drop_last", "shard_seed")),
    "trainer.devices", "trainer.num_nodes", "trainer.accelerator", "trainer.strategy", "trainer.log_every_n_steps",
    "trainer.enable_progress_bar", "trainer.num_sanity_val_steps", "trainer.sync_batchnorm",
    "trainer.enable_checkpointing", "trainer.logger", "trainer.use_distributed_sampler", "exp_manager.exp_dir",
    "exp_manager.name", "exp_manager.create_", "exp_manager.checkpoint_callback_params", "exp_manager.resume_",
    "exp_manager.wandb_logger_kwargs", "exp_manager.ema.cpu_offload",
    "exp_manager.early_stopping_callback_params.verbose", "exp_manager.early_stopping_callback_params.strict",
)  # fmt: skip
READ = {
    "name", "model.type", "model.sample_rate", "model.normalize_input", "model.optim.name", "model.optim.lr",
    "model.optim.betas", "model.optim.weight_decay", "model.optim.sched.name", "model.optim.sched.warmup_ratio",
    "model.optim.sched.min_lr", "model.loss._target_", "model.loss.scale_invariant",
    "model.loss.convolution_invariant", "model.loss.convolution_filter_length", "model.loss.ndim",
    "trainer.max_epochs", "trainer.gradient_clip_val", "exp_manager.ema.enable", "exp_manager.ema.decay",
    "exp_manager.create_early_stopping_callback", "exp_manager.early_stopping_callback_params.patience",
    *(f"model.encoder.{name}" for name in ("_target_", "fft_length", "hop_length")),
    *(f"model.decoder.{name}" for name in ("_target_", "fft_length", "hop_length", "magnitude_power", "scale")),
    *(f"model.mask_estimator.{name}" for name in
      ("_target_", "num_subbands", "num_features", "num_layers", "bidirectional", "mask_min_db")),
    *(f"model.{split}.{name}" for split in SPLITS for name in DATA_KEYS),
}  # fmt: skip
FREE = re.compile(r"model\.metrics\.(val|test)\.[^.]+\.(_target_|channel|fs|mode)")
USUAL = {  # what NeMo has where a key is left out
    "model.encoder.fft_length": 512, "model.encoder.hop_length": 256, "model.mask_estimator.num_features": 1024,
    "model.mask_estimator.num_layers": 3, "model.mask_estimator.bidirectional": True,
    "model.mask_estimator.mask_min_db": -200.0, "model.loss.convolution_filter_length": 512, "model.loss.ndim": 3,
    "model.optim.weight_decay": 0.0, "model.optim.betas": [0.9, 0.999],
}  # fmt: skip
UNCLIPPED = 1e9  # a norm that no gradient has
_MISSING = "???"
_KINDS = ("predictive", "score_based", "schroedinger_bridge", "flow_matching")


@dataclass(frozen=True)
class Configured:
    """What a configuration asks for.

    Attributes:
        values: by key of params.yaml.
        sections: the keys of `model.train_ds`, `validation_ds` and `test_ds`.
        notes: how some keys are used, for the user.
    """

    name: str
    values: Mapping[str, Any]
    sections: Mapping[str, Mapping[str, Any]]
    notes: list[str]

    def params(self, seed: int) -> Params:
        """Of a run without cycles, where `values` ask for none."""
        plain = {"train.cycles": 0, "enhancement.mixing.speed_probability": 0.0}
        return changed(defaults(), {"task": "enhancement", "seed": seed, **plain, **self.values})

    def source(self, split: str) -> Source | None:
        """The clips of `train_ds`, `validation_ds` or `test_ds`, `None` where it is not given."""
        section = self.sections.get(split, {})
        return _source(split, section) if any(name in section for name in SOURCES) else None


def is_configuration(path: Path) -> bool:
    """Whether a YAML file is of this form, and no declaration of a classifier."""
    given = files.read_yaml(path)
    return isinstance(given, Mapping) and isinstance(given.get("model"), Mapping)


def read_configuration(source: Path | str | Mapping[str, Any], overrides: Sequence[str] = ()) -> Configured:
    """Read a configuration: a YAML file, or what one holds.

    Args:
        overrides: `KEY=VALUE`, keys with dots, of the configuration or of params.yaml.

    Raises:
        ParamsError: naming every problem with its dotted key.
    """
    title = "the configuration" if isinstance(source, Mapping) else str(source)
    given = files.read_yaml(Path(source)) if isinstance(source, str | Path) else source
    if not isinstance(given, Mapping):
        raise ParamsError(f"{title} is no configuration: it needs the key model")
    flat, ours = _flat(given), dict[str, Any]()
    for word in overrides:
        key, value = _override(word)
        (ours if key in defaults().leaves() else flat)[key] = value
    reader = _Reader(flat)
    reader.read()
    if reader.problems:
        raise problems_in(title, reader.problems)
    sections = {split: reader.below(f"model.{split}") for split in SPLITS}
    name = str(reader.flat.get("name") or "enhancement")
    return Configured(name, {**reader.values, **ours}, sections, reader.notes)


def _override(word: str) -> tuple[str, Any]:
    key, sign, value = word.removeprefix("+").partition("=")
    if not (key and sign):
        raise ParamsError(f"{word!r} is not KEY=VALUE, such as trainer.max_epochs=50")
    return key, files.parse_yaml(value, word)


def _flat(given: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


@dataclass
class _Reader:
    """The keys of a configuration with dots, and what they come to."""

    flat: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, key: str, reason: str) -> None:
        self.problems.append(f"{key}: {reason}")

    def get(self, key: str) -> Any:
        return self.flat.get(key, USUAL.get(key))

    def below(self, prefix: str) -> dict[str, Any]:
        return {key[len(prefix) + 1 :]: value for key, value in self.flat.items() if key.startswith(f"{prefix}.")}

    def number(self, key: str, ours: str, kind: Callable[[Any], Any]) -> None:
        """Take a number over, where it is given or usual."""
        value = self.get(key)
        if value is None:
            return
        try:
            if isinstance(value, bool) or kind(value) != float(value):
                raise ValueError
            self.values[ours] = kind(value)
        except (TypeError, ValueError):
            self.refuse(key, f"got {value!r}; allowed: a {'whole ' if kind is int else ''}number")

    def read(self) -> None:
        self._resolve()
        self._sort()
        if not self.problems:
            for part in (self._network, self._loss, self._optimizer, self._trainer, self._data, self._measures):
                part()

    def _resolve(self) -> None:
        for key, value in list(self.flat.items()):
            seen = [key]
            while isinstance(value, str) and (found := re.fullmatch(r"\$\{([^}]+)\}", value)):
                other = found[1]
                if other not in self.flat or other in seen:
                    self.refuse(key, f"${{{other}}} {'leads to itself' if other in seen else 'is not given'}")
                    break
                seen.append(other)
                value = self.flat[other]
            self.flat[key] = value
            if value == _MISSING:
                self.refuse(key, f"is to be given: {key}=…")

    def _sort(self) -> None:
        """See that every key is known, and may have its value."""
        idle, named = [], set()
        for key, value in self.flat.items():
            start = next((start for start in REFUSED if _begins(key, start)), None)
            if start and (value in (None, False) or start in named):
                continue
            if start:
                named.add(start)
                self.refuse(key, f"got {value!r:.90}; not here: {REFUSED[start]}")
            elif key in ONE_VALUE:
                only, reason = ONE_VALUE[key]
                if value != only or isinstance(value, bool) != isinstance(only, bool):
                    self.refuse(key, f"got {value!r}; allowed: {only!r}: {reason}")
            elif key.endswith("._target_") and value not in TARGETS:
                self.refuse(key, f"got {value!r}{nearest(str(value), TARGETS)}; it is looked up in a table")
            elif key in READ or FREE.fullmatch(key):
                continue
            elif any(key.startswith(start) for start in OF_THE_MACHINE):
                idle.append(key)
            else:
                self.refuse(key, f"unknown key{nearest(key, READ | set(ONE_VALUE))}")
        if idle:
            self.notes.append(f"of the machine or of logging, and not read: {', '.join(idle)}")

    def _network(self) -> None:
        kind = self.get("model.type") or "mask_based"
        if kind != "mask_based":
            known = kind in _KINDS
            reason = "no such network is here: take mask_based" if known else f"allowed: mask_based, not {_KINDS}"
            self.refuse("model.type", f"got {kind!r}; {reason}")
        self._target("model.encoder._target_", {ENCODER})
        self._target("model.decoder._target_", {DECODER})
        self._target("model.mask_estimator._target_", {RNN}, needed=True)
        for name in ("fft_length", "hop_length", "magnitude_power", "scale"):
            one, other = self.get(f"model.encoder.{name}"), self.flat.get(f"model.decoder.{name}")
            if other is not None and other != (1.0 if one is None else one):
                self.refuse(f"model.decoder.{name}", f"got {other}, but the encoder has {one}")
        self.values["enhancement.network"] = "recurrent"
        self.number("model.sample_rate", "enhancement.sample_rate_hz", int)
        self.number("model.encoder.fft_length", "enhancement.fft_length", int)
        self.number("model.encoder.hop_length", "enhancement.hop_length", int)
        self.number("model.mask_estimator.num_features", "enhancement.width", int)
        self.number("model.mask_estimator.num_layers", "enhancement.layers", int)
        self.values["enhancement.bidirectional"] = self.get("model.mask_estimator.bidirectional")
        self.values["enhancement.mask_floor"] = _floor(float(self.get("model.mask_estimator.mask_min_db")))
        bins, bands = int(self.get("model.encoder.fft_length")) // 2 + 1, self.get("model.mask_estimator.num_subbands")
        if bands not in (None, bins):
            self.refuse("model.mask_estimator.num_subbands", f"got {bands}; fft_length makes {bins}")
        if "model.mask_estimator.rnn_type" not in self.flat:
            self.notes.append("model.mask_estimator: its recurrent cells are GRUs, where NeMo has LSTMs")
        if self.get("model.normalize_input"):
            self.notes.append("model.normalize_input changes nothing: the network reads each clip divided by its RMS")

    def _target(self, key: str, allowed: set[str], *, needed: bool = False) -> str | None:
        value = self.flat.get(key)
        if value is None and not needed:
            return None
        if value not in allowed:
            reason = NOT_HERE.get(str(value), f"allowed: {', '.join(sorted(allowed))}")
            self.refuse(key, f"got {value!r}; {reason}" if value else f"missing; {reason}")
        return str(value)

    def _loss(self) -> None:
        target = self._target("model.loss._target_", set(LOSSES), needed=True)
        ndim, name = self.get("model.loss.ndim"), LOSSES.get(str(target), "")
        parts = {("MSELoss", 3): "mse", ("MSELoss", 4): "spectral_mse", ("MAELoss", 3): "mae",
                 ("MAELoss", 4): "spectral_mae"}  # fmt: skip
        part = parts.get((name, ndim))
        if name == "SDRLoss":
            part = "si_sdr" if self.get("model.loss.scale_invariant") else None
            if self.get("model.loss.convolution_invariant"):
                part = "sdr"
                self.number("model.loss.convolution_filter_length", "enhancement.loss.filter_taps", int)
            if part is None:
                self.refuse("model.loss", "plain SDR is not here: scale_invariant or convolution_invariant: true")
        elif name and part is None:
            self.refuse("model.loss.ndim", f"got {ndim!r}; allowed: 3 (in time), 4 (spectra)")
        weights = [key for key in defaults().leaves() if key.startswith("enhancement.loss.weights.")]
        self.values |= {key: float(key.endswith(f".{part}")) for key in weights}

    def _optimizer(self) -> None:
        name, decay = self.get("model.optim.name") or "adam", float(self.get("model.optim.weight_decay"))
        if name not in ("adam", "adamw"):
            self.refuse("model.optim.name", f"got {name!r}; allowed: adam, adamw")
        elif name == "adam" and decay:
            self.refuse("model.optim.weight_decay", "adam adds weight decay to gradients, not here; choose adamw")
        self.number("model.optim.lr", "enhancement.trainer.learning_rate", float)
        self.values["enhancement.trainer.weight_decay"] = decay
        if self.get("model.optim.betas") != USUAL["model.optim.betas"]:
            self.notes.append(f"model.optim.betas {self.get('model.optim.betas')} are not taken: they are 0.9, 0.999")
        self._schedule()

    def _schedule(self) -> None:
        name = self.flat.get("model.optim.sched.name")
        if name is None:
            self.values |= {"enhancement.trainer.warmup_share": 0.0, "enhancement.trainer.final_lr_share": 1.0}
        elif name != "CosineAnnealing":
            self.refuse("model.optim.sched.name", f"got {name!r}; allowed: CosineAnnealing, or none: a steady rate")
        else:
            rate, least = float(self.get("model.optim.lr") or 1.0), float(self.get("model.optim.sched.min_lr") or 0.0)
            self.values["enhancement.trainer.final_lr_share"] = least / rate
            warm_up = self.get("model.optim.sched.warmup_ratio")
            self.values["enhancement.trainer.warmup_share"] = float(warm_up or 0.0)

    def _trainer(self) -> None:
        epochs = self.flat.get("trainer.max_epochs")
        if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
            self.refuse("trainer.max_epochs", f"got {epochs!r}; allowed: a whole number from 1: trainer.max_epochs=50")
        else:
            self.values["enhancement.trainer.epochs"] = epochs
        limit = self.flat.get("trainer.gradient_clip_val")
        self.values["enhancement.trainer.max_grad_norm"] = float(limit) if limit else UNCLIPPED
        decay = self.flat.get("exp_manager.ema.decay", 0.999) if self.flat.get("exp_manager.ema.enable") else 0.0
        self.values["enhancement.trainer.average_decay"] = float(decay)
        patience = self.flat.get("exp_manager.early_stopping_callback_params.patience", 10)
        stops = self.flat.get("exp_manager.create_early_stopping_callback")
        self.values["enhancement.trainer.early_stop"] = int(patience) if stops else 0
        self.number("model.train_ds.batch_size", "enhancement.trainer.batch_size", int)

    def _data(self) -> None:
        for split in SPLITS:
            section, place = self.below(f"model.{split}"), f"model.{split}"
            named = [name for name in SOURCES if section.get(name) is not None]
            if len(named) > 1 or (section and not named):
                given = f"{' and '.join(named)} are" if named else "none is"
                self.refuse(place, f"{given} given; give one of {', '.join(SOURCES)}")
            if split == "train_ds" and not section:
                self.refuse(place, f"missing; give {place}.manifest_filepath=…")
            try:
                _pair_options(section)
            except UserError as error:
                self.refuse(place, str(error))
            if section.get("shuffle") is (split != "train_ds"):
                self.notes.append(f"{place}.shuffle changes nothing: training clips are shuffled, others are not")
        self._mixing(self.below("model.train_ds"))

    def _mixing(self, section: Mapping[str, Any]) -> None:
        """Noise and rooms for clean speech."""
        mixing, place = "enhancement.mixing.", "model.train_ds."
        for key, ours in (("noise_path", "noise_dir"), ("rir_path", "rir_dir")):
            if section.get(key) is not None:
                if not Path(str(section[key])).is_dir():
                    self.refuse(place + key, f"got {section[key]!r}; allowed: a folder of recordings")
                self.values[mixing + ours] = str(section[key])
        if section.get("noise_path") is not None:
            self.values[mixing + "noise_probability"] = float(section.get("noise_mix_prob", 0.5))
            low, high = section.get("noise_snr", (10.0, 20.0))
            self.values[mixing + "snr_db"] = [float(low), float(high)]
        if section.get("rir_enabled"):
            self.values[mixing + "room_probability"] = float(section.get("rir_prob", 0.5))

    def _measures(self) -> None:
        found = []
        for key, value in self.flat.items():
            if key.startswith("model.metrics.") and key.endswith("._target_"):
                measure = MEASURES.get(str(value))
                if value not in MEASURES:
                    self.refuse(key, f"got {value!r}; allowed: {', '.join(MEASURES)}")
                elif measure:
                    found.append(measure)
            elif key.startswith("model.metrics.") and key.endswith(".channel") and value != 0:
                self.refuse(key, f"got {value!r}; allowed: 0: models here have one channel")
        self.values["enhancement.measures"] = sorted(set(found))


def _begins(key: str, start: str) -> bool:
    return key == start or key.startswith((f"{start}.", f"{start}_"))


def _floor(level_db: float) -> float:
    """A mask's least value."""
    return 10 ** (level_db / 20)


def _source(split: str, section: Mapping[str, Any]) -> Source:
    options = _pair_options(section)
    if section.get("manifest_filepath") is not None:
        found = from_manifest(section["manifest_filepath"], options)
    elif section.get("cuts_path") is not None:
        found = from_cuts(section["cuts_path"], options)
    elif section.get("shar_path") is not None:
        found = from_shar(section["shar_path"], options)
    else:
        strict = bool(section.get("strict"))
        tree = read_tree(section["input_cfg"], section.get("reweight_temperature"), strict=strict)
        found = from_tree(tree, options)
    return _alone(found) if section.get("noise_path") or section.get("rir_enabled") else found


def _alone(source: Source) -> Source:
    """Without the targets: the clips are clean speech, which is mixed with noise."""
    facts = [{name: value for name, value in each.items() if name != TARGET} for each in source.clips.facts]
    return replace(source, clips=replace(source.clips, facts=facts))


def _pair_options(section: Mapping[str, Any]) -> PairOptions:
    """UserError when a value is not allowed."""
    offset = section.get("truncate_offset_type") or ("random" if section.get("random_offset") else "start")
    given = {
        "input_key": NOISY_KEY, "target_key": CLEAN_KEY, "offset": offset, "seed": section.get("seed", 0),
        "audio_duration": section.get("truncate_duration"), "input_channels": section.get("input_channel_selector"),
        "target_channels": section.get("target_channel_selector"),
        "needs_target": section.get("target_key") is not None,
        **{name: section[name] for name in PAIR_KEYS if section.get(name) is not None},
    }  # fmt: skip
    try:
        return TypeAdapter(PairOptions).validate_python(given)
    except ValidationError as error:
        raise UserError("; ".join(explain(item) for item in error.errors())) from error
