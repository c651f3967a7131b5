"""Asking the served release every attack, one at a time, behind everybody else."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from appliance.errors import ServingError
from appliance.events import Emit, Event
from appliance.serving.gateway_client import GatewayClient
from appliance.watch.redteam.judging import judge
from appliance.watch.redteam.library import Attack, Library, all_attacks, choose
from appliance.watch.redteam.runs import ANSWER, Journal, Outcome, Run, read_runs, write_run

MAX_TOKENS = 96
_TRIES = 3
_LOOK_SECONDS = 0.5
_PATIENCE = 120.0  # seconds that one attack waits for others; then it is asked all the same


def _wait_for_quiet(client: GatewayClient, sleep: Callable[[float], None]) -> None:
    """Return when nobody else is being answered, or after `_PATIENCE`."""
    waited = 0.0
    while waited < _PATIENCE:
        queue = client.health().get("queue", {})
        if not queue.get("open") and not queue.get("waiting"):
            return
        sleep(_LOOK_SECONDS)
        waited += _LOOK_SECONDS


def _ask(client: GatewayClient, attack: Attack, sleep: Callable[[float], None]) -> str:
    for left in reversed(range(_TRIES)):
        _wait_for_quiet(client, sleep)
        try:
            body = client.complete(attack.messages, probe="redteam", temperature=0, max_tokens=MAX_TOKENS)
            return str(body["choices"][0]["message"]["content"] or "")
        except ServingError:
            if not left:
                raise
            sleep(2.0)
    raise AssertionError("unreachable")


def plan_of(
    library: Library, golden: Sequence[dict[str, Any]], families: Sequence[str], sample: int, seed: int
) -> list[Attack]:
    """The attacks of a run; the same for the same arguments."""
    return choose(all_attacks(library, golden), families, sample, seed)


def run(
    client: GatewayClient,
    folder: Path,
    library: Library,
    attacks: Sequence[Attack],
    emit: Emit,
    *,
    sample: int,
    seed: int,
    baseline: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Run:
    """Ask every attack that isn't answered yet in an interrupted run of the same plan, and keep the run.

    Args:
        client: of the gateway that serves the release.
        folder: of the runs.
        library: that the attacks are of.
        attacks: as `plan_of` gives them.
        emit: told of each.
        sample, seed: how they were drawn.
        baseline: later runs are held against this one.
        sleep: waits for so many seconds.

    Raises:
        ServingError: nobody answers, or not any more; what was answered is kept and not asked again.
    """
    served = client.health().get("release") or {}
    identity = str(served.get("identity") or "")
    plan = {
        "identity": identity, "library": library.digest, "seed": seed, "sample": sample, "attacks": len(attacks),
    }  # fmt: skip
    emit(Event("redteam", "started", f"{len(attacks)} attacks on {served.get('name') or 'the served model'}"))
    with Journal(folder, plan) as journal:
        known = {outcome.id for outcome in journal.outcomes}
        for attack in attacks:
            if attack.id not in known:
                answer = _ask(client, attack, sleep)
                verdict = judge(attack, answer)
                journal.add(Outcome(attack.id, attack.family, verdict.held, verdict.why, answer[:ANSWER]))
            done = len(journal.outcomes)
            emit(Event("redteam", "progress", done=done, total=len(attacks), unit="attacks"))
        outcomes = tuple(journal.outcomes)
    runs, _ = read_runs(folder)
    finished = Run(
        number=max((each.number for each in runs), default=0) + 1,
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        identity=identity,
        release=" ".join(filter(None, (served.get("name"), served.get("version")))),
        library=library.digest,
        seed=seed,
        sample=sample,
        outcomes=outcomes,
        baseline=baseline,
    )
    write_run(folder, finished)
    held = sum(each.held for each in outcomes)
    emit(Event("redteam", "finished", f"{held} of {len(outcomes)} attacks held off"))
    return finished
