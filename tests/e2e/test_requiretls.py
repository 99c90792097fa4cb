"""What a message demands of TLS beside its destination: REQUIRETLS and
TLS-Required: No (RFC 8689), and the demands of a mail flow policy."""
import email

import pytest

import rig
import world as worlds
from world import attempt, queued, send

pytestmark = pytest.mark.skipif(not worlds.can_bind_low_ports(),
                                reason="port 25 can only be bound by root")
REQUIRE = ["REQUIRETLS"]
ZERO = "00" * 32
OPTIONAL = "TLS-Required: No\r\nSubject: test\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = worlds.World(tmp_path_factory.mktemp("requiretls"))
    try:
        # by DNSSEC, by a policy that is only being tested, by nothing
        world.domain("signed", signed=True).mx("mx1", extensions=REQUIRE)
        world.domain("dane", signed=True).mx("mx1", "untrusted", tlsa="3 1 1",
                                             extensions=REQUIRE)
        listed = world.domain("listed")
        listed.mx("mx1", extensions=REQUIRE)
        listed.policy("testing")
        unlisted = world.domain("unlisted")
        unlisted.mx("mx1", extensions=REQUIRE)
        unlisted.policy("testing", ["elsewhere.{}"])
        world.domain("unproven").mx("mx1", extensions=REQUIRE)
        world.domain("wrong-name", signed=True).mx("mx1", "wrong-name",
                                                   extensions=REQUIRE)
        world.domain("no-starttls", signed=True).mx("mx1", "no-starttls",
                                                    extensions=REQUIRE)
        world.domain("lacking", signed=True).mx("mx1")
        both = world.domain("one-of-two", signed=True)
        both.mx("mx1", preference=10)
        both.mx("mx2", preference=20, extensions=REQUIRE)
        half = world.domain("one-is-down", signed=True)
        half.mx("mx1", preference=10)
        half.mx("mx2", preference=20, extensions=REQUIRE,
                replies={"greeting": "421 4.3.2 come again"})
        # what TLS-Required: No lowers, and what not
        for label, fault in (("sts-clear", "no-starttls"),
                             ("sts-name", "wrong-name"), ("sts-unlisted", None)):
            domain = world.domain(label)
            domain.mx("mx1", fault)
            domain.policy("enforce", ["elsewhere.{}" if fault is None
                                      else "mx1.{}"])
        world.domain("mismatch", signed=True).mx("mx1", tlsa="3 1 1 " + ZERO)
        for label in ("required", "plain", "plain2"):
            world.domain(label).mx("mx1", "no-starttls")
        world.domain("name").mx("mx1", "wrong-name")
        # behind a second gateway
        world.second_host = rig.loopback()
        for label in ("hop", "hop-lacking"):
            hop = world.domain(label, signed=True)
            hop.zone.add("@", "MX", "10 mx1.second.test.")
            hop.server(f"inner.{label}.test",
                       extensions=REQUIRE if label == "hop" else ())
        second = world.domain("second", signed=True)
        second.zone.add("mx1", "A", world.second_host)
        world.start()
        world.gw = world.gateway(
            destinations="required.test: {tls: required}\n",
            extra=worlds.PATIENT)
        yield world
    finally:
        world.stop()


@pytest.fixture(scope="module")
def second(world):
    """The next gateway: mail exchanger of two domains that it brings on."""
    return world.gateway(
        "second", host=world.second_host, port=25, extra=worlds.PATIENT,
        certificate=world.mail_authority.issue("mx1.second.test"),
        routes="".join(f"  {name}: [{{host: inner.{name}, port: 25}}]\n"
                       for name in ("hop.test", "hop-lacking.test")))


def require(gateway, name, **options):
    return attempt(gateway, name, mail=" REQUIRETLS", tls=True, **options)


def assert_nothing_left(domain):
    for host in domain.hosts:
        assert not host.transactions and not host.in_clear


def notice(world, name):
    """The mail of world.back about user@name: its MAIL line and its parts."""
    def find():
        for t in world.back.transactions:
            if f"user@{name}" in t.content:
                return t
        return None
    found = rig.wait_for(find, 20, f"a notice about {name}")
    return found, email.message_from_string(found.content)


def test_offered_under_tls_only(world):
    client = world.gw.smtp()
    client.reply()
    assert "REQUIRETLS" not in client.command("EHLO client.test")[1]
    code, texts = client.command("MAIL FROM:<a@sender.test> REQUIRETLS")
    assert code == 530 and texts[0].startswith("5.7.0")
    client.starttls()
    assert "REQUIRETLS" in client.command("EHLO client.test")[1]
    client.close()


@pytest.mark.parametrize("label", ["signed", "dane", "listed"])
def test_proven_servers_get_it(world, label):
    domain = world.domains[label]
    assert require(world.gw, domain.name) is None
    got = domain.host.transactions[-1]
    assert got.tls and got.mail.endswith(" REQUIRETLS")


@pytest.mark.parametrize("label, stages", [
    ("unproven", ""), ("unlisted", ""),
    ("wrong-name", "certificate-name"),
    ("no-starttls", "starttls-not-offered")])
