"""The command `soundraft`: what it prints, draws, and refuses."""

import importlib.metadata
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml

from soundraft import cli, packs
from soundraft.dataset.build import build_dataset
from soundraft.dataset.rows import Form, Sources
from soundraft.evaluation import data_plots
from tests.conftest import Say
from tests.dataset.workshop import Corpus, cond_of, corpus

LINES = """\
split       clips  hours  frames  codebooks  features
train           2  0.000      53          4  rms_db, pitch"""


@pytest.fixture
def made(tmp_path: Path) -> Corpus:
    built = corpus(tmp_path / "in")
    built.build(tmp_path / "ds")
    return built


def test_a_dataset_is_shown(made: Corpus, tmp_path: Path, say: Say) -> None:
    said = say("inspect", tmp_path / "ds")
    assert LINES in said
    assert said == say("inspect", "--hf-ds", tmp_path / "ds")
    rms = cond_of(0)[:, 0].astype(np.float32)
    shown = [line.split() for line in said.splitlines()]
    assert ["rms_db", *(f"{number:.4g}" for number in (rms.min(), rms.mean(), rms.max()))] in shown
    assert "[0] 0  0.20 s, 15 frames, 4 codebooks" in said
    assert "text: text 3" in said
    assert "speaker: s" in said


def test_split_show_and_indices(made: Corpus, tmp_path: Path, say: Say) -> None:
    said = say("inspect", tmp_path / "ds", "--split", "test", "--show", "1")
    assert "[0] 2 " in said
    assert "[1]" not in said
    said = say("inspect", tmp_path / "ds", "--indices", "1,0")
    assert said.index("[1] 3 ") < said.index("[0] 0 ")
    assert "[0]" not in say("inspect", tmp_path / "ds", "--show", "0")
    folders = ("--tokens-root", made.tokens, "--cond-root", made.cond)
    ranges = say("inspect", *folders, "--indices", "4,0:99:2,-1:")
    assert [line.split()[0] for line in ranges.splitlines() if line.startswith("[")] == [
        "[4]",
        "[0]",
        "[2]",
        "[4]",
        "[5]",
    ]
    form = Form("bare", "embed", split="dev")
    build_dataset(Sources(made.tokens, None), tmp_path / "bare", form, max_bad_fraction=0)
    said = say("inspect", tmp_path / "bare", "--show", "1", "--plot", tmp_path / "p.png")
    assert "dev:" in said
    assert "no conditioning" in said
    said = say("inspect", "--tokens-root", made.tokens, "--cond-root", made.cond, "--indices", "3")
    assert f"6 token files in {made.tokens}, sidecars in {made.cond}" in said
    assert f"[3] {made.tokens}/train/3_x.0.ecdc  0.51 s, 38 frames, 4 codebooks" in said


def test_verify(made: Corpus, tmp_path: Path, say: Say) -> None:
    folders = ("--tokens-root", made.tokens, "--cond-root", made.cond)
    for what in ((tmp_path / "ds",), folders):
        assert "verified 6 clips" in say("inspect", *what, "--verify")
    (tmp_path / "ds/tokens/test/5.ecdc").unlink()
    (made.tokens / "test/5.ecdc").write_bytes(b"junk")
    for what in ((tmp_path / "ds",), folders):
        with pytest.raises(SystemExit, match=r"5\.ecdc"):
            cli.main(["inspect", *map(str, what), "--show", "0", "--verify"])


def test_a_dataset_of_another_program_is_shown(made: Corpus, tmp_path: Path, say: Say) -> None:
    names = {"audio": ["in/tokens/test/2.ecdc"]}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(names)}).save_to_disk(tmp_path / "theirs")
    (tmp_path / "in").rename(tmp_path / "theirs/in")
    said = say("inspect", tmp_path / "theirs", "--verify", "--plot", tmp_path / "p.png")
    assert "0.40 s, 30 frames, 4 codebooks" in said
    assert "verified 1 clips" in said
    assert "columns: audio" in said


def test_a_picture(made: Corpus, tmp_path: Path, say: Say) -> None:
    picture, again = tmp_path / "deep/clip.png", tmp_path / "again.png"
    assert f"{picture}: clip 1" in say("inspect", tmp_path / "ds", "--indices", "1", "--plot", picture)
    tall = pixels(picture)
    assert tall.std() > 20, "not one colour"
    say("inspect", tmp_path / "ds", "--indices", "1", "--plot", again)
    assert picture.read_bytes() == again.read_bytes()
    say("inspect", "--tokens-root", made.tokens, "--cond-root", made.cond, "--plot", again)
    assert len(pixels(again)) < len(tall), "no waveform where there is no audio"


