"""The command line as a person and a script meet it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli import VERBS
from appliance.errors import ExitCode


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


def test_help_names_every_verb_in_order():
    text = run("--help").stdout
    places = [text.index(f"\n  {verb} ") for verb in VERBS]
    assert places == sorted(places)


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_explains_itself_with_an_example(verb):
    done = run(verb, "--help")
    assert done.returncode == 0
    assert "Usage: anchorhold " + verb in done.stdout
    assert "anchorhold" in done.stdout.split("Options:")[-1], "an example stands below the options"


def test_an_unknown_verb_is_a_usage_error():
    done = run("biuld")
    assert done.returncode == ExitCode.USAGE
    assert "biuld" in done.stderr


def test_outside_a_project_the_error_has_a_hint(tmp_path):
    done = run("build", cwd=tmp_path)
    assert done.returncode == ExitCode.CONFIG
    assert done.stderr.splitlines()[-2].startswith("error: ")
    assert "anchorhold init" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_verbose_shows_the_traceback(tmp_path):
    assert "Traceback" in run("-v", "build", cwd=tmp_path).stderr


def test_all_faults_of_a_configuration_are_listed_with_the_nearest_key(tmp_path):
    (tmp_path / "anchorhold.toml").write_text(
        '[project]\nname = "Bad Name"\n[training]\nepoch = 3\nrank = 0\n'
    )
    done = run("build", cwd=tmp_path)
    assert done.returncode == ExitCode.CONFIG
    assert "3 faults" in done.stderr
    assert "training.epoch: unknown key (did you mean `epochs`?)" in done.stderr
    assert "project.name" in done.stderr and "training.rank" in done.stderr


def test_init_writes_a_configuration_whose_values_are_the_defaults(tmp_path):
    from appliance import config, config_file

    done = run("init", str(tmp_path / "My Station"))
    assert done.returncode == 0, done.stderr
    written = config_file.load(tmp_path / "My Station" / "anchorhold.toml")
    assert written == config.Config(project=config.ProjectSection(name="my-station"))
    text = (tmp_path / "My Station" / "anchorhold.toml").read_text()

    def check(section: str, fields: dict) -> None:
        for key, field in fields.items():
            if hasattr(field.annotation, "model_fields"):
                check(f"{section}.{key}".lstrip("."), field.annotation.model_fields)
            else:
                unset = "# " if field.default is None else ""  # TOML has no word for it
                assert f"\n{unset}{key} = " in text.split(f"[{section}]")[1].split("\n[")[0]

    check("", config.Config.model_fields)


def test_init_changes_nothing_that_is_there(tmp_path):
    (tmp_path / "anchorhold.toml").write_text("mine")
    done = run("init", str(tmp_path))
    assert done.returncode == ExitCode.USAGE
    assert (tmp_path / "anchorhold.toml").read_text() == "mine"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell):
    done = run("completion", shell)
    assert done.returncode == 0
    assert "_ANCHORHOLD_COMPLETE" in done.stdout


def test_completion_completes_a_verb():
    done = run(_ANCHORHOLD_COMPLETE="bash_complete", COMP_WORDS="anchorhold ins", COMP_CWORD="1")
    assert "install" in done.stdout


def test_no_space_left_is_said_in_one_line(tmp_path, make_project):
    import resource

    folder = make_project()

    def little_space() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run(
        [sys.executable, "-m", "appliance", "dataset", "--project", str(folder)],
        capture_output=True,
        text=True,
        preexec_fn=little_space,
    )
    assert done.returncode == ExitCode.STORAGE, done.stderr
    assert "error: " in done.stderr and "Traceback" not in done.stderr
    assert not (folder / "build" / "dataset" / "card.json").exists()


def test_verbose_may_stand_behind_the_verb_and_changes_no_exit_code(tmp_path):
    done = run("build", "-v", cwd=tmp_path)
    assert done.returncode == ExitCode.CONFIG
    assert "Traceback" in done.stderr and "error: " in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_a_stick_s_own_modules_are_never_run(tmp_path, arguments):
    import shutil

    for name in ("tui", "appliance", "convert"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the stick was run')\n")
    (tmp_path / "json.py").write_text("raise SystemExit('the stick was run')\n")
    program = shutil.which("anchorhold", path=str(Path(sys.executable).parent))
    assert program, "the console script is installed"
    done = subprocess.run(
        [program, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert "the stick was run" not in done.stdout + done.stderr


def test_an_unforeseen_fault_is_one_line_with_a_hint(monkeypatch, capsys):
    from appliance import cli

    monkeypatch.setattr(cli.program, "main", lambda **_: {}["missing"])
    with pytest.raises(SystemExit) as ended:
        cli.main(["status"])
    assert ended.value.code == ExitCode.INTERNAL
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: a fault of the program: KeyError: 'missing'"
    assert lines[1].startswith("hint: ")
