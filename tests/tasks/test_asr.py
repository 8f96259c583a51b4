"""Speech recognition as a task: its texts, its start model, its verifier, its scores."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from soundraft import AudioRAFTConfig, AudioRAFTTrainer, AudioSample, files, models
from soundraft.clips.base import Clips
from soundraft.manifest import Split
from soundraft.models.ctc import CTCAdapter
from soundraft.models.whisper import WhisperAdapter
from soundraft.rewards import Evidence, TranscriptReward, UnsupervisedReward
from soundraft.runtime import BadClip, UserError
from soundraft.tasks import steps, use
from soundraft.tasks.base import Data
from soundraft.tasks.use import benchmark, evaluate
from soundraft.tracking import Tracker
from tests.models import test_whisper
from tests.tasks import letters
from tests.tasks.letters import clips, task

STABLE = letters.UNSUPERVISED["reward.unsupervised.weights"] | {"stability": 1.0}


def trainer(folder: Path, *, say: Any = None, **changes: Any) -> AudioRAFTTrainer:
    params = letters.SMALL | changes.pop("params", {})
    usual = {"num_cycles": 1, "samples_per_prompt": 8, "learning_rate": 2e-3, "model_name": str(letters.checkpoint())}
    return AudioRAFTTrainer(AudioRAFTConfig(output_dir=folder, params=params, **(usual | changes)), say=say)


def bare(samples: list[AudioSample]) -> list[AudioSample]:
    return [replace(sample, text=None) for sample in samples]


@pytest.mark.parametrize("text", ["zero five two", "Two oh five!", "I have one, Mr. Smith"])
def test_an_exact_transcript_has_no_errors_whatever_the_normaliser_does_to_it(text: str) -> None:
    """`zero five two` is written 052 and, normalised again, 52: references must be normalised once."""
    found = task(reward__normalizer="whisper-english")
    model = models.load_recognizer(letters.checkpoint())
    given = clips(range(1))
    given.facts[0]["text"] = text
    loaded = found.load(given, model, title="")
    model.best = lambda encoded: [text]  # type: ignore[method-assign]
    assert found.score(model, loaded, title="").value("wer") == 0
    verifier = found.verifier(Data({"train": given}))
    assert verifier.verify_samples([text], Evidence(loaded.utterances.targets[0]))[0].reward == 1


def test_a_clip_longer_than_the_limit_is_rejected_before_it_costs_anything() -> None:
    found, model = task(limits__max_clip_s=1.0), models.load_recognizer(letters.checkpoint())
    model.extract = None  # type: ignore[method-assign,assignment]
    with pytest.raises(BadClip, match=r"10800 s long.*max_clip_s"):
        found.featurizer(model).compute(np.zeros((10800 * 8000, 1), np.int8), 8000)


def test_a_model_that_writes_token_by_token_draws_fewer_samples_where_none_are_given(tmp_path: Path) -> None:
    data, notes = letters.samples(8), list[str]()
    folder = str(test_whisper.checkpoint(tmp_path / "whisper", window_s=3))
    for model, given, expected in (
        (folder, {}, (8, 1)), (folder, {"samples_per_prompt": 3}, (3, 1)),
        (folder, {"params": {"train.rounds_per_cycle": 2, "model.language": "en"}}, (8, 2)),
        (str(letters.checkpoint()), {}, (64, 8)),
    ):  # fmt: skip
        params = {"model.language": "en"} | given.pop("params", {})
        config = AudioRAFTConfig(output_dir=tmp_path / "run", model_name=model, params=params, **given)
        run = AudioRAFTTrainer(config, say=notes.append).open(data)
        assert (run.task.train.samples_per_prompt, run.task.train.rounds_per_cycle) == expected
        assert any("to suit the model" in note for note in run.notes) == (model == folder)
        assert run.record()["params"]["train.samples_per_prompt"] == expected[0]


@pytest.mark.parametrize(("longest_s", "window_s", "noted"), [(2.4, 0, "window_s=15"), (6.5, 0, ""), (2.4, 15, "")])
def test_a_window_that_suits_short_clips_is_named(tmp_path: Path, longest_s: float, window_s: int, noted: str) -> None:
    folder = test_whisper.checkpoint(tmp_path / "whisper", window_s=30)
    given = clips(range(2))
    for facts, duration in zip(given.facts, (1.0, longest_s), strict=True):
        facts["duration"] = duration
    notes = task(model__checkpoint=str(folder), model__language="en", model__window_s=window_s).check(
        Data({"train": given})
    )
    assert [note for note in notes if "window_s" in note] == [note for note in notes if noted and noted in note]
    assert any("window_s" in note for note in notes) == bool(noted)


@pytest.mark.parametrize(("language", "given", "expected"), [
    ("en", {}, "whisper-english"), ("de", {}, "whisper-multilingual"), ("en", {"reward.normalizer": "basic"}, "basic"),
])  # fmt: skip
def test_other_peoples_whisper_is_measured_with_its_own_normaliser(
    tmp_path: Path, language: str, given: dict[str, str], expected: str
) -> None:
    folder = test_whisper.checkpoint(tmp_path / "whisper", window_s=3, language=language)
    found = use.open_model(folder, {"model.language": language, **given})
    assert found.task.params.reward.normalizer == expected
    assert use.open_model(letters.checkpoint(), given).task.params.reward.normalizer == "basic"


def test_a_whisper_is_measured_by_what_it_would_transcribe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy, it repeats itself; drawn again, it does not."""
    folder = test_whisper.checkpoint(tmp_path / "whisper", window_s=3)

    def write(self: WhisperAdapter, encoded: Any, noise: object = None) -> list[list[int]]:
        text = "one " * 60 if noise is None else "one"
        return [self.tokenizer(text, add_special_tokens=False).input_ids] * len(encoded)

    monkeypatch.setattr(WhisperAdapter, "write", write)
    samples = [replace(sample, text="one") for sample in letters.samples(3)]
    assert evaluate(folder, samples, params={"model.language": "en"}).scores.value("wer") == 0


