"""What a step minimises: the loss of one answer, of a mixture, or a policy gradient over a clip's samples.

Pure functions.

Letters: N different answers of one clip. `losses`, `log_probs` and `tokens` are `[N]`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from soundraft.models.base import Answer, LogProbs, Losses
from soundraft.params.sections import Train

POLICY_GRADIENTS = ("grpo", "mwer")
IMPOSSIBLE = -1e4  # log-probability of an answer that the clip cannot have
SPREAD_FLOOR = 1e-4  # keeps an advantage finite where all samples have nearly one reward


@dataclass(frozen=True)
class Group:
    """The different answers of one clip and what is known of each; parallel tuples.

    Attributes:
        answers: to learn from. A reference that is learned beside samples stands last.
        rewards: of the samples, for a policy gradient.
        times: how often each was drawn; its weight in a mixture.
        behaviour: log-probability of each when it was drawn.
        anchor: the same under the start model; empty where no divergence is asked for.
    """

    answers: tuple[Answer, ...]
    rewards: tuple[float, ...] = ()
    times: tuple[float, ...] = ()
    behaviour: tuple[float, ...] = ()
    anchor: tuple[float, ...] = ()


Objective = Callable[[Any, Group], torch.Tensor]  # a clip's `Losses` → a scalar with gradient


def of_algorithm(algorithm: str, train: Train) -> Objective:
    """The objective of the examples of a cycle; with `reference_weight` each example's last answer is its reference."""
    plain: Objective = likelihood
    if algorithm in POLICY_GRADIENTS:
        plain = partial(policy_gradient, algorithm=algorithm, train=train)
    if not train.reference_weight:
        return plain
    return partial(_beside_reference, objective=plain, weight=train.reference_weight)


def likelihood(scores: Losses, group: Group) -> torch.Tensor:
    """The loss of the first answer."""
    return scores.losses[0]


def mixture(scores: Losses, group: Group) -> torch.Tensor:
    """`Σ timesᵢ · lossᵢ`; weights need not sum to 1. Mixed clips, smoothed labels and class weights are such sums."""
    return (scores.losses.new_tensor(group.times) * scores.losses).sum()


def _beside_reference(scores: Losses, group: Group, *, objective: Objective, weight: float) -> torch.Tensor:
    return (1 - weight) * objective(scores, group) + weight * scores.losses[-1]


def policy_gradient(scores: LogProbs, group: Group, *, algorithm: str, train: Train) -> torch.Tensor:
    """GRPO or MWER on the answers with rewards; with them the best one is learned, and divergence punished."""
    graded = slice(len(group.rewards))
    sampled, tokens = scores.log_probs[graded], scores.tokens[graded]
    if algorithm == "grpo":
        loss = grpo(sampled, tokens, group, train.ratio_clip)
    else:
        loss = mwer(sampled.masked_fill(~scores.possible[graded], IMPOSSIBLE), group)
    if train.best_weight:
        best = max(range(len(group.rewards)), key=lambda index: group.rewards[index])
        loss = loss + train.best_weight * scores.losses[best]
    if group.anchor:
        loss = loss + train.kl_weight * divergence(sampled, tokens, group)
    return loss


def grpo(log_probs: torch.Tensor, tokens: torch.Tensor, group: Group, ratio_clip: float) -> torch.Tensor:
    """Group-relative policy optimisation: rewards of a clip's samples against their mean, a clipped ratio.

    `−Σ times/K · min(r·A, clip(r, 1 ± ε)·A)`, `A = (reward − mean)/std` over the samples of the group: Shao et al.,
    arXiv 2402.03300. CTC has no probability per token, so the ratio is that of whole texts by their length,
    `r = (π/π_old)^(1/tokens)`: GSPO, Zheng et al., arXiv 2507.18071. Without the root it reaches e³⁰ within a round.
    """
    rewards, share = _rewards(log_probs, group)
    mean = (share * rewards).sum()
    spread = (share * (rewards - mean) ** 2).sum().sqrt()
    advantage = (rewards - mean) / (spread + SPREAD_FLOOR)
    ratio = torch.exp((log_probs - log_probs.new_tensor(group.behaviour)) / tokens)
    clipped = ratio.clamp(1 - ratio_clip, 1 + ratio_clip)
    return -(share * torch.minimum(ratio * advantage, clipped * advantage)).sum()


def mwer(log_probs: torch.Tensor, group: Group) -> torch.Tensor:
    """Minimum word error rate training: the expected loss over a clip's samples.

    `Σ P̂ᵢ (mean reward − rewardᵢ)`, `P̂ = softmax(log_probs)`, the renormalised probabilities. Prabhavalkar et al.,
    arXiv 1712.01818, with 1 − reward for the word errors, so that every verifier serves.
    """
    rewards, _ = _rewards(log_probs, group)
    return (torch.softmax(log_probs, dim=0) * (rewards.mean() - rewards)).sum()


def divergence(log_probs: torch.Tensor, tokens: torch.Tensor, group: Group) -> torch.Tensor:
    """Kullback-Leibler divergence from the start model, estimated from the samples: `q − 1 − ln q`.

    `q = (π_start/π)^(1/tokens)`, as in the ratio of `grpo`. The estimator k3 of Schulman, "Approximating KL divergence"
    (2020), which is never negative, and unbiased for answers of one token.
    """
    _, share = _rewards(log_probs, group)
    log_ratio = (log_probs.new_tensor(group.anchor) - log_probs) / tokens
    return (share * (torch.exp(log_ratio) - 1 - log_ratio)).sum()


def _rewards(log_probs: torch.Tensor, group: Group) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards and the share of the draws of each answer, `[N]` both."""
    times = log_probs.new_tensor(group.times)
    return log_probs.new_tensor(group.rewards), times / times.sum()
