"""The supervisor: start, restart of a dead process, reload, drain, refusals.

Everything runs twice: against the gateway (WAXGATE_BIN) and against the same
program with stand-ins for receiver and sender (cli/test_gateway of the build),
which misbehave when the host name in the configuration tells them to.
"""

import json
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

GATEWAY = os.environ.get("WAXGATE_BIN", "")
STANDIN = os.environ.get(
    "WAXGATE_STANDIN",
    str(pathlib.Path(os.environ.get("WAXGATE_BUILD", "build")) / "cli" / "test_gateway"),
)
PROCESSES = ("receiver", "sender", "controller")
HOST = "127.0.0.83"


def usable(path):
    return bool(path) and os.access(path, os.X_OK)


def wait_for(condition, seconds=15, what="condition"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"timed out: {what}")


def free_port():
    with socket.socket() as s:
        s.bind((HOST, 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", "90", "-subj",
         "/CN=localhost", "-keyout", folder / "key.pem", "-out",
         folder / "cert.pem"],
        check=True, capture_output=True)
    (folder / "key.pem").chmod(0o600)
    return folder


class Gateway:
    """One configuration, one state directory, at most one supervisor."""

    def __init__(self, binary, folder, certificate):
        self.binary = binary
        self.folder = folder
        self.config = folder / "waxgate.yaml"
        self.log = folder / "log"
        self.errors = folder / "errors"
        self.port = free_port()
        self.process = None
        for name in ("cert.pem", "key.pem"):
            shutil.copy2(certificate / name, folder / name)
        self.write()

    def write(self, hostname="gw.test", ports=None, extra="", drain="5s"):
        lines = [f"hostname: {hostname}", "state_dir: state", "loops: 2",
                 f"drain_timeout: {drain}", f"log: {{path: {self.log}}}",
                 "spool: {segment_size: 1M, inline_limit: 64K, memory_limit: 1M, min_free: 1M}",
                 "certificates:", "  own: {chain: cert.pem, key: key.pem}",
                 "listeners:"]
        for port in ports or [self.port]:
            lines += [f"  L{port}:", "    type: private",
                      f'    address: "{HOST}:{port}"', "    certificates: [own]",
                      "    relay_for: [127.0.0.0/8]"]
        self.config.write_text("\n".join(lines) + "\n" + extra)

    def start(self, ready=True):
        with open(self.errors, "a") as errors:
            self.process = subprocess.Popen(
                [self.binary, "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        if ready:
            wait_for(self.ready, what="all processes ready")
        return self

    def cli(self, *arguments):
        return subprocess.run(
            [self.binary, "--config", str(self.config), *arguments],
            capture_output=True, text=True, timeout=60)

    def status(self):
        result = self.cli("--state-dir", str(self.folder / "state"), "status", "--json")
        return json.loads(result.stdout) if result.returncode == 0 else None

    def processes(self):
        status = self.status()
        return {p["name"]: p for p in status["processes"]} if status else {}

    def ready(self):
        assert self.process.poll() is None, self.errors.read_text()
        processes = self.processes()
        return (len(processes) == 3 and processes if
                all(p["state"] == "ready" for p in processes.values()) else None)

    def events(self, name):
        if not self.log.exists():
            return []
        return [line for line in self.log.read_text().splitlines()
                if re.search(rf" {re.escape(name)} ", line)]

    def connect(self, port=None):
        session = socket.create_connection((HOST, port or self.port), timeout=10)
        assert session.recv(1000).startswith(b"220")
        return session

    def end(self):
        if self.process is None:
            return
        for signum in (signal.SIGTERM, signal.SIGINT):
            if self.process.poll() is None:
                self.process.send_signal(signum)
                time.sleep(0.05)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def alive(session):
    session.sendall(b"NOOP\r\n")
    return session.recv(1000).startswith(b"250")


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return pathlib.Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"


BINARIES = [pytest.param(path, id=name) for path, name in
            ((GATEWAY, "gateway"), (STANDIN, "standin")) if usable(path)]


@pytest.fixture(params=BINARIES or [pytest.param("", marks=pytest.mark.skip("no binary"))])
def gateway(request, tmp_path, certificate):
    made = Gateway(request.param, tmp_path, certificate)
    yield made
    made.end()


@pytest.fixture
def standin(tmp_path, certificate):
    if not usable(STANDIN):
        pytest.skip("the build has no cli/test_gateway")
    made = Gateway(STANDIN, tmp_path, certificate)
    yield made
    made.end()


# --- start -----------------------------------------------------------------


def test_start_and_status(gateway):
    gateway.start()
    status = gateway.status()
    assert [p["name"] for p in status["processes"]] == list(PROCESSES)
    assert status["revision"] == 1
    assert status["config"] == str(gateway.config)
    assert len({p["pid"] for p in status["processes"]}) == 3
    assert gateway.events("supervisor.ready")
    text = gateway.cli("status").stdout
    assert "receiver" in text and "ready" in text
    with gateway.connect() as session:
        assert alive(session)


def test_state_directory_is_private(gateway):
    gateway.start()
    run = gateway.folder / "state" / "run"
    assert run.stat().st_mode & 0o777 == 0o700
    for name in ("control.sock", "receiver.sock", "sender.sock"):
        assert (run / name).stat().st_mode & 0o777 == 0o600


def test_children_are_confined(gateway):
    gateway.start()
    for process in gateway.processes().values():
        status = pathlib.Path(f"/proc/{process['pid']}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        limits = pathlib.Path(f"/proc/{process['pid']}/limits").read_text()
        assert re.search(r"Max core file size\s+0\s", limits)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_children_drop_privileges(gateway, certificate):
    user = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        own = Gateway(gateway.binary, folder, certificate)
        own.write(extra="user: nobody\n")
        own.config.chmod(0o600)  # root's: only the supervisor reads it
        for path in (folder, folder / "key.pem", folder / "cert.pem"):
            os.chown(path, user.pw_uid, user.pw_gid)
        try:
            own.start()
            supervisor = pathlib.Path(f"/proc/{own.process.pid}/status").read_text()
            assert f"Uid:\t0\t{user.pw_uid}\t0\t" in supervisor
            assert own.cli("reload").returncode == 0
            os.kill(own.processes()["receiver"]["pid"], signal.SIGKILL)
            wait_for(lambda: own.ready() and own.processes()["receiver"]["restarts"])
            for process in own.processes().values():
                status = pathlib.Path(f"/proc/{process['pid']}/status").read_text()
                assert f"Uid:\t{user.pw_uid}\t{user.pw_uid}\t{user.pw_uid}" in status
                assert f"Gid:\t{user.pw_gid}\t{user.pw_gid}\t{user.pw_gid}" in status
                assert re.search(r"CapEff:\t0+\n", status)
            for path in ("log", "state", "state/run", "state/run/lock",
                         "state/run/control.sock"):
                assert (folder / path).stat().st_uid == user.pw_uid
            assert own.cli("stop").returncode == 0
        finally:
            own.end()


def fails_to_start(gateway, *texts):
    gateway.start(ready=False)
    assert gateway.process.wait(timeout=20) == 1
    errors = gateway.errors.read_text()
    for text in texts:
        assert text in errors
    assert len(errors.splitlines()) == 1, errors


def test_missing_configuration(gateway):
    gateway.config.unlink()
    fails_to_start(gateway, "waxgate: ", str(gateway.config), "No such file")


def test_wrong_configuration(gateway):
    gateway.write(extra="no_such_setting: 1\n")
    fails_to_start(gateway, str(gateway.config), "no_such_setting")


def test_port_in_use(gateway):
    with socket.socket() as other:
        other.bind((HOST, gateway.port))
        other.listen()
        fails_to_start(gateway, f"{HOST}:{gateway.port}", "in use")


def test_second_instance_is_refused(gateway):
    gateway.start()
    second = gateway.cli("run")
    assert second.returncode == 1
    assert "another waxgate" in second.stderr
    assert str(gateway.process.pid) in second.stderr
    assert gateway.ready()


def test_second_gateway_on_the_same_port_is_refused(gateway, tmp_path_factory, certificate):
    gateway.start()
    other = Gateway(gateway.binary, tmp_path_factory.mktemp("other"), certificate)
    other.port = gateway.port
    other.write()
    fails_to_start(other, f"{HOST}:{gateway.port}", "in use")


def test_two_listeners_on_one_address(standin):
    standin.write()
    text = standin.config.read_text()
    block = text[text.index("  L"):]
    standin.config.write_text(text + block.replace("  L", "  M", 1))
    fails_to_start(standin, f"{HOST}:{standin.port}", "already")


@pytest.mark.parametrize("name", ("receiver", "sender"))
def test_service_refuses_to_start(standin, name):
    standin.write(hostname=f"refuse-{name}.test")
    fails_to_start(standin, f"{name}: told to refuse")


@pytest.mark.parametrize("name", ("receiver", "sender"))
def test_service_crashes_at_the_start(standin, name):
    standin.write(hostname=f"crash-{name}.test")
    fails_to_start(standin, f"the {name} died of signal 9")


# --- death -----------------------------------------------------------------


@pytest.mark.parametrize("name", PROCESSES)
def test_killed_process_comes_back(gateway, name):
    gateway.start()
    before = gateway.processes()
    os.kill(before[name]["pid"], signal.SIGKILL)
    after = wait_for(lambda: (p := gateway.ready()) and
                     p[name]["pid"] != before[name]["pid"] and p,
                     what=f"{name} ready again")
    assert after[name]["restarts"] == 1
    for other in PROCESSES:
        if other != name:
            assert after[other]["pid"] == before[other]["pid"]
    assert any(f"child={name}" in line and "signal=9" in line
               for line in gateway.events("supervisor.child_died"))
    assert any(f"key=process.{name}" in line for line in gateway.events("alert.raise"))
    alerts = gateway.status()["alerts"]
    assert any(a["key"] == f"process.{name}" for a in alerts)
    with gateway.connect() as session:
        assert alive(session)


def test_connections_wait_while_the_receiver_restarts(gateway):
    gateway.start()
    os.kill(gateway.processes()["receiver"]["pid"], signal.SIGKILL)
    sessions = [socket.create_connection((HOST, gateway.port), timeout=10)
                for _ in range(20)]
    for session in sessions:
        assert session.recv(100).startswith(b"220")
        session.close()


def test_back_off_grows(standin):
    standin.start()
    for round in range(4):
        pid = standin.processes()["sender"]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: standin.ready() and
                 standin.processes()["sender"]["pid"] != pid)

    def when(line):
        h, m, s = re.search(r"T(\d+):(\d+):([\d.]+)Z", line).groups()
        return int(h) * 3600 + int(m) * 60 + float(s)

    died = [when(l) for l in standin.events("supervisor.child_died")]
    began = [when(l) for l in standin.events("supervisor.child_started")
             if "child=sender" in l][1:]
    pauses = [b - d for d, b in zip(died, began)]
    assert len(pauses) == 4
    for pause, expected in zip(pauses, (0.1, 0.2, 0.4, 0.8)):
        assert expected - 0.02 <= pause < expected + 0.5, pauses


def test_alert_of_a_service(standin):
    standin.start()
    raised = subprocess.run(
        ["/usr/bin/python3", "-c",
         "import socket,sys\n"
         "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
         "s.sendall(b'{\"method\":\"sender.alert\"}\\n'); print(s.recv(1000))",
         str(standin.folder / "state/run/control.sock")],
        capture_output=True, text=True)
    assert "result" in raised.stdout
    alert = wait_for(lambda: standin.status()["alerts"])[0]
    assert alert["source"] == "sender" and alert["text"] == "told to complain"
    # A controller that is started again learns of it.
    os.kill(standin.processes()["controller"]["pid"], signal.SIGKILL)
    wait_for(lambda: standin.processes() and standin.processes()["controller"]["restarts"] == 1
             and standin.ready())
    assert any(a["key"] == "test.alert" for a in standin.status()["alerts"])
    assert "told to complain" in standin.cli("alerts").stdout


# --- reload ----------------------------------------------------------------


def test_reload_keeps_connections(gateway):
    gateway.start()
    before = gateway.processes()
    second = free_port()
    with gateway.connect() as session:
        gateway.write(ports=[gateway.port, second])
        result = gateway.cli("reload")
        assert result.returncode == 0, result.stderr
        assert "revision 2" in result.stdout
        assert alive(session)
        for port in (gateway.port, second):
            with gateway.connect(port) as other:
                assert alive(other)
        gateway.write(ports=[second])
        assert gateway.cli("reload").returncode == 0
        assert alive(session)
    after = gateway.processes()
    assert {n: p["pid"] for n, p in before.items()} == {n: p["pid"] for n, p in after.items()}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, gateway.port), timeout=5)


