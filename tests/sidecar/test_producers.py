"""The shipped producers with their options; the user's own: loaded only when named, and held to the interface."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from soundraft.audio import ecdc, io
from soundraft.audio.tokenize import Encoder, encode_clips
from soundraft.manifest import Clip
from soundraft.parallel import BadClip
from soundraft.params import defaults
from soundraft.runtime import UserError
from soundraft.sidecar import features, from_audio, producers
from tests.sidecar.workshop import REPOSITORY, script, token_folder

OWN = REPOSITORY / "paramproducers"


def options(name: str, *argv: object, **given: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    producers.add_options(parser, [producers.load(name, OWN)])
    return argparse.Namespace(**vars(parser.parse_args([str(word) for word in argv])) | given)


def ask(name: str, path: str | Path, frames: int, *argv: object, **given: object) -> dict[str, np.ndarray]:
    producer = producers.load(name, OWN)
    with producers.session([producer], options(name, *argv, **given)) as args:
        made = producers.ask([producer], Path(path), frames, args)
    features.stack(made, frames, np.dtype("float32"))
    return {feature: values for feature, (_, values) in made.items()}


@pytest.mark.parametrize(
    ("name", "clip", "argv", "expected"),
    [
        ("const", "a", "--const a=1 --const b=-.5", {"a": [1, 1, 1], "b": [-0.5, -0.5, -0.5]}),
        ("lin", "a", "--lin up=0:1 --lin down=2:-2", {"up": [0, 0.5, 1], "down": [2, 0, -2]}),
        ("from_filename", "a_b_1", "--no-from-filename", {}),
        ("from_filename", "a-hz440", r"--filename-regex (?P<name>hz)(?P<value>\d+)", {"hz": [440] * 3}),
        ("from_manifest", "a", "--manifest FILE --manifest-column duration --manifest-column metadata.snr_db "
         "--manifest-column metadata.room.t60", {"duration": [1.5] * 3, "snr_db": [7] * 3, "room.t60": [0.25] * 3}),
    ],
)  # fmt: skip
def test_what_each_makes(tmp_path: Path, name: str, clip: str, argv: str, expected: dict) -> None:
    tokens, path = manifest(tmp_path)
    given = [str(path) if word == "FILE" else word for word in argv.split()]
    made = ask(name, tokens / f"{clip}.ecdc", 3, *given, audio_root=tokens)
    assert {feature: values.tolist() for feature, values in made.items()} == expected
    assert all(values.dtype == np.float32 for values in made.values())


@pytest.mark.parametrize(
    ("name", "argv"),
    [("const", ["--const", "a"]), ("const", ["--const", "a=x"]), ("const", ["--const", "=1"]),
     ("lin", ["--lin", "a=1"]), ("lin", ["--lin", "a=1:x"]), ("from_audio", ["--audio-features", "rms"])],
)  # fmt: skip
def test_options_that_say_nothing(name: str, argv: list[str]) -> None:
    with pytest.raises(argparse.ArgumentError):
        options(name, *argv)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("foo_pitch_64.00_amp_.75.ecdc", {"pitch": 64.0, "amp": 0.75}),
        ("foo_pitch_64_amp_3.ecdc", {"pitch": 64.0, "amp": 3.0}),
        ("x_low_cut_-80.5.ecdc", {"low_cut": -80.5}),
        ("x_amp_1e-3.WAV.ecdc", {"amp": 1e-3}),
        ("x_take_12b.ecdc", {}),
        ("x_120.0.ecdc", {}),
        ("pitch_3.ecdc", {}),
        ("a_b_1_b_1.0.ecdc", {"b": 1.0}),
    ],
)
def test_parameters_in_file_names(name: str, found: dict[str, float]) -> None:
    """The public pattern misses `.75`, and takes `_pitch_64_amp_3` for one parameter called pitch_64_amp."""
    made = ask("from_filename", f"/some_where_7/{name}", 2)
    assert {feature: values.tolist() for feature, values in made.items()} == {
        feature: [np.float32(value)] * 2 for feature, value in found.items()
    }


def manifest(tmp_path: Path) -> tuple[Path, Path]:
    rows = [
        {"id": "1", "audio_path": "a.wav", "duration": 1.5, "metadata": {"snr_db": 7, "room": {"t60": 0.25}}},
        {"id": "2", "audio_path": "x_120.0.wav", "label": "dog", "metadata": {"snr_db": "loud", "on": True}},
    ]
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return token_folder(tmp_path / "t"), path


@pytest.mark.parametrize(
    ("error", "name", "clip", "argv", "words"),
    [
        (BadClip, "const", "a", "--const a=inf", "'a' is inf"),
        (BadClip, "const", "a", "--const a=nan", "'a' is nan"),
        (BadClip, "const", "a", "--const a=1e99", "'a' is inf"),
        (UserError, "from_filename", "a", "--filename-regex (", "regular expression"),
        (UserError, "from_filename", "a", r"--filename-regex (?P<name>\w)", "groups"),
        (BadClip, "from_filename", "a_b_1_b_2", "", "b stands twice in the name, as 1 and as 2"),
        (BadClip, "from_filename", "a_b_1e999", "", "is inf"),
        (BadClip, "from_filename", "a-hzx", r"--filename-regex (?P<name>hz)(?P<value>\w)", "no number"),
        (BadClip, "from_manifest", "x_120.0", "--manifest FILE --manifest-column duration", "no duration"),
        (BadClip, "from_manifest", "x_120.0", "--manifest FILE --manifest-column label", "'dog'"),
        (BadClip, "from_manifest", "x_120.0", "--manifest FILE --manifest-column metadata.snr_db", "'loud'"),
        (BadClip, "from_manifest", "x_120.0", "--manifest FILE --manifest-column metadata.on", "True"),
        (BadClip, "from_manifest", "x_120.0", "--manifest FILE --manifest-column metadata.on.off", "metadata.on.off"),
        (BadClip, "from_manifest", "x_120.5", "--manifest FILE --manifest-column duration", "x_120.5.wav"),
        (UserError, "from_manifest", "a", "--manifest FILE --manifest-column loudness", "audio_path.*metadata.NAME"),
        (UserError, "from_manifest", "a", "--manifest FILE --manifest-column metadata", "audio_path.*metadata.NAME"),
        (UserError, "from_manifest", "a", "--manifest FILE --manifest-column metadata.", "audio_path.*metadata.NAME"),
        (UserError, "from_manifest", "a", "--manifest nowhere --manifest-column id", "no such manifest"),
        (UserError, "from_manifest", "a", "", "--manifest FILE"),
    ],
)
def test_what_is_refused(tmp_path: Path, error: type[Exception], name: str, clip: str, argv: str, words: str) -> None:
    tokens, path = manifest(tmp_path)
    given = [str(path) if word == "FILE" else word for word in argv.split()]
    with pytest.raises(error, match=words):
        ask(name, tokens / f"{clip}.ecdc", 2, *given, audio_root=tokens)


def test_rms_of_each_frame_against_the_plain_formula() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 1000).astype(np.float32)
    samples[320:640] = 0
    levels = from_audio.rms_db(samples, 4)
    frames = [samples[start : start + 320].astype(np.float64) for start in range(0, 1000, 320)]
    assert levels == pytest.approx([max(10 * np.log10(max(np.mean(f**2), 1e-12)), -120) for f in frames])
    assert levels[1] == -120
    assert from_audio.rms_db(samples[:960], 4)[3] == levels[2]
    assert len(from_audio.rms_db(samples, 3)) == 3


@pytest.mark.parametrize("frames", [1, 2, 3, 40])
@pytest.mark.parametrize("level", [0.0, 0.3])
def test_every_feature_has_one_finite_number_a_frame(frames: int, level: float) -> None:
    samples = (level * np.sin(2 * np.pi * 440 * np.arange(frames * 320 - 7) / 24000)).astype(np.float32)
    for name, feature in from_audio.FEATURES.items():
        values = feature(samples, frames)
        assert values.shape == (frames,), name
        assert np.isfinite(values).all(), name
        if level == 0:
            assert set(values.tolist()) == {-120.0 if name == "rms_db" else 0.0}


def test_features_are_aligned_with_the_frames() -> None:
    """Silence, then a tone of 440 Hz from frame 20 on: each feature changes there."""
    samples = np.zeros(40 * 320, np.float32)
    samples[20 * 320 :] = 0.3 * np.sin(2 * np.pi * 440 * np.arange(20 * 320) / 24000)
    made = {name: feature(samples, 40) for name, feature in from_audio.FEATURES.items()}
    assert (made["rms_db"][:20] == -120).all()
    assert (made["rms_db"][20:] > -15).all()
    assert (made["f0"][:18] == 0).all()
    assert made["f0"][22:38] == pytest.approx(440, rel=1e-3)
    assert made["spectral_centroid"][24:36] == pytest.approx(440, rel=0.05)
    assert made["onset_strength"][2:30].argmax() + 2 in (19, 20)


def test_from_audio_decodes_the_codes_when_asked(tmp_path: Path) -> None:
    time_s = np.arange(24000) / 24000
    wave = 0.3 * np.sin(2 * np.pi * 200 * time_s).astype(np.float32) * (time_s > 0.5)
    io.write_wav(tmp_path / "wav" / "a.wav", wave, 24000)
    encoder = Encoder(tmp_path / "wav", tmp_path / "t", defaults().encodec)
    encode_clips([Clip(id="a", audio_path="a.wav")], encoder, max_bad_fraction=0)
    argv = (tmp_path / "t/a.ecdc", 75, "--audio-source", "codes")
    other = ask("from_audio", *argv[:2], "--audio-feats", "rms_db", "--hf-model", "tiny", audio_root=tmp_path / "t")
    made = ask("from_audio", *argv, "--audio-checkpoint", "tiny", audio_root=tmp_path / "t")
    assert np.array_equal(other["rms_db"], made["rms_db"])
    assert ecdc.read(tmp_path / "t/a.ecdc").frames == 75
    assert made["rms_db"][:30].mean() < made["rms_db"][45:70].mean() - 15
    with pytest.raises(UserError, match="--audio-checkpoint"):
        ask("from_audio", *argv, audio_root=tmp_path / "t")


def test_from_audio_reads_the_wav_that_the_index_names(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path / "t")
    wavs = tmp_path / "wav"
    io.write_wav(wavs / "x_120.0.wav", np.full(6 * 320 - 9, 0.5, np.float32), 24000)
    io.write_wav(wavs / "x_120.5.wav", np.full(3000, 0.5, np.float32), 24000)
    given = {"audio_root": tokens, "wav_root": wavs}
    made = ask("from_audio", tokens / "x_120.0.ecdc", 6, **given)
    assert made["rms_db"] == pytest.approx([20 * np.log10(0.5)] * 6, abs=1e-5)
    made = ask("from_audio", tokens / "x_120.0.ecdc", 6, "--audio-features", "f0, spectral_centroid", **given)
    assert list(made) == ["f0", "spectral_centroid"]
    io.write_wav(wavs / "a.wav", np.full(5 * 320 * 2 // 3, 0.5, np.float32), 16000)
    made = ask("from_audio", tokens / "a.ecdc", 5, **given)  # resampled
    assert made["rms_db"][2] == pytest.approx(20 * np.log10(0.5), abs=0.1)
    with pytest.raises(BadClip, match="3000 samples, 7 frames"):
        ask("from_audio", tokens / "x_120.5.ecdc", 7, "--audio-source", "wav", **given)
    with pytest.raises(BadClip, match=r"ü b\.wav: no such file"):
        ask("from_audio", tokens / "sub/ü b.ecdc", 8, **given)
    with pytest.raises(UserError, match="needs --wav-root"):
        ask("from_audio", tokens / "a.ecdc", 5, audio_root=tokens)


def test_the_worked_example_runs(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path / "t", ("a.ecdc",))
    ramp_db = np.repeat(np.arange(-40.0, -15.0, 5.0), 320)
    io.write_wav(tmp_path / "a.wav", 10 ** (ramp_db / 20), 24000)
    argv = ("--slope-wav-root", tmp_path, "--slope-smooth", 1)
    made = ask("slope", tokens / "a.ecdc", 5, *argv, audio_root=tokens)
    assert made["slope_db_s"] == pytest.approx([5 * 75] * 5, rel=0.01)
    for frames in (1, 2, 3):
        io.write_wav(tmp_path / "a.wav", np.ones(320 * frames) / 2, 24000)
        assert ask("slope", tokens / "a.ecdc", frames, *argv[:2], audio_root=tokens)["slope_db_s"].shape == (frames,)


# --- the user's own -------------------------------------------------------------------------------------------------

GOOD = '''"""Ones.

