"""Read numeric matrices from MATLAB 5 files (`.mat`, written by MATLAB 5 to 7.2); check every size before it is used.

SciPy's reader trusts the sizes that a file declares: a few altered bytes crash the process with a segmentation fault, which
cannot be turned into an error. Therefore this module reads the corpora's numeric arrays, in bounded memory. Structures,
cells, text and sparse matrices are skipped; files of MATLAB 7.3 (HDF5) are refused.

Source: MathWorks, "MAT-File Format", version 5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x0800


class _Element(NamedTuple):
    kind: int
    data: memoryview


def matrices(data: bytes, name: str, variables: Collection[str], max_bytes: int = 1 << 30) -> dict[str, np.ndarray]:
    """Return the numeric matrices with these names, in the data types that they had in MATLAB.

    Args:
        data: content of the file.
        name: name of the file, for error messages.
        variables: names to read; those that are missing or not numeric matrices are left out.
        max_bytes: a variable that declares more bytes is refused before it is decompressed.

    Raises:
        ValueError: the file is not a MATLAB 5 file, is truncated or damaged, or declares implausible sizes.
    """
    try:
        return dict(_matrices(data, variables, max_bytes))
    except (struct.error, zlib.error, ValueError, OverflowError, MemoryError) as error:
        raise ValueError(f"'{name}' cannot be read as a MATLAB 5 file: {error}; download it again") from error


def _matrices(data: bytes, variables: Collection[str], max_bytes: int) -> Iterator[tuple[str, np.ndarray]]:
    if data[:8] == b"\x89HDF\r\n\x1a\n" or data[_HEADER - 4 : _HEADER - 2] in (b"\x00\x02", b"\x02\x00"):
        raise ValueError("it is of MATLAB 7.3 (HDF5); save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(data[_HEADER - 2 : _HEADER])
    if order is None:
        raise ValueError(f"it has no MATLAB 5 header in its {len(data):,} bytes")
    rest = memoryview(data)[_HEADER:]
    while len(rest):
        element, rest = _next(rest, order)
        if element.kind == _COMPRESSED:
            element = _unpacked(element.data, order, max_bytes)
        if element.kind != _MATRIX:
            continue
        found = _matrix(element.data, order, variables, max_bytes)
        if found is not None:
            yield found


def _next(data: memoryview, order: str) -> tuple[_Element, memoryview]:
    """Return the first element, and the data that follow it."""
    kind, size = struct.unpack_from(f"{order}II", data)
    start = 8
    if kind >> 16:  # a small element: type and size share four bytes, four bytes of data follow
        kind, size, start = kind & 0xFFFF, kind >> 16, 4
        if size > 4:
            raise ValueError(f"a small element declares {size} bytes")
    if size > len(data) - start:
        raise ValueError(f"an element declares {size:,} bytes where {max(0, len(data) - start):,} are left")
    end = 8 if start == 4 else start + size + (0 if kind == _COMPRESSED else -size % 8)
    return _Element(kind, data[start : start + size]), data[min(end, len(data)) :]


def _unpacked(packed: memoryview, order: str, max_bytes: int) -> _Element:
    """Decompress the one element inside a compressed element, up to its declared size."""
    stream = zlib.decompressobj()
    head = stream.decompress(packed, 8)
    kind, size = struct.unpack_from(f"{order}II", head)
    if size > max_bytes:
        raise ValueError(f"a variable declares {size:,} bytes, more than {max_bytes:,}")
    body = stream.decompress(stream.unconsumed_tail, size) if size else b""
    if len(body) < size:
        raise ValueError(f"a variable declares {size:,} bytes and holds {len(body):,}")
    stream.decompress(stream.unconsumed_tail, 1 << 16)  # continues to the checksum
    if not stream.eof:
        raise ValueError("a compressed variable is cut off")
    return _Element(kind, memoryview(body))


def _matrix(data: memoryview, order: str, variables: Collection[str], max_bytes: int) -> tuple[str, np.ndarray] | None:
    """Return the name and values of a variable; None if it is not requested or not numeric."""
    flags, data = _next(data, order)
    about = struct.unpack_from(f"{order}I", flags.data)[0]
    kind = _CLASSES.get(about & 0xFF)
    if kind is None:
        return None
    size, data = _next(data, order)
    if size.kind != 5 or len(size.data) % 4 or len(size.data) < 8:
        raise ValueError("a matrix has no dimensions")
    shape = tuple(int(n) for n in np.frombuffer(size.data, f"{order}i4"))
    title, data = _next(data, order)
    name = bytes(title.data).decode("ascii", "replace")
    if name not in variables:
        return None
    if about & _COMPLEX:
        raise ValueError(f"variable '{name}' is complex")
    count = 1
    for n in shape:
        if n < 0:
            raise ValueError(f"variable '{name}' has the dimensions {shape}")
        count *= n
    if count * np.dtype(kind).itemsize > max_bytes:
        raise ValueError(f"variable '{name}' declares {shape}, more than {max_bytes:,} bytes")
    real, _ = _next(data, order)
    stored = _STORED.get(real.kind)
    if stored is None or len(real.data) != count * np.dtype(stored).itemsize:
        raise ValueError(f"variable '{name}' declares {shape} and holds {len(real.data):,} bytes of type {real.kind}")
    values = np.frombuffer(real.data, order + stored).reshape(shape, order="F")
    return name, values.astype(kind)
