"""s4: columns are added, replaced or dropped; errors are named; any number of workers gives the same bytes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import soundraft
from soundraft import files, packs
from soundraft.runtime import BadClip, UserError
from soundraft.sidecar import features, format
from soundraft.sidecar.format import Sidecar
from soundraft.sidecar.producers import load_all
from tests.sidecar.workshop import NAMES, add, make_empty, script, token_folder, tree

CLIP = "/x_120.0.cond.npy"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    tokens = token_folder(tmp_path / "t")
    return tokens, make_empty(tokens, tmp_path / "c")


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["append", "overwrite", "replace-all"]),
            st.dictionaries(st.sampled_from("abcd"), st.integers(-9, 9).map(float), max_size=3),
        ),
        max_size=4,
    ),
    dtype=st.sampled_from([None, "float16", "float32"]),
)
def test_any_order_of_passes_is_a_dict_of_columns(
    tmp_path_factory: pytest.TempPathFactory, steps: list, dtype: format.Dtype | None
) -> None:
    folder = tmp_path_factory.mktemp("f")
    tokens = token_folder(folder / "t", ("a.ecdc",))
    cond = make_empty(tokens, folder / "c")
    expected: dict[str, float] = {}
    for mode, values in steps:
        for _ in range(2):  # the second time changes nothing
            add(tokens, cond, "const", const=list(values.items()), mode=mode, dtype=dtype)
        old = {} if mode == "replace-all" else expected
        expected = values | old if mode == "append" else old | values
    sidecar = format.read(f"{cond}/a.cond.npy")
    assert dict(zip(sidecar.names, sidecar.values[0].tolist(), strict=True)) == expected
    assert sidecar.values.dtype == ((dtype or "float32") if steps else "float32")


def test_unknown_keys_survive(folders: tuple[Path, Path]) -> None:
    tokens, cond = folders
    format.write(f"{cond}{CLIP}", Sidecar(np.ones((6, 1), np.float32), ("old",), {"tool": {"v": 1}}))
    for mode in ("append", "overwrite"):
        add(tokens, cond, "const", const=[("a", 1.0)], mode=mode)
        assert files.read_json(cond / "x_120.0.cond.json")["tool"] == {"v": 1}


def test_missing_sidecars(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path / "t")
    argv = ("--audio-root", tokens, "--cond-root", tmp_path / "c", "--producer", "const", "--const", "a=1")
    code, output = script("s4_sidecar_add", *argv)
    assert (code, "a.ecdc: there is no sidecar" in output) == (1, True)
    assert script("s4_sidecar_add", *argv, "--create-missing")[0] == 0
    assert format.read(f"{tmp_path}/c{CLIP}").values.dtype == np.float16
    assert len(tree(tmp_path / "c")) == 10


def test_too_large_for_float16_is_named_not_infinite(folders: tuple[Path, Path]) -> None:
    tokens, cond = folders
    with pytest.raises(UserError, match=r"a.ecdc: producer const: feature 'big' is 70000 in frame 0.*float16"):
        add(tokens, cond, "const", const=[("big", 7e4)], dtype="float16")
    assert format.read(f"{cond}/a.cond.npy").names == ()
    add(tokens, cond, "const", const=[("big", 7e4)])
    with pytest.raises(UserError, match=r"a.ecdc: the sidecar: feature 'big'"):
        add(tokens, cond, "const", const=[("a", 1.0)], dtype="float16")


def test_bad_clips_stop_or_are_skipped_and_named(folders: tuple[Path, Path]) -> None:
    tokens, cond = folders
    (cond / "x_120.0.cond.npy").write_bytes(b"junk")
    (cond / "x_120.5.cond.json").unlink()
    format.write(f"{cond}/sub/ü b.cond.npy", Sidecar(np.ones((3, 1), np.float32), ("a",)))
    argv = ("--audio-root", tokens, "--cond-root", cond, "--producer", "const", "--const", "a=1")
    code, output = script("s4_sidecar_add", *argv)
    assert (code, "3 frames, the token file has 8" in output) == (1, True)
    code, output = script("s4_sidecar_add", *argv, "--skip-errors")
    assert (code, "2 sidecars with a (2); 3 clips skipped" in output) == (0, True)
    for name in ("x_120.0.ecdc", "x_120.5.ecdc", "sub/ü b.ecdc"):
        assert f"SKIPPED {name}: " in output
    (tokens / "tokens.jsonl").unlink()
    (tokens / "a.ecdc").write_bytes(b"junk")
    assert "a.ecdc: not a token file" in script("s4_sidecar_add", *argv)[1]


SLOW = """
import os
import numpy as np
def init(args):
    args.seen = 0
    with open(args.audio_root / "init.log", "a") as log:
        log.write(f"{os.getpid()}\\n")
