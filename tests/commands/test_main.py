"""The command line as a whole: help, version, one-line errors, exit codes."""

import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from timewarp import commands, machine
from timewarp.commands import USER_ERRORS, main, one_line


def exporting(monkeypatch, run):
    """The verb ``export`` with another body."""
    monkeypatch.setattr("timewarp.commands.export.VERB", replace(commands.verb_of("export"), run=run))


def test_help_lists_every_verb_without_heavy_imports():
    code = (
        "import sys; sys.argv = ['timewarp', '--help']\n"
        "from timewarp.commands import main\n"
        "try: main()\n"
        "except SystemExit as e: assert e.code == 0\n"
        "heavy = {'torch', 'openmm', 'numpy', 'matplotlib', 'mdtraj', 'arviz'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for verb in commands.VERBS:
        assert re.search(rf"^    {verb}\s", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("verb", commands.VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert verb in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("timewarp ")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "VERB"),
        (["fold"], "fold"),
        (["simulate", "AG"], "--out"),
        (
            ["simulate", "AG", "--out", "x", "--length", "-1"],
            "--length: must be a number above 0 and at most 1,000,000 ns, got -1",
        ),
        (
            ["simulate", "AG", "--out", "x", "--length", "nan"],
            "--length: must be a number above 0 and at most 1,000,000 ns, got nan",
        ),
        (
            ["simulate", "AG", "--out", "x", "--length", "long"],
            "--length: must be a number above 0 and at most 1,000,000 ns, got 'long'",
        ),
        (
            ["simulate", "AG", "--out", "x", "--replicas", "0"],
            "must be a whole number of at least 1 and at most 65,536, got 0",
        ),
        (
            ["simulate", "AG", "--out", "x", "--replicas", "1.5"],
            "must be a whole number of at least 1 and at most 65,536, got '1.5'",
        ),
        (
            ["simulate", "AG", "--out", "x", "--temperature", "-310"],
            "--temperature: must be a number of at least 1 and at most 10,000 K",
        ),
        (["simulate", "AG", "--out", "x", "--preset", "charmm"], "charmm"),
        (["simulate", "AG", "--out", "x", "--seed", "-1"], "--seed: must be a whole number of at least 0"),
        (["export", "x", "--stride", "0"], "--stride: must be a whole number of at least 1"),
        (["export", "x", "--format", "gro"], "gro"),
    ],
)
def test_a_bad_command_line_is_one_line(argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.err.startswith("timewarp: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


@pytest.mark.parametrize("error", [*USER_ERRORS, FileExistsError, FileNotFoundError, PermissionError])
def test_user_errors_are_one_line(error, capsys, monkeypatch):
    def fail(call):
        raise error("got this,\nexpected that")

    exporting(monkeypatch, fail)
    assert main(["export", "x"]) == 2
    assert capsys.readouterr().err == "timewarp: error: got this, expected that\n"
    assert main(["export", "x", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert main(["--debug", "export", "x"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_our_own_bugs_are_told_from_user_errors(monkeypatch, capsys):
    def fail(call):
        raise AssertionError("what should never be")

    exporting(monkeypatch, fail)
    assert main(["export", "x"]) == 1
    assert "unexpected AssertionError: what should never be (please report it" in capsys.readouterr().err
    assert main(["--debug", "export", "x"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_says_how_to_go_on(capsys, monkeypatch):
    def interrupt(call):
        raise KeyboardInterrupt

    exporting(monkeypatch, interrupt)
    assert main(["export", "x"]) == 130
    assert "same command again" in capsys.readouterr().err


def test_sigterm_is_an_interrupt(capsys, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    exporting(monkeypatch, lambda call: signal.raise_signal(signal.SIGTERM))
    try:
        assert main(["export", "x"]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "same command again" in capsys.readouterr().err


def test_system_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "nowhere").read_text()
    assert one_line(caught.value) == f"No such file or directory: {tmp_path / 'nowhere'}"


def test_names_in_the_settings_are_those_of_the_rooms():
    """They are written out there, so that ``--help`` loads neither OpenMM nor torch."""
    from timewarp.flows import KINDS
    from timewarp.molecules import PRESETS
    from timewarp.settings import sampling

    assert tuple(PRESETS) == sampling.PRESETS
    assert set(KINDS) >= set(sampling.KINDS)


def test_unknown_devices_are_named():
    with pytest.raises(ValueError, match="no device 'tpu' on this machine; it has cpu"):
        machine.resolve_device("tpu")
    assert machine.resolve_device("cpu") == "cpu"
