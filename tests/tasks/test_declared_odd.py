"""Declarations that contradict themselves, say a thing twice, or say it with values that nothing takes."""

from pathlib import Path
from typing import Any

import pytest

from soundraft.params import ParamsError
from soundraft.tasks.declaration import read_declaration
from tests.tasks.test_declared import declaration, read, refused


def test_everything_of_audio_may_stand_in_the_older_spelling() -> None:
    given = {
        "audio_file_length_limit_in_s": 3.0,
        "padding_value": 0,
        "missing_value_strategy": "drop_row",
        "channel": 1,
        "level_db": None,
    }
    found = read({"preprocessing": {"audio_feature": given}})
    options = found.options
    assert (options.audio_file_length_limit_in_s, options.channel, options.level_db) == (3.0, "1", None)
    assert found.dropped == ["audio"]
    assert found.notes[0].startswith("input_features.0.preprocessing.audio_feature.padding_value changes nothing")


def test_a_knob_of_an_encoder_that_changes_nothing_is_said() -> None:
    def notes(**encoder: Any) -> list[str]:
        return read({"encoder": encoder}).notes

    place = "input_features.0.encoder"
    assert notes(type="rnn", num_layers=1, dropout=0.5) == [
        f"{place}.dropout changes nothing: it is between recurrent layers, and there is one"
    ]
    assert notes(type="rnn", num_layers=2, dropout=0.5) == []
    assert notes(type="rnn", num_fc_layers=0, output_size=64)[0].startswith(f"{place}.output_size changes nothing")
    assert notes(type="rnn", reduce_output="mixed")[0].startswith(f"{place}.reduce_output mixed is statistics")
    assert notes(type="rnn", reduce_output="mixed", members=3) == []


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"type": "stacked_cnn", "num_filters": [8]}, "encoder.num_filters: got [8]"),
        ({"type": "stacked_cnn", "pool_size": 0}, "encoder.pool_size: got 0"),
        ({"type": "stacked_cnn", "conv_layers": [{"num_filters": [2]}]}, "conv_layers.0.num_filters: got [2]"),
        ({"type": "parallel_cnn", "pool_size": [2]}, "encoder.pool_size: got [2]"),
        ({"type": "parallel_cnn", "conv_layers": [{"pool_size": [2]}]}, "conv_layers.0: got [2]"),
        (
            {"type": "hubert", "model": "some/model", "members": 2},
            "encoder.members: hubert always is one network: leave it out",
        ),
    ],
)
def test_values_that_an_encoder_cannot_take(encoder: dict[str, Any], message: str) -> None:
    assert message in refused(declaration({"encoder": encoder}))


def test_very_many_bands_are_refused_and_not_computed() -> None:
    message = refused(declaration({"preprocessing": {"num_filter_bands": 10**12}}))
    assert "preprocessing.num_filter_bands: got 1000000000000: give 1 to 4096" in message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            declaration({"preprocessing": {"audio_feature": {"channel": 0}, "channel": 1}}),
            "audio_feature.channel: means the same as input_features.0.preprocessing.channel: give one of them",
        ),
        (
            declaration(preprocessing={"norm": "none", "audio": {"norm": "per_file"}}),
            "preprocessing.norm: means the same as preprocessing.audio.norm: give one of them",
        ),
        (
            declaration(preprocessing={"norm": "none"}, defaults={"audio": {"preprocessing": {"norm": "per_file"}}}),
            "preprocessing.norm: means the same as defaults.audio.preprocessing.norm: give one of them",
        ),
        (
            declaration(preprocessing={"stratify": "emotion", "split": {"type": "speaker"}}),
            "preprocessing.stratify: preprocessing.split says how clips are divided: give one of them",
        ),
        (
            declaration(preprocessing={"split_probabilities": [0.6, 0.2, 0.2], "split": {"type": "fixed"}}),
            "preprocessing.split_probabilities: preprocessing.split says how clips are divided",
        ),
        (
            declaration(preprocessing={"force_split": True, "split": {"type": "fixed"}}),
            "preprocessing.force_split: preprocessing.split says how clips are divided",
        ),
    ],
)
def test_what_is_said_twice_is_refused(given: dict[str, Any], message: str) -> None:
    assert message in refused(given)


def test_a_key_that_stands_twice_in_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("trainer:\n  epochs: 3\n  epochs: 9\n")
    with pytest.raises(ParamsError, match=r"the key epochs stands twice in .* line 3, column 3"):
        read_declaration(path)
