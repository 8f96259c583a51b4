"""Declarations: every key is used or refused by name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from soundraft.audio.spectra import Spectra
from soundraft.models.classifier import build
from soundraft.params import ParamsError, defaults
from soundraft.runtime import UserError
from soundraft.splits import SplitRule
from soundraft.tasks.declaration import Declared, read_declaration

DOCUMENTED = """
input_features:
  - name: audio
    type: audio
    encoder: {type: stacked_cnn}
    preprocessing:
      audio_feature: {type: fbank, num_filter_bands: 80, window_length_in_s: 0.025, window_shift_in_s: 0.010}
      audio_file_length_limit_in_s: 5.0
      norm: per_file         # as in the documentation
  - {name: gender, type: category}
  - {name: age, type: number}
output_features:
  - {name: emotion, type: category}
trainer: {epochs: 20, early_stop: 5, learning_rate: 1e-3}
"""


def declaration(text: str) -> dict[str, Any]:
    """The smallest declaration with what `text` adds: `audio` and `output` to these features, `inputs` beside them."""
    given = yaml.safe_load(text) or {}
    audio, output, inputs = (given.pop(name, more) for name, more in (("audio", {}), ("output", {}), ("inputs", [])))
    return {
        "input_features": [{"name": "audio", "type": "audio", **audio}, *inputs],
        "output_features": [{"name": "emotion", "type": "category", **output}],
        **given,
    }


def read(text: str) -> Declared:
    return read_declaration(declaration(text))


def refused(given: dict[str, Any]) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        read_declaration(given)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def changed(declared: Declared) -> dict[str, Any]:
    """The settings of `classification` that are not those of params.yaml."""
    usual = defaults().classification.leaves()
    return {key: value for key, value in declared.options.leaves().items() if value != usual[key] and key != "target"}


def test_the_documented_example_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(DOCUMENTED)
    declared = read_declaration(tmp_path / "config.yaml")
    points = declared.options.features.num_fft_points
    assert changed(declared) == {
        "inputs": ["gender:category", "age:number"], "encoder.type": "stacked_cnn",
        "features.type": "fbank", "features.num_filter_bands": 80, "features.norm": "per_file",
        "features.window_length_in_s": 0.025, "features.window_shift_in_s": 0.01, "features.num_fft_points": points,
        "audio_file_length_limit_in_s": 5.0,
        "trainer.epochs": 20, "trainer.early_stop": 5, "trainer.learning_rate": 1e-3,
    }  # fmt: skip
    Spectra(declared.options.features)  # no filter is empty
    assert len(declared.notes) == 1
    assert f"num_fft_points is {points}" in declared.notes[0]
    assert declared.columns == {"gender": "gender", "age": "age", "emotion": "emotion"}
    assert read_declaration(tmp_path / "config.yaml", target="mood").options.target == "mood"


STFT = {"features.type": "stft", "features.norm": "per_file", "channel": "0"}
FOUR = [5, 3, 3, 3]


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("audio: {preprocessing: {type: stft, norm: per_file, channel: 0}}", STFT),
        ("audio: {preprocessing: {audio_feature: {type: stft}, norm: per_file, channel: '0'}}", STFT),
        ("preprocessing: {audio: {type: stft, norm: per_file, channel: 0}}", STFT),
        ("defaults: {audio: {preprocessing: {type: stft, norm: per_file, channel: 0}}}", STFT),
        ("{audio: {preprocessing: {type: stft}}, preprocessing: {type: mel, norm: per_file, channel: 0}}", STFT),
        ("audio: {preprocessing: {norm: null, num_fft_points: null, level_db: null}}", {"level_db": None}),
        ("audio: {preprocessing: {fill_value: null, in_memory: true, padding_value: 0}}", {}),
        ("audio: {encoder: {type: stacked_cnn_rnn}}", {"encoder.type": "cnnrnn"}),
        ("audio: {encoder: rnn, state_size: 20}", {"encoder.type": "rnn", "encoder.rnn.hidden_size": 20}),
        ("audio: {encoder: {members: 3, reduce_output: avg}}", {"encoder.members": 3, "encoder.pooling": "mean"}),
        ("audio: {encoder: {fc_layers: [{output_size: 48, dropout: 0.2}, {}]}}",
         {"encoder.num_fc_layers": 2, "encoder.output_size": 48, "encoder.fc_dropout": 0.2}),
        ("audio: {encoder: {type: wav2vec2, pretrained_model_name_or_path: a/b, trainable: true}}",
         {"encoder.type": "wav2vec2", "encoder.pretrained.model": "a/b", "encoder.pretrained.trainable": True}),
        ("audio: {encoder: {type: whisper, model: a/b, layer: 2}}",
         {"encoder.type": "whisper", "encoder.pretrained.model": "a/b", "encoder.pretrained.layer": 2}),
        ("trainer: {early_stop: -1, sampling: balanced}", {"trainer.early_stop": 0, "trainer.sampling": "balanced"}),
        ("trainer: {optimizer: {type: adam, lr: 0.01}}", {"trainer.learning_rate": 0.01, "trainer.weight_decay": 0}),
        ("trainer: {gradient_clipping: {clipglobalnorm: 0.5, clipnorm: null}}", {"trainer.max_grad_norm": 0.5}),
        ("trainer: {learning_rate_scheduler: {warmup_fraction: 0.2, decay: null}}",
         {"trainer.warmup_share": 0.2, "trainer.final_lr_share": 1.0}),
        ("trainer: {learning_rate_scheduler: {decay: cosine}, validation_metric: uar, validation_field: emotion}", {}),
        ("output: {loss: {type: softmax_cross_entropy, class_weights: balanced}, calibration: true}",
         {"trainer.class_weights": "balanced"}),
        ("inputs: [{name: age, type: numerical, preprocessing: {normalization: zscore}}]", {"inputs": ["age:number"]}),
        ("{model_type: ecd, ludwig_version: 0.10, combiner: {type: concat}, preprocessing: {sample_ratio: 1}}", {}),
        ("{defaults: null, preprocessing: null, trainer: null, augment: null, audio: {encoder: null}}", {}),
    ],
)  # fmt: skip
def test_keys_become_settings(text: str, settings: dict[str, Any]) -> None:
    assert changed(read(text)) == settings


SIZES = {"num_filters": [8, 12], "filter_sizes": [5, 3], "pool_sizes": [2, 1], "band_pool_sizes": [4, 1]}


@pytest.mark.parametrize(
    ("encoder", "settings"),
    [
        ("type: stacked_cnn, conv_layers: [{filter_size: 7, num_filters: 32, pool_size: 3}, {pool_size: null}]",
         {"num_filters": 32, "filter_sizes": [7, 3], "pool_sizes": [3, 1]}),
        ("type: stacked_cnn, conv_layers: [{}, {}], filter_size: 9, pool_size: 2",
         {"filter_sizes": [9, 9], "pool_sizes": [2, 2]}),
        ("type: stacked_cnn, num_conv_layers: 6", {"filter_sizes": [*FOUR, 3, 3], "pool_sizes": [2, 2, 2, 1, 1, 1]}),
        ("type: stacked_cnn, activation: gelu, use_bias: true, should_embed: false", {"filter_sizes": FOUR}),
        (f"type: stacked_cnn_2d, activation: relu, {str(SIZES)[1:-1]}", SIZES),
        ("type: parallel_cnn, conv_layers: [{filter_size: 2}, {filter_size: 9}], num_filters: 8, pool_size: null",
         {"num_filters": 8, "filter_sizes": [2, 9], "pool_size": 1}),
        ("type: stacked_parallel_cnn, stacked_layers: [[{filter_size: 2}, {}], [{filter_size: 2}, {}]]",
         {"num_stacks": 2, "filter_sizes": [2, 3]}),
        ("type: stacked_parallel_cnn, num_stacked_layers: 4, filter_size: 3",
         {"num_stacks": 4, "filter_sizes": [3, 3, 3, 3]}),
        ("type: rnn, state_size: 24, num_layers: 1, cell_type: gru, bidirectional: false, dropout: 0.0",
         {"hidden_size": 24, "num_layers": 1, "cell_type": "gru", "bidirectional": False, "dropout": 0.0}),
        ("type: cnnrnn, num_rec_layers: 2, state_size: 16, num_conv_layers: 1, filter_size: 9",
         {"num_layers": 2, "hidden_size": 16, "filter_sizes": [9], "pool_sizes": [2]}),
        ("type: transformer, num_heads: 4, num_layers: 1, hidden_size: 32, transformer_output_size: 48",
         {"num_heads": 4, "num_layers": 1, "hidden_size": 32, "transformer_output_size": 48}),
    ],
)  # fmt: skip
def test_layers_are_given_as_by_ludwig_or_as_in_params(encoder: str, settings: dict[str, Any]) -> None:
    options = read(f"audio: {{encoder: {{{encoder}}}}}").options
    knobs = options.encoder.knobs
    assert {name: getattr(knobs, name) for name in settings} == settings
    build(["a", "b"], options)  # they fit together


def test_the_learned_filter_bank_of_raw_samples_is_as_declared() -> None:
    bank = "type: raw, num_filter_bands: 20, window_length_in_s: 0.02, window_shift_in_s: 0.005"
    options = read(f"audio: {{preprocessing: {{{bank}}}}}").options
    one = options.model_copy(update={"encoder": options.encoder.model_copy(update={"members": 1})})
    filters = build(["a", "b"], one).model.reader.waves
    assert (filters.conv.out_channels, filters.window, filters.shift) == (2 * 20, 320, 80)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", None),
        ("split: {type: random}", SplitRule("random")),
        ("split: {probabilities: [0.6, 0.2, 0.2]}", SplitRule("random", (0.6, 0.2, 0.2))),
        ("split: {type: stratify, column: emotion}", SplitRule("stratify", column="emotion")),
        ("split: {type: speaker}", SplitRule("group", column="speaker")),
        ("split: {type: group, column: room}", SplitRule("group", column="room")),
        ("split: {type: fixed}", SplitRule("fixed", column="split")),
        ("split_probabilities: [0.8, 0.1, 0.1], force_split: true", SplitRule("random", (0.8, 0.1, 0.1))),
        ("stratify: emotion", SplitRule("stratify", column="emotion")),
    ],
)
def test_splits(text: str, rule: SplitRule | None) -> None:
    assert read(f"preprocessing: {{{text}}}").split == rule


def test_what_is_no_setting_of_the_network() -> None:
    drop = "preprocessing: {missing_value_strategy: drop_row}"
    assert read("").dropped == []
    assert read(f"audio: {{{drop}}}").dropped == read(f"defaults: {{audio: {{{drop}}}}}").dropped == ["audio"]
    assert read(f"output: {{{drop}}}").dropped == ["target"]
    folds = [(each.folds, each.k) for each in map(read, ("", "folds: speaker", "{folds: k, k: 4}"))]
    assert folds == [(None, None), ("speaker", None), ("k", 4)]
    assert read("limits: {max_bad_fraction: 0.25}").max_bad_fraction == 0.25
    assert read("limits: {}").max_bad_fraction == defaults().limits.max_bad_fraction
    declared = read("{audio: {column: path}, output: {column: mood}, inputs: [{name: a, type: number, column: b}]}")
    assert (declared.audio, declared.columns) == ("path", {"a": "b", "emotion": "mood"})


@pytest.mark.parametrize(
    ("text", "idle"),
    [
        ("audio: {preprocessing: {type: fbank, num_coefficients: 13}}", ["num_coefficients"]),
        ("audio: {preprocessing: {type: raw, window_type: hann, window_length_in_s: 0.02}}", ["window_type"]),
        ("audio: {preprocessing: {type: stft, num_filter_bands: 40}}", ["num_filter_bands"]),
        ("audio: {preprocessing: {type: mfcc, num_coefficients: 13, num_filter_bands: 40, window_type: hann}}", []),
        ("audio: {preprocessing: {padding_value: 1}}", ["padding_value"]),
        ("audio: {encoder: {type: rnn, num_layers: 1, dropout: 0.5}}", ["dropout"]),
        ("audio: {encoder: {type: rnn, num_fc_layers: 0, output_size: 64}}", ["output_size"]),
        ("audio: {encoder: {type: rnn, reduce_output: mixed}}", ["reduce_output"]),
        ("audio: {encoder: {type: rnn, reduce_output: mixed, members: 3, dropout: 0.5}}", []),
        ("augment: {time_masks: 0, time_share: 0.2}", ["time_share"]),
        ("augment: {mixup: 0.3}", ["mixup"]),
        ("augment: {time_masks: 2, frequency_masks: 1, mixup: 0.3, mixup_probability: 0.5, warp: 0.1}", []),
        ("{audio: {preprocessing: {type: mfcc}}, augment: {gain: 0.1, frequency_masks: 1}}", ["gain"]),
        ("{audio: {encoder: {type: hubert, model: a/b}}, augment: {warp: 0.1}}", ["warp"]),
        (
            "{audio: {encoder: {type: whisper, model: a/b}}, augment: {warp: 0.1, speed: 0.1, mixup: 0.2, "
            "mixup_probability: 0.5}}",
            ["speed", "warp"],
        ),
        ("{audio: {encoder: {type: whisper, model: a/b, reduce_output: attention}}, augment: {speed: 0.1}}", []),
        ("{audio: {encoder: {type: whisper, model: a/b, trainable: true}}, augment: {warp: 0.1, speed: 0.1}}", []),
    ],
)
def test_keys_that_change_nothing_are_noted(text: str, idle: list[str]) -> None:
    assert [note.split()[0].rpartition(".")[2] for note in read(text).notes] == idle


ENCODER, AUDIO = "input_features.0.encoder", "input_features.0.preprocessing"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("audio: {encoder: {type: stackd_cnn}}", f"{ENCODER}.type: got 'stackd_cnn'; did you mean stacked_cnn?"),
        ("audio: {encoder: {type: rnn, num_filters: 3}}", f"{ENCODER}.num_filters: not a key here"),
        ("audio: {encoder: rnn, num_layrs: 3}", "input_features.0.num_layrs: unknown key; did you mean num_layers?"),
        ("audio: {encoder: {type: rnn, state_size: 2, hidden_size: 2}}", f"{ENCODER}.state_size: "),
        ("audio: {encoder: {type: stacked_cnn, activation: relu}}", f"{ENCODER}.activation: "),
        ("audio: {encoder: {type: stacked_cnn_2d, conv_layers: []}}", f"{ENCODER}.conv_layers: this encoder"),
        ("audio: {encoder: {type: stacked_cnn, conv_layers: [{num_filters: 2}, {num_filters: 4}]}}",
         f"{ENCODER}.conv_layers.1.num_filters: "),
        ("audio: {encoder: {type: stacked_cnn, conv_layers: [{}, {}], num_conv_layers: 3}}", f"{ENCODER}: different"),
        ("audio: {encoder: {type: parallel_cnn, conv_layers: [{pool_size: [2]}]}}", f"{ENCODER}.conv_layers.0.pool"),
        ("audio: {encoder: {type: stacked_parallel_cnn, stacked_layers: [[{}], [{}, {}]]}}", f"{ENCODER}.stacked"),
        ("audio: {encoder: {fc_layers: [{output_size: 4}, {output_size: 5}]}}", f"{ENCODER}.fc_layers.1.output_size: "),
        ("audio: {encoder: {type: whisper}}", f"{ENCODER}.pretrained_model_name_or_path: missing"),
        ("audio: {encoder: {type: hubert, model: a/b, members: 2}}", f"{ENCODER}.members: "),
        ("audio: {encoder: {type: ast, model: a/b}, preprocessing: {type: mel}}", f"{AUDIO}.type: ast brings its own"),
        ("audio: {preprocessing: {windw_type: hann}}", f"{AUDIO}.windw_type: unknown key; did you mean window_type?"),
        ("audio: {preprocessing: {type: mel, audio_feature: {type: stft}}}", f"{AUDIO}.audio_feature.type: "),
        ("audio: {preprocessing: {missing_value_strategy: bfill}}", f"{AUDIO}.missing_value_strategy: "),
        ("audio: {preprocessing: {num_filter_bands: 200, num_fft_points: 640}}", f"{AUDIO}.num_filter_bands: got 200"),
        ("audio: {preprocessing: {window_shift_in_s: 0.5}}", f"{AUDIO}.window_shift_in_s: got 0.5"),
        ("{preprocessing: {norm: none}, defaults: {audio: {preprocessing: {norm: none}}}}", "preprocessing.norm: "),
        ("preprocessing: {oversample_minority: 0.5}", "preprocessing.oversample_minority: not here: give trainer.samp"),
        ("preprocessing: {split: {type: datetime}}", "preprocessing.split.type: "),
        ("preprocessing: {split: {probabilities: [1, 2, 3]}}", "preprocessing.split.probabilities: "),
        ("preprocessing: {split: {type: group}}", "preprocessing.split.column: missing"),
        ("preprocessing: {split: {type: fixed}, stratify: emotion}", "preprocessing.stratify: "),
        ("output: {type: number}", "output_features.0.type: got 'number'"),
        ("inputs: [{name: other, type: audio}]", "input_features: 2 are of type audio"),
        ("inputs: [{name: mood, column: emotion, type: category}]", "output_features.0.column: "),
        ("inputs: [{name: emotion, type: category}]", "output_features.0.name: "),
        ("trainer: {cycle_learning_rate: 0.1}", "trainer.cycle_learning_rate: not here"),
        ("trainer: {optimizer: {type: adam}, weight_decay: 0.1}", "trainer.weight_decay: adam"),
        ("trainer: {optimizer: {lr: 0.1}, learning_rate: 0.1}", "trainer.optimizer.lr: "),
        ("trainer: {max_grad_norm: 1, gradient_clipping: {clipglobalnorm: 2}}", "trainer.gradient_clipping.clipglob"),
        ("trainer: {final_lr_share: 0.5, learning_rate_scheduler: {decay: null}}", "trainer.learning_rate_scheduler."),
        ("{trainer: {class_weights: none}, output: {loss: {class_weights: sqrt}}}", "output_features.0.loss.class_w"),
        ("{trainer: {epochs: 3}, training: {epochs: 4}}", "training: the older name of trainer"),
        ("trainer: {validation_field: mood}", "trainer.validation_field: "),
        ("augment: {time_stripes: 2}", "augment.time_stripes: renamed to time_masks"),
        ("backend: ray", "backend: not here"),
        ("folds: speakers", "folds: got 'speakers'; did you mean speaker?"),
        ("{folds: official, k: 3}", "k: "),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_name(text: str, problem: str) -> None:
    found = refused(declaration(text))
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_all_problems_are_named_at_once() -> None:
    text = "{audio: {encoder: {type: rnn, depth: 2}}, trainer: {epohs: 1, early_stop: -5}, x: 1}"
    assert sorted(line.partition(":")[0] for line in refused(declaration(text))) == [
        f"{ENCODER}.depth", "trainer.early_stop", "trainer.epohs", "x",
    ]  # fmt: skip
    assert [line.partition(":")[0] for line in refused({})] == ["input_features", "output_features"]


@pytest.mark.parametrize("text", ["- a", "a: [", "", "{b: 1, b: 2}", None])
def test_a_file_that_holds_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match=r"c\.yaml"):
        read_declaration(tmp_path / "c.yaml")
