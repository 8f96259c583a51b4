"""The codec in `checkpoints/encodec_tiny`, and the script beside it that trained it."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import EncodecModel

from soundraft import runtime
from soundraft.audio import codec, io
from soundraft.audio.ecdc import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from soundraft.corpora.espeak import Espeak
from soundraft.runtime import UserError
from tests.conftest import tone

CHECKPOINT = Path(__file__).parents[2] / "checkpoints/encodec_tiny"
train: Any = runtime.from_file(CHECKPOINT / "train.py")
SPOKEN = (
    ("one five five four zero", "en-gb-scotland+f3"),
    ("turn the light on in the kitchen", "en-us+adam"),
    ("seven nine two eight", "en+m2"),
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
        io.write_wav(path, tone(0.4, SAMPLE_RATE_HZ, level=0.1, frequency_hz=float(path.stem)), SAMPLE_RATE_HZ)
    return paths


def options(steps: int) -> Any:
    return train.Options(
        steps, continuous_share=0.25, batch_clips=2, segment_frames=16, wave_weight=1.0, codebook_decay=0.9,
        learning_rate=1e-3, warmup_share=0.05, final_share=0.1, kmeans_frames=64, kmeans_rounds=2,
    )  # fmt: skip


def test_training_on_tones_lowers_the_loss_and_the_seed_decides_the_weights(clips: list[Path]) -> None:
    _, first, final = train.fit(clips, options(24), seed=0)
    assert final < 0.8 * first
    one, again, other = (train.fit(clips, options(2), seed=seed)[0].state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["encoder.layers.0.conv.bias"], other["encoder.layers.0.conv.bias"])
    assert not torch.equal(one["quantizer.layers.0.codebook.embed"], other["quantizer.layers.0.codebook.embed"])


def test_an_untrained_codec_already_follows_the_wave(clips: list[Path]) -> None:
    torch.manual_seed(0)
    untrained = EncodecModel(train.architecture())
    waves = train.draw_batch(clips, clips=16, samples=9600, seed=0)
    train.start_from_principal_components(untrained, waves)
    with torch.no_grad():
        latents = untrained.encoder(waves[:, None])
        decoded = untrained.decoder(latents)[:, 0]
    assert float(latents.std()) == pytest.approx(1.0, abs=0.1)
    assert float((decoded - waves).square().mean()) < 0.5 * float(waves.square().mean())


def test_codebooks_start_on_residuals_and_dead_codes_return_there() -> None:
    generator = torch.Generator().manual_seed(0)
    model = EncodecModel(train.architecture())
    latents = torch.randn(4, model.config.hidden_size, 300, generator=generator)
    books = train.CodebookTrainer(model, decay=0.9, dead_share=0.05, generator=generator)
    books.start(latents.transpose(1, 2).flatten(0, 1), rounds=2, batch_frames=1200)
    expected = books.codebooks[0].decode(books.codebooks[0].encode(latents[:1].transpose(1, 2))).transpose(1, 2)
    latents.requires_grad_()
    quantized, commitment = books(latents, torch.tensor([1, 8, 8, 8]))
    torch.testing.assert_close(quantized[:1], expected)  # one codebook for the first clip
    quantized.sum().backward()
    torch.testing.assert_close(latents.grad, torch.ones_like(latents))  # straight through
    latents.grad = None
    commitment.backward()
    assert float((latents.grad[0] * (latents - quantized).detach()[0]).sum()) > 0  # downhill is towards the code
    with torch.no_grad():
        errors = [float((books(latents, torch.full((4,), depth))[0] - latents).square().mean()) for depth in (1, 2, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.7 * errors[0]
    for book in books.codebooks:
        book.cluster_size[:500], book.embed[:500], book.embed_avg[:500] = 1e-3, 1000.0, 1.0
    books(latents, torch.full((4,), 8))
    assert max(float(book.embed.abs().max()) for book in books.codebooks) < 10


def test_mel_distance_is_a_difference_of_logarithms() -> None:
    noise = torch.randn(2, 24_000, generator=torch.Generator().manual_seed(0))
    assert float(train.mel_distance(reference=noise, decoded=math.e * noise)) == pytest.approx(1.0, abs=1e-4)
    silence = torch.zeros(2, 24_000)
    assert float(train.mel_distance(reference=silence, decoded=1e-6 * noise)) == 0


def test_clips_that_cannot_be_learned_are_refused(tmp_path: Path) -> None:
    io.write_wav(tmp_path / "low.wav", tone(0.4, 8000), 8000)
    for paths in ([tmp_path / "low.wav"], [tmp_path / "gone.wav"], []):
        with pytest.raises(UserError):
            train.fit(paths, options(4), seed=0)


def test_the_committed_checkpoint_is_small_complete_and_survives_saving(tmp_path: Path) -> None:
    assert sum(path.stat().st_size for path in CHECKPOINT.rglob("*") if path.is_file()) <= 4e6
    loaded, info = EncodecModel.from_pretrained(CHECKPOINT, output_loading_info=True)
    assert not any(info.values()), info
    assert loaded.config.to_diff_dict().items() >= train.architecture().to_diff_dict().items()
    train.save(loaded, tmp_path)
    again = EncodecModel.from_pretrained(tmp_path)  # without a dtype: the configuration says float32
    assert all(weights.dtype == torch.float32 for weights in again.parameters())
    assert all(torch.equal(weights, again.state_dict()[name]) for name, weights in loaded.state_dict().items())


def test_more_codebooks_of_the_committed_checkpoint_are_nearer_to_the_original() -> None:
    tiny, espeak = codec.load(CHECKPOINT), Espeak()
    spoken = [espeak.speak(text, voice, 160, 50).astype(np.float32) for text, voice in SPOKEN]
    waves = [io.resample(wave, espeak.sample_rate_hz, SAMPLE_RATE_HZ) for wave in spoken]
    waves = [wave * (0.07 / wave.std()) for wave in waves]  # as loud as s1 makes them
    codes = [tiny.encode(wave, 6.0) for wave in waves]
    assert [one.shape for one in codes] == [(8, math.ceil(len(wave) / SAMPLES_PER_FRAME)) for wave in waves]

    def distance(depth: int) -> float:
        pairs = [(wave, tiny.decode(one[:depth])[: len(wave)]) for wave, one in zip(waves, codes, strict=True)]
        tensors = [(torch.from_numpy(a)[None], torch.from_numpy(b)[None]) for a, b in pairs]
        return sum(float(train.mel_distance(reference=a, decoded=b)) for a, b in tensors)

    for fewer, more in pairwise(map(distance, (1, 2, 4, 8))):
        assert more < 0.98 * fewer