def test_reload_by_signal(gateway):
    gateway.start()
    gateway.write(hostname="other.test")
    gateway.process.send_signal(signal.SIGHUP)
    wait_for(lambda: gateway.status()["revision"] == 2)
    assert gateway.status()["hostname"] == "other.test"
    gateway.write(extra="nonsense: [\n")
    gateway.process.send_signal(signal.SIGHUP)
    wait_for(lambda: gateway.events("supervisor.reload_refused"))
    assert gateway.status()["revision"] == 2


def test_bad_reload_changes_nothing(gateway):
    gateway.start()
    good = gateway.config.read_text()
    with gateway.connect() as session:
        for text, reason in (
                (good + "no_such: 1\n", "no_such"),
                (good.replace(str(gateway.log), "/nonexistent/log"), "/nonexistent/log"),
                (good.replace("cert.pem", "absent.pem"), "absent.pem"),
                (good.replace("state_dir: state", "state_dir: elsewhere"), "state_dir"),
                ("", "waxgate.yaml")):
            gateway.config.write_text(text)
            result = subprocess.run(
                [gateway.binary, "--state-dir", str(gateway.folder / "state"), "reload"],
                capture_output=True, text=True)
            assert result.returncode == 1
            assert reason in result.stderr
            assert len(result.stderr.splitlines()) == 1
        assert alive(session)
    gateway.config.write_text(good)
    assert gateway.status()["revision"] == 1
    with gateway.connect() as session:
        assert alive(session)
    assert gateway.cli("reload").returncode == 0


