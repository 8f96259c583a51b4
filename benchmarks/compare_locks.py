"""Whether two runs of the pipeline made the same: their dvc.lock files, out by out, and file by file where they differ.

    python benchmarks/compare_locks.py ../before/dvc.lock dvc.lock

Folders are opened through the DVC caches beside the two files. What may differ (ledgers, which name the code that made
a file) is counted apart. Exits with 1 when anything else differs.
"""

import argparse
import json
import sys
from pathlib import Path

import yaml

MAY_DIFFER = ("ledger.json", "ledger.jsonl")


def outs(lock: Path) -> dict[str, str]:
    """By path, the hash of each out."""
    stages = yaml.load(lock.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}


def files_of(lock: Path, digest: str) -> dict[str, str]:
    """By path, the hash of each file of a folder."""
    listing = lock.parent / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    if not digest.endswith(".dir") or not listing.is_file():
        return {"": digest}
    return {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_text(encoding="utf-8"))}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("before", type=Path)
    options.add_argument("after", type=Path)
    given = options.parse_args()
    before, after = outs(given.before), outs(given.after)
    changed, expected, same = [], 0, 0
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) == after.get(path):
            same += 1
            continue
        one, other = (
            files_of(lock, found.get(path, "")) for lock, found in ((given.before, before), (given.after, after))
        )
        names = [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
        expected += sum(name.endswith(MAY_DIFFER) for name in names)
        changed += [f"{path}/{name}".rstrip("/") for name in names if not name.endswith(MAY_DIFFER)]
    print(f"{same} outs are the same; {expected} ledgers differ; {len(changed)} other files differ")
    print("\n".join(changed[:100]))
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
