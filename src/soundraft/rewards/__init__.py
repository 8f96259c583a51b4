"""Verifiers: pure functions that score one hypothesis. One dict names them by task."""

from soundraft.rewards.asr import TranscriptReward
from soundraft.rewards.base import Reward, Verdict

REWARDS: dict[str, type[Reward]] = {"asr": TranscriptReward}

__all__ = ["REWARDS", "Reward", "Verdict"]
