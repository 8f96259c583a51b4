"""Text to speech in small: trained, improved, measured, asked to speak. Its recordings are those of a toy language."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest

import soundraft
from soundraft import cli, files
from soundraft.audio import io
from soundraft.clips.base import Clips, from_dataset
from soundraft.clips.batches import Utterances
from soundraft.corpora import espeak
from soundraft.corpora.espeak import WORD_BREAK
from soundraft.evaluation import samples
from soundraft.models import load_recognizer
from soundraft.models.base import ModelError
from soundraft.models.codec_lm import Speech, load_codec_lm
from soundraft.models.ctc import CTCAdapter
from soundraft.models.reading import PAUSE, align
from soundraft.params import changed, defaults
from soundraft.rewards.base import Evidence
from soundraft.runtime import UserError
from soundraft.tasks.base import task_of
from soundraft.tasks.lines import read_lines
from soundraft.tasks.speak import LIST_NAME, Speaker
from soundraft.tasks.tts import Speaking
from tests.tasks import letters

SMALL = {
    "task": "tts",
    "tts.units": "letters",
    "tts.codebooks": 2,
    "tts.hidden_size": 32,
    "tts.layers": 1,
    "tts.attention_heads": 2,
    "tts.best_of": 2,
    "tts.judge": "",
    "train.epochs": 1,
    "train.supervised.batch_size": 8,
    "train.supervised.learning_rate": 5e-3,
    "train.rounds_per_cycle": 1,
    "train.samples_per_prompt": 2,
    "train.presentations_per_cycle": 8,
    "train.replay_fraction": 0.0,
    "train.batch_size": 4,
    "train.reward_threshold": 0.0,
    "evaluate.bootstrap_samples": 100,
}
VOICES = ("ann", "bob")
TEXTS = ({"text": "two two six"}, {"id": "b", "text": "nine zero", "voice": "bob"})  # without recordings


def numbers() -> dict[str, object]:
    return SMALL | {"tts.recognizer": str(letters.checkpoint()), "evaluate.judge": str(letters.checkpoint())}


def recordings(folder: Path, **counts: int) -> Path:
    """As `letters.recordings`, of two voices."""
    lines, number = ["file_name,text,speaker,split"], 0
    for split, count in counts.items():
        for _ in range(count):
            text, voice = letters.text_of(number), VOICES[number % 2]
            wave = letters.wave_of(text, accent=0.02 * (number % 2), seed=number)
            io.write_wav(folder / f"{number:03d}.wav", wave, letters.RATE_HZ)
            lines.append(f"{number:03d}.wav,{text},{voice},{split}")
            number += 1
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one cycle, by the command line."""
    home = tmp_path_factory.mktemp("tts")
    folder = recordings(home / "clips", train=8, validation=1, test=2)
    (home / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TEXTS))
    given = [f"tts.texts={home / 'texts.jsonl'}", "tts.texts_per_cycle=2"]
    given += [f"{key}={json.dumps(value)}" for key, value in numbers().items() if key != "task"]
    cli.main(["train", "--task", "tts", "--dataset", str(folder), "--output", str(home / "run"), "--cycles", "1",
              "--set", *given])  # fmt: skip
    return home / "run"


def test_a_run_trains_improves_and_measures(run: Path) -> None:
    start, cycle = load_codec_lm(run / "start"), load_codec_lm(run / "cycles/01")
    assert start.config.voices == VOICES
    assert set(start.config.units) == {"_", "|", *"onetwosixzerfu"}
    assert any(
        (one != other).any() for one, other in zip(start.model.parameters(), cycle.model.parameters(), strict=True)
    )
    rollouts = pandas.read_parquet(run / "cycles/01/rollouts.parquet")
    assert {"wer", "cer", "likelihood", "quality"} <= set(rollouts)
    assert rollouts["reward"].between(0, 1).all()
    assert rollouts.groupby("id").size().eq(2).all()
    best = rollouts.loc[rollouts.groupby("id")["reward"].idxmax()]
    assert set(rollouts[rollouts["selected"]].index) <= set(best.index)
    beside = [name for name in rollouts["id"] if name.startswith("texts/")]
    assert {name.split("/")[2] for name in beside} == {"1", "b"}
    assert rollouts.loc[rollouts["id"].str.startswith("texts/"), "selected"].any()
    report = (run / "report.md").read_text()
    for line in ("recordings as they are", "recordings through the codec", "best of several without training"):
        assert line in report
    metrics = files.read_json(run / "metrics.json")
    # the recogniser knows the recordings; a model that has learned for a second says nothing that it understands
    assert metrics["original_wer"] < 0.3 < metrics["wer_before"]
    assert metrics["original_wer_other"] == pytest.approx(metrics["original_wer"], abs=0.2)
    assert metrics["duration_ratio_after"] > 0
    kept = samples.read(run / "samples")
    assert {(each.role, each.model) for each in kept} == {
        ("reference", ""), ("prediction", "start 0"), ("prediction", "raft 1")
    }  # fmt: skip
    assert {each.role for each in samples.read(run / "cycles/01/samples")} == {"candidate"}


