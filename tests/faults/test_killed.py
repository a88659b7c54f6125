"""What a killed process leaves: no worker, no lock, no temporary file after the next run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otolith.storage.locks import LOCK, sweep, temporary_folder
from otolith.storage.processes import unordered

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")

WRITING = """
import sys
from pathlib import Path
from otolith.storage.locks import temporary_folder
with temporary_folder(Path(sys.argv[1])) as part:
    (part / ".tmpAbCdEf").write_bytes(b"half")  # as safetensors names its own
    print(part, flush=True)
    sys.stdin.read()
"""

WORKING = """
import os, sys, time
from otolith.storage.processes import unordered

def work(number):
    os.write(1, b"%d " % os.getpid() + b"\\n")
    time.sleep(60)

if __name__ == "__main__":
    list(unordered(work, [(1,), (2,)], jobs=2))
"""


def held(path: Path) -> "tuple[subprocess.Popen[str], Path]":
    command = [sys.executable, "-c", WRITING, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_only_what_the_dead_left_is_swept(tmp_path: Path) -> None:
    (alive, kept), (dead, left) = held(tmp_path / "a.txt"), held(tmp_path / "b.txt")
    dead.kill()
    dead.communicate()
    foreign = tmp_path / ".download.part"  # of another program
    foreign.mkdir()
    sweep(tmp_path)
    assert kept.is_dir() and not left.exists() and foreign.is_dir()
    alive.communicate()
    assert not kept.exists()


def test_the_first_writer_in_a_folder_sweeps_it(tmp_path: Path) -> None:
    dead, left = held(tmp_path / "other.txt")
    dead.kill()
    dead.communicate()
    with temporary_folder(tmp_path / "mine.txt") as part:
        assert not left.exists() and (part / LOCK).exists()
    assert not list(tmp_path.iterdir())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends workers in the middle of a task")
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "working.py"
    script.write_text(WORKING)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        assert all(map(alive, workers)) and parent.pid not in workers
        parent.kill()
    until = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def kill_itself(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_an_error_in_words() -> None:
    with pytest.raises(OSError, match="a worker process was killed, most often because memory ran out"):
        list(unordered(kill_itself, [(1,), (2,)], jobs=2))
