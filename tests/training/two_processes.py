"""One toy cycle, alone or under `accelerate launch`; the main process saves weights and answers to the file named."""

import sys
from pathlib import Path

import torch

from soundraft import distributed
from soundraft.params import defaults
from soundraft.rewards import TranscriptReward
from soundraft.training.raft import Shards, Target, run_cycle
from tests.conftest import tiny_recognizer
from tests.training import toy


def main(start: Path, out: Path) -> None:
    recognizer = tiny_recognizer(mel_bins=toy.MEL_BINS)
    recognizer.model.load_state_dict(torch.load(start, weights_only=True))
    toy.freeze_batch_statistics(recognizer)
    clips = toy.clips(21, seed=2, lean=0.45)
    result = run_cycle(
        recognizer, algorithm="raft", cycle=1, target=Target(clips, [1.0] * len(clips)), replay=toy.clips(30, seed=3),
        verifier=TranscriptReward(defaults().reward), seed=0, decoding=toy.DECODING, shards=Shards(None),
        train=toy.settings(presentations_per_cycle=70, reward_threshold=0.0),
    )  # fmt: skip
    if distributed.is_main():
        answers = [sample.answer for sample in result.samples]
        torch.save({"weights": recognizer.model.state_dict(), "answers": answers}, out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
