"""SMTP extensions on the whole way: what the client says arrives at the next
hop, literally where the RFC says so."""
import hashlib
import socket

import pytest

import rig

ALL = ("PIPELINING", "DSN", "8BITMIME", "SMTPUTF8", "SIZE 50000000")


def server(cleanup, extensions=ALL, **options):
    return cleanup(rig.ScriptedServer(
        lambda peer: peer.serve(extensions=extensions, **options)))


def session(gateway):
    client = gateway.smtp()
    client.reply()
    code, offers = client.command("EHLO client.test")
    assert code == 250
    return client, offers


def transact(client, mail, rcpts, text="Subject: x\r\n\r\nx\r\n"):
    assert client.command(mail)[0] == 250, mail
    for rcpt in rcpts:
        assert client.command(rcpt)[0] == 250, rcpt
    assert client.command("DATA")[0] == 354
    client.send(text)
    return client.command(".")


def arrived(server, count=1):
    return rig.wait_for(lambda: len(server.transactions) >= count and
                        server.transactions, 20, f"{count} transactions")


def test_what_is_offered(gateway):
    gateway.configure(listener="max_message_size: 1M\n").start()
    _, offers = session(gateway)
    assert {"PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES",
            "CHUNKING", "DSN", "STARTTLS", "SIZE 1048576"} <= set(offers)


def test_dsn_parameters_are_passed_on_literally(gateway, cleanup):
    hop = server(cleanup)
    gateway.configure(hop.address).start()
    client, _ = session(gateway)
    transact(client, "MAIL FROM:<a@sender.test> RET=HDRS ENVID=QQ+3D314+2Bx", [
        "RCPT TO:<one@example.org> NOTIFY=SUCCESS,DELAY "
        "ORCPT=rfc822;Bob+20Smith@example.org",
        "RCPT TO:<two@example.org> NOTIFY=NEVER",
        "RCPT TO:<three@example.org> NOTIFY=failure",
        "RCPT TO:<four@example.org>"])
    got = arrived(hop)[0]
    assert "RET=HDRS" in got.mail and "ENVID=QQ+3D314+2Bx" in got.mail
    one, two, three, four = got.rcpts
    assert "ORCPT=rfc822;Bob+20Smith@example.org" in one
    assert "NOTIFY=SUCCESS,DELAY" in one
    assert "NOTIFY=NEVER" in two and "NOTIFY=FAILURE" in three
    assert "NOTIFY" not in four
    # RFC 3461 section 5.2.1: an ORCPT may be added, of the address that came
    assert four in ("RCPT TO:<four@example.org>", "RCPT TO:<four@example.org> "
                    "ORCPT=rfc822;four@example.org")


def test_dsn_parameters_stay_where_they_are_not_understood(gateway, cleanup):
    hop = server(cleanup, ("PIPELINING",))
    gateway.configure(hop.address).start()
    client, _ = session(gateway)
    transact(client, "MAIL FROM:<a@sender.test> RET=FULL ENVID=x",
             ["RCPT TO:<one@example.org> NOTIFY=FAILURE "
              "ORCPT=rfc822;one@example.org"])
    got = arrived(hop)[0]
    assert got.mail == "MAIL FROM:<a@sender.test>"
    assert got.rcpts == ["RCPT TO:<one@example.org>"]


def test_eight_bit_content_survives(gateway, cleanup):
    hop = server(cleanup)
    gateway.configure(hop.address).start()
    client, _ = session(gateway)
    body = "Grüße und 漢字".encode() + bytes(range(0x80, 0x100))
    transact(client, "MAIL FROM:<a@sender.test> BODY=8BITMIME SIZE=200",
             ["RCPT TO:<b@example.org>"], b"Subject: x\r\n\r\n" + body + b"\r\n")
    got = arrived(hop)[0]
    assert "BODY=8BITMIME" in got.mail and "SIZE=" in got.mail
    assert got.content.encode(errors="surrogateescape").endswith(body + b"\r\n")


@pytest.mark.parametrize("extensions, mail, text, status", [
    (("DSN", "PIPELINING"), "MAIL FROM:<a@sender.test> BODY=8BITMIME",
     "Subject: x\r\n\r\né\r\n", "5.6.3"),
    (("DSN", "8BITMIME"), "MAIL FROM:<ä@sender.test> SMTPUTF8",
     "Subject: é\r\n\r\nx\r\n", "5.6.7"),
    (("DSN", "SIZE 100"), "MAIL FROM:<a@sender.test>",
     "Subject: x\r\n\r\n" + "x" * 200 + "\r\n", "5.3.4")])
def test_what_a_server_cannot_take_is_returned(gateway, cleanup, extensions,
                                               mail, text, status):
    hop = server(cleanup, extensions)
    back = server(cleanup)
    gateway.configure(routes=(
        f"routes:\n  default: [{{host: {hop.host}, port: {hop.port}}}]\n"
        f"  sender.test: [{{host: {back.host}, port: {back.port}}}]\n")).start()
    client, _ = session(gateway)
    transact(client, mail, ["RCPT TO:<b@example.org>"], text)
    assert f"Status: {status}" in arrived(back)[0].content
    assert not hop.transactions


def test_smtputf8_is_passed_on(gateway, cleanup):
    hop = server(cleanup)
    gateway.configure(hop.address).start()
    client, _ = session(gateway)
    transact(client, "MAIL FROM:<jürgen@sender.test> SMTPUTF8 BODY=8BITMIME",
             ["RCPT TO:<用户@example.org>"], "Subject: grüße\r\n\r\nx\r\n")
    got = arrived(hop)[0]
    assert "SMTPUTF8" in got.mail and "<jürgen@sender.test>" in got.mail
    assert "<用户@example.org>" in got.rcpts[0]
    assert "Subject: grüße" in got.content


