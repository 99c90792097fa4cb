"""MTA-STS (RFC 8461) from the DNS to the last byte: every mode against every
kind of mail host, names and patterns, broken policies, and a cache that neither
a forged record nor a blocked fetch empties."""
import pytest

import rig
import world as worlds
from world import attempt, send

pytestmark = pytest.mark.skipif(not worlds.can_bind_low_ports(),
                                reason="port 25 can only be bound by root")

FAULTS = [None, "wrong-name", "expired", "untrusted", "no-starttls", "old-tls",
          "starttls-4xx", "starttls-5xx", "unlisted"]
MODES = ["enforce", "testing", "none"]
# What becomes of mail where the policy enforces nothing.
CLEAR = ("no-starttls", "starttls-4xx", "starttls-5xx")
# The stages at which a server fails where it does.
STAGES = {
    "wrong-name": "certificate-name sts-certificate",
    "expired": "certificate-expired sts-certificate",
    "untrusted": "certificate-chain sts-certificate",
    "no-starttls": "starttls-not-offered",
    "old-tls": "version handshake",
    "starttls-4xx": "starttls-refused",
    "starttls-5xx": "starttls-refused",
    "unlisted": "sts-mx",
}
# Policies that are none, or cannot be fetched.
BROKEN = {
    "redirect": dict(directives="return 301 https://mta-sts.good.test/x;"),
    "not-found": dict(directives="return 404;"),
    "failing": dict(directives="return 500;"),
    "html": dict(directives="types { text/html txt; }"),
    "large": dict(text="version: STSv1\r\nmode: enforce\r\nmx: *.large.test\r\n"
                  "max_age: 86400\r\n" + "x: y\r\n" * 20000),
    "no-mode": dict(text="version: STSv1\r\nmx: mx1.no-mode.test\r\n"
                    "max_age: 86400\r\n"),
    "no-mx": dict(text="version: STSv1\r\nmode: enforce\r\nmax_age: 86400\r\n"),
    "web-expired": dict(certificate=lambda w, host: w.web_authority.issue(
        host, days=-1)),
    "web-name": dict(certificate=lambda w, host: w.web_authority.issue(
        "mta-sts.elsewhere.test")),
    "web-untrusted": dict(certificate=lambda w, host: w.stranger.issue(host)),
}


def mode_domains(world):
    for mode in MODES:
        for fault in FAULTS:
            domain = world.domain(f"{mode}-{fault or 'good'}")
            domain.mx("mx1", None if fault == "unlisted" else fault)
            domain.policy(mode, ["elsewhere.{}" if fault == "unlisted"
                                 else "mx1.{}"])


def broken_domains(world):
    for label, how in BROKEN.items():
        domain = world.domain(label)
        domain.mx("mx1", "no-starttls")
        how = dict(how)
        if "certificate" in how:
            how["certificate"] = how["certificate"](
                world, f"mta-sts.{domain.name}")
        domain.policy("enforce", **how)


# Domains of which the policy enforces; what is True takes the mail.
def name_domains(world):
    def one(label, taken, patterns=("mx1.{}",), mx="mx1", **options):
        domain = world.domain(label)
        domain.mx(mx, **options)
        domain.policy("enforce", patterns)
        expected[label] = taken
        return domain

    expected = {}
    one("wildcard", True, ["*.{}"])
    one("case", True, ["MX1.{}"])
    one("second-pattern", True, ["a.{}", "b.{}", "mx1.{}"])
    one("two-labels", "sts-mx", ["*.{}"], mx="a.b")
    one("other-parent", "sts-mx", ["*.mail.{}"])
    one("certificate-wildcard", True, names=["*.certificate-wildcard.test"])
    one("certificate-too-deep", STAGES["wrong-name"], ["a.b.{}"], mx="a.b",
        names=["*.certificate-too-deep.test"])
    # The pattern says which hosts; it is no name for a certificate.
    one("neighbour", STAGES["wrong-name"], ["*.{}"],
        names=["mx2.neighbour.test"])
    one("domain-name", STAGES["wrong-name"], names=["domain-name.test"])
    one("several-names", True, names=["a.test", "mx1.several-names.test"])
    one("bücher", True, extensions=["SMTPUTF8", "8BITMIME"])
    apex = world.domain("apex")
    apex.server("apex.test", label="@")
    apex.policy("enforce", ["*.{}"])
    expected["apex"] = "sts-mx"
    return expected


