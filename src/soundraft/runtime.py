"""Seeds, device, memory, cache, files of the user's: what depends on the machine or must not."""

import errno
import hashlib
import importlib.util
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

CACHE_VARIABLE = "SOUNDRAFT_CACHE"
_MACHINE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}


class UserError(ValueError):
    """Something that the user can fix: the message names it, and there is no stack trace."""


class BadClip(ValueError):
    """This clip cannot be used; the message is the reason that goes into quarantine.jsonl."""


def is_machine_fault(error: BaseException) -> bool:
    """Whether the machine failed, not the file at hand: a full or read-only disk, too many open files."""
    return isinstance(error, OSError) and error.errno in _MACHINE_ERRNOS


def listed(name: str, values: Any) -> list[Any]:
    """Several values that the user gives; UserError for one text, which Python would take letter by letter, and for
    what is no list."""
    if isinstance(values, str):
        raise UserError(f"{name}: {values!r} is one text where several are meant; for this one give [{values!r}]")
    if isinstance(values, Mapping) or not isinstance(values, Iterable):
        raise UserError(f"{name}: got {values!r:.80}; give a list")
    return list(values)


def shipped(name: str) -> Path:
    """A file or folder of the repository that an installed package has, too."""
    package = Path(__file__).resolve().parent
    installed = package / "shipped" / name
    return installed if installed.exists() else package.parents[1] / name


def command() -> str:
    """This process's command as a user would type it again; empty where it is none of soundraft's, as in Python."""
    program = Path(sys.argv[0])
    ours = program.name == "soundraft" or program.parts[-2:] == ("soundraft", "__main__.py")
    return shlex.join(["soundraft", *sys.argv[1:]]) if ours else ""


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from (run seed, cycle, clip, sample, …), stable over machines and order of work."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def shard_of(name: str, count: int) -> int:
    """Which of `count` shards a name belongs to: stable over machines, all shards together are the whole."""
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % count


def seed_torch(seed: int) -> None:
    """Seed torch (weights, dropout) and numpy (wav2vec2's masks); ask for deterministic kernels."""
    import numpy as np
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # else each new tensor is filled first, 6 % of a small network's training, for operations that read what is not set
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def device(name: str = "") -> "torch.device":
    """The device of this name; else `SOUNDRAFT_DEVICE` when it is set, else the GPU when there is one, else the CPU.

    Raises:
        UserError: when there is no such device here; so a stage ends before its first clip.
    """
    import torch

    name = name or device_name()
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # of `accelerate launch`: a GPU for each process
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    kind, _, number = name.partition(":")
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in here or not (number or "0").isdecimal() or int(number or 0) >= here[kind]:
        known = ", ".join(f"{other} ({count})" for other, count in here.items() if count)
        raise UserError(f"device {name} (--device, SOUNDRAFT_DEVICE) is not here; there is: {known}")
    return torch.device(name)


def device_name() -> str:
    """The name of that device; torch is imported only where there is a GPU driver."""
    given = os.environ.get("SOUNDRAFT_DEVICE")
    if given is not None:
        return given
    if not Path("/proc/driver/nvidia").exists() and sys.platform == "linux":
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def jobs() -> int:
    given = os.environ.get("SOUNDRAFT_JOBS")
    if given is not None:
        if not given.isdigit() or int(given) < 1:
            raise UserError(f"SOUNDRAFT_JOBS must be a whole number from 1, not {given!r}")
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory_bytes() -> int:
    """The most resident memory that this process, or one of its finished workers, has had."""
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if sys.platform == "darwin":
        return max(workers, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    # not ru_maxrss, which begins with the peak of the process that started this one
    status = Path("/proc/self/status").read_text(encoding="ascii")
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return max(workers, own) * 1024


def cache_root() -> Path:
    """Where what can be made again is kept: `SOUNDRAFT_CACHE`, `$XDG_CACHE_HOME/soundraft`, `~/.cache/soundraft`."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).expanduser().resolve()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "soundraft"


def main_root(start: Path | None = None) -> Path:
    """The root of the main repository, also from the copies below its `.dvc/tmp` that `dvc exp run` makes."""
    here = (start or Path.cwd()).resolve()
    parts = here.parts
    for index in range(len(parts) - 1):
        if parts[index : index + 2] == (".dvc", "tmp"):
            return Path(*parts[:index])
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    return here


def git(*arguments: str, folder: Path | None = None) -> str:
    """What git prints, empty where it fails."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def check_tracked(path: Path) -> None:
    """Raise UserError when this scratch copy (see `main_root`) lacks a file because git does not know it."""
    if not path.is_absolute() and not path.exists() and (main_root() / path).is_file():
        raise UserError(f"{path} is not in this scratch copy, since git does not know it: run `git add {path}` first")


def from_file(path: Path) -> ModuleType:
    """The module of a Python file of the user's, under a name of its own; UserError when Python runs no such files.

    It may import its neighbours: two folders may have neighbours of one name.
    """
    name = f"soundraft_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    before, folder = set(sys.modules), str(path.parent)
    sys.modules[name] = module  # dataclasses of the file look their module up
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(folder)
        sys.path += [folder] if folder not in sys.path else []  # for what its functions import
        for other in set(sys.modules) - before - {name}:
            if os.path.dirname(getattr(sys.modules[other], "__file__", None) or "") == folder:
                del sys.modules[other]
    return module
