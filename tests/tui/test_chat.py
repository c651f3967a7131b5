"""The Chat screen, on the scripted backend."""

from __future__ import annotations

import pytest

from appliance.errors import ServingError
from tests.tui.conftest import SIZES, shown, until, words
from tests.tui.scripted import END, NOTHING, SERVING


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("plain", [False, True])
async def test_an_answer_streams_while_the_screen_stays_alive(opened, backend, size, plain) -> None:
    async with opened(size=size, plain=plain) as (app, hands):
        assert "workorders-1.1.0 is ready" in shown(app)
        await hands.ask("seal leaks")
        await until(hands, lambda: backend.asked)
        assert backend.asked == [[{"role": "user", "content": "seal leaks"}]]
        backend.say("The **pump** ")
        await until(hands, lambda: "The pump" in shown(app))
        # The model is silent in the middle of its answer: typing and other screens still work.
        await hands.type("next")
        await until(hands, lambda: "next" in shown(app))
        await hands.press("f2")
        await until(hands, lambda: "Active release" in shown(app))
        await hands.press("f1")
        backend.say("is leaking.\n\n- close valve V3\n", END)
        await until(hands, lambda: "close valve V3" in shown(app) and "ready" in shown(app))
        screen = shown(app)
        assert "30 tokens/s" in screen  # 60 tokens in 3 s less 1 s for the prompt
        assert "100/2048" in screen
        assert "**" not in screen
        assert ("* close" if plain else "• close") in screen
        if plain:
            assert screen.isascii(), [c for c in screen if not c.isascii()]
        assert max(map(len, screen.splitlines())) <= size[0]
        assert len(screen.splitlines()) == size[1]


@pytest.mark.parametrize("plain", [False, True])
async def test_sources_stand_under_the_answer_and_are_no_markup(opened, backend, plain) -> None:
    cited = [{"number": 1, "source": "pump.md:3", "title": "Pump > [b]Code[/b]\x1b[2J"}]
    async with opened(plain=plain) as (app, hands):
        await hands.ask("code?")
        backend.say("It is 4711.", {**END, "citations": cited})
        await until(hands, lambda: "pump.md:3" in shown(app) and "ready" in shown(app))
        assert "[1] pump.md:3  Pump > [b]Code[/b]\\e[2J" in shown(app)


async def test_an_answer_is_kept_as_good_wrong_or_corrected(opened, backend) -> None:
    asked = [{"role": "user", "content": "code?"}]
    async with opened() as (app, hands):
        await hands.press("ctrl+t")
        await until(hands, lambda: "no whole answer" in words(app))
        await hands.ask("code?")
        backend.say("It is 4711.", END)
        await until(hands, lambda: "4711" in shown(app) and "ready" in shown(app))
        await hands.press("ctrl+t")
        await until(hands, lambda: backend.judged)
        assert backend.judged == [(asked, "It is 4711.", "workorders-1.1.0", None)]
        await hands.press("ctrl+o")
        await until(hands, lambda: "How should the answer have been?" in shown(app))
        await hands.press("escape")
        await until(hands, lambda: "How should" not in shown(app))
        await hands.press("ctrl+o")
        await until(hands, lambda: "How should the answer have been?" in shown(app))
        await hands.press("ctrl+o")  # as it is: wrong, and nobody says what is right
        await until(hands, lambda: len(backend.judged) == 2)
        assert backend.judged[1][3] == ""
        await hands.press("ctrl+o")
        await until(hands, lambda: "How should the answer have been?" in shown(app))
        await hands.press("backspace", "backspace", "2")
        await until(hands, lambda: "4712" in shown(app))
        await hands.press("ctrl+o")
        await until(hands, lambda: len(backend.judged) == 3)
        assert backend.judged[2] == (asked, "It is 4711.", "workorders-1.1.0", "It is 4712")
        backend.full = True
        await hands.press("ctrl+t")
        await until(hands, lambda: "No more is kept" in words(app))


async def test_escape_stops_and_what_came_is_kept(opened, backend) -> None:
    async with opened() as (app, hands):
        await hands.ask("go")
        backend.say("one two ")
        await until(hands, lambda: "one two" in shown(app))
        await hands.press("escape")
        await until(hands, lambda: "Stopped." in shown(app))
        backend.say("three ")
        await until(hands, lambda: backend.closed == 1)  # the request was closed, so the engine stops too
        assert "three" not in shown(app)
        assert [turn.text for turn in app.history.turns(1)] == ["go", "one two "]
        await hands.ask("on")
        backend.say("four", END)
        await until(hands, lambda: "four" in shown(app) and "ready" in shown(app))
        assert [message["role"] for message in backend.asked[1]] == ["user", "assistant", "user"]


