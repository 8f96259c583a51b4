"""s1 against two sox processes a file and against soundfile with librosa, one file after the other.

    python benchmarks/bench_normalize.py

Ours and librosa's are scripts as a user calls them, start of Python and imports included; CPU a file is our work
without them, in one process. The sox way is measured on every tenth short file.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
from timing import report, scratch, seconds

from soundraft.audio import io
from soundraft.audio.normalize import normalize_clips
from soundraft.manifest import find_clips
from soundraft.params import defaults

SHORT, LONG = 3000, 60
REPEATS = 3
STAGE = Path("stages/s1_normalize.py")


def main() -> None:
    with scratch() as folder:
        short, long = folder / "short", folder / "long"
        make(short, SHORT, lambda rng: (0.5, 16000, 1))
        make(long, LONG, lambda rng: (rng.uniform(10, 30), 44100, 2))
        compare_all("0.5 s mono", short, sox_sample=10, sox_target=20, librosa_target=3)
        compare_all("10–30 s stereo 44.1 kHz", long, sox_sample=1, sox_target=5, librosa_target=None)
        report("s1, 0.5 s mono, CPU a file", median(cpu_ms(short) for _ in range(REPEATS)), "ms", 0.35, at_least=False)


def make(folder: Path, count: int, draw: Callable[[np.random.Generator], tuple[float, int, int]]) -> None:
    folder.mkdir()
    for index in range(count):
        rng = np.random.default_rng(index)
        seconds_, rate_hz, channels = draw(rng)
        noise = rng.standard_normal((round(seconds_ * rate_hz), channels)).astype(np.float32)
        soundfile.write(folder / f"{index:04d}.wav", 0.05 * noise, rate_hz)


def compare_all(name: str, source: Path, *, sox_sample: int, sox_target: float, librosa_target: float | None) -> None:
    files = sorted(source.iterdir())
    ours = median(
        fresh(source, lambda out: script(Path("stages/s1_normalize.py"), source, out)) for _ in range(REPEATS)
    )
    if shutil.which("sox"):
        part = files[::sox_sample]
        sox_s = median(fresh(source, lambda out: sox_way(part, out)) for _ in range(REPEATS)) / len(part) * len(files)
        report(f"s1, {name}, against two sox processes a file", sox_s / ours, "×", sox_target)
    else:
        print(f"s1, {name}: sox is not installed, so the sox way is left out")
    if librosa_target is not None:
        librosa_s = median(fresh(source, lambda out: script(Path(__file__), source, out)) for _ in range(REPEATS))
        report(f"s1, {name}, against soundfile with librosa", librosa_s / ours, "×", librosa_target)


def fresh(source: Path, action: Callable[[Path], object]) -> float:
    """Seconds of `action` on a new output folder."""
    with tempfile.TemporaryDirectory(dir=source.parent) as out:
        return seconds(lambda: action(Path(out)))


def script(path: Path, source: Path, out: Path) -> None:
    command = [sys.executable, str(path), str(source), str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def cpu_ms(source: Path) -> float:
    """CPU milliseconds a file of ours, in one process."""
    os.environ["SOUNDRAFT_JOBS"] = "1"
    clips = find_clips(source, io.AUDIO_SUFFIXES)
    with tempfile.TemporaryDirectory(dir=source.parent) as out:
        before = resource.getrusage(resource.RUSAGE_SELF)
        normalize_clips(clips, source, Path(out), defaults().normalize, max_bad_fraction=0.0)
        after = resource.getrusage(resource.RUSAGE_SELF)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * used_s / len(clips)


def sox_way(files: list[Path], out: Path) -> None:
    """One process measures, the next one converts and applies the gain."""
    for path in files:
        done = subprocess.run(
            ["sox", str(path), "-n", "stats", "-w", "0.25"], capture_output=True, text=True, check=True
        )
        peak_db = next(float(line.split()[3]) for line in done.stderr.splitlines() if line.startswith("RMS Pk dB"))
        gain = f"{-20.0 - peak_db:.2f}"
        subprocess.run(
            ["sox", str(path), "-r", "24000", "-c", "1", "-b", "16", str(out / path.name), "gain", gain], check=True
        )


def librosa_way(source: Path, out: Path) -> None:
    import librosa

    for path in sorted(source.iterdir()):
        samples, _ = librosa.load(path, sr=24000, mono=True)
        peak = librosa.feature.rms(y=samples, frame_length=6000, hop_length=1500, center=False).max()
        soundfile.write(out / path.name, samples * (0.1 / peak), 24000)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        librosa_way(*map(Path, sys.argv[1:]))
    else:
        main()
