"""One fuzz target under atheris, which is led by what code an input reaches: `python -m tests.fuzz` starts it."""

from __future__ import annotations

import sys
import time

import atheris

with atheris.instrument_imports(include=["appliance", "tuf", "securesystemslib"]):
    from tests.fuzz import inputs
from tests.fuzz.choices import Given

MOST_SECONDS = 1.0


def main() -> None:
    """`TARGET`, then libFuzzer's options."""
    name = sys.argv.pop(1)
    with inputs.target(name) as tried:

        def one(data: bytes) -> None:
            begun = time.process_time()
            tried(Given(data))
            taken = time.process_time() - begun
            if taken > MOST_SECONDS:
                raise RuntimeError(f"an input took {taken:.1f} s")

        atheris.Setup(sys.argv, one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
