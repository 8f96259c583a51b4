"""raft_train: one RAFT cycle → models/raft/NN/ with the model, every sample (rollouts.parquet) and metrics.

    python stages/raft_train.py --cycle 03
    python stages/raft_train.py --cycle 03 --control supervised    → models/controls/supervised/03/

The controls are the same code with another way to choose what to learn. A cycle that data/plan/ calls inactive writes
a marker and ends, before anything heavy is imported.
"""

import argparse
import json
from functools import partial
from pathlib import Path

BASE = Path("models/base")
PLAN = Path("data/plan")
DATASET = Path("data/dataset")
FOLDERS = {
    "raft": Path("models/raft"),
    "supervised": Path("models/controls/supervised"),
    "self_training": Path("models/controls/self_training"),
    "random": Path("models/controls/random"),
}


def main(cycle: int, control: str | None) -> None:
    from soundraft import files, models
    from soundraft.params import load_params
    from soundraft.rewards import REWARDS
    from soundraft.tasks import asr
    from soundraft.tracking import stage_run
    from soundraft.training import raft, rollouts
    from soundraft.training.supervised import Masking

    params = load_params()
    options = params.train.model_dump()
    algorithm = control or params.train.algorithm
    settings = raft.CycleSettings(**{name: options[name] for name in raft.CycleSettings.__dataclass_fields__})
    previous = BASE if cycle == 1 else folder_of(cycle - 1, control)
    with (
        stage_run(f"{algorithm} {cycle:02d}", params.leaves()) as tracker,
        files.building(folder_of(cycle, control)) as out,
    ):
        recognizer = models.load_recognizer(previous)
        target = asr.load_clips(DATASET / "target", "train", recognizer)
        drawn = raft.draw_replay(DATASET / "start", settings, seed=params.seed, cycle=cycle)
        replay = asr.load_clips(DATASET / "start", "train", recognizer, indices=drawn) if drawn else None
        result = raft.run_cycle(
            recognizer,
            algorithm=algorithm,
            cycle=cycle,
            target=target,
            replay=replay,
            reward=REWARDS[params.task](**params.reward.model_dump()),
            settings=settings,
            masking=Masking(**options["masking"]),
            seed=params.seed,
        )
        metrics = rollouts.summarize(result)
        for corpus in ("target", "start"):
            clips = asr.load_clips(DATASET / corpus, "validation", recognizer)
            scored = asr.recognize(recognizer, clips, normalizer=params.reward.normalizer, title=f"validate {corpus}")
            metrics[f"wer_{corpus}_validation"] = scored.wer
        recognizer.save(out)
        rollouts.write(out / "rollouts.parquet", result.samples, target)
        files.write_json(out / "metrics.json", metrics)
        tracker.metrics(metrics | {f"{phase}_s": seconds for phase, seconds in result.seconds.items()}, step=cycle)
    print(
        f"{algorithm} {cycle:02d}: kept {metrics['kept']} of {len(target)} clips (reward {metrics['reward_kept']:.2f}, "
        f"of all samples {metrics['reward_mean']:.2f}); validation WER target {metrics['wer_target_validation']:.1%}, "
        f"start {metrics['wer_start_validation']:.1%}"
    )


def folder_of(cycle: int, control: str | None) -> Path:
    return FOLDERS[control or "raft"] / f"{cycle:02d}"


def is_active(cycle: int) -> bool:
    return json.loads((PLAN / f"{cycle:02d}.json").read_text(encoding="utf-8"))["active"]


def write_marker(folder: Path) -> None:
    """What stands in for the model of a cycle that was not asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inactive.json").write_text('{"active": false}\n', encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycle", type=int, required=True, help="1, 2, … as cycles.yaml lists them")
    parser.add_argument("--control", choices=[name for name in FOLDERS if name != "raft"], help="default: RAFT itself")
    arguments = parser.parse_args()
    if is_active(arguments.cycle):
        from soundraft import stage

        stage.run(partial(main, arguments.cycle, arguments.control))
    else:
        write_marker(folder_of(arguments.cycle, arguments.control))
