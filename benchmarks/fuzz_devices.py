"""Damaged device files of four makers for some minutes: each is read, or refused with a ValueError of one line.

Bytes are flipped, overwritten, cut out and cut off, in whole files and within the log of an ActiGraph archive, whose own
checksums stay right. Usage: PYTHONPATH=tests python benchmarks/fuzz_devices.py [MINUTES] [SEED]
"""

import collections
import io
import resource
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from device_files import cwa, geneactiv, gt3x, matrix, motion
from otolith.formats.devices import read_device


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    found = bytearray(data)
    how = rng.integers(5)
    if how == 0:
        return bytes(found[: rng.integers(len(found))])
    if how == 1:
        for place in rng.integers(0, len(found), rng.integers(1, 20)):
            found[place] = rng.integers(256)
    elif how == 2:  # the header is where sizes and rates are
        first = int(rng.integers(min(len(found), 1400)))
        for place in range(first, min(first + int(rng.integers(1, 8)), len(found))):
            found[place] = rng.choice([0, 255, 127, 128, rng.integers(256)])
    elif how == 3:
        first, last = sorted(rng.integers(0, len(found), 2))
        found[first:last] = found[first : first + int(rng.integers(600))]
    else:
        first = int(rng.integers(len(found)))
        found[first:first] = rng.bytes(int(rng.integers(1, 2000)))
    return bytes(found)


def main() -> None:
    minutes, seed = float((*sys.argv, "10")[1]), int((*sys.argv, "10", "0")[2])
    rng = np.random.default_rng(seed)
    values, six = motion(1500), motion(400, 6)
    log = zipfile.ZipFile(io.BytesIO(gt3x(values))).read("log.bin")
    whole = {
        "AX3": cwa(values),
        "AX6": cwa(six, packed=False, scale_code=3),
        "ActiGraph": gt3x(values),
        "ActiGraph log": log,
        "GENEActiv": geneactiv(values),
        "Matrix": matrix(six, seconds=2),
    }
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    slowest, started = 0.0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.gt3x"
        while time.perf_counter() - started < 60 * minutes:
            name = str(rng.choice(list(whole)))
            data = damaged(whole[name], rng)
            path.write_bytes(gt3x(values, log=data) if name == "ActiGraph log" else data)
            before = time.perf_counter()
            try:
                found = read_device(path, skip_damaged=bool(rng.integers(2)))
                assert np.isfinite(found.signal).all() and (np.diff(found.time_s) > 0).all()
                counts[name, "read"] += 1
            except ValueError as error:
                assert "\n" not in str(error), error
                counts[name, "refused"] += 1
            except BaseException:
                kept = Path(tempfile.gettempdir()) / f"otolith-fuzz-{seed}{path.suffix}"
                kept.write_bytes(path.read_bytes())
                print(f"{name}: see {kept}")
                raise
            slowest = max(slowest, time.perf_counter() - before)
    for (name, what), count in sorted(counts.items()):
        print(f"{name}: {count:,} {what}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{sum(counts.values()):,} files, slowest {slowest:.2f} s, peak memory {peak:.0f} MB, of the decoder {child:.0f} MB"
    )


if __name__ == "__main__":
    main()
