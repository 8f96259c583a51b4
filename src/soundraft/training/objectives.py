"""What a step minimises: the likelihood of one text or of a mixture, or a policy gradient over a clip's samples.

Pure functions.

Letters: N different texts of one clip. `log_probs` and `tokens` are `[N]`, of `TextScores`.
"""

from dataclasses import dataclass

import torch

from soundraft.models.base import TextScores

POLICY_GRADIENTS = ("grpo", "mwer")
IMPOSSIBLE = -1e4  # log-probability of a text that the clip cannot have
SPREAD_FLOOR = 1e-4  # keeps an advantage finite where all samples have nearly one reward


@dataclass(frozen=True)
class Group:
    """The different texts of one clip and what is known of each; parallel tuples.

    Attributes:
        texts: to learn from. For a policy gradient the reference, when it is learned as well, stands last, behind
            those that have rewards.
        rewards: of the sampled texts; empty where the one text is simply learned.
        times: how often each was drawn; the weight of each in a mixture.
        behaviour: log-probability of each when it was drawn.
        anchor: log-probability of each under the start model; empty where no divergence is asked for.
    """

    texts: tuple[str, ...]
    rewards: tuple[float, ...] = ()
    times: tuple[float, ...] = ()
    behaviour: tuple[float, ...] = ()
    anchor: tuple[float, ...] = ()


@dataclass(frozen=True)
class Strengths:
    """The weights and limits of the terms of a policy gradient, named as in `train` of the params."""

    ratio_clip: float
    best_weight: float
    reference_weight: float
    kl_weight: float


def clip_loss(objective: str, scores: TextScores, group: Group, strengths: Strengths) -> torch.Tensor:
    """The loss of one clip, a scalar with gradient.

    Args:
        objective: "likelihood" of the first text, "mixture" of all, "grpo" or "mwer".
    """
    if objective == "mixture":
        return mixture(scores, group)
    reference_weight = strengths.reference_weight if len(group.texts) > max(1, len(group.rewards)) else 0.0
    if objective == "likelihood":
        parts = likelihood(scores, 0)
    else:
        graded = slice(len(group.rewards))
        sampled, tokens = scores.log_probs[graded], scores.tokens[graded]
        if objective == "grpo":
            parts = grpo(sampled, tokens, group, strengths.ratio_clip)
        else:
            parts = mwer(sampled.masked_fill(~scores.possible[graded], IMPOSSIBLE), group)
        if strengths.best_weight:
            parts = parts + strengths.best_weight * likelihood(scores, _best(group))
        if group.anchor:
            parts = parts + strengths.kl_weight * divergence(sampled, tokens, group)
    if reference_weight:
        parts = (1 - reference_weight) * parts + reference_weight * likelihood(scores, -1)
    return parts


def likelihood(scores: TextScores, index: int) -> torch.Tensor:
    """Negative log-probability of one text per token."""
    return -scores.log_probs[index] / scores.tokens[index]


def mixture(scores: TextScores, group: Group) -> torch.Tensor:
    """Cross-entropy with weights: `−Σ timesᵢ · log pᵢ` per token. Weights need not sum to 1.

    Mixed clips, smoothed labels and class weights are such sums.
    """
    return -(scores.log_probs.new_tensor(group.times) * scores.log_probs / scores.tokens).sum()


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
    (2020), which is never negative, and unbiased for texts of one token.
    """
    _, share = _rewards(log_probs, group)
    log_ratio = (log_probs.new_tensor(group.anchor) - log_probs) / tokens
    return (share * (torch.exp(log_ratio) - 1 - log_ratio)).sum()


def _rewards(log_probs: torch.Tensor, group: Group) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards and the share of the draws of each text, `[N]` both."""
    times = log_probs.new_tensor(group.times)
    return log_probs.new_tensor(group.rewards), times / times.sum()


def _best(group: Group) -> int:
    return max(range(len(group.rewards)), key=lambda index: group.rewards[index])