def test_ascii_mail_with_smtputf8_reaches_old_servers(gateway, cleanup):
    """RFC 6531 section 3.2: the parameter alone is no reason to return it."""
    hop = server(cleanup, ("PIPELINING",))
    gateway.configure(hop.address).start()
    client, _ = session(gateway)
    transact(client, "MAIL FROM:<a@sender.test> SMTPUTF8",
             ["RCPT TO:<b@example.org>"])
    assert "SMTPUTF8" not in arrived(hop)[0].mail


def test_a_pipelined_group_in_one_packet(gateway, cleanup):
    hop = server(cleanup)
    gateway.configure(hop.address).start()
    client, _ = session(gateway)
    client.send("MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@example.org>\r\n"
                "RCPT TO:<broken\r\nRCPT TO:<c@example.org>\r\nDATA\r\n")
    assert [client.reply()[0] for _ in range(5)] == [250, 250, 501, 250, 354]
    client.send("Subject: x\r\n\r\nx\r\n.\r\nNOOP\r\nQUIT\r\n")
    assert [client.reply()[0] for _ in range(3)] == [250, 250, 221]
    assert len(arrived(hop)[0].rcpts) == 2


def test_our_own_commands_are_pipelined(gateway, cleanup):
    """The next hop sees MAIL, RCPT and DATA before it has answered any."""
    together = []

    def talk(peer):
        peer.say("220 x")
        peer.line()
        peer.say("250-x", "250 PIPELINING")
        peer.line()
        peer.socket.settimeout(5)
        while b"DATA\r\n" not in peer.buffer:
            peer.buffer += peer.socket.recv(65536)
        together.append(peer.buffer)
        peer.buffer = b""
        peer.say("250 ok", "250 ok", "354 go")
        peer.content()
        peer.say("250 ok")
        peer.line()
        peer.say("221 bye")

    hop = cleanup(rig.ScriptedServer(talk))
    gateway.configure(hop.address).start()
    client, _ = session(gateway)
    transact(client, "MAIL FROM:<a@sender.test>", ["RCPT TO:<b@example.org>"])
    rig.wait_for(lambda: together, 10, "pipelined commands")
    gateway.wait_empty()


@pytest.mark.parametrize("chunks", [1, 7, 64])
def test_chunks_in_and_out(gateway, tmp_path, cleanup, chunks):
    """CHUNKING on both sides: every octet, a dot at a line's start too."""
    saved = tmp_path / "chunks"
    saved.mkdir()
    sink = cleanup(rig.Sink(tmp_path / "sink", args=["--save", str(saved)]))
    gateway.configure(sink.address).start()
    client, _ = session(gateway)
    client.command("MAIL FROM:<a@sender.test>")
    client.command("RCPT TO:<b@example.org>")
    text = b"Subject: x\r\n\r\n" + b".\r\n..\r\n.x\r\n" * 1000
    size = len(text) // chunks + 1
    pieces = [text[i:i + size] for i in range(0, len(text), size)]
    for piece in pieces:
        client.send(b"BDAT %d\r\n" % len(piece) + piece)
    client.send("BDAT 0 LAST\r\n")
    for _ in range(len(pieces) + 1):
        assert client.reply()[0] == 250
    gateway.wait_empty()
    sink.finish()
    got = next(saved.glob("*.eml")).read_bytes()
    assert hashlib.sha256(got[-len(text):]).digest() == \
        hashlib.sha256(text).digest()


def test_help_vrfy_noop_rset(gateway):
    gateway.configure().start()
    client, _ = session(gateway)
    assert client.command("HELP")[0] == 214
    assert client.command("VRFY bob@example.org")[0] == 252
    assert client.command("NOOP whatever")[0] == 250
    assert client.command("RSET")[0] == 250
    assert client.command("EXPN list")[0] in (500, 502)
    assert client.command("QUIT")[0] == 221
    assert client.socket.recv(1) == b""


def test_helo_clients_are_served(gateway, cleanup):
    hop = server(cleanup)
    gateway.configure(hop.address).start()
    client = gateway.smtp()
    client.reply()
    code, texts = client.command("HELO old.test")
    assert code == 250 and len(texts) == 1
    assert client.message()[0] == 250
    assert "with SMTP" in arrived(hop)[0].content


def test_server_without_esmtp_gets_helo(gateway, cleanup):
    hop = server(cleanup, replies={"EHLO": "502 5.5.1 what"})
    gateway.configure(hop.address).start()
    client, _ = session(gateway)
    transact(client, "MAIL FROM:<a@sender.test>", ["RCPT TO:<b@example.org>"])
    arrived(hop)
    assert any(l.startswith("HELO gw.test") for l in hop.sessions[0].lines)


def test_half_closed_client_still_hears_the_end(gateway, cleanup):
    hop = server(cleanup)
    gateway.configure(hop.address).start()
    client, _ = session(gateway)
    client.send("MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
    assert [client.reply()[0] for _ in range(3)] == [250, 250, 354]
    client.send("Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n")
    client.socket.shutdown(socket.SHUT_WR)
    code, _ = client.reply()
    if code == 250: # what was acknowledged arrives; else it must not
        arrived(hop)
    else:
        assert code == 0
