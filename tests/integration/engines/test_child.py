"""Child programs: what they get, what is kept of them, and how they end."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from cryodaq.engines.child import run_child
from cryodaq.engines.program import KnownProgram, ProgramSettings, installed_version
from cryodaq.errors import EngineError

PROBE = KnownProgram(
    name="probe",
    executable="probe",
    version_pattern=r"probe (\d+\.\d+)",
    at_least=(1, 0),
    below=(2,),
    asks_version=("--version",),
)


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_arguments_reach_the_program_as_they_are(folder: Path) -> None:
    nasty = ["a b", "$(touch evil)", "; touch evil", "*", "'\"", "--flag=ü"]
    said = run_child(
        python("import sys; print(sys.argv[1:])", *nasty),
        program="probe",
        folder=folder,
        log=folder / "probe.log",
        timeout_s=30,
    )
    assert eval(said) == nasty  # noqa: S307  # our own output
    assert not (folder / "evil").exists()


def test_what_programs_say_one_after_the_other_is_kept_and_returned_apart(folder: Path) -> None:
    log = folder / "probe.log"
    for word in ("first", "second"):
        code = f"import sys; print('{word}'); print('{word} trouble', file=sys.stderr)"
        said = run_child(python(code), program="probe", folder=folder, log=log, timeout_s=30)
        assert sorted(said.split("\n")) == ["", word, f"{word} trouble"]
    assert log.read_text().count("trouble") == 2


def test_answers_are_given_to_a_program_that_asks(folder: Path) -> None:
    said = run_child(
        python("print(input() + '|' + input())"),
        program="probe",
        folder=folder,
        log=folder / "probe.log",
        timeout_s=30,
        answers="micrograph.mrc\n300\n",
    )
    assert said == "micrograph.mrc|300\n"


def test_a_failure_carries_the_last_20_lines(folder: Path) -> None:
    code = "for n in range(50): print('line', n)\nraise SystemExit(3)"
    with pytest.raises(EngineError, match="probe: it ended with code 3") as failed:
        run_child(python(code), program="probe", folder=folder, log=folder / "probe.log", timeout_s=30)
    assert failed.value.last_lines.splitlines() == [f"line {n}" for n in range(30, 50)]


def test_a_crash_is_told_by_its_signal(folder: Path) -> None:
    with pytest.raises(EngineError, match="signal 11"):
        run_child(
            python("import os; os.kill(os.getpid(), 11)"),
            program="probe",
            folder=folder,
            log=folder / "probe.log",
            timeout_s=30,
        )


def test_a_program_that_is_not_there_says_what_to_correct(folder: Path) -> None:
    with pytest.raises(EngineError, match="correct its executable"):
        run_child(["/no/such/program"], program="probe", folder=folder, log=folder / "probe.log", timeout_s=30)


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_program_that_hangs_is_stopped_with_all_that_it_started(folder: Path, stubborn: bool) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " if stubborn else ""
    grandchild = f"{deaf}import time, os; open('grandchild', 'w').write(str(os.getpid())); time.sleep(600)"
    code = (
        f"import subprocess, sys, time\nprint('began', flush=True)\n"
        f"subprocess.Popen([sys.executable, '-c', {grandchild!r}])\ntime.sleep(600)"
    )
    with pytest.raises(EngineError, match="did not end within 2 s") as failed:
        run_child(python(code), program="probe", folder=folder, log=folder / "probe.log", timeout_s=2)
    assert failed.value.last_lines == "began"
    pid = int((folder / "grandchild").read_text())
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the grandchild lives on"
        time.sleep(0.02)


def test_secrets_and_our_own_settings_stay_with_us(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CRYODAQ_DATABASE_URL", "AIRFLOW__CORE__FERNET_KEY", "SITE_TOKEN", "Db_Password", "PYTHONPATH"):
        monkeypatch.setenv(name, "hidden")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    said = run_child(
        python("import os; print(dict(os.environ))"),
        program="probe",
        folder=folder,
        log=folder / "probe.log",
        timeout_s=30,
        environment={"OMP_NUM_THREADS": "3"},
    )
    assert "hidden" not in said
    assert "'CUDA_VISIBLE_DEVICES': '1'" in said
    assert "'OMP_NUM_THREADS': '3'" in said
    assert "'LC_ALL': 'C'" in said


def test_environment_modules_are_loaded_before_the_program_starts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".bash_profile").write_text('module() { export LOADED="$*"; }\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = ProgramSettings(executable=sys.executable, modules=("relion/5.0", "cuda+12"))
    command = PROBE.command(
        settings, ["-c", "import os, sys; print(os.environ['LOADED'], sys.argv[1:])", "a b", "$HOME"]
    )
    said = run_child(command, program="probe", folder=folder, log=folder / "probe.log", timeout_s=30)
    assert said.splitlines()[-1] == "load relion/5.0 cuda+12 ['a b', '$HOME']"


def test_a_module_that_cannot_be_loaded_is_a_failure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".bash_profile").write_text('module() { echo "ERROR: Unable to locate $2"; return 1; }\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    command = PROBE.command(ProgramSettings(executable=sys.executable, modules=("relion/9",)), ["-c", "print('ran')"])
    with pytest.raises(EngineError, match="Unable to locate relion/9") as failed:
        run_child(command, program="probe", folder=folder, log=folder / "probe.log", timeout_s=30)
    assert "ran" not in failed.value.last_lines


def test_a_prefix_runs_the_program(folder: Path) -> None:
    settings = ProgramSettings(executable=sys.executable, prefix=("env", "INSIDE=container"))
    command = PROBE.command(settings, ["-c", "import os; print(os.environ['INSIDE'])"])
    assert run_child(command, program="p", folder=folder, log=folder / "p.log", timeout_s=30) == "container\n"


def test_a_version_is_asked_for_once(stand_in, calls) -> None:  # type: ignore[no-untyped-def]
    settings = ProgramSettings(executable=stand_in("probe", "print('probe 1.4')"))
    assert [installed_version(PROBE, settings) for _ in range(3)] == ["1.4"] * 3
    assert calls("probe") == [["--version"]]


def test_a_version_that_is_not_understood_is_refused_each_time(stand_in) -> None:  # type: ignore[no-untyped-def]
    settings = ProgramSettings(executable=stand_in("probe", "print('probe 2.0')"))
    for _ in range(2):
        with pytest.raises(EngineError, match=r"version 2\.0 is installed"):
            installed_version(PROBE, settings)


def test_a_stopped_task_takes_its_program_with_it(folder: Path) -> None:
    code = """
import sys
from pathlib import Path
from cryodaq.engines.child import run_child
import signal
def stop(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, stop)
signal.setitimer(signal.ITIMER_REAL, 1.5)
child = "import os, time; open('child', 'w').write(str(os.getpid())); time.sleep(600)"
folder = Path(sys.argv[1])
try:
    run_child([sys.executable, "-c", child], program="p", folder=folder, log=folder / "p.log", timeout_s=60)
except KeyboardInterrupt:
    print("stopped")
"""
    said = run_child(python(code, os.fspath(folder)), program="t", folder=folder, log=folder / "t.log", timeout_s=30)
    assert said == "stopped\n"
    pid = int((folder / "child").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
