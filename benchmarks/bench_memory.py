"""Peak memory of s1 to s4 as scripts, at 500 and at 5,000 clips of 0.5 s: to be the same.

python benchmarks/bench_memory.py
"""

import os

import scripts
from timing import report, scratch

FEW, MANY = 500, 5000
STAGES = ("s1_normalize", "s2_encodec", "s3_sidecar_init", "s4_sidecar_add")


def main() -> None:
    peaks: dict[int, dict[str, float]] = {}
    for count in (FEW, MANY):
        with scratch() as folder:
            scripts.make(folder, count)
            stages = scripts.chain(folder, folder / "checkpoint")
            peaks[count] = {name: peak_mib(name, stages[name]) for name in STAGES}
    for name in STAGES:
        few, many = peaks[FEW][name], peaks[MANY][name]
        print(f"{name}: {few:.0f} MiB at {FEW} clips, {many:.0f} MiB at {MANY}")
        report(f"{name}, peak memory at {MANY} clips against {FEW}", many / few, "×", 1.2, at_least=False)


def peak_mib(name: str, arguments: list[str]) -> float:
    """The most memory of one script: a child's usage is read when it alone has ended.

    A forked copy of this process measures, since the kernel keeps one maximum for all children of a process.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        import resource

        os.environ["SOUNDRAFT_JOBS"] = "1"
        worked = scripts.run(name, arguments)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        os.write(writer, f"{peak if worked else 0}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        peak_kib = int(stream.read())
    os.waitpid(child, 0)
    if not peak_kib:
        raise SystemExit(f"{name} failed")
    return peak_kib / 1024


if __name__ == "__main__":
    main()
