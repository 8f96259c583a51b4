"""Declarations: every key is honoured or refused by name."""

import copy
from pathlib import Path
from typing import Any

import pytest

from soundraft.audio.spectra import Spectra
from soundraft.clips.splitting import SplitRule
from soundraft.models.classifier import build
from soundraft.params import ParamsError, defaults
from soundraft.tasks.classification import encoder_settings
from soundraft.tasks.declaration import Declared, read_declaration

DOCUMENTED = """
input_features:
  - name: audio
    type: audio
    encoder:
      type: stacked_cnn
    preprocessing:
      audio_feature:
        type: fbank         # mel-filterbank energies
        num_filter_bands: 80
        window_length_in_s: 0.025
        window_shift_in_s: 0.010
      audio_file_length_limit_in_s: 5.0
      norm: per_file
  - name: gender
    type: category
  - name: age
    type: number
output_features:
  - name: emotion
    type: category
trainer:
  epochs: 20
  early_stop: 5
  learning_rate: 1e-3
"""


def declaration(
    audio: dict[str, Any] | None = None, output: dict[str, Any] | None = None, **top: Any
) -> dict[str, Any]:
    return {
        "input_features": [{"name": "audio", "type": "audio", **(audio or {})}],
        "output_features": [{"name": "emotion", "type": "category", **(output or {})}],
        **copy.deepcopy(top),
    }


def read(audio: dict[str, Any] | None = None, **top: Any) -> Declared:
    return read_declaration(declaration(audio, **top))


def refused(given: dict[str, Any]) -> str:
    with pytest.raises(ParamsError) as caught:
        read_declaration(given)
    return str(caught.value)


def knobs(**encoder: Any) -> dict[str, Any]:
    """The settings of the encoder as its network gets them; building proves that they fit."""
    options = read({"encoder": encoder}).options
    settings = encoder_settings(options.encoder)
    build(["a", "b"], features=options.features.model_dump(), encoder=settings)
    return settings


def test_the_documented_example_is_taken_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(DOCUMENTED)
    found = read_declaration(tmp_path / "config.yaml")
    options = found.options
    assert (options.target, options.inputs) == ("emotion", ["gender:category", "age:number"])
    assert (options.features.type, options.features.num_filter_bands, options.features.norm) == (
        "fbank",
        80,
        "per_file",
    )
    assert (options.features.window_length_in_s, options.audio_file_length_limit_in_s) == (0.025, 5.0)
    assert (options.trainer.epochs, options.trainer.early_stop, options.trainer.learning_rate) == (20, 5, 1e-3)
    assert options.trainer.batch_size == defaults().classification.trainer.batch_size
    Spectra(**options.features.model_dump())  # no filter is empty
    assert "4 of 80 filters would be empty" in found.notes[0]


@pytest.mark.parametrize(
    ("feature", "top"),
    [
        ({"preprocessing": {"type": "stft", "norm": "per_file", "channel": 0}}, {}),
        ({"preprocessing": {"audio_feature": {"type": "stft"}, "norm": "per_file", "channel": "0"}}, {}),
        ({}, {"preprocessing": {"type": "stft", "norm": "per_file", "channel": 0}}),
        ({}, {"preprocessing": {"audio": {"type": "stft", "norm": "per_file", "channel": 0}}}),
        ({}, {"defaults": {"audio": {"preprocessing": {"type": "stft", "norm": "per_file", "channel": 0}}}}),
        (
            {"preprocessing": {"audio_feature": {"type": "stft"}}},
            {"preprocessing": {"type": "fbank", "norm": "per_file", "channel": 0}},
        ),
    ],
)
def test_preprocessing_stands_where_people_put_it(feature: dict[str, Any], top: dict[str, Any]) -> None:
    options = read(feature, **top).options
    assert (options.features.type, options.features.norm, options.channel) == ("stft", "per_file", "0")


def test_rows_are_dropped_only_where_a_declaration_says_so() -> None:
    drop = {"missing_value_strategy": "drop_row"}
    assert read({}).dropped == []
    assert read({"preprocessing": drop}).dropped == ["audio"]
    assert read({}, defaults={"audio": {"preprocessing": drop}}).dropped == ["audio"]
    assert read({}, output={"preprocessing": drop}).dropped == ["target"]


