"""Codes of many clips at once against transformers' own of each clip alone, and against the `encodec` package's."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from encodec import EncodecModel as PackageModel
from encodec import modules, quantization
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import EncodecConfig, EncodecModel

from soundraft import files
from soundraft.audio import codec, network
from soundraft.audio.codec import Codec, CodecError
from soundraft.audio.ecdc import SAMPLES_PER_FRAME, frames_of
from tests.audio import codecs

SIZES = {"small": codecs.SMALL, "like tiny": codecs.LIKE_TINY}
CHUNK = codec._CHUNK_FRAMES * SAMPLES_PER_FRAME
# one sample, less than the 7 frames of the last layer, whole frames, the edges of chunks and of their context
LENGTHS = [
    *(1, 2, 319, 320, 321, 6 * 320, 7 * 320 - 1, 7 * 320, 7 * 320 + 1, 12000, 38400),
    *(CHUNK + offset for offset in (-1, 0, 1, 319, 320, 321, 639, 640, 641, 960)),
    *(2 * CHUNK + offset for offset in (-1, 0, 1, 640, 641)),
]


@functools.cache
def model(name: str) -> Codec:
    torch.set_num_threads(1)
    return codec.of_model(codecs.random_model(SIZES[name]))


def test_the_random_models_let_signals_through() -> None:
    for name in SIZES:
        codes = model(name).encode_one(codecs.noise(4.0, 1), 24.0)
        assert codes.shape == (32, 300)
        assert min(len(set(row)) for row in codes.tolist()) > 10


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("bandwidth_kbps", [1.5, 24.0])
def test_the_fast_way_has_the_codes_of_transformers(name: str, bandwidth_kbps: float) -> None:
    for seed, length in enumerate(LENGTHS):
        wave = codecs.samples(length, seed)
        codes = model(name).encode(wave, bandwidth_kbps)
        alone = model(name).encode_one(wave, bandwidth_kbps)
        with torch.no_grad():
            theirs = model(name).model.encode(torch.from_numpy(wave)[None, None], bandwidth=bandwidth_kbps).audio_codes
        assert np.array_equal(alone, theirs[0, 0].numpy()), length
        assert np.array_equal(codes, alone), length
        assert codes.shape == (bandwidth_kbps * 4 / 3, frames_of(length)), length


@given(length=st.integers(1, 12 * CHUNK), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_any_length(length: int, seed: int) -> None:
    wave = codecs.samples(length, seed)
    for name in SIZES:
        assert np.array_equal(model(name).encode(wave, 6.0), model(name).encode_one(wave, 6.0))


def test_silence_and_full_scale() -> None:
    waves = [np.zeros(9000, np.float32), np.ones(9000, np.float32), np.tile(np.float32([1, -1]), 4500)]
    for wave in waves:
        assert np.array_equal(model("small").encode(wave, 6.0), model("small").encode_one(wave, 6.0))


@pytest.mark.parametrize("name", SIZES)
def test_decoding_is_that_of_transformers(name: str) -> None:
    for seed, frames in enumerate((1, 2, 7, 75)):
        codes = np.random.default_rng(seed).integers(0, 1024, (8, frames))
        with torch.no_grad():
            theirs = model(name).model.decode(torch.from_numpy(codes)[None, None], [None]).audio_values[0, 0].numpy()
        ours = model(name).decode(codes)
        assert ours.shape == (frames * SAMPLES_PER_FRAME,)
        assert np.array_equal(ours, theirs)


def package_model(ours: EncodecModel) -> PackageModel:
    """The `encodec` package's model of the same sizes with the same weights, copied by name."""
    config = ours.config
    sizes = {
        "dimension": config.hidden_size, "n_filters": config.num_filters, "ratios": list(config.upsampling_ratios),
        "lstm": config.num_lstm_layers, "norm": "weight_norm", "causal": True,
    }  # fmt: skip
    bandwidths = list(config.target_bandwidths)
    quantizer = quantization.ResidualVectorQuantizer(config.hidden_size, config.num_quantizers, config.codebook_size)
    encoder, decoder = modules.SEANetEncoder(**sizes), modules.SEANetDecoder(**sizes)
    theirs = PackageModel(encoder, decoder, quantizer, bandwidths, config.sampling_rate, config.audio_channels)
    theirs.load_state_dict({_package_name(name): value for name, value in ours.state_dict().items()})
    return theirs.eval()


def _package_name(name: str) -> str:
    """`encoder.layers.0.conv.parametrizations.weight.original0` is `encoder.model.0.conv.conv.weight_g` there."""
    if name.startswith("quantizer."):
        return name.replace("quantizer.layers.", "quantizer.vq.layers.").replace(".codebook.", "._codebook.")
    kind, _, rest = name.partition(".layers.")
    rest = rest.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )
    wrapped = "convtr.convtr" if kind == "decoder" and _is_transposed(rest) else "conv.conv"
    return f"{kind}.model.{rest.replace('conv.', f'{wrapped}.')}"


def _is_transposed(rest: str) -> bool:
    """In the decoder the layers 3, 6, 9, … upsample: convolution, LSTM, then ELU, upsampling, residual block each."""
    number = int(rest.split(".", 1)[0])
    return number % 3 == 0 and 0 < number < 15 and ".block." not in rest and ".shortcut." not in rest


