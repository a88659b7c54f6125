"""The encoding of text files, and what files are that hold no text."""

from __future__ import annotations

import codecs

_FIRST_BYTES = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a bitmap image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "compressed with bzip2 (unpack it first)"),
    (b"\xfd7zXZ", "compressed with xz (unpack it first)"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard (unpack it first)"),
    (b"7z\xbc\xaf", "a 7z archive (unpack it first)"),
    (b"Rar!", "a RAR archive (unpack it first)"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "a Feather file"),
    (b"FEA1", "a Feather file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"Obj\x01", "an Avro file"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"#ROSBAG", "a ROS bag"),
    (b"bplist", "a binary property list"),
    (b"ID3", "a sound file"),
    (b"OggS", "a sound file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)


def content_of(head: bytes) -> str:
    """Return what a file's first bytes say that it is, such as `a PNG image`; "" where they say nothing."""
    if head[4:8] == b"ftyp":
        return "a video"
    if head[8:12] == b".FIT":
        return "a FIT file"
    if head[:4] == b"RIFF":
        return "a WebP image" if head[8:12] == b"WEBP" else "a sound or video file"
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "a pickle of Python"
    if head[257:262] == b"ustar":
        return "a tar archive (unpack it first)"
    return next((said for first, said in _FIRST_BYTES if head.startswith(first)), "")


def decoded(head: bytes, name: str) -> tuple[str, str]:
    """Return the text and its encoding.

    Raises:
        ValueError: the bytes are no text; the message says what they are, where their first bytes tell.
    """
    if not head.strip():
        raise ValueError(f"'{name}' is empty; expected a table of motion")
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return codecs.getincrementaldecoder(encoding)("replace").decode(head), encoding
    odd, even = head[1:2000:2].count(0), head[0:2000:2].count(0)
    half = min(len(head), 2000) / 2
    if max(odd, even) > 0.6 * half and min(odd, even) < 0.1 * half:
        encoding = "utf-16-le" if odd > even else "utf-16-be"
        return codecs.getincrementaldecoder(encoding)("replace").decode(head), encoding
    control = sum(head[:4096].count(bytes([byte])) for byte in (*range(9), *range(14, 32)))
    if control > 0.005 * min(len(head), 4096):
        raise ValueError(
            f"'{name}' is {content_of(head) or 'binary'}, not a text table; export it as CSV with the program of the "
            "device's vendor, or give another file"
        )
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(head), "utf-8"
    except UnicodeDecodeError:
        return head.decode("cp1252", "replace"), "cp1252"
