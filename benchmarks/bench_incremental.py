"""s1 to s5 and the audit over 3,000 clips of 0.5 s: from nothing, then with one changed recording.

    python benchmarks/bench_incremental.py

Each stage is a script in a process of its own, so that its imports count. s3, s4 and s5 do everything anew each time.
"""

import shutil
from pathlib import Path
from statistics import median

import scripts
from timing import report, scratch, seconds

CLIPS = 3000
REPEATS = 3


def main() -> None:
    with scratch() as folder:
        scripts.make(folder, CLIPS)
        print(f"{CLIPS} clips from nothing: {sum(run_all(folder).values()):.1f} s")
        runs = []
        for changed in range(1, 1 + REPEATS):
            shutil.copy(folder / "raw/00000.wav", folder / f"raw/{changed:05d}.wav")
            runs.append(run_all(folder))
        whole_s = median(sum(run.values()) for run in runs)
        steps_s = median(sum(took_s for name, took_s in run.items() if name != "audit") for run in runs)
        report("one changed recording, s1 to s5 with all imports", steps_s, "s", 5.0, at_least=False)
        print(f"the same with the audit: {whole_s:.2f} s")


def run_all(folder: Path) -> dict[str, float]:
    """Seconds of each stage."""
    shutil.rmtree(folder / "dataset", ignore_errors=True)
    took: dict[str, float] = {}
    for name, arguments in scripts.chain(folder, folder / "checkpoint").items():
        took[name] = seconds(lambda n=name, a=arguments: scripts.must_run(n, a))
        print(f"  {name}: {took[name]:.2f} s", flush=True)
    return took


if __name__ == "__main__":
    main()
