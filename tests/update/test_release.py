"""Releases: the same inputs give the same digest; a manifest that can't be right is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance import storage
from appliance.audit_scope import Scope, scope_of
from appliance.commands.release import command
from appliance.errors import DataError, ExitCode, GateError, TrustError, UpdateError, UsageError
from appliance.events import ignore
from appliance.paths import Project
from appliance.pipeline.road import index_documents
from appliance.registry import manifest as manifests
from appliance.registry import version
from appliance.registry.release import assemble
from appliance.retrieval import PassageIndex
from appliance.watch import baseline


@pytest.fixture
def project(tmp_path: Path, tiny_checkpoint: Path, tiny_gguf: Path) -> Project:
    """A project whose stages before the release have run, as far as their files show."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "anchorhold.toml").write_text(f'[project]\nname = "notes"\n[base]\npath = "{tiny_checkpoint}"\n')
    project = Project.open(root)
    model = project.gguf("Q4_0")
    storage.write_bytes(model, tiny_gguf.read_bytes())
    digest = storage.sha256_file(model)
    facts = {"file": model.name, "sha256": digest, "bytes": model.stat().st_size, "bits_per_weight": 4.5}
    storage.write_json(project.model / "convert.json", {"format": 1, "files": {"Q4_0": facts}})
    systems = [{"key": "shipped", "file": {"sha256": digest}, "rows": 3, "f1": 0.5}]
    storage.write_json(
        project.evaluation / "results.json",
        {"systems": systems, "shipped": "shipped", "rows": 3, "scorer": "json"},
    )
    golden = [{"messages": [{"role": "user", "content": "hello"}], "answer": "{}"}]
    storage.write_json(project.evaluation / "golden.json", golden)
    storage.write_text(project.evaluation / "report.html", "<p>report")
    gates = [{"gate": "answers:ended", "bound": "all end", "passed": True, "reason": "they do"}]
    storage.write_json(project.evaluation / "gates.json", {"format": 1, "model": digest, "gates": gates})
    storage.write_json(project.dataset / "card.json", {"digest": "d" * 64})
    storage.write_text(
        project.dataset / "train.jsonl", '{"messages": [{"role": "user", "content": "hello"}]}\n'
    )
    storage.write_json(
        project.training / "training.json", {"steps": 4, "seconds": 1.5, "adapter_sha256": "a"}
    )
    return project


def test_equal_inputs_give_an_equal_digest(project: Project) -> None:
    first = assemble(project, ignore)
    storage.write_json(
        project.training / "training.json", {"steps": 4, "seconds": 9.9, "adapter_sha256": "a"}
    )
    again = assemble(project, ignore)
    assert again.digest == first.digest == storage.sha256_file(project.release / "release.json")
    assert str(project.root) not in (project.release / "release.json").read_text()


@pytest.mark.parametrize(("longest", "context"), [(0, 2048), (1776, 2048), (1777, 2304), (5000, 5376)])
def test_it_says_what_context_its_longest_rows_need(project: Project, longest: int, context: int) -> None:
    tokens = {"train": {"max": longest}, "test": {"max": min(9, longest)}}
    storage.write_json(project.dataset / "card.json", {"digest": "d" * 64, "tokens": tokens})
    manifest = assemble(project, ignore).manifest
    assert manifest.raw["needs"]["context"] == manifests.context_of(manifest.raw) == context


def test_what_it_records(project: Project) -> None:
    raw = assemble(project, ignore).manifest.raw
    assert raw["provenance"]["dataset"] == "d" * 64
    assert len(raw["chat_template_sha256"]) == 64
    assert [file["role"] for file in raw["files"]] == [
        "model",
        "report",
        "card",
        "model-card",
        "model-card",
        "bom",
        "provenance",
    ]
    card = (project.release / "model-card.md").read_text()
    assert raw["files"][0]["sha256"] in card and "notes 0.1.0: model card" in card
    assert raw["golden"][0]["answer"] == "{}"
    assert raw["needs"]["memory_bytes"] > raw["files"][0]["bytes"]