def test_reload_asked_during_a_reload_answers_for_the_newer_file(gateway):
    gateway.start()
    sender = gateway.processes()["sender"]["pid"]

    def reload():
        return subprocess.Popen(
            [gateway.binary, "--state-dir", str(gateway.folder / "state"), "reload"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    os.kill(sender, signal.SIGSTOP) # the first one waits for its answer
    try:
        first = reload()
        time.sleep(0.5)
        gateway.config.write_text(gateway.config.read_text() + "no_such: 1\n")
        second = reload()
        time.sleep(0.5)
    finally:
        os.kill(sender, signal.SIGCONT)
    assert "no_such" in second.communicate(timeout=30)[1]
    assert second.returncode == 1
    first.communicate(timeout=30)


def test_reload_with_a_port_in_use(gateway):
    gateway.start()
    taken = free_port()
    with socket.socket() as other:
        other.bind((HOST, taken))
        other.listen()
        gateway.write(ports=[gateway.port, taken])
        result = gateway.cli("reload")
    assert result.returncode == 1
    assert f"{HOST}:{taken}" in result.stderr
    with gateway.connect() as session:
        assert alive(session)


def test_reload_from_one_address_to_all_and_back(gateway):
    gateway.start()
    one = gateway.config.read_text()
    every = one.replace(f'"{HOST}:', '"0.0.0.0:')
    for text in (every, one, every):
        gateway.config.write_text(text)
        result = gateway.cli("reload")
        assert result.returncode == 0, result.stderr
        with gateway.connect() as session:
            assert alive(session)
    gateway.config.write_text(one)
    assert gateway.cli("reload").returncode == 0


@pytest.mark.parametrize("name", ("receiver", "sender"))
def test_reload_that_one_service_refuses(standin, name):
    standin.start()
    second = free_port()
    standin.write(hostname=f"refuse-{name}.test", ports=[standin.port, second])
    result = standin.cli("reload")
    assert result.returncode == 1
    assert f"{name}: told to refuse" in result.stderr
    assert standin.status()["hostname"] == "gw.test"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, second), timeout=5)
    standin.write()
    assert standin.cli("reload").returncode == 0
    with standin.connect() as session:
        assert alive(session)


