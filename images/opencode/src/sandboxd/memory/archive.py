"""
The format of what is kept: a tar (as GNU tar writes it) in one frame of Zstandard.

It holds directories, files and symbolic links, each with its permissions and, but for directories, its time; no owner,
no device, no hard link. ``tar --zstd -x`` unpacks it. Packing writes it with ``header``, unpacking reads it with
``ArchiveReader``, which takes nothing that packing does not write.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["ArchiveError", "ArchiveReader", "ArchiveWriter", "Entry", "Limits", "header", "zstd"]

BLOCK = 512
PERMISSIONS = 0o777
NAME_BYTES = 100
PATH_BYTES = os.pathconf("/", "PC_PATH_MAX")
FILE, SYMLINK, DIRECTORY = b"0", b"2", b"5"
LONG_NAME, LONG_TARGET = b"L", b"K"
LONG_LINK = b"././@LongLink"
MAGIC = b"ustar  \0"
MOST = 0o77777777777
"""The largest number of a header's larger fields."""
CHUNK = 256 * 1024
LEVEL = 3
"""Zstandard's default. Level 1 spares a fifth of its time, and takes a third more bytes (of Python sources)."""
WINDOW_LOG = 23
"""Whoever unpacks gives a frame 8 MB, however much it asks for; level 3 takes 2 MB."""


class ArchiveError(Exception):
    """The archive is broken, holds what none of ours holds, or exceeds a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much an archive may hold (bytes unpacked), and how many entries."""

    content: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry; *size* bytes of content follow it."""

    path: bytes
    kind: bytes
    mode: int
    size: int
    mtime: int
    target: bytes = b""


def header(entry: Entry) -> bytes:
    """The blocks that come before an entry's content."""
    path = entry.path + b"/" if entry.kind == DIRECTORY else entry.path
    long = b""
    for kind, text in ((LONG_NAME, path), (LONG_TARGET, entry.target)):
        if len(text) > NAME_BYTES:
            long += _block(Entry(path=LONG_LINK, kind=kind, mode=0o644, size=len(text) + 1, mtime=0))
            long += padded(text + b"\0")
    return long + _block(entry, path)


def padded(content: bytes) -> bytes:
    """*content*, filled up to whole blocks."""
    return content + bytes(-len(content) % BLOCK)


def _block(entry: Entry, path: bytes | None = None) -> bytes:
    before = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        (path or entry.path)[:NAME_BYTES].ljust(NAME_BYTES, b"\0"),
        entry.mode & PERMISSIONS,
        0,
        0,
        entry.size,
        min(max(entry.mtime, 0), MOST),
    )
    behind = entry.kind + entry.target[:NAME_BYTES].ljust(NAME_BYTES, b"\0") + MAGIC
    checksum = sum(before) + sum(behind) + 8 * 0x20
    return (before + b"%06o\0 " % checksum + behind).ljust(BLOCK, b"\0")


class ArchiveWriter:
    """
    Packs what it is given into *out*; ``close`` makes that an archive.

    Raises (all of it):
        ArchiveError: it would exceed a limit: *limits*, or *size* bytes packed.
    """

    def __init__(self, out: BinaryIO, *, limits: Limits, size: int) -> None:
        # A thread of its own compresses while the next files are read.
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: LEVEL,
            zstd.CompressionParameter.nb_workers: 1,
        }
        self._compressor = zstd.ZstdCompressor(options=options)
        self._out = out
        self._limits = limits
        self._size = size
        self._buffer: list[bytes] = []
        self._buffered = 0
        self.written = 0
        self.content = 0
        self.entries = 0

    def begin(self, entry: Entry) -> None:
        """Begin an entry; its content follows, by ``content_of`` or ``add``."""
        self.entries += 1
        self.content += entry.size
        if self.entries > self._limits.entries:
            raise ArchiveError(f"more than {self._limits.entries} files")
        if self.content > self._limits.content:
            raise ArchiveError(f"more than {self._limits.content} bytes")
        self.add(header(entry))

    def content_of(self, read: Callable[[int], bytes], size: int) -> None:
        """
        Add *size* bytes of content.

        A file that grows meanwhile is cut off there, one that shrinks is filled up with zeros.
        """
        left = size
        while left:
            chunk = read(min(left, CHUNK))
            if not chunk:
                break
            left -= len(chunk)
            self.add(chunk)
        while left:
            chunk = bytes(min(left, CHUNK))
            left -= len(chunk)
            self.add(chunk)
        if size % BLOCK:
            self.add(bytes(-size % BLOCK))

    def add(self, content: bytes) -> None:
        """Add bytes as they are."""
        self._buffer.append(content)
        self._buffered += len(content)
        if self._buffered >= CHUNK:
            self._flush(zstd.ZstdCompressor.CONTINUE)

    def close(self) -> None:
        """Write the end."""
        self.add(bytes(2 * BLOCK))
        self._flush(zstd.ZstdCompressor.FLUSH_FRAME)
        self._out.flush()

    def _flush(self, mode: int) -> None:
        packed = self._compressor.compress(b"".join(self._buffer), mode)  # type: ignore[arg-type] # it names them so
        self._buffer.clear()
        self._buffered = 0
        self.written += len(packed)
        if self.written > self._size:
            raise ArchiveError(f"more than {self._size} bytes packed")
        self._out.write(packed)


