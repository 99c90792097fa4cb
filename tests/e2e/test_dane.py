"""DANE for SMTP (RFC 7672) from signed zones to the last byte."""
import re
import textwrap
import time

import pytest

import rig
import world as worlds
from world import attempt, send

pytestmark = pytest.mark.skipif(not worlds.can_bind_low_ports(),
                                reason="port 25 can only be bound by root")

ZERO = "00" * 32
# Kinds of the server's TLSA records and its fault; then what becomes of mail:
# True: taken by TLS.  False: taken in clear.  Else the stage at which it waits.
ROWS = {
    "ee-key": (["3 1 1"], None, True),
    "ee-key-512": (["3 1 2"], None, True),
    "ee-key-full": (["3 1 0"], None, True),
    "ee-certificate": (["3 0 1"], None, True),
    "ee-certificate-full": (["3 0 0"], None, True),
    # RFC 7671 section 5.1: neither name nor dates nor authority count
    "ee-name": (["3 1 1"], "wrong-name", True),
    "ee-expired": (["3 1 1"], "expired", True),
    "ee-untrusted": (["3 1 1"], "untrusted", True),
    "ta": (["2 0 1"], None, True),
    "ta-key": (["2 1 1"], None, True),
    "ta-full": (["2 0 0"], None, True),
    "ta-untrusted": (["2 0 1"], "untrusted", True),
    "ta-name": (["2 0 1"], "wrong-name", "dane"),
    "ta-expired": (["2 0 1"], "expired", "dane"),
    "mismatch": (["3 1 1 " + ZERO], None, "dane"),
    "ta-mismatch": (["2 0 1 " + ZERO], None, "dane"),
    # the key of tomorrow beside that of today
    "rollover": (["3 1 1 " + ZERO, "3 1 1"], None, True),
    "ta-or-ee": (["2 1 1 " + ZERO, "3 1 1"], None, True),
    # RFC 7671 section 9: of two digests only the stronger counts
    "weaker-matches": (["3 1 1", "3 1 2 " + ZERO * 2], None, "dane"),
    "stronger-matches": (["3 1 1 " + ZERO, "3 1 2"], None, True),
    "no-starttls": (["3 1 1"], "no-starttls", "starttls-not-offered"),
    "starttls-4xx": (["3 1 1"], "starttls-4xx", "starttls-refused"),
    "starttls-5xx": (["3 1 1"], "starttls-5xx", "starttls-refused"),
    # RFC 7672 section 3.1.3: TLS, but nobody is authenticated
    "unusable": (["1 1 1", "0 0 1", "3 1 9 00", "3 7 1 " + ZERO], "untrusted",
                 True),
    "unusable-no-starttls": (["1 1 1"], "no-starttls", "starttls-not-offered"),
    "some-unusable": (["1 1 1", "3 1 1 " + ZERO], None, "dane"),
    "bad-length": (["3 1 1 00"], "untrusted", True),
    "absent": ([], "no-starttls", False),
}


def row_domains(world):
    for label, (records, fault, _) in ROWS.items():
        domain = world.domain(label, signed=True)
        domain.mx("mx1", fault, tlsa=records)


def trouble_domains(world):
    """Two servers each: DNS makes trouble for the first."""
    for label in ("tlsa-servfail", "tlsa-silent", "tlsa-denied", "a-forged"):
        domain = world.domain(label, signed=True)
        domain.mx("mx1", tlsa="3 1 1", preference=10)
        domain.mx("mx2", tlsa="3 1 1", preference=20)
    changed = world.domain("tlsa-bogus", signed=True)
    changed.mx("mx1", preference=10, tlsa="3 1 1 " + "ab" * 32)
    changed.mx("mx2", tlsa="3 1 1", preference=20)
    changed.zone.tamper.append(("ab" * 32, "cd" * 32))
    for label, state in (("all-bogus", "bogus"), ("all-expired", "expired")):
        world.domain(label, state=state).mx("mx1")


def insecure_domains(world):
    """Where the chain of signatures ends on the way."""
    unsigned = world.domain("unsigned")
    unsigned.mx("mx1", tlsa="3 1 1 " + ZERO)
    hosts = world.domain("hosts", signed=True)
    for label in ("insecure-mx", "insecure-mx-off", "insecure-mx-mandatory"):
        domain = world.domain(label)
        matches = label == "insecure-mx-mandatory"
        domain.hosts.append(hosts.server(
            f"{label}.hosts.test",
            tlsa="3 1 1" if matches else "3 1 1 " + ZERO))
        domain.zone.add("@", "MX", f"10 {label}.hosts.test.")
    # secure domain, server in an unsigned zone
    outside = world.domain("outside", signed=True)
    outside.zone.add("@", "MX", "10 outside.unsigned.test.")
    outside.hosts.append(unsigned.server("outside.unsigned.test",
                                         tlsa="3 1 1 " + ZERO))