@pytest.mark.parametrize("name", SIZES)
def test_the_encodec_package_gives_the_same_codes_with_the_same_weights(name: str) -> None:
    theirs = package_model(model(name).model)
    for bandwidth_kbps in (1.5, 6.0, 24.0):
        theirs.set_target_bandwidth(bandwidth_kbps)
        waves = [codecs.samples(length, seed) for seed, length in enumerate((320, 3000, 24000, CHUNK + 641))]
        for wave in waves:
            codes = model(name).encode(wave, bandwidth_kbps)
            with torch.no_grad():
                ((expected, scale),) = theirs.encode(torch.from_numpy(wave)[None, None])
                sound = theirs.decode([(expected, scale)])[0, 0].numpy()
            assert scale is None
            assert np.array_equal(codes, expected[0].numpy())
            np.testing.assert_allclose(model(name).decode(codes), sound, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"sampling_rate": 48000, "audio_channels": 2, "normalize": True, "chunk_length_s": 1.0, "overlap": 0.01,
             "use_causal_conv": False, "norm_type": "time_group_norm"},
            ["sampling_rate is 48000, not 24000", "audio_channels is 2", "normalize is True", "chunk_length_s is 1.0",
             "use_causal_conv is False", "norm_type is time_group_norm"],
        ),
        ({"normalize": True}, ["normalize is True, not False"]),
        ({"use_causal_conv": False}, ["use_causal_conv is False, not True"]),
        ({"upsampling_ratios": [4, 4, 4, 2]}, ["hop_length is 128, not 320"]),
        ({"codebook_size": 512}, ["codebook_size is 512, not 1024"]),
        ({"pad_mode": "constant"}, ["pad_mode is constant, not reflect"]),
    ],
)  # fmt: skip
def test_another_kind_of_model_is_refused_by_its_keys(change: dict, named: list[str]) -> None:
    foreign = EncodecModel(EncodecConfig(**codecs.SMALL | change))
    with pytest.raises(CodecError, match="not a 24 kHz EnCodec like facebook/encodec_24khz") as refused:
        codec.of_model(foreign)
    assert [text for text in named if text not in str(refused.value)] == []
    assert str(refused.value).count(" is ") == len(named)


def without_lstm(folder: Path) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "lstm" not in name}
    safetensors.torch.save_file(kept, folder / "model.safetensors", {"format": "pt"})


def of_other_sizes(folder: Path) -> None:
    config = files.read_json(folder / "config.json")
    files.write_json(folder / "config.json", config | {"num_filters": 4})


def of_a_text(folder: Path) -> None:
    config = files.read_json(folder / "config.json")
    files.write_json(folder / "config.json", config | {"num_filters": "eight"})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no file named model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "header"),
        (lambda folder: os.truncate(folder / "model.safetensors", 50_000), "header|buffer|size"),
        (lambda folder: (folder / "config.json").write_text("{"), "not a valid JSON"),
        (without_lstm, "16 weights are missing, such as decoder.layers.1.lstm.bias_hh_l0"),
        (of_other_sizes, "size|mismatch"),
        (of_a_text, "num_filters"),
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: Callable[[Path], object], reason: str) -> None:
    model("small").model.save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(CodecError, match=f"cannot load a codec from {tmp_path}.*({reason})"):
        codec.load(tmp_path)


def test_a_saved_model_is_the_same_model(tmp_path: Path) -> None:
    loaded = codec.load(codecs.save(tmp_path))
    wave = codecs.noise(1.0, 5)
    assert np.array_equal(loaded.encode_one(wave, 6.0), model("small").encode_one(wave, 6.0))


def with_older_names(folder: Path) -> None:
    """Those of facebook/encodec_24khz: torch called the parts of a weight otherwise."""
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    older = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for now, then in older.items():
        weights = {name.replace(now, then): value for name, value in weights.items()}
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})


def in_half_precision(folder: Path) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    halves = {name: value.half() for name, value in weights.items()}
    safetensors.torch.save_file(halves, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("change", [lambda folder: None, with_older_names, in_half_precision])
def test_a_checkpoint_is_read_without_transformers(
    tmp_path: Path, change: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(codecs.save(tmp_path))
    reference = codec.load_model(tmp_path)
    monkeypatch.setattr(codec, "load_model", pytest.fail)
    loaded = codec.load(tmp_path)
    wave = codecs.noise(1.0, 5)
    assert np.array_equal(loaded.encode(wave, 6.0), codec.of_model(reference).encode_one(wave, 6.0))


def test_a_checkpoint_in_parts_is_read_by_transformers(tmp_path: Path) -> None:
    model("small").model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert network.read(tmp_path) is None
    wave = codecs.noise(1.0, 5)
    assert np.array_equal(codec.load(tmp_path).encode(wave, 6.0), model("small").encode_one(wave, 6.0))


def test_a_config_means_what_it_means_to_transformers(tmp_path: Path) -> None:
    files.write_json(tmp_path / "config.json", {})
    assert vars(network.Config.read(tmp_path / "config.json")) == vars(network.Config.of(EncodecConfig())) | {
        "codebook_dim": None  # that of the latents
    }
