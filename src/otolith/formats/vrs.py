"""Read streams of VRS files, Project Aria's container, with projectaria-tools (extra `aria`) in a separate process.

The library's C++ code crashes on some damaged files (a fault, not an exception) and writes to standard output. Therefore
this module runs itself as a script: the child process answers over a pipe, and if it ends without an answer, the file is
damaged. Before that, the sizes that the file's records declare are checked, which finds truncated files: the library would
read the remaining part without an error.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

_MAGIC = b"VisionRe"
_HEADER, _RECORD = 80, 32  # bytes
_MAX_STEPS = 1 << 28  # three days at 1,000 Hz
_MAX_PIXELS = 1 << 26
_RUN = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"


class Stream(NamedTuple):
    """One stream of a file.

    Attributes:
        name: its label, for example `imu-right`.
        records: number of records.
        first_ns: device time of the first record.
        last_ns: device time of the last record.
    """

    name: str
    records: int
    first_ns: int
    last_ns: int


class Motion(NamedTuple):
    """An inertial stream.

    Attributes:
        time_ns: (time,) int64, device time.
        values: (time, 6) float64: acceleration in m/s^2, angular rate in rad/s; NaN if the device marks them invalid.
        rate_hz: configured sampling rate.
    """

    time_ns: np.ndarray
    values: np.ndarray
    rate_hz: float


def streams(path: Path) -> dict[str, Stream]:
    """Return the streams of a file by id, such as `1202-1`.

    Raises:
        FileNotFoundError: the file does not exist.
        ImportError: projectaria-tools is not installed.
        ValueError: the file is damaged, truncated or not a VRS file.
    """
    with _asked(path, {"what": "streams"}) as (answer, _):
        return {key: Stream(*value) for key, value in answer["streams"].items()}


def motion(path: Path, stream: str) -> Motion:
    """Read an inertial stream. Errors as `streams`, and ValueError if the file has no such stream."""
    with _asked(path, {"what": "motion", "stream": stream}) as (answer, pipe):
        steps = answer["steps"]
        time_ns = np.frombuffer(_exactly(pipe, 8 * steps, path), np.int64)
        values = np.frombuffer(_exactly(pipe, 48 * steps, path), np.float64).reshape(steps, 6)
        rate = answer["rate_hz"]
        step_s = np.diff(time_ns) / 1e9
        if not 0 < rate <= 100_000 or (len(step_s) and (step_s.min() < 0 or not 0.5 < np.median(step_s) * rate < 2)):
            raise ValueError(
                f"'{path}': the time stamps of stream {stream} do not ascend at the declared {rate:g} Hz: "
                "it is damaged; copy it again"
            )
        return Motion(time_ns, values, rate)


def pictures(path: Path, times_s: Sequence[float], *, stream: str, zero_ns: int) -> Iterator[np.ndarray]:
    """Yield the frame shown at each of some times.

    Args:
        path: path of the file.
        times_s: times in seconds after `zero_ns`, ascending.
        stream: id of a video stream, for example `214-1`.
        zero_ns: device time of second 0.

    Yields:
        (height, width, 3) uint8, RGB, rotated upright: the camera is mounted sideways in the glasses.

    Raises:
        As `motion`.
    """
    wanted = [zero_ns + round(time_s * 1e9) for time_s in times_s]
    with _asked(path, {"what": "pictures", "stream": stream, "times": wanted}) as (_, pipe):
        picture: np.ndarray | None = None
        for _ in wanted:
            height, width = struct.unpack("<II", _exactly(pipe, 8, path))
            if height:  # otherwise the previous frame is still shown
                picture = np.frombuffer(_exactly(pipe, height * width * 3, path), np.uint8).reshape(height, width, 3)
            assert picture is not None
            yield picture


@contextlib.contextmanager
def _asked(path: Path, question: dict[str, Any]) -> Iterator[tuple[dict[str, Any], IO[bytes]]]:
    """Ask the child process; yield its answer and the pipe with the data that follow."""
    _check(path)
    question["path"] = str(path.resolve())
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps(question).encode())
            child.stdin.close()
            answer = json.loads(child.stdout.readline() or b"{}")
            if answer.get("missing"):
                raise ImportError(
                    "VRS files are read by projectaria-tools: pip install 'otolith[aria]' (or, gigabytes smaller, "
                    "pip install --no-deps projectaria-tools)"
                )
            if not answer.get("ready"):
                why = answer.get("error", "its reader process crashed; copy it again")
                raise ValueError(f"'{path}' cannot be read as a VRS file: {why}")
            yield answer, child.stdout
        finally:
            child.kill()


def _exactly(pipe: IO[bytes], count: int, path: Path) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise ValueError(f"'{path}' is damaged: its reader process crashed; copy it again")
    return data


def _check(path: Path) -> None:
    """Check the sizes that the records of a file declare; see `FileFormat.h` of github.com/facebookresearch/vrs."""
    if not path.is_file():
        raise FileNotFoundError(f"no VRS file at '{path}'")
    size = path.stat().st_size
    if size < _HEADER:
        raise ValueError(f"'{path}' ({size:,} bytes) is too small for a VRS file; copy it again")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        header, record = struct.unpack_from("<II", data, 16)
        index, described, first = struct.unpack_from("<qqq", data, 24)
        if data[:8] != _MAGIC or header < 48 or record != _RECORD:
            raise ValueError(f"'{path}' does not begin like a VRS file; it is another file, or damaged")
        place = (
            first or described + struct.unpack_from("<I", data, described)[0] if 0 < described < size - 4 else size + 1
        )
        if not header <= place <= size or not 0 <= index <= size:
            raise ValueError(f"'{path}' ({size:,} bytes) was cut off: its header points beyond its end; copy it again")
        while place < size:
            declared = struct.unpack_from("<I", data, place)[0] if place + _RECORD <= size else 0
            if declared < _RECORD or place + declared > size:
                raise ValueError(
                    f"'{path}' ({size:,} bytes) was cut off or altered: the record at byte {place:,} declares "
                    f"{declared:,} bytes; copy it again"
                )
            place += declared


def _serve(question: dict[str, Any], out: IO[bytes]) -> None:
    """Answer one question, in the child process."""

    def say(**answer: Any) -> None:
        out.write(json.dumps(answer).encode() + b"\n")

    try:
        from projectaria_tools.core import data_provider
        from projectaria_tools.core.sensor_data import TimeDomain
        from projectaria_tools.core.stream_id import StreamId
    except ImportError:
        return say(missing=True)
    provider = data_provider.create_vrs_data_provider(question["path"])
    if provider is None:
        return say(error="projectaria-tools cannot open it; copy it again")
    clock = TimeDomain.DEVICE_TIME
    known = {str(stream): stream for stream in provider.get_all_streams()}
    if question["what"] == "streams":
        found = {}
        for key, stream in known.items():
            if count := provider.get_num_data(stream):
                ends = provider.get_first_time_ns(stream, clock), provider.get_last_time_ns(stream, clock)
                found[key] = [provider.get_label_from_stream_id(stream), count, *ends]
        return say(ready=True, streams=found)
    if question["stream"] not in known:
        return say(error=f"it has no stream {question['stream']}; it has {', '.join(sorted(known)) or 'none'}")
    stream = StreamId(question["stream"])
    count = provider.get_num_data(stream)
    if not 0 < count < _MAX_STEPS:
        return say(error=f"stream {question['stream']} declares {count:,} records")
    if question["what"] == "motion":
        times, values = np.empty(count, np.int64), np.full((count, 6), np.nan)
        for row in range(count):
            step = provider.get_imu_data_by_index(stream, row)
            times[row] = step.capture_timestamp_ns
            if step.accel_valid:
                values[row, :3] = step.accel_msec2
            if step.gyro_valid:
                values[row, 3:] = step.gyro_radsec
        say(ready=True, steps=count, rate_hz=float(provider.get_imu_configuration(stream).nominal_rate_hz))
        out.write(times.tobytes())
        out.write(values.tobytes())
        return None
    shown = np.array(provider.get_timestamps_ns(stream, clock))
    say(ready=True)
    last = None
    for number in np.searchsorted(shown, question["times"], side="right") - 1:
        number = max(int(number), 0)
        if number == last:
            out.write(struct.pack("<II", 0, 0))
            continue
        last = number
        picture = provider.get_image_data_by_index(stream, number)[0].to_numpy_array()
        if picture.ndim == 2:
            picture = np.repeat(picture[..., None], 3, axis=2)
        picture = np.ascontiguousarray(np.rot90(picture, -1))
        if picture.size > 3 * _MAX_PIXELS or picture.shape[2] != 3 or picture.dtype != np.uint8:
            return None  # the pipe ends early, which shows that the file is damaged
        out.write(struct.pack("<II", *picture.shape[:2]))
        out.write(picture.tobytes())
    return None


def _main() -> None:
    pipe = os.dup(1)  # keeps the output of the library apart from the answer
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with os.fdopen(pipe, "wb") as out:
        try:
            _serve(json.load(sys.stdin), out)
        except Exception as error:  # any exception means that the file is damaged
            why = f"{str(error)[:300] or type(error).__name__}; copy it again"
            out.write(json.dumps({"error": why}).encode() + b"\n")


if __name__ == "__main__":
    _main()
