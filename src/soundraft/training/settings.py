"""The numbers of a cycle, under the names that they have in `train` of the params."""

from dataclasses import dataclass

from soundraft.training.objectives import Strengths


@dataclass(frozen=True)
class CycleSettings:
    """The `train` params that a cycle uses."""

    rounds_per_cycle: int
    samples_per_prompt: int
    temperature: float
    reward_threshold: float
    keep_top_percent: float
    learning_rate: float
    lr_decay_per_cycle: float
    min_lr: float
    warmup_share: float
    final_lr_share: float
    weight_decay: float
    max_grad_norm: float
    group_size: int
    ratio_clip: float
    best_weight: float
    reference_weight: float
    kl_weight: float
    presentations_per_cycle: int
    replay_fraction: float
    batch_size: int
    gradient_accumulation_steps: int

    def lr(self, cycle: int) -> float:
        """The peak rate of cycle 1, 2, …: `learning_rate · decay^(cycle − 1)`, never under `min_lr`."""
        return max(self.min_lr, self.learning_rate * self.lr_decay_per_cycle ** (cycle - 1))

    @property
    def replayed(self) -> int:
        """How many presentations of a cycle are clips of the start corpus."""
        return round(self.presentations_per_cycle * self.replay_fraction)

    @property
    def strengths(self) -> Strengths:
        return Strengths(self.ratio_clip, self.best_weight, self.reference_weight, self.kl_weight)
