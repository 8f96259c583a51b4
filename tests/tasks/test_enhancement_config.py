"""Configurations of NeMo's form: what they come to, and what is refused by name."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from soundraft.audio import io
from soundraft.params import ParamsError
from soundraft.tasks.enhancement_config import Configured, read_configuration
from tests.conftest import Say

RATE_HZ = 8000
# in the form of the documented example of a mask-based model
MASKING = """
name: masking
model:
  sample_rate: 16000
  skip_nan_grad: false
  num_outputs: 1
  train_ds:
    manifest_filepath: ???
    input_key: audio_filepath
    target_key: target_filepath
    target_channel_selector: 0
    audio_duration: 4.0
    random_offset: true
    min_duration: ${model.train_ds.audio_duration}
    batch_size: 64
    shuffle: true
    num_workers: 8
    pin_memory: true
  validation_ds:
    manifest_filepath: ???
    input_key: audio_filepath
    target_key: target_filepath
    batch_size: 64
    shuffle: false
  encoder:
    _target_: nemo.collections.audio.modules.transforms.AudioToSpectrogram
    fft_length: 512
    hop_length: 256
  decoder:
    _target_: nemo.collections.audio.modules.transforms.SpectrogramToAudio
    fft_length: ${model.encoder.fft_length}
    hop_length: ${model.encoder.hop_length}
  mask_estimator:
    _target_: nemo.collections.audio.modules.masking.MaskEstimatorRNN
    num_outputs: ${model.num_outputs}
    num_subbands: 257
    num_features: 256
    num_layers: 5
    bidirectional: true
  mask_processor:
    _target_: nemo.collections.audio.modules.masking.MaskReferenceChannel
    ref_channel: 0
  loss:
    _target_: nemo.collections.audio.losses.SDRLoss
    scale_invariant: true
  metrics:
    val:
      sdr: {_target_: torchmetrics.audio.SignalDistortionRatio}
    test:
      sdr_ch0: {_target_: torchmetrics.audio.SignalDistortionRatio, channel: 0}
  optim: {name: adamw, lr: 1e-4, betas: [0.9, 0.98], weight_decay: 1e-3}
trainer: {devices: -1, max_epochs: -1, accelerator: auto, gradient_clip_val: null, precision: 32}
exp_manager:
  exp_dir: null
  name: ${name}
  ema: {enable: true, decay: 0.99, cpu_offload: false, every_n_steps: 1, validate_original_weights: false}
  create_early_stopping_callback: true
  early_stopping_callback_params: {monitor: val_sisdr, mode: max, patience: 20}
  resume_from_checkpoint: null
