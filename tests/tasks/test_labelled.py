from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
import torch

from soundraft.audio import io
from soundraft.audio.spectra import Spectra
from soundraft.clips.base import LabelledClips, from_dataset, hear
from soundraft.models.classifier import AudioClassifier, build
from soundraft.models.networks import SideInput
from soundraft.params.sections import Params
from soundraft.runtime import UserError
from soundraft.tasks.classification import encoder_settings
from tests.tasks import sounds


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all clips of which features were computed."""
    return count_spectra(monkeypatch)


def count_spectra(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    lengths: list[int] = []
    real = Spectra.__call__

    def counted(self: Spectra, samples: np.ndarray) -> np.ndarray:
        lengths.append(len(samples))
        return real(self, samples)

    monkeypatch.setattr(Spectra, "__call__", counted)
    return lengths


def classifier(
    params: Params | None = None, *, side: Sequence[SideInput] = (), channel: str = "average", channels: int = 1
) -> AudioClassifier:
    options = (params or sounds.params()).classification
    return build(
        sounds.LABELS, features=options.features.model_dump(), encoder=encoder_settings(options.encoder), side=side,
        channel=channel, channels=channels,
    )  # fmt: skip


def test_no_feature_is_computed_twice(computed: list[int]) -> None:
    given = sounds.clips(6)
    first = hear(given, classifier(), target="label", title="")
    assert len(computed) == 6
    again = hear(given, classifier(), target="speaker", title="")
    part = hear(given.part([4, 1]), classifier(), target=None, title="")
    assert len(computed) == 6
    assert all(torch.equal(*pair) for pair in zip(first.utterances.features, again.utterances.features, strict=True))
    assert part.utterances.ids == [given.ids[4], given.ids[1]]
    assert torch.equal(part.utterances.features[0], first.utterances.features[4])
    assert (part.utterances.texts, again.utterances.texts[3]) == (["", ""], "bob")
    hear(given, classifier(sounds.params(classification__features__num_filter_bands=16)), target="label", title="")
    assert len(computed) == 12


def test_side_inputs_join_features_that_are_kept_without_them(computed: list[int]) -> None:
    given = sounds.clips(3)
    for facts, age in zip(given.facts, (20, None, 40), strict=True):
        facts["age"] = age
    side = [SideInput("speaker", "category", vocabulary=("bob",)), SideInput("age", "number", mean=30.0, std=10.0)]
    plain = hear(given, classifier(), target="label", title="").utterances.features
    joined = hear(given, classifier(side=side), target="label", title="").utterances.features
    assert len(computed) == 3
    assert all(torch.equal(wide[:, :-3], clip) for wide, clip in zip(joined, plain, strict=True))
    # an unknown speaker is 0; of a number its z-score, and whether it is missing
    assert [clip[0, -3:].tolist() for clip in joined] == [[0, -1, 0], [0, 0, 1], [0, 1, 0]]
    assert all(torch.equal(clip[:, -3:], clip[:1, -3:].expand(len(clip), -1)) for clip in joined)


def test_features_of_a_clip_do_not_depend_on_the_others() -> None:
    given = sounds.clips(2)
    given.facts[1]["age"] = 40
    model = classifier(side=[SideInput("age", "number", mean=30.0, std=10.0)])
    together = hear(given, model, target=None, title="").utterances.features
    alone = hear(given.part([0]), model, target=None, title="").utterances.features
    assert alone[0][0, -2:].tolist() == [0, 1]
    assert torch.equal(alone[0], together[0])


def test_a_clip_that_cannot_be_used_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    whole = io.wav_bytes(sounds.wave("low"), sounds.RATE_HZ)
    short = io.wav_bytes(sounds.wave("low")[:100], sounds.RATE_HZ)
    audio = [whole, whole, whole, b"no audio", short, b"", whole[:1000], whole]
    labels = ["low", None, "  ", "low", "low", "low", "low", float("nan")]
    paths = [tmp_path / f"{index}.wav" for index in range(9)]
    for path, data in zip(paths, audio, strict=False):
        path.write_bytes(data)
    given = LabelledClips(
        [f"c{index}" for index in range(9)],
        lambda index: paths[index].read_bytes(),
        [{"label": label, "speaker": "bob"} for label in (*labels, "low")],
        [path.name for path in paths],
    )
    found = hear(given, classifier(), target="label", title="")
    assert (found.clips.ids, found.utterances.ids, found.clips.paths) == (["c0"], ["c0"], ["0.wav"])
    reasons = {bad.path: bad.reason for bad in found.rejected}
    assert [reasons[f"{index}.wav"] for index in (1, 2, 7)] == ["no label"] * 3
    assert reasons["3.wav"].startswith("not readable as audio")
    assert "a clip of 100 samples (0.0125 s) is shorter than one window of 256" in reasons["4.wav"]
    assert reasons["5.wav"] == "empty file"
    assert reasons["6.wav"].startswith("truncated: header promises")
    assert reasons["8.wav"] == "no such file"


def test_other_rates_and_channels_are_brought_to_those_of_the_classifier() -> None:
    samples = np.stack([sounds.wave("rising", rate_hz=22050), sounds.wave("low", seed=0, rate_hz=22050)], axis=1)
    data = sounds.stereo(samples, 22050)
    params = sounds.params()
    spectra = Spectra(params.classification.features)
    expected = {
        "average": samples.mean(axis=1),
        "1": samples[:, 1],
        "all": samples,
    }
    for channel, wanted in expected.items():
        model = classifier(params, channel=channel, channels=2)
        found = hear(sounds.of([data], [{"label": "low"}]), model, target="label", title="")
        features = spectra(soxr.resample(wanted, 22050, sounds.RATE_HZ))
        np.testing.assert_allclose(found.utterances.features[0], features, atol=0.02)
        assert features.shape[1] == (40 if channel == "all" else 20)


def test_a_clip_with_other_channels_is_set_aside_where_all_are_heard() -> None:
    mono = sounds.wave("low")
    audio = [sounds.stereo(np.stack([mono, mono], axis=1), 8000), io.wav_bytes(mono, 8000)]
    model = classifier(channel="all", channels=2)
    found = hear(sounds.of(audio, [{"label": "low"}] * 2), model, target="label", title="")
    assert found.clips.ids == ["000"]
    assert [bad.reason for bad in found.rejected] == [
        "number of channels is 1; channel: all needs the 2 of the training clips"
    ]


def test_a_silent_clip_gets_no_answer() -> None:
    audio = [io.wav_bytes(sounds.wave("low"), 8000), io.wav_bytes(np.zeros(8000, np.float32), 8000)]
    found = hear(sounds.of(audio, [{"label": "low"}] * 2), classifier(), target="label", title="")
    assert [(bad.id, bad.reason) for bad in found.rejected] == [("001", "silent: every sample is 0")]


def test_values_groups_and_parts() -> None:
    given = sounds.of([b""] * 3, [{"label": "low", "fold": 1}, {"label": 7, "gender": "f"}, {"age": None}])
    assert given.values("fold") == [1, None, None]
    assert given.labels("label") == ["low", "7", None]
    assert given.known_labels("label") == ["low", "7"]
    assert given.groups(but="gender") == {"fold": ["1", None, None]}
    assert given.part([2, 0]).values("label") == [None, "low"]
    with pytest.raises(UserError, match="no clip has a emotion; there is age, fold, gender, label"):
        given.values("emotion")


def test_facts_of_a_dataset_are_its_columns_and_its_metadata(tmp_path: Path) -> None:
    extra: list[dict[str, Any]] = [{"gender": "f", "age": 31}, {"gender": "", "text": "of no column"}, {}]
    given = sounds.clips(3)
    for facts, more in zip(given.facts, extra, strict=True):
        facts |= more
    given.facts[2]["speaker"] = ""
    found = from_dataset(sounds.dataset(tmp_path, train=given, validation=given, test=given) / "target", "train")
    assert found.facts == [
        {"label": "high", "speaker": "ann", "gender": "f", "age": 31},
        {"label": "low", "speaker": "ann", "text": "of no column"},
        {"label": "rising"},
    ]  # fmt: skip
    assert (found.ids, found.audio(1)) == (given.ids, given.audio(1))
