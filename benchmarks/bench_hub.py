"""Reading a local hub-format corpus of 10,000 clips of 1 s: to a manifest, with decode and write, and its memory.

"Without decoding" is a corpus that the cache holds already: each clip was decoded once, when it was written. "Brought
in" is all that the stage fetch does: into the cache, from there into its folder, and the manifest; wall clock. Memory
grows with the number of clips, not with their length, so 100,000 clips are short ones.

python benchmarks/bench_hub.py
"""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from datasets import Audio, ClassLabel, Features, Value
from timing import compare, report, scratch, seconds

from soundraft import corpora
from soundraft.corpora import Request
from soundraft.manifest import write_manifest

CLIPS, MANY = 10_000, 100_000
SHORT_S = 0.05
CLIPS_A_FILE, CLIPS_A_GROUP = 2_500, 100
RATE_HZ = 16_000
DIFFERENT = 200
REPEATS = 3
REQUEST = {"columns": {"label": "word"}, "clips": {"train": None, "validation": 0, "test": 0}}
FEATURES = Features(
    id=Value("string"),
    audio=Audio(sampling_rate=RATE_HZ),
    word=ClassLabel(names=["yes", "no"]),
    speaker=Value("string"),
)


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    for kind in ("WAV", "FLAC"):
        with scratch() as folder:
            sounds = [sound(kind, seed) for seed in range(DIFFERENT)]
            make(folder / "corpus", sounds, CLIPS, kind)
            measure(folder, sounds, kind)
    with scratch() as folder:
        for count, length_s in ((CLIPS, 1.0), (MANY, SHORT_S)):
            sounds = [sound("FLAC", seed, length_s) for seed in range(DIFFERENT)]
            make(folder / f"corpus{count}", sounds, count, "FLAC")
            extra = peak_mib(folder, f"corpus{count}") - peak_mib(folder, "")
            report(f"peak memory over import at {count} clips", extra, "MiB", 300, at_least=False)


def sound(kind: str, seed: int, length_s: float = 1.0) -> bytes:
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    voice = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 400) * time_s) + rng.normal(0, 0.02, len(time_s))
    stream = io.BytesIO()
    soundfile.write(stream, voice.astype(np.float32), RATE_HZ, format=kind)
    return stream.getvalue()


def make(repo: Path, sounds: list[bytes], count: int, kind: str) -> None:
    """A repository in files and row groups as the hub's tools write them; all but two clips are in train."""
    (repo / "data").mkdir(parents=True)
    for start in range(0, count, CLIPS_A_FILE):
        rows = [
            {
                "id": f"clip-{index}",
                "audio": {"bytes": sounds[index % DIFFERENT], "path": f"{index}.{kind.lower()}"},
                "word": index % 2,
                "speaker": f"s{index % 50}",
            }
            for index in range(start, min(count, start + CLIPS_A_FILE))
        ]
        table = pa.Table.from_pylist(rows, schema=FEATURES.arrow_schema)
        pq.write_table(table, repo / f"data/train-{start:05d}.parquet", row_group_size=CLIPS_A_GROUP)
    for split in ("validation", "test"):
        pq.write_table(table.slice(0, 1), repo / f"data/{split}-00000.parquet")


def measure(folder: Path, sounds: list[bytes], kind: str) -> None:
    runs = iter(range(1000))
    each = [bytes(bytearray(sounds[index % DIFFERENT])) for index in range(CLIPS)]  # no clip is in the CPU's cache

    def ours() -> None:
        fetch(folder / "corpus", folder / f"cache{next(runs)}")

    def brought_in() -> None:
        run = next(runs)
        os.environ["SOUNDRAFT_CACHE"] = str(folder / f"cache{run}")
        request = Request(path=folder / "corpus", **REQUEST)
        corpora.bring_in("hub", request, folder / f"raw{run}", max_bad_fraction=0.0, link=True)

    def soundfile_alone() -> None:
        out = folder / f"plain{next(runs)}"
        for index, data in enumerate(each):
            soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
            path = out / f"{index // 1000:05d}/{index:08d}.{kind.lower()}"
            if index % 1000 == 0:
                path.parent.mkdir(parents=True)
            path.write_bytes(data)

    fetched_s, alone_s = compare(ours, soundfile_alone, repeats=REPEATS)
    print(f"{kind}: fetched in {fetched_s:.2f} s, soundfile and writing alone {alone_s:.2f} s")
    report(f"{kind}, decode and write against soundfile alone", fetched_s / alone_s, "×", 1.3, at_least=False)
    brought_s, alone_s = compare(brought_in, soundfile_alone, repeats=REPEATS)
    report(f"{kind}, brought in against soundfile alone", brought_s / alone_s, "×", 1.3, at_least=False)
    again_s = min(seconds(lambda: fetch(folder / "corpus", folder / "cache0")) for _ in range(REPEATS))
    report(f"{kind}, to a manifest without decoding", CLIPS / again_s, "clips/s", 2000)


def fetch(repo: Path, cache: Path) -> None:
    os.environ["SOUNDRAFT_CACHE"] = str(cache)
    fetched = corpora.fetch("hub", Request(path=repo, **REQUEST), cache)
    assert len(fetched.clips) == fetched.usable
    write_manifest(cache, fetched.clips, fetched.rejected)


def peak_mib(folder: Path, corpus: str) -> float:
    """The most memory of a process that imports what a fetch imports, and fetches when a corpus is named.

    `datasets` imports torch for every dataset that is read as a stream.
    """
    work = (
        f"bench_hub.fetch(Path({str(folder / corpus)!r}), Path({str(folder / corpus / 'cache')!r}));" if corpus else ""
    )
    code = (
        "import bench_hub, datasets, filelock, fsspec, huggingface_hub, torch; from pathlib import Path;"
        f"from soundraft import runtime; {work} print(runtime.peak_memory_bytes() / 2**20)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout)


if __name__ == "__main__":
    main()