def test_keys_of_other_features_are_said_to_change_nothing() -> None:
    def notes(**preprocessing: Any) -> list[str]:
        return read({"preprocessing": preprocessing}).notes

    place = "input_features.0.preprocessing"
    assert notes(type="fbank", num_coefficients=13) == [
        f"{place}.num_coefficients changes nothing: it is of mfcc, and this is fbank"
    ]
    everything = {"num_filter_bands": 40, "window_length_in_s": 0.02, "window_shift_in_s": 0.01}
    assert [note.split()[0] for note in notes(type="raw", window_type="hann", **everything)] == [f"{place}.window_type"]
    assert [note.split()[0] for note in notes(type="stft", **everything)] == [f"{place}.num_filter_bands"]
    assert notes(type="mfcc", num_coefficients=13, num_filter_bands=40, window_type="hann") == []


def test_the_learned_filter_bank_of_raw_samples_is_as_declared() -> None:
    given = {"type": "raw", "num_filter_bands": 20, "window_length_in_s": 0.02, "window_shift_in_s": 0.005}
    options = read({"preprocessing": given}).options
    model = build(
        ("a", "b"),
        features=options.features.model_dump(),
        encoder={**encoder_settings(options.encoder), "members": 1},
    ).model
    filters = model.reader.waves
    assert (filters.conv.out_channels, filters.window, filters.shift) == (2 * 20, 320, 80)


def test_augmentation_that_changes_nothing_is_said() -> None:
    def notes(audio: dict[str, Any] | None = None, **augment: Any) -> list[str]:
        return read(audio, augment=augment).notes

    assert notes(time_masks=0, time_share=0.2) == ["augment.time_share changes nothing: time_masks is 0"]
    assert notes(frequency_share=0.2) == ["augment.frequency_share changes nothing: frequency_masks is 0"]
    assert notes(time_masks=2, time_share=0.0) == ["augment.time_masks changes nothing: time_share is 0"]
    assert notes(mixup_probability=0.5) == ["augment.mixup_probability changes nothing: mixup is 0"]
    assert notes(mixup=0.3) == ["augment.mixup changes nothing: mixup_probability is 0"]
    assert notes(background=0.0, background_snr_db=[10.0, 20.0]) == [
        "augment.background_snr_db changes nothing: background is 0"
    ]
    assert notes(time_masks=2, frequency_masks=1, mixup=0.3, mixup_probability=0.5, background=0.3, warp=0.1) == []
    mfcc = {"preprocessing": {"type": "mfcc"}}
    assert notes(mfcc, gain=0.1, frequency_masks=1) == [
        "augment.gain changes nothing: it is of fbank, mel, and this is mfcc"
    ]
    heard = {"encoder": {"type": "hubert", "model": "some/model"}}
    assert notes(heard, warp=0.1) == [
        "augment.warp changes nothing: it is of stft, group_delay, fbank, mel, whisper, ast, and this is hubert"
    ]