def test_errors_that_are_only_numbers_written_otherwise_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CTCAdapter, "best", lambda self, encoded: ["3, 5, 7."] * len(encoded.lengths))
    samples = [replace(sample, text="three five seven") for sample in letters.samples(3)]
    for found in (evaluate(letters.checkpoint(), samples), benchmark(letters.checkpoint(), samples).evaluation):
        assert found.scores.value("wer") == 1
        assert "WER is 0.0% with --normalizer spoken-digits" in found.notes[-1]
    found = evaluate(letters.checkpoint(), samples, params={"reward.normalizer": "spoken-digits"})
    assert found.scores.value("wer") == 0
    assert not any("--normalizer" in note for note in found.notes)


def test_the_verifier_is_the_one_of_the_params() -> None:
    data = Data({}, {"train": clips(range(8))})
    found = task(reward__cer_weight=1.0).verifier(data)
    assert isinstance(found, TranscriptReward)
    assert found.verify_samples(["turn on"], Evidence("turn off"))[0].reward == pytest.approx(0.75)
    found = task(reward__kind="unsupervised").verifier(data)
    assert isinstance(found, UnsupervisedReward)
    good, bad = found.verify_samples(["nine six one", "nein xsi noe"], Evidence())
    assert (good.parts["words"], bad.parts["words"]) == (1.0, pytest.approx(1 / 3, abs=0.2))
    with pytest.raises(UserError, match=r"with 0 texts .*--replay"):
        task(reward__kind="unsupervised").verifier(Data({}))


