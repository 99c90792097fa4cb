"""Chains of servers over TLS: sessions that are resumed, two gateways in a row,
Postfix that demands encryption on both sides, implicit TLS on the way out."""
import subprocess

import rig


def send(gateway, count=1):
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    client.starttls()
    client.command("EHLO client.test")
    for n in range(count):
        assert client.message(text=f"Subject: {n}\r\n\r\nx\r\n")[0] == 250
    client.close()


def test_tls_sessions_are_resumed_on_the_way_out(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address, destination=(
        "tls: required\nmax_messages_per_connection: 1\n")).start()
    for _ in range(4):
        send(gateway)
        gateway.wait_empty()
    events = gateway.events("delivery.tls")
    assert len(events) == 4
    assert [e["resumed"] for e in events[1:]].count(True) >= 2, events
    assert not events[0]["resumed"]


def test_tls_sessions_are_resumed_on_the_way_in(gateway, tmp_path):
    gateway.configure().start()
    for version in ("-tls1_2", "-tls1_3"):
        ticket = tmp_path / f"ticket{version}"
        for option in ("-sess_out", "-sess_in"):
            done = subprocess.run(
                ["openssl", "s_client", "-connect",
                 f"{gateway.host}:{gateway.port}", "-starttls", "smtp", version,
                 option, str(ticket), "-crlf", "-ign_eof"], timeout=30,
                input="NOOP\nQUIT\n", capture_output=True, text=True)
            assert "221" in done.stdout, done.stderr
    rig.wait_for(lambda: [e["resumed"] for e in gateway.events("smtpd.tls")] ==
                 [False, True, False, True], 5, "two resumed sessions")


def test_resumption_survives_a_reload(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address, destination=(
        "tls: required\nmax_messages_per_connection: 1\n")).start()
    send(gateway)
    gateway.wait_empty()
    gateway.call("reload")
    send(gateway)
    gateway.wait_empty()
    assert all(e["result"] == "ok" for e in gateway.events("delivery.tls"))


def test_two_gateways_in_a_row(gateway, tmp_path, cleanup):
    saved = tmp_path / "mails"
    saved.mkdir()
    sink = cleanup(rig.Sink(tmp_path / "sink", args=["--save", str(saved)]))
    second = cleanup(rig.Gateway(tmp_path / "second"))
    second.configure(sink.address, destination="tls: required\n",
                     listener="tls: required\n")
    second.config.write_text(second.config.read_text().replace(
        "hostname: gw.test", "hostname: gw2.test"))
    second.start()
    gateway.configure((second.host, second.port),
                      destination="tls: required\n").start()
    ids = tmp_path / "ids"
    rig.load((gateway.host, gateway.port), 300, ids, sessions=10, tls=True)
    gateway.wait_empty()
    second.wait_empty()
    result = sink.finish()
    assert result["ids"] == {int(i) for i in ids.read_text().split()}
    assert result["messages"] == 300 and result["messages_tls"] == 300
    text = next(saved.glob("*.eml")).read_text()
    assert "by gw.test" in text and "by gw2.test" in text
    assert text.count("(using TLS: TLSv1.3") == 2
    # one id joins what both logs say of a message
    first = gateway.events("delivery.attempt")[0]
    assert gateway.wait_event("smtpd.message", queue=first["queue"])
    other = second.events("smtpd.message")[0]["queue"]
    assert any(other in e.get("text", "")
               for e in gateway.events("delivery.attempt"))


def test_postfix_that_demands_encryption_on_both_sides(gateway, tmp_path,
                                                       cleanup):
    behind = rig.Postfix(tmp_path / "behind",
                         main="smtpd_tls_security_level = encrypt\n")
    cleanup(behind.start())
    gateway.configure(behind.address, listener="tls: required\n").start()
    front = rig.Postfix(tmp_path / "front",
                        main="smtp_tls_security_level = encrypt\n",
                        relayhost=(gateway.host, gateway.port))
    cleanup(front.start())
    rig.load(front.address, 40, sessions=4)
    rig.wait_for(lambda: len(behind.messages()) >= 40, 60, "40 messages")
    gateway.wait_empty()
    assert "TLS connection established to" in front.log()
    assert "TLS connection established from" in behind.log()
    assert {e["version"] for e in gateway.events("delivery.attempt")} == \
        {"TLSv1.3"}


def test_dsn_through_postfix(gateway, tmp_path, cleanup):
    """NOTIFY=SUCCESS goes on to Postfix, which reports the delivery."""
    behind = cleanup(rig.Postfix(tmp_path / "behind").start())
    gateway.configure(behind.address).start()
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    client.command("MAIL FROM:<a@sender.test> ENVID=join-me RET=HDRS")
    client.command("RCPT TO:<b@example.org> NOTIFY=SUCCESS "
                   "ORCPT=rfc822;first+2Bname@example.org")
    client.command("DATA")
    client.send("Subject: x\r\n\r\nx\r\n")
    assert client.command(".")[0] == 250
    rig.wait_for(lambda: len(behind.messages()) == 2, 30, "mail and its notice")
    report = next(t for t in (m.read_text() for m in behind.messages())
                  if "delivery-status" in t)
    assert "Original-Envelope-Id: join-me" in report
    assert "first+name@example.org" in report


def test_tls_can_be_demanded_of_clients(gateway):
    gateway.configure(listener="tls: required\n").start()
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    code, texts = client.command("MAIL FROM:<a@sender.test>")
    assert code == 530 and texts[0].startswith("5.7.0")
    client.starttls()
    client.command("EHLO client.test")
    assert client.message()[0] == 250
