"""imports: the code that each stage runs → .gate/imports/STAGE.json, every file with its hash; and numbers of the task.

A stage depends on its own list instead of on files of code, so that a changed file starts the stages that run it, of
the chosen task, and no other one. Params that this task alone reads are in it, too.
"""

from pathlib import Path

from soundraft import files, stage
from soundraft.imports import closure
from soundraft.params import load_params
from soundraft.params.tasks import TASKS

OUT = Path(".gate/imports")
SCRIPTS = Path("stages")
BEFORE = ("check", "imports")  # the stages that no list is for


def main() -> None:
    params = load_params()
    scripts = [path for path in sorted(SCRIPTS.glob("*.py")) if path.stem not in BEFORE]
    with files.building(OUT) as out:
        for script in scripts:
            numbers = params.leaves(*keys) if (keys := TASKS[params.task].numbers.get(script.stem)) else {}
            found = {str(path): files.content_hash(path) for path in closure(script, params.task)}
            files.write_json(out / f"{script.stem}.json", found | numbers)
    print(f"imports: {len(scripts)} stages")


if __name__ == "__main__":
    stage.run(main, help_text=__doc__)
