"""Recognisers trained with connectionist temporal classification: wav2vec2, HuBERT, WavLM, Parakeet, Lasr, …

Letters in shapes: B clips of a batch, K paths of a clip, R paths, T frames, V vocabulary.
"""

import json
import math
import tempfile
import warnings
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from soundraft.models.base import (
    LogProbs,
    ModelError,
    Recognizer,
    Span,
    alike,
    by_clip,
    length_mask,
    pad,
    rows_of_clips,
    spans_of_words,
)
from soundraft.models.checkpoints import CONFIG
from soundraft.params.sections import ScratchModel

# transformers names the same thing, "frames out for frames in", differently per family
_OUTPUT_LENGTHS = {
    "wav2vec2": "_get_feat_extract_output_lengths",
    "wav2vec2-bert": "_get_feat_extract_output_lengths",
    "hubert": "_get_feat_extract_output_lengths",
    "wavlm": "_get_feat_extract_output_lengths",
    "parakeet_ctc": "_get_subsampling_output_length",
    "lasr_ctc": "_get_subsampling_output_length",
}
CTC_MODEL_TYPES = tuple(_OUTPUT_LENGTHS)

ENOUGH_S = 1.0  # a clip this long is never too short
ONSET_S = 0.04  # a letter is known a little after it began
TAIL_S = 0.12  # and the last one sounds on


@dataclass(frozen=True)
class Frames:
    """Log-probabilities `[B, T, V]` on the CPU, and how many of the T frames are real, `[B]`."""

    log_probs: torch.Tensor
    lengths: torch.Tensor


