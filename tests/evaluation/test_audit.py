"""A whole audit with a real (tiny) model and the real engine: what is found, kept, named, judged and released."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import EvaluationError, GateError, TrustError, UpdateError, UsageError
from appliance.evaluation import evaluate
from appliance.evaluation.auditing import AuditResult, Plan, audit, plan_of, planning, running
from appliance.evaluation.auditing.sides import sampled
from appliance.evaluation.auditing.terminal import audit_lines
from appliance.evaluation.auditing.waiving import waive
from appliance.evaluation.scoring import SCORERS
from appliance.evaluation.suite import Case, Suite
from appliance.events import Event, ignore
from appliance.paths import Device, Project, registry_folder
from appliance.registry.release import assemble
from appliance.registry.store import Registry
from appliance.trust import keys
from appliance.trust.unlocking import Secrets
from appliance.update.install import install
from appliance.update.publish import publish_project
from tests.evaluation.planted import adapted, always, measured_by_hand, prepared, ship, taught

pytestmark = pytest.mark.slow
SECRETS = Secrets("correct horse battery")

DESK: list[dict[str, Any]] = [
    {
        "suite": "desk",
        "scorer": "json_fields",
        "title": "Desk <b>cases</b>",
        "max_tokens": 24,
        "gate": [{"metric": "parses", "at_least": 0.5}],
    },
    {
        "id": "a",
        "prompt": "unit P3 on deck 3 was fine",
        "reference": {"unit": "P3", "state": "ok"},
        "category": "fine",
    },
    {
        "id": "b",
        "prompt": "unit P5 on deck 40 was dead",
        "reference": '{"unit": "P5", "state": "down"}',
        "category": "dead",
    },
    {"id": "long", "prompt": "word " * 60_000, "reference": {"unit": "P5"}},
    {"id": "typo", "promt": "unit P5", "reference": {"unit": "P5"}},
]
WEIGHED: list[dict[str, Any]] = [
    {
        "suite": "weighed",
        "scorer": "choice",
        "kind": "retention",
        "gate": {"metric": "acc", "against": "tuned_f16", "drop_at_most": 0.9},
    },
    {
        "id": "a",
        "messages": [{"role": "user", "content": "unit P3 on deck 3 was fine"}],
        "choices": ['{"unit"', "fine fine"],
        "answer": 0,
    },
    {"id": "b", "prompt": "x", "choices": ["one", "two"], "answer": 1},
]


@pytest.fixture(autouse=True)
def _own_cache(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANCHORHOLD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def project(make_project: Callable[..., Path], tiny_checkpoint: Path) -> Project:
    project = prepared(make_project, extra='[convert]\ntype = "Q8_0"\n')
    ship(project, tiny_checkpoint)
    project.suites.mkdir()
    for name, lines in (("desk", DESK), ("weighed", WEIGHED)):
        (project.suites / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return project


def audited(project: Project, checkpoint: Path, **options: bool) -> tuple[AuditResult, list[Event]]:
    events: list[Event] = []
    plan = plan_of(project, standard=False, **{"compare": False, **options})  # type: ignore[arg-type]
    return audit(project, plan, checkpoint, events.append, threads=1), events


def test_an_audit_measures_what_it_can_and_names_the_rest(project: Project, tiny_checkpoint: Path) -> None:
    result, events = audited(project, tiny_checkpoint)
    desk, weighed = (next(s for s in result.suites if s.name == name) for name in ("desk", "weighed"))
    assert desk.cases == 2
    parses = desk.figure("shipped", "parses")
    assert parses is not None and parses.value == 1.0
    assert set(desk.categories) == {"dead", "fine"}
    faults = "\n".join(desk.faults)
    assert re.search(r"desk\.jsonl:4: \d{5,} tokens of prompt; the audit's context has room for 2024", faults)
    assert "desk.jsonl:5: unknown key `promt` (is `prompt` meant?)" in faults
    assert [entry.against for entry in weighed.differences] == ["tuned_f16"] * 2
    assert [system["key"] for system in result.systems] == ["shipped", "base_told", "tuned_f16"]
    tone = next(s for s in result.suites if s.name == "own-tone")
    assert set(tone.figures) == {"shipped", "base_told"} and tone.examples == []
    distance = tone.figure("shipped", "distance")
    assert distance is not None and distance.low < distance.value < distance.high
    assert result.left_out == [
        "own-slot-swaps: no prompt of the test split has a name, place or pronoun that the lists know: nothing to swap",
        "own-unknowns: the project's answers are JSON, which have no way to say that something isn't known",
    ]
    assert "What the dataset gives no suite for" in (project.audit / "report-card.html").read_text()
    assert set(tone.categories) == {"generic", "questions of its own"}
    gap = next(s for s in result.suites if s.name == "learnt-against-unseen")
    assert gap.examples == [] and gap.cases > 50
    assert [verdict.gate for verdict in result.verdicts] == [
        "desk:parses", "weighed:acc", "learnt-against-unseen:times", "learnt-against-unseen:gap", "rounding:loss",
        "own-tone:distance", "personal-data:told",
    ]  # fmt: skip
    assert all(verdict.passed for verdict in result.verdicts), result.verdicts
    last = [event for event in events if event.kind == "progress"][-1]
    assert last.done == last.total > 50


def test_what_was_found_is_kept_and_equal(
    project: Project, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audited(project, tiny_checkpoint)
    names = ("audit.json", "gates.json", "report-card.html")
    first = {name: (project.audit / name).read_bytes() for name in names}
    stores = ("answers.jsonl", "likelihoods.jsonl", "fidelity.jsonl")
    kept = {name: (project.audit / name).read_bytes() for name in stores}
    # A line that a kill has cut is dropped, and asked again; nothing else is.
    for name, data in kept.items():
        (project.audit / name).write_bytes(data[:-5])
    asked = []
    real = running.Engine.score

    def score(engine: running.Engine, *arguments: object) -> object:
        asked.append(arguments)
        return real(engine, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(running.Engine, "score", score)
    audited(project, tiny_checkpoint)
    assert len(asked) == 1
    assert {name: (project.audit / name).read_bytes() for name in names} == first
    for name, data in kept.items():  # the last line says how long it took, which differs
        again = (project.audit / name).read_bytes()
        assert again.splitlines()[:-1] == data.splitlines()[:-1]
        assert again.count(b"\n") == data.count(b"\n")


def test_the_report_card_holds_no_markup_of_others_and_no_other_place(
    project: Project, tiny_checkpoint: Path
) -> None:
    audited(project, tiny_checkpoint)
    page = (project.audit / "report-card.html").read_text(encoding="utf-8")
    assert "Desk &lt;b&gt;cases&lt;/b&gt;" in page and "<b>cases" not in page
    assert not re.search(r"https?://|<script|<link|<img", page)
    assert "learnt-against-unseen" in page and "deck 40" not in page.split("Memory")[1]


def test_a_scorer_that_raises_is_named_and_the_rest_runs(
    project: Project, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(case: Case, suite: Suite, given: object) -> object:
        if case.id == "b":
            raise ZeroDivisionError("no words at all")
        return SCORERS["json_fields"].score(case, suite, given)  # type: ignore[arg-type]

    scorer = SCORERS["json_fields"]
    monkeypatch.setitem(running.SCORERS, "json_fields", replace(scorer, score=broken))  # type: ignore[arg-type]
    monkeypatch.setattr(running, "SCORERS", {**SCORERS, "json_fields": replace(scorer, score=broken)})  # type: ignore[arg-type]
    result, _ = audited(project, tiny_checkpoint)
    desk = next(suite for suite in result.suites if suite.name == "desk")
    assert "desk.jsonl:3: the scorer json_fields failed: ZeroDivisionError: no words at all" in desk.faults
    assert len(result.suites) == 8


def test_a_sample_is_the_same_every_time_and_said(project: Project) -> None:
    suite = Suite("s", "exact", tuple(Case(str(number), {}, "") for number in range(50)))
    some = sampled(suite, 10)
    assert len(some.cases) == 10 and some.of == 50
    assert some == sampled(suite, 10)
    assert {case.id for case in some.cases} <= {case.id for case in sampled(suite, 20).cases}
    assert sampled(suite, 0) is suite and sampled(suite, 50) is suite


def test_the_shipped_file_is_set_beside_a_16_bit_file_that_does_not_stay(
    make_project: Callable[..., Path], tiny_checkpoint: Path
) -> None:
    extra = '[evaluation.gates]\nint4_kl = 1e-9\nint4_top1 = 0.5\n[convert]\ntype = "Q4_0"\n'
    project = prepared(make_project, extra=extra)
    adapted(project)
    full = project.gguf("F16")
    digest = json.loads((project.model / "convert.json").read_text())["files"]["F16"]["sha256"]
    plan = plan_of(project, standard=False, only=["fidelity"])
    kept = audit(project, plan, tiny_checkpoint, ignore, threads=1)
    full.unlink()
    (project.audit / "fidelity.jsonl").unlink()
    left = project.audit / "..full-f16.gguf.part.killed.part"  # as a kill in the middle of it leaves
    left.write_bytes(b"half")
    made = audit(project, plan, tiny_checkpoint, ignore, threads=1)
    assert made.to_json() == kept.to_json()
    assert not full.exists() and not list(project.audit.glob("*.part")) and not list(project.audit.glob(".*"))
    assert [system["file"]["sha256"] for system in made.systems][1] == digest
    suite = made.suites[0]
    kl, top1 = suite.figure("shipped", "kl"), suite.figure("shipped", "top1")
    assert kl is not None and top1 is not None and kl.cases == suite.cases > 5
    assert 1e-6 < kl.low < kl.value < kl.high < 1 and 0.5 < top1.value < 1
    assert {verdict.gate: verdict.passed for verdict in made.verdicts} == {
        "fidelity:kl": False, "fidelity:top1": True,
    }  # fmt: skip
    page = (project.audit / "part" / "report-card.html").read_text()
    assert "Whole distributions beside 16 bits" in page and "Quantization" in page
    settings = project.adapter / "adapter_config.json"
    settings.write_text(settings.read_text().replace('"lora_alpha": 4', '"lora_alpha": 8'))
    with pytest.raises(EvaluationError, match="not what Q4_0 was made of"):
        audit(project, plan, tiny_checkpoint, ignore, threads=1)


def test_who_won_is_said_of_what_the_file_is_for(
    project: Project, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """The base is the same model here: nothing is shown. What is in service answers everything alike, and loses."""
    dull = taught(tiny_checkpoint, tmp_path / "dull", always("no idea", ["unit P1 was dead", "hello"]), 40)
    for checkpoint in (dull, tiny_checkpoint):
        ship(project, checkpoint)
        measured_by_hand(project)
        if checkpoint is dull:
            promoted(project)
    result, _ = audited(project, tiny_checkpoint, compare=True)
    titles = {system["key"]: system["title"] for system in result.systems}
    assert titles["in_service"] == "In service: 1.0.0" and "1 examples in the prompt" in titles["base_shots"]
    split = next(suite for suite in result.suites if suite.name == "test-split")
    gaps = {gap.against: gap for gap in split.differences if gap.metric == "f1"}
    assert set(gaps) == {"base", "base_shots", "in_service"} and split.examples == []
    assert gaps["base"].verdict == "no difference shown"
    beaten = gaps["in_service"]
    assert beaten.verdict == "better" and beaten.wins > 3 and beaten.losses == 0
    lines = "\n".join(audit_lines(result))
    assert f"against In service: 1.0.0: {beaten.wins} won, 0 lost of {beaten.cases}, p = " in lines
    page = (project.audit / "report-card.html").read_text()
    assert "Against the others" in page and "In service: 1.0.0" in page
    promoted(project)  # this very file in service: nothing to compare it with
    result, _ = audited(project, tiny_checkpoint, compare=True)
    assert [system["key"] for system in result.systems] == [
        "shipped",
        "base_told",
        "tuned_f16",
        "base",
        "base_shots",
    ]


def promoted(project: Project) -> None:
    assemble(project, ignore)
    with Registry(registry_folder()) as registry:
        registry.promote(registry.add(project.release).digest, "stable")


def test_only_one_suite_is_no_audit_of_a_release(project: Project, tiny_checkpoint: Path) -> None:
    plan = plan_of(project, standard=False, only=["weighed"])
    audit(project, plan, tiny_checkpoint, ignore, threads=1)
    assert (project.audit / "part" / "audit.json").is_file() and not (project.audit / "audit.json").exists()
    with pytest.raises(UsageError, match=r"no suite is called 'weihged' \(is `weighed` meant\?\)"):
        plan_of(project, only=["weihged"])


def test_a_release_takes_the_audit_of_its_file_along(project: Project, tiny_checkpoint: Path) -> None:
    evaluate(project, ignore, checkpoint=tiny_checkpoint, threads=1)
    bare = assemble(project, ignore)
    before = {file.role for file in bare.manifest.files}
    assert before >= {"model", "report", "card"}
    audited(project, tiny_checkpoint)
    release = assemble(project, ignore)
    assert {file.role for file in release.manifest.files} - before == {"report-card", "audit"}
    gates = [gate["gate"] for gate in release.manifest.raw["evaluation"]["gates"]]
    assert gates[:2] == ["answers:ended", "answers:quantization"] and "desk:parses" in gates
    audited(project, tiny_checkpoint)
    assert assemble(project, ignore).digest == release.digest
    value = json.loads((project.audit / "gates.json").read_text())
    (project.audit / "gates.json").write_text(json.dumps({**value, "model": "0" * 64}))
    events: list[Event] = []
    assert assemble(project, events.append).digest == bare.digest
    assert any("of another file" in event.text for event in events)


def failed_gate(project: Project) -> str:
    path = project.audit / "gates.json"
    value = json.loads(path.read_text())
    value["gates"][0]["passed"] = False
    path.write_text(json.dumps(value))
    return str(value["gates"][0]["gate"])


def test_a_failed_gate_stops_a_release_until_somebody_answers_for_it(
    project: Project, tiny_checkpoint: Path
) -> None:
    evaluate(project, ignore, checkpoint=tiny_checkpoint, threads=1)
    audited(project, tiny_checkpoint)
    gate = failed_gate(project)
    with pytest.raises(
        GateError, match=r"1 gate failed:\n  desk:parses: parses is 100\.0%.*asked: parses at least 0\.5"
    ) as e:
        assemble(project, ignore)
    assert e.value.exit_code == 12 and f"audit waive {gate}" in e.value.hint
    assert not project.release.exists()

    keys.create(project.keys, SECRETS, n=1 << 14)
    with pytest.raises(UsageError, match="no gate 'desk:prases' was judged"):
        waive(project, "desk:prases", "J. Doe", "because", SECRETS)
    with pytest.raises(UsageError, match="passed: there is nothing to waive"):
        waive(project, "answers:ended", "J. Doe", "because", SECRETS)
    with pytest.raises(UsageError, match="the name of a person and a reason"):
        waive(project, gate, " ", "because", SECRETS)
    waiver = waive(project, gate, "J. Doe", "cases are two  only", SECRETS)
    release = assemble(project, ignore)
    assert release.manifest.raw["evaluation"]["waivers"] == [waiver.to_json()]
    assert waiver.reason == "cases are two only"
    assert assemble(project, ignore).digest == release.digest

    # Another reason was never signed; nor is a waiver of this file one of another.
    line = project.waivers.read_text()
    project.waivers.write_text(line.replace("two only", "none"))
    with pytest.raises(TrustError, match="the signature of the waiver of desk:parses doesn't hold"):
        assemble(project, ignore)
    other = keys.create(project.root / "other-keys", SECRETS, n=1 << 14)
    assert other
    project.waivers.write_text("")
    with pytest.raises(GateError):
        assemble(project, ignore)


def test_a_device_shows_the_card_that_was_signed(
    project: Project, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    evaluate(project, ignore, checkpoint=tiny_checkpoint, threads=1)
    audited(project, tiny_checkpoint)
    gate = failed_gate(project)
    keys.create(project.keys, SECRETS, n=1 << 14)
    waive(project, gate, "J. Doe", "two cases only", SECRETS)
    assemble(project, ignore)
    publish_project(project, tmp_path / "stick", ignore, secrets=SECRETS)
    device = Device(tmp_path / "hut")
    install(tmp_path / "stick", device, ignore, trust=project.keys / "root.json")
    program = [sys.executable, "-m", "appliance", "status", "--card", "--root", str(device.root)]
    shown = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert max(map(len, shown.splitlines())) <= 78
    assert "1 waived by name" in shown and "waived by J. Doe: two cases only" in shown
    for part in ("FAILED  desk:parses", "desk: Desk <b>cases</b> (2 cases)", "weighed", "acc", "Tuned, F16"):
        assert part in shown, part
    told = json.loads(subprocess.run([*program, "--json"], capture_output=True, check=True).stdout)
    assert told["audit"] == json.loads((project.audit / "audit.json").read_bytes())


def test_where_an_audit_is_required_there_is_no_release_without(
    project: Project, tiny_checkpoint: Path
) -> None:
    evaluate(project, ignore, checkpoint=tiny_checkpoint, threads=1)
    config = project.root / "anchorhold.toml"
    config.write_text(config.read_text().replace("shots = 1", 'shots = 1\naudit = "required"'))
    strict = Project.open(project.root)
    with pytest.raises(GateError, match="there is no audit of this file"):
        assemble(strict, ignore)
    (project.evaluation / "gates.json").unlink()
    with pytest.raises(UpdateError, match=r"gates\.json: missing"):
        assemble(strict, ignore)


def test_no_suite_at_all_is_an_error(project: Project, tiny_checkpoint: Path) -> None:
    with pytest.raises(EvaluationError, match="no suite to run"):
        audit(project, Plan(()), tiny_checkpoint, ignore)


def test_a_build_leaves_an_audit_that_asked_as_much(project: Project, tiny_checkpoint: Path) -> None:
    config = project.root / "anchorhold.toml"
    config.write_text(config.read_text().replace("shots = 1", 'shots = 1\nsuites = ["suites/weighed.jsonl"]'))
    named = Project.open(project.root)
    planning.run_audit(named, tiny_checkpoint, ignore)
    first = (named.audit / "audit.json").read_bytes()
    events: list[Event] = []
    planning.run_audit(named, tiny_checkpoint, events.append)
    assert all(event.kind == "warning" for event in events), "only the faults of cases are told again"
    assert (named.audit / "audit.json").read_bytes() == first
    path = named.suites / "weighed.jsonl"
    path.write_text(path.read_text().replace("fine fine", "fine"))
    planning.run_audit(named, tiny_checkpoint, ignore)
    suites = json.loads((named.audit / "audit.json").read_text())["suites"]
    assert [suite["name"] for suite in suites] == ["desk", "weighed", "personal-data"]
    assert suites[1]["digest"] != json.loads(first)["suites"][1]["digest"]