def test_packs_are_inspected_as_loose_files_and_extracted(tmp_path: Path, say: Say) -> None:
    made = corpus(tmp_path / "in")
    loose = {
        path.relative_to(root): path.read_bytes() for root in (made.tokens, made.cond) for path in root.rglob("*.*")
    }
    folders = ("--tokens-root", made.tokens, "--cond-root", made.cond)
    before = say("inspect", *folders)
    packs.pack(made.tokens, [".ecdc"])
    packs.pack(made.cond, [".cond.npy", ".cond.json"])
    assert say("inspect", *folders, "--verify").startswith(before.rstrip())
    say("inspect", *folders, "--extract", tmp_path / "out")
    assert {path.relative_to(tmp_path / "out"): path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == loose
    say("inspect", *folders, "--extract", tmp_path / "out", code="new folder")


def test_a_picture_shows_each_code_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}
    monkeypatch.setattr(data_plots, "save_figure", lambda figure, path: drawn.update(figure=figure))
    codes = np.arange(12).reshape(6, 2)
    data_plots.plot_clip(tmp_path / "x.png", codes, np.ones((6, 1)), ["$odd_name"], audio=None, title="a$b")
    image = drawn["figure"].axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), codes.T)
    assert image.get_extent() == [0, 6 / 75, 1.5, -0.5]
    times = drawn["figure"].axes[1].lines[0].get_xdata()
    np.testing.assert_allclose(times, (np.arange(6) + 0.5) / 75)


def pixels(path: Path) -> np.ndarray:
    """The raw bytes of a PNG's rows, filters included: enough to tell its height, and that it is not empty."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack_from(">II", data, 16)
    place, packed = 8, b""
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        packed += data[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += 12 + length
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, -1)
    assert rows.shape[1] > width
    return rows


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ((), "DATASET"),
        (("ds", "--tokens-root", "in/tokens"), "one of them"),
        (("ds", "--hf-ds", "ds"), "one of them"),
        (("nowhere",), "nowhere"),
        ((".",), "ds"),
        (("--tokens-root", "nowhere"), "nowhere"),
        (("--tokens-root", "in/tokens"), "2.cond.npy: no such file"),
        (("--tokens-root", "in/tokens", "--no-recursive"), "no token files"),
        (("--tokens-root", "in/tokens", "--split", "train"), "--split"),
        (("ds", "--cond-root", "in/sidecars"), "--cond-root"),
        (("ds", "--recursive"), "--recursive"),
        (("ds", "--indices", "0,9"), "no clip 9: 2 clips"),
        (("ds", "--split", "dev"), "train, validation"),
        (("ds", "--plot", "a.jpg"), "--plot"),
        (("ds", "--show", "0", "--plot", "a.png"), "--plot"),
        (("ds", "--indices", "x"), 2),
        (("ds", "--indices", "0:5:0"), 2),
        (("ds", "--show", "-1"), 2),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_line(
    made: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say,
    argv: tuple[str, ...], named: str | int,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    say("inspect", *argv, code=named)


def test_help_names_every_command_and_imports_nothing_heavy(say: Say) -> None:
    said = " ".join(say("--help", code=0).split())
    assert said == " ".join(say(code=0).split())
    for name, (_, about) in cli.COMMANDS.items():
        assert name in said
        assert about in said
        assert "usage: soundraft" in say(name, "--help", code=0)
    say("inspcet", code=2)
    assert say("--version") == f"soundraft {importlib.metadata.version('soundraft')}\n"
    script = "import sys; from soundraft import cli; cli.parser(''); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"numpy", "pydantic", "torch", "soundraft.params"} & set(done.stdout.split()) == set()


@pytest.mark.parametrize("command", ["datasets stats espeak", "evaluate", "predict", "benchmark"])
def test_the_subset_of_a_corpus_is_no_config(say: Say, command: str) -> None:
    required = () if command.startswith("datasets") else ("--model", "m", "--dataset", "d")
    assert "--subset" in say(*command.split(), *required, "--config", "digits", code=2)


def test_it_runs_as_a_module_with_an_exit_code() -> None:
    command = [sys.executable, "-m", "soundraft", "inspect", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("soundraft inspect: nowhere")
    assert done.stderr.count("\n") == 1


def test_the_stages_fit_a_screen(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    said = say("stages", Path(__file__).parents[1] / "dvc.yaml")
    stages = yaml.safe_load((Path(__file__).parents[1] / "dvc.yaml").read_text())["stages"]
    first = [line.split()[0] for line in said.splitlines() if line and not line.startswith(" ")]
    assert list(stages) == [word for word in first if word in stages]
    assert max(map(len, said.splitlines())) <= 100
    whole = " ".join(said.split())
    assert "raft_train train, plan models/raft/NN One cycle" in whole
    assert "evaluate" in said.split("report ", 1)[1]