class CTCAdapter(Recognizer):
    takes_masking = True

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        _check_blank(model.config, self.tokenizer)
        self.blank_id: int = model.config.pad_token_id
        # models that normalise over all frames of a clip, or were trained without a mask, take clips of one length
        over_frames = getattr(model.config, "feat_extract_norm", "") == "group"
        self._takes_padding = not over_frames and getattr(self.extractor, "return_attention_mask", True)
        encoder = model if hasattr(model, _OUTPUT_LENGTHS[model.config.model_type]) else model.encoder
        self._output_lengths: Callable = getattr(encoder, _OUTPUT_LENGTHS[model.config.model_type])
        self.spelling = Spelling(self.tokenizer, self.blank_id)

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        """As the protocol says; of models of raw waves the samples, `[N]`. ModelError when there is no frame."""
        if len(samples) < self.least_samples:
            got_ms, least_ms = (1000 * count / self.sample_rate_hz for count in (len(samples), self.least_samples))
            raise ModelError(f"clip of {got_ms:.1f} ms; this model takes {least_ms:.1f} ms or more")
        return self._features(samples)

    @cached_property
    def least_samples(self) -> int:
        """The shortest clip that gives a frame, found by halving: every family's extractor counts in its own way."""
        return 1 + bisect_left(range(1, round(ENOUGH_S * self.sample_rate_hz)), True, key=self._gives_a_frame)

    def _gives_a_frame(self, count: int) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of means over nothing
                features = self._features(np.sin(np.arange(count, dtype=np.float32)))
        except (RuntimeError, ValueError):  # what extractors raise when not even their first window fits
            return False
        frames = int(self._output_lengths(torch.tensor([len(features)])))
        # Parakeet's extractor divides by the frames less one, and gives NaN for one frame
        return frames >= 1 and bool(features.isfinite().all())

    def _features(self, samples: np.ndarray) -> torch.Tensor:
        values = self.extractor(
            samples, sampling_rate=self.sample_rate_hz, return_attention_mask=True, return_tensors="pt"
        )
        features = values[self.model.main_input_name][0]
        return features[: int(values["attention_mask"][0].sum())].clone()

    def encode(self, features: Sequence[torch.Tensor]) -> Frames:
        with torch.inference_mode():
            log_probs, lengths = self._log_probs(features)
        return Frames(log_probs.cpu(), lengths.cpu())

    def best(self, encoded: Frames) -> list[str]:
        return self._texts(best_paths(encoded.log_probs, encoded.lengths, blank=self.blank_id))

    def sample(self, encoded: Frames, count: int, *, temperature: float, seeds: Sequence[int]) -> list[list[str]]:
        paths = draw_paths(
            encoded.log_probs, encoded.lengths, count, temperature=temperature, seeds=seeds, blank=self.blank_id
        )
        texts = self._texts(paths.reshape(-1, paths.shape[-1]))
        return [texts[start : start + count] for start in range(0, len(texts), count)]

    def beam(self, encoded: Frames, *, width: int, tokens_per_frame: int) -> list[str]:
        """The best text of each clip by prefix beam search."""
        limits = {"blank": self.blank_id, "width": width, "tokens_per_frame": tokens_per_frame}
        clips = zip(encoded.log_probs.numpy(), encoded.lengths.tolist(), strict=True)
        return [self.spelling.text(search(log_probs[:length], **limits)[0][0]) for log_probs, length in clips]

    def word_times(self, encoded: Frames, texts: Sequence[str], durations_s: Sequence[float]) -> list[list[Span]]:
        """By the frames of the best path through the text; ModelError as `spans`."""
        found = []
        for log_probs, frames, text, duration_s in zip(
            encoded.log_probs, encoded.lengths.tolist(), texts, durations_s, strict=True
        ):
            tokens = self.spelling.tokens(text)
            read = [self.spelling.text(tuple(tokens[: count + 1])) for count in range(len(tokens))]
            found.append(spans_of_words(text, read, *self.spans(log_probs[:frames], tokens, duration_s)))
        return found

    def spans(
        self, log_probs: torch.Tensor, tokens: Sequence[int], duration_s: float
    ) -> tuple[list[float], list[float]]:
        """Where each token begins and ends, seconds, by the best path `[T, V]` through them (`forced_align`).

        Raises:
            ModelError: when there are fewer frames than tokens.
        """
        from torchaudio.functional import forced_align, merge_tokens

        if not tokens:
            return [], []
        try:
            path, scores = forced_align(log_probs[None], torch.tensor([tokens], dtype=torch.int32), blank=self.blank_id)
        except RuntimeError as error:
            raise ModelError(f"{duration_s:.1f} s are too short for {len(tokens)} tokens") from error
        spans = merge_tokens(path[0], scores[0], blank=self.blank_id)
        frame_s = duration_s / len(log_probs)
        begins_s = [max(0.0, span.start * frame_s - ONSET_S) for span in spans]
        return begins_s, [min(duration_s, span.end * frame_s + TAIL_S) for span in spans]

    def can_learn(self, answer: str) -> bool:
        return self.spelling.can_spell(answer)

    def loss(self, features: Sequence[torch.Tensor], answers: Sequence[Sequence[str]]) -> list[LogProbs]:
        """As the protocol says. A text too long for its clip has no alignment: it is marked as not possible."""
        log_probs, lengths = self._log_probs(features)
        labels = [self.spelling.tokens(text) for group in answers for text in group]
        sizes = torch.tensor([len(label) for label in labels])
        rows = rows_of_clips(answers)
        frames = log_probs.cpu().transpose(0, 1)  # [T, B, V]; the CUDA kernel is not deterministic
        if any(len(group) != 1 for group in answers):
            frames = frames.index_select(1, rows)
        real_frames = lengths.cpu()[rows]
        losses = F.ctc_loss(
            frames,
            torch.tensor([token for label in labels for token in label], dtype=torch.long),
            real_frames,
            sizes,
            blank=self.blank_id,
            reduction="none",
            zero_infinity=True,
        )
        # an alignment needs a frame for each token, and a blank between two that are the same
        least = [len(label) + sum(one == other for one, other in pairwise(label)) for label in labels]
        possible = torch.tensor(least) <= real_frames
        return by_clip(LogProbs(-losses, sizes.clamp(min=1), possible), answers)

    def _log_probs(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """`[B, T, V]` with gradient, and the real frames `[B]`."""
        if self._takes_padding:
            return self._run(features)
        rows: dict[int, torch.Tensor] = {}
        for indices in alike(features):
            log_probs, lengths = self._run([features[index] for index in indices])
            rows |= zip(indices, log_probs[:, : int(lengths[0])], strict=True)
        return pad([rows[index] for index in range(len(features))])

    def _run(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        padded, lengths = pad(features)
        inputs = {self.model.main_input_name: padded.to(self.device)}
        if self._takes_padding:
            inputs["attention_mask"] = length_mask(lengths, padded.shape[1]).to(self.device)
        logits = self.model(**inputs).logits
        return torch.log_softmax(logits.float(), dim=-1), self._output_lengths(lengths).clamp(max=logits.shape[1])

    def _texts(self, paths: np.ndarray) -> list[str]:
        return [self.spelling.text(tokens) for tokens in collapse(paths, self.blank_id)]


def _check_blank(config: Any, tokenizer: Any) -> None:
    """Raise ModelError where network and tokenizer disagree on the blank."""
    blank, written = config.pad_token_id, tokenizer.pad_token_id
    if blank is None or blank != written:
        raise ModelError(f"the blank is token {blank} in its {CONFIG} (pad_token_id), but {written} in its tokenizer")
    if blank >= config.vocab_size:
        raise ModelError(f"the blank is token {blank}, but its head has {config.vocab_size} outputs")


# Random and best paths through the frames, many at a time.


def draw_paths(
    log_probs: torch.Tensor, lengths: torch.Tensor, count: int, *, temperature: float, seeds: Sequence[int], blank: int
) -> np.ndarray:
    """K independent paths of each clip, `[B, K, T]`; past a clip's end they are blank.

    Each frame's token is drawn by inversion with the frame's most likely token in front: a uniform number below that
    token's probability decides at once, and only the few others are searched in the cumulative sum of the rest.

    Args:
        log_probs: `[B, T, V]` on the CPU.
        lengths: real frames, `[B]`.
        seeds: one a clip; a clip's paths depend on nothing else of its batch.
    """
    highest, top = log_probs.max(-1)  # [B, T]
    weights = torch.exp((log_probs - highest[..., None]) / temperature)  # that of `top` is 1
    total = weights.sum(-1, dtype=torch.float64)
    uniform = torch.zeros((*top.shape, count), dtype=torch.float64)  # 0, past the end, takes `top`
    generator = torch.Generator()
    for row, length, seed in zip(uniform, lengths.tolist(), seeds, strict=True):
        torch.rand((length, count), generator=generator.manual_seed(seed), dtype=torch.float64, out=row[:length])
    beyond_top = uniform * total[..., None] - 1.0  # [B, T, K]
    top = top.masked_fill(torch.arange(top.shape[1]) >= lengths[:, None], blank)
    paths = top[..., None].expand(-1, -1, count).to(torch.int32)
    open_frames = (beyond_top >= 0).any(-1).nonzero(as_tuple=True)
    if len(open_frames[0]):
        paths = paths.contiguous()
        beyond = beyond_top[open_frames]  # [frames, K]
        rest = weights[open_frames].double()
        rest.scatter_(1, top[open_frames][:, None], 0.0)
        sums = rest.cumsum(-1)
        # rounding must not carry a number past the last token that has a probability
        inside = torch.minimum(beyond.clamp(min=0.0), torch.nextafter(sums[:, -1:], sums.new_zeros(1)))
        found = torch.searchsorted(sums, inside, right=True).to(torch.int32)
        paths[open_frames] = torch.where(beyond >= 0, found, paths[open_frames])
    return paths.transpose(1, 2).contiguous().numpy()


def best_paths(log_probs: torch.Tensor, lengths: torch.Tensor, *, blank: int) -> np.ndarray:
    """The most likely path of each clip, `[B, T]`; blank past its end."""
    paths = log_probs.argmax(-1)
    return paths.masked_fill(torch.arange(paths.shape[1]) >= lengths[:, None], blank).numpy()


def collapse(paths: np.ndarray, blank: int) -> list[tuple[int, ...]]:
    """CTC's rule for each of the paths `[R, T]`: merge repeats, then drop blanks. `a a _ a b b` → `a a b`."""
    kept = paths != blank
    kept[:, 1:] &= paths[:, 1:] != paths[:, :-1]
    tokens = paths[kept].tolist()
    ends = np.cumsum(kept.sum(1)).tolist()
    return [tuple(tokens[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


# Between tokens and text.


REMEMBERED_TEXTS = 1 << 16


class Spelling:
    """Writes texts in tokens and reads collapsed paths, as the model's tokenizer does.

    Tokenizers of characters only split and join, which is done here 50 and 20 times faster.
    """

    def __init__(self, tokenizer: Any, blank_id: int) -> None:
        from transformers import Wav2Vec2CTCTokenizer

        self.tokenizer = tokenizer
        self.blank_id = blank_id
        self.silent = {tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
        self._vocabulary = tokenizer.get_vocab()
        self._letters = {token: id_ for token, id_ in self._vocabulary.items() if len(token) == 1 and token.isalpha()}
        self.upper = bool(self._letters) and all(letter == letter.upper() for letter in self._letters)
        read: Callable = self._read
        write: Callable = self._tokenize
        if isinstance(tokenizer, Wav2Vec2CTCTokenizer):
            self._prepare_characters()
            read, write = self._join, self._split
        self.text: Callable[[tuple[int, ...]], str] = lru_cache(REMEMBERED_TEXTS)(read)
        self._ids: Callable[[str], tuple[int, ...]] = lru_cache(REMEMBERED_TEXTS)(write)

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text, in the letter case that the vocabulary has.

        Raises:
            ModelError: when it lacks a character; learning `<unk>` for it would spoil the model.
        """
        if not self.can_spell(text):
            raise ModelError(
                f"the model's vocabulary cannot spell {self._cased(text)!r}; reward.normalizer: basic may help"
            )
        return list(self._ids(self._cased(text)))

    def can_spell(self, text: str) -> bool:
        return self.tokenizer.unk_token_id not in self._ids(self._cased(text))

    def _cased(self, text: str) -> str:
        return text.upper() if self.upper else text

    def _tokenize(self, cased: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(cased, add_special_tokens=False).input_ids)

    def _split(self, cased: str) -> tuple[int, ...]:
        ids = [self._single.get(letter) for letter in cased]
        return self._tokenize(cased) if None in ids else tuple(ids)  # type: ignore[arg-type]

    def _read(self, tokens: tuple[int, ...]) -> str:
        # The tokenizer merges repeats once more: a blank between them keeps "three" from becoming "thre".
        # It drops the blanks itself, and only after merging; `skip_special_tokens` would drop them before.
        separated = [part for token in tokens if token not in self.silent for part in (token, self.blank_id)]
        return self.tokenizer.decode(separated).strip()

    def _join(self, tokens: tuple[int, ...]) -> str:
        text = "".join([self._pieces.get(token, "") for token in tokens]).strip()  # a head may have more than these
        if self.tokenizer.do_lower_case:
            text = text.lower()
        return self.tokenizer.clean_up_tokenization(text).strip() if self._cleans else text

    def _prepare_characters(self) -> None:
        """Letters that are one token wherever they stand, and what each token is in a text."""
        tokenizer = self.tokenizer
        self._cleans = bool(tokenizer.clean_up_tokenization_spaces)
        space, delimiter = tokenizer.replace_word_delimiter_char, tokenizer.word_delimiter_token_id
        pieces = {id_: token for token, id_ in self._vocabulary.items()} | {delimiter: space}
        self._pieces = pieces | dict.fromkeys({self.blank_id, tokenizer.pad_token_id, *self.silent}, "")
        self._single: dict[str, int] = {} if tokenizer.do_lower_case else self._letters | {space: delimiter}


# Prefix beam search through the frames: Hannun et al., arXiv 1408.2873, without a language model.


NOTHING = -math.inf
Prefix = tuple[int, ...]  # collapsed tokens


def search(log_probs: np.ndarray, *, blank: int, width: int, tokens_per_frame: int) -> list[tuple[Prefix, float]]:
    """The best `width` prefixes of the frames `[T, V]`, best first, by each frame's `tokens_per_frame` likeliest."""
    # prefix → log-probability of its paths that end in blank, and of those that end in its last token
    kept: dict[Prefix, tuple[float, float]] = {(): (0.0, NOTHING)}
    tried = np.sort(np.argsort(-log_probs, axis=-1, kind="stable")[:, :tokens_per_frame], axis=-1)
    for frame, tokens in zip(log_probs, tried.tolist(), strict=True):
        grown = _grow(kept, list(zip(tokens, frame[tokens].tolist(), strict=True)), blank)
        scores = {prefix: _add(*ends) for prefix, ends in grown.items()}
        kept = {prefix: grown[prefix] for prefix in sorted(grown, key=lambda each: (-scores[each], each))[:width]}
    scored = [(prefix, _add(*ends)) for prefix, ends in kept.items()]  # of each the natural logarithm
    return sorted(scored, key=lambda each: (-each[1], each[0]))


def _grow(
    kept: dict[Prefix, tuple[float, float]], tokens: list[tuple[int, float]], blank: int
) -> dict[Prefix, tuple[float, float]]:
    """One frame on: every prefix with every token, paths to the same prefix added up."""
    grown: dict[Prefix, tuple[float, float]] = {}

    def put(prefix: Prefix, ends_blank: float, ends_token: float) -> None:
        before = grown.get(prefix)
        grown[prefix] = (
            (ends_blank, ends_token) if before is None else (_add(before[0], ends_blank), _add(before[1], ends_token))
        )

    for prefix, (ends_blank, ends_token) in kept.items():
        both = _add(ends_blank, ends_token)
        last = prefix[-1] if prefix else blank
        for token, log_prob in tokens:
            if token == blank:
                put(prefix, both + log_prob, NOTHING)
            elif token == last:
                put(prefix, NOTHING, ends_token + log_prob)  # the same letter goes on
                if ends_blank != NOTHING:
                    put((*prefix, token), NOTHING, ends_blank + log_prob)  # after a blank it is a second one
            else:
                put((*prefix, token), NOTHING, both + log_prob)
    return grown


def _add(a: float, b: float) -> float:
    """log(eᵃ + eᵇ)."""
    high, low = (a, b) if a > b else (b, a)
    return high if low == NOTHING else high + math.log1p(math.exp(low - high))


# A small Conformer with a CTC head (the shape of Parakeet) that learns from scratch in minutes on a CPU.


BLANK, UNKNOWN, WORD_BREAK = "<pad>", "<unk>", "|"
CHARACTERS = "abcdefghijklmnopqrstuvwxyz'"


def build(options: ScratchModel) -> CTCAdapter:
    """A recogniser with random weights, from torch's global seed; it saves and loads through transformers."""
    import transformers as hub

    window = round(options.window_s * options.sample_rate_hz)
    extractor = hub.ParakeetFeatureExtractor(
        feature_size=options.mel_bins,
        sampling_rate=options.sample_rate_hz,
        hop_length=round(options.hop_s * options.sample_rate_hz),
        win_length=window,
        n_fft=1 << (window - 1).bit_length(),
    )
    tokenizer = character_tokenizer()
    encoder = hub.ParakeetEncoderConfig(
        hidden_size=options.hidden_size,
        num_hidden_layers=options.layers,
        num_attention_heads=options.attention_heads,
        intermediate_size=4 * options.hidden_size,
        subsampling_factor=options.subsampling,
        subsampling_conv_channels=options.hidden_size // 2,
        num_mel_bins=options.mel_bins,
        dropout=options.dropout,
        activation_dropout=options.dropout,
        attention_dropout=options.dropout,
        layerdrop=0.0,
    )
    blank = tokenizer.pad_token_id
    config = hub.ParakeetCTCConfig(vocab_size=len(tokenizer), pad_token_id=blank, encoder_config=encoder)
    config.learned_clip_s = 0.0  # nothing yet, and all of it will be known
    processor = hub.ParakeetProcessor(extractor, tokenizer, decoder_type="ctc")
    return CTCAdapter(hub.ParakeetForCTC(config), processor)


def character_tokenizer() -> Any:
    from transformers import Wav2Vec2CTCTokenizer

    tokens = [BLANK, UNKNOWN, WORD_BREAK, *CHARACTERS]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocab.json"
        vocabulary.write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
        return Wav2Vec2CTCTokenizer(
            str(vocabulary), bos_token=None, eos_token=None, pad_token=BLANK, unk_token=UNKNOWN,
            word_delimiter_token=WORD_BREAK,
        )  # fmt: skip