class ArchiveReader:
    """
    Reads an archive's entries in their order, each with its content.

    Raises (all of it):
        ArchiveError: it is none of ours, or exceeds a limit.
    """

    def __init__(self, packed: BinaryIO, *, limits: Limits) -> None:
        self._packed = packed
        self._decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})
        self._limits = limits
        self._chunk = memoryview(b"")
        self.content = 0
        self.entries = 0

    def next(self) -> Entry | None:
        """Return the next entry, whose content is to be read before the one after it; None at the end."""
        path = target = None
        while True:
            block = self.take(BLOCK)
            if not any(block):
                self._end()
                return None
            entry = _parsed(block)
            if entry.kind == LONG_NAME and path is None:
                path = self._long(entry)
            elif entry.kind == LONG_TARGET and target is None:
                target = self._long(entry)
            elif entry.kind in (FILE, SYMLINK, DIRECTORY):
                return self._counted(entry, path, target)
            else:
                raise ArchiveError(f"an entry of kind {entry.kind!r}")

    def take(self, size: int) -> bytes:
        """Return exactly *size* bytes, of at most a chunk."""
        if len(self._chunk) >= size:
            taken, self._chunk = self._chunk[:size], self._chunk[size:]
            return bytes(taken)
        parts = [bytes(self._chunk)]
        missing = size - len(self._chunk)
        while missing:
            self._chunk = memoryview(self._more())
            part, self._chunk = self._chunk[:missing], self._chunk[missing:]
            missing -= len(part)
            parts.append(bytes(part))
        return b"".join(parts)

    def skip_padding(self, size: int) -> None:
        """Go to the block behind *size* bytes of content."""
        if size % BLOCK:
            self.take(-size % BLOCK)

    def _more(self) -> bytes:
        try:
            while not self._decompressor.eof:
                packed = self._packed.read(CHUNK) if self._decompressor.needs_input else b""
                if not packed and self._decompressor.needs_input:
                    break
                if chunk := self._decompressor.decompress(packed, CHUNK):
                    return chunk
        except zstd.ZstdError as exc:
            raise ArchiveError("it cannot be unpacked") from exc
        raise ArchiveError("it ends too early")

    def _long(self, entry: Entry) -> bytes:
        if not 0 < entry.size <= PATH_BYTES:
            raise ArchiveError("a name that is too long")
        text = self.take(entry.size)
        self.skip_padding(entry.size)
        return text.removesuffix(b"\0")

    def _counted(self, entry: Entry, path: bytes | None, target: bytes | None) -> Entry:
        path = entry.path if path is None else path
        if entry.kind == DIRECTORY:
            path = path.removesuffix(b"/")
        target = entry.target if target is None else target
        if entry.kind != FILE and entry.size:
            raise ArchiveError("content where there can be none")
        if (entry.kind == SYMLINK) != bool(target) or b"\0" in target:
            raise ArchiveError("a link that leads nowhere, or one that is none")
        self.entries += 1
        self.content += entry.size
        if self.entries > self._limits.entries or self.content > self._limits.content:
            raise ArchiveError("it holds too much")
        return Entry(path=path, kind=entry.kind, mode=entry.mode, size=entry.size, mtime=entry.mtime, target=target)

    def _end(self) -> None:
        if any(self.take(BLOCK)) or self._chunk:
            raise ArchiveError("something lies behind its end")
        try:
            while not self._decompressor.eof:
                packed = self._packed.read(CHUNK)
                if self._decompressor.decompress(packed, 1) or not (packed or self._decompressor.eof):
                    raise ArchiveError("its frame does not end")
        except zstd.ZstdError as exc:
            raise ArchiveError("it cannot be unpacked") from exc
        if self._decompressor.unused_data or self._packed.read(1):
            raise ArchiveError("something lies behind its end")


def _parsed(block: bytes) -> Entry:
    if block[257:265] != MAGIC:
        raise ArchiveError("it is no tar of ours")
    if sum(block[:148]) + sum(block[156:]) + 8 * 0x20 != _number(block[148:156]):
        raise ArchiveError("a checksum is wrong")
    mode = _number(block[100:108])
    if mode & ~PERMISSIONS:
        raise ArchiveError("permissions beyond reading, writing and executing")
    return Entry(
        path=block[:100].rstrip(b"\0"),
        kind=block[156:157],
        mode=mode,
        size=_number(block[124:136]),
        mtime=_number(block[136:148]),
        target=block[157:257].rstrip(b"\0"),
    )


def _number(digits: bytes) -> int:
    text = digits.strip(b"\0 ")
    if not text.isdigit():
        raise ArchiveError("a number that is none")
    try:
        return int(text, 8)
    except ValueError:
        raise ArchiveError("a number that is none") from None
