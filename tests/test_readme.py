"""What README.md and docs/ tell the user to type works as it stands there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from soundraft import cli
from soundraft.audio import io
from tests.conftest import tone
from tests.tasks import letters, sounds

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("*.md")))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
LEFT = {  # what must be there when a page has been followed
    "README.md": ["runs/raft/report.md", "predictions.parquet", "runs/again/report.md", "confusion.png"],
    "docs/classification.md": ["runs/frame/report.md"],
    "docs/corpora.md": ["my_corpus/manifest.jsonl", "corpus.png", "train.jsonl"],
    "docs/dataset.md": ["clip.png", "dataset/dataset_dict.json"],
    "docs/training.md": ["runs/python/cycles/01/model.safetensors"],
    "docs/verifier.md": [],
}
NEEDS_NETWORK = ("push_to_hub",)


def fences(page: str, *languages: str) -> list[tuple[str, str]]:
    found = FENCE.findall((REPOSITORY / page).read_text(encoding="utf-8"))
    return [(language, text) for language, text in found if not languages or language in languages]


def write_recordings(folder: Path) -> None:
    """All that the pages take for granted."""
    (folder / "stages").symlink_to(REPOSITORY / "stages")
    for index, name in enumerate(["one_pitch_64.00_amp_.75", "sub/two_pitch_60_amp_.5", "sub/x_pitch_1_amp_1"]):
        io.write_wav(folder / f"recordings/{name}.wav", tone(0.6 + 0.3 * index, 16000), 16000)
    splits = ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    lines = []
    texts = list(dict.fromkeys(map(letters.text_of, range(100))))
    for number, (text, split) in enumerate(zip(texts, splits, strict=False)):
        io.write_wav(folder / f"my_recordings/{number}.wav", letters.wave_of(text, accent=0.04), letters.RATE_HZ)
        lines.append({"file_name": f"{number}.wav", "text": text, "speaker": f"s{number}", "split": split})
    sounds.write_csv(folder / "my_recordings/metadata.csv", lines)
    rows = [{"audio_path": row["audio"], "label": row["pitch"]} for row in sounds.rows(folder)]
    sounds.write_csv(folder / "clips.csv", rows)
    ((_, declaration),) = fences("README.md", "yaml")
    (folder / "classifier.yaml").write_text(declaration)
    (folder / "models").mkdir()
    (folder / "models/base").symlink_to(letters.checkpoint())


def run_script(command: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", [page for page in PAGES if fences(page, "sh", "python")])
def test_its_commands_and_its_python_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recordings(tmp_path)
    monkeypatch.chdir(tmp_path)
    for language, text in fences(page, "sh", "python"):
        if language == "python":
            code = compile(text, page, "exec")
            if not any(word in text for word in NEEDS_NETWORK):
                exec(code, {"__name__": "__main__"})
            continue
        for command in text.strip().splitlines():
            program, *words = shlex.split(command)
            if program == "soundraft":
                cli.main(words)  # in this process: to import torch takes longer than what most of them do
            else:
                run_script(command, tmp_path)
    assert [name for name in LEFT[page] if not (tmp_path / name).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_all_its_commands_have_options_that_exist(page: str) -> None:
    lines = [line.strip() for _, text in fences(page) for line in text.replace("\\\n", " ").splitlines()]
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["soundraft"]:
            cli.parser(words[1:]).parse_args(words[1:])