def alias_domains(world):
    # The MX record names an alias: that name must be listed and certified.
    alias = world.domain("alias")
    host = alias.server("real.alias.test", names=["mx1.alias.test"])
    alias.zone.add("mx1", "CNAME", "real")
    alias.zone.add("@", "MX", "10 mx1")
    alias.policy("enforce", ["mx1.{}"])
    target = world.domain("alias-target")
    target.server("real.alias-target.test")
    target.zone.add("mx1", "CNAME", "real")
    target.zone.add("@", "MX", "10 mx1")
    target.policy("enforce", ["mx1.{}", "real.{}"])
    # A domain that is an alias has a policy of its own name or none.
    strict = world.domain("strict")
    strict.mx("mx1", "no-starttls")
    strict.policy("enforce")
    strict.zone.add("sub", "MX", "10 mx1")
    strict.zone.add("also", "CNAME", "strict.test.")
    # Record and policy host may be aliases of a provider's (section 8.2).
    hosted = world.domain("hosted")
    hosted.mx("mx1", "wrong-name")
    hosted.policy("enforce")
    hosted.zone.remove("mta-sts", "A")
    hosted.zone.remove("_mta-sts", "TXT")
    hosted.zone.add("_mta-sts", "CNAME", "_mta-sts.strict.test.")
    hosted.zone.add("mta-sts", "CNAME", "mta-sts.strict.test.")
    return host


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = worlds.World(tmp_path_factory.mktemp("sts"))
    try:
        mode_domains(world)
        broken_domains(world)
        world.expected = name_domains(world)
        alias_domains(world)
        good = world.domain("good")
        good.mx("mx1")
        good.policy("enforce")
        second = world.domain("second")
        second.mx("mx1", "wrong-name", preference=10)
        second.mx("mx2", "no-starttls", preference=20)
        second.mx("mx3", preference=30)
        second.policy("enforce", ["mx1.{}", "mx2.{}", "mx3.{}"])
        for label in ("unknown", "exempt"):
            domain = world.domain(label)
            domain.mx("mx1", "no-starttls")
            domain.policy("enforce")
        plain = world.domain("plain")
        plain.mx("mx1")
        world.start()
        world.gw = world.gateway(
            destinations="exempt.test: {mta_sts: off}\n",
            extra=worlds.PATIENT)
        yield world
    finally:
        world.stop()


def assert_waits(world, domain, stages, gateway=None):
    """Waits with one of these stages; nobody got anything of it."""
    told = attempt(gateway or world.gw, domain.name)
    assert told, f"mail to {domain.name} left"
    assert told["stage"] in stages.split(), told
    for host in domain.hosts:
        assert not host.transactions
        assert not host.in_clear
    return told


def assert_taken(world, host, domain, tls, gateway=None):
    assert attempt(gateway or world.gw, domain.name) is None
    assert [t.tls for t in host.transactions] == [tls]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("mode", MODES)
def test_mode(world, mode, fault):
    domain = world.domains[f"{mode}-{fault or 'good'}"]
    if mode != "enforce" or fault is None:
        assert_taken(world, domain.host, domain, fault not in CLEAR)
        return
    told = assert_waits(world, domain, STAGES[fault])
    if fault == "unlisted":
        assert not domain.host.sessions, "nobody has to connect to know"
    # Who demands it, how old that is, and of whom.
    for words in (f"MTA-STS policy of {domain.name}", "enforce",
                  f"id {domain.id}", "fetched", domain.host.name):
        assert words in told["reason"], told


def test_wrong_name_in_a_sentence(world):
    domain = world.domains["enforce-wrong-name"]
    reason = assert_waits(world, domain, STAGES["wrong-name"])["reason"]
    assert "presented a certificate for other.test" in reason
    assert f"demands mx1.{domain.name}" in reason


def test_next_server_takes_it(world):
    domain = world.domains["second"]
    assert_taken(world, domain.hosts[2], domain, True)
    for host in domain.hosts[:2]:
        assert host.sessions and not host.transactions and not host.in_clear


@pytest.mark.parametrize("label", list(BROKEN))
def test_no_policy_no_demand(world, label):
    """Section 3.3: what could not be fetched counts as absent."""
    domain = world.domains[label]
    assert_taken(world, domain.host, domain, False)
    shown = world.gw.call("sts", "show", domain.name, check=False)
    assert domain.name in shown.stdout + shown.stderr