def test_layers_are_told_in_their_names_or_ours() -> None:
    layers = [{"filter_size": 7, "num_filters": 32, "pool_size": 3}, {"filter_size": 3, "pool_size": None}]
    found = knobs(type="stacked_cnn", conv_layers=layers, fc_layers=[{"output_size": 48, "dropout": 0.2}])
    assert (found["num_filters"], found["filter_sizes"], found["pool_sizes"]) == (32, [7, 3], [3, 1])
    assert (found["num_fc_layers"], found["output_size"], found["fc_dropout"]) == (1, 48, 0.2)
    usual = defaults().classification.encoder.stacked_cnn
    found = knobs(type="stacked_cnn", num_conv_layers=6, reduce_output="avg")
    assert found["filter_sizes"] == [*usual.filter_sizes, usual.filter_sizes[-1], usual.filter_sizes[-1]]
    assert found["pooling"] == "mean"
    assert knobs(type="stacked_cnn", filter_sizes=[5, 5], pool_sizes=[1, 2])["pool_sizes"] == [1, 2]
    sizes = {"num_filters": [8, 12], "filter_sizes": [5, 3], "pool_sizes": [2, 1], "band_pool_sizes": [4, 1]}
    found = knobs(type="stacked_cnn_2d", activation="relu", **sizes)
    assert {name: found[name] for name in sizes} == sizes
    found = knobs(type="parallel_cnn", conv_layers=[{"filter_size": 2}, {"filter_size": 9}], num_filters=8)
    assert (found["num_filters"], found["filter_sizes"]) == (8, [2, 9])
    stacks = [[{"filter_size": 2}, {"filter_size": 3}]] * 2
    found = knobs(type="stacked_parallel_cnn", stacked_layers=stacks)
    assert (found["num_stacks"], found["filter_sizes"]) == (2, [2, 3])
    found = knobs(type="rnn", state_size=24, num_layers=1, cell_type="gru", bidirectional=False, dropout=0.0)
    assert (found["hidden_size"], found["cell_type"], found["bidirectional"]) == (24, "gru", False)
    found = knobs(type="stacked_cnn_rnn", num_rec_layers=2, state_size=16, num_conv_layers=1, filter_size=9)
    assert (found["type"], found["num_layers"], found["filter_sizes"]) == ("cnnrnn", 2, [9])
    found = knobs(type="transformer", num_heads=4, num_layers=1, hidden_size=32, transformer_output_size=48)
    assert (found["num_heads"], found["hidden_size"], found["transformer_output_size"]) == (4, 32, 48)


def test_the_older_spelling_has_the_knobs_beside_the_encoder() -> None:
    found = read({"encoder": "rnn", "state_size": 20, "num_layers": 1}).options.encoder
    assert (found.type, found.rnn.hidden_size, found.rnn.num_layers) == ("rnn", 20, 1)
    found = read(training={"epochs": 3}).options
    assert found.trainer.epochs == 3


def test_pretrained_encoders() -> None:
    encoder = {"type": "wav2vec2", "pretrained_model_name_or_path": "some/model", "trainable": True}
    found = read({"encoder": encoder}).options.encoder
    assert (found.type, found.pretrained.model, found.pretrained.trainable) == ("wav2vec2", "some/model", True)
    message = refused(declaration({"encoder": encoder | {"use_pretrained": False}, "preprocessing": {"type": "mel"}}))
    assert "input_features.0.encoder.use_pretrained: got False; allowed: true" in message
    assert "input_features.0.preprocessing.type: wav2vec2 brings its own features" in message
    message = refused(declaration({"encoder": {"type": "whisper"}}))
    assert "encoder.pretrained_model_name_or_path: missing: whisper needs" in message


def test_the_trainer() -> None:
    found = read(
        trainer={
            "early_stop": -1,
            "optimizer": {"type": "adam", "lr": 0.01},
            "gradient_clipping": {"clipglobalnorm": 0.5},
            "learning_rate_scheduler": {"warmup_fraction": 0.2, "decay": None},
            "sampling": "balanced",
        },
        augment={"mixup": 0.0},
    )
    trainer = found.options.trainer
    assert (trainer.early_stop, trainer.learning_rate, trainer.weight_decay) == (0, 0.01, 0.0)
    assert (trainer.max_grad_norm, trainer.warmup_share, trainer.final_lr_share) == (0.5, 0.2, 1.0)
    assert (trainer.sampling, found.options.augment.mixup) == ("balanced", 0.0)
    message = refused(declaration(trainer={"optimizer": {"type": "adam"}, "weight_decay": 0.1}))
    assert "trainer.weight_decay: adam adds weight decay to the gradients" in message
    loss = {"type": "softmax_cross_entropy", "class_weights": "balanced"}
    assert read_declaration(declaration(output={"loss": loss})).options.trainer.class_weights == "balanced"