def alias_domains(world):
    """RFC 7672 section 2.2.2: aliases of servers."""
    target = world.domain("target", signed=True)
    # both secure: records of the target decide, by its name
    domain = world.domain("alias", signed=True)
    domain.hosts.append(target.server("real.target.test", tlsa="2 0 1"))
    domain.zone.add("mx1", "CNAME", "real.target.test.")
    domain.zone.add("@", "MX", "10 mx1")
    # … none there: those of the alias
    domain = world.domain("alias-own", signed=True)
    domain.hosts.append(target.server("bare.target.test",
                                      names=["mx1.alias-own.test"]))
    domain.zone.add("mx1", "CNAME", "bare.target.test.")
    domain.zone.add("@", "MX", "10 mx1")
    domain.tlsa("mx1", domain.host.issued.tlsa("2 0 1"))
    # secure alias of an unsigned host: those of the alias
    for label, record in (("alias-out", None), ("alias-out-wrong",
                                                "3 1 1 " + ZERO)):
        domain = world.domain(label, signed=True)
        domain.hosts.append(world.domains["unsigned"].server(
            f"{label}.unsigned.test", "untrusted"))
        domain.zone.add("mx1", "CNAME", f"{label}.unsigned.test.")
        domain.zone.add("@", "MX", "10 mx1")
        domain.tlsa("mx1", record or domain.host.issued.tlsa("3 1 1"))
    # the TLSA record itself is an alias
    domain = world.domain("tlsa-alias", signed=True)
    domain.mx("mx1", "untrusted")
    domain.zone.add("_25._tcp.mx1", "CNAME", "ee._dane")
    domain.zone.add("ee._dane", "TLSA", domain.host.issued.tlsa("3 1 1"))
    domain = world.domain("tlsa-alias-wrong", signed=True)
    domain.mx("mx1")
    domain.zone.add("_25._tcp.mx1", "CNAME", "ee._dane.target.test.")
    target.zone.add("ee._dane", "TLSA", "3 1 1 " + ZERO)
    domain = world.domain("tlsa-alias-out", signed=True)
    domain.mx("mx1", "no-starttls")
    domain.zone.add("_25._tcp.mx1", "CNAME", "ee._dane.unsigned.test.")
    world.domains["unsigned"].zone.add("ee._dane", "TLSA", "3 1 1 " + ZERO)
    # no MX record: the domain is its own server
    for label, kind in (("implicit", "2 0 1"), ("implicit-wrong",
                                                "3 1 1 " + ZERO)):
        domain = world.domain(label, signed=True)
        host = domain.server(f"{label}.test", label="@")
        domain.zone.add("_25._tcp", "TLSA", host.issued.tlsa(kind)
                        if len(kind) < 8 else kind)
    # section 3.2.2: with a signed MX the mail domain's name is good too
    domain = world.domain("ta-domain-name", signed=True)
    domain.mx("mx1", names=["ta-domain-name.test"], tlsa="2 0 1")


def sts_domains(world):
    for label, record, fault in (
            ("sts-rescues-not", "3 1 1 " + ZERO, None),
            ("dane-before-sts", "3 1 1", "wrong-name"),
            ("unusable-and-sts", "1 1 1", "wrong-name"),
            ("unusable-and-sts-good", "1 1 1", None)):
        domain = world.domain(label, signed=True)
        domain.mx("mx1", fault, tlsa=record)
        domain.policy("enforce")
    # forged: whoever forges the MX record brings records of his own
    domain = world.domain("insecure-mx-and-sts")
    domain.hosts.append(world.domains["hosts"].server(
        "attacker.hosts.test", tlsa="3 1 1"))
    domain.zone.add("@", "MX", "10 attacker.hosts.test.")
    domain.policy("enforce", ["mx1.{}"])


def setting_domains(world):
    for label in ("exempt", "for-all"):
        world.domain(label, signed=True).mx("mx1", tlsa="3 1 1 " + ZERO)
    world.domain("mandatory", signed=True).mx("mx1", tlsa="3 1 1")
    world.domain("mandatory-none", signed=True).mx("mx1")
    world.domain("mandatory-unsigned").mx("mx1")
    world.domain("mandatory-unusable", signed=True).mx("mx1", tlsa="1 1 1")
    world.domain("rolled", signed=True, ttl=1).mx("mx1", tlsa="3 1 1")
    world.domain("warm", signed=True).mx("mx1", tlsa="3 1 1")


