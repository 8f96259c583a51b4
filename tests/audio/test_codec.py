"""Codes and sound of the codec against transformers' own, bit for bit; which checkpoints it takes."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import EncodecConfig, EncodecModel

from soundraft import files
from soundraft.audio import codec
from soundraft.audio.codec import Codec, CodecError, Config
from soundraft.audio.ecdc import SAMPLES_PER_FRAME, frames_of
from tests.audio import codecs

SIZES = {
    "small": codecs.SMALL,
    "like tiny": codecs.LIKE_TINY,
    "plain shortcuts": codecs.SMALL | {"use_conv_shortcut": False, "num_residual_layers": 2},
}
CHUNK = codec._CHUNK_FRAMES * SAMPLES_PER_FRAME
# one sample, less than the 7 frames of the last layer, whole frames, the edges of chunks and of their context
LENGTHS = [
    *(1, 2, 319, 320, 321, 6 * 320, 7 * 320 - 1, 7 * 320, 7 * 320 + 1, 12000, 38400),
    *(CHUNK + offset for offset in (-1, 0, 1, 319, 320, 321, 639, 640, 641, 960)),
    *(2 * CHUNK + offset for offset in (-1, 0, 1, 640, 641)),
]


@functools.cache
def models(name: str) -> tuple[EncodecModel, Codec]:
    torch.set_num_threads(1)
    model = codecs.random_model(SIZES[name])
    return model, codecs.codec_of(model)


@pytest.mark.parametrize(
    ("name", "bandwidth_kbps", "lengths"),
    [("small", 24.0, LENGTHS), ("like tiny", 1.5, LENGTHS[::3]), ("plain shortcuts", 24.0, LENGTHS[1::3])],
)
def test_codes_are_those_of_transformers(name: str, bandwidth_kbps: float, lengths: list[int]) -> None:
    model, ours = models(name)
    for seed, length in enumerate(lengths):
        wave = codecs.samples(length, seed)
        theirs = codecs.transformers_codes(model, wave, bandwidth_kbps)
        assert theirs.shape == (bandwidth_kbps * 4 / 3, frames_of(length)), length
        assert length < 12000 or min(len(set(row)) for row in theirs.tolist()) > 5  # the signal gets through
        assert np.array_equal(ours.encode(wave, bandwidth_kbps), theirs), length
        assert np.array_equal(ours.encode_one(wave, bandwidth_kbps), theirs), length


@given(length=st.integers(1, 8 * CHUNK), seed=st.integers(0, 1000))
@settings(max_examples=12, deadline=None)
def test_chunks_do_not_show_at_any_length(length: int, seed: int) -> None:
    wave = codecs.samples(length, seed)
    for name in ("small", "like tiny"):
        _, ours = models(name)
        assert np.array_equal(ours.encode(wave, 6.0), ours.encode_one(wave, 6.0))


def test_silence_and_full_scale() -> None:
    model, ours = models("small")
    for wave in (np.zeros(9000, np.float32), np.ones(9000, np.float32), np.tile(np.float32([1, -1]), 4500)):
        assert np.array_equal(ours.encode(wave, 6.0), codecs.transformers_codes(model, wave, 6.0))


@pytest.mark.parametrize("name", SIZES)
def test_decoding_is_that_of_transformers(name: str) -> None:
    model, ours = models(name)
    for seed, frames in enumerate((1, 2, 7, 75)):
        codes = np.random.default_rng(seed).integers(0, 1024, (8, frames))
        with torch.no_grad():
            theirs = model.decode(torch.from_numpy(codes)[None, None], [None]).audio_values[0, 0].numpy()
        assert theirs.shape == (frames * SAMPLES_PER_FRAME,)
        assert np.array_equal(ours.decode(codes), theirs)


def test_a_config_has_the_defaults_of_transformers(tmp_path: Path) -> None:
    assert Config() == Config.model_validate(EncodecConfig().to_dict())


def weights_changed(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        safetensors.torch.save_file(change(safetensors.torch.load_file(path)), path, {"format": "pt"})

    return damage


def config_changed(**values: Any) -> Callable[[Path], None]:
    return lambda folder: files.write_json(folder / "config.json", files.read_json(folder / "config.json") | values)


def older_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Those of facebook/encodec_24khz: torch called the parts of a weight otherwise."""
    older = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for now, then in older.items():
        weights = {name.replace(now, then): value for name, value in weights.items()}
    return weights


def in_parts(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    models("small")[0].save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("*.safetensors"))) > 2


@pytest.mark.parametrize(
    "change",
    [in_parts, weights_changed(older_names), weights_changed(lambda found: {n: v.half() for n, v in found.items()})],
)
def test_every_form_of_a_checkpoint_is_what_transformers_reads(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    models("small")[0].save_pretrained(tmp_path)
    change(tmp_path)
    reference = EncodecModel.from_pretrained(tmp_path, dtype=torch.float32)
    wave = codecs.noise(0.5, 5)
    assert np.array_equal(codec.load(tmp_path).encode(wave, 6.0), codecs.transformers_codes(reference, wave, 6.0))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), ["weights are missing"]),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), [""]),
        (lambda folder: os.truncate(folder / "model.safetensors", 50_000), [""]),
        (lambda folder: (folder / "config.json").write_text("{"), ["JSON"]),
        (lambda folder: (folder / "config.json").unlink(), ["config.json"]),
        (
            weights_changed(lambda weights: {n: v for n, v in weights.items() if "lstm" not in n}),
            ["16 weights are missing", "decoder.layers.1.lstm.bias_hh_l0"],
        ),
        (config_changed(num_filters=4), ["size"]),
        (config_changed(num_filters="eight"), ["num_filters"]),
        (config_changed(normalize=True), ["normalize"]),
        (config_changed(upsampling_ratios=[4, 4, 4, 2]), ["upsampling_ratios", "128", "320"]),
        (config_changed(codebook_size=512), ["codebook_size", "1024"]),
        (config_changed(pad_mode="constant"), ["pad_mode", "reflect"]),
        (
            config_changed(sampling_rate=48000, audio_channels=2, use_causal_conv=False, norm_type="time_group_norm"),
            ["sampling_rate", "audio_channels", "use_causal_conv", "norm_type"],
        ),
    ],
)
def test_a_damaged_or_foreign_checkpoint_is_named_with_its_faults(
    tmp_path: Path, damage: Callable[[Path], object], words: list[str]
) -> None:
    models("small")[0].save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(CodecError) as refused:
        codec.load(tmp_path)
    assert [word for word in (str(tmp_path), *words) if word not in str(refused.value)] == []