@pytest.mark.parametrize(
    ("preprocessing", "rule"),
    [
        ({}, SplitRule()),
        ({"split": {"type": "random"}}, SplitRule("random", said=True)),
        ({"split": {"probabilities": [0.6, 0.2, 0.2]}}, SplitRule("random", (0.6, 0.2, 0.2))),
        ({"split": {"type": "stratify", "column": "emotion"}}, SplitRule("stratify", column="emotion", said=True)),
        ({"split": {"type": "speaker"}}, SplitRule("group", column="speaker", said=True)),
        ({"split": {"type": "group", "column": "room"}}, SplitRule("group", column="room", said=True)),
        ({"split": {"type": "fixed", "column": "part"}}, SplitRule("fixed", column="part", said=True)),
        (
            {"split_probabilities": [0.8, 0.1, 0.1], "force_split": True},
            SplitRule("random", (0.8, 0.1, 0.1), said=True),
        ),
        ({"stratify": "emotion"}, SplitRule("stratify", column="emotion", said=True)),
    ],
)
def test_splits(preprocessing: dict[str, Any], rule: SplitRule) -> None:
    assert read(preprocessing=preprocessing).split == rule


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (declaration({"encoder": {"type": "stackd_cnn"}}), "got 'stackd_cnn'; did you mean stacked_cnn?; allowed"),
        (declaration({"encoder": {"type": "rnn", "num_filters": 3}}), "encoder.num_filters: unknown key"),
        (declaration({"encoder": {"type": "rnn", "num_layrs": 3}}), "num_layrs: unknown key; did you mean num_layers?"),
        (
            declaration({"encoder": {"type": "rnn", "cell_type": "rnn"}}),
            "encoder.cell_type: got 'rnn'; allowed: 'lstm'",
        ),
        (declaration({"encoder": {"type": "rnn", "state_size": 2, "hidden_size": 2}}), "give one of them"),
        (declaration({"encoder": {"type": "stacked_cnn", "activation": "relu"}}), "got 'relu'; allowed: gelu"),
        (declaration({"encoder": {"type": "stacked_cnn_2d", "conv_layers": []}}), "this encoder takes the sizes"),
        (declaration({"encoder": {"type": "stacked_cnn", "reduce_output": "sum"}}), "got 'sum'; allowed: statistics"),
        (
            declaration({"encoder": {"type": "stacked_cnn", "conv_layers": [{"num_filters": 2}, {"num_filters": 4}]}}),
            "conv_layers.1.num_filters: got 4; allowed: 2",
        ),
        (
            declaration({"encoder": {"type": "stacked_cnn", "conv_layers": [{}, {}], "num_conv_layers": 3}}),
            "conv_layers has 2, but input_features.0.encoder.num_conv_layers says 3",
        ),
        (declaration({"preprocessing": {"windw_type": "hann"}}), "did you mean window_type?"),
        (declaration({"preprocessing": {"window_type": "boxcar"}}), "preprocessing.window_type: got 'boxcar'; allowed"),
        (
            declaration({"preprocessing": {"type": "mel", "audio_feature": {"type": "stft"}}}),
            "audio_feature.type: means the same as input_features.0.preprocessing.type: give one of them",
        ),
        (declaration({"preprocessing": {"missing_value_strategy": "bfill"}}), "got 'bfill'; allowed: drop_row"),
        (declaration({"preprocessing": {"num_filter_bands": 200, "num_fft_points": 640}}), "num_filter_bands: got 200"),
        (declaration({"preprocessing": {"window_shift_in_s": 0.5}}), "preprocessing.window_shift_in_s: got 0.5"),
        (declaration(output={"type": "number"}), "output_features.0.type: got 'number'; allowed: category"),
        (declaration(trainer={"batch_size": "auto"}), "trainer.batch_size: got 'auto'; allowed"),
        (declaration(trainer={"cycle_learning_rate": 0.1}), "trainer.cycle_learning_rate: not here"),
        (declaration(trainer={"optimizer": {"type": "sgd"}}), "optimizer.type: got 'sgd'; allowed: adam, adamw"),
        (declaration(trainer={"epohs": 3}), "trainer.epohs: unknown key; did you mean epochs?"),
        (
            declaration(output={"loss": {"class_weights": "sqrt"}}, trainer={"class_weights": "none"}),
            "trainer.class_weights: means the same as output_features.0.loss.class_weights: give one of them",
        ),
        (
            declaration(trainer={"max_grad_norm": 1.0, "gradient_clipping": {"clipglobalnorm": 0.5}}),
            "clipglobalnorm: means the same as trainer.max_grad_norm: give one of them",
        ),
        (
            declaration(trainer={"optimizer": {"lr": 0.1}, "learning_rate": 0.1}),
            "trainer.optimizer.lr: means the same as trainer.learning_rate: give one of them",
        ),
        (
            declaration(trainer={"final_lr_share": 0.5, "learning_rate_scheduler": {"decay": None}}),
            "learning_rate_scheduler.decay: says what trainer.final_lr_share says: give one of them",
        ),
        (declaration(backend="ray"), "backend: not here"),
        (declaration(hyperopt={}), "hyperopt: not here"),
        (declaration(model_type="gbm"), "model_type: got 'gbm'; allowed: ecd"),
        (declaration(combiner={"type": "tabnet"}), "combiner.type: got 'tabnet'; allowed: concat"),
        (declaration(soundraft={}), "soundraft: unknown key; a declaration has"),
        (declaration(preprocessing={"split": {"type": "datetime"}}), "split.type: got 'datetime'; allowed: random"),
        (declaration(preprocessing={"split": {"probabilities": [1, 2, 3]}}), "allowed: three shares above 0"),
        (declaration(preprocessing={"oversample_minority": 0.5}), "give trainer.sampling: balanced"),
        ({"output_features": [{"name": "x", "type": "category"}]}, "input_features: none is of type audio"),
        ({"input_features": [{"name": "a", "type": "audio"}] * 2}, "input_features: 2 are of type audio"),
        ({"input_features": [{"name": "a", "type": "text"}]}, "got 'text'"),
        (
            {
                "input_features": [
                    {"name": "audio", "type": "audio"},
                    {"name": "mood", "column": "emotion", "type": "category"},
                ],
                "output_features": [{"name": "emotion", "type": "category"}],
            },
            "output_features.0.column: the input mood reads 'emotion' too: the answer would be an input",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    said = refused(given)
    assert message in said


def test_all_problems_are_told_at_once() -> None:
    message = refused(
        declaration({"encoder": {"type": "rnn", "depth": 2}}, trainer={"epohs": 1, "early_stop": -5}, x=1)
    )
    assert message.startswith("4 problems in the declaration\n")
    assert [line.split(":")[0].strip() for line in message.splitlines()[1:]] == [
        "input_features.0.encoder.depth",
        "trainer.epohs",
        "x",
        "trainer.early_stop",
    ]


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for text, message in (("- a", "is no declaration"), ("a: [", "is not YAML"), ("", "is no declaration")):
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(ParamsError, match=message):
            read_declaration(tmp_path / "c.yaml")
    with pytest.raises(ParamsError, match=r"cannot read .*No such file"):
        read_declaration(tmp_path / "none.yaml")


def test_folds_are_read() -> None:
    assert (read().folds, read().k) == (None, None)
    assert (read(folds="speaker").folds, read(folds=None).folds) == ("speaker", None)
    asked = read(folds="k", k=4)
    assert (asked.folds, asked.k) == ("k", 4)
    wrong = {
        "folds: got 'speakers'; did you mean speaker?; allowed: null, official, speaker, k": {"folds": "speakers"},
        "k: got 1; allowed: whole numbers from 2": {"folds": "k", "k": 1},
        "k: got True; allowed: whole numbers from 2": {"folds": "k", "k": True},
        "k: says how many folds: it goes with folds: k or speaker": {"folds": "official", "k": 3},
    }
    for message, keys in wrong.items():
        assert message in refused(declaration(**keys))


def test_how_many_clips_may_be_bad() -> None:
    usual = defaults().limits.max_bad_fraction
    assert [read(**keys).max_bad_fraction for keys in ({}, {"limits": None}, {"limits": {}})] == [usual] * 3
    assert read(limits={"max_bad_fraction": 0.25}).max_bad_fraction == 0.25
    assert "limits.max_bad_fraction: got 2; allowed: 0–1" in refused(declaration(limits={"max_bad_fraction": 2}))
    assert "limits.max_clips: unknown key" in refused(declaration(limits={"max_clips": 2}))
