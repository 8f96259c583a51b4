"""A language model of codec tokens that speaks: phones and a voice in, EnCodec codes out.

One causal transformer goes over the frames. A step's input is the sum of the embeddings of the codes before it, of the
phone that is spoken now with its neighbours, of how long it has lasted, of the voice, and of how noisy the recording
is. Codebook k is k steps late (the delay pattern of MusicGen, Copet et al., arXiv 2306.05284):

    step     0   1   2   3   4          L = T + K − 1 steps
    book 0   a0  a1  a2  a3
    book 1       b0  b1  b2  b3

A step's outputs are the codes of all books, and whether the next frame begins the next phone (Zeghidour et al., arXiv
2509.08753, ask for the next word so). Durations are the model's own, then, and no phone is skipped or said twice.

Letters in shapes: B rows of a batch, K codebooks, T frames, L steps, S input streams, P phones, D width, C codes.
"""

import base64
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
import xxhash
from torch import nn

from soundraft import files, runtime
from soundraft.models.base import LogProbs, ModelError, by_clip
from soundraft.models.checkpoints import described

FORMAT = "soundraft-codec-lm"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
CONTEXT = (-1, 0, 1, 2)  # the phones that a frame is shown, from the one that it belongs to
LONGEST = 48  # frames of one phone
NOISES = 3  # of a recording: none, at least `AUDIBLE_DB`, below
AUDIBLE_DB = 15.0
ROWS = 128  # that are sampled at once
BLOCK = 32  # steps, after which rows that have ended are left out


CARD = """---
library_name: soundraft
pipeline_tag: text-to-speech
---

# A model that speaks

Text and voice in, {config.codebooks} codebooks of the codec `{config.codec[checkpoint]}` out; trained by soundraft.
{parameters:,} parameters: {config.layers} layers of width {config.hidden_size}.

Units, from {config.script}: `{config.units}`

Voices: {config.voices}

    soundraft speak "TEXT" --model THIS_FOLDER --voice {config.voices[0]} -o out.wav
"""


@dataclass(frozen=True, eq=False, repr=False)
class Speech(Hashable):
    """What the model answers: codes, and how they are divided among the phones of their prompt.

    Attributes:
        codes: int16 `[K, T]`.
        durations: int16 `[P]`, frames of each phone, at least 1; their sum is T.
        noise: which of `NOISES` a recording has, or the model was asked for.
        text: what a recording says; of what the model says it is the prompt's.
    """

    codes: np.ndarray
    durations: np.ndarray
    noise: int = 0
    text: str = ""

    @cached_property
    def _key(self) -> str:
        parts = (self.codes.astype("<i2").tobytes(), self.durations.astype("<i2").tobytes())
        return xxhash.xxh3_128_hexdigest(b"".join(parts) + repr((self.codes.shape, self.noise, self.text)).encode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Speech) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:  # caches are named by it
        return f"Speech({self._key})"

    @property
    def frames(self) -> int:
        return int(self.codes.shape[1])

    def to_json(self) -> dict[str, Any]:
        codes = base64.b64encode(np.ascontiguousarray(self.codes, "<i2").tobytes()).decode()
        durations = self.durations.tolist()
        return {"codes": codes, "durations": durations, "noise": self.noise, "text": self.text}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Speech":
        durations = np.array(value["durations"], np.int16)
        codes = np.frombuffer(base64.b64decode(value["codes"]), "<i2").astype(np.int16)
        return cls(codes.reshape(-1, int(durations.sum())), durations, value["noise"], value["text"])


def noise_of(snr_db: float | None) -> int:
    """Which of `NOISES` a recording has."""
    return 0 if snr_db is None else 1 if snr_db >= AUDIBLE_DB else 2


def durations_of(starts: Sequence[float], frames: int) -> np.ndarray:
    """Frames of each phone `[P]`, given where each begins, in frames; at least one each.

    Raises:
        ModelError: when there are fewer frames than phones.
    """
    phones = len(starts)
    if not phones or frames < phones:
        raise ModelError(f"{frames} frames for {phones} phones")
    # a phone begins at least one frame after the one before it, and leaves a frame for each one behind it
    rising = np.maximum.accumulate(np.rint(starts) - np.arange(phones)) + np.arange(phones)
    bounds = np.minimum(rising, frames - phones + np.arange(phones)).clip(np.arange(phones))
    bounds[0] = 0
    return np.diff([*bounds, frames]).astype(np.int16)