More.
"""
import numpy as np
def produce(ecdc_path, T, *, args):
    return {"one": np.ones(T, np.float32)}
'''


def own(folder: Path, name: str, text: str = GOOD) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def test_the_four_ways_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path / "dir", "ones.py")
    elsewhere = own(tmp_path / "other", "ones.py", GOOD.replace('"one"', '"two"'))
    own(tmp_path / "pack", "__init__.py", "")
    own(tmp_path / "pack", "threes.py", GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("const", "ones", "ones.py", str(elsewhere), "pack.threes", "soundraft.sidecar.from_audio"):
        assert callable(producers.load(name, tmp_path / "dir").module.produce), name
    two = [producers.load(name, tmp_path / "dir").module.produce(None, 1, args=None) for name in ("ones", elsewhere)]
    assert [list(made) for made in two] == [["one"], ["two"]], "two files of one name are two producers"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cosnt", "const, lin, .* did you mean const"),
        ("numpy", "there are const"),
        ("no.such.module", "ModuleNotFoundError"),
        ("numpy.linalg", "produce"),
        ("broken", "SyntaxError"),
        ("raising", "ZeroDivisionError"),
        ("empty.py", "produce"),
        ("gone.py", "there are const"),
    ],
)
def test_what_is_no_producer(tmp_path: Path, name: str, words: str) -> None:
    for file, text in (("broken.py", "def ("), ("raising.py", "1 / 0"), ("empty.py", "")):
        own(tmp_path, file, text)
    before = set(sys.modules)
    with pytest.raises(UserError, match=f"{name}.*{words}"):
        producers.load(name, tmp_path)
    assert not {module for module in set(sys.modules) - before if "raising" in module}


def test_only_what_is_named_is_executed(tmp_path: Path) -> None:
    folder = tmp_path / "dir"
    own(folder, "trap.py", f"'''A trap.'''\nopen({str(tmp_path / 'sprung')!r}, 'w')\n")
    own(folder, "broken.py", "def (")
    own(folder, "ones.py")
    code, output = script("s4_sidecar_add", "--producers-dir", folder, "--list-producers")
    assert code == 0
    for words in (*producers.SHIPPED, "A trap.", "Ones. (", "SyntaxError", "(built in)"):
        assert words in output
    code, output = script("s4_sidecar_add", "--producers-dir", folder, "--show-producer", "ones")
    assert (code, "ones: Ones.\n\nMore." in output) == (0, True)
    assert "--lin NAME=START:END" in script("s4_sidecar_add", "--show-producer=lin")[1]
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ('{"x": np.ones(T + 1, np.float32)}', r"feature 'x' has shape \[4\]; the clip has 3 frames"),
        ('{"x": np.ones((T, 1), np.float32)}', r"feature 'x' has shape \[3, 1\]"),
        ('{"x": np.array([0, np.nan, 1], np.float32)}', "feature 'x' is nan in frame 1"),
        ('{"x": np.array([0, 1, -np.inf])}', "feature 'x' is -inf in frame 2"),
        ('{"x": [1.0] * (T - 1)}', r"feature 'x' has shape \[2\]"),
        ('{"x": [[1.0], [], 2]}', "'x' is made of object"),
        ('{"x": np.array(["a"] * T)}', "'x' is made of <U1"),
        ('{"x": np.ones(T, complex)}', "'x' is made of complex128"),
        ('{"x": [None] * T}', "'x' is made of object"),
        ('{"x": 10 ** 400}', "'x' is made of object"),
        ('{"x": 1.0}', r"feature 'x' has shape \[\]"),
        ("{3: np.ones(T)}", "no name"),
        ('{"": np.ones(T)}', "no name"),
        ("np.ones(T)", "ndarray"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_wrong_answer_names_the_producer(tmp_path: Path, given: str, words: str) -> None:
    text = f"import numpy as np\ndef produce(ecdc_path, T, *, args):\n    return {given}\n"
    with pytest.raises(BadClip, match=f"producer .*mine.py.*{words}"):
        ask(str(own(tmp_path, "mine.py", text)), "a.ecdc", 3)


LIFE = """
def init(args):
    args.log.append("init")
    args.kept = 1
    {init}
