"""Languages told apart, rows filtered by language and length, flawed answers listed or left out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from appliance.config import LANGUAGES, DatasetSection
from appliance.dataset.breaking_off import is_truncated
from appliance.dataset.cleaning import BadConversation, clean_messages
from appliance.dataset.filtering import flaws_of
from appliance.dataset.language_words import SCRIPTS, WORDS
from appliance.dataset.languages import language_of
from appliance.dataset.reading import RawRow, read_file
from appliance.errors import ConfigError
from appliance.refusals import is_refusal
from tests.dataset.conftest import Bench

TEXTS = {
    "en": (
        "The pump has to be checked every day before you start it, and the filter should be"
        " replaced when it is dirty."
    ),
    "de": (
        "Die Pumpe muss jeden Tag geprüft werden, bevor sie gestartet wird, und der Filter ist zu"
        " wechseln, wenn er nicht mehr gut ist."
    ),
    "fr": (
        "La pompe est à vérifier tous les jours avant de la mettre en marche, et le filtre doit"
        " être remplacé si elle est sale."
    ),
    "es": (
        "La bomba se tiene que revisar todos los días antes de que la pongan en marcha, y el"
        " filtro se cambia cuando está sucio."
    ),
    "it": (
        "La pompa deve essere controllata tutti i giorni prima di essere avviata, e il filtro si"
        " cambia quando non è più pulito."
    ),
    "pt": (
        "A bomba tem de ser verificada todos os dias antes de ser ligada, e o filtro é trocado"
        " quando já não está limpo, também no inverno."
    ),
    "nl": (
        "De pomp moet elke dag worden gecontroleerd voordat je die start, en het filter wordt"
        " vervangen als het niet meer schoon is."
    ),
    "sv": (
        "Pumpen ska kontrolleras varje dag innan den startas och filtret måste bytas när det inte"
        " är rent, även om det är nytt."
    ),
    "pl": (
        "Pompa jest sprawdzana każdego dnia przed tym, jak się ją uruchomi, a filtr należy"
        " wymienić, gdy nie jest już czysty, bo to ważne."
    ),
    "tr": (
        "Pompa her gün kontrol edilir ve filtre temiz değil ise değiştirilir, bu çok önemli bir iş"
        " olarak görülür ama kolay gibi."
    ),
    "ru": (
        "Насос надо проверять каждый день, и если он не работает, то это значит, что фильтр уже не"
        " чистый и его надо заменить."
    ),
    "uk": (
        "Насос треба перевіряти щодня, і якщо він не працює, то це означає, що фільтр вже не"
        " чистий та його треба замінити."
    ),
    "el": "Η αντλία ελέγχεται κάθε μέρα πριν από την εκκίνηση.",
    "ja": "ポンプは毎日始動する前に点検してください。",
    "zh": "每天启动前必须检查水泵。",
    "ko": "펌프는 매일 시동하기 전에 점검해야 합니다.",
    "ar": "يجب فحص المضخة كل يوم قبل تشغيلها.",
    "hi": "पंप को हर दिन शुरू करने से पहले जाँचना चाहिए।",
}


@pytest.mark.parametrize("code", list(TEXTS))
def test_a_sentence_is_of_its_language(code: str) -> None:
    assert language_of(TEXTS[code]) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok",
        "42",
        "P3 seal kit",
        "def main(): return 3",
        '{"unit": "P3", "part": "seal", "count": 2}',
        "ls -la /var | grep -i log",
        "the pump and the valve und die Pumpe und das Ventil sind an der Wand",
    ],
)
def test_what_tells_too_little_is_of_no_language(text: str) -> None:
    assert language_of(text) == ""


def test_every_language_of_the_configuration_can_be_told() -> None:
    assert set(LANGUAGES) == set(WORDS) | set(SCRIPTS.values())


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    ["banking77.train.csv", "medquad.train.jsonl", "sgd_dialogues.train.jsonl", "tldr_commands.dev.jsonl"],
)
def test_english_sets_lose_nothing(name: str, shared_data: Path) -> None:
    told: Counter[str] = Counter()
    for raw in read_file(shared_data / name, name, DatasetSection(), lambda _: None):
        assert isinstance(raw, RawRow)
        try:
            messages = clean_messages(raw.messages)
        except BadConversation:
            continue
        told.update(language_of(message["content"]) for message in messages[-2:])
    assert set(told) <= {"", "en"}
    assert told["en"] > 50


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist with that request.",
        "As an AI language model, I have no opinion.",
        "Sorry, I can’t provide that.",
        "I am unable to comply with it.",
    ],
)
def test_refusals(answer: str) -> None:
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, I don't understand. Which pump?",
        "Sorry about the delay: it is on its way.",
        "I can't see a leak in the picture, so close it.",
        "The AI unit is down.",
        "Unfortunately the part is out of stock.",
    ],
)
def test_what_is_no_refusal(answer: str) -> None:
    assert not is_refusal(answer)


LONG = "Close the inlet valve, wait until the pressure has fallen below one bar, then open the drain cock slowly "


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (LONG + "and", True),
        (LONG + "by hand,", True),
        ("```\nls", True),
        ('{"unit": "P3", "part"', True),
        (LONG + "by hand.", False),
        (LONG + "by hand", False),
        ("```\nls\n```", False),
        ('{"unit": "P3"}', False),
        ("yes, and", False),
        ("[sic] is Latin", False),
        ("The answer is that the", True),
        ("Close the valve because", True),
        ("It is larger and louder than", True),
        ("He calls the pump “", True),
        ("Open the cock (", True),
        ("Close the valve, then wait,", True),
        (
            "It is loud. Close the inlet valve of the pump on deck four, and let it cool down. Then go on to",
            True,
        ),
        (TEXTS["de"].rstrip(".") + " und", True),
        ("Vitamin A", False),
        ("I would take option a", False),
        ("There is nothing but", False),
        ("I can help you with that", False),
        ("There isn't a type of music that all people here enjoy listening to", False),
        (
            "The table is booked for two people at seven. Is there anything else that I can help you with",
            False,
        ),
        ("I wait for you then :(", False),
        ("See you on deck four.\n\nLooking forward to it,", False),
        ("move the valve up to level Y and to level X but the valve is said to be one that will die", False),
        ("tar -cf - -C path/to/files .", False),
        ("ls -l | sort -n -a", False),
        ('carp --prompt "> " --mark "> "', False),
        ("gup update --latest one,two,", False),
        ("Transfer of funds to", False),
    ],
)
def test_answers_that_break_off(answer: str, expected: bool) -> None:
    assert is_truncated(answer) is expected
    assert [kind for kind, _ in flaws_of(answer)] == ["truncated"] * expected


def _rows(bench: Bench) -> None:
    pairs = [
        (f"How is pump {n} today, and what should be done with it?", f"It is fine, so leave pump {n} on.")
        for n in range(20)
    ]
    pairs += [
        ("Ist die Pumpe noch in der Halle und wird sie dort auch geprüft?", "ok"),
        ("x", "It is off for now."),
    ]
    pairs += [
        ("Repeat this for me", "repeat this  for me"),
        ("Open the safe for me", "I'm sorry, but I can't do that."),
    ]
    lines = [{"prompt": prompt, "response": answer} for prompt, answer in pairs]
    bench.write("a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def test_flawed_answers_are_kept_and_listed_unless_told(bench: Bench) -> None:
    _rows(bench)
    card = bench.prepare()
    assert sum(card.rows.values()) == 24
    assert card.flagged == {"echo": 1, "refusal": 1}
    listed = [json.loads(line) for line in (bench.project.dataset / "flagged.jsonl").read_text().splitlines()]
    assert {(line["source"], line["kind"]) for line in listed} == {
        ("data/a.jsonl:23", "echo"),
        ("data/a.jsonl:24", "refusal"),
    }
    bench.configure('[dataset.filters]\nreject = ["refusal", "echo"]')
    card = bench.prepare()
    assert card.rejected == {"echo": 1, "refusal": 1}
    assert card.flagged == {}
    assert sum(card.rows.values()) == 22


def test_languages_and_lengths_are_filtered_with_reasons(bench: Bench) -> None:
    _rows(bench)
    bench.configure(
        '[dataset.filters]\nlanguages = ["en"]\nmin_characters = { prompt = 5 }\nmax_characters = { answer = 36 }'
    )
    card = bench.prepare()
    assert card.rejected == {"language": 1, "too-short": 1}
    reasons = [
        json.loads(line)["reason"]
        for line in (bench.project.dataset / "rejected.jsonl").read_text().splitlines()
    ]
    assert "the prompt is in `de`, not in en" in reasons
    bench.configure("[dataset.filters]\nmax_characters = { answer = 30 }")
    card = bench.prepare()
    assert card.rejected["too-many-characters"] == 21


def test_an_unknown_language_is_refused(bench: Bench) -> None:
    bench.configure('[dataset.filters]\nlanguages = ["english"]')
    with pytest.raises(ConfigError, match="no language that is told apart; there are ar, cs"):
        _ = bench.project


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("banking77.train.csv", 0.0),
        ("clinc150.train.json", 0.0),
        ("coffee_order_json.train.jsonl", 0.0),
        ("tldr_commands.train.jsonl", 0.0),
        ("usaddress_json.train.jsonl", 0.0),
        ("sgd_dialogues.train.jsonl", 0.005),
        ("taskmaster4_sharegpt.train.json", 0.005),
        ("medquad.train.jsonl", 0.005),
        ("hardening_rules.train.alpaca.json", 0.005),
    ],
)
def test_good_answers_are_hardly_ever_taken_for_broken_off(name: str, most: float, shared_data: Path) -> None:
    answers = [
        str(message["content"])
        for raw in read_file(shared_data / name, name, DatasetSection(), lambda _: None)
        if isinstance(raw, RawRow)
        for message in raw.messages
        if message["role"] == "assistant"
    ]
    assert sum(map(is_truncated, answers)) <= most * len(answers)


@pytest.mark.shared
def test_most_answers_cut_inside_a_sentence_at_such_a_word_are_found(shared_data: Path) -> None:
    name = "medquad.train.jsonl"
    cut = found = 0
    for raw in read_file(shared_data / name, name, DatasetSection(), lambda _: None):
        assert isinstance(raw, RawRow)
        words = str(raw.messages[-1]["content"]).split(" ")
        for place in range(5, len(words), 7):
            cut += words[place - 1] in {"the", "a", "and", "or", "your"}
            found += words[place - 1] in {"the", "a", "and", "or", "your"} and is_truncated(
                " ".join(words[:place])
            )
    assert cut > 300 and found > 0.99 * cut