def test_characters_that_the_model_cannot_write_are_found_and_refused_only_where_they_are_learned() -> None:
    given = clips(range(3))
    given.facts[1]["text"] = "año ç"
    data: dict[Split, Clips] = {"train": given, "validation": clips(range(3, 5))}
    (note,) = task().check(Data(data))
    assert note.startswith("train: 1 of 3 texts")
    assert "ç ñ" in note
    with pytest.raises(UserError, match="ç ñ"):
        task(train__algorithm="sft").check(Data(data))
    with pytest.raises(UserError, match=r"replay.* ç ñ"):
        task().check(Data({"train": clips(range(3))}, {"train": given}))


def test_a_start_from_a_checkpoint_is_that_one_and_one_from_scratch_learns(tmp_path: Path) -> None:
    def start(name: str, **changes: Any) -> dict[str, Any]:
        data = Data({}, {"train": clips(range(30)), "validation": clips(range(30, 36))})
        steps.start(task(**changes), data, tmp_path / name, Tracker())
        found: dict[str, Any] = files.read_json(tmp_path / name / "metrics.json")
        return found

    assert start("taken")["wer_start_validation"] < 0.1
    kept, given = (load_file(folder / "model.safetensors") for folder in (tmp_path / "taken", letters.checkpoint()))
    assert all((kept[name] == given[name]).all() for name in given)
    sizes = {"hidden_size": 16, "layers": 1, "attention_heads": 2, "mel_bins": 16, "subsampling": 2}
    scratch = {"model__checkpoint": "scratch", **{f"model__scratch__{name}": value for name, value in sizes.items()}}
    metrics = [start(name, **scratch, train__epochs=epochs) for name, epochs in (("one", 1), ("again", 1), ("six", 6))]
    assert metrics[0] == metrics[1]
    assert metrics[2]["final_loss"] < metrics[0]["final_loss"]
    one, again = (files.content_hash(tmp_path / name / "model.safetensors") for name in ("one", "again"))
    assert one == again
    # what a model from scratch learned is kept with it; of one from elsewhere that is not known
    seconds = [len(letters.wave_of(letters.text_of(number))) / letters.RATE_HZ for number in range(30)]
    learned = models.load_recognizer(tmp_path / "one").learned_clip_s
    assert learned == pytest.approx(np.quantile(seconds, 0.99), abs=2e-3)
    steps.cycle(
        task(train__samples_per_prompt=4, train__algorithm="sft"), Data({"train": clips(range(8), accent=0.04)}),
        tmp_path / "one", tmp_path / "cycle", number=1, base=tmp_path / "one",
    )  # fmt: skip
    assert models.load_recognizer(tmp_path / "cycle").learned_clip_s == learned


def test_replay_keeps_what_was_known_and_shows_it(tmp_path: Path) -> None:
    known = [
        *letters.samples(30, first=200, accent=0.0),
        *letters.samples(10, first=300, accent=0.0, split="validation"),
    ]
    target = letters.samples(24), letters.samples(6, first=50)
    half = trainer(tmp_path / "with", params={"train.replay_fraction": 0.5})
    result = half.train(*target, replay_dataset=known)
    assert result.cycles[0]["wer_start_validation"] < 0.2
    without = trainer(tmp_path / "without").train(*target)
    assert any("no replay dataset" in note for note in without.notes)
    weights = [load_file(each.last_model / "model.safetensors") for each in (result, without)]
    assert any((weights[0][name] != weights[1][name]).any() for name in weights[0])
    with pytest.raises(UserError, match="replay_fraction"):
        half.train(*target)


def test_a_verifier_that_asks_for_perturbed_copies_gets_them(tmp_path: Path) -> None:
    params = letters.UNSUPERVISED | {"reward.unsupervised.weights": STABLE}
    trainer(tmp_path / "out", params=params).train(letters.samples(16), letters.samples(6, first=50))
    rollouts = pq.read_table(tmp_path / "out/cycles/01/rollouts.parquet")
    assert len(set(rollouts["stability"].to_pylist())) > 1


