"""Redaction on the road: through `prepare`, its report and card, and what goes wrong."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from appliance import config_file
from appliance.dataset import prepare, read_other_rows, read_rows
from appliance.errors import ConfigError, DataError
from appliance.events import Event
from appliance.pipeline.road import STAGES
from tests.dataset.conftest import Bench

PEOPLE = [
    "Anna Schmidt",
    "Pieter Visser",
    "Ludwig Berg",
    "Margaret Hughes",
    "Satu Nieminen",
    "Harry Sheppard",
]


def rows(count: int = 40) -> str:
    lines = []
    for number in range(count):
        name, mail = PEOPLE[number % len(PEOPLE)], f"box{number}@posteo.de"
        asked = f"My name is {name}, order {number}, write to {mail} please."
        answer = json.dumps({"name": name, "mail": mail, "order": number})
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": messages, "group": f"{name} {number}"}) + "\n")
    return "".join(lines)


def written(bench: Bench) -> str:
    return "".join(path.read_text() for path in bench.project.dataset.iterdir() if path.is_file())


def report(bench: Bench) -> list[dict[str, object]]:
    return [
        json.loads(line) for line in (bench.project.dataset / "redactions.jsonl").read_text().splitlines()
    ]


@pytest.mark.parametrize("mode", ["placeholder", "surrogate"])
def test_no_value_is_left_in_what_is_written(bench: Bench, mode: str) -> None:
    bench.configure(f'schema_path = "schema.json"\n[dataset.redact]\nmode = "{mode}"\n')
    (bench.root / "schema.json").write_text('{"type": "object", "required": ["name", "mail", "order"]}')
    bench.write("a.jsonl", rows())
    card = bench.prepare()
    everything = written(bench) + "".join(str(event) for event in bench.events)
    assert not [name for name in PEOPLE if name in everything]
    assert "posteo" not in everything
    assert card.redactions == {
        "mode": mode, "rows": 40, "found": {"email": 80, "name": 80}, "replaced": {"email": 80, "name": 80},
        "redacted": 160, "kept": 0, "left": 0,
    }  # fmt: skip
    for split in ("train", "valid", "test"):
        for row in read_rows(bench.project.dataset / f"{split}.jsonl"):
            answer = json.loads(row.answer)
            assert answer["name"] in str(row.prompt[0]["content"])
            assert answer["mail"] in str(row.prompt[0]["content"])
            assert (answer["name"] == "[NAME_1]") == (mode == "placeholder")


def test_off_is_the_default_and_changes_nothing(bench: Bench) -> None:
    bench.write("a.jsonl", rows())
    card = bench.prepare()
    assert card.redactions == {}
    assert "Anna Schmidt" in written(bench)
    assert not (bench.root / "redaction.key").exists()
    assert not (bench.project.dataset / "redactions.jsonl").exists()


def test_the_report_says_where_and_why_and_never_what(bench: Bench) -> None:
    bench.configure('[dataset.redact]\nmode = "placeholder"\n')
    bench.write("a.jsonl", rows(12))
    bench.prepare()
    lines = report(bench)
    ids = {
        row.id
        for split in ("train", "valid", "test")
        for row in read_rows(bench.project.dataset / f"{split}.jsonl")
    }
    assert {line["row"] for line in lines} == ids
    first = lines[0]
    assert first | {"row": "", "id": "", "value_id": "", "score": 0} == {
        "row": "", "source": "data/a.jsonl:1", "id": "", "value_id": "", "turn": 1, "key": "", "kind": "name",
        "start": 11,
        "end": 23, "score": 0, "why": "after a word that introduces a name", "masked": "A*** S******", "done": "redact",
        "replacement": "[NAME_1]",
    }  # fmt: skip
    assert stat.S_IMODE((bench.project.dataset / "redactions.jsonl").stat().st_mode) == 0o600
    prepare(bench.project, bench.events.append, tokenizer=len, raw_findings=True)
    assert report(bench)[0]["value"] == "Anna Schmidt"


def test_the_key_is_the_owners_and_makes_runs_equal(bench: Bench) -> None:
    bench.configure('[dataset.redact]\nmode = "surrogate"\n')
    bench.write("a.jsonl", rows())
    first = bench.prepare()
    key = bench.root / "redaction.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert bench.prepare().files == first.files
    key.unlink()
    assert bench.prepare().digest != first.digest
    key.write_text("no key\n")
    with pytest.raises(DataError, match="not a redaction key"):
        bench.prepare()


def test_a_decision_is_followed_and_a_broken_one_named(bench: Bench) -> None:
    bench.configure('[dataset.redact]\nmode = "placeholder"\n')
    bench.write("a.jsonl", rows(12))
    bench.prepare()
    anna = next(line["value_id"] for line in report(bench) if line["masked"] == "A*** S******")
    decisions = bench.root / "redaction-decisions.jsonl"
    decisions.write_text(json.dumps({"id": anna, "decision": "keep"}) + "\n")
    card = bench.prepare()
    assert card.redactions["kept"] == 4  # two rows of hers, in question and answer
    assert "My name is Anna Schmidt" in written(bench)
    decisions.write_text('{"id": "x", "decision": "keep"}\n')
    with pytest.raises(DataError, match=r"redaction-decisions\.jsonl:1: no decision"):
        bench.prepare()


def test_allowed_values_stay(bench: Bench) -> None:
    bench.configure(
        '[dataset.redact]\nmode = "placeholder"\nallow = ["anna schmidt"]\nallow_patterns = [".*@posteo\\\\.de"]\n'
    )
    bench.write("a.jsonl", rows(12))
    card = bench.prepare()
    assert card.redactions["found"] == {"name": 20}


def test_an_answer_that_no_stand_in_can_satisfy_is_rejected_without_its_value(bench: Bench) -> None:
    bench.configure('schema_path = "schema.json"\n[dataset.redact]\nmode = "placeholder"\n')
    schema = {"properties": {"name": {"enum": ["Anna Schmidt", "Pieter Visser"]}}}
    (bench.root / "schema.json").write_text(json.dumps(schema))
    bench.write(
        "a.jsonl",
        rows(12) + rows(12).replace("Anna Schmidt", "unit seven").replace("Pieter Visser", "unit eight"),
    )
    with pytest.raises(DataError, match="no usable row"):
        bench.prepare()
    rejected = (bench.project.dataset / "rejected.jsonl").read_text()
    assert "schema" in rejected
    assert "My name" not in rejected


def test_rows_from_outside_are_known_again(bench: Bench) -> None:
    bench.configure('[dataset.redact]\nmode = "surrogate"\n')
    path = bench.write("a.jsonl", rows(12))
    bench.prepare()
    ids = {
        row.id
        for split in ("train", "valid", "test")
        for row in read_rows(bench.project.dataset / f"{split}.jsonl")
    }
    assert {row.id for row in read_other_rows(bench.project, path)} == ids


def test_a_json_number_that_is_left_is_warned_of(bench: Bench) -> None:
    bench.configure('[dataset.redact]\nmode = "placeholder"\n')
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"note {n}"},
                    {"role": "assistant", "content": '{"ssn": 536904399}'},
                ]
            }
        )
        for n in range(12)
    ]
    bench.write("a.jsonl", "\n".join(lines))
    assert bench.prepare().redactions["left"] == 12
    assert any("12 JSON numbers was left" in warning for warning in bench.warnings)


def test_the_pipeline_sees_a_new_key_and_decisions(bench: Bench, tmp_path: Path) -> None:
    stage = next(stage for stage in STAGES if stage.name == "dataset")
    bench.write("a.jsonl", rows(12))
    assert stage.inputs(bench.project, tmp_path)["redaction"] == {}
    bench.configure('[dataset.redact]\nmode = "placeholder"\n')
    bench.prepare()
    before = stage.inputs(bench.project, tmp_path)
    (bench.root / "redaction-decisions.jsonl").write_text("\n")
    assert stage.inputs(bench.project, tmp_path) != before


def test_faults_of_the_section_are_named() -> None:
    head = '[project]\nname = "x"\n[dataset.redact]\n'
    with pytest.raises(ConfigError, match=r"dataset\.redact\.allow_patterns"):
        config_file.parse(head + 'allow_patterns = ["("]\n')
    with pytest.raises(ConfigError, match=r"dataset\.redact\.mode"):
        config_file.parse(head + 'mode = "blur"\n')
    with pytest.raises(ConfigError, match="did you mean `kinds`"):
        config_file.parse(head + 'kind = ["name"]\n')


def test_events_hold_no_value(bench: Bench) -> None:
    bench.configure('[dataset.redact]\nmode = "placeholder"\n')
    bench.write("a.jsonl", rows(12))
    bench.prepare()
    assert all(isinstance(event, Event) for event in bench.events)
    assert not [event for event in bench.events if "Schmidt" in str(event)]