def test_reload_that_kills_a_service(standin):
    standin.start()
    good = standin.config.read_text()
    standin.write(hostname="crash-sender.test")
    result = standin.cli("reload")
    assert result.returncode == 1
    assert "the sender died" in result.stderr
    standin.config.write_text(good)
    wait_for(standin.ready)
    assert standin.status()["hostname"] == "gw.test"


def test_reload_while_a_process_is_starting(standin):
    standin.write(hostname="slow-sender.test")
    standin.start()
    os.kill(standin.processes()["sender"]["pid"], signal.SIGKILL)
    time.sleep(0.3)
    standin.write()
    assert standin.cli("reload").returncode == 0
    assert wait_for(standin.ready)["sender"]["restarts"] == 1
    assert standin.status()["hostname"] == "gw.test"


def test_reloads_while_processes_die(gateway):
    """Whatever dies when, each reload ends, and the end is the last revision."""
    gateway.start()
    choice = random.Random(7)
    for round in range(8):
        gateway.write(hostname=f"round{round}.test")
        reload = subprocess.Popen([gateway.binary, "--config", str(gateway.config), "reload"],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(choice.random() * 0.02)
        name = choice.choice(PROCESSES)
        pid = gateway.processes().get(name, {}).get("pid")
        if pid:
            os.kill(pid, signal.SIGKILL)
        reload.communicate(timeout=30)
    wait_for(gateway.ready, seconds=60)
    assert gateway.cli("reload").returncode == 0
    status = gateway.status()
    assert status["hostname"] == "round7.test"
    with gateway.connect() as session:
        assert alive(session)


def test_log_file_is_opened_anew(gateway):
    gateway.start()
    old = gateway.log.with_suffix(".1")
    gateway.log.rename(old)
    gateway.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: gateway.events("supervisor.log_reopen"))
    os.kill(gateway.processes()["sender"]["pid"], signal.SIGKILL)
    wait_for(lambda: gateway.events("supervisor.child_died"))


