"""Random and best paths through the frames of a CTC model, many at a time.

Letters in shapes: B clips of a batch, K paths of a clip, T frames, V vocabulary, R paths.
"""

from collections.abc import Sequence

import numpy as np
import torch


def draw(
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


def best(log_probs: torch.Tensor, lengths: torch.Tensor, *, blank: int) -> np.ndarray:
    """The most likely path of each clip, `[B, T]`; past a clip's end it is blank."""
    paths = log_probs.argmax(-1)
    return paths.masked_fill(torch.arange(paths.shape[1]) >= lengths[:, None], blank).numpy()


def collapse(paths: np.ndarray, blank: int) -> list[tuple[int, ...]]:
    """CTC's rule for each of the paths `[R, T]`: merge repeats, then drop blanks. `a a _ a b b` → `a a b`."""
    kept = paths != blank
    kept[:, 1:] &= paths[:, 1:] != paths[:, :-1]
    tokens = paths[kept].tolist()
    ends = np.cumsum(kept.sum(1)).tolist()
    return [tuple(tokens[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