def test_the_same_again(run: Path, tmp_path: Path) -> None:
    """Start and cycle are the same, bit for bit, from other code of the same run: Python's."""
    config = soundraft.AudioRAFTConfig(
        model_name=None, task="tts", num_cycles=1, output_dir=tmp_path / "again",
        params={key: value for key, value in numbers().items() if key != "task"}
        | {"tts.texts": str(run.parent / "texts.jsonl"), "tts.texts_per_cycle": 2},
    )  # fmt: skip
    soundraft.AudioRAFTTrainer(config).train(str(run.parent / "clips"))
    for place in ("start", "cycles/01"):
        assert files.content_hash(run / place / "model.safetensors") == files.content_hash(
            tmp_path / "again" / place / "model.safetensors"
        )


def test_speaking_a_text_and_files_of_texts(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speak = ["--model", str(run), "--voice", "ann"]
    cli.main(["speak", "one two", *speak, "--best-of", "3", "-o", str(tmp_path / "one.wav")])
    assert "the recogniser hears:" in capsys.readouterr().out
    wave, rate_hz = io.read(tmp_path / "one.wav")
    assert rate_hz == 24000
    assert len(wave) > 1000
    (tmp_path / "texts.jsonl").write_text('{"id": "first", "text": "zero four"}\n{"text": "six", "voice": "bob"}\n')
    out = tmp_path / "out"
    cli.main(["speak", str(tmp_path / "texts.jsonl"), *speak, "-o", str(out)])
    rows = [json.loads(line) for line in (out / LIST_NAME).read_text().splitlines()]
    assert [(row["id"], row["voice"]) for row in rows] == [("first", "ann"), ("2", "bob")]
    before = {path.name: path.read_bytes() for path in out.glob("*.wav")}
    (out / "2.wav").unlink()
    capsys.readouterr()
    cli.main(["speak", str(tmp_path / "texts.jsonl"), *speak, "-o", str(out)])
    assert "1 of 2 are there already" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in out.glob("*.wav")} == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["one", "--voice", "anne"], "no voice 'anne'; the nearest name is 'ann'"),
        (["on☃e", "--voice", "ann"], "SNOWMAN"),
        ([" ", "--voice", "ann"], "nothing to say"),
        (["quiz", "--voice", "ann"], "letters that were not learned: q"),
        (["no/such.txt", "--voice", "ann"], "no such file"),
    ],
)
def test_what_cannot_be_said_is_named(run: Path, tmp_path: Path, words: list[str], reason: str) -> None:
    out = tmp_path / ("out" if words[0].endswith(".txt") else "out.wav")
    with pytest.raises(SystemExit, match=reason):
        cli.main(["speak", *words, "--model", str(run), "-o", str(out)])
    assert not out.exists()


def test_lines_of_a_file(tmp_path: Path) -> None:
    place = tmp_path / "texts.txt"
    place.write_text("one\n\n two\n")
    assert [(line.id, line.text) for line in read_lines(str(place), "ann")] == [("1", "one"), ("2", " two")]
    rows = tmp_path / "texts.jsonl"
    for content, reason in (
        ('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}', "two lines have the id a"),
        ('{"id": "../a", "text": "x"}', "cannot be the name of a file"),
        ('{"id": "a"}', "line 1: an object with a text"),
        ("", "there is no text"),
    ):
        rows.write_text(content)
        with pytest.raises(UserError, match=reason):
            read_lines(str(rows), "ann")


def test_texts_without_recordings_are_drawn_anew_and_learned_by_no_control_of_recordings(
    run: Path, tmp_path: Path
) -> None:
    place = tmp_path / "texts.txt"
    place.write_text("one two\nsix, nine; 4!\n" + "zero " * 50)
    model = load_codec_lm(run / "start")

    def asked(seed: int, count: int) -> Utterances:
        task = task_of(changed(defaults(), numbers() | {"tts.texts": str(place), "tts.texts_per_cycle": count}))
        return task.prompts(model, seed)

    everything = asked(0, 99)
    assert sorted(each.text for each in everything.targets)[:2] == ["one two", "six nine four"]
    assert len(everything) == 4  # the last line is said in two pieces
    assert {model.voice_of(prompt) for seed in range(5) for prompt in asked(seed, 4).features} == set(VOICES)
    assert len({tuple(each.text for each in asked(seed, 1).targets) for seed in range(20)}) == 4
    assert not any(map(model.can_learn, everything.targets))
    for content, reason in (("one\nquiz", "text 2: letters that were not learned: q"), ("☃", "text 1: .*SNOWMAN")):
        place.write_text(content)
        with pytest.raises(UserError, match=f"tts.texts: .*texts.txt, {reason}"):
            asked(0, 2)
    with pytest.raises(UserError, match=r"tts.texts: got 'texts.csv'; the file of texts is a .txt or a .jsonl file"):
        changed(defaults(), {"tts.texts": "texts.csv"})


