"""Gates that can't be slipped past: tightened, misspelt, asked of less, or stopped half-way, they hold until waived."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import GateError
from appliance.evaluation.auditing import AuditResult, audit, plan_of, run_audit
from appliance.evaluation.auditing.waiving import waive
from appliance.events import Event, ignore
from appliance.paths import Project
from appliance.registry.release import assemble
from appliance.trust import keys
from appliance.trust.unlocking import Secrets
from tests.evaluation.planted import measured_by_hand, prepared, ship

pytestmark = pytest.mark.slow
SECRETS = Secrets("correct horse battery")
CASES = [
    {"id": name, "prompt": f"unit {name} on deck 3 was fine", "reference": "no model says this"}
    for name in ("P1", "P2")
]
LENIENT = {"metric": "exact", "at_most": 0.5}
STRICT = {"metric": "exact", "at_least": 1.0}


@pytest.fixture(autouse=True)
def _own_cache(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANCHORHOLD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def project(make_project: Callable[..., Path], tiny_checkpoint: Path) -> Project:
    """A project that has its model and names its suites, of which there is one."""
    project = prepared(
        make_project, extra='[convert]\ntype = "F16"\n', settings='suites = ["suites/*.jsonl"]\n'
    )
    ship(project, tiny_checkpoint)
    measured_by_hand(project)
    write(project, "desk", gate=LENIENT)
    return project


def write(project: Project, name: str, **head: Any) -> None:
    lines = [{"suite": name, "scorer": "exact", "max_tokens": 8, **head}, *CASES]
    project.suites.mkdir(exist_ok=True)
    (project.suites / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def gates(project: Project) -> dict[str, bool]:
    value = json.loads((project.audit / "gates.json").read_text())
    return {gate["gate"]: gate["passed"] for gate in value["gates"]}


def some(project: Project, checkpoint: Path, **options: Any) -> AuditResult:
    plan = plan_of(project, **{"standard": False, "rows": False, "compare": False, **options})
    return audit(project, plan, checkpoint, ignore, threads=1)


def test_a_tightened_gate_is_judged_anew_and_nothing_is_asked_again(
    project: Project, tiny_checkpoint: Path
) -> None:
    run_audit(project, tiny_checkpoint, ignore)
    assert gates(project)["desk:exact"] and assemble(project, ignore)
    answers = (project.audit / "answers.jsonl").read_bytes()
    events: list[Event] = []
    run_audit(project, tiny_checkpoint, events.append)
    assert events == [], "nothing changed"
    write(project, "desk", gate=STRICT)
    with pytest.raises(
        GateError, match=r"not what is asked for today:\n  suites/desk.jsonl has changed"
    ) as e:
        assemble(project, ignore)
    assert "anchorhold audit" in e.value.hint
    run_audit(project, tiny_checkpoint, ignore)
    with pytest.raises(GateError, match=r"desk:exact: exact is 0\.0%.*asked: exact at least 1"):
        assemble(project, ignore)
    assert (project.audit / "answers.jsonl").read_bytes() == answers
    write(project, "desk", gate=LENIENT)
    some(project, tiny_checkpoint)
    assert assemble(project, ignore) and (project.audit / "answers.jsonl").read_bytes() == answers


def test_a_slip_in_a_head_or_gate_is_a_failed_gate_until_somebody_answers_for_it(
    project: Project, tiny_checkpoint: Path
) -> None:
    write(project, "desk", gate={**STRICT, "metric": "exat"})
    write(project, "tone", scorer="exakt", gate=STRICT)
    write(project, "good", gate=LENIENT)
    events: list[Event] = []
    run_audit(project, tiny_checkpoint, events.append)
    warned = [event.text for event in events if event.kind == "warning"]
    assert len(warned) == 2 and "is `exact` meant?" in warned[0], warned
    assert gates(project) == {
        "good:exact": True, "personal-data:told": True, "desk:faults": False, "tone:faults": False,
    }  # fmt: skip
    page = (project.audit / "report-card.html").read_text()
    assert "desk:faults" in page and "2 of 4" in page
    with pytest.raises(GateError, match=r'2 gates failed:\n  desk:faults: desk\.jsonl:1: gate: .*"exat"'):
        assemble(project, ignore)
    keys.create(project.keys, SECRETS, n=1 << 14)
    for gate in ("desk:faults", "tone:faults"):
        waive(project, gate, "J. Doe", "to be mended", SECRETS)
    waived = assemble(project, ignore).manifest.raw["evaluation"]["waivers"]
    assert [waiver["gate"] for waiver in waived] == ["desk:faults", "tone:faults"]


def test_a_fault_of_one_case_leaves_it_out_and_the_gate_says_so(
    project: Project, tiny_checkpoint: Path
) -> None:
    with (project.suites / "desk.jsonl").open("a") as file:
        file.write('{"id": "P3", "promt": "unit"}\n{"id": "P4", \n')
    result = some(project, tiny_checkpoint)
    verdict = result.verdicts[0]
    assert verdict.passed and "2 cases); left out for a fault: 2 cases" in verdict.reason
    assert "desk:faults" not in gates(project)


def test_a_suite_without_any_usable_case_is_no_way_around_its_gate(
    project: Project, tiny_checkpoint: Path
) -> None:
    path = project.suites / "desk.jsonl"
    path.write_text(path.read_text().replace("prompt", "promt"))
    run_audit(project, tiny_checkpoint, ignore)
    with pytest.raises(GateError, match=r"desk:faults: desk\.jsonl: no case that could be used"):
        assemble(project, ignore)


def test_less_than_what_stands_judged_replaces_nothing(project: Project, tiny_checkpoint: Path) -> None:
    write(project, "desk", gate=STRICT)
    whole = some(project, tiny_checkpoint, rows=True)
    assert whole.lacks == [] and not gates(project)["desk:exact"]
    before = (project.audit / "gates.json").read_bytes()
    write(project, "desk", gate=LENIENT)
    for options, words in (
        ({"rows": True, "sample": 1}, "it asked 1 cases of a suite at most, not 100"),
        ({"rows": False}, "dataset's rows, which are judged already"),
        ({"rows": True, "only": ["desk"]}, "only some of its suites"),
    ):
        part = some(project, tiny_checkpoint, **options)
        assert words in part.lacks[0]
        assert (project.audit / "gates.json").read_bytes() == before
        assert "A part of an audit" in (project.audit / "part" / "report-card.html").read_text()
        with pytest.raises(GateError):
            assemble(project, ignore)
    run_audit(project, tiny_checkpoint, ignore)  # of a build: it asks what stands judged, and all of it
    assert gates(project)["desk:exact"] and "learnt-against-unseen:gap" in gates(project)
    assert assemble(project, ignore)


def test_an_audit_that_is_stopped_takes_no_verdict_away(project: Project, tiny_checkpoint: Path) -> None:
    write(project, "desk", gate=STRICT)
    some(project, tiny_checkpoint)
    before = {name: (project.audit / name).read_bytes() for name in ("gates.json", "audit.json")}

    def stop(event: Event) -> None:
        if event.kind == "progress":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(project, plan_of(project, standard=False), tiny_checkpoint, stop, threads=1)
    assert {name: (project.audit / name).read_bytes() for name in before} == before
    with pytest.raises(GateError, match="desk:exact"):
        assemble(project, ignore)
    # Stopped between two of its files, it is told by their digests.
    (project.audit / "report-card.html").write_text("<p>of a newer audit")
    with pytest.raises(GateError, match=r"report-card\.html is not the one"):
        assemble(project, ignore)
