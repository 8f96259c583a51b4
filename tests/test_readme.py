"""What the README tells a person to type works as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from soundraft.audio import io
from tests.conftest import tone

REPOSITORY = Path(__file__).resolve().parents[1]
STEPS = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "README.md").read_text(), flags=re.DOTALL)


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


def test_the_steps_from_recordings_to_a_dataset(workplace: Path) -> None:
    (steps,) = STEPS
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in steps.strip().splitlines():
        done = subprocess.run(
            command, shell=True, cwd=workplace, env=environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert (workplace / "clip.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((workplace / "dataset" / "tokens").rglob("*.ecdc"))) == 3
