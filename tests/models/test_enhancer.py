"""Enhancers: masks, candidates, what is learned of them, and recordings of any length."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from soundraft.audio.waveform import Waveform
from soundraft.metrics.signal import si_sdr
from soundraft.models import enhancer
from soundraft.models.base import ModelError
from soundraft.models.enhancer import Candidate, CandidateReader, Enhancer, enhance, load_enhancer
from tests.tasks import speech

RATE_HZ = speech.RATE_HZ


def build(network: str = "wiener_correction", seed: int = 0, **changes: object) -> Enhancer:
    torch.manual_seed(seed)
    return enhancer.build(speech.params(enhancement__network=network, **changes).enhancement)


def noisy(seed: int, *, seconds: float = 1.0, snr_db: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """A mixture and its speech."""
    clean = speech.wave(seed, seconds=seconds)
    noise = np.random.default_rng(seed).standard_normal(len(clean)).astype(np.float32)
    level = np.sqrt(np.mean(clean**2) / 10 ** (snr_db / 10))
    return (clean + level * noise).astype(np.float32), clean


def improvement_db(model: Enhancer, seeds: range) -> float:
    found = []
    for seed in seeds:
        mixture, clean = noisy(seed)
        (answer,) = model.best(model.encode([model.extract(mixture)]))
        values = [si_sdr(reference=clean, estimate=each).value for each in (answer.samples, mixture)]
        assert None not in values
        found.append(values[0] - values[1])  # type: ignore[operator]
    return float(np.mean(found))


def test_the_identity_changes_nothing() -> None:
    mixture, _ = noisy(1)
    (answer,) = build("identity").best(build("identity").encode([torch.from_numpy(mixture)]))
    np.testing.assert_allclose(answer.samples, mixture, atol=1e-6)


def test_the_wiener_filter_helps_and_the_correction_starts_as_it() -> None:
    filtered = improvement_db(build("wiener"), range(4))
    assert filtered > 2
    for network in ("sub_band", "wiener_correction"):
        model = build(network)
        with torch.no_grad():
            model.model.output.weight.zero_()
        assert improvement_db(model, range(4)) == pytest.approx(filtered, abs=1e-3)


def test_the_gain_is_that_of_the_recursion_written_plainly() -> None:
    magnitude = torch.rand(3, 40, generator=torch.Generator().manual_seed(0)) + 0.1
    power = magnitude.numpy() ** 2
    gain = enhancer.wiener_gain(magnitude).numpy()
    for row in range(3):
        smooth = [power[row, max(0, t - 2) : t + 3].mean() for t in range(40)]
        before = 0.0
        for t in range(40):
            over = power[row, t] / (1.8 * min(smooth[max(0, t - 60) : t + 61]))
            snr = max(0.98 * before + 0.02 * max(over - 1, 0), 10**-2.5)
            before = (snr / (1 + snr)) ** 2 * over
            assert gain[row, t] == pytest.approx(max(snr / (1 + snr), 0.1), rel=1e-4)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("network", ["sub_band", "wiener_correction", "recurrent"])
def test_a_clip_does_not_depend_on_the_others_of_its_batch(network: str, bidirectional: bool) -> None:
    model = build(network, enhancement__bidirectional=bidirectional)
    model.model.eval()
    short, long = (torch.from_numpy(noisy(seed, seconds=seconds)[0]) for seed, seconds in ((1, 0.5), (2, 1.0)))
    (alone,), (beside, _) = model.encode([short]), model.encode([short, long])
    np.testing.assert_allclose(alone.logits, beside.logits, atol=2e-3)  # float16


def test_bands_read_a_few_frames_ahead() -> None:
    model = build("sub_band").model.eval()
    features = torch.randn(1, 30, model.bands * model.read, generator=torch.Generator().manual_seed(0))
    changed = features.clone()
    changed[:, 20:] += 1.0
    with torch.no_grad():
        one, other = (model(each, torch.tensor([30])) for each in (features, changed))
    first = int((one != other).any(-1)[0].nonzero()[0])
    assert first == 20 - model.ahead


def test_a_step_learns_a_part_of_the_bands_and_sees_all() -> None:
    model = build("sub_band").model
    features = torch.randn(2, 9, model.bands * model.read, generator=torch.Generator().manual_seed(0))
    features.requires_grad_()
    logits = model.train()(features, torch.tensor([9, 9]))
    logits.sum().backward()
    assert features.grad is not None
    learned = features.grad.reshape(2, 9, model.bands, model.read).abs().sum((1, 3)) > 0
    assert int(learned.sum()) == round(2 * model.bands * model.learned)
    torch.testing.assert_close(logits, model.eval()(features, torch.tensor([9, 9])))


def test_a_model_saved_before_bands_read_ahead_answers_as_it_did(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = build("sub_band")
    model.model.frames_ahead.zero_()
    model.model.eval()
    model.save(tmp_path)
    weights = load_file(tmp_path / enhancer.WEIGHTS)
    del weights["frames_ahead"]
    save_file(weights, tmp_path / enhancer.WEIGHTS)
    mixture = torch.from_numpy(noisy(1)[0])
    (before,), (after,) = (each.encode([mixture]) for each in (model, load_enhancer(tmp_path)))
    np.testing.assert_array_equal(before.logits, after.logits)


def test_training_on_clean_speech_improves(tmp_path: Path) -> None:
    model = build("recurrent")
    before = improvement_db(model, range(100, 104))
    optimizer = torch.optim.Adam([each for each in model.model.parameters() if each.requires_grad], lr=1e-2)
    pairs = [noisy(seed) for seed in range(6)]
    for _ in range(15):
        found = model.loss([torch.from_numpy(one) for one, _ in pairs], [[Waveform(clean)] for _, clean in pairs])
        optimizer.zero_grad()
        torch.stack([each.losses[0] for each in found]).mean().backward()
        optimizer.step()
    model.model.eval()
    after = improvement_db(model, range(100, 104))
    assert after > before + 1
    model.save(tmp_path)
    assert improvement_db(load_enhancer(tmp_path), range(100, 104)) == after


def test_candidates_differ_and_the_first_is_the_mask_itself() -> None:
    model = build()
    encoded = model.encode([torch.from_numpy(noisy(seed)[0]) for seed in (1, 2)])
    drawn = model.sample(encoded, 4, temperature=1.0, seeds=[5, 6])
    again = model.sample(encoded, 4, temperature=1.0, seeds=[5, 7])
    assert drawn[0] == again[0]
    assert drawn[1][0] == again[1][0] == model.best(encoded)[1]
    assert drawn[1][1] != again[1][1]
    assert len(set(drawn[0])) == 4
    assert not np.allclose(drawn[0][1].samples, drawn[0][0].samples)
    deviation = np.std([each.noise for each in model.sample(encoded, 200, temperature=2.0, seeds=[1, 2])[0][1:]])
    options = model.options.candidates
    assert deviation == pytest.approx(2 * options.deviation * np.hypot(1, options.offset), rel=0.1)


def test_learning_a_candidate_moves_the_mask_towards_it() -> None:
    model = build()
    clip = torch.from_numpy(noisy(3)[0])
    candidate = model.sample(model.encode([clip]), 2, temperature=1.0, seeds=[0])[0][1]
    optimizer = torch.optim.Adam([each for each in model.model.parameters() if each.requires_grad], lr=1e-2)
    losses = []
    for _ in range(12):
        (found,) = model.loss([clip], [[candidate, Waveform(candidate.samples)]])
        losses.append(found.losses.tolist())
        optimizer.zero_grad()
        found.losses[0].backward()
        optimizer.step()
    assert losses[-1][0] < 0.5 * losses[0][0]
    assert losses[-1][1] < losses[0][1]  # also as a waveform it is nearer


def test_candidates_survive_json() -> None:
    model = build()
    encoded = model.encode([torch.from_numpy(noisy(seed)[0]) for seed in (1, 2)])
    drawn = model.sample(encoded, 3, temperature=1.0, seeds=[5, 6])
    written = json.loads(json.dumps([[each.to_json() for each in group] for group in drawn]))
    reader = CandidateReader()
    read = [[reader.read(value) for value in group] for group in written]
    assert read == drawn
    np.testing.assert_array_equal(read[1][2].samples, drawn[1][2].samples)
    assert len(json.dumps(written[0][1])) < len(json.dumps(written[0][0])) / 20  # the clip is written once


def test_targets_of_another_length_and_other_things_are_refused() -> None:
    model, clip = build(), torch.from_numpy(noisy(1)[0])
    assert not model.can_learn("a text")
    with pytest.raises(ModelError, match="a target of 4000 samples"):
        model.loss([clip], [[Waveform(np.ones(4000))]])
    with pytest.raises(ModelError, match="needs 32 ms"):
        model.extract(np.ones(100, dtype=np.float32))


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    build().save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(ModelError, match="damaged"):
        load_enhancer(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no enhancer of ours"):
        load_enhancer(tmp_path)


def blocks(samples: np.ndarray, size: int) -> list[np.ndarray]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


@pytest.mark.parametrize("rate_hz", [8000, 11025, 44100])
def test_a_long_recording_has_its_length_and_no_seam(rate_hz: int) -> None:
    """What the identity gives back is the recording but for the resampling, wherever windows begin."""
    seconds = 2 * enhancer.WINDOW_S + 13.7
    tone = np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz).astype(np.float32)
    stereo = np.stack([tone, -0.5 * tone], axis=1)
    found = np.concatenate(list(enhance(build("identity"), blocks(stereo, 7777), rate_hz)))
    assert found.shape == stereo.shape
    np.testing.assert_allclose(found[rate_hz // 10 : -rate_hz // 10], stereo[rate_hz // 10 : -rate_hz // 10], atol=2e-3)


def test_windows_agree_with_the_whole() -> None:
    """A recording in windows is nearly what it is at once, also where one window ends."""
    mixture, _ = noisy(4, seconds=2 * enhancer.WINDOW_S + 9)
    model = build("wiener")
    found = np.concatenate(list(enhance(model, [mixture[:, None]], RATE_HZ)))[:, 0]
    (whole,) = model.best(model.encode([torch.from_numpy(mixture)]))
    assert found.shape == mixture.shape
    start = round((enhancer.WINDOW_S - enhancer.OVERLAP_S) * RATE_HZ)
    for place in (slice(0, None), slice(start, start + round(enhancer.OVERLAP_S * RATE_HZ))):
        alike = si_sdr(reference=whole.samples[place], estimate=found[place]).value
        assert alike is not None
        assert alike > 20


def test_a_share_of_the_input_is_added_back() -> None:
    mixture, _ = noisy(5)
    model = build("wiener")
    full, half = (
        np.concatenate(list(enhance(model, [mixture[:, None]], RATE_HZ, mix=mix)))[:, 0] for mix in (1.0, 0.5)
    )
    np.testing.assert_allclose(half, 0.5 * (full + mixture), atol=1e-6)


def test_a_recording_shorter_than_a_window_of_the_transform_keeps_its_length() -> None:
    short = np.ones((50, 1), dtype=np.float32)
    (found,) = enhance(build("wiener"), [short], RATE_HZ)
    assert found.shape == short.shape


def test_candidates_of_one_mask_are_equal() -> None:
    model, clip = build(), torch.from_numpy(noisy(1)[0])
    (one,), (other,) = model.encode([clip]), model.encode([clip])
    assert Candidate(one, np.zeros((2, 3))) == Candidate(other, np.zeros((2, 3)))
    assert Candidate(one, np.zeros((2, 3))) != Candidate(other, np.ones((2, 3)))
