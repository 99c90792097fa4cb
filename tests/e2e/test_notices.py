"""What senders are told: failure, expiry, success, delay."""
import email
import time

import pytest

import rig


class Notice:
    def __init__(self, text):
        self.message = email.message_from_string(text)
        parts = self.message.get_payload()
        self.words = " ".join(parts[0].get_payload().split())
        self.about = parts[1].get_payload(0)
        self.recipients = parts[1].get_payload()[1:]
        self.original = parts[2]


@pytest.fixture
def back(cleanup):
    """The server of sender.test, to which notices go."""
    return cleanup(rig.ScriptedServer(lambda p: p.serve()))


def routes(hop, back):
    return (f"routes:\n  default: [{{host: {hop.host}, port: {hop.port}}}]\n"
            f"  sender.test: [{{host: {back.host}, port: {back.port}}}]\n")


def send(gateway, mail="MAIL FROM:<a@sender.test>",
         rcpts=("RCPT TO:<b@example.org>",),
         text="Subject: original\r\n\r\nthe body\r\n"):
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    for line in [mail, *rcpts]:
        assert client.command(line)[0] == 250, line
    client.command("DATA")
    client.send(text)
    assert client.command(".")[0] == 250
    client.close()


def notice(back, seconds=20):
    got = rig.wait_for(lambda: back.transactions, seconds, "a notice")[0]
    assert got.mail.startswith("MAIL FROM:<>")
    assert got.rcpts[0].startswith("RCPT TO:<a@sender.test>")
    return Notice(got.content)


def test_failure(gateway, back, cleanup):
    hop = cleanup(rig.ScriptedServer(lambda p: p.serve(
        {"RCPT": "550-5.1.1 we do not\n550 5.1.1 know him"})))
    gateway.configure(routes=routes(hop, back)).start()
    send(gateway, "MAIL FROM:<a@sender.test> ENVID=me+2B7",
         ["RCPT TO:<b@example.org> ORCPT=rfc822;B+20c@example.org"])
    told = notice(back)
    message = told.message
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert "a@sender.test" in message["To"] and message["Date"]
    assert message["Message-ID"] and message["MIME-Version"] == "1.0"
    assert told.about["Reporting-MTA"] == "dns; gw.test"
    assert told.about["Original-Envelope-Id"] == "me+7"
    fields = told.recipients[0]
    assert fields["Original-Recipient"] == "rfc822; B c@example.org" or \
        fields["Original-Recipient"] == "rfc822;B c@example.org"
    assert fields["Final-Recipient"] == "rfc822; b@example.org"
    assert fields["Action"] == "failed" and fields["Status"] == "5.1.1"
    assert fields["Diagnostic-Code"].startswith("smtp; 550")
    assert "know him" in fields["Diagnostic-Code"]
    assert told.original.get_content_type() == "message/rfc822"
    assert "the body" in told.original.as_string()


@pytest.mark.parametrize("mail, text", [
    ("MAIL FROM:<a@sender.test> RET=HDRS", "Subject: original\r\n\r\nbody\r\n"),
    ("MAIL FROM:<a@sender.test>",
     "Subject: original\r\n\r\n" + "body\r\n" * 5000)],
    ids=["by RET", "large"])
def test_header_only(gateway, back, cleanup, mail, text):
    hop = cleanup(rig.ScriptedServer(lambda p: p.serve(
        {"DATA": "554 5.7.1 no"})))
    gateway.configure(routes=routes(hop, back)).start()
    send(gateway, mail, text=text)
    original = notice(back).original
    assert original.get_content_type() == "text/rfc822-headers"
    assert "Subject: original" in original.get_payload()
    assert "body" not in original.get_payload()


@pytest.mark.parametrize("mail, rcpt", [
    ("MAIL FROM:<>", "RCPT TO:<b@example.org>"),
    ("MAIL FROM:<a@sender.test>", "RCPT TO:<b@example.org> NOTIFY=NEVER"),
    ("MAIL FROM:<a@sender.test>", "RCPT TO:<b@example.org> NOTIFY=SUCCESS")])
def test_nobody_is_told(gateway, back, cleanup, mail, rcpt):
    hop = cleanup(rig.ScriptedServer(lambda p: p.serve({"RCPT": "550 5.1.1 no"})))
    gateway.configure(routes=routes(hop, back)).start()
    send(gateway, mail, [rcpt])
    gateway.wait_event("queue.result", outcome="failed")
    gateway.wait_empty()
    time.sleep(0.3)
    assert not back.transactions


