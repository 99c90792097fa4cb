"""Destination controls: each value of `tls` against each kind of peer, the
switches, and what the operator is told."""
import ssl
import subprocess

import pytest

import rig

MAIL_HOST = "mx.dest.test"


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.cert, self.key = rig.make_certificate(folder, "authority")

    def issue(self, name, days=30):
        """A certificate for this name; negative days: expired."""
        base = self.folder / f"{name}-{days}"
        run = dict(check=True, capture_output=True)
        subprocess.run(
            ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj",
             f"/CN={name}", "-keyout", f"{base}.key", "-out", f"{base}.csr"],
            **run)
        (self.folder / "san").write_text(f"subjectAltName=DNS:{name}\n")
        subprocess.run(
            ["openssl", "x509", "-req", "-in", f"{base}.csr", "-CA",
             self.cert, "-CAkey", self.key, "-CAcreateserial", "-days",
             str(days), "-extfile", str(self.folder / "san"), "-out",
             f"{base}.pem"], **run)
        (self.folder / f"{name}-{days}.key").chmod(0o600)
        return f"{base}.pem", f"{base}.key"

    def context(self, name=MAIL_HOST, days=30):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, days))
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def contexts(authority, tmp_path):
    """The kinds of TLS that a peer may speak."""
    good, old, cipher, asks = [authority.context() for _ in range(4)]
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    cipher.maximum_version = ssl.TLSVersion.TLSv1_2
    cipher.set_ciphers("NULL-SHA256:@SECLEVEL=0")
    asks.verify_mode = ssl.CERT_REQUIRED
    asks.load_verify_locations(authority.cert)
    return {
        "good": good,
        "old": old,
        "cipher": cipher,
        "asks": asks,
        "expired": authority.context(days=-1),
        "name": authority.context("other.test"),
        "self-signed": rig.server_context(tmp_path, MAIL_HOST),
        "untrusted": Authority(tmp_path).context(),
    }


def garbage(peer, line):
    peer.say("220 go")
    peer.socket.recv(1) # else it would count as injected
    peer.send(b"this is no TLS record at all\r\n")
    return "close"


# What the peer does: options of serve(), which TLS it has.
PEERS = {
    "good": ({}, "good"),
    "no STARTTLS": ({}, None),
    "4xx": ({"replies": {"STARTTLS": "454 4.7.0 not now"}}, "good"),
    "5xx": ({"replies": {"STARTTLS": "554 5.7.0 never"}}, "good"),
    "closes after 220": (
        {"replies": {"STARTTLS": lambda peer, line: peer.say("220 go")
                     or "close"}}, "good"),
    "garbage": ({"replies": {"STARTTLS": garbage}}, "good"),
    "expired": ({}, "expired"),
    "self-signed": ({}, "self-signed"),
    "wrong name": ({}, "name"),
    "untrusted": ({}, "untrusted"),
    "asks for a certificate": ({}, "asks"),
    "old version": ({}, "old"),
    "unknown cipher": ({}, "cipher"),
}
VALUES = ["no", "preferred", "required", "preferred-verify", "required-verify",
          "required-verify-hosted"]
HANDSHAKE = "handshake io version cipher"
# What becomes of the mail: "clear", "tls", or the stages that it may wait with;
# one for all values but `no`, or by (opportunistic, required, verified).
EXPECTED = {
    "good": ("tls", "tls", "tls"),
    "no STARTTLS": ("clear", "starttls-not-offered", "starttls-not-offered"),
    "4xx": ("clear", "starttls-refused", "starttls-refused"),
    "5xx": ("clear", "starttls-refused", "starttls-refused"),
    "closes after 220": (HANDSHAKE,) * 3,
    "garbage": (HANDSHAKE,) * 3,
    "expired": ("tls", "tls", "certificate-expired"),
    "self-signed": ("tls", "tls", "certificate-chain"),
    "wrong name": ("tls", "tls", "certificate-name"),
    "untrusted": ("tls", "tls", "certificate-chain"),
    "asks for a certificate": ("client-certificate-requested",) * 3,
    "old version": ("version handshake",) * 3,
    "unknown cipher": ("cipher handshake",) * 3,
}


def expected(peer, value):
    if value == "no":
        return "clear"
    kind = 0 if value.startswith("preferred") else 1 if value == "required" else 2
    return EXPECTED[peer][kind]


def send(gateway, recipient):
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    reply = client.message(recipients=[recipient])
    client.close()
    assert reply[0] == 250, reply


def control(value, authority, fallback="before-220", more=""):
    return (f"{{tls: {value}, fallback: {fallback}, client_certificate: none, "
            f"tls_profile: new, authorities: [{authority.cert}]{more}}}")


