"""kill -9 of controller and sender while reports go out: every report arrives,
and as one mail."""
import email
import sqlite3
import time

import pytest

import rig
import world as worlds
from test_kill import Killer

pytestmark = pytest.mark.skipif(not worlds.can_bind_low_ports(),
                                reason="port 25 can only be bound by root")
REPORTS = 150


def count_sessions_of_yesterday(gateway):
    """As if there had been some with each domain."""
    yesterday = int(time.time()) // 86400 - 1
    with sqlite3.connect(gateway.state / "record.db") as db:
        for i in range(REPORTS):
            db.execute(
                "insert into tls_policies (policy, day, domain, type, sts_id,"
                " content, host, succeeded, failed)"
                " values (?, ?, ?, 'no-policy-found', '', '', '', 1, 0)",
                (i + 1, yesterday, f"d{i}.many.test"))
    db.close()


def subjects(host):
    return [email.message_from_string(t.content)["TLS-Report-Domain"]
            for t in host.transactions]


@pytest.mark.parametrize("names", [["controller"], ["controller", "sender"]])
def test_every_report_once(tmp_path, cleanup, names):
    world = cleanup(worlds.World(tmp_path))
    post = world.domain("post")
    post.mx("mx1")
    many = world.domain("many")
    for i in range(REPORTS):
        many.zone.add(f"_smtp._tls.d{i}", "TXT",
                      '"v=TLSRPTv1; rua=mailto:reports@post.test"')
    world.start()
    gateway = world.gateway(start=False, extra="""\
        tls_reports: {from: tlsrpt@reporter.test, spread: 0s, retry: 2m}
        """)
    gateway.start()
    gateway.stop()
    count_sessions_of_yesterday(gateway)
    gateway.start()
    killer = Killer(gateway, names, pause=(0.05, 0.4))
    killer.start()
    rig.wait_for(lambda: killer.kills >= 4, 60, "kills")
    killer.stop()
    rig.wait_for(gateway.ready, 60, "the gateway")
    wanted = {f"d{i}.many.test" for i in range(REPORTS)}
    rig.wait_for(lambda: wanted <= set(subjects(post.host)), 120,
                 "all reports", 0.5)
    gateway.wait_empty()
    assert set(subjects(post.host)) == wanted
    if "sender" not in names: # a delivery that is cut off is made again
        assert len(subjects(post.host)) == REPORTS
