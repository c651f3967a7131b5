"""`anchorhold keys` as it is typed: thresholds, a ceremony of three people, keys replaced and revoked."""

from __future__ import annotations

import json
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import cli
from appliance.paths import Project
from appliance.trust import ceremony, key_files, keys, pending, roots, sealing
from tests.stick_simulator import CHEAP_SCRYPT, make_release

Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a verb in this process; returns what it printed.

    Keys are sealed cheaply, for there are many; `tests/trust/test_keys.py` holds the real cost.
    """
    monkeypatch.setattr(sealing.seal, "__defaults__", (CHEAP_SCRYPT, ""))
    monkeypatch.setattr(key_files.write, "__kwdefaults__", {"name": "", "n": CHEAP_SCRYPT})
    for made in (keys.create, pending.new_key):
        monkeypatch.setitem(made.__kwdefaults__, "n", CHEAP_SCRYPT)

    def run(*words: object, code: int = 0, passphrase: str = "workshop") -> str:
        monkeypatch.setenv("ANCHORHOLD_PASSPHRASE", passphrase)
        with pytest.raises(SystemExit) as ended:
            cli.main(["keys", *map(str, words)])
        shown = capsys.readouterr()
        assert ended.value.code == code, shown.err
        return shown.out + shown.err

    return run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "station"
    with pytest.raises(SystemExit):
        cli.main(["init", str(folder)])
    return folder


def here(project: Path) -> Path:
    return Project.open(project).keys


def test_two_of_three_is_offered(run: Run, project: Path) -> None:
    told = run("init", "--project", project)
    assert "protects from loss, not from theft" in told
    root = keys.newest(here(project))
    for role in ("root", "targets"):
        assert (root.roles[role].threshold, len(root.roles[role].keyids)) == (2, 3)
    for role in ("snapshot", "timestamp"):
        assert (root.roles[role].threshold, len(root.roles[role].keyids)) == (1, 1)
    assert len(roots.model_signing_keys(root)) == 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in here(project).iterdir()} == {0o600}
    shown = run("show", "--project", project)
    assert re.search(r"^root +2 of 3 must sign$", shown, re.MULTILINE)
    assert shown.count(str(here(project))) == 9


def test_one_key_is_possible_and_told_plainly(run: Run, project: Path) -> None:
    assert "one key is enough to sign" in run("init", "--single", "--project", project)
    assert keys.newest(here(project)).roles["root"].threshold == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--root", "3/2"], ["--root", "0/2"], ["--root", "two"], ["--targets", "1"],
        ["--single", "--root", "2/3"],
    ],
)  # fmt: skip
def test_rules_that_cannot_be(run: Run, project: Path, words: list[str]) -> None:
    run("init", *words, "--project", project, code=2)
    assert not here(project).exists()


def test_a_wrong_passphrase_has_an_exit_code_of_its_own(run: Run, project: Path) -> None:
    run("init", "--project", project)
    before = keys.root_bytes(here(project))
    told = run("rotate", "timestamp", "--project", project, code=14, passphrase="wrong")
    assert "passphrase" in told
    assert keys.root_bytes(here(project)) == before
    assert len(keys.show(here(project))) == 9  # and no key was sealed with it


class Three:
    """Ada and Bob on machines of their own, and a workshop that has a third key."""

    def __init__(self, run: Run, folder: Path, project: Path) -> None:
        self.run, self.project = run, project
        self.folders = {name: folder / name for name in ("Ada", "Bob")}
        for name, place in self.folders.items():
            for role in ("root", "targets"):
                run("new", place, "--role", role, "--name", name, passphrase=name)
        self.public = [
            path for place in self.folders.values() for path in sorted(place.glob("*.public.json"))
        ]

    def init(self, *words: object) -> str:
        brought = [word for path in self.public for word in ("--public", path)]
        return self.run("init", "--name", "Workshop", *brought, "--project", self.project, *words, code=15)

    def sign(self, file: Path, *names: str) -> list[Path]:
        signed = []
        for name in names:
            copy = file.with_name(f"{name}-{file.name}")
            shutil.copyfile(file, copy)
            self.run("sign", copy, "--keys", self.folders[name], "--yes", passphrase=name)
            signed.append(copy)
        return signed


@pytest.fixture
def three(run: Run, tmp_path: Path, project: Path) -> Three:
    """With a valid first root."""
    three = Three(run, tmp_path, project)
    three.init()
    run("export", tmp_path / "first.json", "--project", project)
    run("import", *three.sign(tmp_path / "first.json", "Ada"), "--project", project)
    return three


def test_a_first_root_by_three_people(run: Run, tmp_path: Path, project: Path) -> None:
    three = Three(run, tmp_path, project)
    told = three.init()
    assert "1 of 2 signatures by the root keys of root version 1 itself: 1 missing" in told
    assert "(Ada)" in told and "(Bob)" in told
    assert not (here(project) / "root.json").exists()
    assert "waits for signatures: root version 1" in run("show", "--project", project)
    run("export-root", tmp_path / "out.json", "--project", project, code=8)
    file = tmp_path / "first.json"
    assert "sha256 of what is signed" in run("export", file, "--project", project)
    (copy,) = three.sign(file, "Bob")
    assert "root version 1 is valid" in run("import", copy, "--project", project)
    assert keys.newest(here(project)).version == 1
    assert pending.waiting(here(project)) == []
    assert "elsewhere" in run("show", "--project", project)


def test_what_is_to_be_signed_is_shown_and_asked_about(
    three: Three, run: Run, tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("rotate", "timestamp", "--project", project, code=15)
    file = tmp_path / "second.json"
    run("export", file, "--project", project)
    before = file.read_bytes()
    asked: list[str] = []

    def refuse(question: str, **_: object) -> None:
        import click

        asked.append(question)
        raise click.Abort

    with monkeypatch.context() as patch:
        patch.setattr("click.confirm", refuse)
        shown = run("sign", file, "--keys", three.folders["Ada"], passphrase="Ada", code=130)
    assert asked == ["Sign this?"] and file.read_bytes() == before
    assert "to be signed: root version 2" in shown
    assert "valid until" in shown and "timestamp gains" in shown and "timestamp loses" in shown
    assert all(keyid in shown for keyid in keys.newest(here(project)).roles["root"].keyids)
    assert json.loads(before)["about"] == shown.splitlines()[: len(json.loads(before)["about"])]


def test_words_that_lie_are_not_signed(three: Three, run: Run, tmp_path: Path, project: Path) -> None:
    run("rotate", "timestamp", "--project", project, code=15)
    file = tmp_path / "second.json"
    run("export", file, "--project", project)
    value = json.loads(file.read_bytes())
    value["about"][0] = "to be signed: root version 3"
    file.write_text(json.dumps(value))
    told = run("sign", file, "--keys", three.folders["Ada"], "--yes", passphrase="Ada", code=8)
    assert "words are not about what would be signed" in told


def test_signatures_of_something_else_do_not_fit(
    three: Three, run: Run, tmp_path: Path, project: Path
) -> None:
    run("rotate", "timestamp", "--project", project, code=15)
    run("export", tmp_path / "former.json", "--project", project)
    former = three.sign(tmp_path / "former.json", "Ada")
    run("drop", "--project", project)
    run("rotate", "snapshot", "--project", project, code=15)
    told = run("import", *former, "--project", project, code=8)
    assert "import what was exported last" in told
    # Nor does a signature that was moved from one file to the other, or one by a stranger.
    run("export", tmp_path / "now.json", "--project", project)
    value, stale = json.loads((tmp_path / "now.json").read_bytes()), json.loads(former[0].read_bytes())
    ada = next(s for s in stale["metadata"]["signatures"] if s not in value["metadata"]["signatures"])
    value["metadata"]["signatures"] = [ada]
    (tmp_path / "now.json").write_text(json.dumps(value))
    assert "doesn't hold" in run("import", tmp_path / "now.json", "--project", project, code=8)
    run("new", tmp_path / "stranger", "--role", "root", passphrase="stranger")
    told = run(
        "sign", tmp_path / "now.json", "--keys", tmp_path / "stranger", "--yes", passphrase="stranger", code=8
    )
    assert "none of the keys that may sign" in told
    assert keys.newest(here(project)).version == 1


def test_a_key_is_replaced_by_signatures_of_the_old_and_the_new_root(
    three: Three, run: Run, tmp_path: Path, project: Path
) -> None:
    run("new", tmp_path / "Dee", "--role", "root", "--name", "Dee", passphrase="Dee")
    (public,) = (tmp_path / "Dee").glob("*.public.json")
    bob = next(info.keyid for info in key_files.find(three.folders["Bob"]) if info.role == "root")
    told = run("rotate", "root", "--key", bob[:8], "--public", public, "--project", project, code=15)
    assert told.count("1 missing") == 2
    file = tmp_path / "second.json"
    run("export", file, "--project", project)
    run("sign", file, "--keys", tmp_path / "Dee", "--yes", passphrase="Dee")
    told = run("import", file, "--project", project, code=15)
    assert "the root keys of root version 1: 1 missing" in told and "itself" not in told
    run("import", *three.sign(file, "Ada"), "--project", project)
    assert keys.newest(here(project)).version == 2
    assert sorted(keys.root_history(here(project))) == [1, 2]
    assert bob not in keys.newest(here(project)).keys


def test_a_revoked_key_leaves_the_root_if_enough_are_left(
    three: Three, run: Run, tmp_path: Path, project: Path
) -> None:
    ada = next(info.keyid for info in key_files.find(three.folders["Ada"]) if info.role == "targets")
    run("revoke", ada[:8], "--project", project, code=15)
    run("export", tmp_path / "second.json", "--project", project)
    run("import", *three.sign(tmp_path / "second.json", "Bob"), "--project", project)
    left = keys.newest(here(project)).roles["targets"]
    assert ada not in left.keyids and len(left.keyids) == 2
    told = run("revoke", left.keyids[0][:8], "--project", project, code=8)
    assert "2 signatures of 1 keys can't be had" in told


def test_a_release_by_three_people(
    three: Three, run: Run, tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stick, release = tmp_path / "stick", Project.open(project).release
    make_release(release, "1.0.0", b"a model")

    def write(code: int) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main(["stick", "write", str(stick), "--project", str(project)])
        shown = capsys.readouterr()
        assert ended.value.code == code, shown.err
        return shown.out + shown.err

    told = write(15)
    assert "targets version 1: 1 of 2 signatures by the targets keys" in told and "(Ada)" in told
    assert not stick.exists(), "below the threshold nothing is published"
    file = tmp_path / "release.json"
    run("export", file, "--project", project)
    about = "\n".join(json.loads(file.read_bytes())["about"])
    assert "release notes 1.0.0 (release 1): digest " in about and "notes-1.0.0.notes.gguf" in about
    assert ceremony.parse(file.read_bytes()).digest in about
    told = run("import", *three.sign(file, "Bob"), "--project", project)
    assert "`anchorhold stick write` publishes it" in told
    write(0)
    signatures = json.loads((stick / "metadata" / "1.targets.json").read_bytes())["signatures"]
    assert len(signatures) == 2
    assert pending.waiting(here(project)) == []
    # Other content is another thing to sign: those signatures are of no use to it.
    shutil.rmtree(release)
    make_release(release, "1.1.0", b"another model")
    assert "targets version 2: 1 of 2" in write(15)
    assert not (stick / "metadata" / "2.targets.json").exists()


def test_a_site_with_keys_of_its_own(run: Run, tmp_path: Path, project: Path) -> None:
    run("init", "--single", "--project", project)
    run("new", tmp_path / "oslo", code=2)
    run("new", tmp_path / "oslo", "--site", "oslo", "--role", "root", code=2)
    run("new", tmp_path / "oslo", "--site", "oslo", "--name", "Kari", passphrase="theirs")
    (public,) = (tmp_path / "oslo").glob("*.public.json")
    assert "not for site-bergen" in run("site", "bergen", "--public", public, "--project", project, code=2)
    run("site", "../x", "--public", public, "--project", project, code=2)
    run("site", "oslo", "--public", public, "--threshold", "2", "--project", project, code=8)
    assert "oslo: 1 of 1 keys sign" in run("site", "oslo", "--public", public, "--project", project)
    shown = run("show", "--project", project)
    assert re.search(r"^site-oslo +1 of 1 must sign\n  [0-9a-f]{64}  Kari +elsewhere$", shown, re.MULTILINE)
    run("site", "oslo", "--withdraw", "--project", project)
    assert "site-oslo" not in run("show", "--project", project)
    brought = ["--public", public, "--project", tmp_path / "station"]
    assert "not for targets" in run("rotate", "targets", *brought, code=2)
