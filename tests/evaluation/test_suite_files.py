"""Suite files: what is right is read, what is wrong is named with file and line, and the rest is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.commands.audit import command
from appliance.errors import ExitCode
from appliance.evaluation.scoring import SCORERS
from appliance.evaluation.suite import Gate
from appliance.evaluation.suites.public_sets import public_suites
from appliance.evaluation.suites.reading import digest_of, read_suite, read_suites, standard_files

HEAD = '{"suite": "desk", "scorer": "exact", "gate": {"at_least": 0.9}, "max_tokens": 16}'


def written(folder: Path, *lines: str, name: str = "desk.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_suite_is_a_head_and_its_cases(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        HEAD,
        '{"id": "a", "prompt": "Say yes.", "reference": "yes"}',
        "",
        '{"id": 7, "messages": [{"role": "user", "content": "Hi"}], "reference": ["yes", "no"]}',
    )
    suite, faults = read_suite(path)
    assert suite is not None and not faults
    assert [(case.id, case.where) for case in suite.cases] == [("a", "desk.jsonl:2"), ("7", "desk.jsonl:4")]
    assert suite.gates == (Gate("exact", at_least=0.9),)
    assert (suite.max_tokens, suite.kind) == (16, "domain")


def test_yaml_says_the_same(tmp_path: Path) -> None:
    text = (
        "suite: desk\nscorer: exact\nmax_tokens: 16\ngate:\n  at_least: 0.9\ncases:\n"
        "  - id: a\n    prompt: Say yes.\n    reference: yes it is\n"
        "  - id: b\n    prompt: Say no.\n    reference: ['no', 'never']\n    strict: true\n"
    )
    suite, faults = read_suite(written(tmp_path, text, name="desk.yaml"))
    assert suite is not None
    assert [(case.id, case.where) for case in suite.cases] == [("a", "desk.yaml:7")]
    assert [str(fault) for fault in faults] == ["desk.yaml:10: unknown key `strict`"]
    same = written(tmp_path, HEAD, '{"id": "a", "prompt": "Say yes.", "reference": "yes it is"}')
    other, _ = read_suite(same)
    assert other is not None and digest_of(other) == digest_of(suite)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("suite: [", "not YAML"),
        ("suite: x\na: &one 1\nb: *one\n", "bad.yaml:2: anchors and aliases"),
        ("suite: x\nscorer: !!python/object:os.system x\n", "bad.yaml:2: the tag"),
        ("suite: x\nsuite: y\n", "bad.yaml:2: the key 'suite' stands there twice"),
        ("a: " + "[" * 60 + "]" * 60, "nested too deeply"),
    ],
)
def test_yaml_is_plain_values_only(tmp_path: Path, text: str, words: str) -> None:
    suite, faults = read_suite(written(tmp_path, text, name="bad.yaml"))
    assert suite is None
    assert any(words in str(fault) for fault in faults), faults
    assert not any("no head" in str(fault) for fault in faults), faults


def test_every_fault_is_named_with_its_line_and_the_rest_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '{"suite": "desk", "scorer": "exact", "gaet": {"at_least": 0.9}, "options": {"strcit": true}}',
        '{"id": "a", "prompt": "Say yes.", "reference": "yes"}',
        '{"id": "b", "promt": "Say no.", "reference": "no"}',
        '{"id": "c", "prompt": "Say it."}',
        '{"id": "a", "prompt": "Again.", "reference": "yes"}',
        '{"prompt": "Whose?", "reference": "mine"}',
        '{"id": "d", "prompt": "Say',
        '{"id": "e", "prompt": 4, "reference": "four"}',
        '["f"]',
        '{"id": "g", "prompt": "' + "word " * 100_000 + '", "reference": "x"}',
        '{"id": "h", "id": "i", "prompt": "x", "reference": "x"}',
        '{"id": "z", "prompt": "Say z.", "reference": "z"}',
    )
    suite, faults = read_suite(path)
    assert suite is not None
    assert [case.id for case in suite.cases] == ["a", "z"]
    told = {str(fault) for fault in faults}
    for line, words in (
        (1, "unknown key `gaet` (is `gate` meant?)"),
        (1, "options: unknown key `strcit` (is `strict` meant?)"),
        (3, "unknown key `promt` (is `prompt` meant?)"),
        (3, "neither `prompt` nor `messages`"),
        (4, "`reference` is missing (the right answer, or a list of them)"),
        (5, "the id 'a' stands at desk.jsonl:2 already; this case is left out"),
        (6, "`id` is missing"),
        (7, "not JSON"),
        (8, "`prompt` is a text, not 4"),
        (9, "a case is an object with keys"),
        (10, "more than a case may have"),
        (11, "the key 'id' stands there twice"),
    ):
        assert any(fault.startswith(f"desk.jsonl:{line}: ") and words in fault for fault in told), (
            line,
            words,
        )


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ('{"suite": "x", "scorer": "exakt"}', "no scorer is called 'exakt' (is `exact` meant?)"),
        ('{"suite": "x"}', "`scorer` is missing; there are exact,"),
        ('{"suit": "x", "scorer": "exact"}', "no head"),
        ('{"suit": "x", "scorer": "exact"}', "is `suite` meant?"),
        ('{"suite": "a b", "scorer": "exact"}', "`suite` is a name"),
        ('{"suite": "x", "scorer": "exact", "kind": "safty"}', "is `safety` meant?"),
        ('{"suite": "x", "scorer": "exact", "gate": 0.9}', 'gate: an object such as {"metric": "exact"'),
        ('{"suite": "x", "scorer": "exact", "gate": {"metric": "exct", "at_least": 1}}', "is `exact` meant?"),
        ('{"suite": "x", "scorer": "exact", "gate": {}}', "gate: no bound"),
        ('{"suite": "x", "scorer": "exact", "gate": {"at_lest": 1}}', "is `at_least` meant?"),
        (
            '{"suite": "x", "scorer": "exact", "gate": {"drop_at_most": 0.1}}',
            "needs `against`: base or base_told or tuned_f16",
        ),
        (
            '{"suite": "x", "scorer": "exact", "max_tokens": 0}',
            "`max_tokens` is a whole number from 1 to 8192, not 0",
        ),
    ],
)
def test_a_head_says_what_is_wrong_with_it(tmp_path: Path, head: str, words: str) -> None:
    _, faults = read_suite(written(tmp_path, head, '{"id": "a", "prompt": "x", "reference": "y"}'))
    assert any(words in str(fault) and ":1:" in str(fault) for fault in faults), list(map(str, faults))


def test_a_choice_needs_an_answer_among_its_choices(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '{"suite": "c", "scorer": "choice"}',
        '{"id": "a", "prompt": "x", "choices": ["p", "q"], "answer": 2}',
        '{"id": "b", "prompt": "x", "choices": [], "answer": 0}',
        '{"id": "c", "prompt": "x", "choices": ["p", "q"], "answer": true}',
        '{"id": "d", "prompts": ["x", "y"], "choices": ["p"], "answer": 1}',
    )
    suite, faults = read_suite(path)
    assert suite is not None and [case.id for case in suite.cases] == ["d"]
    assert [fault.where for fault in faults] == ["desk.jsonl:2", "desk.jsonl:3", "desk.jsonl:4"]


def test_files_that_can_not_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.jsonl").write_bytes(b'{"suite": "\xe4"}\n')
    suites, faults = read_suites([tmp_path / "latin.jsonl", tmp_path / "none.jsonl"])
    assert not suites
    assert ["not UTF-8" in str(faults[0]), "No such file" in str(faults[1])] == [True, True]


def test_two_suites_of_one_name_are_told(tmp_path: Path) -> None:
    case = '{"id": "a", "prompt": "x", "reference": "y"}'
    paths = [written(tmp_path, HEAD, case), written(tmp_path, HEAD, case, name="other.jsonl")]
    suites, faults = read_suites(paths)
    assert [suite.where for suite in suites] == ["desk.jsonl"]
    assert "was read from desk.jsonl already" in str(faults[0])


def test_the_standard_suites_have_no_fault_and_cases_enough() -> None:
    suites, faults = read_suites(standard_files())
    assert not faults
    kinds = {suite.kind for suite in suites}
    assert {"safety", "bias", "hallucination", "tone", "retention"} <= kinds
    assert {"refusal", "over-refusal", "injection-in-data", "system-prompt-leak"} <= {s.name for s in suites}
    assert all(suite.scorer in SCORERS and suite.cases for suite in suites)
    assert sum(len(suite.cases) for suite in suites) > 200


def test_check_names_faults_and_ends_with_its_code(tmp_path: Path) -> None:
    good = written(tmp_path, HEAD, '{"id": "a", "prompt": "x", "reference": "y"}')
    done = CliRunner().invoke(command, ["check", str(good)])
    assert done.exit_code == 0 and "1 cases" in done.output
    bad = written(tmp_path, HEAD, '{"id": "a", "prompt": "x"}', name="bad.jsonl")
    done = CliRunner().invoke(command, ["check", str(bad)])
    assert done.exit_code == int(ExitCode.DATA)
    assert "bad.jsonl:2: `reference` is missing" in done.output


def test_a_public_set_that_lacks_a_field_is_named_and_the_rest_is_used(tmp_path: Path) -> None:
    rows = [
        {"id": "p1", "goal": "boil water", "choices": ["in a pot", "in a bag"], "label": 0},
        {"id": "p2", "goal": "boil water", "choices": ["in a pot", "in a bag"]},
        {"id": "p3", "goal": "boil water", "choices": ["in a pot", "in a bag"], "label": 5},
    ]
    lines = [json.dumps(row) for row in rows] + ["{"]
    (tmp_path / "retain_piqa.dev.jsonl").write_text("\n".join(lines) + "\n")
    suites, faults = public_suites(tmp_path)
    assert [(suite.name, len(suite.cases)) for suite in suites] == [("retain_piqa", 1)]
    assert sorted(fault.where for fault in faults) == [f"retain_piqa.dev.jsonl:{line}" for line in (2, 3, 4)]


@pytest.mark.shared
def test_the_public_sets_are_read_without_a_fault(shared_data: Path) -> None:
    suites, faults = public_suites(shared_data)
    assert not faults, list(map(str, faults))[:5]
    counts = {suite.name: len(suite.cases) for suite in suites}
    assert counts["bias_bbq"] == 240 and counts["bias_winobias"] == 80 and counts["retain_blimp"] == 268
    assert len(counts) == 17
    bbq = next(suite for suite in suites if suite.name == "bias_bbq")
    open_cases = [case for case in bbq.cases if case.values["ambiguous"]]
    assert all(case.values["answer"] == case.values["unknown"] for case in open_cases)
    assert all(case.values["biased"] != case.values["unknown"] for case in bbq.cases)
