"""Disks that are full or fail: the gateway answers 4xx, keeps what it has
acknowledged, and goes on by itself when the disk does."""
import itertools
import subprocess
import threading
import time

import pytest

import rig

RETRY = "bounce_profiles:\n  default: {first_retry: 1s, max_retry: 2s}\n"


class Faults:
    """System calls of the gateway fail as the rules say (faultfs.h)."""

    def __init__(self, folder, gateway):
        self.file = folder / "faults"
        self.clear()
        library = rig.BUILD / "tests" / "crash" / "libfaultfs.so"
        assert library.exists(), library
        gateway.environment = {"LD_PRELOAD": str(library),
                               "WAXGATE_FAULTS_FILE": str(self.file)}

    def set(self, rules):
        # in one step: a half-written file of the same time stamp would be
        # taken for the whole
        new = self.file.with_suffix(".new")
        new.write_text(rules)
        new.replace(self.file)

    def clear(self):
        self.set("")


@pytest.fixture
def faults(tmp_path, gateway):
    return Faults(tmp_path, gateway)


class Load(threading.Thread):
    """The load generator in the background; it retries what is refused."""

    def __init__(self, gateway, folder, messages, **options):
        super().__init__()
        self.ids = folder / "accepted"
        self.result = None
        self.arguments = ((gateway.host, gateway.port), messages, self.ids)
        self.options = {"sessions": 10, "retry": True, "time_limit": 150,
                        **options}
        self.start()

    def run(self):
        self.result = rig.load(*self.arguments, check=False, **self.options)


def nothing_lost(gateway, sink, load, messages):
    load.join()
    assert load.result["accepted"] == messages
    rig.wait_for(gateway.ready, 30, "the gateway")
    gateway.wait_empty(90)
    accepted = {int(i) for i in load.ids.read_text().split()}
    result = sink.finish()
    assert not accepted - result["ids"], "acknowledged messages were lost"
    return result


@pytest.mark.parametrize("rule", [
    "sync:EIO:path=/intake/", "write:EIO:path=/intake/",
    "write:ENOSPC:path=/intake/", "any:ENOSPC:path=/intake/",
    "write:short:path=/intake/", "sync:EIO:path=/ledger/",
    "any:ENOSPC:path=/ledger/"])
def test_failing_disk_recovers_by_itself(gateway, faults, tmp_path, cleanup,
                                         rule):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address, extra=RETRY).start()
    load = Load(gateway, tmp_path, 3000)
    time.sleep(0.2)
    faults.set(rule)
    time.sleep(1.5)
    if "/intake/" in rule and "short" not in rule:
        # refused for the moment, never for good
        client = gateway.smtp()
        client.reply()
        client.command("EHLO client.test")
        code, _ = client.message()
        assert code in (451, 452)
        client.close()
    faults.clear()
    nothing_lost(gateway, sink, load, 3000)
    if "short" not in rule:
        assert gateway.events("spool.failing") or gateway.events("alert.raise")


def test_kill_at_each_kind_of_system_call(gateway, faults, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address, extra=RETRY).start()
    load = Load(gateway, tmp_path, 30000 if rig.LONG else 8000, time_limit=240)
    calls = ["write", "sync", "rename", "create", "unlink"]
    kills = 0
    for call, journal, after in itertools.product(
            calls, ["/intake/", "/ledger/"], [0, 3] if not rig.LONG
            else [0, 1, 2, 3, 7, 20, 50]):
        if not load.is_alive():
            break
        before = len(gateway.events("supervisor.child_died"))
        faults.set(f"{call}:kill:after={after}:count=1:path={journal}")
        end = time.monotonic() + 0.7
        while time.monotonic() < end:
            if len(gateway.events("supervisor.child_died")) > before:
                kills += 1
                break
            time.sleep(0.02)
        faults.clear()
        time.sleep(0.15)
    assert kills >= 4
    nothing_lost(gateway, sink, load, 30000 if rig.LONG else 8000)


def test_full_disk(gateway, tmp_path, cleanup):
    """A file system of 96 MB fills because nothing can be delivered; senders
    are told 452; when the next hop is back it empties and takes mail again."""
    gateway.state.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(gateway.state)],
        capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mount is not allowed here")
    try:
        host = rig.loopback()
        gateway.configure((host, 2526), extra=RETRY +
                          "spool: {segment_size: 4M, min_free: 16M}\n").start()
        load = Load(gateway, tmp_path, 3000, size=60000, time_limit=200)
        client = gateway.smtp()
        client.reply()
        client.command("EHLO client.test")

        def refused():
            code, _ = client.command("MAIL FROM:<a@sender.test>")
            client.command("RSET")
            return code == 452

        rig.wait_for(refused, 60, "452 on a full disk")
        sink = cleanup(rig.Sink(tmp_path / "sink", host=host))
        gateway.call("queue", "retry", "--all")
        nothing_lost(gateway, sink, load, 3000)
    finally:
        gateway.stop()
        subprocess.run(["umount", "-l", str(gateway.state)], check=True)
