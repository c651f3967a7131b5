"""The page stands alone, shows what it must, and believes nothing that models or notes say."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from appliance.dataset import Row
from appliance.errors import EvaluationError
from appliance.evaluation import report
from appliance.evaluation.answers import Answer
from appliance.evaluation.certainty import compare
from appliance.evaluation.results import (
    EvaluationResult,
    expected_values,
    field_scores,
    score_answers,
    summarise,
)
from appliance.evaluation.systems import (
    ModelFile,
    System,
    choose_examples,
    few_shot_prompt,
    plain_prompt,
)
from appliance.evaluation.terminal import result_lines

EVIL = '</pre><script src="https://elsewhere.example/x.js">alert(1)</script><img src=x onerror=1>'


def row(number: int, note: str, answer: str) -> Row:
    messages = [{"role": "user", "content": note}, {"role": "assistant", "content": answer}]
    return Row(f"{number:016x}", f"g{number}", messages, f"data/a.jsonl:{number}")


ROWS = [
    row(1, "pump leaks", '{"fault": "leak"}'),
    row(2, EVIL, '{"fault": "wear"}'),
    row(3, "c", '{"fault": "icing"}'),
]
SAID = {
    "base": ["no idea", "no", "no"],
    "base_shots": ['{"fault": "wear"}', '{"fault": "wear"}', '{"fault": "leak"}'],
    "shipped": ['{"fault": "leak"}', EVIL, '{"fault": "leak"}'],
}


def answers(system: str) -> list[Answer]:
    return [
        Answer(f"{system}{one.id}", system, one.id, text, "stop" if text != "no" else "length", 20, 5, 0.1)
        for one, text in zip(ROWS, SAID[system], strict=True)
    ]


@pytest.fixture(scope="module")
def result() -> EvaluationResult:
    expected = expected_values(ROWS, "json")
    given = {key: answers(key) for key in SAID}
    scores = {key: score_answers(expected, said, "json", None) for key, said in given.items()}
    systems = {
        key: System(key, f"The {key}", ModelFile(Path(f"/x/{key}.gguf"), "ab" * 32, 10**8, 4.5), plain_prompt)
        for key in SAID
    }
    exact = {key: [score.exact for score in held] for key, held in scores.items()}
    fields, confusions = field_scores(expected, given["shipped"])
    return EvaluationResult(
        project="orders",
        version="1.2.3",
        dataset="cd" * 32,
        rows=3,
        scorer="json",
        systems=[summarise(systems[key], scores[key], given[key], "json") for key in SAID],
        comparisons=[compare(exact["shipped"], exact[key], key) for key in ("base", "base_shots")],
        fields=fields,
        confusions=confusions,
        shipped="shipped",
    )


@pytest.fixture(scope="module")
def page(result: EvaluationResult) -> str:
    expected = expected_values(ROWS, "json")
    given = {key: answers(key) for key in SAID}
    scores = {key: score_answers(expected, said, "json", None) for key, said in given.items()}
    svg = '<?xml version="1.0"?>'
    svg += '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path d="M0 0"/></svg>'
    return report.render(result, report.cases(ROWS, given, scores), svg, "Notes to <orders>")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(page: str) -> None:
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert not tags.seen & {"script", "img", "link", "iframe", "object", "a"}
    assert not tags.attributes & {"src", "href", "onerror", "onload", "xmlns"}
    assert not re.search(r"url\(|@import", page)
    # The only address on the page is the one that a row holds, as escaped text.
    assert set(re.findall(r"https?://[\w.]+", page)) == {"https://elsewhere.example"}


def test_the_page_shows_numbers_and_cases(page: str) -> None:
    assert "1 of 3" in page and "orders 1.2.3" in page and "Notes to &lt;orders&gt;" in page
    assert "ab" * 32 in page and "4.50" in page and '<path d="M0 0"/>' in page
    assert page.index("Wins:") < page.index("pump leaks") < page.index("Losses:") < page.index("&lt;script")
    assert page.index("Wrong in both") > page.index("Losses:")
    assert "not JSON" in page


def test_an_answer_can_be_json_and_break_the_schema() -> None:
    expected = expected_values(ROWS, "json")
    said = answers("shipped")

    def fault(value: object) -> str:
        return "" if value == {"fault": "leak"} else "fault: not known"

    said[2] = replace(said[2], text='{"fault": "frost"}')
    scores = score_answers(expected, said, "json", fault)
    system = System("s", "S", ModelFile(Path("/x/s.gguf"), "ab" * 32, 10**8, 4.5), plain_prompt)
    score = summarise(system, scores, said, "json")
    assert score.parses is not None and score.valid is not None
    assert (score.parses.hits, score.valid.hits, score.parses.total) == (2, 1, 3)
    plain = summarise(system, score_answers(["x"] * 3, said, "exact", None), said, "exact")
    assert plain.parses is plain.valid is None


def test_the_terminal_and_the_page_have_a_column_for_json(result: EvaluationResult, page: str) -> None:
    heading, *lines = result_lines(result, {})
    assert heading.split()[-4:] == ["JSON", "valid", "ended", "tok/s"]
    shipped = next(line for line in lines if line.startswith("The shipped"))
    assert shipped.split()[-4:] == ["66.7%", "66.7%", "100.0%", "-"]
    assert '<th class="num">JSON</th><th class="num">Valid</th>' in page


def test_confusions_and_fields(result: EvaluationResult) -> None:
    assert [(entry.field, entry.hits, entry.total) for entry in result.fields] == [("fault", 1, 3)]
    told = [(entry.expected, entry.given, entry.count) for entry in result.confusions]
    assert told == [('"icing"', '"leak"', 1), ('"wear"', "(nothing)", 1)]


def test_summaries(result: EvaluationResult) -> None:
    shipped, plain = result.systems[-1], result.systems[0]
    assert shipped.exact.hits == 1 and shipped.valid is not None and shipped.valid.hits == 2
    assert (shipped.precision, shipped.recall, shipped.f1) == (1 / 2, 1 / 3, 2 / 5)
    assert (plain.ended.hits, plain.f1) == (1, 0.0)
    assert str(Path("/x")) not in str(result.to_json())


@pytest.mark.parametrize(
    "svg", ["<svg><script>1</script></svg>", '<svg onload="x"/>', '<svg><image href="http://x/y"/></svg>']
)
def test_a_drawing_that_could_act_or_fetch_is_left_out(svg: str) -> None:
    assert report.inline_svg(svg) == ""


def test_an_expected_answer_that_is_no_json_names_its_row() -> None:
    with pytest.raises(EvaluationError, match=r"data/a\.jsonl:7: the expected answer is no JSON"):
        expected_values([row(7, "note", "plain text")], "json")
    assert expected_values([row(7, "note", "plain text")], "exact") == ["plain text"]


def test_the_few_shot_prompt_helps_as_much_as_a_prompt_can() -> None:
    own = Row("00", "g", [{"role": "system", "content": "Be brief."}, *ROWS[0].messages], "a:1")
    messages = few_shot_prompt(own, ROWS[1:], {"type": "object"})
    assert [message["role"] for message in messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    assert messages[0]["content"].startswith("Be brief.") and '{"type":"object"}' in messages[0]["content"]
    assert messages[-1] == ROWS[0].messages[0]
    assert [m["role"] for m in few_shot_prompt(ROWS[0], [], None)] == ["user"]


def test_examples_are_chosen_by_hash_and_not_by_order() -> None:
    rows = [row(number, f"n{number}", "{}") for number in range(50)]
    chosen = choose_examples(rows, 3)
    assert len(chosen) == 3 and choose_examples(rows[::-1], 3) == chosen != rows[:3]
