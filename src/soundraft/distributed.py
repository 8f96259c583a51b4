"""Several processes as one: `accelerate launch` starts them, here they share work and gather results.

On one process, which is what runs without `accelerate launch`, everything here does nothing.
"""

import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from soundraft import files, runtime

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")


def is_main() -> bool:
    """Whether this process writes files and speaks to the tracker."""
    return rank() == 0


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def share(items: Sequence[Item]) -> Sequence[Item]:
    """This process's part: every `world_size`-th item."""
    return items[rank() :: world_size()]


def gather(items: list[Item]) -> list[Item]:
    """The items of all processes, on all of them; in the order of the ranks."""
    if world_size() == 1:
        return items
    from accelerate.utils import gather_object

    _state()
    return gather_object(items)


@contextmanager
def building(directory: Path) -> Iterator[Path]:
    """`files.building` for the main process, which alone writes; the others go on when it is done."""
    if is_main():
        with files.building(directory) as out:
            yield out
    else:
        yield directory
    wait_for_everyone()


def sum_gradients(parameters: Sequence["torch.nn.Parameter"]) -> None:
    """Replace each gradient by its sum over the processes; a missing one counts as zero."""
    if world_size() == 1:
        return
    import torch
    from accelerate.utils import reduce

    _state()
    for parameter in parameters:
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parameter.grad = reduce(gradient, reduction="sum")


def average_buffers(model: "torch.nn.Module") -> None:
    """Replace running statistics by their mean over the processes, so that all of them have one model."""
    if world_size() == 1:
        return
    from accelerate.utils import reduce

    _state()
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(reduce(buffer, reduction="mean"))


def wait_for_everyone() -> None:
    if world_size() > 1:
        _state().wait_for_everyone()


@functools.cache
def _state() -> Any:
    from accelerate import PartialState

    return PartialState(cpu=runtime.device_name() == "cpu")
