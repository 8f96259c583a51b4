"""raft_train: one RAFT cycle → models/raft/NN/ with the model, every sample (rollouts.parquet) and metrics.

    python stages/raft_train.py --cycle 03
    python stages/raft_train.py --cycle 03 --control supervised    → models/controls/supervised/03/

The controls are the same code with another way to choose what to learn. A cycle that data/plan/ calls inactive writes
a marker and ends, before anything heavy is imported.
"""

import argparse
import json
from pathlib import Path

BASE = Path("models/base")
DATASET = Path("data/dataset")


def main() -> None:
    from soundraft import files, models, runtime
    from soundraft.params import load_params
    from soundraft.rewards import REWARDS
    from soundraft.tasks import asr
    from soundraft.tracking import stage_run
    from soundraft.training import raft, rollouts
    from soundraft.training.supervised import Masking

    cycle, algorithm, out_path = int(arguments.cycle), arguments.control, folder_of(arguments.cycle)
    params = load_params()
    algorithm = algorithm or params.train.algorithm
    options = params.train.model_dump()
    settings = raft.CycleSettings(**{name: options[name] for name in raft.CycleSettings.__dataclass_fields__})
    reward = REWARDS[params.task](**params.reward.model_dump())
    with stage_run(f"{algorithm} {cycle:02d}", params.leaves()) as tracker, files.building(out_path) as out:
        recognizer = models.load_recognizer(BASE if cycle == 1 else folder_of(f"{cycle - 1:02d}"))
        target = asr.load_clips(DATASET / "target", "train", recognizer)
        drawn = raft.draw_replay(DATASET / "start", settings, seed=params.seed, cycle=cycle)
        replay = asr.load_clips(DATASET / "start", "train", recognizer, indices=drawn) if drawn else None
        result = raft.run_cycle(
            recognizer,
            algorithm=algorithm,
            cycle=cycle,
            target=target,
            replay=replay,
            reward=reward,
            settings=settings,
            masking=Masking(**options["masking"]),
            seed=params.seed,
        )
        validated = {}
        for corpus in ("target", "start"):
            clips = asr.load_clips(DATASET / corpus, "validation", recognizer)
            validated[corpus] = asr.recognize(recognizer, clips, normalizer=params.reward.normalizer, title="validate")
        metrics = rollouts.summarize(result) | {f"wer_{name}_validation": s.wer for name, s in validated.items()}
        recognizer.save(out)
        rollouts.write(out / "rollouts.parquet", result.samples, target)
        files.write_json(out / "metrics.json", metrics)
        tracker.metrics(metrics | {f"{phase}_s": seconds for phase, seconds in result.seconds.items()}, step=cycle)
    print(
        f"{algorithm} {cycle:02d}: kept {metrics['kept']} of {len(target)} clips (reward {metrics['reward_kept']:.2f}, "
        f"of all samples {metrics['reward_mean']:.2f}); validation WER target {validated['target'].wer:.1%}, "
        f"start {validated['start'].wer:.1%}; peak memory {runtime.peak_memory_bytes() / 2**30:.1f} GiB"
    )


def folder_of(cycle: str) -> Path:
    root = Path("models/controls") / arguments.control if arguments.control else Path("models/raft")
    return root / cycle


def write_marker(folder: Path) -> None:
    """What stands in for the model of a cycle that was not asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inactive.json").write_text('{"active": false}\n', encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycle", required=True, help="01, 02, …")
    parser.add_argument("--control", choices=("supervised", "self_training", "random"), help="default: RAFT itself")
    arguments = parser.parse_args()
    if json.loads(Path(f"data/plan/{arguments.cycle}.json").read_text(encoding="utf-8"))["active"]:
        from soundraft import stage

        stage.run(main)
    else:
        write_marker(folder_of(arguments.cycle))
