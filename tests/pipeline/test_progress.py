"""Events as a person sees them."""

from __future__ import annotations

import io

from appliance.events import Event, EventFile
from appliance.progress import PlainProgress, duration, sparkline


def test_a_plain_line_tells_how_far_and_how_long():
    out = io.StringIO()
    show = PlainProgress(out, every=0.0)
    show(Event("train", "started", "reading", time=100.0))
    show(Event("train", "progress", "training", 0, 100, "steps", time=140.0))  # after 40 s of reading
    figures = {"loss": 1.5, "tokens_per_second": 300.0}
    show(Event("train", "metric", "", 10, 100, "steps", figures, time=150.0))
    assert out.getvalue().splitlines() == [
        "train     reading",
        "train     0/100 steps  training",
        "train     10/100 steps  loss 1.500  300 tokens/s  ETA 1m30s",
    ]


def test_what_was_resumed_and_what_ran_before_don_t_count_as_speed():
    out = io.StringIO()
    show = PlainProgress(out, every=0.0)
    for began, done in ((0.0, 0), (1000.0, 50)):
        show(Event("train", "started", "reading", time=began))
        show(Event("train", "progress", "training", done, 100, "steps", time=began + 5))
        show(Event("train", "metric", "", done + 10, 100, "steps", time=began + 15))
    assert out.getvalue().splitlines()[2::3] == [
        "train     10/100 steps  ETA 1m30s",
        "train     60/100 steps  ETA 40s",
    ]


def test_progress_lines_are_spared_but_messages_never():
    out = io.StringIO()
    show = PlainProgress(out, every=1e9)
    show(Event("x", "message", "one"))
    show(Event("x", "progress", "two", 1, 2))
    show(Event("x", "warning", "three"))
    assert out.getvalue() == "x         one\nx         warning: three\n"


def test_durations_read_as_a_person_says_them():
    assert [duration(value) for value in (0.4, 45, 185, 7800, 400_000)] == [
        "0s",
        "45s",
        "3m05s",
        "2h10m",
        "4d15h",
    ]


def test_a_sparkline_falls_with_its_values():
    assert sparkline([4.0, 3.0, 2.0, 1.0]) == "█▅▃▁"
    assert len(sparkline([float(value) for value in range(1000)])) <= 24
    assert sparkline([]) == ""


def test_the_event_file_appends_one_json_line_an_event(tmp_path):
    import json

    path = tmp_path / "deep" / "events.jsonl"
    for _ in range(2):
        file = EventFile(path)
        file(Event("dataset", "finished", "zehn Zeilen ✓", 10, 10, "rows"))
        file.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["text"] for line in lines] == ["zehn Zeilen ✓"] * 2