@pytest.mark.parametrize("label", [
    "wildcard", "case", "second-pattern", "two-labels", "other-parent",
    "certificate-wildcard", "certificate-too-deep", "neighbour", "domain-name",
    "several-names", "bücher", "apex"])
def test_names(world, label):
    domain, taken = world.domains[label], world.expected[label]
    if taken is True:
        assert_taken(world, domain.host, domain, True)
    else:
        assert_waits(world, domain, taken)


def test_internationalized_address(world):
    """The policy is looked up and compared by A-labels."""
    domain = world.domains["bücher"]
    domain.host.forget()
    assert attempt(world.gw, "bücher.test", mail=" SMTPUTF8") is None
    got = domain.host.transactions[-1]
    assert got.tls and "<user@bücher.test>" in got.rcpts[0]
    event = [e for e in world.gw.events("delivery.tls")
             if e["host"] == domain.host.name][-1]
    assert event["floor"] == "verified" and event["verify"] == "ok"


def test_alias_of_a_mail_host(world):
    domain = world.domains["alias"]
    assert_taken(world, domain.host, domain, True)
    assert domain.host.sni == ["mx1.alias.test"]
    domain = world.domains["alias-target"]
    assert_waits(world, domain, STAGES["wrong-name"])


def test_policy_is_of_this_very_domain(world):
    domain = world.domains["strict"]
    for name in ("sub.strict.test", "also.strict.test"):
        domain.host.forget()
        assert attempt(world.gw, name) is None
        assert [t.tls for t in domain.host.transactions] == [False]
    domain.host.forget()
    assert_waits(world, domain, STAGES["no-starttls"])


def test_record_and_policy_host_of_a_provider(world):
    domain = world.domains["hosted"]
    assert_waits(world, domain, STAGES["wrong-name"])


def test_record_cannot_be_looked_up(world):
    """Waits so many attempts as the settings say, then goes."""
    domain = world.domains["unknown"]
    gateway = world.gateway(
        "hasty", sts="dns_failure_defers: 2\n", extra="bounce_profiles: "
        "{default: {first_retry: 1s, max_retry: 1s}}\n")
    with world.names.door.fault("_mta-sts.unknown.test", "TXT", "servfail"):
        message = send(gateway, domain.name)
        rig.wait_for(lambda: domain.host.transactions, 15, "the mail")
    gateway.wait_event("queue.done", queue=message)
    results = gateway.wait_event("queue.result", queue=message)
    assert [e["outcome"] for e in results] == ["deferred"] * 2 + ["delivered"]
    assert all("MTA-STS" in e["reason"] for e in results[:2])
    attempt = gateway.wait_event("delivery.attempt", queue=message)[-1]
    assert "sts-given-up" in attempt["whys"]
    gateway.stop()


def test_exempted_destination(world):
    domain = world.domains["exempt"]
    asked = world.names.door.count("_mta-sts.exempt.test")
    assert_taken(world, domain.host, domain, False)
    assert world.names.door.count("_mta-sts.exempt.test") == asked


def test_warm_delivery_asks_nobody(world):
    domain = world.domains["good"]
    assert_taken(world, domain.host, domain, True)
    asked, fetched = len(world.names.door.asked), \
        world.policies.fetches(domain.name)
    for _ in range(5):
        send(world.gw, domain.name)
    rig.wait_for(lambda: len(domain.host.transactions) == 6, 15, "six messages")
    assert world.names.door.asked[asked:] == []
    assert world.policies.fetches(domain.name) == fetched
    assert all(t.tls for t in domain.host.transactions)


def test_switched_off_for_all(world):
    domain = world.domains["enforce-no-starttls"]
    other = world.gateway("off", extra="advanced: {Sender.EnableMTASTS: false}\n"
                          + worlds.PATIENT)
    assert_taken(world, domain.host, domain, False, other)
    domain.host.forget()


def test_log(world):
    """delivery.tls says what was demanded and by whom."""
    domain = world.domains["enforce-good"]
    assert attempt(world.gw, domain.name) is None
    event = [e for e in world.gw.events("delivery.tls")
             if e["host"] == domain.host.name][-1]
    assert event["result"] == "ok" and event["verify"] == "ok"
    assert event["floor"] == "verified"
    assert "MTA-STS" in event["why"]
