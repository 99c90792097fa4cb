"""docs/logging.md is an interface: it lists exactly the events and keys that
the source has, and what is written can be read back in both formats."""
import json
import re
import shlex

import pytest

import rig

NAME = r'"([a-z]+\.[a-z_]+)"'
LEVELS = ("debug", "info", "warning", "error")


def sources():
    for folder in ("src", "lib"):
        for path in (rig.ROOT / folder).rglob("*.c"):
            if not path.name.startswith("test_"):
                yield path


def calls(text):
    """The arguments of every log_event( … )."""
    for start in re.finditer(r"\blog_event\(", text):
        depth, end = 1, start.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        yield text[start.end():end - 1]


def in_source():
    """Keys and levels by event."""
    found = {}
    for path in sources():
        for call in calls(path.read_text()):
            names = re.findall(NAME, call)
            assert names, f"{path}: an event without a plain name: {call[:80]}"
            keys = re.findall(r'LOG_(?:SV|STR|U64|I64|BOOL)\(\s*"(\w+)"', call)
            levels = {l.lower() for l in
                      re.findall(r"\bLOG_(DEBUG|INFO|WARNING|ERROR)\b", call)}
            for name in names:
                event = found.setdefault(name, (set(), set()))
                event[0].update(keys)
                event[1].update(levels)
    # the writer makes this line itself, without log_event()
    found["log.dropped"] = ({"count"}, {"error"})
    return found


def in_page():
    found = {}
    for line in (rig.ROOT / "docs" / "logging.md").read_text().splitlines():
        row = re.match(r"\| `([a-z]+\.[a-z_]+)` \| (\w+) \| (.*) \| (.*) \|$", line)
        if row:
            name, level, _, keys = row.groups()
            event = found.setdefault(name, (set(), set()))
            event[0].update(re.findall(r"`([a-z0-9_]+)`", keys))
            event[1].add(level)
    return found


def test_every_event_is_documented_and_no_other():
    source, page = in_source(), in_page()
    assert len(source) > 50
    assert set(source) - set(page) == set(), "not in docs/logging.md"
    assert set(page) - set(source) == set(), "in docs/logging.md only"


def test_every_key_is_documented():
    page = in_page()
    missing = {f"{name}: {key}" for name, (keys, _) in in_source().items()
               for key in keys if key not in page[name][0]}
    assert not missing


def test_levels_are_as_documented():
    page = in_page()
    wrong = {name: (levels, page[name][1])
             for name, (_, levels) in in_source().items()
             if not page[name][1] <= levels}
    assert not wrong


def talk(gateway):
    client = gateway.smtp()
    client.reply()
    client.command('EHLO client.test')
    client.command('MAIL FROM:<"a b=c"@sender.test>')
    client.command("RCPT TO:<b@example.org>")
    client.command("DATA")
    client.send("Subject: x\r\n\r\nx\r\n")
    code, texts = client.command(".")
    assert code == 250
    client.command("QUIT")
    return texts[0]


@pytest.mark.parametrize("form", ["json", "key-value"])
def test_lines_can_be_read_back(gateway, tmp_path, cleanup, form):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address)
    gateway.config.write_text(gateway.config.read_text().replace(
        "format: json", f"format: {form}"))
    gateway.start()
    told = talk(gateway)
    rig.wait_for(lambda: "queue.done" in gateway.log.read_text(), 10, "the end")
    gateway.stop()
    page = in_page()
    seen = []
    for line in gateway.log.read_text().splitlines():
        if form == "json":
            event = json.loads(line)
        else:
            words = line.split(" ", 4)
            event = dict(zip(("time", "level", "process", "event"), words))
            pairs = shlex.split(words[4])
            assert all("=" in p for p in pairs), line
            event.update(p.split("=", 1) for p in pairs)
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$", event["time"])
        assert event["level"] in LEVELS
        assert event["process"] in ("supervisor", "receiver", "sender",
                                    "controller")
        assert event["event"] in page
        common = {"time", "level", "process", "event", "session", "delivery",
                  "destination", "host", "ip"}
        assert set(event) - common <= page[event["event"]][0], line
        seen.append(event)

    def only(name):
        found = [e for e in seen if e["event"] == name]
        assert len(found) == 1, (name, found)
        return found[0]

    # the ids join: connection in, message, connection out
    message = only("smtpd.message")
    assert message["queue"] in told
    assert message["session"] == only("smtpd.connect")["session"]
    assert message["from"] == '"a b=c"@sender.test'
    attempt = only("delivery.attempt")
    assert attempt["queue"] == message["queue"]
    assert attempt["delivery"] == only("delivery.tls")["delivery"]
    assert only("queue.result")["delivery"] == attempt["delivery"]
    assert only("queue.done")["queue"] == message["queue"]


def test_level_leaves_lines_out(gateway):
    gateway.configure(log_level="warning").start()
    talk(gateway)
    gateway.stop()
    assert not [e for e in gateway.events() if e["level"] in ("info", "debug")]
