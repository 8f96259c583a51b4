"""plan: which cycles are active, and on what an active one depends → data/plan/{raft_train,controls}/NN.json.

DVC templates cannot count. Each cycle depends on its own file instead of on `train.cycles`, so that going from 4 to 6
trains two cycles and no more. The file of an active cycle has the numbers that it reads, and hashes of its code and its
data; that of another one has nothing, so that no change starts it.
"""

from pathlib import Path

import yaml

from soundraft import files, stage
from soundraft.params import load_params

CYCLES = Path("cycles.yaml")
CONTROLS = (
    "task", "seed", "limits", "corpus.target.language", "model.language", "train.rounds_per_cycle",
    "train.samples_per_prompt", "train.temperature", "train.learning_rate", "train.lr_decay_per_cycle", "train.min_lr",
    "train.presentations_per_cycle", "train.replay_fraction", "train.batch_size", "train.warmup_share",
    "train.final_lr_share", "train.weight_decay", "train.max_grad_norm", "train.gradient_accumulation_steps",
    "train.masking", "train.lora", "train.freeze", "train.gradient_checkpointing", "train.precision", "reward",
    "decoding.batch_clips", "decoding.batch_clips_gpu",
)  # fmt: skip
CHOICE = tuple(
    f"train.{key}"
    for key in (
        "algorithm", "reward_threshold", "keep_top_percent", "group_size", "ratio_clip", "best_weight",
        "reference_weight", "kl_weight",
    )
)  # fmt: skip
NUMBERS = {"raft_train": CONTROLS + CHOICE, "controls": CONTROLS}
DATA = (Path("data/dataset/train.txt"), Path("data/dataset/validation.txt"))


def main() -> None:
    params = load_params()
    listed = [item["cycle"] for item in yaml.safe_load(CYCLES.read_text(encoding="utf-8"))["cycles"].values()]
    with files.building(stage.PLAN) as out:
        for chain, keys in NUMBERS.items():
            read = {str(path): files.content_hash(path) for path in (Path(f".gate/imports/{chain}.json"), *DATA)}
            for cycle in listed:
                active = int(cycle) <= params.train.cycles
                depends_on = read | params.leaves(*keys) if active else {}
                files.write_json(out / chain / f"{cycle}.json", {"active": active, "depends_on": depends_on})
    print(f"plan: {params.train.cycles} of {len(listed)} cycles are active")


if __name__ == "__main__":
    stage.run(main, *DATA, help_text=__doc__)
