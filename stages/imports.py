"""imports: the code that each stage runs → .gate/imports/STAGE.json, every file with its hash.

A stage depends on its own list instead of on files of code, so that a changed file starts the stages that run it, of
the chosen task, and no other one.
"""

from pathlib import Path

from soundraft import files, stage
from soundraft.imports import closure
from soundraft.params import load_params

OUT = Path(".gate/imports")
SCRIPTS = Path("stages")
BEFORE = ("check", "imports")  # the stages that no list is for


def main() -> None:
    task = load_params().task
    scripts = [path for path in sorted(SCRIPTS.glob("*.py")) if path.stem not in BEFORE]
    with files.building(OUT) as out:
        for script in scripts:
            hashes = {str(path): files.content_hash(path) for path in closure(script, task)}
            files.write_json(out / f"{script.stem}.json", hashes)
    print(f"imports: {len(scripts)} stages")


if __name__ == "__main__":
    stage.run(main, help_text=__doc__)
