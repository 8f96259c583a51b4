import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import EncodecModel

from soundraft.audio import io
from soundraft.corpora.espeak import Espeak
from soundraft.runtime import UserError
from soundraft.training import codebooks, codec
from soundraft.training.learner import Schedule
from tests.conftest import tone

CHECKPOINT = Path("checkpoints/encodec_tiny")
OPTIONS = codec.CodecOptions(
    steps=24,
    continuous_share=0.25,
    batch_clips=2,
    segment_frames=16,
    full_depth_share=0.5,
    schedule=Schedule(peak=1e-3, warmup_share=0.05, final_share=0.1),
    weight_decay=0.0,
    max_grad_norm=1.0,
    wave_weight=1.0,
    commitment_weight=0.1,
    codebook_decay=0.9,
    dead_share=0.05,
    kmeans_frames=64,
    kmeans_rounds=2,
)
SPOKEN = (
    ("one five five four zero", "en-gb-scotland+f3"),
    ("turn the light on in the kitchen", "en-us+adam"),
    ("seven nine two eight", "en+m2"),
    ("three six", "en-029+linda"),
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{hertz}.wav" for hertz in (150, 300, 600)]
    for path in paths:
        io.write_wav(path, tone(0.4, codec.RATE_HZ, level=0.1, frequency_hz=float(path.stem)), codec.RATE_HZ)
    return paths


@pytest.fixture(scope="module")
def model() -> EncodecModel:
    return codec.load(CHECKPOINT)


@pytest.fixture(scope="module")
def speech() -> list[np.ndarray]:
    """Four sentences, as loud as s1 makes them."""
    espeak = Espeak()
    waves = [espeak.speak(text, voice, 160, 50) for text, voice in SPOKEN]
    waves = [io.resample(wave.astype(np.float32), espeak.sample_rate_hz, codec.RATE_HZ) for wave in waves]
    return [wave * (0.07 / wave.std()) for wave in waves]


def tensor(wave: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(wave)[None]


def test_training_on_tones_lowers_the_loss(clips: list[Path]) -> None:
    trained, report = codec.fit(clips, OPTIONS, seed=0, title="test")
    assert report.steps == 24
    assert report.final_loss < 0.8 * report.first_loss
    assert not trained.training


def test_the_same_seed_gives_the_same_weights(clips: list[Path]) -> None:
    short = replace(OPTIONS, steps=4)
    first, second, other = (codec.fit(clips, short, seed=seed, title="test")[0].state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["encoder.layers.0.conv.bias"], other["encoder.layers.0.conv.bias"])
    assert not torch.equal(first["quantizer.layers.0.codebook.embed"], other["quantizer.layers.0.codebook.embed"])


def test_an_untrained_codec_already_follows_the_wave(clips: list[Path]) -> None:
    torch.manual_seed(0)
    untrained = EncodecModel(codec.architecture())
    waves = codec.draw_batch(clips, clips=16, samples=9600, seed=0)
    codec.start_from_principal_components(untrained, waves)
    with torch.no_grad():
        latents = untrained.encoder(waves[:, None])
        decoded = untrained.decoder(latents)[:, 0]
    assert float(latents.std()) == pytest.approx(1.0, abs=0.1)
    assert float((decoded - waves).square().mean()) < 0.5 * float(waves.square().mean())


def trainer() -> tuple[codebooks.CodebookTrainer, torch.Tensor]:
    """A trainer started from latents, and those latents `[B, D, T]`."""
    generator = torch.Generator().manual_seed(0)
    untrained = EncodecModel(codec.architecture())
    latents = torch.randn(4, untrained.config.hidden_size, 600, generator=generator)
    books = codebooks.CodebookTrainer(untrained, decay=0.9, dead_share=0.05, generator=generator)
    books.start(latents.transpose(1, 2).flatten(0, 1), rounds=2, batch_frames=2400)
    return books, latents


def test_dead_codes_are_put_where_residuals_are() -> None:
    books, latents = trainer()
    for book in books.codebooks:
        book.cluster_size[:500] = 1e-3
        book.embed[:500] = 1000.0
        book.embed_avg[:500] = 1.0
    books(latents, torch.full((4,), 8))
    for book in books.codebooks:
        assert float(book.embed.abs().max()) < 10
        assert float(book.cluster_size.min()) > 0.05


def test_each_codebook_starts_on_what_those_before_it_left() -> None:
    books, latents = trainer()
    errors = []
    for depth in (1, 2, 4, 8):
        quantized, _ = books(latents, torch.full((4,), depth))
        errors.append(float((quantized - latents).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.7 * errors[0]


def test_a_clip_uses_the_codebooks_it_was_given_and_the_gradient_passes_straight_through() -> None:
    books, latents = trainer()
    first = books.codebooks[0]
    expected = first.decode(first.encode(latents[:1].transpose(1, 2))).transpose(1, 2)
    latents.requires_grad_()
    quantized, commitment = books(latents, torch.tensor([1, 8, 8, 8]))
    torch.testing.assert_close(quantized[:1], expected)
    quantized.sum().backward()
    assert latents.grad is not None
    torch.testing.assert_close(latents.grad, torch.ones_like(latents))
    latents.grad = None
    commitment.backward()
    assert float((latents.grad[0] * (latents - quantized).detach()[0]).sum()) > 0  # downhill is towards the code


def test_mel_distance_is_a_difference_of_logarithms() -> None:
    noise = torch.randn(2, 24_000, generator=torch.Generator().manual_seed(0))
    assert float(codec.mel_distance(reference=noise, decoded=noise)) == 0
    assert float(codec.mel_distance(reference=noise, decoded=math.e * noise)) == pytest.approx(1.0, abs=1e-4)
    silence = torch.zeros(2, 24_000)
    assert float(codec.mel_distance(reference=silence, decoded=1e-6 * noise)) == 0


def test_a_batch_is_drawn_by_its_seed_and_short_clips_end_in_silence(clips: list[Path]) -> None:
    batch = codec.draw_batch(clips, clips=3, samples=12_000, seed=1)
    assert torch.equal(batch, codec.draw_batch(clips, clips=3, samples=12_000, seed=1))
    assert not torch.equal(batch, codec.draw_batch(clips, clips=3, samples=12_000, seed=2))
    assert not batch[:, 9600:].any()
    assert bool(batch[:, :9600].any(dim=1).all())


def test_what_cannot_be_trained_on_is_named(tmp_path: Path) -> None:
    io.write_wav(tmp_path / "low.wav", tone(0.4, 8000), 8000)
    with pytest.raises(UserError, match="8000 Hz; the codec takes 24000 Hz"):
        codec.fit([tmp_path / "low.wav"], OPTIONS, seed=0, title="test")
    with pytest.raises(UserError, match=r"gone\.wav: no such file"):
        codec.fit([tmp_path / "gone.wav"], OPTIONS, seed=0, title="test")
    with pytest.raises(UserError, match="no clip to train on"):
        codec.fit([], OPTIONS, seed=0, title="test")
    with pytest.raises(UserError, match="continuous_share"):
        replace(OPTIONS, continuous_share=1.0)
    with pytest.raises(UserError, match="dead_share"):
        replace(OPTIONS, dead_share=0.0)
    with pytest.raises(UserError, match=r"no model\.safetensors"):
        codec.load(tmp_path)


def test_a_saved_codec_is_half_as_large_and_loads_as_float32(tmp_path: Path, model: EncodecModel) -> None:
    codec.save(model, tmp_path)
    again = EncodecModel.from_pretrained(tmp_path)  # without a dtype: the configuration says float32
    assert all(parameter.dtype == torch.float32 for parameter in again.parameters())
    before, after = model.state_dict(), again.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_committed_checkpoint_is_small_and_complete() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINT.rglob("*") if path.is_file()) <= 4e6
    loaded, info = EncodecModel.from_pretrained(CHECKPOINT, output_loading_info=True)
    assert not any(info.values()), info
    assert loaded.config.num_quantizers == 8
    assert loaded.config.hop_length == codec.HOP_SAMPLES
    assert loaded.config.target_bandwidths == [1.5, 3.0, 6.0]
    assert loaded.config.to_diff_dict().items() >= codec.architecture().to_diff_dict().items()


def test_every_codebook_of_the_committed_checkpoint_carries_something(
    model: EncodecModel, speech: list[np.ndarray]
) -> None:
    uses = codebooks.codebook_use(model, speech)
    assert len(uses) == 8
    assert min(use.perplexity for use in uses) > 30
    explained = [use.explained for use in uses]
    assert explained == sorted(explained)
    assert explained[-1] > explained[0] + 0.1


def test_more_codebooks_of_the_committed_checkpoint_are_nearer_to_the_original(
    model: EncodecModel, speech: list[np.ndarray]
) -> None:
    codes = [codec.encode(model, wave) for wave in speech]
    assert [tuple(one.shape) for one in codes] == [(8, math.ceil(len(wave) / codec.HOP_SAMPLES)) for wave in speech]
    distances = []
    for depth in (1, 2, 4, 8):
        decoded = [codec.decode(model, one[:depth], samples=len(w)) for one, w in zip(codes, speech, strict=True)]
        pairs = zip(speech, decoded, strict=True)
        distances.append(sum(float(codec.mel_distance(reference=tensor(a), decoded=tensor(b))) for a, b in pairs))
    for fewer, more in pairwise(distances):
        assert more < 0.98 * fewer