DESTINATIONS = textwrap.dedent("""\
    exempt.test: {dane: no}
    insecure-mx-off.test: {dane_insecure_mx: off}
    mandatory.test: {dane: mandatory}
    mandatory-none.test: {dane: mandatory}
    mandatory-unsigned.test: {dane: mandatory}
    mandatory-unusable.test: {dane: mandatory}
    insecure-mx-mandatory.test: {dane: mandatory}
    """)


def postfix_domain(world, folder):
    """A mail exchanger that somebody else wrote, with DANE and MTA-STS."""
    domain = world.domain("postfix", signed=True)
    issued = world.mail_authority.issue("mx1.postfix.test")
    world.postfix = rig.Postfix(
        folder, port=25, main=f"""
        smtpd_tls_chain_files = {issued.key} {issued.chain}
        virtual_mailbox_domains = postfix.test
        """)
    domain.zone.add("@", "MX", "10 mx1")
    domain.zone.add("mx1", "A", world.postfix.host)
    domain.tlsa("mx1", issued.tlsa("2 1 1"))
    domain.tlsa("mx1", issued.tlsa("3 1 1"))
    domain.policy("enforce")
    world.postfix.start()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = worlds.World(tmp_path_factory.mktemp("dane"))
    try:
        for make in (row_domains, trouble_domains, insecure_domains,
                     alias_domains, sts_domains, setting_domains):
            make(world)
        postfix_domain(world, tmp_path_factory.mktemp("postfix"))
        world.start()
        world.gw = world.gateway(destinations=DESTINATIONS,
                                 extra=worlds.PATIENT, dns={"timeout": "3s"})
        yield world
    finally:
        if hasattr(world, "postfix"):
            world.postfix.stop()
        world.stop()


def assert_waits(world, domain, stages, gateway=None):
    told = attempt(gateway or world.gw, domain.name)
    assert told, f"mail to {domain.name} left"
    assert told["stage"] in stages.split(), told
    for host in domain.hosts:
        assert not host.transactions and not host.in_clear
    return told


def assert_taken(world, host, domain, tls=True, gateway=None):
    assert attempt(gateway or world.gw, domain.name) is None
    assert [t.tls for t in host.transactions] == [tls]


@pytest.mark.parametrize("label", list(ROWS))
def test_records(world, label):
    domain, result = world.domains[label], ROWS[label][2]
    if isinstance(result, bool):
        assert_taken(world, domain.host, domain, result)
        return
    told = assert_waits(world, domain, result)
    assert domain.host.name in told["reason"]
    assert "TLSA" in told["reason"] or "DANE" in told["reason"], told


@pytest.mark.parametrize("label, name, how", [
    ("tlsa-servfail", "_25._tcp.mx1", "servfail"),
    ("tlsa-silent", "_25._tcp.mx1", "drop"),
    # a denial without proof, by whoever sits between
    ("tlsa-denied", "_25._tcp.mx1", "none"),
    ("tlsa-bogus", None, None)])
def test_server_whose_records_are_unknown_is_left_out(world, label, name, how):
    domain = world.domains[label]
    if name is None:
        assert_taken(world, domain.hosts[1], domain)
    else:
        with world.names.door.fault(f"{name}.{domain.name}", "TLSA", how):
            assert_taken(world, domain.hosts[1], domain)
    assert not domain.hosts[0].sessions


def test_forged_address(world):
    domain = world.domains["a-forged"]
    attacker = world.domains["absent"].host.host
    with world.names.door.fault("mx1.a-forged.test", "A", attacker):
        assert_taken(world, domain.hosts[1], domain)


def test_postfix(world):
    assert attempt(world.gw, "postfix.test") is None
    rig.wait_for(world.postfix.messages, 20, "mail in the box")
    assert re.search(r"Anonymous TLS connection established from \S+: TLSv1.3",
                     world.postfix.log())
    event = [e for e in world.gw.events("delivery.tls")
             if e["host"] == "mx1.postfix.test"][-1]
    assert event["floor"] == "verified" and event["verify"] == "ok"


@pytest.mark.parametrize("label", ["all-bogus", "all-expired"])
def test_domain_that_does_not_validate(world, label):
    told = assert_waits(world, world.domains[label], "dns")
    assert not world.domains[label].host.sessions
    assert "bogus" in told["reason"] or "signature" in told["reason"] \
        or "valid" in told["reason"], told


def test_records_of_unsigned_servers_are_not_asked_for(world):
    for label, name in (("unsigned", "mx1.unsigned.test"),
                        ("outside", "outside.unsigned.test")):
        domain = world.domains[label]
        assert_taken(world, domain.hosts[-1] if label == "outside"
                     else domain.host, domain)
        assert world.names.door.count(f"_25._tcp.{name}") == 0


