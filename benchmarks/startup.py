"""How long `otolith --help` takes, and what importing loads. Usage: python benchmarks/startup.py"""

import statistics
import subprocess
import sys
import time

ROUNDS = 7
HEAVY = ("torch", "lightning_fabric", "pandas", "scipy", "sklearn", "matplotlib")


def main() -> None:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "otolith", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    print(f"otolith --help: median {statistics.median(times):.2f} s, slowest {max(times):.2f} s of {ROUNDS}")
    for code in ("import otolith", "import otolith.cli.main"):
        check = f"{code}; import sys; print([name for name in {HEAVY!r} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
        print(f"{code} loads of the heavy packages: {done.stdout.strip()}")


if __name__ == "__main__":
    main()
