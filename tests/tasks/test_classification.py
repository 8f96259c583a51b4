from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundraft import files
from soundraft.audio import io
from soundraft.clips.base import LabelledClips, hear
from soundraft.manifest import TooManyBad
from soundraft.metrics.labels import codes, tempered
from soundraft.models.classifier import load_classifier
from soundraft.runtime import CACHE_VARIABLE, UserError
from soundraft.tasks.classification import Fitted, fit, predict
from tests.tasks import sounds
from tests.tasks.test_labelled import count_spectra

TRAIN, VALIDATION = sounds.clips(27, seed=1), sounds.clips(12, seed=2)


def fitted(
    train: LabelledClips = TRAIN,
    validation: LabelledClips = VALIDATION,
    *,
    seed: int = 0,
    bad: float = 0.0,
    **changes: Any,
) -> Fitted:
    options = sounds.params(**{f"classification__{name}": value for name, value in changes.items()}).classification
    return fit(train, validation, options, seed=seed, max_bad_fraction=bad)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fitted]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield fitted()


def test_it_learns_and_its_answers_come_back_from_disk(plain: Fitted, tmp_path: Path) -> None:
    test = sounds.clips(18, seed=3)
    told = predict(plain.classifier, hear(test, plain.classifier, target="label", title=""), target="label")
    assert told.label_scores.accuracy > 0.85
    assert plain.validation.label_scores.macro.recall == plain.report.best
    assert (told.ids, told.references) == (test.ids, test.values("label"))
    assert told.groups == {"speaker": test.values("speaker")}
    plain.classifier.save(tmp_path)
    again = load_classifier(tmp_path)
    read = predict(again, hear(test, again, target="label", title=""), target="label")
    np.testing.assert_array_equal(read.probabilities, told.probabilities)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(plain: Fitted, tmp_path: Path) -> None:
    hashes = []
    for name, found in (("first", plain), ("again", fitted()), ("other", fitted(seed=1))):
        found.classifier.save(tmp_path / name)
        hashes.append(files.content_hash(tmp_path / name / "model.safetensors", tmp_path / name / "config.json"))
        if name == "again":
            np.testing.assert_array_equal(found.validation.probabilities, plain.validation.probabilities)
            assert [row.loss for row in found.report.history] == [row.loss for row in plain.report.history]
    assert hashes[0] == hashes[1] != hashes[2]


def test_features_are_computed_once_for_all_epochs_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = count_spectra(monkeypatch)
    found = fitted(trainer__epochs=3)
    assert len(found.report.history) == 3
    assert len(computed) == len(TRAIN) + len(VALIDATION)
    fitted(trainer__epochs=1, trainer__learning_rate=1e-4)
    assert len(computed) == len(TRAIN) + len(VALIDATION)


def test_the_temperature_is_the_best_on_the_validation_clips(plain: Fitted) -> None:
    """Against a search over a grid; the targets are smoothed by 1/(N + 2)."""

    def best(given: LabelledClips) -> float:
        heard = hear(given, plain.classifier, target="label", title="").utterances
        logits = np.stack([plain.classifier.encode([clip])[0].numpy() for clip in heard.features])
        right = codes(heard.texts, plain.classifier.labels)
        spare = 1 / (len(right) + 2)
        targets = np.full(logits.shape, spare / 2)
        targets[np.arange(len(right)), right] = 1 - spare
        grid = np.exp(np.linspace(np.log(0.02), np.log(50), 4000))
        return float(min(grid, key=lambda t: -(targets * np.log(tempered(logits, t))).sum()))

    assert plain.classifier.temperature == pytest.approx(best(VALIDATION), rel=0.005)
    assert plain.classifier.temperature != pytest.approx(best(TRAIN), rel=0.02)


def test_bad_clips_are_counted_against_the_limit() -> None:
    audio = [TRAIN.audio(index) for index in range(27)]
    audio[4], audio[7] = b"broken", io.wav_bytes(sounds.wave("low")[:50], sounds.RATE_HZ)
    train = sounds.of(audio, TRAIN.facts)
    with pytest.raises(
        TooManyBad, match=r"2 of 27 clips are bad; limits.max_bad_fraction allows 1.0%\n.*004: not read"
    ):
        fitted(train, bad=0.01)
    found = fitted(train, bad=0.1, trainer__epochs=1)
    assert [bad.id for bad in found.rejected] == ["004", "007"]
    with pytest.raises(TooManyBad, match="12 of 12 clips are bad"):
        fitted(validation=sounds.of([b""] * 12, VALIDATION.facts), bad=0.5, trainer__epochs=1)