def produce(ecdc_path, T, *, args):
    args.seen += 1
    if "bad" in ecdc_path.name:
        raise ValueError("no good")
    return {"n": np.full(T, float(len(ecdc_path.name)), np.float32)}
def shutdown(args):
    with open(args.audio_root / "shutdown.log", "a") as log:
        log.write(f"{os.getpid()} {args.seen}\\n")
"""


def run_slow(tmp_path: Path, name: str, names: tuple[str, ...], **given: object) -> tuple[dict, list[str], list[str]]:
    tokens = token_folder(tmp_path / name, names)
    (tokens / "slow.py").write_text(SLOW)
    cond = make_empty(tokens, tmp_path / f"{name}-cond")
    try:
        add(tokens, cond, "slow", **given)
    finally:
        started, stopped = (sorted((tokens / f"{log}.log").read_text().splitlines()) for log in ("init", "shutdown"))
    return tree(cond), started, stopped


@pytest.mark.parametrize("packed", [False, True])
def test_same_bytes_from_one_worker_and_two_and_each_is_started_and_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    names = (*NAMES, "bad.ecdc", *(f"{'n' * index}.ecdc" for index in range(1, 12)))
    monkeypatch.setattr(features, "_PROBE_S", -1.0)
    monkeypatch.setattr(features, "_WORTH_S", -1.0)
    monkeypatch.setenv("SOUNDRAFT_JOBS", "1")
    alone, started, stopped = run_slow(tmp_path, "one", names, skip_errors=True, packed=packed)
    assert (len(started), len(stopped)) == (1, 1)
    monkeypatch.setenv("SOUNDRAFT_JOBS", "2")
    together, started, stopped = run_slow(tmp_path, "two", names, skip_errors=True, packed=packed)
    assert together == alone
    assert [name for name in alone if packs.is_pack(name) != packed] == []
    assert format.read(f"{tmp_path}/two-cond{CLIP}").names == ("n",)
    assert len(set(started)) == len(started) == 3  # this process took the first clip, two workers the others
    assert [line.split()[0] for line in stopped] == started
    assert sum(int(line.split()[1]) for line in stopped) == len(names)
    with pytest.raises(UserError, match=r"bad.ecdc: producer slow: ValueError: no good"):
        run_slow(tmp_path, "three", names)


def test_one_process_as_long_as_the_work_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDRAFT_JOBS", "2")
    monkeypatch.setattr(features, "map_fresh", lambda *_, **__: pytest.fail("workers for a moment's work"))
    run_slow(tmp_path, "t", NAMES)
    assert len(list(tmp_path.rglob("*.cond.npy"))) == len(NAMES)


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ((), 1, "--producer"),
        (("--producer", "nope"), 1, "no producer nope"),
        (("--producer", "lin", "--producer", "lin"), 1, "named twice"),
        (("--producer", "lin", "--const", "a=1"), 2, "unrecognized arguments: --const"),
        (("--producer", "lin", "--lin", "a=1"), 2, "NAME=START:END"),
        (("--producer", "from_audio"), 1, "--wav-root"),
    ],
)
def test_a_command_line_that_cannot_be_run(tmp_path: Path, argv: tuple, code: int, words: str) -> None:
    tokens = token_folder(tmp_path / "t")
    make_empty(tokens, tokens)
    ended, output = script("s4_sidecar_add", "--audio-root", tokens, *argv)
    assert (ended, words in output) == (code, True), output


def test_arguments_of_the_params_file(tmp_path: Path) -> None:
    lin = load_all(["lin"], tmp_path)
    assert features.parse_arguments(lin, ["--lin", "a=0:1"]).lin == [("a", 0.0, 1.0)]
    with pytest.raises(UserError, match=r"sidecar.arguments.*--const"):
        features.parse_arguments(lin, ["--const", "a=1"])


def test_a_full_disk_is_no_clips_fault(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = files.write_together, []

    def full(*pair: object) -> None:
        calls.append(pair)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(*pair)

    monkeypatch.setattr(files, "write_together", full)
    with pytest.raises(UserError, match=r"cond.npy: No space left on device"):
        add(*folders, "const", const=[("a", 1.0)], skip_errors=True)
    done = add(*folders, "const", const=[("a", 1.0)])
    assert (done.clips, done.features) == (5, {"a": 5})


def test_modes_and_schemas_on_the_command_line(folders: tuple[Path, Path]) -> None:
    tokens, cond = folders
    common = ("s4_sidecar_add", "--audio-root", tokens, "--cond-root", cond, "--producer", "const")

    def run(*argv: str) -> tuple[str, dict]:
        code, output = script(*common, *argv)
        assert code == 0, output
        sidecar = format.read(f"{cond}{CLIP}")
        return output, dict(zip(sidecar.names, sidecar.values[0].tolist(), strict=True))

    run("--const", "a=1", "--const", "b=2", "--schema", "2")
    output, values = run("--const", "a=7", "--const", "c=3")
    assert ("left as they were: a (5)" in output, values) == (True, {"a": 1, "b": 2, "c": 3})
    assert run("--const", "a=7", "--mode", "overwrite")[1] == {"a": 7, "b": 2, "c": 3}
    assert list(files.read_json(cond / "x_120.0.cond.json")["features"]) == ["a", "b", "c"]
    assert run("--const", "b=9", "--mode", "replace-all", "--schema", "1")[1] == {"b": 9}
    assert files.read_json(cond / "x_120.0.cond.json")["names"] == ["b"]
    assert script("s3_sidecar_init", "--audio-root", tokens, "--schema", "2")[0] == 0
    assert files.read_json(tokens / "x_120.0.cond.json")["features"] == {}


def test_features_from_python(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path, ("a.ecdc",), index=False)
    scene = {"values": [7] * 5, "min": 0, "max": 9, "doc_string": "Scene"}
    soundraft.write_sidecar_features(tokens / "a.ecdc", {"gain": np.arange(5), "scene": scene})
    features_of = files.read_json(tokens / "a.cond.json")["features"]
    assert features_of["gain"] == {"units": "", "doc_string": "", "min": 0, "max": 4, "mean": 2, "std": 2**0.5}
    assert (features_of["scene"]["max"], features_of["scene"]["std"], features_of["scene"]["doc_string"]) == (
        9,
        0,
        "Scene",
    )
    soundraft.write_sidecar_features(tokens / "a.ecdc", {"gain": np.ones(5), "late": np.ones(5)}, mode="append")
    soundraft.write_sidecar_features(tokens / "a.ecdc", {"late": np.zeros(5)})
    sidecar = format.read(f"{tokens}/a.cond.npy")
    assert (sidecar.names, sidecar.values[4].tolist(), sidecar.values.dtype) == (
        ("gain", "scene", "late"), [4, 7, 0], np.float16,
    )  # fmt: skip
    assert sidecar.about["scene"]["max"] == 9
    before = tree(tokens)
    for wrong, words in (
        ({"x": np.ones(4)}, r"feature 'x' has shape \[4\]"), ({"x": ["a"] * 5}, "made of <U1"),
        ({"x": np.full(5, np.nan)}, "not finite"), ({"x": {"units": "dB"}}, "'x'"),
    ):  # fmt: skip
        with pytest.raises(BadClip, match=words):
            soundraft.write_sidecar_features(tokens / "a.ecdc", wrong)
    with pytest.raises(UserError, match="no token file"):
        soundraft.write_sidecar_features(tokens / "b.ecdc", {"x": [1.0]}, require_tokens=True)
    with pytest.raises(UserError, match="schema=2"):
        soundraft.write_sidecar_features(tokens / "b.ecdc", {"x": {"values": [1.0], "min": 0}}, schema=1)
    assert tree(tokens) == before
    soundraft.write_sidecar_features(tokens / "b.ecdc", {"x": [1.0, 2.0]}, dtype="float32")
    assert format.read(f"{tokens}/b.cond.npy").values.tolist() == [[1], [2]]


def test_shards_suffix_dtype_and_options_of_a_producer(tmp_path: Path) -> None:
    tokens, mine = token_folder(tmp_path / "t"), tmp_path / "mine"
    mine.mkdir()
    (mine / "gain.py").write_text(
        "def add_cli_args(parser):\n    parser.add_argument('--gain', type=float)\n"
        "def produce(ecdc_path, T, *, args):\n    return {'gain': [args.gain] * T}\n"
    )
    cond = make_empty(tokens, tmp_path / "c", suffix=".feat.npy")
    common = ("s4_sidecar_add", "--audio-root", tokens, "--cond-root", cond, "--suffix", ".feat.npy")
    named = (*common, "--producers-dir", mine, "--producer", "gain")
    assert "option clashes" in script(*named, "--gain", 2, "--producer", mine / "gain.py")[1]
    for index in range(2):
        shard = ("--shard-index", index, "--shard-count", 2)
        assert script(*named, "--gain", 2, "--dtype", "float16", *shard)[0] == 0
    for name in NAMES:
        sidecar = format.read(f"{cond}/{name.removesuffix('.ecdc')}.feat.npy")
        assert (sidecar.names, sidecar.values.dtype.name, sidecar.values[0, 0]) == (("gain",), "float16", 2)
    assert "--gain GAIN" in script(*named, "--help")[1]
    assert "--gain GAIN" not in script(*common, "--help")[1]
