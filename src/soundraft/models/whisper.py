"""Whisper: an encoder over 30 s windows and a decoder that writes text."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from soundraft.models.base import (
    BROKEN,
    LogProbs,
    ModelError,
    Recognizer,
    Span,
    by_clip,
    rows_of_clips,
    spans_of_words,
)  # fmt: skip
from soundraft.params.sections import Fallback
from soundraft.runtime import derive_seed

GENERATED_ROWS = 32
MEDIAN_FRAMES = 7  # of the attention
NO_TOKEN = -1  # fills up the rows of shorter texts
# written without spaces (openai/whisper `tokenizer.py`, `split_to_word_tokens`), so none stands in front either
SPACELESS = ("zh", "ja", "th", "lo", "my", "yue")


@dataclass(frozen=True)
class Part:
    """Rows of a batch that belong to one clip and draw from one generator."""

    clip: int
    rows: int
    seed: int


class SeededNoise:
    """A logits processor that makes the greedy choice a random one: the Gumbel-max trick.

    The token with the highest log p / temperature + g, with g from Gumbel's distribution, is a draw from the softmax
    (Maddison et al., arXiv 1411.0030). g of a row comes from its clip's generator, so neighbours do not matter.
    """

    def __init__(self, parts: Sequence[Part], temperature: float, device: torch.device) -> None:
        self._rows = [part.rows for part in parts]
        self._generators = [torch.Generator(device).manual_seed(part.seed) for part in parts]
        self._temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        waits = torch.empty_like(scores, dtype=torch.float32)
        for rows, generator in zip(waits.split(self._rows), self._generators, strict=True):
            rows.exponential_(generator=generator)
        return scores.float() / self._temperature - waits.log()  # −log of an exponential is Gumbel's


class WhisperAdapter(Recognizer):
    """Adapter for `WhisperForConditionalGeneration`; it transcribes one language, without timestamps.

    Whisper was trained on texts that begin with a space, and writes them so. The texts given and taken here have none;
    it is put in front of what is scored, which thus has the tokens that were drawn. The language (a code such as `en`)
    is kept in the generation config when the model is saved.

    Raises:
        ModelError: when a multilingual model has no language yet, or lacks the one given.
    """

    def __init__(self, model: Any, processor: Any, language: str | None = None) -> None:
        super().__init__(model, processor)
        self.window_s = float(self.extractor.chunk_length)
        self.prompt = _set_prompt(model.generation_config, language)
        self.language: str = getattr(model.generation_config, "language", None) or "en"  # models of one know English
        self.lead = "" if self.language in SPACELESS else " "
        config, most = model.generation_config, model.config.max_target_positions
        # the prompt does not count (`WhisperGenerationMixin._set_max_new_tokens_and_length`)
        self._longest = min(most, len(self.prompt) + (config.max_new_tokens or config.max_length or most))
        times = range(self.prompt[-1] + 1, model.config.vocab_size)  # a drawn one would begin another segment
        always = [*(config.suppress_tokens or ()), *times]
        self._silenced = self._silence(always)
        self._silenced_first = self._silence([*always, *(config.begin_suppress_tokens or ())])

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        """Mono `[N]` → log-mel `[T, F]` of one window, padded; ModelError when the clip is longer."""
        seconds, window_s = len(samples) / self.sample_rate_hz, self.extractor.chunk_length
        if seconds > window_s:
            raise ModelError(f"clip of {seconds:.1f} s; this model's window is {window_s} s")
        values = self.extractor(samples, sampling_rate=self.sample_rate_hz, return_tensors="pt")
        return values["input_features"][0].T.contiguous()

    def encode(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        with torch.inference_mode():
            return self._hidden(features)

    def best(self, encoded: torch.Tensor) -> list[str]:
        return self.read(self.write(encoded))

    def best_with_fallback(self, encoded: torch.Tensor, options: Fallback) -> list[str]:
        """The greedy text of each window; a doubtful one is drawn again at rising temperatures, seeded by them.

        As openai/whisper has it (`transcribe.py`, `decode_with_fallback`): the last draw stands when all are doubtful.
        """
        written = self.write(encoded)
        doubtful = list(range(len(written)))
        for temperature in options.temperatures:
            doubtful = [row for row in doubtful if self._is_doubtful(encoded[row : row + 1], written[row], options)]
            for row in doubtful:
                noise = SeededNoise([Part(row, 1, derive_seed("fallback", temperature))], temperature, self.device)
                (written[row],) = self.write(encoded[row : row + 1], noise)
        return self.read(written)

    def sample(self, encoded: torch.Tensor, count: int, *, temperature: float, seeds: Sequence[int]) -> list[list[str]]:
        """As the protocol says; texts of several clips are written at once, `GENERATED_ROWS` at most.

        Each clip draws from generators of its own: one for every `GENERATED_ROWS` of its texts.
        """
        parts = [
            Part(clip, min(GENERATED_ROWS, count - start), derive_seed(seed, start))
            for clip, seed in enumerate(seeds)
            for start in range(0, count, GENERATED_ROWS)
        ]
        texts: list[list[str]] = [[] for _ in seeds]
        for group in _in_groups(parts):
            clips = [part.clip for part in group for _ in range(part.rows)]
            noise = SeededNoise(group, temperature, self.device)
            for clip, text in zip(clips, self.read(self.write(encoded[clips], noise)), strict=True):
                texts[clip].append(text)
        return texts

    def can_learn(self, answer: str) -> bool:
        return self._obstacle(answer, self._text_tokens(answer)) is None

    def loss(self, features: Sequence[torch.Tensor], answers: Sequence[Sequence[str]]) -> list[LogProbs]:
        """As the protocol says; the token that ends a text counts with it, the prompt is given."""
        labels = [self._tokens(text) for group in answers for text in group]
        hidden = self._hidden(features).index_select(0, rows_of_clips(answers).to(self.device))
        log_probs, tokens = self.log_probs(hidden, labels)
        return by_clip(LogProbs(log_probs, tokens, torch.ones_like(tokens, dtype=torch.bool)), answers)

    def log_probs(self, encoded: torch.Tensor, labels: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """For each row `[R, T, D]` the logarithm of the probability of its tokens, and how many they are, `[R]`."""
        prompt = torch.tensor(self.prompt)
        rows = [torch.tensor(label) for label in labels]
        sequence = torch.nn.utils.rnn.pad_sequence
        inputs = sequence([torch.cat([prompt, row[:-1]]) for row in rows], batch_first=True).to(self.device)
        targets = sequence(rows, batch_first=True, padding_value=NO_TOKEN).to(self.device)
        logits = self.model(encoder_outputs=(encoded,), decoder_input_ids=inputs, use_cache=False).logits
        each = torch.log_softmax(logits[:, len(prompt) - 1 :].float(), dim=-1)
        real = targets != NO_TOKEN
        chosen = each.gather(2, targets.clamp(min=0)[..., None])[..., 0]
        return (chosen * real).sum(1), real.sum(1)

    def write(self, encoded: torch.Tensor, noise: SeededNoise | None = None) -> list[list[int]]:
        """The tokens of each row's text, without prompt and end; the likeliest, or drawn by the noise.

        What `generate` of transformers does for one answer a row, without what it does beside it at each token: a third
        less time.
        """
        end = self.tokenizer.eos_token_id
        rows = next_tokens = torch.tensor([self.prompt], device=self.device).expand(len(encoded), -1)
        ended, cache = torch.zeros(len(encoded), dtype=torch.bool, device=self.device), None
        with torch.inference_mode():
            while rows.shape[1] < self._longest and not ended.all():
                found = self.model(
                    encoder_outputs=(encoded,), decoder_input_ids=next_tokens, past_key_values=cache, use_cache=True
                )
                scores = found.logits[:, -1].float() + (self._silenced if cache else self._silenced_first)
                cache = found.past_key_values
                chosen = (noise(rows, scores) if noise else scores).argmax(1).masked_fill(ended, end)
                ended |= chosen == end
                next_tokens = chosen[:, None]
                rows = torch.cat([rows, next_tokens], dim=1)
        special = set(self.tokenizer.all_special_ids)
        written = rows[:, len(self.prompt) :].tolist()
        return [[token for token in row if token not in special] for row in written]

    def word_times(self, encoded: torch.Tensor, texts: Sequence[str], durations_s: Sequence[float]) -> list[list[Span]]:
        """By where the decoder attends to while it writes the text."""
        found: list[list[Span]] = []
        for hidden, text, duration_s in zip(encoded, texts, durations_s, strict=True):
            tokens = self._text_tokens(text)[: self._most_tokens]
            if not tokens:
                found.append([])
                continue
            read = [self.tokenizer.decode(tokens[: count + 1]) for count in range(len(tokens))]
            begins_s = self._begins_s(hidden, tokens, duration_s)
            found.append(spans_of_words(text, read, begins_s[:-1], begins_s[1:]))
        return found

    def _begins_s(self, hidden: torch.Tensor, tokens: Sequence[int], duration_s: float) -> list[float]:
        """Where each token begins, seconds, and then where the text ends.

        As in openai/whisper (`timing.py`, `find_alignment`), after the cross-attention of the heads that are known to
        follow the sound, else of those of the upper half of the decoder.
        """
        from scipy.ndimage import median_filter

        frame_s = float(self.window_s or 0.0) / len(hidden)
        frames = min(len(hidden), max(1, round(duration_s / frame_s)))
        weights = self._attention(hidden, tokens)[:, len(self.prompt) - 1 :, :frames].softmax(-1)
        std, mean = torch.std_mean(weights, dim=1, keepdim=True, correction=0)
        standard = ((weights - mean) / std.clamp(min=1e-9)).numpy()
        smooth = median_filter(standard, size=(1, 1, MEDIAN_FRAMES), mode="mirror")
        return [float(frame * frame_s) for frame in entries(-smooth.mean(0))]

    def _attention(self, hidden: torch.Tensor, tokens: Sequence[int]) -> torch.Tensor:
        """Logits of the cross-attention of some heads over the frames `[T, D]`: `[heads, prompt + tokens, T]`."""
        layers = self.model.get_decoder().layers
        count = layers[0].encoder_attn.num_heads
        upper = [(layer, head) for layer in range(len(layers) // 2, len(layers)) for head in range(count)]
        heads = getattr(self.model.generation_config, "alignment_heads", None) or upper
        queries: dict[int, torch.Tensor] = {}
        hooks = [
            layers[layer].encoder_attn.q_proj.register_forward_hook(
                lambda _, __, made, layer=layer: queries.__setitem__(layer, made)
            )
            for layer in {layer for layer, _ in heads}
        ]
        inputs = torch.tensor([[*self.prompt, *tokens]], device=self.device)
        try:
            with torch.inference_mode():
                self.model(encoder_outputs=(hidden[None],), decoder_input_ids=inputs, use_cache=False)
                found = [
                    self._of_head(layers[layer].encoder_attn, head, queries[layer], hidden) for layer, head in heads
                ]
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack(found).float().cpu()

    @staticmethod
    def _of_head(attention: Any, head: int, query: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        own = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
        return query[0, :, own] @ attention.k_proj(hidden)[:, own].T * attention.scaling

    def read(self, rows: Sequence[Sequence[int]]) -> list[str]:
        return [text.strip() for text in self.tokenizer.batch_decode(rows, skip_special_tokens=True)]

    def _silence(self, tokens: Sequence[int]) -> torch.Tensor:
        """What is added to scores `[B, V]` so that these tokens are never chosen, `[V]`."""
        found = torch.zeros(self.model.config.vocab_size, device=self.device)
        found[list(tokens)] = -torch.inf
        return found

    def _hidden(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        inputs = torch.stack(list(features)).transpose(1, 2)  # [B, F, T], the layout of Whisper's convolutions
        return self.model.get_encoder()(inputs.to(self.device)).last_hidden_state

    def _tokens(self, text: str) -> list[int]:
        tokens = self._text_tokens(text)
        obstacle = self._obstacle(text, tokens)
        if obstacle:
            raise ModelError(obstacle)
        return [*tokens, self.tokenizer.eos_token_id]

    @property
    def _most_tokens(self) -> int:
        return int(self.model.config.max_target_positions) - len(self.prompt)

    def _text_tokens(self, text: str) -> list[int]:
        stripped = text.strip()
        tokens: list[int] = self.tokenizer(self.lead + stripped, add_special_tokens=False).input_ids if stripped else []
        return tokens

    def _obstacle(self, text: str, tokens: Sequence[int]) -> str | None:
        if len(tokens) > self._most_tokens:
            return f"text of {len(tokens)} tokens; this model takes {self._most_tokens}: {text[:60]!r}"
        if BROKEN in text:  # its tokens are not those that were drawn
            return f"text with {BROKEN}, which stands for bytes that are no character: {text[:60]!r}"
        return None

    def _is_doubtful(self, encoded: torch.Tensor, tokens: list[int], options: Fallback) -> bool:
        """Whether the text of one window `[1, T, D]` repeats itself, or is unlikely."""
        (text,) = self.read([tokens])
        if compression_ratio(text) > options.compression_ratio_threshold:
            return True
        with torch.inference_mode():
            total, count = self.log_probs(encoded, [[*tokens, self.tokenizer.eos_token_id]])
        return float(total / count) < options.logprob_threshold


def shorten(model: Any, extractor: Any, window_s: int) -> None:
    """Give a Whisper and its feature extractor a shorter window, whole seconds, which they keep when they are saved.

    The encoder's positions are a fixed sinusoid, of which the first ones remain. Less silence behind a clip gives other
    states, so transcripts may change, for better or worse.

    Raises:
        ModelError: for a window longer than the model's own.
    """
    own_s = extractor.chunk_length
    if window_s > own_s:
        raise ModelError(
            f"model.window_s is {window_s}, but this model's window is {own_s} s: a shorter one is possible"
        )
    encoder = model.get_encoder()
    positions = encoder.config.max_source_positions * window_s // own_s
    kept = encoder.embed_positions.weight.data[:positions].clone()
    encoder.embed_positions = torch.nn.Embedding.from_pretrained(kept)
    model.config.max_source_positions = encoder.max_source_positions = positions
    longest = model.generation_config.max_length or model.config.max_target_positions
    model.generation_config.max_length = -(-longest * window_s // own_s)  # as many tokens a second as it may write
    extractor.chunk_length = window_s
    extractor.n_samples = window_s * extractor.sampling_rate
    extractor.nb_max_frames = extractor.n_samples // extractor.hop_length


def entries(costs: np.ndarray) -> list[int]:
    """Where the cheapest path over `[R, C]`, from corner to corner by steps down, right or both, enters each row.

    This is dynamic time warping. Along a row the least cost to a column is that of entering at some column before,
    which differences of sums give for all columns at once.
    """
    sums = np.cumsum(costs, axis=1)
    least = [sums[0]]
    for row in range(1, len(costs)):
        entered = np.minimum(least[-1], np.append(np.inf, least[-1][:-1]))
        least.append(sums[row] + np.minimum.accumulate(entered - sums[row] + costs[row]))
    found, column = [0] * len(costs), costs.shape[1] - 1
    for row in range(len(costs) - 1, 0, -1):
        above = np.append(np.inf, least[row - 1])  # at `column` the neighbour on the left of the one above
        while column and least[row][column - 1] <= min(above[column], above[column + 1]):
            column -= 1
        found[row] = column
        column -= bool(above[column] <= above[column + 1])
    return found


def compression_ratio(text: str) -> float:
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def _in_groups(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """The parts in their order, in groups of at most `GENERATED_ROWS` rows."""
    group: list[Part] = []
    for part in parts:
        if group and sum(other.rows for other in group) + part.rows > GENERATED_ROWS:
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def _set_prompt(config: Any, language: str | None) -> list[int]:
    """Fix language and task in a generation config; the tokens that every transcript then begins with."""
    multilingual = getattr(config, "is_multilingual", False)
    needed = ["decoder_start_token_id", "no_timestamps_token_id", *(["lang_to_id", "task_to_id"] * multilingual)]
    lost = [name for name in needed if getattr(config, name, None) is None]
    if lost:
        raise ModelError(f"its generation_config.json lacks {lost[0]}: take that of the checkpoint it was tuned from")
    prompt = [config.decoder_start_token_id]
    if multilingual:
        config.language = language or getattr(config, "language", None)
        token = config.lang_to_id.get(f"<|{config.language}|>")
        if token is None:
            known = " ".join(sorted(name.strip("<|>") for name in config.lang_to_id))
            raise ModelError(
                f"a multilingual Whisper needs its language (model.language in the params, or --language): "
                f"got {config.language!r}; there are: {known}"
            )
        config.task = "transcribe"
        prompt += [token, config.task_to_id[config.task]]
    return [*prompt, config.no_timestamps_token_id]
