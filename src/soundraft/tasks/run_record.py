"""`run.json`: what a run was made of. A run goes on in its folder only with the same model, data and numbers."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soundraft import distributed, files
from soundraft.models import Recognizer
from soundraft.runtime import UserError

RECORD = "run.json"
VERSION = 1
_MAY_DIFFER = ("notes", "params.train.cycles")  # a run may be made longer, or read again with fewer cycles


def weights_digest(recognizer: Recognizer) -> str:
    """A hash of a model's weights, wherever they were loaded from."""
    digest = hashlib.sha256()
    for name, weights in sorted(recognizer.model.state_dict().items()):
        digest.update(f"{name}{tuple(weights.shape)}{weights.dtype}".encode())
        digest.update(weights.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def start(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a new run, or compare it with the one that is there.

    Raises:
        UserError: when the folder holds another run, or something else; every difference is named.
    """
    check_goes_on(folder, record)
    distributed.wait_for_everyone()  # the others must have looked before there is something new to see
    if distributed.is_main():
        files.write_json(folder / RECORD, {"version": VERSION, **record})
    distributed.wait_for_everyone()


def check_goes_on(folder: Path, record: Mapping[str, Any]) -> None:
    """Raise UserError when the folder holds another run, or something else."""
    path = folder / RECORD
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is there and holds no run of ours ({RECORD}): name a new or an empty folder")
        return
    earlier = files.read_json(path)
    if earlier.get("version") != VERSION:
        raise UserError(f"{path}: version {earlier.get('version')}; this is version {VERSION}: name another folder")
    before, now = _flat(earlier), _flat({"version": VERSION, **record})
    different = [
        key
        for key in sorted(before.keys() | now.keys())
        if not key.startswith(_MAY_DIFFER) and before.get(key) != now.get(key)
    ]
    if different:
        told = "; ".join(f"{key} was {_brief(before.get(key))}, is {_brief(now.get(key))}" for key in different)
        raise UserError(f"{folder} holds another run: {told}. Name another folder, or remove this one")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{prefix}.{key}" if prefix else key)
    return found


def _brief(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
