"""Checkpoints of transformers: where they are, what they are, and one line for each way in which they are damaged."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from soundraft import runtime
from soundraft.models.base import ModelError

CONFIG = "config.json"
CLASSIFIER = "soundraft-audio-classifier"  # the format of our own classifiers
PRECISION = torch.float32
RUN = "run.json"  # of a run's folder, which holds several models
# learned with the model's own masks alone; checkpoints that were tuned without them lack it
_NOT_NEEDED = ("masked_spec_embed",)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def place_of(checkpoint: str | Path) -> str:
    """A folder with a model (relative to the main repository), or a hub id.

    A name is a hub id only where it has the form owner/name, and no folder of the owner's name is here.

    Raises:
        ModelError: when there is no such folder, or something else is in it.
    """
    name, place = str(checkpoint), Path(checkpoint).expanduser()
    folder = place if place.exists() else runtime.main_root() / place
    if not folder.exists():
        if isinstance(checkpoint, Path) or not _HUB_ID.fullmatch(name) or folder.parent.is_dir():
            raise ModelError(f"no such folder: {name} (a model of the hub is named owner/name)")
        return name
    if not folder.is_dir():
        raise ModelError(f"{folder} is a file: name the folder of a model")
    if (folder / RUN).is_file():
        made = sorted(folder.glob("cycles/[0-9][0-9]")) or [folder / "start"]
        raise ModelError(f"{folder} is a run with several models: name one, such as {made[-1]}")
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder} is no model: it has no {CONFIG}")
    if is_classifier(folder):
        raise ModelError(
            f"{folder} is a classifier of ours, whose answers are labels: name a checkpoint of transformers"
        )
    return str(folder)


def described(folder: Path) -> dict[str, Any]:
    """What the config.json of a folder holds; nothing where there is none."""
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_classifier(folder: Path) -> bool:
    """Whether `AudioClassifier.save` wrote this folder."""
    return described(folder).get("format") == CLASSIFIER


def config_of(name: str, revision: str | None = None) -> Any:
    """The configuration of a checkpoint."""
    from transformers import AutoConfig, logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    with loading(name):
        return AutoConfig.from_pretrained(name, revision=revision)


def architectures(name: str) -> list[str]:
    """The classes of transformers that a folder's or a hub id's configuration names; of another folder none."""
    folder = Path(place_of(name))
    found = described(folder).get("architectures") if folder.is_dir() else config_of(name).architectures
    return found or []


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Whatever transformers, safetensors or the hub raise inside becomes one line."""
    try:
        yield
    except Exception as error:
        cause = str(error).strip().partition("\n")[0]  # what follows guesses at connections and tokens
        cause = cause or type(error).__name__
        raise ModelError(f"cannot load {name!r} (a local folder or a hub id): {cause}") from error


def load_model(loader: Any, name: str, config: Any, revision: str | None = None, *, weights: bool = True) -> Any:
    """A model in `PRECISION`, whatever that of its files is: features are float32, and so is all training.

    Args:
        loader: a class of transformers, such as `AutoModelForCTC`.
        config: of the checkpoint.
        weights: else random ones, in place of which others will be loaded.

    Raises:
        ModelError: when it cannot be loaded, or lacks weights.
    """
    with loading(name):
        if not weights:
            return loader.from_config(config, dtype=PRECISION)
        model, found = loader.from_pretrained(name, revision=revision, dtype=PRECISION, output_loading_info=True)
    check_is_whole(name, config, found["missing_keys"])
    return model


def check_is_whole(name: str, config: Any, missing: Collection[str]) -> None:
    """Raise ModelError for weights that the files lack: transformers fills them with random numbers."""
    lost = sorted(key for key in missing if not key.endswith(_NOT_NEEDED))
    if lost:
        kind = ", ".join(config.architectures or ["model of an unknown kind"])
        raise ModelError(
            f"{name} is a {kind}: it lacks {len(lost)} of the weights needed here, such as {lost[0]}; "
            "name a checkpoint that was trained for this task"
        )