def test_a_notice_that_cannot_be_delivered_makes_no_other(gateway, cleanup):
    hop = cleanup(rig.ScriptedServer(lambda p: p.serve({"RCPT": "550 5.1.1 no"})))
    gateway.configure(hop.address).start()
    send(gateway)
    rig.wait_for(lambda: len(gateway.events("queue.done")) == 2, 20, "both ends")
    assert len(gateway.events("queue.notice")) == 1


def test_success_where_the_next_hop_does_not_know_dsn(gateway, back, cleanup):
    hop = cleanup(rig.ScriptedServer(lambda p: p.serve(extensions=())))
    gateway.configure(routes=routes(hop, back)).start()
    send(gateway, rcpts=["RCPT TO:<b@example.org> NOTIFY=SUCCESS",
                         "RCPT TO:<c@example.org>"])
    told = notice(back)
    assert [f["Action"] for f in told.recipients] == ["relayed"]
    assert told.recipients[0]["Final-Recipient"] == "rfc822; b@example.org"
    assert told.recipients[0]["Status"].startswith("2.")
    assert told.original.get_content_type() == "text/rfc822-headers"


def test_success_is_left_to_a_next_hop_that_knows_dsn(gateway, back, cleanup):
    hop = cleanup(rig.ScriptedServer(lambda p: p.serve()))
    gateway.configure(routes=routes(hop, back)).start()
    send(gateway, rcpts=["RCPT TO:<b@example.org> NOTIFY=SUCCESS"])
    gateway.wait_event("queue.done")
    assert "NOTIFY=SUCCESS" in hop.transactions[0].rcpts[0]
    assert not back.transactions


@pytest.mark.parametrize("options, control, stage, words", [
    ({}, "required", "starttls-not-offered", "does not offer STARTTLS"),
    ({"replies": {"STARTTLS": "454 4.7.0 TLS is broken today"}, "tls": True},
     "required", "starttls-refused", "TLS is broken today"),
    ({"tls": True}, "required-verify", "certificate-chain", "self-signed")])
def test_expiry_names_what_tls_failed_of(gateway, back, cleanup, tmp_path,
                                         options, control, stage, words):
    context = rig.server_context(tmp_path, "hop.test")
    tls = context if options.pop("tls", False) else None
    hop = cleanup(rig.ScriptedServer(lambda p: p.serve(tls=tls, **options)))
    gateway.configure(routes=routes(hop, back), destination=f"tls: {control}\n",
                      extra=(
                          "bounce_profiles:\n  default: {max_retries: 1, "
                          "first_retry: 1s, max_retry: 1s}\n"))
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace(
        "destinations:\n", "destinations:\n  sender.test: {tls: preferred}\n"))
    gateway.start()
    send(gateway)
    told = notice(back)
    fields = told.recipients[0]
    # RFC 3463 section 3.5: delivery time expired, a persistent transient failure
    assert fields["Action"] == "failed" and fields["Status"] == "4.4.7"
    everything = told.words + " " + " ".join(fields.as_string().split())
    assert "TLS" in told.words or "certificate" in told.words
    assert words in everything, everything
    assert stage in everything, everything
    assert "rout" not in everything.lower()
    assert not hop.transactions


@pytest.mark.skipif(not rig.LONG, reason="a minute of waiting")
def test_delay_then_expiry(gateway, back):
    host = rig.loopback()

    class Nobody:
        pass

    hop = Nobody()
    hop.host, hop.port = host, 9
    gateway.configure(routes=routes(hop, back), extra=(
        "bounce_profiles:\n  default: {first_retry: 5s, max_retry: 5s, "
        "delay_warning: 1m, max_time_in_queue: 2m}\n")).start()
    send(gateway)
    told = notice(back, 100)
    assert told.recipients[0]["Action"] == "delayed"
    assert told.recipients[0]["Status"].startswith("4.")
    assert told.recipients[0]["Will-Retry-Until"]
    rig.wait_for(lambda: len(back.transactions) == 2, 120, "the failure")
    last = Notice(back.transactions[1].content)
    assert last.recipients[0]["Action"] == "failed"
    assert len(gateway.events("queue.notice")) == 2


def test_deleted_mail_with_and_without_a_word(gateway, back):
    class Nobody:
        host, port = rig.loopback(), 9

    gateway.configure(routes=routes(Nobody, back)).start()
    for _ in range(2):
        send(gateway)
    rig.wait_for(lambda: len(gateway.queue()) == 2, 10, "two messages")
    first, second = [m["id"] for m in gateway.queue()]
    gateway.call("queue", "delete", first)
    gateway.call("queue", "delete", "--notify", second)
    assert notice(back).recipients[0]["Action"] == "failed"
    gateway.wait_empty()
    assert len(back.transactions) == 1
