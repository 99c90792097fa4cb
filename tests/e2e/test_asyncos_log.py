"""log.asyncos: one message's whole way can be read from the second log, with
nothing but its lines."""
import re

import pytest

import rig

LINE = re.compile(r"^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} "
                  r"Info: (.+)$")


def lines(path):
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        match = LINE.match(line)
        assert match, line
        found.append(match.group(1))
    return found


def first(pattern, where):
    for line in where:
        match = re.fullmatch(pattern, line)
        if match:
            return match
    raise AssertionError(f"no line {pattern} in\n" + "\n".join(where))


@pytest.fixture
def world(gateway, cleanup, tmp_path):
    """A gateway with the second log, in front of a server with TLS that
    refuses one recipient and defers another."""
    rig.make_certificate(tmp_path, "hop.test")
    tls = rig.server_context(tmp_path, "hop.test")

    def rcpt(_, line):
        if "refused@" in line:
            return "550 5.1.1 no such 'user'"
        return "451 4.7.1 later" if "later@" in line else None

    hop = cleanup(rig.ScriptedServer(
        lambda peer: peer.serve(replies={"RCPT": rcpt}, tls=tls)))
    path = tmp_path / "mail_logs"
    gateway.configure(hop.address)
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace(
        "format: json}", f"format: json, asyncos: {path}}}"))
    gateway.start()
    return gateway, path, hop


def test_the_whole_way_of_a_message(world):
    gateway, path, hop = world
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    client.starttls()
    client.command("EHLO client.test")
    client.command("MAIL FROM:<a@sender.test>")
    for to in ("b@example.org", "refused@example.org", "later@example.org"):
        client.command(f"RCPT TO:<{to}>")
    client.command("DATA")
    client.send("Subject: x\r\n\r\nx\r\n")
    client.command(".")
    client.command("QUIT")
    rig.wait_for(lambda: any("pending till" in l for l in lines(path)), 20,
                 "the deferred recipient")
    rig.wait_for(lambda: any("generated for bounce" in l for l in lines(path)),
                 20, "the notice")
    rig.wait_for(lambda: re.search(r"^.*ICID \d+ close$", path.read_text(),
                                   re.M), 20, "the end of the session")
    log = lines(path)

    # in by a connection, under TLS …
    start = first(r"Start MID (\d+) ICID ([1-9]\d*)", log)
    mid, icid = start.groups()
    first(rf"New SMTP ICID {icid} interface Test \({gateway.host}\) address "
          r"127\.\S+ reverse dns host \S+ verified (yes|no)", log)
    first(rf"ICID {icid} RELAY SG \S+ match \S+ SBRS None", log)
    tls = first(rf"ICID {icid} TLS success protocol (\S+) cipher (\S+)", log)
    assert tls.group(1) == "TLSv1.3"
    first(rf"MID {mid} ICID {icid} From: <a@sender\.test>", log)
    for rid, to in enumerate(("b", "refused", "later")):
        first(rf"MID {mid} ICID {icid} RID {rid} To: <{to}@example\.org>", log)
    first(rf"MID {mid} ready \d+ bytes from <a@sender\.test>", log)
    first(rf"MID {mid} queued for delivery", log)
    first(rf"ICID {icid} close", log)

    # … and out by another, each recipient with what became of it
    dcid = first(rf"Delivery start DCID (\d+) MID {mid} to RID \[0\]",
                 log).group(1)
    first(rf"New SMTP DCID {dcid} interface 127\.\S+ address {hop.address[0]} "
          rf"port {hop.address[1]}", log)
    first(rf"DCID {dcid} TLS success protocol \S+ cipher \S+ for \S+", log)
    first(rf"Message done DCID {dcid} MID {mid} to RID \[0\]", log)
    first(rf"MID {mid} RID \[0\] Response '.*'", log)
    first(rf"Bounced: DCID {dcid} MID {mid} to RID 1 - 5\.1\.1 - Unknown "
          r"address error \('550', \['.*no such \\'user\\''\]\) \[\]", log)
    first(rf"Delayed: DCID {dcid} MID {mid} to RID 2 - 4\.7\.1 - .* "
          r"\('451', \['.*later'\]\) \[\]", log)
    first(rf"Message {mid} to RID \[2\] pending till .*", log)

    # the notice has a number of its own
    notice = first(rf"MID (\d+) was generated for bounce of MID {mid}",
                   log).group(1)
    first(rf"Start MID {notice} ICID 0", log)
    first(rf"MID {notice} ICID 0 RID 0 To: <a@sender\.test>", log)

    # numbers are the ids of the other log
    accepted = gateway.events("smtpd.message")[0]
    assert int(accepted["queue"][1:], 16) == int(mid)
    assert int(accepted["session"][1:], 16) == int(icid)
    assert int(gateway.events("delivery.connect")[0]["delivery"][1:], 16) == \
        int(dcid)


def test_rotation_and_reload(world):
    gateway, path, _ = world
    client = gateway.smtp()
    client.reply()
    client.command("QUIT")
    rig.wait_for(lambda: any("close" in l for l in lines(path)), 20, "a line")
    path.rename(path.with_suffix(".1"))
    gateway.process.child.send_signal(rig.signal.SIGUSR1)
    rig.wait_for(path.exists, 20, "a new file")
    text = gateway.config.read_text()
    gateway.config.write_text(re.sub(r", asyncos: [^}]+", "", text))
    gateway.call("reload")
    client = gateway.smtp()
    client.reply()
    client.command("QUIT")
    gateway.wait_event("smtpd.close")
    gateway.stop()
    assert not lines(path)


def test_a_file_that_cannot_be_written_is_refused(world):
    gateway, path, _ = world
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace(str(path), "/nonexistent/x"))
    refused = gateway.call("reload", check=False)
    assert refused.returncode != 0 and "/nonexistent/x" in refused.stderr