async def test_the_end_is_followed_behind_another_screen_and_not_while_one_reads_above(
    opened, backend
) -> None:
    async with opened() as (app, hands):
        await hands.ask("go")
        backend.say("first\n\n")
        await until(hands, lambda: "first" in shown(app))
        await hands.press("f2")
        await until(hands, lambda: "Active release" in shown(app))
        backend.say("".join(f"line {number}\n\n" for number in range(40)))
        await hands.press("f1")
        await until(hands, lambda: "line 39" in shown(app))
        await hands.press("pageup")
        await until(hands, lambda: "line 39" not in shown(app))
        above = [line for line in shown(app).splitlines() if " line " in line]
        assert above
        backend.say("more\n\n")
        await until(hands, lambda: app.screen._pieces == 3 and not app.screen._answer._pending)
        assert [line for line in shown(app).splitlines() if " line " in line] == above
        # At the end again, it follows again, while the answer goes on.
        for seen in ("line 39", "more"):
            await hands.press("pagedown")
            await until(hands, lambda seen=seen: seen in shown(app))
        backend.say("".join(f"later {number}\n\n" for number in range(30)), END)
        await until(hands, lambda: "later 29" in shown(app))


async def test_an_error_is_shown_in_place_with_its_hint_and_can_be_asked_again(opened, backend) -> None:
    async with opened() as (app, hands):
        await hands.ask("go")
        backend.say(ServingError("the queue is full", "ask again in 3 seconds"))
        await until(hands, lambda: "No answer: the queue is full" in shown(app))
        assert "ask again in 3 seconds" in shown(app)
        await hands.press("ctrl+r")
        backend.say("fine now", END)
        await until(hands, lambda: "fine now" in shown(app))
        assert "queue is full" not in shown(app)
        assert backend.asked[0] == backend.asked[1]


async def test_regenerate_replaces_the_last_answer(opened, backend) -> None:
    async with opened() as (app, hands):
        await hands.ask("go")
        backend.say("first answer", END)
        await until(hands, lambda: "ready" in shown(app) and "first answer" in shown(app))
        await hands.press("ctrl+r")
        backend.say("second answer", END)
        await until(hands, lambda: "ready" in shown(app) and "second answer" in shown(app))
        assert "first answer" not in shown(app)
        assert [turn.text for turn in app.history.turns(1)] == ["go", "second answer"]
        assert backend.asked == [[{"role": "user", "content": "go"}]] * 2


async def test_control_codes_of_the_model_never_reach_the_terminal(opened, backend) -> None:
    async with opened() as (app, hands):
        await hands.ask("go")
        backend.say("a\x1b]0;owned\x07b\x9b31mc\x1b", "[2Jd\u202ee\r\n", "```\n\x1b[5mcode\x00\n```\n", END)
        await until(hands, lambda: "code" in shown(app) and "ready" in shown(app))
        screen = shown(app)
        assert "a]0;ownedb31mc[2Jde" in screen
        assert all(ch == "\n" or ch.isprintable() for ch in screen)
        assert "\x1b" not in app.history.turns(1)[1].text


async def test_history_lists_searches_and_opens(opened, backend) -> None:
    async with opened() as (app, hands):
        for question, answer in (("bearing noise", "grease it"), ("fuel filter", "replace it")):
            await hands.ask(question)
            backend.say(answer, END)
            await until(hands, lambda answer=answer: answer in shown(app) and "ready" in shown(app))
            await hands.press("ctrl+n")
        await until(hands, lambda: "is ready" in shown(app))
        await hands.press("ctrl+l")
        await until(hands, lambda: "bearing noise" in shown(app) and "fuel filter" in shown(app))
        await hands.type("greas")  # a word of the answer, not yet whole
        await until(hands, lambda: "fuel filter" not in shown(app))
        await hands.press("enter")
        await until(hands, lambda: "grease it" in shown(app))
        await hands.ask("and then")
        await until(hands, lambda: len(backend.asked) == 3)
        assert [message["content"] for message in backend.asked[2]] == [
            "bearing noise",
            "grease it",
            "and then",
        ]
        backend.say("done", END)
        await until(hands, lambda: "done" in shown(app))


async def test_copy_goes_to_a_file_too(opened, backend, tmp_path) -> None:
    async with opened(size=(120, 36)) as (app, hands):
        await hands.press("ctrl+y")
        await until(hands, lambda: "no answer to copy" in words(app))
        await hands.ask("go")
        backend.say("copy me", END)
        await until(hands, lambda: "copy me" in shown(app) and "ready" in shown(app))
        await hands.press("ctrl+y")
        await until(hands, lambda: (tmp_path / "copied.txt").exists())
        assert (tmp_path / "copied.txt").read_text() == "copy me"
        assert (tmp_path / "copied.txt").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", SIZES)
async def test_when_nothing_serves_it_says_what_to_type_and_keeps_looking(opened, backend, size) -> None:
    backend.overview = NOTHING
    async with opened(size=size) as (app, hands):
        await until(hands, lambda: "will say when the model is there" in words(app))
        screen = words(app)
        assert "Nothing is served on this machine yet." in screen
        assert "anchorhold install /path/to/the/stick" in screen
        assert "anchorhold serve" in screen
        backend.overview = SERVING
        await until(hands, lambda: "is ready" in shown(app))  # by itself


async def test_a_new_line_is_typed_with_ctrl_j(opened, backend) -> None:
    async with opened() as (_app, hands):
        await hands.type("one")
        await hands.press("ctrl+j")
        await hands.ask("two")
        await until(hands, lambda: backend.asked)
        assert backend.asked[0][0]["content"] == "one\ntwo"
        backend.say("ok", END)