PROFILE = "tls_profiles: {new: {versions: [TLSv1.2, TLSv1.3]}}\n"
PATIENT = ("bounce_profiles:\n"
           "  default: {first_retry: 1h, max_retry: 1h}\n")


def results_of(gateway, domains):
    """What the log says of each domain, once it does of all."""
    results = {}
    for event in gateway.events():
        if event["event"] == "delivery.attempt":
            results[event["to"].split("@")[1]] = event
        elif event["event"] == "delivery.failed":
            results[event["destination"].split("/")[1]] = event
    return results if len(results) == len(domains) else None


@pytest.mark.parametrize("peer", list(PEERS))
def test_every_value_against(peer, gateway, authority, tmp_path, cleanup):
    """Six destinations, one for each value, and one kind of peer."""
    options, tls = PEERS[peer]
    context = contexts(authority, tmp_path)[tls] if tls else None
    # The kind of `hosted` peer is known by the mail domain too.
    server = cleanup(rig.ScriptedServer(
        lambda p: p.serve(tls=context, **options)))
    host, port = server.address
    resolver = cleanup(rig.Resolver(tmp_path / "dns", [f"{MAIL_HOST}. A {host}"]))
    domains = {value: f"{value}.test" for value in VALUES}
    routes = "routes:\n" + "".join(
        f"  {domain}: [{{host: {MAIL_HOST}, port: {port}}}]\n"
        for domain in domains.values())
    destinations = "destinations:\n" + "".join(
        f"  {domain}: {control(value, authority)}\n"
        for value, domain in domains.items())
    gateway.configure(routes=routes, extra=destinations + PROFILE + PATIENT,
                      resolver=resolver.address).start()
    for domain in domains.values():
        send(gateway, f"b@{domain}")
    results = rig.wait_for(lambda: results_of(gateway, domains), 30,
                           "a result for each")
    for value, domain in domains.items():
        result, want = results[domain], expected(peer, value)
        if want in ("clear", "tls"):
            assert result.get("outcome") in ("delivered", "relayed"), result
            assert (result["version"] == "none") == (want == "clear"), result
        else:
            assert result["event"] == "delivery.failed", (value, result)
            assert result["stage"] in want.split(), (value, result)
    if peer == "asks for a certificate":
        assert "asked for a client certificate and we had none" in \
            results["required.test"]["reason"]


def test_one_alert_and_one_recovery(gateway, tmp_path, cleanup):
    offers = []
    context = rig.server_context(tmp_path, MAIL_HOST)
    server = cleanup(rig.ScriptedServer(
        lambda p: p.serve(tls=context if offers else None)))
    gateway.configure(server.address, destination="tls: required\n",
                      extra="bounce_profiles:\n"
                      "  default: {first_retry: 1s, max_retry: 1s}\n").start()
    for _ in range(3):
        send(gateway, "b@example.org")
    rig.wait_for(lambda: len(gateway.events("delivery.failed")) >= 3, 20,
                 "several failures")
    alerts = [e for e in gateway.events("alert.raise")
              if e["key"].startswith("destination.")]
    assert len(alerts) == 1, alerts
    assert "starttls-not-offered" in alerts[0]["text"]
    assert server.host in alerts[0]["text"]
    shown = gateway.call("queue", "destinations", "--json").stdout
    assert '"tls_failures"' in shown and '"starttls-not-offered"' in shown
    assert "TLS" in gateway.call("queue", "destinations").stdout
    offers.append(True)
    gateway.wait_empty(30)
    cleared = [e for e in gateway.events("alert.clear")
               if e["key"] == alerts[0]["key"]]
    assert len(cleared) == 1, cleared


def test_a_broken_handshake_is_tried_once_more(gateway, tmp_path, cleanup):
    tries = []
    context = rig.server_context(tmp_path, MAIL_HOST)

    def starttls(peer, line):
        tries.append(line)
        return garbage(peer, line) if len(tries) == 1 else None

    server = cleanup(rig.ScriptedServer(
        lambda p: p.serve(tls=context, replies={"STARTTLS": starttls})))
    gateway.configure(server.address, destination="tls: required\n"
                      "retry_classic: on\n", extra=PATIENT).start()
    send(gateway, "b@example.org")
    gateway.wait_empty(20)
    assert len(tries) == 2
    assert len(gateway.events("delivery.retry")) == 1


