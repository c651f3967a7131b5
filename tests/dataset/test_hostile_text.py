"""Text made to be slow or to break: each case ends within a bound on CPU time that its square would pass by far."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.dataset.cleaning import BadConversation
from appliance.dataset.reading import RawRow
from appliance.dataset.redaction import Options, Redactor, Unsettled, find
from appliance.dataset.redaction import finding as finding_module
from appliance.dataset.redaction.json_text import json_strings
from appliance.dataset.row_making import RowMaker
from appliance.dataset.schema import AnswerSchema
from tests.dataset.conftest import Bench
from tests.house.sources import ROOT

_CPU_SECONDS = 60  # a hundred times what a case takes
_FIND = "from appliance.dataset.redaction import Options, find\nfind({text}, Options())"
_CLEAN = "from appliance.dataset.cleaning import clean_text\nclean_text({text})"
_MARKDOWN = (
    "from appliance.dataset.reading.markdown_text import markdown_blocks\n"
    "list(markdown_blocks(enumerate(({text}).split('\\n'), 2), {{}}))"
)


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (_CLEAN, "'a' + ' ' * 2_000_000 + 'b'"),
        (_CLEAN, "'\\x1b[' * 500_000 + '\\x1b]' * 500_000 + '\\x1b[' + '0' * 1_000_000"),
        (_FIND, "'ssn' + ' ' * 400_000 + 'x'"),
        (_FIND, "'1' * 400_000 + '_'"),
        (_FIND, "'corner of a and b' + ' of A' * 60_000"),
        (_FIND, "' '.join(f'+49 30 {number:07d}' for number in range(20_000))"),
        (_FIND, "('id' + '   is' * 12 + '  555-123-4567 ') * 4_000"),
        (_FIND, "'a@b.co|' * 20_000"),
        (_FIND, "'-----BEGIN PRIVATE KEY-----' * 60_000"),
        (
            "from appliance.dataset.redaction.json_text import json_strings\njson_strings({text})",
            "'[' + '\"a\",' * 400_000 + '1]'",
        ),
        (_MARKDOWN, "'# ' + ' ' * 400_000 + 'x'"),
        (_MARKDOWN, "'|a|b|\\n' + '|-' * 400_000 + 'x'"),
        (_MARKDOWN, "'<table>\\n' + '<td ' * 400_000 + '</table>'"),
    ],
)
def test_no_text_costs_its_square(program: str, text: str) -> None:
    code = (
        f"import resource\nresource.setrlimit(resource.RLIMIT_CPU, ({_CPU_SECONDS},) * 2)\n"
        + program.format(text=text)
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:] or f"killed by signal {-done.returncode}"


def test_a_street_before_thousands_of_places() -> None:
    (street, *_) = find("12 main street" + " boston" * 5000, Options())
    assert street.kind == "address" and street.start == 0


def test_addresses_that_only_a_sign_parts_are_all_found() -> None:
    text = "to a@b.co|c@d.org/e@f.net or g@h.de"
    assert [text[span.start : span.end] for span in find(text)] == ["a@b.co", "c@d.org", "e@f.net", "g@h.de"]


def test_white_space_of_any_length_moves_no_place() -> None:
    text = "Mail" + " " * 50 + "anna@example.org" + "\n" * 30 + "or" + "\t" * 20 + "call +49 30 1234567"
    spans = find(text, Options(kinds=frozenset({"email", "phone"})))
    assert [text[span.start : span.end] for span in spans] == ["anna@example.org", "+49 30 1234567"]


def test_a_placeholder_with_a_number_of_thousands_of_digits_is_none() -> None:
    redactor = Redactor("placeholder", b"k" * 32, Options())
    long = "[NAME_" + "9" * 5000 + "]"
    assert redactor.text(f"{long} wrote to anna@example.org") == f"{long} wrote to [EMAIL_1]"


def test_json_too_deep_to_parse_is_text() -> None:
    assert json_strings("[" * 200_000 + "]" * 200_000) is None


def test_an_answer_too_deep_for_the_schema_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(
        '{"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}'
    )
    schema = AnswerSchema.load(tmp_path / "schema.json")
    assert schema.answer_fault("[[1]]") == ""
    for depth in (400, 900, 200_000):
        assert schema.answer_fault("[" * depth + "]" * depth) == "is JSON that is nested too deeply"


def test_what_never_settles_is_rejected_rather_than_looked_at_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finders that are there settle; this one finds one more letter at each look."""
    bench.configure('[dataset.redact]\nmode = "placeholder"\n')

    def one_more(text: str, before: str) -> list[finding_module.Span]:
        place = next(at for at, letter in enumerate(text) if letter.isalpha())
        return [finding_module.Span(place, place + 1, "name", 1.0, "a letter")]

    monkeypatch.setattr(finding_module, "_FINDERS", ((frozenset({"name"}), one_more),))
    monkeypatch.setattr(finding_module, "_MOST_LOOKED_AT", 1000)
    with pytest.raises(Unsettled):
        find("a" * 500)
    maker = RowMaker(bench.project)
    messages = [{"role": "user", "content": "a" * 500}, {"role": "assistant", "content": "b"}]
    with pytest.raises(BadConversation, match="no end to it"):
        maker.row(RawRow("a.jsonl", 1, messages))
