"""How much audio a file says that it has: files are read whole behind their tags, or refused as cut short.

libsndfile reads a file in memory that begins with an ID3 tag without its tail, one that was cut in half as half a clip,
and one whose writer could not seek back to fill in a length, such as `ffmpeg … -f wav - > x.wav`, as no samples.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from soundraft.runtime import BadClip

Data = bytes | mmap.mmap
Chunk = tuple[bytes, int, int]  # name, place of the content, its length
_OPEN_32 = 0x7FFF0000  # a length of 32 bits from here on means: to the end of the file


class _Chunked(NamedTuple):
    """A container of chunks: name, size, content.

    Attributes:
        first: place of the first chunk.
        size: format of a chunk's size, for struct.
        samples: names of the chunk with the samples.
        own: bytes of a chunk's head that its size counts.
        extra: bytes before the samples in their chunk.
        align: chunks begin at multiples of it.
    """

    first: int
    size: str
    samples: tuple[bytes, ...]
    own: int = 0
    extra: int = 0
    align: int = 2

    def chunks(self, data: Data, place: int) -> Iterator[Chunk]:
        """From a place on, up to the chunk with the samples."""
        name_bytes, head = len(self.samples[0]), len(self.samples[0]) + struct.calcsize(self.size)
        while place + head <= len(data):
            name = data[place : place + name_bytes]
            length = struct.unpack_from(self.size, data, place + name_bytes)[0] - self.own
            place += head
            yield name, place, length
            if name in self.samples or length < 0 or not name.strip(b"\0"):
                return
            place += length + -length % self.align


_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a"
_CHUNKED = {
    b"RIFF": _Chunked(12, "<I", (b"data",)),
    b"RF64": _Chunked(12, "<I", (b"data",)),
    b"RIFX": _Chunked(12, ">I", (b"data",)),
    b"FORM": _Chunked(12, ">I", (b"SSND", b"BODY"), extra=8),  # AIFF and 8SVX
    b"riff": _Chunked(40, "<q", (_W64_DATA,), own=24, align=8),  # W64
    b"caff": _Chunked(8, ">q", (b"data",), extra=4, align=1),
}


class _Stated(NamedTuple):
    """What a file says: that its samples are the bytes from `start` to `start + length`.

    Attributes:
        size: the format of that length where it can be filled in, for struct; its place is `field`.
        kind: the container, where it is one of chunks.
    """

    start: int
    length: int
    size: str = ""
    field: int = 0
    kind: _Chunked | None = None

    def is_open(self, data: Data) -> bool:
        """Whether the writer could not fill in the length: −1, or 0 although samples follow and not more chunks."""
        if not self.size or not 0 <= self.length <= (self.kind.extra if self.kind else 0):
            return self.length < 0
        begin = end = self.start + self.length
        for name, place, length in self.kind.chunks(data, begin) if self.kind else ():
            if not name[:4].strip().isalnum():
                return True
            end = place + length
        return begin < len(data) and not 0 <= len(data) - end <= 1


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
    if stated.is_open(data):
        filled = bytearray(data)
        own = stated.kind.own if stated.kind else 0
        struct.pack_into(stated.size, filled, stated.field, min(there + own, 0xFFFFFFFF))
        return bytes(filled)
    if stated.length > there:
        raise BadClip(f"truncated: header promises {stated.length} bytes, {there} are there")
    return data


def chunks(data: Data) -> Iterator[Chunk]:
    """The chunks of a container of such, up to that with the samples."""
    kind = _CHUNKED.get(data[:4])
    return kind.chunks(data, kind.first) if kind else iter(())


def lacks_samples(data: Data) -> bool:
    """Whether it is a container of chunks that ends before the one with the samples."""
    return data[:4] in _CHUNKED and _stated(data) is None


def _tag_bytes(data: Data) -> int:
    """The length of the ID3v2 tags at the beginning (ID3v2.4, 3.1: a byte has 7 bits of the size; a footer of 10)."""
    end = 0
    while data[end : end + 3] == b"ID3" and end + 10 <= len(data):
        size = sum(data[end + 9 - place] << 7 * place for place in range(4))
        end += 10 + size + (10 if data[end + 5] & 0x10 else 0)
    return end


def _stated(data: Data) -> _Stated | None:
    """`None` where it does not say how many bytes there are."""
    magic = data[:4]
    kind, large = _CHUNKED.get(magic), None
    for name, place, length in chunks(data):
        if name == b"ds64" and place + 16 <= len(data):  # the lengths of RF64
            large = _Stated(0, struct.unpack_from("<q", data, place + 8)[0], "<q", place + 8, kind)
        if kind and name in kind.samples:
            if large and length == 0xFFFFFFFF:
                return large._replace(start=place)
            return _Stated(place, length, kind.size, place - struct.calcsize(kind.size), kind)
    if magic in (b".snd", b"dns.") and len(data) >= 12:  # AU: where samples begin, and how many bytes
        size = ">I" if magic == b".snd" else "<I"
        start, length = struct.unpack_from(f"{size}I", data, 4)
        return _Stated(start, length, size, 8)
    if magic == b"OggS":  # its last page: 27 bytes, of which the last says how many lengths follow; then as many bytes
        start = data.rfind(b"OggS\0")
        lengths = data[start + 27 : start + 27 + sum(data[start + 26 : start + 27])]
        return _Stated(start, 28 + len(lengths) + sum(lengths) - bool(lengths))
    return _of_nist(data) if magic == b"NIST" else None


def _of_nist(data: Data) -> _Stated | None:
    """NIST SPHERE, as TIMIT's: a header of text, whose size is its second line."""
    header = data[: int(data[8:16])] if data[8:16].strip().isdigit() else b""
    found = re.findall(rb"^(sample_count|channel_count|sample_n_bytes) -i (\d+)", header, re.MULTILINE)
    numbers = {name.decode(): int(value) for name, value in found}
    if "sample_count" not in numbers:
        return None
    width = numbers.get("channel_count", 1) * numbers.get("sample_n_bytes", 1)
    return _Stated(len(header), numbers["sample_count"] * width)
