"""Limits of a listener, and peers that are slow on purpose."""
import socket
import threading
import time

import pytest

import rig


def session(gateway):
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    return client


def ended(client, seconds=10):
    """Time until the server closed; whatever it says meanwhile is read."""
    start = time.monotonic()
    client.socket.settimeout(seconds)
    try:
        while client.socket.recv(65536):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - start


def test_size(gateway):
    gateway.configure(listener="max_message_size: 10K\n").start()
    client = session(gateway)
    code, texts = client.command("MAIL FROM:<a@sender.test> SIZE=20000")
    assert code == 552 and texts[0].startswith("5.3.4")
    code, texts = client.message(text="x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * 300)
    assert code == 552 and texts[0].startswith("5.3.4")
    assert client.message()[0] == 250 # the session goes on


def test_recipients(gateway):
    gateway.configure(listener="max_recipients_per_message: 100\n").start()
    client = session(gateway)
    client.command("MAIL FROM:<a@sender.test>")
    client.send("".join(f"RCPT TO:<u{n}@example.org>\r\n" for n in range(105)))
    codes = [client.reply()[0] for _ in range(105)]
    assert codes == [250] * 100 + [452] * 5
    client.command("DATA")
    client.send("Subject: x\r\n\r\nx\r\n")
    assert client.command(".")[0] == 250
    assert rig.wait_for(lambda: gateway.queue(), 5)[0]


def test_messages_per_connection(gateway):
    gateway.configure(listener="max_messages_per_connection: 2\n").start()
    client = session(gateway)
    assert client.message()[0] == 250 and client.message()[0] == 250
    assert client.message()[0] == 421
    ended(client)


def test_bad_commands(gateway):
    gateway.configure(listener="max_bad_commands: 3\n").start()
    client = session(gateway)
    codes = [client.command("NONSENSE")[0] for _ in range(4)]
    assert codes[:3] == [500] * 3 and codes[3] in (421, 500)
    ended(client)
    assert gateway.wait_event("smtpd.close", reason="too-many-bad-commands")


def test_connections(gateway):
    gateway.configure()
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace("max_connections: 2000",
                                           "max_connections: 3"))
    gateway.start()
    clients = [session(gateway) for _ in range(3)]
    fourth = gateway.smtp()
    assert fourth.reply()[0] == 421
    assert gateway.wait_event("smtpd.refuse", code=421)
    clients[0].close()

    def free():
        client = gateway.smtp()
        code = client.reply()[0]
        client.close()
        return code == 220

    rig.wait_for(free, 5, "room for one more")


def test_connections_of_one_address(gateway):
    gateway.configure(listener="max_connections_per_ip: 2\n").start()
    clients = [session(gateway) for _ in range(2)]
    assert gateway.smtp().reply()[0] == 421
    other = socket.create_connection((gateway.host, gateway.port), 5,
                                     source_address=(rig.loopback(), 0))
    assert other.recv(100).startswith(b"220")
    other.close()
    for client in clients:
        client.close()


def drip(client, data, pause=0.1):
    """A byte now and then, until the other side has had enough."""
    try:
        for byte in data:
            client.socket.sendall(bytes([byte]))
            time.sleep(pause)
    except OSError:
        pass


SHORT = ("timeouts: {handshake: 1s, command: 1s, data_block: 1s, write: 1s, "
         "session: 3s}\n")


@pytest.mark.parametrize("state, reason", [
    ("silent", "timeout"), ("half a command", "timeout"),
    ("dripping a command", "timeout"), ("in the content", "timeout"),
    ("in a chunk", "timeout"), ("dripping content", "session-timeout"),
    ("chatting", "session-timeout"), ("in the handshake", "")])