@dataclass(frozen=True)
class Config:
    """The shape of a network, and what it knows.

    Attributes:
        units: the phones, or the letters, in the order of their numbers, which count from 1.
        voices: by name, in the order of their numbers.
        script: where units come from: espeak (its phones, which depend on the voice) or letters.
        codec: of whose codes it is: `checkpoint`, `revision` and a hash of its weights.
        temperature: of the codes when it speaks.
        examples: of each voice the units of a few texts that it has learned, for what the voice sounds like.
        noise: which of `NOISES` it speaks with: the least that it has learned.
    """

    codebooks: int
    hidden_size: int
    layers: int
    attention_heads: int
    units: tuple[str, ...]
    voices: tuple[str, ...]
    script: str
    codec: Mapping[str, str] = field(default_factory=lambda: {"checkpoint": "", "revision": "", "weights": ""})
    temperature: float = 0.8
    code_count: int = 1024
    examples: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    noise: int = 0

    # what `models.tuning` asks of a network of transformers
    is_encoder_decoder: ClassVar[bool] = False
    model_type: ClassVar[str] = "codec_lm"

    @property
    def sizes(self) -> list[int]:
        """How many values each of the input streams has, `[S]`: codes, phones, time in the phone, voice, noise."""
        units = len(self.units) + 1  # 0: there is none
        return [
            *[self.code_count + 1] * self.codebooks, *[units] * len(CONTEXT), LONGEST + 1, len(self.voices), NOISES
        ]  # fmt: skip


