"""Classification as a task: what its start model learns, what it takes of a clip, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from soundraft import files, runtime
from soundraft.audio import io
from soundraft.audio.spectra import Spectra
from soundraft.clips.base import Clips, Loaded
from soundraft.evaluation.results import MAJORITY, SVM
from soundraft.evaluation.scores import Scores
from soundraft.manifest import TooManyBad
from soundraft.metrics.labels import codes, tempered
from soundraft.metrics.resampling import Bootstrap
from soundraft.models.classifier import AudioClassifier, build
from soundraft.rewards import Evidence
from soundraft.runtime import CACHE_VARIABLE, UserError
from soundraft.tasks import steps
from soundraft.tasks.base import Data
from soundraft.tasks.classification import Classification
from soundraft.tracking import Tracker
from tests.tasks import sounds

TRAIN, VALIDATION, TEST = sounds.clips(27, seed=1), sounds.clips(12, seed=2), sounds.clips(18, seed=3)


class Started:
    """A start model of these clips, in a folder."""

    def __init__(self, folder: Path, train: Clips = TRAIN, validation: Clips = VALIDATION, **changes: Any) -> None:
        self.folder = folder
        self.task = Classification(sounds.params(**{
            name if name in ("seed", "limits__max_bad_fraction") else f"classification__{name}": value
            for name, value in changes.items()
        }))  # fmt: skip
        self.data = Data({"train": train, "validation": validation})
        steps.start(self.task, self.data, folder, Tracker())
        self.model: Any = self.task.load_model(folder)
        self.metrics = files.read_json(folder / "metrics.json")

    def load(self, clips: Clips) -> Loaded:
        return self.task.load(clips, self.model, title="", max_bad_fraction=1.0)

    def score(self, clips: Clips) -> Scores:
        return self.task.score(self.model, self.load(clips), title="")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        yield Started(folder / "start")


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all clips whose features were computed."""
    lengths: list[int] = []
    real = Spectra.__call__
    monkeypatch.setattr(Spectra, "__call__", lambda self, x: lengths.append(len(x)) or real(self, x))
    return lengths


def test_it_learns_and_its_numbers_are_those_of_its_answers(plain: Started) -> None:
    found, validated = plain.score(TEST), plain.score(VALIDATION)
    assert found.value("accuracy") > 0.85
    assert (found.ids, found.references, found.groups) == (TEST.ids, TEST.values("label"),
                                                           {"speaker": TEST.values("speaker")})  # fmt: skip
    kept = {key: plain.metrics[f"{key}_validation"] for key in ("accuracy", "uar")}
    assert kept == {key: validated.value(key) for key in kept}
    curve = [float(line.split(",")[3]) for line in (plain.folder / "learning_curves.csv").read_text().split()[1:]]
    assert len(curve) == plain.metrics["epochs"] == 8
    assert plain.metrics["uar_validation"] == pytest.approx(max(curve))