# --- end -------------------------------------------------------------------


def test_drain(gateway):
    gateway.start()
    pids = [p["pid"] for p in gateway.processes().values()]
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(timeout=15) == 0
    assert all(gone(pid) for pid in pids)
    ends = [re.search(r"child=(\w+)", l)[1]
            for l in gateway.events("supervisor.child_ended")]
    assert ends == list(PROCESSES)
    assert all("status=0" in l for l in gateway.events("supervisor.child_ended"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, gateway.port), timeout=5)


def test_stop_command(gateway):
    gateway.start()
    assert gateway.cli("stop").returncode == 0
    assert gateway.process.wait(timeout=5) == 0
    again = gateway.cli("stop")
    assert again.returncode == 1 and "not running" in again.stderr
    status = gateway.cli("status")
    assert status.returncode == 1 and "not running" in status.stderr


def test_drain_is_bounded(standin):
    standin.write(hostname="stuck-receiver.test", drain="2s")
    standin.start()
    begin = time.monotonic()
    standin.process.send_signal(signal.SIGTERM)
    assert standin.process.wait(timeout=15) == 0
    assert 0.8 < time.monotonic() - begin < 6
    assert standin.events("supervisor.drain_timeout")


def test_second_signal_ends_at_once(standin):
    standin.write(hostname="stuck-sender.test", drain="60s")
    standin.start()
    standin.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert standin.process.poll() is None
    standin.process.send_signal(signal.SIGTERM)
    assert standin.process.wait(timeout=8) == 0


