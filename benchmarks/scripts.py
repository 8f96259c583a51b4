"""The data stages as scripts that a user calls, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def chain(folder: Path, checkpoint: Path) -> dict[str, list[str]]:
    """The scripts from `folder/raw` to the dataset, in their order, with their arguments."""
    raw, normalized, tokens, cond, dataset = (
        str(folder / name) for name in ("raw", "normalized", "tokens", "cond", "dataset")
    )
    both = ["--audio-root", tokens, "--cond-root", cond]
    return {
        "s1_normalize": [raw, normalized],
        "s2_encodec": [normalized, tokens, "--checkpoint", str(checkpoint)],
        "s3_sidecar_init": [*both, "--overwrite"],
        "s4_sidecar_add": [*both, "--producer", "const", "--const", "gain=.5", "--producer", "lin", "--lin", "at=0:1"],
        "audit": [*both, "--verify-ranges"],
        "s5_build_dataset": [tokens, dataset, "--cond-root", cond, "--materialize", "copy"],
    }


def run(name: str, arguments: list[str]) -> bool:
    """Whether the script ended well."""
    command = [sys.executable, str(ROOT / "stages" / f"{name}.py"), *arguments]
    environment = os.environ | {"SOUNDRAFT_TRACKING": "off"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}: {done.stderr.strip().splitlines()[-1][:200]}")
    return done.returncode == 0


def must_run(name: str, arguments: list[str]) -> None:
    if not run(name, arguments):
        raise SystemExit(f"{name} failed: nothing to measure")


def make(folder: Path, count: int) -> None:
    """Recordings and a small checkpoint, made in a process that ends: this one must stay small."""
    code = (
        "import sys; from pathlib import Path; from tests.audio import codecs; folder = Path(sys.argv[1]); "
        "codecs.wav_folder(folder / 'raw', {f'{i:05d}.wav': 0.5 for i in range(int(sys.argv[2]))}); "
        "codecs.save(folder / 'checkpoint')"
    )
    subprocess.run([sys.executable, "-c", code, folder, str(count)], cwd=ROOT, check=True, capture_output=True)
