"""The commands that look at a gateway: spool, status, queue; and how it starts
with a long queue."""
import json
import time

import pytest

import rig


def send(gateway, count=1, **options):
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    told = []
    for _ in range(count):
        code, texts = client.message(**options)
        assert code == 250, texts
        told.append(texts[0])
    client.close()
    return told


@pytest.fixture
def waiting(gateway):
    """A gateway that cannot deliver."""
    gateway.configure((rig.loopback(), 9)).start()
    return gateway


def lines(gateway, *command):
    return gateway.call(*command).stdout.splitlines()


def test_spool_verify_and_dump(waiting):
    send(waiting, 3, text="Subject: find me\r\n\r\n" + "x" * 70 + "\r\n")
    send(waiting, 1, text="Subject: big\r\n\r\n" + ("y" * 70 + "\r\n") * 40000)
    waiting.wait_event("queue.result", outcome="deferred")
    for running in (True, False):
        verified = waiting.call("spool", "verify")
        assert "problem" in verified.stdout, verified.stdout
        dumped = [json.loads(l) for l in
                  lines(waiting, "spool", "dump", "--json")]
        assert len(dumped) >= 4
        assert "b@example.org" in json.dumps(dumped)
        assert len(lines(waiting, "spool", "dump")) >= 4
        assert "find me" in waiting.call("spool", "dump", "--content").stdout
        ledger = [json.loads(l) for l in
                  lines(waiting, "spool", "dump", "--ledger", "--json")]
        assert "deferred" in json.dumps(ledger)
        if running:
            waiting.stop()


def test_spool_verify_sees_damage(waiting):
    send(waiting, 5, text="Subject: x\r\n\r\nvery recognizable text\r\n")
    waiting.stop()
    segment = next(p for p in
                   sorted((waiting.state / "spool" / "intake").iterdir())
                   if p.is_file() and b"recognizable" in p.read_bytes())
    data = bytearray(segment.read_bytes())
    at = data.index(b"recognizable")
    data[at] ^= 1
    segment.write_bytes(data)
    verified = waiting.call("spool", "verify", check=False)
    assert verified.returncode == 1
    assert segment.stem in verified.stdout + verified.stderr
    waiting.start() # and it is no reason not to start
    assert len(waiting.queue()) == 5


def test_status(waiting):
    send(waiting, 2)
    status = waiting.status()
    assert status["ready"] and {p["name"] for p in status["processes"]} >= \
        {"receiver", "sender", "controller"}
    text = json.dumps(status)
    for word in ("listeners", "queue", "spool", "alerts", "version"):
        assert word in text, word
    shown = waiting.call("status").stdout
    for word in ("receiver", "sender", "controller", "Test", waiting.host):
        assert word in shown, shown
    assert waiting.call("alerts").stdout == "" # nothing to say
    assert json.loads(waiting.call("alerts", "--json").stdout) == []
    waiting.stop()
    done = waiting.call("status", check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


def test_queue_views(waiting):
    send(waiting, 2)
    send(waiting, 1, sender="other@sender.test",
         recipients=["c@example.net", "d@example.net"])
    rig.wait_for(lambda: all("connect" in json.dumps(m)
                             for m in waiting.queue()), 15, "reasons")
    messages = waiting.queue()
    assert len(messages) == 3
    table = lines(waiting, "queue", "list")
    assert sum(1 for l in table if "@example." in l) == 4
    assert any("refused" in l for l in table)
    assert max(len(l) for l in table) < 400
    one = json.loads(waiting.call("queue", "show", "--json",
                                  messages[0]["id"]).stdout)
    assert one["id"] == messages[0]["id"]
    assert '"connect"' in json.dumps(one["recipients"][0])
    only = json.loads(waiting.call("queue", "list", "--json", "--sender",
                                   "other@sender.test").stdout)
    assert len(only) == 1 and len(only[0]["recipients"]) == 2
    assert len(json.loads(waiting.call(
        "queue", "list", "--json", "--limit", "1").stdout)) == 1
    stats = json.loads(waiting.call("queue", "stats", "--json").stdout)
    assert stats["messages"] == 3
    assert "3" in waiting.call("queue", "stats").stdout
    assert json.loads(waiting.call("queue", "destinations", "--json").stdout)
    assert waiting.call("queue", "destinations").stdout


def test_queue_deeds_on_many(waiting):
    send(waiting, 3)
    send(waiting, 2, recipients=["c@example.net"])
    waiting.call("queue", "hold", "--recipient", "@example.net")
    held = json.loads(waiting.call("queue", "list", "--json", "--state",
                                   "held").stdout)
    assert len(held) == 2
    waiting.call("queue", "release", "--all")
    assert not json.loads(waiting.call("queue", "list", "--json", "--state",
                                       "held").stdout)
    waiting.call("queue", "delete", "--recipient", "@example.net")
    assert len(waiting.queue()) == 3
    waiting.call("queue", "delete", "--all")
    assert waiting.queue() == []
    waiting.stop()
    waiting.start()
    assert waiting.queue() == []


def test_queue_retry_delivers_at_once(gateway, tmp_path, cleanup):
    host = rig.loopback()
    gateway.configure((host, 2526)).start()
    send(gateway, 3)
    gateway.wait_event("queue.destination_failed")
    sink = cleanup(rig.Sink(tmp_path / "sink", host=host))
    gateway.call("queue", "retry", "--all")
    gateway.wait_empty(10)
    assert sink.finish()["messages"] == 3


@pytest.mark.parametrize("command", [
    ["queue", "show", "B123"], ["queue", "hold", "B123"],
    ["queue", "delete", "nonsense"], ["queue", "retry", "B123"]])
def test_mistakes_are_one_line(waiting, command):
    done = waiting.call(*command, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.skipif(not rig.LONG, reason="fills a queue with 100,000 messages")
def test_hundred_thousand_messages_start_quickly(waiting):
    rig.load((waiting.host, waiting.port), 100000, sessions=50,
             per_connection=500, size=2000, time_limit=600)
    assert waiting.call("queue", "stats", "--json").stdout
    waiting.stop(seconds=60)
    took = []
    for clean in (True, False):
        start = time.monotonic()
        waiting.start()
        took.append(time.monotonic() - start)
        stats = json.loads(waiting.call("queue", "stats", "--json").stdout)
        assert stats["messages"] == 100000
        waiting.stop(signum=15 if clean else 9, seconds=60)
    opened = [e["ms"] for e in waiting.events("queue.open")][-2:]
    print(f"ready after {took[0]:.2f} s and {took[1]:.2f} s; "
          f"the queue itself took {opened} ms")
    assert max(took) < 5 and max(opened) < 2000