def test_it_says_what_it_was_made_of_and_how(project: Project) -> None:
    release = assemble(project, ignore)
    bom = json.loads((project.release / "bom.cdx.json").read_bytes())
    statement = json.loads((project.release / "provenance.intoto.json").read_bytes())
    model = release.manifest.model
    assert bom["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": model.sha256}]
    assert statement["subject"] == [{"name": model.name, "digest": {"sha256": model.sha256}}]
    parameters = statement["predicate"]["buildDefinition"]["externalParameters"]
    assert parameters["training"]["rank"] == 16 and parameters["convert"]["type"] == "Q4_0"
    listed = {file.name: file.sha256 for file in release.manifest.files}
    byproducts = {
        each["name"]: each["digest"]["sha256"] for each in statement["predicate"]["runDetails"]["byproducts"]
    }
    assert {
        name: listed[name] for name in ("report.html", "bom.cdx.json", "model-card.md")
    }.items() <= byproducts.items()
    for name in ("bom.cdx.json", "provenance.intoto.json"):
        assert str(project.root) not in (project.release / name).read_text()


def test_it_brings_the_schema_that_its_answers_were_held_to(project: Project) -> None:
    assert manifests.schema_of(assemble(project, ignore).manifest.raw) is None
    path = project.evaluation / "results.json"
    schema = '{"type":"object","properties":{"b":{},"a":{}}}'
    storage.write_json(path, {**json.loads(path.read_text()), "held_to": schema})
    assemble(project, ignore)
    brought = manifests.parse((project.release / "release.json").read_bytes())
    assert json.dumps(manifests.schema_of(brought.raw), separators=(",", ":")) == schema, "the order counts"


def test_documents_travel_where_they_are_named(project: Project) -> None:
    (project.root / "manual.md").write_text("# Pump\n\nThe drain cock of the pump is at its lowest point.\n")
    toml = project.root / "anchorhold.toml"
    toml.write_text(toml.read_text() + '[retrieval]\ndocuments = ["manual.md"]\ntop = 2\n')
    project = Project.open(project.root)
    assert index_documents(project, ignore) == 1
    raw = assemble(project, ignore).manifest.raw
    assert manifests.retrieval_of(raw) == (2, False)
    found = manifests.passages_in(raw)
    assert found is not None and storage.sha256_file(project.release / found[1]) == found[0]
    with PassageIndex(project.release / "passages.sqlite") as index:
        assert index.search("Where is the drain cock?", 3)[0].passage.source == "manual.md:3"
    (project.root / "manual.md").write_text("\n")
    with pytest.raises(DataError, match="no passage"):
        index_documents(project, ignore)
    assert not project.passages.exists()


@pytest.mark.parametrize(
    ("path", "verb"),
    [
        ("model/convert.json", "convert"),
        ("evaluation/results.json", "evaluate"),
        ("evaluation/golden.json", "evaluate"),
        ("evaluation/gates.json", "evaluate"),
        ("evaluation/report.html", "evaluate"),
        ("dataset/card.json", "dataset"),
        ("training/training.json", "train"),
    ],
)
def test_what_is_missing_is_named_with_its_verb(project: Project, path: str, verb: str) -> None:
    (project.build / path).unlink()
    with pytest.raises(UpdateError, match="missing") as caught:
        assemble(project, ignore)
    assert f"anchorhold {verb}" in caught.value.hint


def test_a_failed_gate_is_named_with_its_figure_and_the_way_out(project: Project) -> None:
    path = project.evaluation / "gates.json"
    value = json.loads(path.read_text())
    value["gates"][0] |= {"passed": False, "reason": "12.0% do"}
    storage.write_json(path, value)
    with pytest.raises(
        GateError, match=r"1 gate failed:\n  answers:ended: 12\.0% do; asked: all end"
    ) as caught:
        assemble(project, ignore)
    assert caught.value.exit_code == ExitCode.GATE
    assert "anchorhold audit waive answers:ended" in caught.value.hint
    assert not project.release.exists()


