"""Detached servers, tried with small real processes: each test has a state folder and ports of its own and must leave nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import labkit.servers.processes
from labkit.common.environment import SERVER
from labkit.common.errors import PortInUse, ServerError, SettingsError
from labkit.common.waiting import together, until
from labkit.config.hosting import SECRET_VARIABLE
from labkit.config.ports import is_listened_on, port_is_free
from labkit.config.settings import Settings
from labkit.config.state_folder import open_state_folder
from labkit.servers.processes import Processes, Server

PATIENCE_SECONDS = 60

LISTEN = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True:
    listener.accept()[0].close()
"""

LEADER_WITH_LISTENING_CHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-I', '-S', '-c', '''{LISTEN}''', *sys.argv[1:]])"

FIRST_THREAD_ENDS = f"""
import ctypes, signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
threading.Thread(target=exec, args=('''{LISTEN}''', {{}})).start()
signal.sigwait([signal.SIGUSR1])
ctypes.CDLL(None).pthread_exit(None)
"""

DEAF = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{LISTEN}"

STARTER = """
import os, runpy, signal, sys
from pathlib import Path
test = runpy.run_path(sys.argv[1])
settings = test["settings_of"](Path(sys.argv[2]))
processes, server = test["Processes"](settings), test["listener"](settings)
"""


def settings_of(home: Path) -> Settings:
    facts = open_state_folder(home, environ={}, free_ports=True)
    return Settings(home.parent, home, facts.id, home.parent / "cache", home.parent / "workshop", facts.ports)


def answers(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    return True


def listener(
    settings: Settings,
    *args: str,
    code: str = LISTEN,
    ready: Callable[[], bool] | None = None,
    ready_seconds: float = PATIENCE_SECONDS,
    inputs: tuple[Path, ...] = (),
) -> Server:
    """A server on the port ``etcd``, which names its state folder in its command line, so that what is left of it can be found."""
    port = settings.ports["etcd"]
    return Server(
        name="listener",
        argv=(sys.executable, "-I", "-S", "-c", code, str(port), str(settings.folder), *args),
        ports=("etcd",),
        ready=ready or (lambda: answers(port)),
        env={"LISTENER_SECRET": "hidden"},
        ready_seconds=ready_seconds,
        inputs=inputs,
    )


def of_folder(home: Path) -> list[psutil.Process]:
    """The processes, launchers included, that name a state folder in their command line."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(home) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.02)


def starter(home: Path, code: str) -> subprocess.Popen[str]:
    """Another process, with ``processes`` and ``server`` of the same state folder at hand."""
    env = {**os.environ, "PYTHONPATH": str(Path(labkit.servers.processes.__file__).parent.parent)}
    argv = [sys.executable, "-c", STARTER + code, __file__, f"{home}"]
    return subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end_of(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=PATIENCE_SECONDS)[0]


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A state folder of the test's own; the test fails when something of it is left that no record names."""
    made = settings_of(tmp_path / "home")
    yield made
    processes = Processes(made)
    for name in processes.names():
        processes.stop(name)
    # What is about to end by itself is not left behind.
    _, left = psutil.wait_procs([process for process in of_folder(made.folder) if process.pid != os.getpid()], timeout=5)
    for process in left:
        process.kill()
    assert not left, f"left behind, on no record: {left}"


@pytest.fixture
def processes(settings: Settings) -> Processes:
    return Processes(settings)


def pid_of(settings: Settings, name: str) -> int:
    return int(json.loads((settings.state.run / f"{name}.json").read_text())["pid"])


def record_file(settings: Settings) -> Path:
    return settings.folder / "run" / "listener.json"


def test_a_server_runs_in_a_session_of_its_own(settings: Settings, processes: Processes) -> None:
    running = processes.start(listener(settings))
    assert os.getsid(running.pid) == running.pid
    assert answers(settings.ports["etcd"])


def test_records_and_logs_are_for_their_owner_only(settings: Settings, processes: Processes) -> None:
    running = processes.start(listener(settings))
    modes = {
        path: path.stat().st_mode & 0o777 for path in (record_file(settings), running.log, running.log.parent, settings.folder / "run")
    }
    assert list(modes.values()) == [0o600, 0o600, 0o700, 0o700]


def test_what_a_server_makes_is_its_owners_only_whatever_the_umask(settings: Settings, processes: Processes) -> None:
    before = os.umask(0)
    try:
        processes.start(listener(settings, code=f"open('made', 'w').close()\n{LISTEN}"))
    finally:
        os.umask(before)
    assert (settings.folder / "made").stat().st_mode & 0o777 == 0o600


def test_what_is_in_env_reaches_the_server_but_no_command_line(settings: Settings, processes: Processes) -> None:
    show = f"import os\nprint(os.environ['LISTENER_SECRET'], flush=True)\n{LISTEN}"
    running = processes.start(listener(settings, code=show))
    assert "hidden" in running.log.read_text()
    assert "hidden" not in " ".join(psutil.Process(running.pid).cmdline()) + record_file(settings).read_text()


def test_a_server_reads_nothing_from_its_starter(settings: Settings, processes: Processes) -> None:
    read = f"import sys\nprint(repr(sys.stdin.read()), flush=True)\n{LISTEN}"
    assert processes.start(listener(settings, code=read)).log.read_text().startswith("''\n")


def test_a_server_survives_its_starter_and_is_taken_over(settings: Settings, processes: Processes) -> None:
    other = starter(settings.folder, "print(processes.start(server).pid, os.getpid())")
    pid, starter_pid = map(int, end_of(other).split()[-2:])
    assert other.returncode == 0
    assert not psutil.pid_exists(starter_pid)
    assert processes.start(listener(settings)).pid == pid


def test_a_second_start_takes_the_running_one_over(settings: Settings, processes: Processes) -> None:
    first = processes.start(listener(settings))
    assert Processes(settings).start(listener(settings)) == first
    assert Processes(settings).running("listener") == first


def test_another_command_line_starts_it_anew(settings: Settings, processes: Processes) -> None:
    first = processes.start(listener(settings))
    second = processes.start(listener(settings, "--other"))
    assert second.pid != first.pid
    assert {process.pid for process in of_folder(settings.folder)} == {second.pid}


@pytest.mark.fault("Servers", "a file that a server reads at its start has changed", "the next start starts it anew")
def test_a_changed_input_file_starts_it_anew(settings: Settings, processes: Processes, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate"
    certificate.write_text("first")
    first = processes.start(listener(settings, inputs=(certificate,)))
    assert processes.start(listener(settings, inputs=(certificate,))) == first
    certificate.write_text("second")
    assert processes.start(listener(settings, inputs=(certificate,))).pid != first.pid


@pytest.mark.fault("Servers", "a port is in use", "the error names the process that has it, and the setting to move the server")
def test_a_taken_port_is_refused_with_who_has_it_and_the_setting_to_move(settings: Settings, processes: Processes) -> None:
    port = settings.ports["etcd"]
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUse) as caught:
        processes.start(listener(settings))
    assert f"port {port}, which listener needs, is in use by" in caught.value.what
    assert f"(pid {os.getpid()})" in caught.value.what
    assert "LABKIT_ETCD_PORT" in caught.value.fix
    assert processes.names() == []


@pytest.mark.fault("Servers", "a server's first process dies and its child lives on (as Keycloak's Java may)", "stopping stops the child")
def test_a_child_that_outlives_the_leader_is_stopped_with_its_session(settings: Settings, processes: Processes) -> None:
    running = processes.start(listener(settings, code=LEADER_WITH_LISTENING_CHILD))
    os.kill(running.pid, signal.SIGKILL)
    wait_for(lambda: processes.running("listener") is None)
    assert answers(settings.ports["etcd"])
    assert processes.stop("listener")
    assert port_is_free(settings.ports["etcd"])
    assert of_folder(settings.folder) == []


@pytest.mark.fault(
    "Servers",
    "the machine was started anew (another boot id)",
    "a process that now has the recorded number is never signalled",
)
def test_children_of_a_leader_from_before_a_boot_are_not_taken_for_its_own(settings: Settings, processes: Processes) -> None:
    running = processes.start(listener(settings, code=LEADER_WITH_LISTENING_CHILD))
    record = json.loads(record_file(settings).read_text())
    os.kill(running.pid, signal.SIGKILL)
    wait_for(lambda: processes.running("listener") is None)
    record_file(settings).write_text(json.dumps({**record, "boot": "another boot"}))
    assert not processes.stop("listener")
    assert answers(settings.ports["etcd"])
    record_file(settings).write_text(json.dumps(record))


@pytest.mark.fault(
    "Servers",
    "a server's first process dies and its child lives on (as Keycloak's Java may)",
    "starting again stops the child first",
)
def test_starting_again_stops_what_outlived_the_leader_first(settings: Settings, processes: Processes) -> None:
    server = listener(settings, code=LEADER_WITH_LISTENING_CHILD)
    orphans = processes.start(server).pid
    os.kill(orphans, signal.SIGKILL)
    wait_for(lambda: processes.running("listener") is None)
    assert processes.start(server).pid != orphans
    assert len(of_folder(settings.folder)) == 2


@pytest.mark.fault("Servers", "a record whose pid now belongs to somebody else, or is from another boot", "it is never signalled")
@pytest.mark.parametrize(("mark", "value"), [("boot", "another boot"), ("start", "1")])
def test_a_process_with_the_recorded_pid_from_another_time_is_never_signalled(
    settings: Settings, processes: Processes, mark: str, value: str
) -> None:
    running = processes.start(listener(settings))
    record = json.loads(record_file(settings).read_text())
    record_file(settings).write_text(json.dumps({**record, mark: value}))
    assert processes.running("listener") is None
    assert not processes.stop("listener")
    assert answers(settings.ports["etcd"])
    assert psutil.Process(running.pid).is_running()
    record_file(settings).write_text(json.dumps(record))


def test_a_server_is_stopped_in_short_though_its_starter_lives_and_never_reads_its_exit_code(settings: Settings) -> None:
    with starter(settings.folder, "processes.start(server); print('started', flush=True); sys.stdin.read()") as notebook:
        assert notebook.stdout is not None
        while "started" not in (line := notebook.stdout.readline()):
            assert line
        began = time.monotonic()
        assert Processes(settings).stop("listener", stop_seconds=PATIENCE_SECONDS)
        assert time.monotonic() - began < PATIENCE_SECONDS / 2
        assert notebook.poll() is None


@pytest.mark.fault("Servers", "a server that ignores SIGTERM", "it is killed")
def test_a_server_that_ignores_sigterm_is_killed(settings: Settings, processes: Processes) -> None:
    running = processes.start(listener(settings, code=DEAF))
    assert processes.stop("listener", stop_seconds=0.3)
    assert not psutil.pid_exists(running.pid)
    assert processes.names() == []


@pytest.mark.fault("Servers", "a server that survives SIGKILL (pretended)", "it stays on record; the error names its pid")
def test_what_cannot_be_stopped_stays_on_record(settings: Settings, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    running = processes.start(listener(settings))
    with monkeypatch.context() as patch:
        # A process that survives SIGKILL can't be had without a broken disk.
        patch.setattr("labkit.servers._launch.end_session", lambda *_: False)
        with pytest.raises(ServerError, match=rf"could not be stopped[^$]*pid {running.pid}"):
            processes.stop("listener")
    assert processes.running("listener") == running


def test_stopping_what_does_not_run_says_so(processes: Processes) -> None:
    assert not processes.stop("listener")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process ends as a whole")
@pytest.mark.fault(
    "Servers",
    "a server whose first thread has ended (a zombie by its state), with others at work",
    "it counts as running, and is stopped whole",
)
def test_a_server_without_its_first_thread_is_stopped(processes: Processes, settings: Settings) -> None:
    running = processes.start(listener(settings, code=FIRST_THREAD_ENDS))
    os.kill(running.pid, signal.SIGUSR1)
    wait_for(lambda: psutil.Process(running.pid).status() == psutil.STATUS_ZOMBIE)
    assert processes.running("listener")
    assert processes.stop("listener")
    assert port_is_free(settings.ports["etcd"])


@pytest.mark.fault("Servers", "kill -9 of the starter after the fork, before the record", "no server runs")
def test_a_starter_killed_before_the_record_is_written_leaves_no_server(settings: Settings) -> None:
    die = "import labkit.servers.processes\nlabkit.servers.processes.write_private = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    other = starter(settings.folder, f"{die}processes.start(server)")
    end_of(other)
    assert other.returncode == -signal.SIGKILL
    wait_for(lambda: of_folder(settings.folder) == [])
    assert not record_file(settings).exists()
    # A process that ends loses its name before its sockets.
    wait_for(lambda: port_is_free(settings.ports["etcd"]))


@pytest.mark.fault("Servers", "kill -9 of the starter right after the launch", "the server is on record, and taken over")
def test_a_starter_killed_right_after_the_launch_leaves_a_server_on_record(settings: Settings, processes: Processes) -> None:
    die = "import dataclasses\nserver = dataclasses.replace(server, ready=lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
    other = starter(settings.folder, f"{die}processes.start(server)")
    end_of(other)
    assert other.returncode == -signal.SIGKILL
    recorded = json.loads(record_file(settings).read_text())["pid"]
    assert processes.start(listener(settings)).pid == recorded


@pytest.mark.fault("Servers", "a server that does not become ready", "it is stopped; the error ends with its log")
def test_a_server_that_is_not_ready_in_time_is_stopped_and_the_error_ends_with_its_log(settings: Settings, processes: Processes) -> None:
    talk = f"for i in range(20):\n    print('line', i)\n{LISTEN}"

    def never() -> bool:
        wait_for(lambda: "listening" in processes.log_tail("listener"))
        msg = "not yet"
        raise RuntimeError(msg)

    with pytest.raises(ServerError) as caught:
        processes.start(listener(settings, code=talk, ready=never, ready_seconds=0.1))
    assert caught.value.what == "listener was not ready within 0 s"
    assert "RuntimeError: not yet" in caught.value.why
    assert caught.value.why.splitlines()[-15:] == [*(f"line {i}" for i in range(6, 20)), "listening"]
    assert of_folder(settings.folder) == []
    assert processes.names() == []


@pytest.mark.fault("Servers", "a server that dies at its start", "it is reported at once, with its log")
def test_a_server_that_dies_at_once_is_reported_at_once_with_its_log(settings: Settings, processes: Processes) -> None:
    with pytest.raises(ServerError) as caught:
        processes.start(listener(settings, code="import sys; sys.exit('no such realm')"))
    assert re.match("listener ended (at once|before it was ready)", caught.value.what)
    assert str(processes.log_file("listener")) in caught.value.why
    assert caught.value.why.endswith("no such realm")
    assert processes.names() == []


@pytest.mark.fault("Servers", "a server is killed while it starts, as a system out of memory does", "the error says so; none is left")
def test_a_server_that_is_killed_while_it_starts_is_reported_as_killed(processes: Processes, settings: Settings) -> None:
    with pytest.raises(ServerError, match=r"it was killed \(SIGKILL\), as a system does that runs out of memory"):
        processes.start(listener(settings, code="import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    assert processes.names() == []


@pytest.mark.fault("Servers", "a server's program is gone", "the error names it")
def test_a_program_that_does_not_exist_is_a_server_error(settings: Settings, processes: Processes) -> None:
    with pytest.raises(ServerError, match="/no/such/program"):
        processes.start(Server("listener", ("/no/such/program",), ("etcd",), ready=lambda: False))
    assert processes.names() == []


@pytest.mark.fault("Servers", "a running server that does not answer", "the error says so; it is left running")
def test_one_that_was_taken_over_is_left_running_when_it_does_not_answer(settings: Settings, processes: Processes) -> None:
    running = processes.start(listener(settings))
    with pytest.raises(ServerError, match="was not ready"):
        processes.start(listener(settings, ready=lambda: False, ready_seconds=0.1))
    assert processes.running("listener") == running


@pytest.mark.fault("Servers", "a server ends while it is taken over", "it is started anew")
def test_one_that_ends_while_it_is_taken_over_is_started_anew(settings: Settings, processes: Processes) -> None:
    first = processes.start(listener(settings))
    doomed = [first.pid]

    def first_is_killed() -> bool:
        if doomed:
            os.kill(doomed.pop(), signal.SIGKILL)
            return False
        return answers(settings.ports["etcd"])

    second = processes.start(listener(settings, ready=first_is_killed))
    assert second.pid != first.pid
    assert processes.running("listener") == second


@pytest.mark.fault("Servers", "the record of a server is damaged", "it is named; the others are stopped")
@pytest.mark.parametrize("text", ["[]", "{}", "half of it", '{"name": "a", "pid": "1"}', "null"])
def test_a_damaged_record_is_named_and_keeps_no_other_server_running(settings: Settings, processes: Processes, text: str) -> None:
    processes.start(listener(settings))
    damaged = settings.state.run / "etcd.json"
    damaged.write_text(text)
    for look in (processes.require_records, lambda: processes.running("etcd"), lambda: processes.stop("etcd")):
        with pytest.raises(SettingsError, match=f"^{damaged} is damaged") as caught:
            look()
        assert "which process etcd is" in caught.value.why
    assert processes.stop_all() == ["listener"]
    damaged.unlink()


@pytest.mark.fault("Commands", "labkit down with a damaged home.json, workshop or setting", "it stops what is on record, then says so")
@pytest.mark.parametrize(
    "damage", ["home.json", "practice/home.json", "LABKIT_WORKSHOP", "LABKIT_ETCD_PORT", "LABKIT_CLUSTER", "LABKIT_CACHE"]
)
def test_down_needs_nothing_but_the_records(settings: Settings, processes: Processes, damage: str) -> None:
    processes.start(listener(settings))
    env = {**os.environ, "LABKIT_HOME": str(settings.folder), "LABKIT_KEYCLOAK": "local"}
    if damage.endswith("home.json"):
        (settings.folder / damage).parent.mkdir(exist_ok=True)
        (settings.folder / damage).write_text('{"format": 1, "id": "x", "ports": null}')
    else:
        env[damage] = "/no'where"
    done = subprocess.run([sys.executable, "-P", "-m", "labkit", "down"], capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "stopped listener by the records of processes" in done.stdout
    assert damage in done.stderr or "/no'where" in done.stderr
    assert of_folder(settings.folder) == []


def test_down_stops_a_lab_whose_facts_were_removed(settings: Settings, processes: Processes) -> None:
    processes.start(listener(settings))
    settings.state.facts.unlink()
    env = {**os.environ, "LABKIT_HOME": str(settings.folder), "LABKIT_KEYCLOAK": "local"}
    done = subprocess.run([sys.executable, "-P", "-m", "labkit", "down"], capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, of_folder(settings.folder)) == (0, []), done.stderr
    assert "stopped listener" in done.stdout


@pytest.mark.fault("Servers", "a server on a busy machine is late, but its log grows", "it is waited for, and what it does is shown")
def test_a_server_that_goes_on_is_waited_for(settings: Settings, processes: Processes) -> None:
    talk = f"import time\nfor i in range(10):\n    print('line', i, flush=True)\n    time.sleep(0.1)\n{LISTEN}"
    processes.start(listener(settings, code=talk, ready_seconds=0.6, ready=lambda: "listening" in processes.log_tail("listener")))
    assert processes.running("listener")


@pytest.mark.fault("Servers", "a server that goes on for ever and is never ready", "it is given up after a few times its seconds")
def test_a_server_that_goes_on_for_ever_is_given_up(settings: Settings, processes: Processes) -> None:
    talk = "import time\nwhile True:\n    print('line', flush=True)\n    time.sleep(0.01)\n"
    with pytest.raises(ServerError, match="was not ready within 0 s"):
        processes.start(listener(settings, code=talk, ready=lambda: False, ready_seconds=0.3))


@pytest.mark.fault("Servers", "three starters at once", "one server")
def test_three_starters_at_once_start_one_server(settings: Settings) -> None:
    others = [starter(settings.folder, "input('ready\\n'); print(processes.start(server).pid)") for _ in range(3)]
    for other in others:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
    for other in others:
        assert other.stdin is not None
        other.stdin.write("now\n")
        other.stdin.flush()
    pids = {end_of(other).split()[-1] for other in others}
    assert [other.returncode for other in others] == [0, 0, 0]
    assert pids == {str(process.pid) for process in of_folder(settings.folder)}
    assert len(pids) == 1


@pytest.mark.fault("Servers", "Ctrl-C while a server starts", "nothing is left")
@pytest.mark.parametrize("when", ["launched", "listening"])
def test_an_interrupted_start_leaves_nothing(settings: Settings, processes: Processes, when: str) -> None:
    def interrupted() -> bool:
        if when == "listening":
            wait_for(lambda: "listening" in processes.log_tail("listener"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        processes.start(listener(settings, ready=interrupted))
    assert of_folder(settings.folder) == []
    assert processes.names() == []


@pytest.mark.fault(
    "Servers",
    "one of several servers that start at once dies",
    "the error names it; those that are not ready yet are stopped, the others run",
)
def test_of_servers_that_start_at_once_one_that_dies_takes_back_those_that_are_not_ready(settings: Settings, processes: Processes) -> None:
    def server(name: str, port: str, code: str, ready: Callable[[], bool]) -> Server:
        argv = (sys.executable, "-I", "-S", "-c", code, str(settings.ports[port]), str(settings.folder))
        return Server(name, argv, (port,), ready)

    def others_wait() -> bool:
        return "listening" in processes.log_tail("late") and processes.running("whole") is not None

    def kill_dying() -> bool:
        os.kill(pid_of(settings, "dying"), signal.SIGKILL)
        return False

    whole = server("whole", "etcd", LISTEN, lambda: answers(settings.ports["etcd"]))
    late = server("late", "kubernetes", LISTEN, lambda: False)
    dying = server("dying", "keycloak", "import signal; signal.pause()", kill_dying)
    with processes.lock(), pytest.raises(ServerError, match=r"^dying ended"):
        together(
            {
                "late": ((), lambda: processes.starting(late)),
                "whole": ((), lambda: processes.starting(whole)),
                "all wait": (("whole",), lambda: until(others_wait, PATIENCE_SECONDS)),
                "dying": (("all wait",), lambda: processes.starting(dying)),
            }
        )
    assert processes.names() == ["whole"]
    assert [process.pid for process in of_folder(settings.folder)] == [pid_of(settings, "whole")]


@pytest.mark.fault("Servers", "Ctrl-C while a server starts", "nothing is left")
def test_an_interrupt_before_the_record_is_written_leaves_nothing(
    settings: Settings, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    # Ctrl-C can't be aimed at this moment from outside.
    monkeypatch.setattr("labkit.servers.processes.write_private", interrupted)
    with pytest.raises(KeyboardInterrupt):
        processes.start(listener(settings))
    wait_for(lambda: of_folder(settings.folder) == [])
    assert processes.names() == []


def test_names_come_in_the_order_of_starting(settings: Settings, processes: Processes) -> None:
    for name, port in (("b", "etcd"), ("a", "kubernetes")):
        argv = (sys.executable, "-I", "-S", "-c", LISTEN, str(settings.ports[port]), str(settings.folder))
        processes.start(Server(name, argv, (port,), ready=lambda port=port: answers(settings.ports[port])))  # type: ignore[misc]
    assert processes.names() == ["b", "a"]


@pytest.mark.fault(
    "Clock", "the clock is set back between two starts (the test sets the record's date)", "they are stopped in the right order"
)
def test_the_order_of_starting_is_known_though_the_clock_was_set_back(settings: Settings, processes: Processes) -> None:
    for name, port in (("first", "etcd"), ("second", "kubernetes")):
        argv = (sys.executable, "-I", "-S", "-c", LISTEN, str(settings.ports[port]), str(settings.folder))
        processes.start(Server(name, argv, (port,), ready=lambda port=port: answers(settings.ports[port])))  # type: ignore[misc]
    # The machine's clock can't be set here; with one that was, the later record would bear the earlier date.
    os.utime(settings.folder / "run" / "second.json", (0, 0))
    assert processes.names() == ["first", "second"]


def test_a_log_that_is_not_there_is_empty(processes: Processes) -> None:
    assert processes.log_tail("listener") == ""


@pytest.mark.fault("Servers", "another process holds the state folder's lock for minutes", "the error names the state folder")
def test_a_lock_that_others_keep_is_given_up_with_the_state_folder_named(
    settings: Settings, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.servers.processes._LOCK_SECONDS", 0.1)
    held, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with processes.lock():
            held.set()
            enough.wait(PATIENCE_SECONDS)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(PATIENCE_SECONDS)
    try:
        with pytest.raises(ServerError, match=str(settings.folder)):
            processes.stop("listener")
    finally:
        enough.set()
        other.join()


def test_the_lock_may_be_taken_again_by_its_holder(processes: Processes) -> None:
    with processes.lock(), processes.lock():
        assert processes.names() == []


@pytest.mark.fault(
    "Neighbours", "settings and credentials for other programs in the environment", "no server sees them: each gets its variables by name"
)
def test_a_server_sees_what_is_listed_and_its_own_and_nothing_else(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEBUG", "JAVA", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "QUARKUS_HTTP_PORT", "KC_DB", "NODE_OPTIONS", "GOFLAGS"):
        monkeypatch.setenv(name, "a-persons-own")
    for name in ("AWS_ACCESS_KEY_ID", "AZURE_CLIENT_SECRET", "GITHUB_TOKEN", SECRET_VARIABLE):
        monkeypatch.setenv(name, "a-persons-own")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("LC_TIME", "C")
    processes = Processes(settings)
    seen = psutil.Process(processes.start(listener(settings)).pid).environ()
    assert [name for name, value in seen.items() if value == "a-persons-own"] == []
    assert (seen["https_proxy"], seen["LC_TIME"], seen["LISTENER_SECRET"]) == ("http://proxy.example:3128", "C", "hidden")
    assert {name for name in seen if name.upper() not in SERVER} == {"LISTENER_SECRET"}
    assert (seen["TMPDIR"], (settings.folder / "tmp").stat().st_mode & 0o777) == (str(settings.folder / "tmp"), 0o700)
    processes.stop("listener")


@pytest.mark.fault(
    "Neighbours",
    "another program takes a server's port while it starts, and answers as it would",
    "an error that names the program; the server is stopped, and nothing is asked of the other",
)
@pytest.mark.parametrize(("code", "answers_so"), [("import time; time.sleep(600)", True), ("import sys; sys.exit(1)", False)])
def test_whoever_takes_the_port_meanwhile_is_not_taken_for_the_server(
    settings: Settings, processes: Processes, code: str, answers_so: bool
) -> None:
    port = settings.ports["etcd"]
    takers: list[socket.socket] = []

    def ready() -> bool:
        if not takers:
            takers.append(socket.create_server(("127.0.0.1", port)))
        return answers_so

    with pytest.raises(PortInUse, match=rf"port {port}, which listener needs, is in use by .+ \(pid {os.getpid()}\)"):
        processes.start(listener(settings, code=code, ready=ready))
    takers[0].close()
    assert processes.names() == []


@pytest.mark.fault(
    "Neighbours",
    "another program has the port of a server that runs but no longer listens",
    "the server is not taken over; an error names it",
)
def test_a_server_that_listens_no_more_is_not_taken_over_when_another_answers(
    settings: Settings, processes: Processes, tmp_path: Path
) -> None:
    leave = tmp_path / "leave"
    code = f"{LISTEN.partition('while')[0]}import pathlib, time\nwhile not pathlib.Path({str(leave)!r}).exists(): time.sleep(0.02)\n"
    code += "listener.close()\ntime.sleep(600)"
    port = settings.ports["etcd"]
    started = processes.start(listener(settings, code=code))
    leave.touch()
    wait_for(lambda: not is_listened_on(port, [psutil.Process(started.pid)]))
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUse, match=rf"pid {os.getpid()}\)"):
        processes.start(listener(settings, code=code))


def test_a_listener_that_the_system_does_not_name_is_another_users(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "process_iter", list)
    monkeypatch.setattr("labkit.config.ports._RELEASE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", settings.ports["etcd"])), pytest.raises(PortInUse, match="another user's program"):
        Processes(settings).start(listener(settings))


@pytest.mark.fault(
    "Exposure", "the password of a hosted Keycloak's administrator is in the environment", "no server that labkit starts gets to see it"
)
def test_no_server_learns_who_administers_a_hosted_keycloak(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "an-administrators-password")
    processes = Processes(settings)
    running = processes.start(listener(settings))
    assert SECRET_VARIABLE not in psutil.Process(running.pid).environ()
    processes.stop("listener")