def test_what_is_recorded(gateway, tmp_path, cleanup):
    server = cleanup(rig.ScriptedServer(
        lambda p: p.serve(tls=rig.server_context(tmp_path, MAIL_HOST))))
    gateway.configure(server.address, destination="tls: required\n"
                      "tls13: off\ntls_profile: new\n",
                      extra=PROFILE).start()
    send(gateway, "b@example.org")
    gateway.wait_empty(20)
    event = gateway.events("delivery.tls")[-1]
    assert event["version"] == "TLSv1.2"
    assert event["profile"] == "new"
    assert event["profile_from"] == "destinations.default"
    assert event["names"] == f"DNS:{MAIL_HOST}"
    assert len(event["spki_sha256"]) == len(event["sha256"]) == 64
    assert event["issuer"] == event["subject"] == f"CN={MAIL_HOST}"
    assert event["serial"] and event["not_after"].endswith("Z")


# What becomes of mail under `preferred` when STARTTLS is offered and fails:
# "clear" on this connection, "later" at the next attempt, or never.
FALLBACKS = {
    "4xx": ("never", "clear", "clear"),
    "5xx": ("never", "clear", "clear"),
    "closes instead of 220": ("never", "later", "later"),
    "closes after 220": ("never", "never", "later"),
    "garbage": ("never", "never", "later"),
}
FALLING = {**{name: PEERS[name][0] for name in PEERS},
           "closes instead of 220": {"replies": {"STARTTLS": "close"}}}


@pytest.mark.parametrize("peer", list(FALLBACKS))
def test_fallback(peer, gateway, authority, tmp_path, cleanup):
    """Three destinations, one for each value of `fallback`."""
    context = authority.context()
    server = cleanup(rig.ScriptedServer(
        lambda p: p.serve(tls=context, **FALLING[peer])))
    values = dict(zip(["never", "before-220", "next-attempt"], FALLBACKS[peer]))
    gateway.configure(server.address, extra="destinations:\n" + "".join(
        f"  {value}.test: {{tls: preferred, fallback: {value}}}\n"
        for value in values) +
        "bounce_profiles:\n  default: {first_retry: 1s, max_retry: 1s}\n")
    gateway.start()
    for value in values:
        send(gateway, f"b@{value}.test")

    def attempts(value):
        return [e for e in gateway.events("delivery.failed")
                if e["destination"].endswith(f"/{value}.test")]

    rig.wait_for(lambda: all(
        len(attempts(v)) >= 2 if fate == "never" else
        [t for t in server.transactions if f"{v}.test" in t.rcpts[0]]
        for v, fate in values.items()), 30, "the fate of each")
    sent = {t.rcpts[0].split("@")[1].split(".")[0]: t
            for t in server.transactions}
    assert set(sent) == {v for v, fate in values.items() if fate != "never"}
    assert not any(t.tls for t in sent.values())
    for value, fate in values.items():
        if fate != "never":
            assert (len(attempts(value)) > 0) == (fate == "later"), value


def expiring(gateway, days, tmp_path, cleanup):
    """Mail to a server whose certificate ends then; what the log says of it."""
    context = rig.server_context(tmp_path, MAIL_HOST, days=days)
    server = cleanup(rig.ScriptedServer(lambda p: p.serve(tls=context)))
    gateway.configure(server.address, destination="tls: required\n"
                      "max_messages_per_connection: 1\n").start()
    for _ in range(3):
        send(gateway, "b@example.org")
    gateway.wait_empty(20)
    return gateway.events("delivery.certificate_expiry")


def test_a_certificate_of_a_peer_that_ends(gateway, tmp_path, cleanup):
    event, = expiring(gateway, 5, tmp_path, cleanup) # once, not for each
    assert event["state"] == "7-days" and event["days_left"] in (4, 5)
    assert event["subject"] == f"CN={MAIL_HOST}" and event["host"]
    assert len(event["sha256"]) == 64 and event["level"] == "warning"


def test_a_certificate_of_a_peer_that_lasts(gateway, tmp_path, cleanup):
    assert expiring(gateway, 90, tmp_path, cleanup) == []


def test_recipients_within_a_period(gateway, cleanup):
    server = cleanup(rig.ScriptedServer(lambda p: p.serve()))
    gateway.configure(server.address, destination="tls: no\n"
                      "recipient_limit: 2\nrecipient_minutes: 60\n").start()
    for _ in range(4):
        send(gateway, "b@example.org")
    rig.wait_for(lambda: len(server.transactions) == 2, 20, "two messages")
    rig.wait_for(lambda: len(gateway.queue()) == 2, 20, "two that wait")
    assert len(server.transactions) == 2
    assert all(r["attempts"] == 0 for m in gateway.queue()
               for r in m["recipients"])
