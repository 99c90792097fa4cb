"""`waxgate explain` and `waxgate tls-check` say what delivery then does: for
each kind of domain and fault both are asked first, then a message is sent."""
import email
import json
import re

import pytest

import rig
import world as worlds
from world import attempt, send

pytestmark = pytest.mark.skipif(not worlds.can_bind_low_ports(),
                                reason="port 25 can only be bound by root")
FAULTS = ["good", "wrong-name", "expired", "untrusted", "no-starttls", "old-tls",
          "starttls-4xx"]
KINDS = ["plain", "testing", "enforce", "unlisted", "dane", "dane-wrong",
         "dane-unusable"]
CASES = [(kind, fault) for kind in KINDS for fault in FAULTS]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = worlds.World(tmp_path_factory.mktemp("explain"))
    records = {"dane": ["3 1 1"], "dane-wrong": ["3 1 1 " + "00" * 32],
               "dane-unusable": ["1 1 1"]}
    try:
        for kind, fault in CASES:
            domain = world.domain(f"{kind}-{fault}", signed=kind in records)
            domain.mx("mx1", fault if fault != "good" else None,
                      tlsa=records.get(kind, []))
            if kind in ("testing", "enforce", "unlisted"):
                domain.policy("testing" if kind == "testing" else "enforce",
                              ["elsewhere.{}" if kind == "unlisted" else "mx1.{}"])
        half = world.domain("half", signed=True)
        half.mx("mx1", preference=10, tlsa="3 1 1")
        half.mx("mx2", "no-starttls", preference=20, tlsa="3 1 1")
        world.domain("bogus-zone", state="bogus").mx("mx1")
        world.start()
        world.gw = world.gateway(extra=worlds.PATIENT)
        yield world
    finally:
        world.stop()


def plain(sentence):
    """Without what is in brackets: the library's words and ages."""
    return re.sub(r" \([^)]*\)", "", sentence)


def asked(gateway, *args):
    done = gateway.call(*args, "--json", check=False)
    return json.loads(done.stdout), done.returncode


@pytest.mark.parametrize("kind, fault", CASES)
def test_foretold(world, kind, fault):
    domain = world.domains[f"{kind}-{fault}"]
    explained, status = asked(world.gw, "explain", f"user@{domain.name}")
    assert status == 0 and not domain.host.sessions, "it connects to nobody"
    checked, status = asked(world.gw, "tls-check", domain.name)
    commands = [l for s in domain.host.sessions for l in s.lines]
    assert not [l for l in commands if l.upper().startswith(("MAIL", "RCPT"))]
    decision, check = explained["hosts"][0]["decision"], checked["checks"][0]
    assert check["decision"]["usable"] == decision["usable"]
    assert check["decision"]["whys"] == decision["whys"]

    told = attempt(world.gw, domain.name)
    assert check["delivers"] == (told is None)
    assert (status == 2) == (told is not None)
    if told is None:
        tls = domain.host.transactions[-1].tls
        assert tls == (check["result"] in ("verified", "encrypted"))
        assert (check["result"] == "verified") == (
            decision["floor"] == "verified") or tls
        assert tls or decision["floor"] == "opportunistic"
        return
    assert not domain.host.transactions and not domain.host.in_clear
    if told["stage"] == "sts-certificate": # of which the check tells more
        assert check["failure"]["stage"].startswith("certificate-")
    else:
        assert told["stage"] == check["failure"]["stage"]
    assert plain(told["reason"]) == plain(check["failure"]["text"])
    if decision["usable"]:
        foretold = {f["stage"]: f["consequence"]
                    for f in explained["hosts"][0]["failures"]}
        # an old version is one way for a handshake to fail
        assert "not-here" == foretold.get(told["stage"], foretold["handshake"])
    else:
        assert told["stage"] == decision["refusal"]["stage"]


def test_statuses_for_monitoring(world):
    for name, status in (("enforce-good.test", 0), ("half.test", 1),
                         ("enforce-no-starttls.test", 2)):
        assert asked(world.gw, "tls-check", name)[1] == status, name
    checks = asked(world.gw, "tls-check", "half.test")[0]["checks"]
    checks.sort(key=lambda check: check["try"]) # they come as they end
    assert [c["host"] for c in checks] == ["mx1.half.test", "mx2.half.test"]


def test_domain_that_does_not_validate(world):
    explained, _ = asked(world.gw, "explain", "user@bogus-zone.test")
    assert explained["result"] != "ok"
    assert explained["lookups"][0]["state"] == "bogus"
    done = world.gw.call("tls-check", "bogus-zone.test", check=False)
    assert done.returncode == 3, "nobody knows"
    told = attempt(world.gw, "bogus-zone.test")
    assert told["stage"] == "dns"


@pytest.mark.parametrize("name, words", [
    ("enforce-wrong-name.test", "presented a certificate for other.test"),
    ("enforce-no-starttls.test", "does not offer STARTTLS"),
    ("unlisted-good.test", "does not list mx1.unlisted-good.test"),
    ("dane-wrong-good.test", "matches no TLSA record")])
def test_sender_is_told_the_same(world, name, words):
    """When time is over, the notice has the sentence of the last attempt."""
    gateway = next((g for g in world.gateways if g.folder.name == "hasty"), None)
    gateway = gateway or world.gateway(
        "hasty", extra="bounce_profiles: {default: {max_retries: 1, "
        "first_retry: 1s, max_retry: 1s}}\n")
    send(gateway, name)

    def find():
        return next((email.message_from_string(t.content)
                     for t in world.back.transactions
                     if f"user@{name}" in t.content), None)

    notice = rig.wait_for(find, 20, f"a notice about {name}")
    text = " ".join(notice.get_payload(0).get_payload().split())
    assert words in text, text
    sentence = asked(world.gw, "tls-check", name)[0]["checks"][0]["failure"]["text"]
    assert plain(sentence) in plain(text)
    fields = notice.get_payload(1).get_payload(1)
    assert fields["Action"] == "failed"
    assert fields["Remote-MTA"] or name.startswith("unlisted")


def test_texts(world):
    text = world.gw.call("explain", "user@enforce-wrong-name.test").stdout
    for words in ("MTA-STS: enforce, id id1, ", "mx1.enforce-wrong-name.test",
                  "the server does not offer STARTTLS"):
        assert words in text
    text = world.gw.call("tls-check", "enforce-wrong-name.test",
                         check=False).stdout
    assert "presented a certificate for other.test" in text
    text = world.gw.call("route", "half.test").stdout
    assert "secure" in text and "mx2.half.test" in text
    rig.wait_for(lambda: "enforce-good.test" in
                 world.gw.call("sts", "list").stdout, 5, "the cache")
