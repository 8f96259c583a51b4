"""Speech enhancement from clean speech to a report, with the steps that every task has."""

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

from soundraft import cli, files
from soundraft.audio import io
from soundraft.audio.waveform import CleanSpeech, Waveform
from soundraft.clips.base import Clips
from soundraft.evaluation.results import START_MODEL, TRAINED, ModelId
from soundraft.metrics.resampling import Bootstrap
from soundraft.models.enhancer import build
from soundraft.params import ParamsError
from soundraft.rewards.base import Evidence
from soundraft.runtime import UserError
from soundraft.tasks import measure, steps
from soundraft.tasks.base import Data, task_of
from soundraft.tasks.enhancement import Remixing, SpeechEnhancement
from soundraft.tracking import Tracker
from soundraft.training.learner import examples_of
from tests.conftest import tiny_recognizer
from tests.pipeline.workshop import ROOT, with_keys
from tests.tasks import sounds, speech


def data() -> Data:
    return Data(
        {"train": speech.clips(12), "validation": speech.clips(6, first=100), "test": speech.clips(8, first=200)}
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A start model, a cycle, and the report of both."""
    folder, task, clips = tmp_path_factory.mktemp("enhancement"), speech.task(), data()
    steps.start(task, clips, folder / "start", Tracker())
    steps.cycle(task, clips, folder / "start", folder / "01", number=1, base=folder / "start")
    models = [(START_MODEL, folder / "start"), (ModelId(TRAINED, "raft", 1), folder / "01")]
    measure.evaluate(task, clips, models, folder / "report", Tracker())
    return folder


def test_the_start_model_beats_the_noisy_input_and_the_report_has_the_baselines(trained: Path) -> None:
    numbers = files.read_json(trained / "report/metrics.json")
    assert numbers["si_sdri_before"] > 1
    assert numbers["wiener_si_sdri"] > 1
    assert numbers["noisy_si_sdr"] == pytest.approx(numbers["si_sdr_before"] - numbers["si_sdri_before"], abs=1e-6)
    report = (trained / "report/report.md").read_text()
    assert "control: noisy input" in report
    assert "Wiener filter" in report
    assert "## By snr" in report
    predictions = pandas.read_parquet(trained / "report/predictions.parquet")
    noisy = predictions[predictions["chain"] == "noisy"]
    assert (noisy["si_sdri"].abs() < 1e-5).all()
    assert set(noisy["worse"]) == {0.0}


def test_a_cycle_learns_samples_with_the_better_reward(trained: Path) -> None:
    before, after = ((trained / name / "model.safetensors").read_bytes() for name in ("start", "01"))
    assert before != after
    rollouts = pandas.read_parquet(trained / "01/rollouts.parquet")
    assert {"sisdr", "estoi", "reward", "selected"} <= set(rollouts)
    best = rollouts.groupby("id")["reward"].max()
    kept = rollouts[rollouts["selected"]].set_index("id")["reward"]
    assert (kept == best[kept.index]).all()
    assert (rollouts["sample"] > 0)[rollouts["selected"]].any()


def test_training_repeats_itself(trained: Path, tmp_path: Path) -> None:
    steps.start(speech.task(), data(), tmp_path / "start", Tracker())
    assert (tmp_path / "start/model.safetensors").read_bytes() == (trained / "start/model.safetensors").read_bytes()


def test_a_killed_cycle_goes_on_with_its_samples(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of a killed cycle is what it would have been, bit for bit."""
    task, clips, start = speech.task(), data(), trained / "start"
    seen = []

    def killed(*args: Any, **options: Any) -> Any:
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return plain(*args, **options)

    from soundraft.training import selection

    plain = selection.examples_of_samples
    monkeypatch.setattr(selection, "examples_of_samples", killed)
    with pytest.raises(KeyboardInterrupt):
        steps.cycle(task, clips, start, tmp_path / "01", number=1, base=start)
    monkeypatch.setattr(selection, "examples_of_samples", plain)
    model = task.load_model(start)
    monkeypatch.setattr(type(model), "sample", None)  # nothing is drawn again
    steps.cycle(speech.task(), clips, start, tmp_path / "01", number=1, base=start)
    assert (tmp_path / "01/model.safetensors").read_bytes() == (trained / "01/model.safetensors").read_bytes()


def test_mixtures_are_fixed_but_in_training(trained: Path) -> None:
    task = speech.task()
    model = task.load_model(trained / "start")
    loaded = task.load(speech.clips(3), model, title="test")
    again = task.load(speech.clips(3).part([2, 1, 0]), model, title="test")
    assert all(
        torch.equal(*pair) for pair in zip(loaded.utterances.features, again.utterances.features[::-1], strict=True)
    )
    mixing = task.augment(model, 0)
    assert isinstance(mixing, Remixing)
    examples = examples_of(loaded.utterances.features, loaded.utterances.targets)
    first, second = mixing(examples), mixing(examples)
    assert not torch.equal(first[0].features, second[0].features)
    assert first[0].group.answers == examples[0].group.answers  # the speech is the same
    once_more = task.augment(model, 0)
    assert once_more is not None
    assert torch.equal(once_more(examples)[1].features, first[1].features)


def pair(folder: Path, noisy: np.ndarray, clean: np.ndarray, name: str = "a") -> dict[str, str]:
    io.write_wav(folder / f"{name}_noisy.wav", noisy, speech.RATE_HZ)
    io.write_wav(folder / f"{name}_clean.wav", clean, speech.RATE_HZ)
    return {"audio": str(folder / f"{name}_noisy.wav"), "target_path": str(folder / f"{name}_clean.wav")}


def test_pairs_bring_their_own_noise(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, rows = np.random.default_rng(0), []
    for number in range(3):
        clean = speech.wave(number)
        noisy = clean + 0.05 * rng.standard_normal(len(clean)).astype(np.float32)
        rows.append(pair(tmp_path, noisy, clean, str(number)))
    files.write_text(tmp_path / "pairs.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    task = speech.task()
    from soundraft.clips.opening import open_clips

    clips = open_clips(str(tmp_path / "pairs.jsonl"), task.reading()).clips
    loaded = task.load(clips, task.load_model(trained / "start"), title="pairs")
    target = loaded.utterances.targets[0]
    assert isinstance(target, CleanSpeech)
    assert target.source is None
    np.testing.assert_allclose(target.samples, speech.wave(0), atol=1e-4)
    argv = ["--dataset", str(tmp_path / "pairs.jsonl"), "--output", str(tmp_path / "report")]
    cli.main(["evaluate", "--model", str(trained / "start"), *argv])
    said = capsys.readouterr().out
    for way in ("the noisy input: ", "the Wiener filter: "):  # beside the model, on the same clips
        assert way in said
    numbers = files.read_json(tmp_path / "report" / "metrics.json")
    assert numbers["noisy_si_sdr"] < numbers["si_sdr_before"]
    assert numbers["wiener_si_sdri"] != numbers["si_sdri_before"]
    assert "Wiener filter" in (tmp_path / "report" / "report.md").read_text()


def test_bad_pairs_are_rejected_with_the_reason(trained: Path, tmp_path: Path) -> None:
    task, good = speech.task(limits__max_bad_fraction=1.0), speech.clips(5)
    io.write_wav(tmp_path / "short.wav", speech.wave(1)[:3000], speech.RATE_HZ)
    targets = {0: "none.wav", 1: "short.wav"}
    facts = [
        {**each, "target_path": str(tmp_path / targets[place])} if place in targets else each
        for place, each in enumerate(good.facts)
    ]
    loaded = task.load(replace(good, facts=facts), task.load_model(trained / "start"), title="test")
    assert [each.id for each in loaded.rejected] == ["000", "001"]
    assert "of one length" in loaded.rejected[1].reason
    assert loaded.clips.ids == ["002", "003", "004"]


def test_algorithms_that_need_a_likelihood_are_refused() -> None:
    for name in ("grpo", "mwer"):
        with pytest.raises(ParamsError, match="needs the probability of an answer"):
            speech.params(train__algorithm=name)
    with pytest.raises(ParamsError, match="for speech recognition"):
        speech.params(train__lora__rank=4)
    with pytest.raises(ParamsError, match="needs reference"):
        speech.params(reward__kind="unsupervised", train__algorithm="raft")
    with pytest.raises(ParamsError, match="recognizer names none"):
        speech.params(enhancement__reward__recognizer=1.0)


def test_filters_have_no_cycles(tmp_path: Path) -> None:
    task = speech.task(enhancement__network="wiener")
    with pytest.raises(UserError, match="learns nothing: set"):
        steps.start(task, data(), tmp_path / "start", Tracker())
    steps.start(speech.task(enhancement__network="wiener", train__cycles=0), data(), tmp_path / "start", Tracker())
    model = task.load_model(tmp_path / "start")
    assert not [each for each in model.model.parameters() if each.requires_grad]


def test_a_model_brings_its_options(trained: Path) -> None:
    found = SpeechEnhancement.recognizes(str(trained / "01"))
    assert found is not None
    assert found["enhancement.width"] == 16
    assert SpeechEnhancement.recognizes(str(trained)) is None


def test_answers_on_recordings_without_clean_speech(trained: Path, tmp_path: Path) -> None:
    io.write_wav(tmp_path / "a.wav", speech.wave(0), speech.RATE_HZ)
    cli.main(
        ["predict", "--model", str(trained / "01"), "--dataset", str(tmp_path), "--output", str(tmp_path / "a.csv")]
    )
    assert pandas.read_csv(tmp_path / "a.csv")["prediction"][0].endswith("dB")


def test_the_section_is_that_of_the_task() -> None:
    assert isinstance(task_of(speech.params()), SpeechEnhancement)


def with_texts(count: int, *, first: int) -> Clips:
    clips = speech.clips(count, first=first)
    return replace(clips, facts=[{**facts, "text": "one two"} for facts in clips.facts])


def test_the_report_says_what_a_recogniser_hears(trained: Path, tmp_path: Path) -> None:
    tiny_recognizer(mel_bins=16).save(tmp_path / "recognizer")
    task = speech.task(enhancement__recognizer=str(tmp_path / "recognizer"))
    models = [(START_MODEL, trained / "start"), (ModelId(TRAINED, "raft", 1), trained / "01")]
    clips = Data({"test": with_texts(4, first=300)})
    (section,) = task.sections(clips, models, "test", Bootstrap(100, 0))
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| ")]
    assert [row.removeprefix("| ").strip() for row in rows[2:]] == [
        "clean speech", "noisy speech", "enhanced by the Wiener filter", "enhanced by start 0", "enhanced by raft 1",
        "half of that, half noisy",
    ]  # fmt: skip
    assert task.sections(Data({"test": speech.clips(4, first=300)}), models, "test", Bootstrap(100, 0)) == []


def test_a_recogniser_can_reward(tmp_path: Path) -> None:
    tiny_recognizer(mel_bins=16).save(tmp_path / "recognizer")
    task = speech.task(
        enhancement__recognizer=str(tmp_path / "recognizer"), enhancement__reward__recognizer=1.0,
        enhancement__reward__sisdr=0.0, enhancement__reward__estoi=0.0,
    )  # fmt: skip
    model = build(task.options)
    loaded = task.load(with_texts(3, first=0), model, title="test")
    target = loaded.utterances.targets[0]
    answers = [*model.best(model.encode(loaded.utterances.features[:1])), Waveform(target.samples)]
    found = task.verifier(Data({})).verify_samples(answers, Evidence(target))
    assert all(0 < (each.reward or 0) < 1 for each in found)
    assert found[0].reward != found[1].reward


def test_the_sounds_of_a_report(trained: Path) -> None:
    samples = [json.loads(line) for line in (trained / "report/samples/samples.jsonl").read_text().splitlines()]
    roles = [(each["role"], each["model"]) for each in samples if each["id"] == samples[0]["id"]]
    assert roles == [("reference", ""), ("input", ""), ("prediction", "wiener"), ("prediction", "start 0"),
                     ("prediction", "raft 1")]  # fmt: skip
    assert all((trained / "report/samples" / each["path"]).is_file() for each in samples)
    drawn = [json.loads(line) for line in (trained / "01/samples/samples.jsonl").read_text().splitlines()]
    assert {each["role"] for each in drawn} == {"candidate"}
    assert {"reward", "sisdr", "estoi"} <= set(drawn[0]["numbers"])


@pytest.mark.slow
def test_the_stages_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    counts = {"train": (12, 0), "validation": (6, 100), "test": (8, 200)}
    sounds.dataset(Path("data/dataset"), **{name: speech.clips(n, first=first) for name, (n, first) in counts.items()})
    Path("params.yaml").write_text(with_keys((ROOT / "params.yaml").read_text(), speech.TOY))
    for chain in ("raft_train", "controls"):
        files.write_json(Path(f"data/plan/{chain}/01.json"), {"active": True})
    for stage in ("train", "benchmark", "raft_train --cycle 1", "controls --cycle 1", "evaluate"):
        script, *options = stage.split()
        monkeypatch.setattr(sys, "argv", [f"{ROOT}/stages/{script}.py", *options])
        runpy.run_path(sys.argv[0], run_name="__main__")
    numbers = files.read_json(Path("reports/evaluate/metrics.json"))
    assert {"si_sdri_before", "si_sdri_after", "wiener_si_sdri", "estoi_after", "worse_after"} <= set(numbers)
    report = Path("reports/evaluate/report.md").read_text()
    assert "supervised on references" in report
    assert "a random one of K" in report
