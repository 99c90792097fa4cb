"""Reports about TLS (RFC 8460) and notices of failures, end to end: sessions of
every kind, the night after them, a mailbox and an HTTPS endpoint that receive
what comes of it.  Signatures are verified by dkimpy, which is not ours."""
import base64
import datetime
import email
import email.policy
import gzip
import http.server
import json
import os
import re
import signal
import sqlite3
import ssl
import threading

import dkim
import pytest

import rig
import world as worlds
from world import send

pytestmark = pytest.mark.skipif(not worlds.can_bind_low_ports(),
                                reason="port 25 can only be bound by root")

PORT = 8443
ME = "reporter.test" # who reports
RESULTS = {
    "starttls-not-supported", "certificate-host-mismatch",
    "certificate-expired", "certificate-not-trusted", "validation-failure",
    "tlsa-invalid", "dnssec-invalid", "dane-required",
    "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid",
}


class Collector:
    """An HTTPS endpoint; refuse: how many uploads get 503 first."""

    def __init__(self, issued):
        self.host, self.uploads, self.refuse = rig.loopback(), [], 0
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                refuse = collector.refuse > 0
                collector.refuse -= refuse
                collector.uploads.append(
                    (self.path, dict(self.headers), body, refuse))
                self.send_response(503 if refuse else 201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer((self.host, PORT), Handler)
        self.server.socket = issued.context().wrap_socket(
            self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    @property
    def accepted(self):
        return [u for u in self.uploads if not u[3]]


class Place:
    """The world of this page, and what was made in it."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    place = Place()
    world = place.world = worlds.World(folder)
    place.collector = Collector(world.web_authority.issue("collect.good.test"))

    def wants(domain, rua):
        domain.zone.add("_smtp._tls", "TXT", f'"v=TLSRPTv1; rua={rua}"')

    # Reports go here, and TLS to it never satisfies its own policy.
    place.post = world.domain("post")
    place.post.mx("mx1", "no-starttls")
    place.post.policy("enforce")
    wants(place.post, "mailto:reports@post.test")
    good = world.domain("good")
    good.mx("mx1")
    good.policy("enforce")
    good.zone.add("collect", "A", place.collector.host)
    wants(good, f"mailto:reports@post.test,https://collect.good.test:{PORT}/v1")
    place.old = old = world.domain("old")
    old.mx("mx1", "expired")
    old.policy("testing")
    wants(old, "mailto:re%70orts@post.test")
    dane = world.domain("dane", signed=True)
    dane.mx("mx1", tlsa="3 1 1")
    wants(dane, "mailto:reports@post.test")
    quiet = world.domain("quiet")
    quiet.mx("mx1")
    gone = world.domain("gone")
    gone.mx("mx1")
    gone.zone.add("nowhere", "A", place.collector.host)
    wants(gone, "https://nowhere.gone.test:9/")
    two = world.domain("two")
    two.mx("mx1")
    wants(two, "mailto:reports@post.test")
    wants(two, "mailto:other@post.test")
    place.admin = world.domain("admin")
    place.admin.mx("mx1", "no-starttls")
    world.start()
    place.keys = make_keys(folder)
    place.gateway = gateway = world.gateway(start=False, extra=f"""\
        dkim:
          r: {{domain: {ME}, key: {folder}/rsa.key}}
          e: {{domain: {ME}, selector: ed, key: {folder}/ed.key}}
        tls_reports:
          organization: The Reporters
          contact: help@{ME}
          from: tlsrpt@{ME}
          dkim: [r, e]
          spread: 0s
          retry: 2m
          authorities: [{world.web_authority.path}]
          allow_private_addresses: on
          failure_recipients: [boss@admin.test]
        """)
    gateway.start()
    yield place
    world.stop()
    place.collector.stop()


def make_keys(folder):
    """Records by name, as the command prints them."""
    records = {}
    for selector, algorithm, name in (("r", "rsa", "rsa"), ("ed", "ed25519", "ed")):
        line = rig.subprocess.run(
            [rig.WAXGATE, "dkim", "keygen", "--domain", ME, "--selector",
             selector, "--algorithm", algorithm, "--key", f"{folder}/{name}.key"],
            check=True, capture_output=True, text=True).stdout
        owner = line.split()[0]
        records[owner.encode()] = "".join(
            re.findall(r'"([^"]*)"', line)).encode()
    return records


def listed(gateway, **fields):
    rows = json.loads(gateway.call("tlsrpt", "list", "--json").stdout)
    return {r["domain"]: r for r in rows
            if all(r[k] == v for k, v in fields.items())}


def day(offset=0):
    today = datetime.datetime.utcnow().date()
    return (today + datetime.timedelta(days=offset)).isoformat()


def check_schema(report):
    """The structure of RFC 8460 section 4.4: every name and type."""
    def only(value, required, optional=()):
        assert isinstance(value, dict)
        assert set(required) <= set(value) <= set(required) | set(optional)

    only(report, ["organization-name", "date-range", "contact-info",
                  "report-id", "policies"])
    only(report["date-range"], ["start-datetime", "end-datetime"])
    for moment in report["date-range"].values():
        datetime.datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")
    assert isinstance(report["policies"], list) and report["policies"]
    for policy in report["policies"]:
        only(policy, ["policy", "summary"], ["failure-details"])
        only(policy["policy"], ["policy-type", "policy-domain"],
             ["policy-string", "mx-host"])
        assert policy["policy"]["policy-type"] in (
            "tlsa", "sts", "no-policy-found")
        assert ("mx-host" in policy["policy"]) == (
            policy["policy"]["policy-type"] == "sts")
        for name in ("policy-string", "mx-host"):
            assert all(isinstance(line, str)
                       for line in policy["policy"].get(name, []))
        only(policy["summary"], ["total-successful-session-count",
                                 "total-failure-session-count"])
        failed = 0
        for detail in policy.get("failure-details", []):
            only(detail, ["result-type", "failed-session-count"],
                 ["sending-mta-ip", "receiving-mx-hostname",
                  "receiving-mx-helo", "receiving-ip",
                  "additional-information", "failure-reason-code"])
            assert detail["result-type"] in RESULTS
            failed += detail["failed-session-count"]
        assert failed == policy["summary"]["total-failure-session-count"]


def received(place):
    """Mails at post.test by the domain that they report about."""
    mails = {}
    for transaction in place.post.host.transactions:
        raw = transaction.content.encode(errors="surrogateescape")
        message = email.message_from_bytes(raw, policy=email.policy.default)
        mails[message["TLS-Report-Domain"]] = (raw, message, transaction)
    return mails


def report_of(message):
    parts = list(message.iter_parts())
    assert [p.get_content_type() for p in parts] == [
        "text/plain", "application/tlsrpt+gzip"]
    return json.loads(gzip.decompress(parts[1].get_payload(decode=True)))


def sleep_over(place):
    """The sessions so far become those of yesterday, and the gateway starts."""
    place.gateway.stop()
    with sqlite3.connect(place.gateway.state / "record.db") as db:
        db.execute("update tls_policies set day = day - 1")
    db.close()
    place.gateway.start()


@pytest.fixture(scope="module")
def day_of_mail(place):
    """A message to each domain; then what the gateway has counted."""
    for name in ("good", "old", "dane", "quiet", "two", "gone"):
        send(place.gateway, f"{name}.test")
    rig.wait_for(lambda: {"good.test", "old.test", "dane.test", "quiet.test",
                          "two.test", "gone.test"} <= set(listed(place.gateway)), 30,
                 "all sessions to be counted")
    return listed(place.gateway)


def test_sessions_are_counted(place, day_of_mail):
    rows = day_of_mail
    assert all(r["state"] == "counting" and r["date"] == day()
               for r in rows.values())
    assert (rows["good.test"]["successful"], rows["good.test"]["failed"]) == (1, 0)
    assert rows["old.test"]["failed"] >= 1
    assert rows["dane.test"]["successful"] >= 1


def test_the_day_so_far(place, day_of_mail):
    def policy(domain):
        done = place.gateway.call("tlsrpt", "show", "--domain", domain)
        report = json.loads(done.stdout)
        check_schema(report)
        assert report["organization-name"] == "The Reporters"
        assert report["date-range"] == {
            "start-datetime": day() + "T00:00:00Z",
            "end-datetime": day() + "T23:59:59Z"}
        return report["policies"][0]

    good = policy("Good.Test.")
    assert good["policy"]["policy-type"] == "sts"
    assert "mode: enforce" in good["policy"]["policy-string"]
    assert good["policy"]["mx-host"] == ["mx1.good.test"]
    old = policy("old.test")
    assert "mode: testing" in old["policy"]["policy-string"]
    assert old["failure-details"][0]["result-type"] == "certificate-expired"
    assert old["failure-details"][0]["receiving-mx-hostname"] == "mx1.old.test"
    dane = policy("dane.test")
    assert dane["policy"]["policy-type"] == "tlsa"
    assert dane["policy"]["policy-string"][0].startswith("3 1 1 ")
    assert policy("quiet.test")["policy"]["policy-type"] == "no-policy-found"


def test_a_dry_run_says_where(place, day_of_mail):
    done = place.gateway.call("tlsrpt", "send", "--dry-run", "--domain",
                              "good.test", "--date", day())
    check_schema(json.loads(done.stdout))
    assert "mailto:reports@post.test" in done.stderr
    assert "https://collect.good.test" in done.stderr
    done = place.gateway.call("tlsrpt", "send", "--dry-run", "--domain",
                              "two.test", "--date", day())
    assert "several records" in done.stderr
    assert not place.post.host.transactions


def test_a_day_that_is_not_over_is_not_sent(place, day_of_mail):
    done = place.gateway.call("tlsrpt", "send", "--domain", "good.test",
                              "--date", day(), check=False)
    assert done.returncode == 1 and "not over" in done.stderr


def test_a_notice_comes_at_once(place, day_of_mail):
    def mails():
        return [t.content for t in place.admin.host.transactions]

    text = rig.wait_for(mails, 20, "a notice")[0]
    assert "Subject: TLS failure: old.test (MTA-STS, testing): 1 connection" in text
    for part in ("mx1.old.test", "the certificate has expired",
                 "was delivered all the same", "certificate-expired",
                 "Auto-Submitted: auto-generated", "To: boss@admin.test"):
        assert part in text
    # Not another one about this domain, but the count goes on.
    place.old.host.hang_up()
    send(place.gateway, "old.test")
    rig.wait_for(lambda: listed(place.gateway)["old.test"]["failed"] == 2, 20,
                 "another failure")
    assert len(mails()) == 1


@pytest.fixture(scope="module")
def night(place, day_of_mail):
    before = listed(place.gateway)
    place.collector.refuse = 1
    sleep_over(place)
    rig.wait_for(lambda: len(received(place)) >= 3, 60, "reports by mail")
    rig.wait_for(lambda: place.collector.accepted, 60, "an upload")
    rig.wait_for(lambda: len(listed(place.gateway, state="sent")) >= 3, 30,
                 "the ends of the reports")
    return before


def test_reports_arrive_by_mail(place, night):
    mails = received(place)
    assert set(mails) == {"good.test", "old.test", "dane.test"}
    for domain, (raw, message, transaction) in mails.items():
        report = report_of(message)
        check_schema(report)
        assert report["date-range"]["start-datetime"] == day(-1) + "T00:00:00Z"
        policy = report["policies"][0]
        assert policy["policy"]["policy-domain"] == domain
        assert (policy["summary"]["total-successful-session-count"] ==
                night[domain]["successful"])
        assert message["TLS-Report-Submitter"] == ME
        assert message["TLS-Required"] == "No"
        assert message["Subject"] == (
            f"Report Domain: {domain} Submitter: {ME} "
            f"Report-ID: <{report['report-id']}>")
        content = message["Content-Type"]
        assert content.content_type == "multipart/report"
        assert content.params["report-type"] == "tlsrpt"
        name = list(message.iter_parts())[1].get_filename()
        assert re.fullmatch(rf"{ME}!{domain}!\d+!\d+![0-9A-Za-z]+\.json\.gz", name)


def test_signatures_hold(place, night):
    for raw, message, transaction in received(place).values():
        assert message.get_all("DKIM-Signature") and b" l=" not in raw
        verifier = dkim.DKIM(raw, tlsrpt="strict")
        for i in range(2):
            assert verifier.verify(
                idx=i, dnsfunc=lambda name, timeout=5: place.keys.get(name))


def test_a_report_comes_though_tls_fails(place, night):
    """post.test publishes a policy that its own server breaks."""
    assert place.post.host.in_clear


def test_deliveries_of_reports_are_not_counted(place, night):
    assert "post.test" not in listed(place.gateway)


def test_reports_arrive_by_https(place, night):
    path, headers, body, _ = place.collector.accepted[0]
    assert path == "/v1"
    assert headers["Content-Type"] == "application/tlsrpt+gzip"
    uploaded = json.loads(gzip.decompress(body))
    check_schema(uploaded)
    assert uploaded == report_of(received(place)["good.test"][1])
    # The first try was refused; the second brought the same bytes.
    assert len({u[2] for u in place.collector.uploads}) == 1
    assert len(place.collector.uploads) == 2


def test_the_list_says_what_became_of_it(place, night):
    rows = listed(place.gateway, date=day(-1))
    assert rows["quiet.test"]["state"] == "unwanted"
    assert "no record" in rows["quiet.test"]["error"]
    assert rows["two.test"]["state"] == "unwanted"
    assert "several" in rows["two.test"]["error"]
    targets = {t["uri"]: t for t in rows["good.test"]["targets"]}
    assert "queued as B" in targets["mailto:reports@post.test"]["answer"]
    assert targets[f"https://collect.good.test:{PORT}/v1"]["answer"] == "HTTP 201"
    assert not list((place.gateway.state / "outbox").glob("[!.]*"))


def test_one_day_it_is_given_up(place, night):
    row = rig.wait_for(
        lambda: [r for r in listed(place.gateway, state="sending").values()
                 if r["targets"][0]["tries"]], 20, "a try")[0]
    assert row["domain"] == "gone.test"
    assert "connect" in row["targets"][0]["answer"]
    assert row["targets"][0]["state"] == "waiting"
    place.gateway.stop()
    with sqlite3.connect(place.gateway.state / "record.db") as db:
        db.execute("update tls_reports set first_try = first_try - 86400"
                   " where domain = 'gone.test'")
        db.execute("update tls_report_targets set due = 0"
                   " where domain = 'gone.test'")
    db.close()
    place.gateway.start()
    row = rig.wait_for(
        lambda: listed(place.gateway, state="failed").get("gone.test"), 20,
        "the end of the report")
    assert "connect" in row["error"]
    assert place.gateway.events("tlsrpt.fail")


def test_sent_again_by_hand_it_is_the_same(place, night):
    first = report_of(received(place)["dane.test"][1])
    count = len(place.post.host.transactions)
    done = place.gateway.call("tlsrpt", "send", "--domain", "dane.test",
                              "--date", day(-1))
    assert done.stdout.startswith("sent: mailto:reports@post.test accepted")
    rig.wait_for(lambda: len(place.post.host.transactions) > count, 20,
                 "the report again")
    assert report_of(received(place)["dane.test"][1]) == first


def test_a_restart_sends_nothing_twice(place, night):
    place.gateway.wait_empty()
    count = len(place.post.host.transactions)
    uploads = len(place.collector.uploads)
    place.gateway.stop()
    place.gateway.start()
    rig.wait_for(lambda: listed(place.gateway, date=day(-1)), 20, "the list")
    rig.time.sleep(2)
    assert len(place.post.host.transactions) == count
    assert len(place.collector.uploads) == uploads


def test_a_key_that_others_may_read_is_refused(place):
    key = place.gateway.folder.parent / "rsa.key"
    key.chmod(0o644)
    try:
        done = place.gateway.call("config", "check", check=False)
        assert done.returncode == 1 and "mode 644" in done.stderr
        done = place.gateway.call("reload", check=False)
        assert done.returncode == 1
    finally:
        key.chmod(0o600)
    done = place.gateway.call("dkim", "record", "r")
    assert done.stdout.startswith("r._domainkey." + ME)


def test_a_key_that_went_bad_stops_no_process(place):
    gateway = place.gateway
    key = gateway.folder.parent / "rsa.key"

    def pids():
        return {p["name"]: p["pid"] for p in (gateway.status() or {}).get(
            "processes", []) if p["state"] == "ready"}

    before = pids()
    key.chmod(0o640)
    try:
        for name in ("controller", "receiver", "sender"):
            os.kill(before[name], signal.SIGKILL)
            rig.wait_for(lambda: pids().get(name, before[name]) != before[name],
                         what=f"{name} is back")
        rig.wait_for(lambda: "tls_reports.files" in gateway.call("alerts").stdout,
                     what="an alert")
    finally:
        key.chmod(0o600)
    gateway.call("reload")
    assert "tls_reports.files" not in gateway.call("alerts").stdout


@pytest.mark.parametrize("text, valid", [
    ("v=TLSRPTv1; rua=mailto:a@b.c", True),
    ("v=TLSRPTv1;rua=", False),
    ("v=TLSRPTv2;rua=mailto:a@b.c", False)])
def test_a_record_is_read_without_a_gateway(text, valid):
    done = rig.subprocess.run([rig.WAXGATE, "tlsrpt", "parse-record", "--json",
                               text], capture_output=True, text=True)
    assert done.returncode == (0 if valid else 1)
    assert json.loads(done.stdout)["valid"] is valid
