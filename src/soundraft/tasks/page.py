"""The report page of a run, wherever it is: the pipeline's, one without it, or a folder that `evaluate` has filled."""

from pathlib import Path

from soundraft import files
from soundraft.evaluation.page.run import EVALUATED, Run, cycles_in, of_pipeline
from soundraft.evaluation.results import MODELS_NAME
from soundraft.params import defaults
from soundraft.runtime import UserError
from soundraft.tasks.run import CORPUS_NAME, RECORD, read_record


def run_at(place: Path) -> Run:
    """The run in a folder, the pipeline with what is known of this machine.

    Raises:
        UserError: when nothing there was measured.
    """
    if (place / RECORD).is_file():
        return of_folder(place)
    if (place / EVALUATED / MODELS_NAME).is_file():
        return of_pipeline(place, here=True)
    if (place / MODELS_NAME).is_file():
        return Run(place, {}, place.name)
    raise UserError(
        f"{place}: no run ({RECORD}), no repository whose pipeline has evaluated ({EVALUATED}/{MODELS_NAME}), "
        f"and no {MODELS_NAME}: `soundraft train` and `dvc repro` make them"
    )


def of_folder(folder: Path) -> Run:
    """A run without the pipeline."""
    record = read_record(folder)
    usual = defaults().leaves()
    facts = {"task": record["task"], "data": record["data"]["title"], "division": record["data"]["division"]}
    facts |= {"model": record["model"]} | {name: str(value) for name, value in record["versions"].items()}
    facts["seed"] = str(record["params"].get("seed", ""))
    params = {key: (value, usual[key]) for key, value in record["params"].items() if value != usual.get(key, value)}
    path = folder / CORPUS_NAME
    return Run(
        folder,
        cycles_in(folder / "cycles"),
        folder.name,
        {name: value for name, value in facts.items() if value},
        commands=[command] if (command := record.get("command")) else [],
        params=params,
        corpus=files.read_json(path) if path.is_file() else {},
    )
