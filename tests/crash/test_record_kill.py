"""kill -9 of the controller under load: every TLS session in the ledger is
counted, and none twice."""
import json

import os

import pytest

import rig
from test_kill import Killer

pytestmark = pytest.mark.skipif(os.geteuid() != 0,
                                reason="port 25 can only be bound by root")

MESSAGES = 400
DOMAINS = 5


def sessions_in_ledger(gateway):
    text = gateway.call("spool", "dump", "--ledger", "--json").stdout
    records = [json.loads(line) for line in text.splitlines()]
    return [r for r in records if r["type"] == "session"]


def counted(gateway):
    done = gateway.call("tlsrpt", "list", "--json", check=False)
    if done.returncode != 0: # the controller is starting
        return {}
    return {r["domain"]: r["successful"] + r["failed"]
            for r in json.loads(done.stdout)}


def by_domain(sessions):
    counts = {}
    for session in sessions:
        counts[session["domain"]] = counts.get(session["domain"], 0) + 1
    return counts


def test_every_session_is_counted_once(tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink", port=25))
    data = [f"mx.test. A {sink.host}"]
    data += [f"d{i}.test. MX 10 mx.test." for i in range(DOMAINS)]
    resolver = cleanup(rig.Resolver(tmp_path / "dns", data))
    gateway = rig.Gateway(tmp_path / "gw")
    gateway.configure(resolver=resolver.address, routes="routes: {default: mx}\n",
                      destination="max_messages_per_connection: 1\n")
    cleanup(gateway.start())
    killer = Killer(gateway, ["controller"], pause=(0.1, 0.5))
    killer.start()
    client = gateway.smtp(60)
    client.reply()
    client.command("EHLO client.test")
    for i in range(MESSAGES):
        client.command("MAIL FROM:<a@sender.test>")
        client.command(f"RCPT TO:<b@d{i % DOMAINS}.test>")
        client.command("DATA")
        client.send("Subject: x\r\n\r\nx\r\n")
        assert client.command(".")[0] == 250
    rig.wait_for(lambda: killer.kills >= 5, 60, "kills")
    killer.stop()
    rig.wait_for(gateway.ready, 60, "the controller")
    gateway.wait_empty()
    wanted = by_domain(sessions_in_ledger(gateway))
    assert sum(wanted.values()) == MESSAGES # a connection for each
    rig.wait_for(lambda: counted(gateway) == wanted, 30,
                 "the counts to be those of the ledger")
