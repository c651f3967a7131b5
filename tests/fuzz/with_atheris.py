"""One fuzz target under atheris, which is led by what code an input reaches: `python -m tests.fuzz` starts it."""

from __future__ import annotations

import sys
import time

import atheris

with atheris.instrument_imports(include=["appliance", "tuf", "securesystemslib"]):
    from tests.fuzz import inputs

MOST_SECONDS = 1.0


class Given:
    """Choices out of the fuzzer's bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = atheris.FuzzedDataProvider(data)

    def below(self, count: int) -> int:
        """A number from 0 to `count` - 1."""
        return int(self._data.ConsumeIntInRange(0, max(0, count - 1)))

    def blob(self) -> bytes:
        """Up to some dozens of bytes."""
        return bytes(self._data.ConsumeBytes(self.below(24)))


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