def produce(ecdc_path, T, *, args):
    return {{}}
def shutdown(args):
    args.log.append("shutdown")
"""


@pytest.mark.parametrize(("init", "error"), [("pass", RuntimeError), ("1 / 0", UserError)])
def test_shutdown_always_runs_and_what_init_keeps_stays_in_its_session(
    tmp_path: Path, init: str, error: type[Exception]
) -> None:
    made = [producers.load(str(own(tmp_path, name, LIFE.format(init=init))), tmp_path) for name in ("1.py", "2.py")]
    args = argparse.Namespace(log=[])
    with pytest.raises(error, match=r"stopped|1\.py does not start: Zero"), producers.session(made, args) as own_args:
        assert own_args.kept == 1
        raise RuntimeError("stopped")
    assert args == argparse.Namespace(log=["init"] * 2 + ["shutdown"] * 2 if init == "pass" else ["init", "shutdown"])


def test_the_last_producer_wins_and_options_may_not_clash(tmp_path: Path) -> None:
    first = producers.load(str(own(tmp_path, "a.py")), tmp_path)
    last = producers.load(str(own(tmp_path, "b.py", GOOD.replace("np.ones", "np.zeros"))), tmp_path)
    owner, values = producers.ask([first, last], tmp_path / "x", 2, argparse.Namespace())["one"]
    assert (owner, values.tolist()) == (last.name, [0, 0])
    clash = own(tmp_path, "c.py", "def add_cli_args(parser):\n    parser.add_argument('--const')\n" + GOOD)
    with pytest.raises(UserError, match="clash"):
        producers.add_options(
            argparse.ArgumentParser(), [producers.load(name, tmp_path) for name in ("const", str(clash))]
        )


def test_the_users_own_file_wins_over_a_built_in_one_and_it_is_said(tmp_path: Path) -> None:
    tokens, mine = token_folder(tmp_path / "t", ("a.ecdc",)), own(tmp_path / "mine", "const.py").parent
    common = ("s4_sidecar_add", "--producers-dir", mine)
    argv = ("--audio-root", tokens, "--producer", "const", "--create-missing")
    code, output = script(*common, *argv)
    assert (code, "mine/const.py, not the built-in one" in output, "with one (1)" in output) == (0, True, True)
    assert "const.py is taken instead" in script(*common, "--list-producers")[1]
    output = script(*common, "--show-producer", "const", "--show-producer", "lin")[1]
    assert ("const: Ones." in output, "--lin NAME=START:END" in output) == (True, True)


DATACLASS = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n"


def test_each_may_import_its_neighbours_and_define_dataclasses(tmp_path: Path) -> None:
    text = "import numpy as np\nimport helper\ndef produce(ecdc_path, T, *, args):\n    import later\n"
    text += "    return {helper.NAME: np.full(T, later.VALUE)}\n"
    for name in ("one", "two"):
        own(tmp_path / name, "helper.py", f"NAME = {name!r}\n")
        own(tmp_path / name, "later.py", "VALUE = 3.0\n")
        assert ask(str(own(tmp_path / name, "mine.py", DATACLASS + text)), "a.ecdc", 2)[name].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('{"x": [1, 2, 3]}', [1, 2, 3]),
        ('{"x": [True, False, True]}', [1, 0, 1]),
        ('{"x": np.array([1, 0, 1], bool)}', [1, 0, 1]),
        ('{"x": (.5,) * T}', [0.5] * 3),
        ('{"x": torch.tensor([1, 2, 3])}', [1, 2, 3]),
        ('{"x": torch.ones(3, dtype=torch.bfloat16, requires_grad=True)}', [1, 1, 1]),
        ('{"x": torch.tensor([True, False, True])}', [1, 0, 1]),
        ('{"x": None}', None),
        ("None", None),
    ],
)
def test_values_of_every_kind(tmp_path: Path, given: str, expected: list | None) -> None:
    text = f"import numpy as np\nimport torch\ndef produce(ecdc_path, T, *, args):\n    return {given}\n"
    made = ask(str(own(tmp_path, "mine.py", text)), "a.ecdc", 3)
    assert {name: values.tolist() for name, values in made.items()} == ({} if expected is None else {"x": expected})


def test_a_file_that_git_does_not_know_is_missed_at_once_in_a_scratch_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(tmp_path / "paramproducers", "mine.py")
    copy = tmp_path / ".dvc/tmp/exps/1"
    copy.mkdir(parents=True)
    (copy / "cycles.yaml").write_text((REPOSITORY / "cycles.yaml").read_text())
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["sidecar"]["producers"].append("mine")
    (copy / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(copy)
    with pytest.raises(UserError, match=r"git add paramproducers/mine.py"):
        producers.load("mine", Path("paramproducers"))
    code, output = script("check")
    assert (code, "git add paramproducers/mine.py" in output) == (1, True)
    assert not (copy / ".gate").exists()
