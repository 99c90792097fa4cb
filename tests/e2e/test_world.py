"""The closed world checks itself with other programs than Waxgate: delv says
which zones validate, openssl which server certificates hold and match their
TLSA records, an HTTPS client which policies can be fetched."""
import ssl
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

import rig
import world as worlds

pytestmark = pytest.mark.skipif(not worlds.can_bind_low_ports(),
                                reason="port 25 can only be bound by root")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = worlds.World(tmp_path_factory.mktemp("world"))
    try:
        for state in ("signed", "unsigned", "expired"):
            domain = world.domain(state, state=state)
            domain.mx("mx1", tlsa=["3 1 1", "2 0 1"])
            domain.policy("enforce")
        changed = world.domain("changed", signed=True)
        changed.mx("mx1", tlsa="3 1 1 " + "ab" * 32)
        changed.zone.tamper.append(("ab" * 32, "cd" * 32))
        wrong = world.domain("wrong", signed=True)
        wrong.mx("mx1", "wrong-name", tlsa="3 1 1 " + "00" * 32)
        wrong.policy("enforce", certificate=world.web_authority.issue(
            "elsewhere.test"))
        world.bogus.add("@", "MX", "10 mx1.signed.test.")
        yield world.start()
    finally:
        world.stop()


def delv(world, name, kind):
    anchors = world.folder / "delv.conf"
    words = world.names.anchor().replace(" IN DS ", " static-ds ").split()
    anchors.write_text('trust-anchors { %s %s %s %s %s "%s"; };\n' % (
        *words[:5], "".join(words[5:])))
    done = subprocess.run(
        ["delv", f"@{world.names.host}", "-a", str(anchors), "+root=test",
         name, kind], capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name, kind, words", [
    ("test", "SOA", "fully validated"),
    ("signed.test", "MX", "fully validated"),
    ("mx1.signed.test", "A", "fully validated"),
    ("_25._tcp.mx1.signed.test", "TLSA", "fully validated"),
    ("_25._tcp.absent.signed.test", "TLSA", "negative response, fully validated"),
    ("unsigned.test", "MX", "unsigned answer"),
    ("_25._tcp.mx1.unsigned.test", "TLSA", "unsigned answer"),
    ("expired.test", "MX", "RRSIG has expired"),
    ("bogus.test", "MX", "broken trust chain"),
    ("mx1.changed.test", "A", "fully validated"),
    ("_25._tcp.mx1.changed.test", "TLSA", "RRSIG failed to verify")])
def test_validation(world, name, kind, words):
    assert words in delv(world, name, kind)


def test_wrong_answers_are_injected(world):
    door = world.names.door
    with door.fault("mx1.signed.test", "A", "192.0.2.1"):
        assert "fully validated" not in delv(world, "mx1.signed.test", "A")
    with door.fault("mx1.unsigned.test", "A", "192.0.2.1"):
        assert "192.0.2.1" in delv(world, "mx1.unsigned.test", "A")
    with door.fault("mx1.unsigned.test", "A", "servfail"):
        assert "failure" in delv(world, "mx1.unsigned.test", "A")
    assert door.count("mx1.unsigned.test", "A") > 1


def test_zones_can_be_changed(world):
    domain = world.domains["signed"]
    domain.zone.add("new", "A", "192.0.2.7")
    domain.publish()
    text = delv(world, "new.signed.test", "A")
    assert "192.0.2.7" in text and "fully validated" in text


def s_client(world, host, *args):
    done = subprocess.run(
        ["openssl", "s_client", "-starttls", "smtp", "-brief", "-connect",
         f"{host.host}:25", "-CAfile", str(world.mail_authority.path),
         "-verify_return_error", *args],
        input="QUIT\n", capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


def test_server_certificates(world):
    good = world.domains["signed"].host
    name = ["-verify_hostname", good.name]
    assert "Verification: OK" in s_client(world, good, *name)
    wrong = world.domains["wrong"].host
    assert "hostname mismatch" in s_client(world, wrong, "-verify_hostname",
                                           wrong.name)
    for kind in ("3 1 1", "3 0 2", "2 0 1", "2 1 1"):
        told = s_client(world, good, "-dane_tlsa_domain", good.name,
                        "-dane_tlsa_rrdata", good.issued.tlsa(kind))
        assert "Verification: OK" in told and f"DANE TLSA {kind}" in told
    assert "Verification: OK" not in s_client(
        world, good, "-dane_tlsa_domain", good.name, "-dane_tlsa_rrdata",
        wrong.issued.tlsa("3 1 1"))


@pytest.mark.parametrize("fault, words", [
    ("expired", "certificate has expired"), ("untrusted", "verify"),
    ("no-starttls", "502"), ("old-tls", "error"),
    ("starttls-4xx", "454"), ("starttls-5xx", "554")])
def test_faults_of_servers(world, fault, words):
    host = world.server(f"{fault}.test", fault)
    if "starttls" in fault:
        client = rig.Client(host.host, 25)
        client.reply()
        offers = client.command("EHLO x")[1]
        assert ("STARTTLS" in offers) == (fault != "no-starttls")
        assert str(client.command("STARTTLS")[0]) == words
        client.close()
    else:
        told = s_client(world, host)
        assert words in told and "Verification: OK" not in told


def fetch(world, domain):
    context = ssl.create_default_context(cafile=world.web_authority.path)
    address = world.policies.host

    class Handler(urllib.request.HTTPSHandler):
        def https_open(self, request):
            return self.do_open(Connection, request)

    class Connection(urllib.request.http.client.HTTPSConnection):
        def __init__(self, host, **options):
            super().__init__(host, context=context, timeout=10)

        def connect(self):
            self.sock = context.wrap_socket(
                socket.create_connection((address, 443), 10),
                server_hostname=self.host)

    opener = urllib.request.build_opener(Handler)
    return opener.open(
        f"https://mta-sts.{domain}/.well-known/mta-sts.txt").read().decode()


def test_policies(world):
    before = world.policies.fetches("signed.test")
    assert fetch(world, "signed.test").splitlines() == [
        "version: STSv1", "mode: enforce", "mx: mx1.signed.test",
        "max_age: 86400"]
    rig.wait_for(lambda: world.policies.fetches("signed.test") == before + 1, 5,
                 "the fetch in the log")
    with pytest.raises(urllib.error.URLError, match="Hostname mismatch"):
        fetch(world, "wrong.test")
    world.policies.stop()
    with pytest.raises(urllib.error.URLError, match="refused"):
        fetch(world, "signed.test")
    world.policies.start()
    fetch(world, "signed.test")
