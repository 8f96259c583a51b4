"""s1 to s5 and the audit over 3,000 clips of 0.5 s: from nothing, then with one changed recording.

    python benchmarks/bench_incremental.py

Each stage is a script in a process of its own, so that its imports count. s3, s4 and s5 do everything anew each time.
"""

import shutil
from pathlib import Path

import scripts
from timing import report, scratch, seconds

CLIPS = 3000


def main() -> None:
    with scratch() as folder:
        scripts.make(folder, CLIPS)
        print(f"{CLIPS} clips from nothing: {run_all(folder):.1f} s")
        shutil.copy(folder / "raw/00000.wav", folder / "raw/00001.wav")
        report("one changed recording, s1 to s5 with all imports", run_all(folder), "s", 5.0, at_least=False)


def run_all(folder: Path) -> float:
    """Seconds of all stages together."""
    shutil.rmtree(folder / "dataset", ignore_errors=True)
    total_s = 0.0
    for name, arguments in scripts.chain(folder, folder / "checkpoint").items():
        worked: list[bool] = []
        took_s = seconds(lambda n=name, a=arguments, w=worked: w.append(scripts.run(n, a)))
        print(f"  {name}: {took_s:.2f} s{'' if worked[0] else ' (FAILED, not counted)'}", flush=True)
        total_s += took_s if worked[0] else 0.0
    return total_s


if __name__ == "__main__":
    main()
