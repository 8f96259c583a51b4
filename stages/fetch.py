"""fetch: bring in the start and the target corpus → data/raw/{start,target}/ with a manifest and its source each."""

import time
from pathlib import Path

from soundraft import corpora, files, runtime, stage
from soundraft.corpora import Fetched, Request
from soundraft.corpora.base import Role
from soundraft.manifest import SPLITS
from soundraft.params import load_params
from soundraft.params.sections import Params
from soundraft.params.tasks import TASKS
from soundraft.runtime import UserError
from soundraft.tracking import stage_run

OUT = Path("data/raw")


def main() -> None:
    params = load_params()
    with stage_run("fetch", params.leaves()) as tracker, files.building(OUT) as out:
        for role in TASKS[params.task].corpora:
            started = time.monotonic()
            name = getattr(params.corpus, role).name
            limit = params.limits.max_bad_fraction
            asked = request(params, role)
            fetched = corpora.bring_in(name, asked, out / role, max_bad_fraction=limit, link=True)
            check_splits(role, fetched)
            hours = sum(clip.duration or 0.0 for clip in fetched.clips) / 3600
            speed = 3600 * hours / (time.monotonic() - started)
            tracker.metrics({f"{role}_clips": len(fetched.clips), f"{role}_times_real_time": speed})
            print(
                f"fetch: {role} = {name}: {len(fetched.clips)} clips, {hours:.2f} h, "
                f"{len(fetched.rejected)} rejected, {speed:.0f} × real time"
            )
        files.write_contents(out)


def check_splits(role: Role, fetched: Fetched) -> None:
    """Training, choices and the report each need clips of their own."""
    empty = sorted(set(SPLITS) - {clip.split for clip in fetched.clips if clip.split})
    if empty:
        raise UserError(
            f"corpus.{role}: of {len(fetched.clips)} clips none is in {', '.join(empty)}; "
            "more clips, another corpus.seed, or splits of your own help"
        )


def request(params: Params, role: Role) -> Request:
    """What the params ask of one corpus. A relative path counts from the main repository, also in a scratch copy."""
    choice = getattr(params.corpus, role)
    section = getattr(params.corpus, choice.name, None)
    clips = choice.clips.model_dump()
    return Request(
        role=role,
        path=runtime.main_root() / choice.path if choice.path else None,
        split=choice.split,
        revision=choice.revision,
        config=choice.config,
        language=choice.language,
        columns=dict(column.split("=", 1) for column in choice.columns),
        labels=tuple(choice.labels),
        fold=choice.fold,
        clips=dict.fromkeys(clips, choice.limit) if choice.limit else clips,
        seed=params.corpus.seed,
        options=section.model_dump() if section else {},
        asked_as=f"corpus.{role}.",
        task=params.task,
    )


if __name__ == "__main__":
    stage.run(main, help_text=__doc__)
