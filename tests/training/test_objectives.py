import math

import pytest
import torch

from soundraft.models.base import TextScores
from soundraft.training.objectives import Group, Strengths, clip_loss, divergence, grpo, mwer

PLAIN = Strengths(ratio_clip=0.2, best_weight=0.0, reference_weight=0.0, kl_weight=0.0)
REWARDS, TIMES = (1.0, 0.5, 0.0), (2, 1, 5)
TOKENS = torch.tensor([2, 2, 3])


def leaf(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def group(log_probs: torch.Tensor, **changes: tuple) -> Group:
    options = {"texts": ("a", "b", "c"), "rewards": REWARDS, "times": TIMES, "behaviour": tuple(log_probs.tolist())}
    return Group(**(options | changes))  # type: ignore[arg-type]


def test_the_gradient_of_grpo_is_that_of_the_samples_one_by_one() -> None:
    """REINFORCE with a baseline over the K draws, as it is written in books: −1/K Σ A_k ∇ log π(y_k)/tokens."""
    log_probs = leaf(-1.0, -2.0, -3.0)
    grpo(log_probs, TOKENS, group(log_probs), 0.2).backward()
    draws = [reward for reward, times in zip(REWARDS, TIMES, strict=True) for _ in range(times)]
    mean = sum(draws) / len(draws)
    spread = math.sqrt(sum((reward - mean) ** 2 for reward in draws) / len(draws))
    expected = [
        -times * (reward - mean) / (spread + 1e-4) / len(draws) / tokens
        for reward, times, tokens in zip(REWARDS, TIMES, TOKENS.tolist(), strict=True)
    ]
    assert log_probs.grad is not None
    assert log_probs.grad.tolist() == pytest.approx(expected)


def test_a_ratio_beyond_its_limit_gets_no_further_push() -> None:
    log_probs = leaf(-1.0, -2.0, -3.0)
    before = (-1.5, -2.0, -3.0)  # the best text is e^0.25 times as likely, per token, as when it was drawn
    grpo(log_probs, TOKENS, group(log_probs, behaviour=before), 0.2).backward()
    assert log_probs.grad is not None
    assert log_probs.grad[0] == 0
    assert log_probs.grad[2] > 0


def test_mwer_is_the_expected_loss_over_the_renormalised_samples() -> None:
    log_probs = leaf(-1.0, -2.0, -3.0)
    value = mwer(log_probs, group(log_probs))
    weights = [math.exp(-1), math.exp(-2), math.exp(-3)]
    expected = sum(w * (sum(REWARDS) / 3 - r) for w, r in zip(weights, REWARDS, strict=True)) / sum(weights)
    assert float(value) == pytest.approx(expected)
    value.backward()
    assert log_probs.grad is not None
    assert log_probs.grad[0] < 0 < log_probs.grad[2]


def test_the_divergence_estimate_is_unbiased_and_zero_at_the_start_model() -> None:
    policy, start = torch.tensor([0.5, 0.3, 0.2]).log(), torch.tensor([0.2, 0.3, 0.5]).log()
    single = torch.ones(3)
    exact = float((policy.exp() * (policy - start)).sum())
    drawn = group(policy, times=(5, 3, 2), anchor=tuple(start.tolist()))  # as often as the policy says
    assert float(divergence(policy, single, drawn)) == pytest.approx(exact, abs=1e-5)
    assert float(divergence(start, single, drawn)) == pytest.approx(0)


def test_the_terms_add_up() -> None:
    log_probs, tokens = leaf(-1.0, -2.0, -3.0, -8.0), torch.tensor([2, 2, 3, 4])
    scores = TextScores(log_probs, tokens, torch.ones(4, dtype=torch.bool))
    full = group(log_probs[:3], texts=("a", "b", "c", "reference"), anchor=(-1.0, -1.0, -1.0))
    sampled = log_probs[:3]
    strengths = Strengths(ratio_clip=0.2, best_weight=0.5, reference_weight=0.25, kl_weight=0.1)
    expected = 0.75 * (mwer(sampled, full) + 0.5 * 1.0 / 2 + 0.1 * divergence(sampled, TOKENS, full)) + 0.25 * 8.0 / 4
    assert float(clip_loss("mwer", scores, full, strengths)) == pytest.approx(float(expected))
    assert float(clip_loss("likelihood", scores, Group(("a",)), strengths)) == pytest.approx(0.5)
    mixed = TextScores(log_probs[[0, 3]], tokens[[0, 3]], torch.ones(2, dtype=torch.bool))
    assert float(clip_loss("likelihood", mixed, Group(("a", "reference")), strengths)) == pytest.approx(
        0.75 * 0.5 + 0.25 * 2.0
    )
    assert float(clip_loss("likelihood", mixed, Group(("a", "reference")), PLAIN)) == pytest.approx(0.5)


def test_a_text_that_the_clip_cannot_have_has_no_part_in_mwer() -> None:
    log_probs = leaf(-1.0, 0.0, -3.0)
    possible = torch.tensor([True, False, True])
    full = group(log_probs)
    clip_loss("mwer", TextScores(log_probs, TOKENS, possible), full, PLAIN).backward()
    assert log_probs.grad is not None
    assert log_probs.grad[1] == 0
    assert log_probs.grad[0] < 0 < log_probs.grad[2]


def test_a_mixture_is_the_weighted_cross_entropy_of_torch() -> None:
    logits = torch.randn(4, requires_grad=True)
    group = Group(("b", "d"), times=(1.2, 0.3))
    scores = TextScores(torch.log_softmax(logits, 0)[[1, 3]], torch.ones(2), torch.ones(2, dtype=torch.bool))
    loss = clip_loss("mixture", scores, group, Strengths(0.2, 0.0, 0.5, 0.0))
    target = torch.tensor([0.0, 0.8, 0.0, 0.2])
    expected = 1.5 * torch.nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(loss, expected)