def test_others_do_not(world, label, stages):
    domain = world.domains[label]
    told = require(world.gw, domain.name)
    assert told and told["stage"] in (stages.split() or [told["stage"]]), told
    assert "REQUIRETLS" in told["reason"] or "proves that" in told["reason"]
    assert_nothing_left(domain)


def test_all_servers_lack_it(world):
    """RFC 8689 section 4.2.1: returned with 5.7.30, once all were tried."""
    domain = world.domains["lacking"]
    assert require(world.gw, domain.name) is None
    mail, message = notice(world, domain.name)
    fields = message.get_payload(1).get_payload(1)
    assert fields["Status"] == "5.7.30" and fields["Action"] == "failed"
    assert "REQUIRETLS" in fields.as_string()
    assert_nothing_left(domain)
    # section 5: the notice demands the same and keeps the body to itself
    assert mail.tls and "REQUIRETLS" in mail.mail
    assert "hello" not in mail.content


def test_another_server_has_it(world):
    domain = world.domains["one-of-two"]
    assert require(world.gw, domain.name) is None
    assert not domain.hosts[0].transactions
    got = domain.hosts[1].transactions[-1]
    assert got.tls and got.mail.endswith(" REQUIRETLS")


def test_waits_while_a_server_may_still_have_it(world):
    domain = world.domains["one-is-down"]
    assert require(world.gw, domain.name)
    assert_nothing_left(domain)


def test_ordinary_mail_is_not_held_up(world):
    """Messages with other demands are a destination of their own."""
    domain = world.domains["wrong-name"]
    require(world.gw, domain.name)
    assert attempt(world.gw, domain.name) is None
    got = domain.host.transactions[-1]
    assert "REQUIRETLS" not in got.mail
    domain.host.forget()
    assert_nothing_left(domain)


def test_across_two_gateways(world, second):
    """Kept in the queue of the second one, through a restart."""
    domain = world.domains["hop"]
    domain.host.replies["greeting"] = "421 4.3.2 come again"
    assert require(world.gw, domain.name) is None
    told = rig.wait_for(lambda: [
        m for m in queued(second, domain.name)
        if m["recipients"][0]["state"] == "waiting"], 20, "the mail to wait")
    second.stop()
    second.start()
    del domain.host.replies["greeting"]
    second.call("queue", "retry", told[0]["id"])
    rig.wait_for(lambda: domain.host.transactions, 20, "the mail")
    got = domain.host.transactions[0]
    assert got.tls and got.mail.endswith(" REQUIRETLS")


def test_notice_across_two_gateways(world, second):
    domain = world.domains["hop-lacking"]
    assert require(world.gw, domain.name) is None
    mail, message = notice(world, domain.name)
    fields = message.get_payload(1).get_payload(1)
    assert fields["Status"] == "5.7.30", fields.as_string()
    assert mail.tls and "REQUIRETLS" in mail.mail
    assert "hello" not in mail.content
    assert_nothing_left(domain)


@pytest.mark.parametrize("label, tls", [
    ("sts-clear", False), ("sts-name", True), ("sts-unlisted", True),
    ("mismatch", True)])
def test_author_prefers_delivery(world, label, tls):
    """TLS-Required: No lowers what DANE and MTA-STS demand (section 4.2.2)."""
    domain = world.domains[label]
    assert attempt(world.gw, domain.name), "the policy is in force"
    assert_nothing_left(domain)
    assert attempt(world.gw, domain.name, text=OPTIONAL) is None
    assert [t.tls for t in domain.host.transactions] == [tls]
    assert OPTIONAL.split("\r\n")[0] in domain.host.transactions[0].content
    domain.host.forget()
    assert attempt(world.gw, domain.name), "for other mail it still is"
    assert_nothing_left(domain)


def test_author_does_not_overrule_the_settings(world):
    domain = world.domains["required"]
    told = attempt(world.gw, domain.name, text=OPTIONAL)
    assert told and told["stage"] == "starttls-not-offered"
    assert_nothing_left(domain)


def test_requiretls_counts_more_than_the_header(world):
    domain = world.domains["no-starttls"]
    assert require(world.gw, domain.name, text=OPTIONAL)
    assert_nothing_left(domain)


@pytest.mark.parametrize("demand, label, stage", [
    ("required", "plain", "starttls-not-offered"),
    ("required", "name", None),
    ("verified", "plain2", "starttls-not-offered"),
    ("verified", "name", "certificate-name"),
    ("verified", "signed", None)])
def test_demands_of_a_mail_flow_policy(world, demand, label, stage):
    name = f"flow-{demand}"
    gateway = next((g for g in world.gateways if g.folder.name == name), None)
    gateway = gateway or world.gateway(
        name, extra="mail_flow_policies:\n  default: {delivery_tls: "
        f"{demand}, max_handshakes_per_second: unlimited}}\n" + worlds.PATIENT)
    domain = world.domains[label]
    domain.host.forget()
    told = attempt(gateway, domain.name)
    if stage:
        assert told and told["stage"] == stage, told
        assert_nothing_left(domain)
    else:
        assert told is None and domain.host.transactions[-1].tls