class Cache:
    """Keys and values of the steps so far, `[layers, B, heads, L, D / heads]` each; it grows by doubling."""

    def __init__(self, config: Config, rows: int, device: torch.device) -> None:
        shape = (config.layers, rows, config.attention_heads, BLOCK, config.hidden_size // config.attention_heads)
        self.kept = torch.zeros((2, *shape), device=device)
        self.steps = 0

    def make_room(self, steps: int) -> None:
        while self.steps + steps > self.kept.shape[4]:
            self.kept = torch.cat([self.kept, torch.zeros_like(self.kept)], dim=4)

    def add(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        end = self.steps + keys.shape[2]
        for place, new in enumerate((keys, values)):
            self.kept[place, layer, :, :, self.steps : end] = new
        return self.kept[0, layer, :, :, :end], self.kept[1, layer, :, :, :end]

    def keep(self, rows: torch.Tensor) -> None:
        if len(rows) < self.kept.shape[2]:
            self.kept = self.kept[:, :, rows]


class Block(nn.Module):
    """Attention with rotary positions (Su et al., arXiv 2104.09864), then two fully connected layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.attention_heads
        self.attention_norm, self.norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention_in, self.attention_out = (nn.Linear(width, size, bias=False) for size in (3 * width, width))
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, hidden: torch.Tensor, turns: torch.Tensor, layer: int, cache: Cache | None) -> torch.Tensor:
        """`[B, L, D]` → `[B, L, D]`; `turns` are the cosines and sines of these steps, `[2, L, D / heads]`."""
        parts = self.attention_in(self.attention_norm(hidden)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = _turned(parts[0], turns), _turned(parts[1], turns), parts[2]
        if cache is not None:
            keys, values = cache.add(layer, keys, values)
        if cache is None:
            heard = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        else:  # of one step; on a CPU that function takes 1.4 to 1.7 × as long for it
            weights = (queries @ keys.transpose(2, 3) / queries.shape[-1] ** 0.5).softmax(dim=-1)
            heard = weights @ values
        hidden = hidden + self.attention_out(heard.transpose(1, 2).flatten(2))
        return hidden + self.down(F.relu(self.up(self.norm(hidden))).square())


def _turned(vectors: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    first, second = vectors.chunk(2, dim=-1)
    return vectors * turns[0] + torch.cat([-second, first], dim=-1) * turns[1]


class Network(nn.Module):
    """Weights are drawn from torch's global seed."""

    supports_gradient_checkpointing = False

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.offsets: torch.Tensor
        self.register_buffer("offsets", torch.tensor([0, *np.cumsum(config.sizes)[:-1].tolist()]), persistent=False)
        self.streams = nn.Embedding(sum(config.sizes), config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.codebooks * config.code_count + 1, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=0.02)
            if name.endswith(("attention_out.weight", "down.weight")):
                nn.init.zeros_(weight)

    def forward(self, steps: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        """Input streams `[B, L, S]` → `[B, L, D]`, which the head makes codes of."""
        rows, length, streams = steps.shape
        flat = (steps + self.offsets).view(rows * length, streams)
        hidden = F.embedding_bag(flat, self.streams.weight, mode="sum").view(rows, length, -1)
        first = 0
        if cache is not None:
            cache.make_room(length)
            first = cache.steps
        turns = _turns(first, length, self.config.hidden_size // self.config.attention_heads).to(hidden.device)
        for place, layer in enumerate(self.layers):
            hidden = layer(hidden, turns, place, cache)
        if cache is not None:
            cache.steps += length
        return self.norm(hidden)

    def codes(self, hidden: torch.Tensor, book: int) -> torch.Tensor:
        """Logits of a codebook, `[…, D]` → `[…, C]`."""
        size = self.config.code_count
        return F.linear(hidden, self.lm_head.weight[book * size : (book + 1) * size])

    def advance(self, hidden: torch.Tensor) -> torch.Tensor:
        """The logit of the next phone's beginning, `[…, D]` → `[…]`."""
        return F.linear(hidden, self.lm_head.weight[-1:])[..., 0]


def _turns(first: int, steps: int, width: int) -> torch.Tensor:
    """`[2, L, width]` of the steps from `first`."""
    speeds = 10000.0 ** (-torch.arange(0, width, 2) / width)
    angles = torch.outer(torch.arange(first, first + steps), speeds).repeat(1, 2)
    return torch.stack([angles.cos(), angles.sin()])


class CodecLM:
    """The protocol `models.base.Model`. Its features are prompts, int64 `[1 + P]`: the voice, then the phones."""

    sample_rate_hz = 24000
    takes_masking = False

    def __init__(self, network: Network) -> None:
        self.device = runtime.device()
        self.model: Any = network.to(self.device)
        self.config = network.config
        self._unit_ids = {unit: number for number, unit in enumerate(self.config.units, start=1)}
        self._voice_ids = {voice: number for number, voice in enumerate(self.config.voices)}

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        raise ModelError("the prompts of a model that speaks are made of texts, not of audio")

    def features_depend_on(self) -> dict[str, Any]:
        return {"codec": dict(self.config.codec), "codebooks": self.config.codebooks}

    def prompt(self, units: Sequence[str], voice: str) -> torch.Tensor:
        """Int64 `[1 + P]`.

        Raises:
            ModelError: when the model has not learned the voice, or one of the units.
        """
        if voice not in self._voice_ids:
            raise ModelError(f"the voice {voice!r} was not learned")
        unknown = sorted({unit for unit in units if unit not in self._unit_ids})
        if unknown:
            what = "phones" if self.config.script == "espeak" else "letters"
            raise ModelError(f"{what} that were not learned: {' '.join(unknown)}")
        return torch.tensor([self._voice_ids[voice], *(self._unit_ids[unit] for unit in units)])

    def voice_of(self, prompt: torch.Tensor) -> str:
        return self.config.voices[int(prompt[0])]

    def encode(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return list(features)

    def best(self, encoded: Sequence[torch.Tensor]) -> list[Speech]:
        """One utterance each, at the model's temperature, always the same one."""
        seeds = [runtime.derive_seed("best", xxhash.xxh3_64_hexdigest(prompt.numpy().data)) for prompt in encoded]
        drawn = self.sample(encoded, 1, temperature=self.config.temperature, seeds=seeds)
        return [speech for (speech,) in drawn]

    def sample(
        self, encoded: Sequence[torch.Tensor], count: int, *, temperature: float, seeds: Sequence[int]
    ) -> list[list[Speech]]:
        rows = [
            (prompt, runtime.derive_seed(seed, number))
            for prompt, seed in zip(encoded, seeds, strict=True)
            for number in range(count)
        ]
        order = sorted(range(len(rows)), key=lambda row: len(rows[row][0]))  # what ends together is drawn together
        found: dict[int, Speech] = {}
        for start in range(0, len(rows), ROWS):
            part = order[start : start + ROWS]
            drawn = Sampler(self.model, [rows[row] for row in part], temperature).run()
            found |= zip(part, drawn, strict=True)
        return [[found[clip * count + number] for number in range(count)] for clip in range(len(encoded))]

    def can_learn(self, answer: Any) -> bool:
        return (
            isinstance(answer, Speech)
            and answer.codes.shape[0] == self.config.codebooks
            and answer.frames == int(answer.durations.sum()) > 0
        )

    def loss(self, features: Sequence[torch.Tensor], answers: Sequence[Sequence[Speech]]) -> list[LogProbs]:
        """Of codes and of the phones' beginnings; both are tokens."""
        rows = [(prompt, answer) for prompt, group in zip(features, answers, strict=True) for answer in group]
        for _, answer in rows:
            if not self.can_learn(answer):
                raise ModelError(f"{answer!r} is no speech of {self.config.codebooks} codebooks")
        frames = torch.tensor([answer.frames for _, answer in rows])
        books, most = self.config.codebooks, int(frames.max())
        steps = torch.zeros((len(rows), most + books - 1, len(self.config.sizes)), dtype=torch.long)
        for row, (prompt, answer) in enumerate(rows):
            own = streams_of(prompt.numpy(), answer, self.config.code_count)
            steps[row, : len(own)] = torch.from_numpy(own)
        hidden = self.model(steps.to(self.device))
        real = torch.arange(most)[None, :] < frames[:, None]
        total = -F.binary_cross_entropy_with_logits(
            self.model.advance(hidden[:, :most])[real.to(self.device)],
            torch.from_numpy(np.concatenate([_advances(answer) for _, answer in rows])).to(self.device),
            reduction="none",
        )
        for book in range(books):
            wanted = torch.from_numpy(np.concatenate([answer.codes[book] for _, answer in rows]).astype(np.int64))
            logits = self.model.codes(hidden[:, book : book + most][real.to(self.device)], book)
            total = total - F.cross_entropy(logits, wanted.to(self.device), reduction="none")
        log_probs = torch.stack([part.sum() for part in total.cpu().split(frames.tolist())])
        tokens = (books + 1) * frames
        return by_clip(LogProbs(log_probs, tokens, torch.ones_like(tokens, dtype=torch.bool)), answers)

    def save(self, folder: Path) -> None:
        """config.json, model.safetensors and README.md, a card, as the hub has them."""
        from safetensors.torch import save

        weights = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        files.write_bytes(folder / WEIGHTS, save(weights, {"format": "pt"}))
        files.write_json(folder / CONFIG, {"format": FORMAT, "model_type": Config.model_type, **asdict(self.config)})
        parameters = sum(weight.numel() for weight in weights.values())
        files.write_text(folder / "README.md", CARD.format(config=self.config, parameters=parameters))


def streams_of(prompt: np.ndarray, answer: Speech, code_count: int) -> np.ndarray:
    """What the network is shown of a prompt `[1 + P]` and its answer, int64 `[L, S]`."""
    books, frames = answer.codes.shape
    steps = np.empty((frames + books - 1, books + len(CONTEXT) + 3), np.int64)
    steps[:, :books] = code_count  # there is none yet, or no more
    for book in range(books):
        steps[book + 1 : book + frames + 1, book] = answer.codes[book, : len(steps) - book - 1]
    padded = np.pad(prompt[1:], (-CONTEXT[0], CONTEXT[-1]))
    places = np.repeat(np.arange(len(answer.durations)), answer.durations)
    since = np.concatenate([np.arange(count) for count in answer.durations])
    late = (0, books - 1)  # while the last books end, the last frame stays
    places, since = np.pad(places, late, mode="edge"), np.pad(since, late, mode="edge")
    for column, offset in enumerate(CONTEXT, start=books):
        steps[:, column] = padded[places + offset - CONTEXT[0]]
    steps[:, -3] = np.minimum(since, LONGEST)
    steps[:, -2], steps[:, -1] = prompt[0], answer.noise
    return steps


def _advances(answer: Speech) -> np.ndarray:
    """Whether the next frame begins another phone, or there is no next frame, `[T]`."""
    ends = np.zeros(answer.frames, np.float32)
    ends[np.cumsum(answer.durations) - 1] = 1
    return ends


class Sampler:
    """Draws one utterance for each prompt, all at once.

    A row's numbers come from its own seed: what else is drawn with it changes no code, but for the rounding of sums.
    """

    def __init__(self, network: Network, rows: Sequence[tuple[torch.Tensor, int]], temperature: float) -> None:
        self.network, self.config, self.temperature = network, network.config, temperature
        self.prompts = [prompt for prompt, _ in rows]
        self.generators = [torch.Generator().manual_seed(seed) for _, seed in rows]
        self.phones = torch.tensor([len(prompt) - 1 for prompt in self.prompts])
        self.padded = torch.zeros((len(rows), int(self.phones.max()) + CONTEXT[-1] - CONTEXT[0]), dtype=torch.long)
        for row, prompt in enumerate(self.prompts):
            self.padded[row, -CONTEXT[0] : len(prompt) - 1 - CONTEXT[0]] = prompt[1:]
        self.voices = torch.stack([prompt[0] for prompt in self.prompts])

    @torch.inference_mode()
    def run(self) -> list[Speech]:
        rows, books = len(self.prompts), self.config.codebooks
        device = next(self.network.parameters()).device
        cache = Cache(self.config, rows, device)
        alive = torch.arange(rows)
        place, since = torch.zeros(rows, dtype=torch.long), torch.zeros(rows, dtype=torch.long)
        late = torch.zeros(rows, dtype=torch.long)  # steps since the last phone has ended, for the late books
        before = torch.full((rows, books), self.config.code_count)
        codes: list[list[torch.Tensor]] = [[] for _ in range(rows)]
        places: list[list[torch.Tensor]] = [[] for _ in range(rows)]
        while len(alive):
            numbers = torch.stack([torch.rand((BLOCK, books + 1), generator=self.generators[row]) for row in alive])
            drawn, where = [], []
            for step in range(BLOCK):
                steps = self._inputs(alive, before, place, since)
                hidden = self.network(steps.to(device)[:, None], cache)[:, 0]
                speaks = place < self.phones[alive]
                late = torch.where(speaks, late, late + 1)
                before = self._codes(hidden, numbers[:, step, :books].to(device)).cpu()
                # of a late book the first frame is still to come, of an early one the last frame has been
                none = (torch.arange(books) >= cache.steps) | (torch.arange(books) < late[:, None])
                before = before.masked_fill(none, self.config.code_count)
                drawn.append(before)
                where.append(torch.where(speaks, place, -1))
                ends = self.network.advance(hidden).sigmoid().cpu() > numbers[:, step, books]
                ends = speaks & (ends | (since >= LONGEST - 1))
                place = place + ends.long()
                goes_on = place < self.phones[alive]
                since = torch.where(goes_on & ends, 0, since + (goes_on & ~ends).long())
            for index, row in enumerate(alive.tolist()):
                codes[row].append(torch.stack([each[index] for each in drawn]))
                places[row].append(torch.stack([each[index] for each in where]))
            kept = ((place < self.phones[alive]) | (late < books - 1)).nonzero()[:, 0]
            alive, place, since, late, before = alive[kept], place[kept], since[kept], late[kept], before[kept]
            cache.keep(kept.to(device))
        return [self._speech(torch.cat(codes[row]), torch.cat(places[row]), row) for row in range(rows)]

    def _inputs(
        self, alive: torch.Tensor, before: torch.Tensor, place: torch.Tensor, since: torch.Tensor
    ) -> torch.Tensor:
        """`[B, S]`"""
        now = torch.minimum(place, self.phones[alive] - 1)
        around = [self.padded[alive, now + offset - CONTEXT[0]] for offset in CONTEXT]
        rest = [since.clamp(max=LONGEST), self.voices[alive], torch.full_like(place, self.config.noise)]
        return torch.cat([before, torch.stack([*around, *rest], dim=1)], dim=1)

    def _codes(self, hidden: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """`[B, K]`, each where the cumulative probability passes its number."""
        logits = F.linear(hidden, self.network.lm_head.weight[:-1]).view(*numbers.shape, -1)
        sums = torch.softmax(logits / self.temperature, dim=-1).cumsum(-1)
        found = torch.searchsorted(sums, (numbers * sums[..., -1])[..., None], right=True)[..., 0]
        return found.clamp(max=self.config.code_count - 1)

    def _speech(self, codes: torch.Tensor, places: torch.Tensor, row: int) -> Speech:
        """Codes `[L, K]` and the phone of each step `[L]`, -1 after the end."""
        spoken = places[places >= 0]
        frames = len(spoken)
        even = torch.stack([codes[book : book + frames, book] for book in range(self.config.codebooks)])
        durations = torch.bincount(spoken, minlength=int(self.phones[row]))
        return Speech(even.numpy().astype(np.int16), durations.numpy().astype(np.int16), self.config.noise)


def is_codec_lm(folder: Path) -> bool:
    """Whether `CodecLM.save` wrote this folder."""
    return described(folder).get("format") == FORMAT


def load_codec_lm(folder: Path) -> CodecLM:
    """The model in a folder; ModelError when it is not one, or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not is_codec_lm(folder):
        raise ModelError(f"{folder} holds no model that speaks: no {CONFIG} of ours")
    try:
        found = {"noise": 0} | files.read_json(folder / CONFIG)  # earlier ones do not say it
        known = {each.name: found[each.name] for each in fields(Config)}
        config = Config(**known | {"units": tuple(found["units"]), "voices": tuple(found["voices"])})
        network = Network(config)
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder} is damaged: {str(error).partition(chr(10))[0]}") from error
    network.eval()
    return CodecLM(network)
