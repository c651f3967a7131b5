"""The product's main job on the sample project, from examples to answers, with the commands that a person would type.

Run by `make demo`. Everything lands in demo/ (git-ignored): the project, the stick, and a folder that plays the
disconnected device. Run again, it skips what is unchanged.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
PROJECT = DEMO / "workorders"
DEVICE = DEMO / "device"
STICK = PROJECT / "stick"
SHOWN = 5


def environment() -> dict[str, str]:
    """The demo's own passphrase, cache, device and registry; nothing of the person's is touched."""
    secret = DEMO / "passphrase"
    if not secret.exists():
        secret.touch(0o600)
        secret.write_text(secrets.token_hex(16) + "\n")
    return {
        **os.environ,
        "ANCHORHOLD_PASSPHRASE": secret.read_text().strip(),
        "ANCHORHOLD_CACHE": str(DEMO / "cache"),
        "ANCHORHOLD_ROOT": str(DEVICE),
        "ANCHORHOLD_REGISTRY": str(DEMO / "registry"),
    }


def anchorhold(*arguments: str, capture: bool = False) -> str:
    """Run one verb, showing it as it would be typed; end the demo where it fails."""
    shown = shlex.join(argument.replace(f"{ROOT}/", "") for argument in arguments)
    if not capture:
        print(f"\n$ anchorhold {shown}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        env=environment(),
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout or ""


def lay_out_project() -> None:
    """Copy the sample project's sources; what was built before stays and is judged by its digests."""
    PROJECT.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "examples" / "workorders", PROJECT, dirs_exist_ok=True)
    if answers():
        raise SystemExit(
            f"a gateway serves {DEVICE.relative_to(ROOT)}: stop `anchorhold serve`, then run this again"
        )
    # The device begins empty, so that installing is shown each time.
    shutil.rmtree(DEVICE, ignore_errors=True)


def answers() -> bool:
    """Whether a gateway answers on the demo's device."""
    from appliance.errors import ServingError
    from appliance.paths import Device
    from appliance.serving.gateway_client import GatewayClient

    try:
        GatewayClient(Device(DEVICE).gateway_socket).health()
    except ServingError:
        return False
    return True


@contextmanager
def serving() -> Iterator[None]:
    """The gateway with its engine, as `anchorhold serve` starts it; stopped at the end."""
    print("\n$ anchorhold serve &", flush=True)
    log = DEMO / "serve.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "serve"], env=environment(), stdout=stream, stderr=stream
        )
        try:
            deadline = time.monotonic() + 120
            while not answers():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the gateway did not start; see {log}:\n{log.read_text()[-2000:]}")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def unseen() -> list[dict[str, Any]]:
    """Test rows, none of which was trained on: the first ones, and two of them with two faults."""
    lines = (PROJECT / "build" / "dataset" / "test.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    double = [row for row in rows if row["messages"][-1]["content"].count('"equipment"') == 2]
    single = [row for row in rows if row not in double]
    return single[: SHOWN - 2] + double[:2]


def base_answers(rows: list[dict[str, Any]]) -> list[str]:
    """What the untuned base says to the same prompts, through the same engine."""
    from appliance.base_model import embedded_gguf
    from appliance.serving.engine_client import Engine, Sampling

    with Engine(embedded_gguf(), slots=SHOWN) as engine:
        prompts = [engine.render(row["messages"][:-1]) for row in rows]
        return [done.text for done in engine.complete_many(prompts, Sampling(max_tokens=128))]


def show(rows: list[dict[str, Any]], base: list[str], tuned: list[str]) -> None:
    """The table: note, base, tuned, expected."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def orders(text: str) -> str:
        try:
            found = json.loads(text)["orders"]
            return "\n".join(
                " / ".join([*(str(value) for key, value in order.items() if key != "parts"), *order["parts"]])
                for order in found
            )
        except (json.JSONDecodeError, KeyError, TypeError):
            return text

    width = None if sys.stdout.isatty() else 120
    table = Table(title="Five notes that it never saw", box=box.ASCII2, show_lines=True, width=width)
    for heading, ratio in (("note", 3), ("base said", 3), ("tuned says", 3), ("expected", 3), ("", None)):
        table.add_column(heading, ratio=ratio, overflow="fold")
    right = 0
    for row, before, after in zip(rows, base, tuned, strict=True):
        expected = row["messages"][-1]["content"]
        try:
            same = json.loads(after) == json.loads(expected)
        except json.JSONDecodeError:
            same = False
        right += same
        short = before.strip().replace("\n", " ")
        cells = (row["messages"][-2]["content"], short[:160] + ("..." if len(short) > 160 else ""))
        table.add_row(
            *(Text(part) for part in (*cells, orders(after), orders(expected), "ok" if same else "X"))
        )
    Console(width=width).print(table)
    print(f"{right} of {len(rows)} exactly right. All of the test split: {PROJECT.relative_to(ROOT)}"
          "/build/evaluation/report.html")  # fmt: skip


def main() -> None:
    """Walk the road."""
    DEMO.mkdir(exist_ok=True)
    os.environ.update(environment())
    lay_out_project()
    began = time.monotonic()
    if not (PROJECT / "keys" / "root.json").exists():
        anchorhold("keys", "init", "--single", "--project", str(PROJECT))
    anchorhold("build", "--project", str(PROJECT))
    root = DEMO / "root.json"
    anchorhold("keys", "export-root", str(root), "--project", str(PROJECT))
    anchorhold("stick", "check", str(STICK), "--trust", str(root))
    anchorhold("install", str(STICK), "--trust", str(root))
    anchorhold("status")
    rows = unseen()
    base = base_answers(rows)
    with serving():
        tuned = []
        for row in rows:
            note = row["messages"][-2]["content"]
            # No system prompt is given: the release carries the one that it was trained behind.
            words = ["chat", "--max-tokens", "128", "--message", note]
            tuned.append(anchorhold(*words, capture=True).strip())
    print()
    show(rows, base, tuned)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"\nThe road took {minutes} min {seconds} s. To talk to it in the terminal UI:\n")
    where = DEVICE.relative_to(ROOT)
    print(f"  export ANCHORHOLD_ROOT={where}")
    print("  .venv/bin/anchorhold serve > demo/serve.log 2>&1 &")
    print("  .venv/bin/anchorhold")


if __name__ == "__main__":
    main()