def test_labels_that_cannot_be_learned_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = count_spectra(monkeypatch)
    new = sounds.of([VALIDATION.audio(0)], [{"label": "falling"}])
    with pytest.raises(
        UserError, match=r"validation: 1 of 1 clips have labels that were not seen in training: 'falling' \(1\)"
    ):
        fitted(validation=new)
    with pytest.raises(UserError, match="all 9 training clips are 'low': a classifier needs two labels or more"):
        fitted(sounds.clips(9, labels=["low"]))
    with pytest.raises(UserError, match="training has no clips"):
        fitted(sounds.clips(0))
    with pytest.raises(UserError, match="validation has no clips"):
        fitted(validation=sounds.clips(0))
    with pytest.raises(UserError, match="no clip has a emotion; there is label, speaker"):
        fitted(target="emotion")
    with pytest.raises(UserError, match=r"classification\.inputs: label is what is to be told"):
        fitted(inputs=["speaker:category", "label:category"])
    with pytest.raises(UserError, match="no clip has a age; there is label, speaker"):
        fitted(inputs=["age:number"])
    assert computed == []


def test_a_label_of_which_no_clip_can_be_used_is_named() -> None:
    broken = sounds.of(
        [TRAIN.audio(0), TRAIN.audio(1), b"broken"], [{"label": "high"}, {"label": "low"}, {"label": "rare"}]
    )
    with pytest.raises(UserError, match="no training clip of 'rare' can be used: 002: not readable as audio"):
        fitted(broken, sounds.clips(4, labels=["high", "low"]), bad=0.5)


def hints(count: int, *, seed: int, missing: int) -> LabelledClips:
    """Noise in which nothing is to be heard; only the age tells the label, where it is known."""
    rng = np.random.default_rng(seed)
    audio = [io.wav_bytes(0.1 * rng.standard_normal(2400).astype(np.float32), sounds.RATE_HZ) for _ in range(count)]
    facts: list[dict[str, Any]] = [
        {"label": ("old", "young")[index % 2], "age": (70 + index % 5, 20.0)[index % 2]} for index in range(count)
    ]
    for index in range(missing):
        facts[index]["age"] = (None, float("nan"))[index // 2 % 2]
    return sounds.of(audio, facts)


def test_a_number_beside_the_audio_is_used_and_may_be_missing() -> None:
    train, validation = hints(64, seed=1, missing=4), hints(24, seed=2, missing=4)
    without = fitted(train, validation, encoder__pooling="mean")
    found = fitted(train, validation, encoder__pooling="mean", inputs=["age:number"])
    assert found.validation.correct[4:].mean() > 0.95
    assert without.validation.correct[4:].mean() < 0.9
    np.testing.assert_allclose(found.validation.probabilities.sum(1), 1)
    validation.facts[5].pop("age")
    again = predict(
        found.classifier, hear(validation, found.classifier, target="label", title=""), target="label"
    ).probabilities
    changed = np.flatnonzero((again != found.validation.probabilities).any(axis=1))
    assert changed.tolist() == [5]


def test_all_rates_and_channels_are_learned_together() -> None:
    audio = [TRAIN.audio(index) for index in range(27)]
    for index in range(0, 27, 2):
        label, speaker = TRAIN.facts[index]["label"], TRAIN.facts[index]["speaker"]
        wide = sounds.wave(label, speaker=speaker, seed=index, rate_hz=16000)
        audio[index] = sounds.stereo(np.stack([wide, 0.5 * wide], axis=1), 16000)
    found = fitted(sounds.of(audio, TRAIN.facts))
    assert found.rejected == []
    assert found.validation.correct.mean() > 0.85


def test_all_channels_are_those_of_the_first_clip_that_can_be_read() -> None:
    audio = [b"broken"]
    for index in range(1, 27):
        mono = io.parse(TRAIN.audio(index))[0]
        audio.append(sounds.stereo(np.concatenate([mono, 0.1 * mono], axis=1), sounds.RATE_HZ))
    train = sounds.of(audio, TRAIN.facts)
    found = fitted(train, train.part(range(1, 13)), bad=0.1, channel="all", trainer__epochs=2)
    assert [bad.id for bad in found.rejected] == ["000"]
    assert found.classifier.settings["channels"] == 2
    with pytest.raises(UserError, match="none of 27 training clips can be read"):
        fitted(sounds.of([b""] * 27, TRAIN.facts), channel="all")


def test_classes_can_weigh_and_come_equally_often() -> None:
    for changes in ({"trainer__class_weights": "balanced"}, {"trainer__sampling": "balanced"}):
        rare = TRAIN.part([index for index in range(27) if index % 3 or index < 6])
        assert fitted(rare, **changes).validation.correct.mean() > 0.7
