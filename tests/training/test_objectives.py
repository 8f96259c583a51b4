import math

import pytest
import torch

from soundraft.models.base import LogProbs
from soundraft.training.objectives import Group, divergence, grpo, likelihood, mixture, mwer, of_algorithm
from tests.training import toy

REWARDS, TIMES = (1.0, 0.5, 0.0), (2, 1, 5)
TOKENS = torch.tensor([2, 2, 3])


def leaf(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def group(log_probs: torch.Tensor, **changes: tuple) -> Group:
    known = {"answers": ("a", "b", "c"), "rewards": REWARDS, "times": TIMES, "behaviour": tuple(log_probs.tolist())}
    return Group(**(known | changes))  # type: ignore[arg-type]


def scores(log_probs: torch.Tensor, tokens: torch.Tensor, possible: torch.Tensor | None = None) -> LogProbs:
    return LogProbs(log_probs, tokens, torch.ones(len(tokens), dtype=torch.bool) if possible is None else possible)


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
    assert log_probs.grad[0] == 0 < log_probs.grad[2]


def test_mwer_is_the_expected_loss_over_the_renormalised_samples() -> None:
    log_probs = leaf(-1.0, -2.0, -3.0)
    weights = [math.exp(-1), math.exp(-2), math.exp(-3)]
    expected = sum(w * (sum(REWARDS) / 3 - r) for w, r in zip(weights, REWARDS, strict=True)) / sum(weights)
    assert float(mwer(log_probs, group(log_probs))) == pytest.approx(expected)


def test_a_text_that_the_clip_cannot_have_has_no_part_in_mwer() -> None:
    log_probs, possible = leaf(-1.0, 0.0, -3.0), torch.tensor([True, False, True])
    objective = of_algorithm("mwer", toy.settings())
    objective(scores(log_probs, TOKENS, possible), group(log_probs)).backward()
    assert log_probs.grad is not None
    assert log_probs.grad[0] < 0 == log_probs.grad[1] < log_probs.grad[2]


def test_the_divergence_estimate_is_unbiased_and_zero_at_the_start_model() -> None:
    policy, start = torch.tensor([0.5, 0.3, 0.2]).log(), torch.tensor([0.2, 0.3, 0.5]).log()
    exact = float((policy.exp() * (policy - start)).sum())
    drawn = group(policy, times=(5, 3, 2), anchor=tuple(start.tolist()))  # as often as the policy draws them
    assert float(divergence(policy, torch.ones(3), drawn)) == pytest.approx(exact, abs=1e-5)
    assert float(divergence(start, torch.ones(3), drawn)) == pytest.approx(0)


def test_the_terms_add_up() -> None:
    log_probs, tokens = leaf(-1.0, -2.0, -3.0, -8.0), torch.tensor([2, 2, 3, 4])
    full = group(log_probs[:3], answers=("a", "b", "c", "reference"), anchor=(-1.0, -1.0, -1.0))
    sampled = log_probs[:3]
    train = toy.settings(best_weight=0.5, reference_weight=0.25, kl_weight=0.1)
    expected = 0.75 * (mwer(sampled, full) + 0.5 * 1.0 / 2 + 0.1 * divergence(sampled, TOKENS, full)) + 0.25 * 8.0 / 4
    assert float(of_algorithm("mwer", train)(scores(log_probs, tokens), full)) == pytest.approx(float(expected))
    mixed, pair = scores(log_probs[[0, 3]], tokens[[0, 3]]), Group(("a", "reference"))
    assert float(of_algorithm("raft", train)(mixed, pair)) == pytest.approx(0.75 * 0.5 + 0.25 * 2.0)
    assert float(likelihood(mixed, pair)) == pytest.approx(0.5)


def test_a_mixture_is_the_weighted_cross_entropy_of_torch() -> None:
    logits = torch.randn(4, requires_grad=True)
    loss = mixture(scores(torch.log_softmax(logits, 0)[[1, 3]], torch.ones(2)), Group(("b", "d"), times=(1.2, 0.3)))
    target = torch.tensor([0.0, 0.8, 0.0, 0.2])
    torch.testing.assert_close(loss, 1.5 * torch.nn.functional.cross_entropy(logits, target))