def _audit_of(project: Project, scope: Scope, **more: Any) -> None:
    """What an audit leaves that passed."""
    for name in ("report-card.html", "audit.json"):
        storage.write_text(project.audit / name, "{}")
    files = {name: storage.sha256_bytes(b"{}") for name in ("report-card.html", "audit.json")}
    model = json.loads((project.evaluation / "gates.json").read_text())["model"]
    value = {"format": 1, "model": model, "gates": [], "asked": scope.to_json(), "files": files, **more}
    storage.write_json(project.audit / "gates.json", value)


def test_that_no_audit_was_run_is_said_by_the_command_and_the_card(project: Project) -> None:
    done = CliRunner().invoke(command, ["--project", str(project.root)])
    assert done.exit_code == 0, done.output
    assert "warning: no audit was run on this file" in done.stderr
    assert "No audit was run on this file." in (project.release / "model-card.md").read_text()
    _audit_of(project, scope_of(project, standard=False))
    done = CliRunner().invoke(command, ["--project", str(project.root)])
    assert done.exit_code == 0 and "no audit" not in done.stderr and "report-card" in done.stdout


def test_where_an_audit_is_required_less_of_one_is_not_enough(project: Project) -> None:
    toml = project.root / "anchorhold.toml"
    toml.write_text(toml.read_text() + '[evaluation]\naudit = "required"\n')
    strict = Project.open(project.root)
    _audit_of(strict, scope_of(strict))
    assert assemble(strict, ignore)
    _audit_of(strict, scope_of(strict, standard=False))
    with pytest.raises(GateError, match="the standard suites were not asked"):
        assemble(strict, ignore)
    _audit_of(strict, scope_of(strict, sample=1))
    with pytest.raises(GateError, match="it asked 1 cases of a suite at most, not 100"):
        assemble(strict, ignore)
    _audit_of(strict, scope_of(strict), files={})
    with pytest.raises(GateError, match=r"audit\.json is not the one"):
        assemble(strict, ignore)


def test_a_suite_that_was_added_after_the_audit_stops_a_release_that_would_leave_it_out(
    project: Project,
) -> None:
    _audit_of(project, scope_of(project))
    assert assemble(project, ignore)
    storage.write_text(project.suites / "desk.jsonl", "{}")
    with pytest.raises(GateError, match=r"suites/desk\.jsonl was not asked") as caught:
        assemble(project, ignore)
    assert caught.value.exit_code == ExitCode.GATE and "anchorhold audit" in caught.value.hint
    _audit_of(project, scope_of(project), asked=None)
    with pytest.raises(GateError, match="former versions"):
        assemble(project, ignore)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"format": 1, "gates": []}, "judges another file"),
        ({"format": 1, "model": "0" * 64, "gates": []}, "judges another file"),
        ({"format": 1, "gates": [{"gate": "a", "passed": "yes"}]}, "holds no gates"),
        ([], "holds no gates"),
    ],
)
def test_gates_of_another_file_or_none_are_refused(project: Project, value: Any, words: str) -> None:
    storage.write_json(project.evaluation / "gates.json", value)
    with pytest.raises(UpdateError, match=words):
        assemble(project, ignore)


def test_a_file_that_was_not_measured_is_refused(project: Project) -> None:
    results = json.loads((project.evaluation / "results.json").read_text())
    results["systems"][0]["file"]["sha256"] = "0" * 64
    storage.write_json(project.evaluation / "results.json", results)
    with pytest.raises(UpdateError, match="not the file that was measured"):
        assemble(project, ignore)


def base() -> dict[str, Any]:
    files = [{"name": "a.gguf", "role": "model", "bytes": 1, "sha256": "0" * 64}]
    return {"format": manifests.FORMAT, "name": "notes", "version": "1.0.0", "files": files, "golden": []}