"""
GIVEN = ("model.train_ds.manifest_filepath=a.json", "model.validation_ds.manifest_filepath=b.json")


def configuration(tmp_path: Path) -> Path:
    (tmp_path / "masking.yaml").write_text(MASKING)
    return tmp_path / "masking.yaml"


def read(tmp_path: Path, *words: str) -> Configured:
    return read_configuration(configuration(tmp_path), [*GIVEN, "trainer.max_epochs=50", *words])


def refused(tmp_path: Path, *words: str) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        read(tmp_path, *words)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_the_documented_example_comes_to_params(tmp_path: Path) -> None:
    found = read(tmp_path)
    options = found.params(3).enhancement
    assert (options.network, options.sample_rate_hz, options.fft_length, options.hop_length) == (
        "recurrent", 16000, 512, 256,
    )  # fmt: skip
    assert (options.width, options.layers, options.bidirectional, options.mask_floor) == (256, 5, True, 1e-10)
    assert {key: value for key, value in options.loss.weights.leaves().items() if value} == {"si_sdr": 1.0}
    trainer = options.trainer
    assert (trainer.learning_rate, trainer.weight_decay, trainer.epochs, trainer.batch_size) == (1e-4, 1e-3, 50, 64)
    assert (trainer.average_decay, trainer.early_stop, trainer.final_lr_share) == (0.99, 20, 1.0)
    assert list(options.measures) == ["sdr"]
    assert found.params(3).seed == 3
    assert any("betas [0.9, 0.98] are not taken" in note for note in found.notes)
    assert any("num_workers" in note and "trainer.devices" in note for note in found.notes)


@pytest.mark.parametrize(
    ("words", "weights", "taps"),
    [
        (["model.loss.scale_invariant=false", "model.loss.convolution_invariant=true",
          "model.loss.convolution_filter_length=64"], {"sdr": 1.0}, 64),
        (["model.loss._target_=nemo.collections.audio.losses.MSELoss"], {"mse": 1.0}, None),
        (["model.loss._target_=nemo.collections.audio.losses.MSELoss", "model.loss.ndim=4"],
         {"spectral_mse": 1.0}, None),
        (["model.loss._target_=nemo.collections.audio.losses.MAELoss"], {"mae": 1.0}, None),
    ],
)  # fmt: skip
def test_losses(tmp_path: Path, words: list[str], weights: dict[str, float], taps: int | None) -> None:
    loss = read(tmp_path, *words).params(0).enhancement.loss
    assert {key: value for key, value in loss.weights.leaves().items() if value} == weights
    assert taps in (None, loss.filter_taps)


def test_keys_of_both_forms_override(tmp_path: Path) -> None:
    found = read(tmp_path, "model.optim.lr=3e-3", "train.cycles=2", "+model.mask_estimator.num_layers=1")
    params = found.params(0)
    assert (params.enhancement.trainer.learning_rate, params.train.cycles, params.enhancement.layers) == (3e-3, 2, 1)
    schedule = read(tmp_path, "model.optim.sched.name=CosineAnnealing", "model.optim.sched.min_lr=1e-5")
    assert schedule.params(0).enhancement.trainer.final_lr_share == pytest.approx(0.1)


def test_noise_and_rooms_make_pairs_of_clean_speech(tmp_path: Path) -> None:
    place = f"model.train_ds.noise_path={tmp_path}"
    found = read(tmp_path, place, "model.train_ds.noise_snr=[0,5]", "model.train_ds.rir_enabled=true")
    mixing = found.params(0).enhancement.mixing
    assert (mixing.noise_dir, mixing.snr_db, mixing.noise_probability) == (str(tmp_path), [0.0, 5.0], 0.5)
    assert (mixing.room_probability, mixing.speed_probability) == (0.5, 0.0)
    assert (
        read(tmp_path, place, "enhancement.mixing.speed_probability=0.3").params(0).enhancement.mixing.speed_probability
    )


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.train_ds.manifest_filepat=x", "unknown key; did you mean model.train_ds.manifest_filepath?"),
        ("model.loss._target_=nemo.collections.audio.losses.SDRLos",
         "did you mean nemo.collections.audio.losses.SDRLoss?; it is looked up in a table"),
        ("model.loss._target_=os.system", "got 'os.system'; it is looked up in a table"),
        ("model.skip_nan_grad=true", "got True; allowed: False: a loss that is not finite ends training"),
        ("model.encoder.magnitude_power=0.5", "got 0.5; allowed: 1.0: masks are applied to the spectrum as it is"),
        ("model.decoder.hop_length=128", "got 128, but the encoder has 256"),
        ("model.mask_estimator.num_subbands=256", "got 256; fft_length makes 257"),
        ("model.type=predictive", "got 'predictive'; no such network is here: take mask_based"),
        ("model.optim.name=sgd", "got 'sgd'; allowed: adam, adamw"),
        ("trainer.max_epochs=-1", "got -1; allowed: a whole number from 1: trainer.max_epochs=50"),
        ("trainer.precision=16", "got 16; allowed: 32: enhancers are trained in float32"),
        ("init_from_nemo_model=x.nemo", "got 'x.nemo'; not here: training starts from new weights"),
        ("model.train_ds.lowpass_prob=0.5", "not here: give enhancement.mixing.lowpass_probability and its range"),
        ("model.train_ds.cuts_path=c.jsonl", "manifest_filepath and cuts_path are given; give one of"),
        ("model.train_ds.normalization_signal=both", "normalization_signal: got 'both'"),
        ("model.loss.scale_invariant=false", "plain SDR is not here: scale_invariant or convolution_invariant: true"),
        ("model.metrics.val.sdr.channel=1", "got 1; allowed: 0: models here have one channel"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named_with_its_reason(tmp_path: Path, word: str, message: str) -> None:
    (line,) = refused(tmp_path, word)
    key = word.partition("=")[0].removeprefix("+")
    assert line.startswith(key.rpartition(".")[0])
    assert message in line


def test_what_is_to_be_given_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError) as caught:
        read_configuration(configuration(tmp_path))
    for key in ("train_ds", "validation_ds"):
        assert f"model.{key}.manifest_filepath: is to be given: model.{key}.manifest_filepath=…" in str(caught.value)
    with pytest.raises(ParamsError, match=r"min_duration: \$\{model.train_ds.length\} is not given"):
        given = copy.deepcopy(yaml.safe_load(MASKING))
        given["model"]["train_ds"]["min_duration"] = "${model.train_ds.length}"
        read_configuration(given, GIVEN)


def manifest(folder: Path, name: str, count: int, first: int) -> Path:
    rows = []
    for number in range(first, first + count):
        random = np.random.default_rng(number)
        clean = (0.1 * np.sin(np.arange(4000) * random.uniform(0.1, 0.5)) * random.uniform(0.2, 1)).astype(np.float32)
        noisy = clean + (0.03 * random.standard_normal(4000)).astype(np.float32)
        for kind, samples in (("noisy", noisy), ("clean", clean)):
            io.write_wav(folder / f"{number}-{kind}.wav", samples, RATE_HZ)
        row = {"audio_filepath": f"{number}-noisy.wav", "target_filepath": f"{number}-clean.wav", "duration": 0.5}
        rows.append(row)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name


def test_the_documented_example_trains_in_small(tmp_path: Path, say: Say) -> None:
    train, validation = manifest(tmp_path, "train.json", 4, 0), manifest(tmp_path, "dev.json", 3, 10)
    small = ("model.sample_rate=8000", "model.encoder.fft_length=128", "model.encoder.hop_length=64",
             "model.mask_estimator.num_subbands=65", "model.mask_estimator.num_features=8",
             "model.mask_estimator.num_layers=1", "model.train_ds.audio_duration=0.4",
             "model.train_ds.batch_size=2", "trainer.max_epochs=2")  # fmt: skip
    paths = (f"model.train_ds.manifest_filepath={train}", f"model.validation_ds.manifest_filepath={validation}")
    said = say("train", "--config", configuration(tmp_path), "--output", tmp_path / "run", *paths, *small)
    assert "model.optim.betas" in said
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["task"] == "enhancement"
    assert record["params"]["enhancement.width"] == 8
    clips = {split: record["data"][f"target_{split}"]["clips"] for split in ("train", "validation", "test")}
    assert clips == {"train": 3, "validation": 3, "test": 1}  # there is no test_ds: it is drawn
    history = (tmp_path / "run" / "start" / "learning_curves.csv").read_text().splitlines()
    assert len(history) == 3


def test_options_that_do_not_go_with_it(tmp_path: Path, say: Say) -> None:
    path = configuration(tmp_path)
    say("train", "--config", path, "--dataset", "espeak", code="--dataset does not go with the configuration")
    say("train", "trainer.max_epochs=1", "--dataset", "espeak", code="trainer.max_epochs=1 goes with the --config")
    say("train", code="--dataset is missing")
