"""`python -m appliance.update.template_trial`: render a release's chat template where it can do no harm.

Reads one JSON object from stdin (`template`, `conversations`, `bos`, `eos`, `seconds`), renders each conversation in
the sandbox, and writes `{"longest": N}` in characters or `{"refused": reason}`. Bounded in time and memory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.errors import AnchorholdError, UpdateError

CPU_SECONDS = 5
WALL_SECONDS = 60.0  # on a busy machine
MEMORY_BYTES = 512 * 1024 * 1024
MOST_CHARACTERS = 4 * 1024 * 1024  # of one rendered conversation
_PLAIN = [{"role": "user", "content": "Is anybody there?"}]
_HINT = "the old release goes on serving; report this to whoever made the stick"


def check(template: str, conversations: Sequence[Sequence[Mapping[str, Any]]], bos: str, eos: str) -> None:
    """Render `template` for `conversations` (and one of our own) in a confined child process.

    Raises:
        UpdateError: it isn't valid, reaches for what the sandbox forbids, or takes too much time, memory or text.
    """
    asked: dict[str, Any] = {
        "template": template,
        "conversations": [_PLAIN, *conversations],
        "bos": bos,
        "eos": eos,
    }
    asked["seconds"] = CPU_SECONDS
    words = [sys.executable, "-m", "appliance.update.template_trial"]
    try:
        done = subprocess.run(
            words, input=json.dumps(asked).encode(), capture_output=True, timeout=WALL_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise UpdateError("the release's chat template doesn't come to an end", _HINT) from error
    try:
        said = json.loads(done.stdout)
    except ValueError:
        raise UpdateError(
            f"the release's chat template takes more than {CPU_SECONDS} s or {MEMORY_BYTES >> 20} MiB", _HINT
        ) from None
    if "refused" in said:
        raise UpdateError(f"the release's chat template is refused: {said['refused']}", _HINT)


def main() -> None:
    """Render, and say what came of it."""
    from appliance import chat_template, confinement

    asked = json.loads(sys.stdin.buffer.read())
    resource.setrlimit(resource.RLIMIT_CPU, (asked["seconds"], asked["seconds"]))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if not confinement.confine() and confinement.possible():
        sys.stdout.write(json.dumps({"refused": "the process that tries it can't be confined"}))
        return
    longest = 0
    try:
        for messages in asked["conversations"]:
            text = chat_template.render(
                asked["template"], messages, add_generation_prompt=True, bos=asked["bos"], eos=asked["eos"]
            )
            longest = max(longest, len(text))
            if longest > MOST_CHARACTERS:
                raise UpdateError(f"it makes more than {MOST_CHARACTERS} characters of one conversation")
    except AnchorholdError as error:
        sys.stdout.write(json.dumps({"refused": error.message}))
    except MemoryError:
        sys.stdout.write(json.dumps({"refused": f"it takes more than {MEMORY_BYTES >> 20} MiB"}))
    except Exception as error:  # whatever a template can raise is a reason to refuse it
        sys.stdout.write(json.dumps({"refused": f"{type(error).__name__}: {error}"}))
    else:
        sys.stdout.write(json.dumps({"longest": longest}))


if __name__ == "__main__":
    main()
