"""A classifier on disk: `config.json` and `model.safetensors`; beside them what a pretrained encoder needs."""

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

from soundraft import files
from soundraft.models.base import ModelError
from soundraft.models.classifier import AudioClassifier, build
from soundraft.models.side_inputs import SideInput, to_json

FORMAT = "soundraft-audio-classifier"
VERSION = 1
CONFIG, WEIGHTS, PRETRAINED = "config.json", "model.safetensors", "pretrained"
KEYS = {
    "format", "version", "labels", "target", "features", "encoder", "side", "channel", "channels", "length_limit_s",
    "level_db",
    "temperature",
}  # fmt: skip


def save(classifier: AudioClassifier, folder: Path) -> None:
    """Write everything that `load_classifier` needs; no network is asked when it is read."""
    from safetensors.torch import save as to_bytes

    config = {
        "format": FORMAT,
        "version": VERSION,
        "labels": classifier.labels,
        "target": classifier.target,
        **classifier.settings,
        "side": to_json(classifier.side),
        "channel": classifier.channel,
        "length_limit_s": classifier.length_limit_s,
        "level_db": classifier.level_db,
        "temperature": classifier.temperature,
    }
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(classifier.front, "save"):
        classifier.front.save(folder / PRETRAINED)
    weights = {name: value.detach().cpu().contiguous() for name, value in classifier.model.state_dict().items()}
    files.write_bytes(folder / WEIGHTS, to_bytes(weights))
    files.write_json(folder / CONFIG, config)


def load_classifier(folder: Path) -> AudioClassifier:
    """Read what `save` wrote.

    Raises:
        ModelError: when a file is missing, was written by another version, or does not fit the others.
    """
    config = _config(folder)
    try:
        classifier = build(
            config["labels"],
            features=config["features"],
            encoder=config["encoder"],
            side=[SideInput(**item) for item in config["side"]],
            channel=config["channel"],
            channels=config["channels"],
            length_limit_s=config["length_limit_s"],
            level_db=config["level_db"],
            target=config["target"],
            configuration=folder / PRETRAINED if (folder / PRETRAINED).is_dir() else None,
        )
    except TypeError as error:  # an unknown or missing field of a settings class
        raise ModelError(f"{folder / CONFIG}: {error}") from error
    classifier.temperature = config["temperature"]
    _load_weights(classifier, folder / WEIGHTS)
    return classifier


def is_classifier(folder: Path) -> bool:
    """Whether `save` wrote this folder."""
    try:
        return json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise ModelError(f"no classifier in {folder}: it has no {CONFIG}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelError(f"{path} is not of an audio classifier of soundraft")
    if config.get("version") != VERSION:
        raise ModelError(f"{path}: version is {config.get('version')!r}; this program reads {VERSION}")
    if config.keys() != KEYS:
        odd = sorted(config.keys() ^ KEYS)
        raise ModelError(f"{path}: {odd[0]} is {'unknown' if odd[0] in config else 'missing'}")
    kinds = {
        "labels": list, "target": str, "features": dict, "encoder": dict, "side": list, "channel": str, "channels": int
    }  # fmt: skip
    wrong = [key for key, kind in kinds.items() if not isinstance(config[key], kind)]
    wrong += [key for key, least in (("length_limit_s", 0.0), ("temperature", 1e-6)) if not _from(least, config[key])]
    if config["level_db"] is not None and not _from(-200.0, config["level_db"]):
        wrong.append("level_db")
    known = {field.name for field in fields(SideInput)}
    if not wrong and not all(isinstance(item, dict) and item.keys() == known for item in config["side"]):
        wrong = ["side"]
    if wrong:
        raise ModelError(f"{path}: {wrong[0]} cannot be {config[wrong[0]]!r}")
    return config


def _from(least: float, value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= least


def _load_weights(classifier: AudioClassifier, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file():
        raise ModelError(f"no weights: {path} is missing")
    try:
        weights = load(path.read_bytes())
    except SafetensorError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    wanted = {name: tuple(value.shape) for name, value in classifier.model.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in weights.items()}
    odd = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
    if odd:
        raise ModelError(f"{path}: {odd[0]} has shape {got.get(odd[0])}; {CONFIG} asks for {wanted.get(odd[0])}")
    classifier.model.load_state_dict(weights)