@pytest.mark.parametrize("label, result", [
    ("insecure-mx", "dane"), ("insecure-mx-off", True),
    ("insecure-mx-mandatory", "dane"), ("insecure-mx-and-sts", "sts-mx")])
def test_unsigned_mx_record(world, label, result):
    domain = world.domains[label]
    if result is True:
        assert_taken(world, domain.host, domain)
    else:
        assert_waits(world, domain, result)


@pytest.mark.parametrize("label, result, sni", [
    ("alias", True, "real.target.test"),
    ("alias-own", True, "mx1.alias-own.test"),
    ("alias-out", True, "mx1.alias-out.test"),
    ("alias-out-wrong", "dane", None),
    ("tlsa-alias", True, "mx1.tlsa-alias.test"),
    ("tlsa-alias-wrong", "dane", None),
    ("tlsa-alias-out", False, None),
    ("implicit", True, "implicit.test"),
    ("implicit-wrong", "dane", None),
    ("ta-domain-name", True, "mx1.ta-domain-name.test")])
def test_aliases(world, label, result, sni):
    domain = world.domains[label]
    if not isinstance(result, bool):
        assert_waits(world, domain, result)
        return
    assert_taken(world, domain.host, domain, result)
    assert domain.host.sni == ([sni] if sni else [])


@pytest.mark.parametrize("label, result", [
    ("sts-rescues-not", "dane"), ("dane-before-sts", True),
    ("unusable-and-sts", "certificate-name sts-certificate"),
    ("unusable-and-sts-good", True)])
def test_beside_mta_sts(world, label, result):
    """A usable record decides alone (RFC 8461 section 2)."""
    domain = world.domains[label]
    if result is True:
        assert_taken(world, domain.host, domain)
    else:
        assert_waits(world, domain, result)


@pytest.mark.parametrize("label, result", [
    ("exempt", True), ("mandatory", True), ("mandatory-none", "dane"),
    ("mandatory-unsigned", "dane"), ("mandatory-unusable", "dane")])
def test_settings(world, label, result):
    domain = world.domains[label]
    if result is True:
        assert_taken(world, domain.host, domain)
        return
    told = assert_waits(world, domain, result)
    assert "DANE" in told["reason"] or "TLSA" in told["reason"], told


def test_switched_off_for_all(world):
    domain = world.domains["for-all"]
    other = world.gateway("off", extra="advanced: {Sender.EnableDANE: false}\n"
                          + worlds.PATIENT)
    assert_taken(world, domain.host, domain, gateway=other)
    other.stop()
    domain.host.forget()
    assert_waits(world, domain, "dane")


def test_message_that_ignores_dane(world):
    """A mail flow policy may say so; other mail on its heels does not profit
    from the connection."""
    domain = world.domains["mismatch"]
    domain.host.forget()
    other = world.gateway(
        "ignores", extra="mail_flow_policies:\n  default: "
        "{ignore_dane: on, max_handshakes_per_second: unlimited}\n"
        + worlds.PATIENT)
    assert_taken(world, domain.host, domain, gateway=other)
    other.stop()
    domain.host.forget()


def test_certificate_changes_with_its_record(world):
    domain = world.domains["rolled"]
    assert_taken(world, domain.host, domain)
    domain.host.forget()
    old, new = domain.host.issued, world.mail_authority.issue(domain.host.name)
    domain.zone.add("_25._tcp.mx1", "TLSA", new.tlsa("3 1 1"))
    domain.publish()
    domain.host.change(new)
    time.sleep(worlds.FORGOTTEN)
    assert_taken(world, domain.host, domain)
    domain.host.forget()
    # the old key is lost: whoever has it must not get mail
    domain.zone.remove("_25._tcp.mx1", "TLSA")
    domain.zone.add("_25._tcp.mx1", "TLSA", new.tlsa("3 1 1"))
    domain.publish()
    domain.host.change(old)
    time.sleep(worlds.FORGOTTEN)
    assert_waits(world, domain, "dane")


def test_warm_delivery_asks_nobody(world):
    domain = world.domains["warm"]
    assert_taken(world, domain.host, domain)
    asked = len(world.names.door.asked)
    for _ in range(5):
        send(world.gw, domain.name)
    rig.wait_for(lambda: len(domain.host.transactions) == 6, 15, "six messages")
    assert [q for q in world.names.door.asked[asked:]
            if q[0].endswith(domain.name)] == []


def test_log(world):
    domain = world.domains["ee-key"]
    assert attempt(world.gw, domain.name) is None
    event = [e for e in world.gw.events("delivery.tls")
             if e["host"] == domain.host.name][-1]
    assert event["result"] == "ok" and event["verify"] == "ok"
    assert event["floor"] == "verified"
    assert "TLSA" in event["why"] or "DANE" in event["why"]
