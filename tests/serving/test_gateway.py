"""The gateway as a real process with the real model, over its Unix socket and over TCP."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from appliance.errors import ServingError
from appliance.retrieval import Passage, PassageIndex
from appliance.serving import api_keys
from appliance.serving.gateway_client import GatewayClient

pytestmark = pytest.mark.slow

QUESTION = [{"role": "user", "content": "What is 2+2?"}]
STORY = [{"role": "user", "content": "Tell a long story about a cat."}]


@contextlib.contextmanager
def serve(root: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`anchorhold serve`, ready; with what it said until then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance", "serve", "--root", str(root), "--threads", "1", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said: list[str] = []
    while not said or not said[-1].startswith("ready: "):
        line = process.stderr.readline()
        assert line, said
        said.append(line)
    # Whatever it says later must not fill the pipe.
    drain = threading.Thread(target=process.stderr.read, daemon=True)
    drain.start()
    try:
        yield process, said
    finally:
        process.terminate()
        process.wait()
        drain.join()
        process.stderr.close()


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ah-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def key(root: Path) -> str:
    return api_keys.create(root / "api-keys.json", "tests")


@pytest.fixture(scope="module")
def tcp(root: Path, key: str, gguf: Path) -> Iterator[str]:
    """A gateway on the root's socket and on a free port; gives the port's URL."""
    options = ["--model", str(gguf), "--context", "512", "--tcp", "127.0.0.1:0"]
    with serve(root, *options) as (_, said):
        yield next(word.strip(",") for word in said[-1].split() if word.startswith("http://"))


@pytest.fixture(scope="module")
def client(root: Path, tcp: str) -> Iterator[GatewayClient]:
    with GatewayClient(root / "run" / "gateway.sock") as connected:
        yield connected


@pytest.fixture(scope="module")
def http(root: Path, tcp: str) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(uds=str(root / "run" / "gateway.sock"))
    with httpx.Client(transport=transport, base_url="http://gateway", timeout=120) as connected:
        yield connected


def post(http: httpx.Client, **body: object) -> httpx.Response:
    return http.post("/v1/chat/completions", json=body)


def test_a_stream_equals_the_whole_answer(client: GatewayClient) -> None:
    streamed = "".join(client.chat(STORY, max_tokens=16, temperature=0.8, seed=5))
    whole = client.complete(STORY, max_tokens=16, temperature=0.8, seed=5)
    assert streamed == whole["choices"][0]["message"]["content"] != ""
    assert whole["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == 16


def test_a_deterministic_answer_is_remembered_and_a_drawn_one_is_not(http: httpx.Client) -> None:
    first = post(http, messages=QUESTION, max_tokens=24, top_k=7)
    again = post(http, messages=QUESTION, max_tokens=24, top_k=9)  # at temperature 0 top_k says nothing
    assert (first.headers["x-anchorhold-cache"], again.headers["x-anchorhold-cache"]) == ("miss", "hit")
    assert again.json()["choices"] == first.json()["choices"]
    assert again.json()["usage"] == first.json()["usage"]
    streamed = post(http, messages=QUESTION, max_tokens=24, stream=True)
    assert streamed.headers["x-anchorhold-cache"] == "hit"
    text = first.json()["choices"][0]["message"]["content"]
    assert json.dumps(text, ensure_ascii=False) in streamed.text
    assert streamed.text.endswith("data: [DONE]\n\n")
    other = post(http, messages=QUESTION, max_tokens=23)
    assert other.headers["x-anchorhold-cache"] == "miss"
    for _ in range(2):
        drawn = post(http, messages=QUESTION, max_tokens=4, temperature=1.0)
        assert drawn.headers["x-anchorhold-cache"] == "miss"


def test_an_answer_is_held_to_the_request_s_schema_streamed_or_whole(http: httpx.Client) -> None:
    schema = {
        "type": "object",
        "properties": {"sum": {"enum": [3, 5]}},
        "required": ["sum"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema, "strict": True}}
    whole = post(http, messages=QUESTION, response_format=form).json()["choices"][0]
    assert whole["finish_reason"] == "stop"
    assert json.loads(whole["message"]["content"])["sum"] in (3, 5)
    lines = post(http, messages=QUESTION, response_format=form, stream=True).text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events) == whole["message"]["content"]
    loose = post(http, messages=QUESTION, response_format={"type": "json_object"}, max_tokens=60)
    assert loose.json()["choices"][0]["message"]["content"].lstrip().startswith("{")


def test_documents_are_looked_up_when_asked_and_their_sources_named(gguf: Path, tmp_path: Path) -> None:
    index = tmp_path / "passages.sqlite"
    PassageIndex.build(
        index,
        [
            Passage("pump.md:3", "Pump > Code", "The service code of the pump is KORZUBA."),
            Passage("lamp.md:9", "Lamps", "Lamps are replaced every two years. " * 40),
        ],
    )
    question = [{"role": "user", "content": "What is the service code of the pump?"}]
    with tempfile.TemporaryDirectory(prefix="ah-") as folder:
        root = Path(folder)
        options = ["--model", str(gguf), "--context", "512", "--passages", str(index)]
        with serve(root, *options), GatewayClient(root / "run" / "gateway.sock") as client:
            plain = client.complete(question, max_tokens=40)
            assert "citations" not in plain and "KORZUBA" not in plain["choices"][0]["message"]["content"]
            looked = client.complete(question, max_tokens=40, retrieval=True)
            assert looked["citations"] == [{"number": 1, "source": "pump.md:3", "title": "Pump > Code"}]
            assert "KORZUBA" in looked["choices"][0]["message"]["content"]
            assert looked["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"]
            stream = client.chat(question, max_tokens=40, retrieval=True)
            parts = []
            while True:
                try:
                    parts.append(next(stream))
                except StopIteration as done:
                    ending = done.value
                    break
            assert ending["citations"] == looked["citations"]
            assert "".join(parts) == looked["choices"][0]["message"]["content"]
            # What doesn't fit beside the answer isn't shown, and nothing found is said.
            lamps = [{"role": "user", "content": "How often are lamps replaced?"}]
            assert client.complete(lamps, max_tokens=200, retrieval=True)["citations"] == []
            assert (
                client.complete(lamps, max_tokens=20, retrieval=True)["citations"][0]["source"] == "lamp.md:9"
            )
            said = subprocess.run(
                [sys.executable, "-m", "appliance", "chat", "--root", str(root), "--retrieval", "--max-tokens", "40",
                 "-m", "What is the service code of the pump?"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert "KORZUBA" in said.stdout and "pump.md:3" not in said.stdout
            assert said.stderr == "[1] pump.md:3  Pump > Code\n"


def test_without_documents_nothing_can_be_looked_up(http: httpx.Client) -> None:
    answer = post(http, messages=QUESTION, max_tokens=2, retrieval=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_documents")
    assert post(http, messages=QUESTION, max_tokens=2, retrieval=False).status_code == 200


def test_a_request_may_ask_for_a_fresh_answer(http: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": "Name a colour."}], "max_tokens": 5}
    for _ in range(2):
        fresh = http.post("/v1/chat/completions", json=body, headers={"cache-control": "no-store"})
        assert fresh.headers["x-anchorhold-cache"] == "miss"
    assert post(http, **body).headers["x-anchorhold-cache"] == "miss", "nothing was kept"
    assert post(http, **body).headers["x-anchorhold-cache"] == "hit"


def test_the_release_is_named_in_every_answer(http: httpx.Client, gguf: Path) -> None:
    answer = post(http, messages=QUESTION, max_tokens=2)
    assert gguf.stem in answer.headers["x-anchorhold-release"]
    assert "sha256:" in answer.headers["x-anchorhold-release"]
    (model,) = http.get("/v1/models").json()["data"]
    assert model["id"] == answer.json()["model"] == gguf.stem
    assert model["digest"] in answer.headers["x-anchorhold-release"]


def test_usage_ends_a_stream_that_asks_for_it(http: httpx.Client) -> None:
    options = {"include_usage": True}
    answer = post(http, messages=STORY, max_tokens=3, stream=True, stream_options=options)
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["choices"] == []
    assert json.loads(events[-2])["usage"]["completion_tokens"] == 3


def test_a_conversation_longer_than_the_context_is_refused_with_counts(http: httpx.Client) -> None:
    long = [{"role": "user", "content": "snow " * 700}]
    answer = post(http, messages=long)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "context_length_exceeded")
    assert error["prompt_tokens"] > 700
    assert error["context_tokens"] == 512
    answer = post(http, messages=QUESTION, max_tokens=512)
    assert (answer.status_code, answer.json()["error"]["max_tokens"]) == (400, 512)


@pytest.mark.parametrize(
    ("body", "code", "parameter"),
    [
        ({}, "invalid_value", "messages"),
        ({"messages": []}, "invalid_value", "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "invalid_value", "messages[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "invalid_value",
            "messages[0].content",
        ),
        ({"messages": QUESTION, "temperature": 3}, "invalid_value", "temperature"),
        ({"messages": QUESTION, "max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"messages": QUESTION, "max_tokens": True}, "invalid_value", "max_tokens"),
        ({"messages": QUESTION, "stop": [""]}, "invalid_value", "stop"),
        ({"messages": QUESTION, "stream": "yes"}, "invalid_value", "stream"),
        ({"messages": QUESTION, "n": 2}, "unsupported_parameter", "n"),
        ({"messages": QUESTION, "response_format": {"type": "xml"}}, "invalid_value", "response_format"),
        (
            {
                "messages": QUESTION,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {"type": "array", "uniqueItems": True}, "strict": True},
                },
            },
            "invalid_schema",
            "response_format",
        ),
        ({"messages": QUESTION, "temprature": 1}, "unknown_parameter", "temprature"),
    ],
)
def test_a_wrong_field_is_named(
    http: httpx.Client, body: dict[str, object], code: str, parameter: str
) -> None:
    answer = http.post("/v1/chat/completions", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, parameter)


def test_what_is_no_json_or_not_here_is_refused(http: httpx.Client) -> None:
    answer = http.post("/v1/chat/completions", content=b"{")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
    answer = http.post("/v1/chat/completions", content=b" " * (4 * 1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert http.get("/v1/nothing").json()["error"]["code"] == "not_found"
    assert http.get("/v1/chat/completions").status_code == 405
    answer = post(http, messages=QUESTION, model="gpt-4")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_tcp_needs_a_key(tcp: str, key: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {key}"}):
        answer = httpx.get(f"{tcp}/health", headers=headers, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    with_key = {"authorization": f"Bearer {key}"}
    assert httpx.get(f"{tcp}/health", headers=with_key, trust_env=False).json()["status"] == "ok"


def test_the_socket_is_for_owner_and_group(root: Path, tcp: str) -> None:
    assert stat.S_IMODE((root / "run" / "gateway.sock").stat().st_mode) == 0o660


def test_a_second_gateway_on_the_same_socket_is_refused(root: Path, tcp: str, gguf: Path) -> None:
    command = [sys.executable, "-m", "appliance", "serve", "--root", str(root), "--model", str(gguf)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 10
    assert "running already" in done.stderr
    assert (root / "run" / "gateway.sock").exists()


@pytest.mark.parametrize("address", ["example.org:80", "8080", "127.0.0.1:70000", "127.0.0.1:x"])
def test_tcp_needs_an_ip_address_and_a_port(tmp_path: Path, gguf: Path, address: str) -> None:
    command = [sys.executable, "-m", "appliance", "serve", "--root", str(tmp_path), "--model", str(gguf)]
    done = subprocess.run([*command, "--tcp", address], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "hint:" in done.stderr


def test_a_client_that_leaves_frees_its_slot(client: GatewayClient) -> None:
    before = client.health()["requests"]["cancelled"]
    pieces = client.chat(STORY, temperature=1.0)
    next(pieces)
    pieces.close()
    # The gateway notices by itself; each look at its health lets it.
    health = client.health()
    while health["engine"]["busy"] or health["queue"]["open"]:
        health = client.health()
    assert health["requests"]["cancelled"] == before + 1
    assert health["engine"]["cancelled"] >= 1


def test_a_killed_engine_is_replaced_and_the_gateway_answers_again(root: Path, client: GatewayClient) -> None:
    answer = client.complete(STORY, max_tokens=3)
    (engine,) = children_of_gateway(client)
    pieces = client.chat(STORY, temperature=1.0)
    next(pieces)
    watched = os.pidfd_open(engine)
    os.kill(engine, signal.SIGKILL)
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    assert poll.poll(10_000)
    os.close(watched)
    with pytest.raises(ServingError, match="engine ended"):
        list(pieces)
    health = client.health()
    while health["status"] != "ok":
        health = client.health()
    assert health["restarts"] == 1
    again = client.complete(STORY, max_tokens=4)
    assert again["choices"][0]["message"]["content"].startswith(answer["choices"][0]["message"]["content"])


def children_of_gateway(client: GatewayClient) -> list[int]:
    """Process ids of the engines, from the kernel's table."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().split(b"\0")
            parent = int((entry.parent / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if b"appliance.serving.engine" in words:
                above = (Path("/proc") / str(parent) / "cmdline").read_bytes()
                if str(client.socket.parent.parent).encode() in above:
                    found.append(int(entry.parent.name))
    return found


def test_more_requests_than_the_queue_holds_are_told_to_come_again(gguf: Path, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ah-") as folder:
        options = ["--model", str(gguf), "--slots", "1", "--queue", "0", "--context", "512"]
        with serve(Path(folder), *options), GatewayClient(Path(folder) / "run" / "gateway.sock") as client:
            running = client.chat(STORY, temperature=1.0)
            next(running)
            transport = httpx.HTTPTransport(uds=str(client.socket))
            with httpx.Client(transport=transport, base_url="http://gateway") as http:
                refused = post(http, messages=QUESTION)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
            assert int(refused.headers["retry-after"]) >= 1
            running.close()


def test_the_plain_chat_prints_the_answer_alone(root: Path, client: GatewayClient) -> None:
    expected = client.complete(QUESTION, max_tokens=24)["choices"][0]["message"]["content"]
    command = [sys.executable, "-m", "appliance", "chat", "--root", str(root), "--max-tokens", "24"]
    done = subprocess.run([*command, "-m", "What is 2+2?"], capture_output=True, text=True, check=True)
    assert done.stdout == expected + "\n"
    done = subprocess.run(
        [*command, "--json"], input="What is 2+2?\n", capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == expected


def test_a_missing_gateway_is_one_line_and_a_hint(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "appliance", "chat", "--root", str(tmp_path), "-m", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 10
    assert done.stderr.count("\n") == 2
    assert "anchorhold serve" in done.stderr


def test_a_killed_gateways_socket_is_taken_over(gguf: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ah-") as folder:
        root = Path(folder)
        options = ["--model", str(gguf), "--slots", "1", "--context", "256"]
        with serve(root, *options) as (process, _):
            process.kill()
            process.wait()
        assert (root / "run" / "gateway.sock").exists()
        with serve(root, *options), GatewayClient(root / "run" / "gateway.sock") as client:
            assert client.health()["status"] == "ok"
        assert not (root / "run" / "gateway.sock").exists()
