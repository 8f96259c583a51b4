"""Codes to sound, for speaking: many clips at once, or a wave for each block of codes as it comes.

Either gives what `Codec.decode` gives for the whole clip, to within rounding. EnCodec's decoder is causal: a
convolution, an LSTM, and convolutions that widen frames into samples. In a stream the LSTM's state is kept from block
to block, and convolutions get the frames again that they reach back to:

    frames     0 ───────────── 40
                           34 ─ 40 ─────────── 80      what comes of the frames before 40 is dropped

Letters: B clips, K codebooks, D latent dimensions, C channels, L samples, T frames, t frames of a block.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from encodec.modules import SConvTranspose1d, SEANetDecoder
from torch import nn

from soundraft.audio.codec import Codec, CodecError
from soundraft.audio.ecdc import SAMPLES_PER_FRAME

BATCH_CLIPS = 8  # fastest on one core, 2.7 × clips alone; with 64 slower than alone


@dataclass(frozen=True)
class Reach:
    """How the frames of a decoder depend on each other.

    Attributes:
        first_frames, other_frames: how far the first convolution and those behind the LSTM reach back.
        least_frames: with fewer, some layer has too little to reflect before its beginning, and looks at the end.
        ahead: whether samples depend on later frames.
    """

    first_frames: int
    other_frames: int
    least_frames: int
    ahead: bool


def reach_of(decoder: SEANetDecoder) -> Reach:
    per_frame, frames, least = 1, [], 1  # values of the signal per frame; what each convolution adds, in frames
    for conv in decoder.modules():
        if isinstance(conv, nn.ConvTranspose1d):
            frames.append((conv.kernel_size[0] - 1) // conv.stride[0] / per_frame)
            per_frame *= conv.stride[0]
        elif isinstance(conv, nn.Conv1d):
            before = (conv.kernel_size[0] - 1) * conv.dilation[0]
            frames.append(before / per_frame)
            least = max(least, math.ceil((before + 1) / per_frame))
    ahead = any(layer.trim_right_ratio < 1 for layer in decoder.modules() if isinstance(layer, SConvTranspose1d))
    return Reach(math.ceil(frames[0]), math.ceil(sum(frames[1:])), least, ahead)


def decode_batch(codec: Codec, codes: Sequence[np.ndarray], *, batch_clips: int = BATCH_CLIPS) -> list[np.ndarray]:
    """Samples float32 `[320 · T]` of each `[K, T]`, with the same K in all.

    What fills up a shorter clip comes after it, and the decoder looks ahead only where a clip has fewer frames than it
    reflects: those, and all clips of a decoder that always looks ahead, are decoded one by one.

    Args:
        batch_clips: how many clips of similar length are decoded at once.
    """
    reach = reach_of(codec.model.decoder)
    order = sorted(range(len(codes)), key=lambda place: codes[place].shape[1])
    together = [place for place in order if codes[place].shape[1] >= reach.least_frames and not reach.ahead]
    waves = {place: codec.decode(codes[place]) for place in order if place not in set(together)}
    for start in range(0, len(together), batch_clips):
        places = together[start : start + batch_clips]
        waves |= zip(places, _decoded(codec, [codes[place] for place in places]), strict=True)
    return [waves[place] for place in range(len(codes))]


@torch.inference_mode()
def _decoded(codec: Codec, codes: Sequence[np.ndarray]) -> list[np.ndarray]:
    lengths = [one.shape[1] for one in codes]
    filled = np.stack(
        [np.pad(one, ((0, 0), (0, max(lengths) - length))) for one, length in zip(codes, lengths, strict=True)]
    )
    waves = codec.model.decode([(_on_device(codec, filled), None)])[:, 0].cpu().numpy()  # [B, L]
    return [wave[: length * SAMPLES_PER_FRAME] for wave, length in zip(waves, lengths, strict=True)]


def stream(codec: Codec, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Samples float32 `[320 · t]` of each block of codes `[K, t]`, as soon as it is there.

    The first wave waits until there are the frames that the decoder reflects before the beginning: 7 in EnCodec.

    Raises:
        CodecError: when the decoder looks ahead.
    """
    if reach_of(codec.model.decoder).ahead:
        raise CodecError("a codec with trim_right_ratio below 1 looks ahead: it cannot decode codes as they come")
    latents = (codec.model.quantizer.decode(_on_device(codec, block)[:, None]) for block in blocks)
    return (wave.cpu().numpy() for wave in _streamed(codec.model.decoder, latents))


def _streamed(decoder: SEANetDecoder, blocks: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Waves `[320 · t]` of latents `[1, D, t]`."""
    layers: Any = decoder.model
    first, lstm, others = layers[0], layers[1], layers[2:]
    reach = reach_of(decoder)
    latents = hidden = state = None
    for block in _joined(blocks, reach.least_frames):
        count = block.shape[2]
        latents = _with(latents, reach.first_frames, block)
        made = first(latents)[..., -count:].permute(2, 0, 1)  # [t, 1, C]
        remembered, state = lstm.lstm(made, state)
        made = (remembered + made if lstm.skip else remembered).permute(1, 2, 0)  # [1, C, t]
        hidden = _with(hidden, reach.other_frames, made)
        yield others(hidden)[0, 0, -count * SAMPLES_PER_FRAME :]


def _with(before: torch.Tensor | None, reach: int, new: torch.Tensor) -> torch.Tensor:
    """New frames `[1, C, t]` behind the last `reach` of those before them."""
    return new if before is None else torch.cat([before[..., -reach:], new], dim=2)


def _joined(blocks: Iterable[torch.Tensor], least_frames: int) -> Iterator[torch.Tensor]:
    """The blocks but empty ones; the first ones are joined until they have `least_frames`."""
    waiting: list[torch.Tensor] = []
    for block in blocks:
        if block.shape[2] == 0:
            continue
        waiting.append(block)
        if least_frames <= sum(part.shape[2] for part in waiting):
            yield torch.cat(waiting, dim=2)
            waiting, least_frames = [], 1
    if waiting:
        yield torch.cat(waiting, dim=2)


def _on_device(codec: Codec, codes: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(codes).to(next(codec.model.parameters()).device)