def test_slow_peers_are_cut(gateway, state, reason):
    gateway.configure(listener=SHORT).start()
    client = session(gateway)
    if state in ("in the content", "dripping content"):
        client.send("MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@example.org>\r\n"
                    "DATA\r\nSubject: x\r\n\r\nhalf")
    elif state == "in a chunk":
        client.send("MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@example.org>\r\n"
                    "BDAT 1000\r\nhalf")
    elif state == "half a command":
        client.send("MAIL FR")
    elif state == "in the handshake":
        client.command("STARTTLS")
        client.send(b"\x16\x03\x01")
    slow = None
    if state == "dripping a command":
        slow = threading.Thread(target=drip, args=(client, b"N" * 100))
    elif state == "dripping content":
        slow = threading.Thread(target=drip, args=(client, b"x" * 100))
    elif state == "chatting":
        slow = threading.Thread(target=drip, args=(client, b"NOOP\r\n" * 20))
    if slow:
        slow.start()
    took = ended(client)
    assert took < (4.5 if reason == "session-timeout" else 2.5)
    if slow:
        slow.join()
    closes = gateway.wait_event("smtpd.close", **({"reason": reason}
                                                  if reason else {}))
    assert len(closes) == 1
    assert gateway.queue() == []


def test_peer_that_reads_nothing_is_cut(gateway):
    """Replies that nobody takes fill the socket, and no more than that."""
    gateway.configure(listener=SHORT).start()
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect((gateway.host, gateway.port))
    s.settimeout(0.5)
    sent = 0
    end = time.monotonic() + 8
    try:
        while time.monotonic() < end:
            try:
                sent += s.send(b"HELP\r\n" * 1000)
            except TimeoutError:
                pass
    except OSError:
        pass
    assert time.monotonic() < end
    closed = gateway.wait_event("smtpd.close")[0]
    # bad behaviour may be noticed before its time is over
    assert closed["reason"] in ("write-timeout", "session-timeout", "timeout",
                                "too-many-bad-commands", "connection-lost")


def test_many_slow_peers_do_not_disturb_others(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address).start()
    slow = [session(gateway) for _ in range(300)]
    for client in slow:
        client.send("MAIL FROM:<a@sen")
    rig.load((gateway.host, gateway.port), 200, sessions=5)
    gateway.wait_empty()
    assert sink.finish()["messages"] == 200
    for client in slow:
        client.close()


@pytest.mark.parametrize("where", ["greeting", "EHLO", "MAIL", "RCPT", "DATA",
                                   "end", "handshake"])
def test_slow_servers_are_left(gateway, cleanup, tmp_path, where):
    """Each step of a delivery has its limit; the message waits and comes."""
    first = []

    def hang(peer, line=None):
        if first:
            return None
        first.append(where)
        time.sleep(4)
        return "close"

    def talk(peer):
        if where == "greeting" and not first:
            hang(peer)
            return
        replies = {}
        if where == "end":
            def data(p, line):
                p.say("354 go")
                p.content()
                return hang(p) or "250 ok"
            replies["DATA"] = data
        elif where == "handshake":
            def starttls(p, line):
                if first:
                    return "454 4.7.0 no"
                p.say("220 go")
                return hang(p)
            replies["STARTTLS"] = starttls
        elif where != "greeting":
            replies[where] = hang
        peer.serve(replies, extensions=["STARTTLS"] if where == "handshake"
                   else [])

    hop = cleanup(rig.ScriptedServer(talk))
    gateway.configure(hop.address, extra=(
        "bounce_profiles:\n  default: {first_retry: 1s, max_retry: 1s}\n"
        "delivery:\n  timeouts: {connect: 1s, greeting: 1s, ehlo: 1s, "
        "handshake: 1s, mail: 1s, rcpt: 1s, data_init: 1s, data_block: 1s, "
        "data_done: 1s, quit: 1s}\n")).start()
    assert session(gateway).message()[0] == 250
    gateway.wait_empty(20)
    rig.wait_for(lambda: gateway.events("queue.done"), 5, "the end")
    assert any("time" in str(e.get("reason", "")) + str(e.get("stage", ""))
               for e in gateway.events())