def test_stop_now(standin):
    standin.write(hostname="stuck-sender.test", drain="60s")
    standin.start()
    assert standin.cli("stop", "--now").returncode == 0
    assert standin.process.wait(timeout=8) == 0


def test_killed_supervisor(gateway):
    gateway.start()
    pids = [p["pid"] for p in gateway.processes().values()]
    gateway.process.kill()
    gateway.process.wait()
    wait_for(lambda: all(gone(pid) for pid in pids), what="its processes end")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, gateway.port), timeout=5)
    assert (gateway.folder / "state/run/control.sock").exists()
    gateway.start()
    with gateway.connect() as session:
        assert alive(session)


def test_start_right_after_a_killed_supervisor(gateway):
    gateway.start()
    gateway.process.kill()
    gateway.process.wait()
    gateway.start()
    with gateway.connect() as session:
        assert alive(session)


# --- service manager -------------------------------------------------------


def test_service_manager_is_told(standin):
    path = standin.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(10)

        def expect(*texts):
            while True:
                message = manager.recv(4096).decode()
                if "WATCHDOG=1" in message:
                    seen.append(message)
                    continue
                assert all(text in message for text in texts), message
                return

        seen = []
        os.environ.update(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="8000000")
        try:
            standin.start(ready=False)
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
        expect("READY=1", "STATUS=")
        standin.process.send_signal(signal.SIGHUP)
        expect("RELOADING=1", "MONOTONIC_USEC=")
        expect("READY=1")
        for process in standin.processes().values():
            environment = pathlib.Path(f"/proc/{process['pid']}/environ").read_bytes()
            assert b"NOTIFY_SOCKET" not in environment
        standin.process.send_signal(signal.SIGTERM)
        expect("STOPPING=1")
        assert seen


@pytest.mark.parametrize("how", ("hang", "hang_second"))
def test_hung_service_is_replaced(standin, how):
    standin.write(extra="watchdog: 1s\n")
    standin.start()
    with socket.socket(socket.AF_UNIX) as call:
        call.connect(str(standin.folder / "state/run/control.sock"))
        call.sendall(b'{"method":"sender.%s"}\n' % how.encode())
        wait_for(lambda: standin.events("supervisor.child_hung"))
    wait_for(lambda: standin.ready() and standin.processes()["sender"]["restarts"] == 1)
    assert standin.processes()["receiver"]["restarts"] == 0


# --- command line ----------------------------------------------------------


def test_help_is_current(gateway):
    printed = gateway.cli("help", "--markdown").stdout
    page = pathlib.Path(__file__).parents[2] / "docs" / "commands.md"
    assert page.read_text() == printed, "run: waxgate help --markdown >docs/commands.md"


@pytest.mark.parametrize("arguments", (
    [], ["fly"], ["queue"], ["status", "--fast"], ["status", "x"], ["queue", "show"],
    ["queue", "retry"], ["queue", "delete", "--all", "x"], ["spool", "dump", "--from", "x"],
    ["reload", "--config"]))
def test_misuse(gateway, arguments):
    result = subprocess.run([gateway.binary, *arguments], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("waxgate: ")
    assert result.stdout == ""


def test_config_commands(gateway):
    assert gateway.cli("config", "check").returncode == 0
    assert gateway.cli("config", "check", str(gateway.config)).stdout == ""
    shown = gateway.cli("config", "show", "--effective")
    assert shown.returncode == 0 and "hostname: gw.test" in shown.stdout
    gateway.write(extra="bogus: 1\n")
    bad = gateway.cli("config", "check")
    assert bad.returncode == 1 and "bogus" in bad.stderr
    assert "listeners" in gateway.cli("config", "default").stdout
    assert "drain_timeout" in gateway.cli("config", "manual").stdout
    assert re.match(r"waxgate \d", gateway.cli("version").stdout)


def test_service_option_is_not_for_people(gateway):
    result = gateway.cli("status")
    assert result.returncode == 1
    result = subprocess.run([gateway.binary, "--service", "receiver"],
                            capture_output=True, text=True)
    assert result.returncode == 2
