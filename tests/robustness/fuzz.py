"""Mutants of good files, the same ones from the same seed on every machine.

Run as a script this reads mutants of every kind in a process that may not have much memory, and tells what it saw:

    python -m tests.robustness.fuzz COUNT SEED
"""

import collections
import contextlib
import io
import json
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil

MEMORY_BYTES = 512 << 20  # more than the process has when it begins
CASE_S = 2

Mutation = Callable[[bytes, bytes, np.random.Generator], bytes]
KINDS = ("wav", "esf", "encodec", "npy", "json")
WATCHED = {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "import"}


def flip_bits(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def spoil_header(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    """Random bytes where formats keep their sizes."""
    changed = bytearray(data)
    for place in rng.integers(0, min(96, len(data)), rng.integers(1, 4)):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


def truncate(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def insert(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(len(data)))
    return data[:place] + rng.bytes(int(rng.integers(1, 64))) + data[place:]


def cut_out(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(len(data)))
    return data[:place] + data[place + int(rng.integers(1, 64)) :]


def splice(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of one format, the rest of another."""
    return other[: rng.integers(8, 200)] + data[rng.integers(0, 200) :]


def other_number(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    """A digit of a textual header becomes another text, or some bytes anywhere the largest numbers there are."""
    digits = [place for place, byte in enumerate(data[:4096]) if chr(byte).isdigit()]
    texts = [b"-1", b"99999999999999999999", b"1e999", b"NaN", b"null", b"[]", b'"x"', b"1" * 5000]
    numbers = [b"\xff" * 4, b"\xff\xff\xff\x7f", b"\xff" * 7 + b"\x7f", b"\0\0\0\x80", b"\0" * 4]
    if digits and rng.random() < 0.5:
        place = digits[rng.integers(len(digits))]
        return data[:place] + texts[rng.integers(len(texts))] + data[place + 1 :]
    place, value = int(rng.integers(min(512, len(data)))), numbers[rng.integers(len(numbers))]
    return data[:place] + value + data[place + len(value) :]


def nothing_left(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    return [b"", b"\0" * len(data), data * 2, rng.bytes(len(data))][rng.integers(4)]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, spoil_header, truncate, insert, cut_out, splice, other_number, other_number, nothing_left,
)  # fmt: skip


def originals(seed: int = 0) -> dict[str, bytes]:
    """One good file of each kind."""
    from soundraft.audio import ecdc
    from soundraft.audio.io import wav_bytes
    from soundraft.sidecar import format

    rng = np.random.default_rng(seed)
    tokens = ecdc.Tokens(rng.integers(0, 1024, (8, 15)), 4800)
    sidecar = format.Sidecar(rng.random((15, 2)).astype(np.float16), ("rms_db", "f0"))
    return {
        "wav": wav_bytes((0.1 * rng.standard_normal(4800)).astype(np.float32), 24000),
        "esf": ecdc.esf_bytes(tokens),
        "encodec": ecdc.encodec_bytes(tokens),
        "npy": format.npy_bytes(sidecar.values),
        "json": format.meta_bytes(sidecar),
    }


def mutants(kind: str, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """`count` of one kind, each with the name of what was done to it, once or twice."""
    files = originals()
    others = [data for name, data in files.items() if name != kind]
    for number in range(count):
        rng = np.random.default_rng([seed, KINDS.index(kind), number])
        data, done = files[kind], []
        for _ in range(1 + (number % 3 == 2)):
            mutation = MUTATIONS[rng.integers(len(MUTATIONS))]
            data = mutation(data or b"\0", others[rng.integers(len(others))], rng)
            done.append(mutation.__name__)
        yield f"{kind} {number} {'+'.join(done)}", data


def readers(folder: Path) -> dict[str, Callable[[bytes], object]]:
    from soundraft.audio import ecdc
    from soundraft.audio import io as audio
    from soundraft.sidecar import format

    def from_file(read: Callable[[str], object]) -> Callable[[bytes], object]:
        def parse(data: bytes) -> object:
            path = folder / "mutant"
            path.write_bytes(data)
            return read(str(path))

        return parse

    return {
        "wav": audio.parse,
        "esf": ecdc.parse,
        "encodec": ecdc.parse,
        "npy": from_file(format.read_values),
        "json": from_file(format.read_meta),
    }


@contextlib.contextmanager
def watched(events: list[str]) -> Iterator[None]:
    """Collect what must not happen while a file is read."""
    listening = True

    def hook(event: str, details: tuple) -> None:
        # zipfile decodes names by a table that Python imports when it is first needed
        if listening and event in WATCHED and not (event == "import" and details[0].startswith("encodings.")):
            events.append(f"{event} {details}")

    sys.addaudithook(hook)
    yield
    listening = False


def main(count: int, seed: int) -> dict[str, object]:
    """Read `count` mutants of all kinds together.

    Returns:
        how many of each kind were read, how many refused, and which crashed the reader or did what no reader may.
    """
    from soundraft.parallel import BadClip

    events: list[str] = []
    faults: list[str] = []
    read: collections.Counter[str] = collections.Counter()
    refused: collections.Counter[str] = collections.Counter()
    signal.signal(signal.SIGALRM, _too_slow)
    with tempfile.TemporaryDirectory() as scratch:
        parsers = readers(Path(scratch))
        for kind, parse in parsers.items():
            with contextlib.suppress(BadClip):
                parse(b"")  # what a reader imports, it imports here
            parse(originals()[kind])
        most = psutil.Process().memory_info().vms + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        with watched(events):
            for kind, parse in parsers.items():
                for name, data in mutants(kind, count // len(KINDS), seed):
                    signal.alarm(CASE_S)
                    try:
                        parse(data)
                        read[kind] += 1
                    except BadClip as error:
                        refused[kind] += 1
                        if not str(error):
                            faults.append(f"{name}: no reason")
                    except (Exception, TooSlow) as error:  # noqa: BLE001 (these are what is looked for)
                        faults.append(f"{name}: {type(error).__name__}: {error}")
                    signal.alarm(0)
                    if events:
                        faults.append(f"{name}: {events.pop()}")
    return {"read": read, "refused": refused, "faults": faults}


class TooSlow(BaseException):
    """Not one of the exceptions that readers handle: a TimeoutError would be an OSError."""


def _too_slow(*_: object) -> None:
    raise TooSlow(f"more than {CASE_S} s")


if __name__ == "__main__":
    with contextlib.redirect_stderr(io.StringIO()):
        said = json.dumps(main(int(sys.argv[1]), int(sys.argv[2])))
    print(said)
