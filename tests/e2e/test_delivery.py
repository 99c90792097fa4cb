"""Delivery to peers that behave in every way that peers behave."""
import email
import ssl

import pytest

import rig


def send(gateway, **options):
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    reply = client.message(**options)
    client.close()
    assert reply[0] == 250, reply


@pytest.fixture
def scripted(tmp_path, cleanup):
    """Starts a scripted server; returns it."""
    context = rig.server_context(tmp_path, "scripted.test")

    def start(tls=True, **options):
        return cleanup(rig.ScriptedServer(
            lambda peer: peer.serve(tls=context if tls else None, **options)))

    return start


# name, arguments of the server, destination control, expected stage of the
# attempt ("" : it must be delivered), expected in clear text
TLS_ROWS = [
    ("preferred, offered", {}, "preferred", "", False),
    ("preferred, not offered", {"tls": False}, "preferred", "", True),
    ("preferred, refused before 220",
     {"replies": {"STARTTLS": "454 4.7.0 not now"}}, "preferred", "", True),
    ("required, offered", {}, "required", "", False),
    ("required, not offered", {"tls": False}, "required",
     "starttls-not-offered", None),
    ("required, refused 4xx", {"replies": {"STARTTLS": "454 4.7.0 not now"}},
     "required", "starttls-refused", None),
    ("required, refused 5xx", {"replies": {"STARTTLS": "554 5.7.0 never"}},
     "required", "starttls-refused", None),
    ("required, closed after 220", {"replies": {
        "STARTTLS": lambda peer, line: peer.say("220 go") or "close"}},
     "required", "handshake io", None),
    ("required, injected behind 220",
     {"replies": {"STARTTLS": "220 go\n250 surprise"}}, "required",
     "starttls-injected", None),
    ("verify, self-signed", {}, "required-verify", "certificate-chain", None),
    ("no", {}, "no", "", True),
]


@pytest.mark.parametrize("row", TLS_ROWS, ids=[r[0] for r in TLS_ROWS])
def test_tls_of_a_destination(gateway, scripted, row):
    _, options, control, stage, clear = row
    server = scripted(**options)
    gateway.configure(server.address, destination=f"tls: {control}\n").start()
    send(gateway)
    if stage:
        attempts = rig.wait_for(
            lambda: [e for e in gateway.events() if e.get("stage")], 20,
            "a failed attempt")
        assert attempts[-1]["stage"] in stage.split()
        assert len(gateway.queue()) == 1 # it waits; nothing went in clear
        assert not any("MAIL" in line.upper() for s in server.sessions
                       for line in s.lines)
        # the reason stands in the queue view, and not as a routing error
        shown = gateway.call("queue", "list").stdout
        assert any(s in shown for s in stage.split()), shown
    else:
        gateway.wait_empty(30)
        session = next(s for s in server.sessions
                       if any(l.startswith("MAIL") for l in s.lines))
        assert isinstance(session.socket, ssl.SSLSocket) != clear


def test_refused_recipient_makes_a_dsn(gateway, scripted):
    server = scripted(replies={"RCPT": lambda peer, line:
                               "550 5.1.1 no such user" if "gone@" in line
                               else None})
    gateway.configure(server.address).start()
    send(gateway, recipients=["gone@example.org", "here@example.org"])
    rig.wait_for(lambda: [s for s in server.sessions for l in s.lines
                          if l.startswith("MAIL FROM:<>")], 20, "the DSN")
    gateway.wait_empty()
    session = [s for s in server.sessions
               if any(l.startswith("MAIL FROM:<>") for l in s.lines)][-1]
    text = session.last_content[:-3]
    message = email.message_from_bytes(text)
    assert message.get_content_type() == "multipart/report"
    report = message.get_payload(1)
    assert report.get_content_type() == "message/delivery-status"
    fields = report.get_payload(1)
    assert fields["Action"] == "failed"
    assert fields["Status"] == "5.1.1"
    assert "gone@example.org" in fields["Final-Recipient"]
    assert "no such user" in fields["Diagnostic-Code"]
    assert not [s for s in server.sessions for l in s.lines
                if l.startswith("RCPT TO:<here@") and "<>" in l]


def test_deferred_is_retried_and_delivered(gateway, scripted):
    tries = []

    def rcpt(peer, line):
        tries.append(line)
        return "451 4.2.1 greylisted" if len(tries) == 1 else None

    server = scripted(replies={"RCPT": rcpt})
    gateway.configure(server.address, extra="bounce_profiles:\n"
                      "  default: {first_retry: 1s, max_retry: 2s}\n").start()
    send(gateway)
    gateway.wait_empty(30)
    assert len(tries) == 2


def test_fail_over_to_the_next_host(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    dead = rig.loopback()
    gateway.configure(routes=(
        "routes:\n  default:\n"
        f"    - {{host: {dead}, port: 9, priority: 1}}\n"
        f"    - {{host: {sink.host}, port: {sink.port}, priority: 2}}\n"))
    gateway.start()
    send(gateway)
    gateway.wait_empty(30)
    assert sink.finish()["messages"] == 1


def test_connection_is_reused(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address).start()
    rig.load((gateway.host, gateway.port), 200, sessions=4)
    gateway.wait_empty(30)
    result = sink.finish()
    assert result["messages"] == 200 and result["distinct"] == 200
    assert result["connections"] < 60


def test_peer_that_vanishes_after_the_dot_gets_it_again(gateway, scripted):
    finals = []

    def data(peer, line):
        peer.say("354 go")
        peer.content()
        finals.append(1)
        return "close" if len(finals) == 1 else "250 2.0.0 ok"

    server = scripted(replies={"DATA": data})
    gateway.configure(server.address, extra="bounce_profiles:\n"
                      "  default: {first_retry: 1s, max_retry: 1s}\n").start()
    send(gateway)
    gateway.wait_empty(30)
    assert len(finals) == 2


def test_dots_and_long_lines_survive(gateway, tmp_path, cleanup):
    for chunking in ([], ["--no-chunking"]):
        saved = tmp_path / f"saved{len(chunking)}"
        saved.mkdir()
        sink = cleanup(rig.Sink(tmp_path / f"sink{len(chunking)}",
                                args=["--save", str(saved), *chunking]))
        gateway.configure(sink.address).start()
        body = "Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n" + "x" * 990 + "\r\n.\r\n"
        stuffed = "\r\n".join("." + l if l.startswith(".") else l
                              for l in body.split("\r\n"))
        send(gateway, text=stuffed)
        gateway.wait_empty(30)
        sink.finish()
        gateway.stop()
        got = next(saved.glob("*.eml")).read_bytes().decode()
        assert got.endswith(body)
