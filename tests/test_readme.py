"""What the README tells a person to type works as it stands there."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from soundraft.audio import io
from tests.conftest import tiny_recognizer, tone

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
ALONE, CLASSIFY, CORPORA, STEPS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
(IN_PYTHON,) = (block for block in BLOCKS if "load_audio_dataset" in block)
(CLASSIFIED_IN_PYTHON,) = (block for block in BLOCKS if "soundraft.fit" in block)
(DECLARATION,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
(TRAINED_IN_PYTHON,) = (block for block in BLOCKS if "AudioRAFTTrainer" in block)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recordings, from where the stages are reached as from the repository."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "stages").symlink_to(REPOSITORY / "stages")
    for index, name in enumerate(
        ["one_pitch_64.00_amp_.75.wav", "sub/two_pitch_60_amp_.5.wav", "sub/x_pitch_1_amp_1.wav"]
    ):
        io.write_wav(folder / "recordings" / name, tone(0.6 + 0.3 * index, 16000), 16000)
    return folder


def run(command: str | list[str], folder: Path) -> str:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SOUNDRAFT_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_steps_from_recordings_to_a_dataset(workplace: Path) -> None:
    for command in STEPS.strip().splitlines():
        run(command, workplace)
    assert (workplace / "clip.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((workplace / "dataset" / "tokens").rglob("*.ecdc"))) == 3


def make_recordings(folder: Path, words: Sequence[str]) -> None:
    lines = ["file_name,text,speaker,split"]
    for number, (word, split) in enumerate(zip(words, ("train", "train", "validation", "test"), strict=True)):
        io.write_wav(folder / f"my_recordings/{number}.wav", tone(0.5, 16000, frequency_hz=300 + number), 16000)
        lines.append(f"{number}.wav,{word},s{number},{split}")
    (folder / "my_recordings/metadata.csv").write_text("\n".join(lines))


def test_training_and_recognition_without_the_pipeline(tmp_path: Path) -> None:
    make_recordings(tmp_path, ["one", "two", "six", "nine"])
    tiny_recognizer().save(tmp_path / "models/base")
    # a model that never learned anything has no sample with a reward: keep whatever is best
    for command in ALONE.strip().splitlines():
        run(f"{command} --set train.reward_threshold=0.0" if " train " in command else command, tmp_path)
    assert (tmp_path / "runs/raft/report.md").is_file()
    learns = TRAINED_IN_PYTHON.replace("num_cycles=1", 'num_cycles=1, params={"train.reward_threshold": 0.0}')
    assert run([sys.executable, "-c", learns], tmp_path).splitlines()[-1] == "0.5"
    assert (tmp_path / "runs/python/cycles/01/model.safetensors").is_file()


def test_classification_without_the_pipeline(tmp_path: Path) -> None:
    lines = ["audio_path,label"]
    for number in range(40):
        label, frequency_hz = (("low", 300), ("high", 1500))[number % 2]
        io.write_wav(tmp_path / f"{number}.wav", tone(0.4, 16000, frequency_hz=frequency_hz + 5 * number), 16000)
        lines.append(f"{number}.wav,{label}")
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    (tmp_path / "classifier.yaml").write_text(DECLARATION)
    for command in CLASSIFY.strip().splitlines():
        run(command, tmp_path)
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "predictions.parquet").is_file()
    told = run([sys.executable, "-c", CLASSIFIED_IN_PYTHON], tmp_path).splitlines()[-1]
    assert told == "['id', 'path', 'label_predictions']"


def test_the_commands_on_corpora_and_their_python(tmp_path: Path) -> None:
    make_recordings(tmp_path, [f"word {number}" for number in range(4)])
    for command in CORPORA.strip().splitlines():
        run(command, tmp_path)
    assert (tmp_path / "corpus.png").read_bytes().startswith(b"\x89PNG")
    said = run([sys.executable, "-c", IN_PYTHON], tmp_path)
    assert said.splitlines() == [f"word {number} torch.Size([1, 80, 51])" for number in range(2)]
    assert len((tmp_path / "train.jsonl").read_text().splitlines()) == 2