def test_a_long_text_is_said_in_pieces(run: Path) -> None:
    speaker = Speaker(run)
    long = "one two six nine zero four. " * 10
    line = read_lines(long, "ann")[0]
    ((wave, _),) = speaker.speak([line])
    ((short, _),) = speaker.speak([read_lines("one two six nine zero four.", "ann")[0]])
    assert len(wave) > 5 * len(short)


def test_a_recording_names_the_voice_that_is_most_like_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([(0, 1), (0.6, 0.8), (1, 0), (0, 1)])  # the recording, through the codec, and the voices in order

    class Encoder:
        def embed(self, samples: np.ndarray, rate_hz: int) -> np.ndarray:
            assert samples.ndim == 1
            return np.array(next(found), float)

    monkeypatch.setattr("soundraft.tasks.speak.VoiceEncoder", Encoder)
    io.write_wav(tmp_path / "me.wav", letters.wave_of("one two six nine"), letters.RATE_HZ)
    assert Speaker(run).voice(str(tmp_path / "me.wav")) == "bob"


def test_a_recording_without_a_voice_is_refused(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("resemblyzer")
    for name, seconds, reason in (("short.wav", 1, "a voice takes 2 s or more"), ("silent.wav", 3, "no voice")):
        io.write_wav(tmp_path / name, np.zeros(8000 * seconds, np.float32), 8000)
        with pytest.raises(UserError, match=reason):
            Speaker(run).voice(str(tmp_path / name))


def test_the_reward_is_of_what_is_heard_of_the_text_that_was_asked(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes stand for sounds here: the toy language does not survive the codec."""
    task = Speaker(run).task
    texts = ("one two six", "zero zero", "one two nine")
    spoken = [Speech(np.full((2, 9), n, np.int16), np.array([9], np.int16)) for n in range(4)]
    waves = [letters.wave_of(text, seed=n) for n, text in enumerate(texts)]
    waves.append(np.random.default_rng(0).standard_normal(8000).astype(np.float32))
    sounds = {each: io.resample(0.3 * wave, letters.RATE_HZ, 24000) for each, wave in zip(spoken, waves, strict=True)}
    monkeypatch.setattr(task, "waves_of", lambda answers: [sounds[each] for each in answers])
    asked = Evidence(Speech(np.zeros((2, 9), np.int16), np.array([9], np.int16), text=texts[0]))
    found = task.verifier_alone().verify_samples(spoken, asked)
    understood = [each.parts["intelligibility"] for each in found]
    assert understood[0] > 0.8
    assert understood[0] > understood[2] > understood[1]
    assert understood[3] < 0.2
    assert found[3].reward is not None
    assert found[0].reward is not None
    assert found[3].reward < found[0].reward
    assert task.describe_answer(spoken[0]) == texts[0]


def test_each_voice_is_compared_with_the_recording_of_its_own_clip(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two voices say one text: sounds at two levels stand for them."""

    class Levels:
        def embed(self, wave: np.ndarray, rate_hz: int) -> np.ndarray:
            return np.array([1.0, 0.0] if np.abs(wave).max() > 0.2 else [0.0, 1.0])

    task = Speaker(run).task
    loud, soft = (Speech(np.full((2, 9), n, np.int16), np.array([9], np.int16), text="one two six") for n in range(2))
    wave = io.resample(letters.wave_of("one two six"), letters.RATE_HZ, 24000)
    sounds = {each: wave / np.abs(wave).max() * peak for each, peak in ((loud, 0.5), (soft, 0.1))}
    monkeypatch.setattr(task, "wave_of", sounds.__getitem__)
    monkeypatch.setattr(task, "waves_of", lambda answers: [sounds[each] for each in answers])
    verifier = task.verifier_alone()
    weights = task.options.reward.weights.model_copy(update={"consistency": 0.2})
    monkeypatch.setattr(verifier, "_encoder", Levels())
    monkeypatch.setattr(verifier.reward, "options", task.options.reward.model_copy(update={"weights": weights}))
    found = verifier.verify_all([[loud, soft], [loud, soft]], [Evidence(loud), Evidence(soft)])
    assert [[each.parts["similarity"] for each in own] for own in found] == [[1.0, 0.0], [0.0, 1.0]]


def test_another_codec_is_refused(run: Path, tmp_path: Path) -> None:
    config = files.read_json(run / "start/config.json")
    model = load_codec_lm(run / "start")
    model.save(tmp_path)
    codec = config["codec"] | {"checkpoint": "facebook/encodec_24khz", "weights": "other"}
    files.write_json(tmp_path / "config.json", config | {"codec": codec})
    task = task_of(changed(defaults(), numbers()))
    with pytest.raises(UserError, match=r"speaks the codes of facebook/encodec_24khz; encodec.checkpoint is tiny"):
        task.load_model(tmp_path)
    with pytest.raises(UserError, match=r"tts.codebooks: got 9; encodec.bandwidth_kbps: 6 has 8"):
        task_of(changed(defaults(), numbers() | {"tts.codebooks": 9}))


def test_codes_of_a_dataset_are_taken_as_they_are(tmp_path: Path) -> None:
    """Where the tables hold tokens, no clip is encoded again, and phones come from the metadata."""
    from soundraft.dataset import table

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 1024, (20, 8)).astype(np.int16)
    row = dict.fromkeys(table.columns("embed")) | {
        "id": "a", "wav": {"bytes": io.wav_bytes(np.zeros(6400, np.float32), 24000), "path": "a.wav"}, "codes": codes,
        "cond": np.zeros((20, 0), np.float32), "text": "on", "speaker": "en+m1", "duration": 20 / 75, "features": [],
        "metadata": json.dumps({espeak.PHONES: "| 0 n", espeak.PHONE_STARTS: [0.0, 0.04, 0.12]}),
    }  # fmt: skip
    with table.SplitWriter(tmp_path / "train", table.columns("embed")) as writer:
        writer.add(row, 1000)
        writer.finish("train", "x")
    clips = from_dataset(tmp_path, "train", codes=True)
    assert "codes" not in from_dataset(tmp_path, "train").facts[0]
    task = task_of(changed(defaults(), numbers() | {"tts.units": "phones", "tts.codebooks": 3}))
    assert isinstance(task, Speaking)
    model = task._build(clips)
    loaded = task.load(clips, model, title="clips")
    (target,) = loaded.utterances.targets
    assert np.array_equal(target.codes, codes[:, :3].T)
    assert target.durations.tolist() == [3, 6, 11]
    assert loaded.utterances.features[0].tolist() == [0, *(1 + sorted("|0n").index(each) for each in "|0n")]


@pytest.mark.parametrize(("snr_db", "noise"), [((12.0, 3.0), 2), ((3.0, 20.0), 1), ((3.0, None), 0)])
def test_it_speaks_with_the_least_noise_that_it_has_learned(snr_db: tuple[float | None, ...], noise: int) -> None:
    """A model of noisy recordings alone does not know what no noise is: it must not be asked for it."""
    facts = [
        {"text": "one two", "speaker": "ann"} | ({} if each is None else {"snr_db": each}) for each in snr_db
    ]  # fmt: skip
    task = task_of(changed(defaults(), numbers()))
    assert isinstance(task, Speaking)
    assert task._build(Clips(["a", "b"], lambda place: b"", facts)).config.noise == noise


# Where the letters of recordings are.


@pytest.fixture(scope="module")
def recognizer() -> CTCAdapter:
    found = load_recognizer(letters.checkpoint())
    assert isinstance(found, CTCAdapter)
    return found


def test_words_begin_where_they_sound(recognizer: CTCAdapter) -> None:
    errors = []
    for number in range(20):
        text = letters.text_of(number)
        units, starts_s = align(recognizer, letters.wave_of(text, seed=number), letters.RATE_HZ, text)
        assert "".join(units) == f"{PAUSE}{text.replace(' ', WORD_BREAK)}{PAUSE}"
        assert starts_s == sorted(starts_s)
        # a letter or space of the toy language lasts `LETTER_S`
        real = [letters.LETTER_S * place for place, letter in enumerate(text) if place == 0 or text[place - 1] == " "]
        found = [start for unit, start in zip(["|", *units[1:]], starts_s[1:], strict=False) if unit == WORD_BREAK]
        errors += np.abs(np.array(real) - np.array(found[: len(real)])).tolist()
    assert np.median(errors) < letters.LETTER_S
    assert np.quantile(errors, 0.9) < 2 * letters.LETTER_S


def test_a_recording_too_short_for_its_text_is_named(recognizer: CTCAdapter) -> None:
    with pytest.raises(ModelError, match="too short for 'one two six nine"):
        align(recognizer, letters.wave_of("on"), letters.RATE_HZ, "one two six nine zero four")