def test_samples_without_texts_train_as_those_whose_texts_are_not_read(tmp_path: Path) -> None:
    held_out = letters.samples(8, first=50), letters.samples(8, first=70)
    results = [
        trainer(tmp_path / name, params=letters.UNSUPERVISED).train(train, *held_out)
        for name, train in (("bare", bare(letters.samples(16))), ("known", letters.samples(16)))
    ]
    assert results[0].cycles == results[1].cycles
    assert results[0].after == results[1].after
    assert results[0].measured_on == "test"
    assert "wer_snapped_after" not in files.read_json(tmp_path / "known/metrics.json"), "it has no words to snap to"
    assert (tmp_path / "bare/quarantine.jsonl").read_text() == ""


@pytest.mark.parametrize("listed", [False, True])
def test_a_folder_without_texts_trains_and_nothing_is_measured(tmp_path: Path, listed: bool) -> None:
    folder = letters.recordings(tmp_path / "data", none=12)
    names = sorted(path.name for path in folder.glob("*.wav"))
    (folder / "metadata.csv").unlink()
    if listed:
        (folder / "metadata.csv").write_text("\n".join(["file_name,speaker", *(f"{name},s" for name in names)]) + "\n")
    result = trainer(tmp_path / "out", params=letters.UNSUPERVISED).train(folder)
    assert (result.measured_on, result.before, result.after, result.gain) == (None, None, None, None)
    assert result.best_model == result.last_model == tmp_path / "out/cycles/01"
    before, after = (load_file(tmp_path / "out" / name / "model.safetensors") for name in ("start", "cycles/01"))
    assert any((before[name] != after[name]).any() for name in before)
    rollouts = pq.read_table(tmp_path / "out/cycles/01/rollouts.parquet").to_pylist()
    assert {row["id"] for row in rollouts} == set(names)
    assert f"{result.cycles[0]['reward_mean']:.3f}" in (tmp_path / "out/report.md").read_text()
    assert files.read_json(tmp_path / "out/metrics.json")["cycles"] == 1


@pytest.mark.parametrize("changes", [{}, {"params": letters.UNSUPERVISED, "algorithm": "sft"}])
def test_texts_are_still_needed_where_they_are_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = letters.recordings(tmp_path / "data", none=12)
    (folder / "metadata.csv").unlink()
    for data in (folder, bare(letters.samples(12))):
        with pytest.raises(UserError, match=r"no list of the recordings|text|target"):
            trainer(tmp_path / "out", **dict(changes)).train(data, letters.samples(6, first=50))


def test_of_held_out_clips_only_those_with_texts_are_measured_on(tmp_path: Path) -> None:
    test = letters.samples(8, first=50, split="test")
    mixed = [*bare(letters.samples(12)), *bare(test[:3]), *test[3:],
             *bare(letters.samples(4, first=80, split="validation"))]  # fmt: skip
    result = trainer(tmp_path / "out", params=letters.UNSUPERVISED, num_cycles=0).train(mixed)
    assert (result.measured_on, len(result.scores)) == ("test", 5)
    assert any("3 of 8" in note for note in result.notes)


def test_words_are_snapped_to_those_of_the_replay_dataset_and_of_texts_that_are_read(tmp_path: Path) -> None:
    known = [replace(sample, text="one two") for sample in letters.samples(12, first=200)]

    def snapped(params: dict[str, Any]) -> set[str]:
        run = trainer(tmp_path / "out", num_cycles=0, params=params).open(
            letters.samples(12), letters.samples(6, first=50), replay_dataset=known
        )
        model = run.task.load_model(letters.checkpoint())
        loaded = run.data.load(run.task, model, "target", "validation")
        others = run.task.others(run.data, run.task.score(model, loaded, title=""))
        return {word for text in others["snapped"].predictions for word in text.split()}

    assert snapped(letters.UNSUPERVISED) <= {"one", "two"}
    assert snapped({}) - {"one", "two"}
