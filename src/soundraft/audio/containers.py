"""How much audio a file says that it has: files are read whole behind their tags, or refused as cut short.

libsndfile reads a file in memory that begins with an ID3 tag without its tail, one that was cut in half as half a clip,
and one whose writer could not seek back to fill in a length, such as `ffmpeg … -f wav - > x.wav`, as no samples.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from soundraft.runtime import BadClip

Data = bytes | mmap.mmap
_OPEN_32 = 0x7FFF0000  # a length of 32 bits from here on means: to the end of the file


@dataclass(frozen=True)
class _Chunked:
    """A container of chunks: name, size, content.

    Attributes:
        first: place of the first chunk.
        size: format of a chunk's size, for struct.
        samples: names of the chunk with the samples.
        own: bytes of a chunk's head that its size counts, too.
        extra: bytes before the samples in their chunk.
        align: chunks begin at multiples of it.
    """

    first: int
    size: str
    samples: tuple[bytes, ...]
    own: int = 0
    extra: int = 0
    align: int = 2


@dataclass(frozen=True)
class _Stated:
    """What a file says: that its samples are the bytes from `start` to `start + length`.

    Attributes:
        field: the place of that length.
        size: its format, for struct; empty where it is not a number of bytes.
        kind: the container, where it is one of chunks.
    """

    start: int
    length: int
    field: int = 0
    size: str = ""
    kind: _Chunked | None = None


_WAV = _Chunked(12, "<I", (b"data",))
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a"
_CHUNKED = {
    b"RIFF": _WAV,
    b"RF64": _WAV,
    b"RIFX": replace(_WAV, size=">I"),
    b"FORM": _Chunked(12, ">I", (b"SSND", b"BODY"), extra=8),  # AIFF and 8SVX
    b"riff": _Chunked(40, "<q", (_W64_DATA,), own=24, align=8),  # W64
    b"caff": _Chunked(8, ">q", (b"data",), extra=4, align=1),
}


def whole(data: Data) -> Data:
    """The file without leading ID3 tags, and with the length of its samples where the writer left it open.

    Raises:
        BadClip: when the file is shorter than it says.
    """
    begin = _tag_bytes(data)
    data = data[begin:] if begin else data
    stated = _stated(data)
    if stated is None or (stated.size[1:] == "I" and stated.length >= _OPEN_32):
        return data
    there = len(data) - stated.start
    if stated.size and _is_open(data, stated):
        kept = bytearray(data)
        own = stated.kind.own if stated.kind else 0
        struct.pack_into(stated.size, kept, stated.field, min(there + own, 0xFFFFFFFF))
        return bytes(kept)
    if stated.length > there:
        raise BadClip(f"truncated: header promises {stated.length} bytes, {there} are there")
    return data


def chunks(data: Data) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of the content of each chunk, up to that with the samples."""
    kind = _CHUNKED.get(data[:4])
    return _chunks_from(kind.first, data, kind) if kind else iter(())


def lacks_samples(data: Data) -> bool:
    """Whether it is a container of chunks that ends before the one with the samples."""
    return data[:4] in _CHUNKED and _of_chunks(data) is None


def _tag_bytes(data: Data) -> int:
    """The length of the ID3v2 tags at the beginning (ID3v2.4, 3.1: a byte has 7 bits of the size; a footer of 10)."""
    end = 0
    while data[end : end + 3] == b"ID3" and end + 10 <= len(data):
        size = sum(data[end + 9 - place] << 7 * place for place in range(4))
        end += 10 + size + (10 if data[end + 5] & 0x10 else 0)
    return end


def _is_open(data: Data, stated: _Stated) -> bool:
    """Whether the writer could not fill in the length: −1, or 0 although samples follow and not more chunks."""
    extra = stated.kind.extra if stated.kind else 0
    if not 0 <= stated.length <= extra:
        return stated.length < 0
    end = place = stated.start + stated.length
    for name, start, length in _chunks_from(place, data, stated.kind) if stated.kind else ():
        if not name[:4].strip().isalnum():
            break
        end = start + length
    return len(data) > place and not len(data) - 1 <= end <= len(data)


def _stated(data: Data) -> _Stated | None:
    """`None` where it does not say how many bytes there are."""
    magic = data[:4]
    if magic in (b".snd", b"dns.") and len(data) >= 12:  # AU: from where on, and how many bytes
        size = ">I" if magic == b".snd" else "<I"
        return _Stated(*struct.unpack_from(f"{size}I", data, 4), field=8, size=size)
    if magic == b"OggS":  # the last page: 27 bytes, the last of them the number of lengths, the lengths, the content
        start = data.rfind(b"OggS\0")
        lengths = data[start + 27 : start + 27 + data[start + 26]] if start + 26 < len(data) else b""
        return _Stated(start, 28 + sum(lengths) if not lengths else 27 + len(lengths) + sum(lengths))
    if magic == b"NIST":
        return _of_nist(data)
    return _of_chunks(data)


def _of_chunks(data: Data) -> _Stated | None:
    kind, large = _CHUNKED.get(data[:4]), None
    for name, place, length in chunks(data):
        if name == b"ds64" and place + 16 <= len(data):  # of RF64
            large = _Stated(0, *struct.unpack_from("<q", data, place + 8), field=place + 8, size="<q", kind=kind)
        if kind and name in kind.samples:
            if large and length == 0xFFFFFFFF:
                return replace(large, start=place)
            return _Stated(place, length, place - struct.calcsize(kind.size), kind.size, kind)
    return None


def _chunks_from(place: int, data: Data, kind: _Chunked) -> Iterator[tuple[bytes, int, int]]:
    name_bytes = len(kind.samples[0])
    while place + name_bytes + struct.calcsize(kind.size) <= len(data):
        name = data[place : place + name_bytes]
        length = struct.unpack_from(kind.size, data, place + name_bytes)[0] - kind.own
        place += name_bytes + struct.calcsize(kind.size)
        yield name, place, length
        if name in kind.samples or length < 0 or not name.strip(b"\0"):
            return
        place += length + -length % kind.align


def _of_nist(data: Data) -> _Stated | None:
    """NIST SPHERE, as TIMIT's: a header of text, whose size is its second line."""
    header = data[: int(data[8:16])] if data[8:16].strip().isdigit() else b""
    fields = dict(re.findall(rb"^(sample_count|channel_count|sample_n_bytes) -i (\d+)", header, re.MULTILINE))
    if b"sample_count" not in fields:
        return None
    numbers = {name.decode(): int(value) for name, value in fields.items()}
    length = numbers["sample_count"] * numbers.get("channel_count", 1) * numbers.get("sample_n_bytes", 1)
    return _Stated(len(header), length)