def test_the_same_seed_gives_the_same_weights_and_computes_no_feature_twice(
    plain: Started, tmp_path: Path, computed: list[int]
) -> None:
    again = Started(tmp_path / "again")
    assert len(computed) == len(TRAIN) + len(VALIDATION)
    other = Started(tmp_path / "other", seed=1)
    noisy = Started(tmp_path / "noisy", augment__noise=0.9)
    assert len(computed) == len(TRAIN) + len(VALIDATION)
    digests = [files.content_hash(each.folder / "model.safetensors") for each in (plain, again, other, noisy)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3, "seed and augmentation reach the training"
    assert plain.metrics == again.metrics


def test_the_temperature_is_the_best_on_the_validation_clips(plain: Started) -> None:
    """Against a search over a grid; the targets are smoothed by 1/(N + 2)."""

    def best(given: Clips) -> float:
        clips = plain.load(given).utterances
        logits = np.stack([plain.model.encode([clip])[0].numpy() for clip in clips.features])
        right = codes(clips.targets, plain.model.labels)
        spare = 1 / (len(right) + 2)
        targets = np.full(logits.shape, spare / 2)
        targets[np.arange(len(right)), right] = 1 - spare
        grid = np.exp(np.linspace(np.log(0.02), np.log(50), 4000))
        return float(min(grid, key=lambda t: -(targets * np.log(tempered(logits, t))).sum()))

    assert plain.model.temperature == pytest.approx(best(VALIDATION), rel=0.005)
    assert plain.model.temperature != pytest.approx(best(TRAIN), rel=0.02)


def test_bad_clips_are_counted_against_the_limit_and_kept_in_a_list(tmp_path: Path) -> None:
    audio = [TRAIN.audio(index) for index in range(27)]
    audio[4], audio[7] = b"broken", io.wav_bytes(sounds.wave("low")[:50], sounds.RATE_HZ)
    train = sounds.of(audio, TRAIN.facts)
    with pytest.raises(TooManyBad, match=r"(?s)2 of 39 .*004"):
        Started(tmp_path, train)
    found = Started(tmp_path / "more", train, limits__max_bad_fraction=0.1, trainer__epochs=1)
    lines = (found.folder / "quarantine.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["004", "007"]
    few = sounds.of([b"broken", *(VALIDATION.audio(n) for n in range(1, 12))], VALIDATION.facts, prefix="v")
    Started(tmp_path / "one", TRAIN, few, limits__max_bad_fraction=0.03, trainer__epochs=1)  # of all clips, not of 12
    rare = sounds.of([TRAIN.audio(0), TRAIN.audio(1), b"broken"],
                     [{"label": "high"}, {"label": "low"}, {"label": "rare"}])  # fmt: skip
    with pytest.raises(UserError, match=r"'rare'.*002: not readable"):
        Started(tmp_path, rare, sounds.clips(4, labels=["high", "low"]), limits__max_bad_fraction=0.5)


@pytest.mark.parametrize(
    ("train", "validation", "changes", "words"),
    [
        (TRAIN, sounds.of([TRAIN.audio(0)], [{"label": "falling"}]), {}, "validation: .*'falling'"),
        (sounds.clips(9, labels=["low"]), VALIDATION, {}, "'low'"),
        (sounds.clips(0), VALIDATION, {}, "training"),
        (TRAIN, sounds.clips(0), {}, "validation"),
        (TRAIN, VALIDATION, {"target": "emotion"}, "emotion; there is label, speaker"),
        (TRAIN, VALIDATION, {"inputs": ["speaker:category", "label:category"]}, "inputs: label"),
        (TRAIN, VALIDATION, {"inputs": ["age:number"]}, "age; there is label, speaker"),
        (sounds.of([b""] * 27, TRAIN.facts), VALIDATION, {"channel": "all"}, "none of 27"),
    ],
)
def test_what_cannot_be_learned_is_named_before_any_feature_is_made(
    tmp_path: Path, computed: list[int], train: Clips, validation: Clips, changes: Any, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        Started(tmp_path, train, validation, **changes)
    assert computed == []


def hints(count: int, *, seed: int, missing: int) -> Clips:
    """Noise in which nothing can be recognised; only the age tells the label, where it is known."""
    rng = np.random.default_rng(seed)
    audio = [io.wav_bytes(0.1 * rng.standard_normal(2400).astype(np.float32), sounds.RATE_HZ) for _ in range(count)]
    facts: list[dict[str, Any]] = [
        {"label": ("old", "young")[index % 2], "age": (70 + index % 5, 20.0)[index % 2]} for index in range(count)
    ]
    for index in range(missing):
        facts[index]["age"] = (None, float("nan"))[index // 2 % 2]
    return sounds.of(audio, facts)


def test_a_number_beside_the_audio_is_used_and_may_be_missing(tmp_path: Path) -> None:
    train, validation = hints(64, seed=1, missing=4), hints(24, seed=2, missing=4)
    without = Started(tmp_path / "a", train, validation, encoder__pooling="mean")
    found = Started(tmp_path / "b", train, validation, encoder__pooling="mean", inputs=["age:number"])
    scores = found.score(validation)
    assert scores.correct[4:].mean() > 0.95
    assert without.score(validation).correct[4:].mean() < 0.9
    validation.facts[5].pop("age")
    changed = np.flatnonzero((found.score(validation).probabilities != scores.probabilities).any(axis=1))
    assert changed.tolist() == [5]
    validation.facts[6]["age"] = "abc"
    assert [(bad.id, "'abc'" in bad.reason) for bad in found.load(validation).rejected] == [("006", True)]


def test_all_channels_are_those_of_the_first_clip_that_can_be_read(tmp_path: Path) -> None:
    audio = [b"broken"]
    for index in range(1, 27):
        mono = io.parse(TRAIN.audio(index))[0]
        audio.append(sounds.stereo(np.concatenate([mono, 0.1 * mono], axis=1), sounds.RATE_HZ))
    train = sounds.of(audio, TRAIN.facts)
    found = Started(tmp_path, train, train.part(range(1, 13)), limits__max_bad_fraction=0.1, channel="all",
                    trainer__epochs=2)  # fmt: skip
    assert found.model.config.channels == 2
    with pytest.raises(TooManyBad, match="channels is 1"):
        found.load(sounds.clips(1))


def untrained(**changes: Any) -> AudioClassifier:
    given = sounds.params(**{f"classification__{name}": value for name, value in changes.items()}).classification
    return build(sounds.LABELS, given, channels=2 if given.channel == "all" else 1)


def test_other_rates_and_channels_are_brought_to_those_of_the_classifier() -> None:
    samples = np.stack([sounds.wave("rising", rate_hz=22050), sounds.wave("low", rate_hz=22050)], axis=1)
    silence = io.wav_bytes(np.zeros(8000, np.float32), 8000)
    given = sounds.of([sounds.stereo(samples, 22050), sounds.wav("low"), silence], [{"label": "low"}] * 3)
    task = Classification(sounds.params())
    spectra = Spectra(task.options.features)
    for channel, expected in {"average": samples.mean(axis=1), "1": samples[:, 1], "all": samples}.items():
        model = untrained(channel=channel, level_db=None)
        found = task.load(given, model, title="", max_bad_fraction=1.0)
        features = spectra(soxr.resample(expected, 22050, sounds.RATE_HZ))
        np.testing.assert_allclose(found.utterances.features[0], features, atol=0.02)
        assert features.shape[1] == (40 if channel == "all" else 20)
        assert [bad.reason for bad in found.rejected if bad.id == "002"] == ["silent: every sample is 0"]


def test_whatever_changes_the_features_changes_their_place_in_the_cache() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"channel": "1"}, {"channel": "all"}, {"level_db": None}, {"audio_file_length_limit_in_s": 0.2},
        {"features__num_filter_bands": 16}, {"features__norm": "per_file"},
    ]  # fmt: skip
    task = Classification(sounds.params())
    assert len({str(task.featurizer(untrained(**each)).depends) for each in changes}) == len(changes)


def test_clips_that_are_cut_are_counted() -> None:
    task, model = Classification(sounds.params()), untrained(audio_file_length_limit_in_s=0.35)
    loaded = task.load(TEST, model, title="")
    longer = sum(io.duration_s(TEST.audio(index)) > 0.35 for index in range(18))
    assert 0 < longer < 18
    assert f"{longer} of 18 clips" in task.notes(model, loaded)[0]
    assert task.notes(untrained(), loaded) == []


def test_classes_can_weigh_and_come_equally_often(tmp_path: Path) -> None:
    rare = TRAIN.part([index for index in range(27) if index % 3 or index < 6])
    found = [
        Started(tmp_path / str(number), rare, **changes)
        for number, changes in enumerate(
            ({}, {"trainer__class_weights": "balanced"}, {"trainer__sampling": "balanced"})
        )
    ]
    assert len({files.content_hash(each.folder / "model.safetensors") for each in found}) == 3
    assert all(each.metrics["accuracy_validation"] > 0.7 for each in found[1:])


def test_baselines_never_see_a_test_label_nor_what_the_model_could_not_learn(plain: Started) -> None:
    def baselines(train: Clips, test: Clips) -> dict[str, Scores]:
        data, loaded = Data({"train": train}), plain.load(test)
        task = Classification(sounds.params(limits__max_bad_fraction=0.2))
        return task.baselines(data, loaded, plain.model, task.score(plain.model, loaded, title=""))

    found = baselines(TRAIN, TEST)
    assert found[SVM].value("accuracy") > 0.8
    assert found[MAJORITY].value("accuracy") == pytest.approx(1 / 3)
    blind = TEST.part(range(18))
    blind.facts[:] = [{**facts, "label": "high"} for facts in blind.facts]
    broken = sounds.of([*(TRAIN.audio(index) for index in range(27)), b"broken", TRAIN.audio(0)],
                       [*TRAIN.facts, {"label": "low"}, {"label": None}])  # fmt: skip
    for other in (baselines(TRAIN, blind), baselines(broken, TEST)):
        np.testing.assert_array_equal(other[SVM].probabilities, found[SVM].probabilities)


def test_other_ways_to_say_a_label_reach_the_verifier() -> None:
    aliases = {"reward__labels__aliases": ["low=deep", "low=bass", "high=shrill"]}

    def reward(answer: str, **changes: Any) -> float | None:
        verifier = Classification(sounds.params(**changes)).verifier(Data({"train": TRAIN}))
        return verifier.verify_samples([answer], Evidence("low"))[0].reward

    assert [reward(answer, **aliases) for answer in ("deep", "BASS", "shrill", "low")] == [1, 1, 0, 1]
    assert reward("deep") == 0
    assert reward("BASS", **aliases, reward__labels__ignore_case=False) == 0
    assert reward("lows", reward__labels__fuzzy_threshold=0.7) == 1
    with pytest.raises(UserError, match=r"aliases.*bass"):
        reward("low", reward__labels__aliases=["bass=deep"])


def test_features_are_z_scored_by_speaker_and_the_report_says_so(tmp_path: Path) -> None:
    facts = [dict(each) for each in TEST.facts]
    del facts[0]["speaker"]
    facts[1]["speaker"] = "alone"
    strange = Clips(TEST.ids, TEST.audio, facts)
    task = Classification(sounds.params(classification__normalize_by="speaker", limits__max_bad_fraction=0.2))
    runtime.seed_torch(0)
    model, raw = build(sounds.LABELS, task.options), untrained()
    found, plain = task.load(strange, model, title="x"), task.load(strange, raw, title="x")  # type: ignore[arg-type]
    features = dict(zip(found.clips.ids, found.utterances.features, strict=True))
    for speaker in sounds.SPEAKERS:
        own = [name for name, each in zip(strange.ids, facts, strict=True) if each.get("speaker") == speaker]
        rows = {name: plain.utterances.features[plain.clips.ids.index(name)].numpy() for name in own}
        every = np.concatenate(list(rows.values()))
        for name in own:
            expected = (rows[name] - every.mean(0)) / every.std(0)
            np.testing.assert_allclose(features[name].numpy(), expected, atol=1e-3)
    assert [(bad.id, bad.reason.split(",")[0]) for bad in found.rejected] == [(TEST.ids[0], "no speaker")]
    assert "alone" in {each.get("speaker") for each in found.clips.facts}, "a clip of many frames has others beside it"
    started = Started(tmp_path / "start", normalize_by="speaker")
    assert started.score(TEST).value("accuracy") > 0.8
    assert started.model.config.normalize_by == "speaker"
    (sentence,) = started.task.findings([], Bootstrap(10, 0))
    assert "without their labels" in sentence
    assert Classification(sounds.params()).findings([], Bootstrap(10, 0)) == []
    for changes in ({"features__type": "raw"}, {"target": "speaker"}):
        with pytest.raises(UserError, match="normalize_by"):
            Started(tmp_path / "no", normalize_by="speaker", **changes)
