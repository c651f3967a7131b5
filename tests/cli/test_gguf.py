"""`anchorhold gguf`: a good file, a bad one, and what stands in a header."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import cli, storage
from appliance.errors import ExitCode, ModelError
from convert.gguf_file import f32, i32s, string, u32
from tests.fuzz.gguf_seeds import a_model


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and error."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["gguf", *words])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.gguf"
    path.write_bytes(a_model())
    return path


def test_a_good_file(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", str(model))
    assert (code, err) == (ExitCode.OK, "")
    assert out == f"{model} is good: 14 keys, 3 tensors, {model.stat().st_size} bytes\n"
    code, out, _ = run(capsys, "check", str(model), "--json")
    facts = json.loads(out)
    assert facts["good"] and facts["architecture"] == "llama" and facts["remarks"] == []


def test_a_hostile_file(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.write_bytes(struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"k", 9, 8, 2**40))
    for verb in ("check", "show"):
        code, out, err = run(capsys, verb, str(model))
        assert (code, out) == (ExitCode.MODEL, "")
        assert err.startswith(
            f"error: {model}: at byte 41: {2**40} texts in key 'k'; at most 2097152 are read"
        )
        assert "\nhint: " in err


@pytest.mark.parametrize(
    "words",
    [("convert", "FILE", "folder"), ("convert", "FILE", "out.gguf"), ("serve", "--model", "FILE")],
    ids=str,
)
def test_every_way_in_refuses_a_hostile_file(
    model: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    model.write_bytes(a_model(tokenizer__ggml__token_type=i32s([1])))
    with pytest.raises(SystemExit) as ended:
        cli.main([str(model) if word == "FILE" else word for word in words])
    assert ended.value.code == ExitCode.MODEL
    assert "token_type is an array of 1 I32; it must be an array of 3" in capsys.readouterr().err
    assert [path.name for path in model.parent.iterdir() if path.name in {"folder", "out.gguf"}] == []


def test_a_writer_of_pairs_is_checked(make_project: Callable[..., Path], model: Path) -> None:
    from appliance.dataset.pairs.writing import writer_model
    from appliance.paths import Project

    model.write_bytes(a_model(split__count=u32(2)))
    folder = make_project(extra=f'[dataset.pairs]\nwriter = "{model}"\n')
    with pytest.raises(ModelError, match="one part of several"):
        writer_model(Project.open(folder))


def test_a_file_that_llama_cpp_would_fail_at(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.write_bytes(a_model(llama__context_length=None, tokenizer__ggml__merges=None))
    code, _, err = run(capsys, "check", str(model))
    assert code == ExitCode.MODEL
    assert (
        "can't be served: llama.context_length is missing" in err
        and "tokenizer.ggml.merges is missing" in err
    )
    code, out, _ = run(capsys, "show", str(model))
    assert code == ExitCode.OK and "fault: llama.context_length is missing" in out


def test_what_is_shown(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.write_bytes(a_model(llama__attention__layer_norm_rms_epsilon=f32(float("nan"))))
    _, out, _ = run(capsys, "show", str(model), "--tensors", "--json")
    facts = json.loads(out, parse_constant=pytest.fail)
    template = storage.sha256_bytes(b"{{ messages[0].content }}")
    assert facts["chat_template_sha256"] == template
    assert facts["types"]["Q4_0"] == {"tensors": 1, "weights": 1024, "bytes": 576}
    assert facts["weights"] == 1024 + 96 + 32
    assert facts["bits_per_weight"] == round(8 * (576 + 102 + 128) / (1024 + 96 + 32), 4)
    assert facts["keys"]["tokenizer.ggml.tokens"] == {"type": "string[]", "length": 3}
    assert facts["keys"]["llama.attention.layer_norm_rms_epsilon"] == {"type": "f32", "value": "nan"}
    assert [each["shape"] for each in facts["tensors"]] == [[3, 32], [32, 32], [32]]
    _, out, _ = run(capsys, "show", str(model), "--tensors")
    rows = [line.split() for line in out.splitlines()]
    assert ["chat", "template", template] in rows and ["context", "64"] in rows
    assert ["Q4_0", "1", "1024", "576"] in rows
    assert ["tokenizer.ggml.tokens", "string[]", "3:", "a,", "b,", "ab"] in rows
    begin = str(facts["tensors"][1]["begin"])
    assert ["blk.0.attn_q.weight", "Q4_0", "32x32", begin, "576"] in rows


def test_nothing_in_a_file_reaches_the_terminal_raw(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;owned\x07\u202e\n\r"
    model.write_bytes(
        a_model(**{f"key.{evil}": u32(1), "general.name": string(evil), "llama__vocab_size": string(evil)})
    )
    for words in (("check",), ("show",), ("show", "--tensors")):
        _, out, err = run(capsys, *words, str(model))
        assert all(line.isprintable() for line in (out + err).split("\n"))
