"""RAFT by name on a toy language in sound: it learns, goes on where it was, and refuses what does not go together."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

import soundraft
from soundraft import AudioRAFTConfig, AudioRAFTTrainer, AudioSample, files
from soundraft.clips import recordings
from soundraft.params import ParamsError
from soundraft.runtime import UserError
from soundraft.tasks import run as run_data
from soundraft.tasks import steps as raft_cycle
from soundraft.tasks.run import TrainingResult, leaves_read, open_run
from tests.tasks import workshop


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOUNDRAFT_CACHE", str(tmp_path / "cache"))


def config(folder: Path, **changes: Any) -> AudioRAFTConfig:
    params = workshop.SMALL | changes.pop("params", {})
    usual = {"num_cycles": 1, "samples_per_prompt": 8, "learning_rate": 2e-3}
    return AudioRAFTConfig(model_name=str(workshop.checkpoint()), output_dir=folder, params=params, **(usual | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingResult, list[str]]:
    """A run of two cycles that others only read."""
    folder = tmp_path_factory.mktemp("run")
    data = workshop.recordings(folder / "data", train=40, validation=10, test=24)
    said: list[str] = []
    result = AudioRAFTTrainer(config(folder / "out", num_cycles=2), tell=said.append).train(data)
    return folder, result, said


def test_it_learns_and_leaves_models_rollouts_and_a_report(finished: tuple[Path, TrainingResult, list[str]]) -> None:
    folder, result, said = finished
    out = folder / "out"
    assert result.measured_on == "test"
    assert result.wer_after.value < 0.75 * result.wer_before.value
    assert result.wer_after.low <= result.wer_after.value <= result.wer_after.high
    assert result.gain.difference == pytest.approx(result.wer_before.value - result.wer_after.value)
    assert result.last_model == out / "cycles/02"
    weights = [load_file(out / name / "model.safetensors") for name in ("start", "cycles/01", "cycles/02")]
    for before, after in pairwise(weights):
        assert all((before[name] != after[name]).any() for name in before if name.endswith("weight"))
    assert len(pq.read_table(out / "cycles/01/rollouts.parquet")) == 40 * 8
    predictions = pq.read_table(out / "predictions.parquet").to_pylist()
    assert [(row["algorithm"], row["cycle"]) for row in predictions[::24]] == [("start", 0), ("raft", 1), ("raft", 2)]
    assert files.read_json(out / "metrics.json")["wer_after"] == result.wer_after.value
    report = (out / "report.md").read_text()
    assert "| RAFT        | 2 " in report
    assert all(f"- {note}" in report for note in result.notes)
    assert (out / "quarantine.jsonl").read_text() == ""
    assert said[-1].startswith(f"test: WER {result.wer_before.value:.1%}")
    assert any(line.startswith("raft 02: kept ") for line in said)


def test_a_run_goes_on_and_makes_nothing_twice(
    finished: tuple[Path, TrainingResult, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, first, _ = finished
    kept = {path: path.stat().st_mtime_ns for path in (folder / "out/cycles").rglob("*.*")}
    made = []
    improve = raft_cycle.improve
    monkeypatch.setattr(raft_cycle, "improve", lambda *a, **k: made.append(k["cycle"]) or improve(*a, **k))
    again = AudioRAFTTrainer(config(folder / "out", num_cycles=2)).train(folder / "data")
    assert (made, again) == ([], first)
    longer = AudioRAFTTrainer(config(folder / "out", num_cycles=3)).train(folder / "data")
    assert made == [3]
    assert longer.cycles[:2] == first.cycles
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_another_run_is_refused_and_every_difference_named(finished: tuple[Path, TrainingResult, list[str]]) -> None:
    folder, *_ = finished
    other = config(folder / "out", samples_per_prompt=4, params={"train.temperature": 1.5})
    with pytest.raises(UserError) as caught:
        AudioRAFTTrainer(other).train(folder / "data")
    assert "params.train.samples_per_prompt was 8, is 4" in str(caught.value)
    assert "params.train.temperature was 1.0, is 1.5" in str(caught.value)
    assert "wer_threshold" not in str(caught.value)
    with pytest.raises(UserError, match=r"data\.splits\.test\.digest was "):
        AudioRAFTTrainer(config(folder / "out")).train(folder / "data", test=workshop.samples(24))
    with pytest.raises(UserError, match=r"holds no run of ours"):
        AudioRAFTTrainer(config(folder / "data")).train(folder / "data")


def test_an_unfinished_cycle_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = workshop.samples(24)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(raft_cycle.rollouts, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            AudioRAFTTrainer(config(tmp_path / "out")).train(samples)
    assert not (tmp_path / "out/cycles/01").exists()
    resumed = AudioRAFTTrainer(config(tmp_path / "out")).train(samples)
    whole = AudioRAFTTrainer(config(tmp_path / "other")).train(samples)
    assert resumed.cycles == whole.cycles
    assert files.content_hash(resumed.last_model / "model.safetensors") == files.content_hash(
        whole.last_model / "model.safetensors"
    )


def test_without_validation_and_test_a_part_of_train_serves_and_it_is_said(tmp_path: Path) -> None:
    result = AudioRAFTTrainer(config(tmp_path / "out", algorithm="sft")).train(workshop.samples(30))
    record = files.read_json(tmp_path / "out/run.json")["data"]["splits"]
    assert set(record) == {"train", "validation"}
    assert record["train"]["clips"] + record["validation"]["clips"] == 30
    assert result.measured_on == "validation"
    assert any("of the 30 training clips were drawn for it" in note for note in result.notes)
    assert any(note.startswith("no test split") for note in result.notes)
    rows = pq.read_table(tmp_path / "out/predictions.parquet")["algorithm"].to_pylist()
    assert set(rows) == {"start", "sft"}


def test_replay_keeps_what_was_known(tmp_path: Path) -> None:
    known = workshop.samples(30, first=200, accent=0.0) + workshop.samples(
        10, first=300, accent=0.0, split="validation"
    )
    given = config(tmp_path / "out", params={"train.replay_fraction": 0.5})
    result = AudioRAFTTrainer(given).train(workshop.samples(24), replay_dataset=known)
    assert result.cycles[0]["wer_start_validation"] < 0.2
    assert "start corpus WER" in (tmp_path / "out/report.md").read_text()
    with pytest.raises(UserError, match=r"train.replay_fraction: got 0.5, but there is no replay dataset"):
        AudioRAFTTrainer(given).train(workshop.samples(24))


def test_bad_clips_are_set_aside_within_the_limit(tmp_path: Path) -> None:
    bad = [AudioSample(tmp_path / "none.wav", "one"), AudioSample(None, "x", metadata={"id": "empty"})]
    with pytest.raises(UserError, match=r"(?s)2 of \d+ clips are bad.*none\.wav: no such file"):
        AudioRAFTTrainer(config(tmp_path / "out")).train([*workshop.samples(20), *bad])
    lenient = config(tmp_path / "more", params={"limits.max_bad_fraction": 0.2})
    AudioRAFTTrainer(lenient).train([*workshop.samples(20), *bad], validation=workshop.samples(8, first=50))
    said = (tmp_path / "more/quarantine.jsonl").read_text()
    assert '"reason": "no such file"' in said
    assert "neither audio_path nor audio_array" in said


def test_a_verifier_that_asks_for_altered_copies_gets_them(tmp_path: Path) -> None:
    parts = {"agreement": 1.0, "words": 0.0, "vocabulary": 0.0, "length": 0.0, "language": 0.0, "stability": 1.0}
    given = config(
        tmp_path / "out",
        params={"reward.kind": "unsupervised", "reward.unsupervised.weights": parts, "train.reward_threshold": 0.0},
    )
    AudioRAFTTrainer(given).train(workshop.samples(16), validation=workshop.samples(6, first=50))
    assert "stability" in pq.read_table(tmp_path / "out/cycles/01/rollouts.parquet").column_names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "classification"}, "no training for the task 'classification'; there is asr"),
        ({"params": {"train.tempratur": 1.0}}, r"train.tempratur: unknown key; did you mean train.temperature\?"),
        ({"params": {"train.temperature": "x"}}, "train.temperature: got 'x'; allowed: valid number"),
        ({"num_cycles": -1}, "train.cycles: got -1; allowed: greater than or equal to 0"),
        ({"params": {"train.epochs": 2}}, "train.epochs is for the pipeline"),
        ({"params": {"train.cycles": 2}}, "train.cycles is given twice, as 1 and as 2"),
        ({"algorithm": "ppo"}, "train.algorithm: got 'ppo'; allowed: 'raft', 'grpo'"),
        ({"limit": 0}, "limit 0"),
    ],
)
def test_wrong_numbers_are_told_before_anything_is_opened(changes: dict[str, Any], message: str) -> None:
    usual = {"model_name": "m", "output_dir": "o", "num_cycles": 1}
    with pytest.raises(UserError, match=message):
        AudioRAFTConfig(**(usual | changes))


def test_all_numbers_but_the_learning_rate_are_those_of_params_yaml() -> None:
    from soundraft.params import defaults

    made = AudioRAFTConfig(model_name="m", output_dir="o").all_params()
    usual = defaults()
    different = {key for key, value in leaves_read(made).items() if value != usual.leaves()[key]}
    assert different == {"train.learning_rate"}
    by_key = AudioRAFTConfig(model_name="m", output_dir="o", params={"train.learning_rate": 1e-3})
    assert by_key.all_params().train.learning_rate == 1e-3
    assert made.train.learning_rate == 5e-5
    for rate in (1e-4, 5e-5):
        with pytest.raises(ParamsError, match="given twice"):
            AudioRAFTConfig(model_name="m", output_dir="o", learning_rate=rate, params={"train.learning_rate": 1e-3})


def test_a_list_of_samples_needs_names_texts_and_known_splits() -> None:
    with pytest.raises(UserError, match=r'needs metadata\["id"\]'):
        recordings.name_of(AudioSample(None, "x"))
    one = workshop.samples(1)
    with pytest.raises(UserError, match="1 names stand for several clips, m000 first"):
        recordings.check_names(one * 2, "mine")
    with pytest.raises(UserError, match="m000 is of split 'dev'; there are train, validation, test"):
        recordings.open_source(workshop.samples(1, split="dev"), limit=None, seed=0)
    with pytest.raises(UserError, match="x has a classification label; asr needs what is said"):
        recordings.open_source(
            [AudioSample(None, "dog", task="classification", metadata={"id": "x"})], limit=None, seed=0
        )
    with pytest.raises(UserError, match=r"librispech: neither a corpus nor a folder.*there are espeak"):
        recordings.open_source("librispech", limit=None, seed=0)
    with pytest.raises(UserError, match="3 training clips are too few to draw"):
        recordings.draw_validation(workshop.samples(3), seed=0)


def test_a_drawn_validation_split_divides_no_speaker() -> None:
    samples = [
        AudioSample(None, workshop.text_of(n), metadata={"id": str(n), "speaker": f"s{n % 30}"}) for n in range(300)
    ]
    train, validation, by = recordings.draw_validation(samples, seed=0)
    speakers = [{sample.metadata["speaker"] for sample in part} for part in (train, validation)]
    assert by == "speaker or source"
    assert not speakers[0] & speakers[1]
    assert 10 <= len(validation) <= 60
    alone = [AudioSample(None, workshop.text_of(n), metadata={"id": str(n), "speaker": "s"}) for n in range(100)]
    _, validation, by = recordings.draw_validation(alone, seed=0)
    assert by == "text"
    assert validation


def test_characters_that_the_model_cannot_write_are_found() -> None:
    from soundraft import models

    recognizer = models.load_recognizer(workshop.checkpoint())
    features = recognizer.extract(workshop.wave_of("one"))
    assert run_data.unspellable(recognizer, features, ["one two", "año 7", "ça"]) == {"ñ", "7", "ç"}


def test_texts_are_refused_only_where_they_are_learned(tmp_path: Path) -> None:
    samples = workshop.samples(20)
    odd = [
        *samples[:-1],
        AudioSample(None, "año", metadata={"id": "x"}, audio_array=samples[0].audio_array, sample_rate=8000),
    ]
    validation = workshop.samples(6, first=50)
    result = AudioRAFTTrainer(config(tmp_path / "raft", num_cycles=0)).train(odd, validation)
    assert (
        "train: 1 of 20 texts have characters that the model cannot write: ñ; such words always count as errors"
        in result.notes
    )
    with pytest.raises(UserError, match="cannot write: ñ"):
        AudioRAFTTrainer(config(tmp_path / "sft", algorithm="sft")).train(odd, validation)


def test_the_package_names_what_it_exports() -> None:
    assert {"AudioRAFTConfig", "AudioRAFTTrainer", "load_audio_dataset"} <= set(dir(soundraft))
    for name in soundraft.__all__:
        assert getattr(soundraft, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        soundraft.nothing  # noqa: B018


ALONE = {"agreement": 1.0, "words": 0.0, "vocabulary": 0.0, "length": 0.0, "language": 0.0, "stability": 0.0}
UNSUPERVISED = {
    "reward.kind": "unsupervised",
    "reward.unsupervised.weights": ALONE,
    "train.reward_threshold": 0.0,
}


def bare(samples: list[AudioSample]) -> list[AudioSample]:
    return [replace(sample, text=None) for sample in samples]


def test_samples_without_texts_train_as_those_with_texts_that_are_not_read(tmp_path: Path) -> None:
    validation = workshop.samples(8, first=50)
    results = [
        AudioRAFTTrainer(config(tmp_path / name, params=UNSUPERVISED)).train(train, validation)
        for name, train in (("bare", bare(workshop.samples(16))), ("told", workshop.samples(16)))
    ]
    assert results[0].cycles == results[1].cycles
    assert results[0].wer_after == results[1].wer_after
    assert results[0].measured_on == "validation"
    assert "words snapped" not in (tmp_path / "bare/report.md").read_text()
    assert "wer_snapped_after" not in files.read_json(tmp_path / "told/metrics.json")
    assert (tmp_path / "bare/quarantine.jsonl").read_text() == ""


def test_an_unsupervised_run_snaps_to_the_words_of_the_replay_dataset(tmp_path: Path) -> None:
    given = config(tmp_path / "out", params=UNSUPERVISED, num_cycles=0)
    known = [replace(sample, text="one two") for sample in workshop.samples(12, first=200)]
    run = open_run(given, workshop.samples(12), workshop.samples(6, first=50), None, known)
    assert set(run._vocabulary()) == {"one", "two"}
    of_the_target = replace(given, params=workshop.SMALL)
    run = open_run(of_the_target, workshop.samples(12), workshop.samples(6, first=50), None, known)
    assert set(run._vocabulary()) == set(workshop.WORDS)


@pytest.mark.parametrize("listed", [False, True])
def test_a_folder_without_texts_trains_and_nothing_is_measured(tmp_path: Path, listed: bool) -> None:
    folder = workshop.recordings(tmp_path / "data", none=12)
    names = sorted(path.name for path in folder.glob("*.wav"))
    (folder / "metadata.csv").unlink()
    if listed:
        (folder / "metadata.csv").write_text("\n".join(["file_name,speaker", *(f"{name},s" for name in names)]) + "\n")
    said: list[str] = []
    result = AudioRAFTTrainer(config(tmp_path / "out", params=UNSUPERVISED), tell=said.append).train(folder)
    assert (result.measured_on, result.wer_before, result.wer_after, result.gain) == (None, None, None, None)
    assert result.best_model == result.last_model == tmp_path / "out/cycles/01"
    before, after = (load_file(tmp_path / "out" / name / "model.safetensors") for name in ("start", "cycles/01"))
    assert any((before[name] != after[name]).any() for name in before)
    rollouts = pq.read_table(tmp_path / "out/cycles/01/rollouts.parquet").to_pylist()
    assert {row["id"] for row in rollouts} == set(names)
    assert said[-1].startswith("nothing was measured")
    report = (tmp_path / "out/report.md").read_text()
    assert "no validation split, and 0 training clips with a text are too few" in report
    assert f"{result.cycles[0]['reward_mean']:.3f}" in report
    assert files.read_json(tmp_path / "out/metrics.json")["cycles"] == 1
    again = AudioRAFTTrainer(config(tmp_path / "out", params=UNSUPERVISED)).train(folder)
    assert again == result


@pytest.mark.parametrize(
    "changes",
    [
        {"params": {}},
        {"params": UNSUPERVISED, "algorithm": "sft"},
    ],
)
def test_texts_are_still_needed_where_they_are_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = workshop.recordings(tmp_path / "data", none=12)
    (folder / "metadata.csv").unlink()
    with pytest.raises(UserError, match="no list of the recordings"):
        AudioRAFTTrainer(config(tmp_path / "out", **changes)).train(folder)
    with pytest.raises(UserError, match="no text"):
        AudioRAFTTrainer(config(tmp_path / "out", **changes)).train(
            bare(workshop.samples(12)), workshop.samples(6, first=50)
        )


def test_of_held_out_clips_only_those_with_texts_are_measured_on(tmp_path: Path) -> None:
    train, test = bare(workshop.samples(12)), workshop.samples(8, first=50, split="test")
    given = config(tmp_path / "out", params=UNSUPERVISED, num_cycles=0)
    mixed = [*train, *bare(test[:3]), *test[3:], *bare(workshop.samples(4, first=80, split="validation"))]
    result = AudioRAFTTrainer(given).train(mixed)
    assert result.measured_on == "test"
    assert "test: 3 of 8 clips have no text and are left out" in result.notes
    assert "validation: 4 of 4 clips have no text and are left out" in result.notes
    assert len(pq.read_table(tmp_path / "out/predictions.parquet")) == 5
