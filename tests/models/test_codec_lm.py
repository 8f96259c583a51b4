"""The model that speaks: its likelihood, its samples, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch

from soundraft import files
from soundraft.models.base import ModelError
from soundraft.models.codec_lm import (
    CONTEXT,
    LONGEST,
    Cache,
    CodecLM,
    Config,
    Network,
    Speech,
    durations_of,
    load_codec_lm,
    noise_of,
    streams_of,
)

CODES = 12
UNITS = ("a", "b", "c", "d")


def tiny(books: int = 3, **changes: int) -> CodecLM:
    torch.manual_seed(0)
    sizes = {"codebooks": books, "hidden_size": 32, "layers": 2, "attention_heads": 2, "code_count": CODES} | changes
    model = CodecLM(Network(Config(units=UNITS, voices=("ann", "bob"), script="letters", **sizes)))  # type: ignore[arg-type]
    with torch.no_grad():  # the last layers of a new block are zero: then positions would not count
        for name, weight in model.model.named_parameters():
            weight.add_(torch.randn(weight.shape) * 0.1) if "norm" not in name else None
    return model


def speech_of(prompt: torch.Tensor, *, seed: int, books: int = 3) -> Speech:
    """Each phone has its own code in each book, and lasts 2 to 4 frames."""
    durations = np.random.default_rng(seed).integers(2, 5, len(prompt) - 1).astype(np.int16)
    phones = np.repeat(prompt[1:].numpy(), durations)
    voice = int(prompt[0])
    return Speech(np.stack([(phones + book + 5 * voice) % CODES for book in range(books)]).astype(np.int16), durations)


def prompts(model: CodecLM, count: int) -> list[torch.Tensor]:
    rng = np.random.default_rng(7)
    return [
        model.prompt(rng.choice(UNITS, rng.integers(3, 8)).tolist(), str(rng.choice(["ann", "bob"])))
        for _ in range(count)
    ]


def test_log_probability_is_that_of_every_code_and_of_every_step_to_another_phone() -> None:
    model = tiny()
    given = prompts(model, 3)
    answers = [[speech_of(prompt, seed=2 * n), speech_of(prompt, seed=2 * n + 1)] for n, prompt in enumerate(given)]
    found = model.loss(given, answers)
    for prompt, group, scores in zip(given, answers, found, strict=True):
        for place, answer in enumerate(group):
            steps = torch.from_numpy(streams_of(prompt.numpy(), answer, CODES))[None]
            hidden, total = model.model(steps)[0], 0.0
            ends = set(np.cumsum(answer.durations) - 1)
            for frame in range(answer.frames):
                for book in range(3):
                    logits = model.model.lm_head.weight[book * CODES : (book + 1) * CODES] @ hidden[frame + book]
                    total += float(torch.log_softmax(logits, 0)[answer.codes[book, frame]].detach())
                advance = torch.sigmoid(model.model.lm_head.weight[-1] @ hidden[frame])
                total += float(torch.log(advance if frame in ends else 1 - advance).detach())
            assert float(scores.log_probs[place].detach()) == pytest.approx(total, rel=1e-4)
            assert int(scores.tokens[place]) == 4 * answer.frames


def test_no_code_is_seen_by_the_step_that_must_guess_it() -> None:
    model = tiny()
    (prompt,) = prompts(model, 1)
    answer = speech_of(prompt, seed=0)
    other = Speech(answer.codes.copy(), answer.durations)
    other.codes[1, 5] = (other.codes[1, 5] + 1) % CODES
    hidden = [
        model.model(torch.from_numpy(streams_of(prompt.numpy(), each, CODES))[None])[0] for each in (answer, other)
    ]
    changed = (hidden[0] - hidden[1]).abs().amax(1) > 1e-6
    # book 1 is one step late: frame 5 is guessed at step 6, and seen from step 7 on
    assert changed.nonzero()[0].item() == 7


def test_the_cache_changes_nothing() -> None:
    model = tiny()
    (prompt,) = prompts(model, 1)
    steps = torch.from_numpy(streams_of(prompt.numpy(), speech_of(prompt, seed=0), CODES))[None]
    steps = steps.repeat(1, 8, 1)  # longer than a block of the cache
    with torch.inference_mode():
        cache = Cache(model.config, 1, torch.device("cpu"))
        alone = torch.cat([model.model(steps[:, place : place + 1], cache) for place in range(steps.shape[1])], 1)
        torch.testing.assert_close(alone, model.model(steps), rtol=1e-4, atol=1e-5)


def test_a_sample_depends_on_its_own_seed_and_on_nothing_else_of_its_batch() -> None:
    model = tiny()
    given = prompts(model, 5)
    together = model.sample(model.encode(given), 3, temperature=1.0, seeds=[10, 11, 12, 13, 14])
    alone = model.sample(model.encode(given[3:4]), 3, temperature=1.0, seeds=[13])
    assert together[3] == alone[0]
    assert len({answer for drawn in together for answer in drawn}) == 15
    assert model.sample(model.encode(given[3:4]), 3, temperature=1.0, seeds=[99])[0] != alone[0]
    for prompt, drawn in zip(given, together, strict=True):
        for answer in drawn:
            assert model.can_learn(answer)
            assert len(answer.durations) == len(prompt) - 1
            assert 1 <= answer.durations.min() <= answer.durations.max() <= LONGEST
            assert 0 <= answer.codes.min() <= answer.codes.max() < CODES


@pytest.mark.parametrize("noise", [0, 2])
def test_samples_follow_the_likelihood(noise: int) -> None:
    """What is drawn often is what the loss calls likely: of one frame, all outcomes are counted."""
    model = tiny(books=1, code_count=3, noise=noise)
    prompt = model.prompt(["a"], "ann")
    drawn = model.sample([prompt], 1000, temperature=1.0, seeds=[0])[0]
    assert {answer.noise for answer in drawn} == {noise}  # it learns its samples as it drew them
    short = [answer for answer in drawn if answer.frames == 1]
    for code in range(3):
        answer = Speech(np.array([[code]], np.int16), np.array([1], np.int16), noise)
        expected = float(model.loss([prompt], [[answer]])[0].log_probs[0].detach().exp())
        count = sum(int(each.codes[0, 0]) == code for each in short)
        assert count / 1000 == pytest.approx(expected, abs=4 * (expected / 1000) ** 0.5)


def test_it_learns_to_speak() -> None:
    model = CodecLM(Network(tiny().config))
    given = prompts(model, 64)
    answers = [speech_of(prompt, seed=n) for n, prompt in enumerate(given)]
    optimizer = torch.optim.AdamW(model.model.parameters(), lr=6e-3)
    for step in range(120):
        rows = [(step * 8 + n) % 64 for n in range(8)]
        losses = model.loss([given[row] for row in rows], [[answers[row]] for row in rows])
        optimizer.zero_grad()
        torch.stack([each.losses[0] for each in losses]).mean().backward()
        optimizer.step()
    model.model.eval()
    asked = prompts(model, 80)[64:]  # texts that it has not learned
    right: list[float] = []
    for prompt, answer in zip(asked, model.best(model.encode(asked)), strict=True):
        phones = np.repeat(prompt[1:].numpy(), answer.durations)
        wanted = np.stack([(phones + book + 5 * int(prompt[0])) % CODES for book in range(3)])
        right.append((answer.codes == wanted).mean())
        assert 2 <= np.mean(answer.durations) <= 4
    assert np.mean(right) > 0.9


def test_what_the_streams_show() -> None:
    prompt = torch.tensor([1, 2, 3, 4])
    answer = Speech(np.array([[5, 6, 7, 8], [1, 2, 3, 4]], np.int16), np.array([1, 2, 1], np.int16), noise=2)
    shown = streams_of(prompt.numpy(), answer, CODES)
    assert shown[:, 0].tolist() == [CODES, 5, 6, 7, 8]
    assert shown[:, 1].tolist() == [CODES, CODES, 1, 2, 3]
    assert {offset: shown[:, 2 + place].tolist() for place, offset in enumerate(CONTEXT)} == {
        -1: [0, 2, 2, 3, 3],
        0: [2, 3, 3, 4, 4],
        1: [3, 4, 4, 0, 0],
        2: [4, 0, 0, 0, 0],
    }
    assert shown[:, -3].tolist() == [0, 0, 1, 0, 0]
    assert set(shown[:, -2]) == {1}
    assert set(shown[:, -1]) == {2}


def test_durations_of_phones() -> None:
    assert durations_of([0.0, 2.4, 2.4, 7.9], 12).tolist() == [2, 1, 5, 4]
    assert durations_of([3.0, 5.0], 6).tolist() == [5, 1]  # what is before the first phone is the first phone's
    assert durations_of([0.0, 9.0, 9.0], 9).tolist() == [7, 1, 1]
    rng = np.random.default_rng(0)
    for _ in range(200):
        starts = np.sort(rng.uniform(0, 40, 12))
        found = durations_of(starts.tolist(), 40)
        assert found.sum() == 40
        assert found.min() >= 1
    with pytest.raises(ModelError, match="2 frames for 3 phones"):
        durations_of([0, 1, 2], 2)
    assert [noise_of(each) for each in (None, 20.0, 5.0)] == [0, 1, 2]


def test_answers_are_values() -> None:
    one = Speech(np.array([[1, 2]], np.int16), np.array([2], np.int16), text="on")
    again = Speech.from_json(one.to_json())
    assert one == again
    assert hash(one) == hash(again)
    assert repr(one) == repr(again)
    assert one not in {
        Speech(np.array([[1, 3]], np.int16), one.durations, text="on"),
        Speech(one.codes, np.array([1, 1], np.int16), text="on"),
        Speech(one.codes, one.durations, text="off"),
        Speech(one.codes, one.durations, noise=1, text="on"),
    }


def test_a_saved_model_is_the_same_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    model = tiny()
    model.save(tmp_path)
    again = load_codec_lm(tmp_path)
    given = prompts(model, 2)
    assert again.config == model.config
    assert again.best(given) == model.best(given)
    with pytest.raises(ModelError, match="'zoe' was not learned"):
        again.prompt(["a"], "zoe")
    with pytest.raises(ModelError, match="letters that were not learned: x z"):
        again.prompt(["a", "z", "x"], "ann")
    config = files.read_json(tmp_path / "config.json")
    files.write_json(tmp_path / "config.json", {key: value for key, value in config.items() if key != "noise"})
    assert load_codec_lm(tmp_path).config.noise == 0  # of before it was written
    files.write_json(tmp_path / "config.json", config | {"hidden_size": 64})
    with pytest.raises(ModelError, match="is damaged"):
        load_codec_lm(tmp_path)
    files.write_json(tmp_path / "config.json", {"format": "other"})
    with pytest.raises(ModelError, match="no model that speaks"):
        load_codec_lm(tmp_path)