def test_a_good_manifest() -> None:
    assert manifests.parse(json.dumps(base()).encode()).model.name == "a.gguf"


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"name": "../x"},
        {"schema": "x"},
        {"schema": "[]"},
        {"retrieval": []},
        {"retrieval": {"top": 0}},
        {"retrieval": {"top": True}},
        {"retrieval": {"on": "yes"}},
        {"schema": {}},
        {"version": "1.0"},
        {"files": []},
        {"files": [{"name": "../a", "role": "model", "bytes": 1, "sha256": "0" * 64}]},
        {"files": [{"name": "a", "role": "model", "bytes": -1, "sha256": "0" * 64}]},
        {"files": [{"name": "a", "role": "model", "bytes": True, "sha256": "0" * 64}]},
        {"files": [{"name": "a", "role": "model", "bytes": 1, "sha256": "0"}]},
        {"files": [{"name": "a", "role": "report", "bytes": 1, "sha256": "0" * 64}]},
        {"files": [{"name": n, "role": "model", "bytes": 1, "sha256": "0" * 64} for n in ("a", "A")]},
        {"needs": {"context": 64}},
        {"needs": {"context": "4096"}},
        {"needs": {"context": 1 << 40}},
        {"needs": []},
        {"needs": {"machines": "x86_64"}},
        {"needs": {"machines": ["x86 64"]}},
        {"needs": {"devices": [1]}},
        {"needs": {"devices": ["A" * 32]}},
        {"needs": {"devices": ["0" * 32] * 257}},
        {"golden": [{"messages": [], "answer": ""}]},
        {"golden": [{"messages": [{"role": "user"}], "answer": ""}]},
    ],
)
def test_a_manifest_that_cannot_be_right(change: dict[str, Any]) -> None:
    with pytest.raises(TrustError, match=r"release\.json"):
        manifests.parse(json.dumps({**base(), **change}).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_bytes_that_are_no_manifest(data: bytes) -> None:
    with pytest.raises(TrustError, match=r"release\.json"):
        manifests.parse(data)


def test_versions_order_as_numbers() -> None:
    assert version.parse("1.10.0") > version.parse("1.9.9")
    assert str(version.propose_next(version.parse("1.9.9"), "minor")) == "1.10.0"
    assert str(version.propose_next(version.parse("1.9.9"))) == "1.9.10"
    assert str(version.propose_next(version.parse("1.9.9"), "major")) == "2.0.0"
    for wrong in ("1", "1.0", "01.0.0", "1.0.0-a", "v1.0.0", "1.0.0\n"):
        with pytest.raises(UsageError):
            version.parse(wrong)


def _training_rows(project: Project, count: int) -> None:
    rows = [
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": f"pump {n % 60} leaks"},
            ]
        }
        for n in range(count)
    ]
    for row in rows:
        row["messages"].append({"role": "assistant", "content": "{}"})
    storage.write_text(project.dataset / "train.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def test_it_brings_the_baseline_of_its_training_prompts(project: Project) -> None:
    _training_rows(project, 120)
    first = assemble(project, ignore)
    brought = manifests.baseline_of(first.manifest.raw)
    assert brought is not None
    file = project.release / brought.name
    assert storage.sha256_file(file) == brought.sha256
    made = baseline.from_json(json.loads(file.read_bytes()))
    assert made.spreads["length"].count == 120
    assert made.spreads["length"].mean == pytest.approx(len("pump 10 leaks"), abs=0.5)
    assert made.sketch.unknown("pump 7 leaks") == 0
    assert b"leaks" not in file.read_bytes()
    assert assemble(project, ignore).digest == first.digest


def test_few_training_rows_or_none_bring_no_baseline_and_damaged_ones_are_named(project: Project) -> None:
    assert manifests.baseline_of(assemble(project, ignore).manifest.raw) is None
    _training_rows(project, 20)
    assert manifests.baseline_of(assemble(project, ignore).manifest.raw) is None
    storage.write_text(project.dataset / "train.jsonl", '{"messages": 3}\n')
    with pytest.raises(UpdateError, match=r"train\.jsonl: damaged"):
        assemble(project, ignore)
