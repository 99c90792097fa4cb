"""What the gateway's resolver sees of real zones, signed and not, and what it
says when validation does not work."""
import json
import time

import pytest

import rig
import world as worlds

pytestmark = pytest.mark.skipif(not worlds.can_bind_low_ports(),
                                reason="port 25 can only be bound by root")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = worlds.World(tmp_path_factory.mktemp("world"))
    try:
        signed = world.names.zone("signed.test", "signed")
        plain = world.names.zone("plain.test", "unsigned")
        expired = world.names.zone("expired.test", "expired")
        for zone in (signed, plain, expired, world.bogus):
            zone.add("a", "A", "192.0.2.1")
            zone.add("@", "MX", "10 a")
        signed.add("inside", "CNAME", "a")
        signed.add("outside", "CNAME", "a.plain.test.")
        signed.add("twice", "CNAME", "outside")
        signed.add("nowhere", "CNAME", "gone.plain.test.")
        signed.add("tobogus", "CNAME", "a.bogus.test.")
        signed.add("round", "CNAME", "trip")
        signed.add("trip", "CNAME", "round")
        for i in range(20):
            signed.add(f"long{i}", "CNAME", f"long{i + 1}")
        signed.add("long20", "A", "192.0.2.1")
        for i in range(1, 5): # names that exist: denial is remembered
            signed.add(f"fault{i}", "A", "192.0.2.1")
        signed.add("txt", "TXT", '"one " "two\\"" "\\200"')
        signed.add("_25._tcp.a", "TLSA", "3 1 1 " + "ab" * 32)
        signed.add("changed", "TXT", '"before"')
        signed.tamper.append(('"before"', '"after"'))
        plain.add("back", "CNAME", "a.signed.test.")
        world.gw = None
        world.start()
        world.gw = world.gateway(dns={"timeout": "3s"})
        yield world
    finally:
        world.stop()


def look(world, name, kind, gateway=None):
    done = (gateway or world.gw).call("dns", "--json", name, kind, check=False)
    return done.returncode, json.loads(done.stdout)


A = "a.signed.test"


@pytest.mark.parametrize("name, kind, state, more", [
    (A, "A", "secure", {"records": ["192.0.2.1"]}),
    ("A.Signed.Test.", "a", "secure", {"name": A, "type": "A"}),
    ("signed.test", "MX", "secure", {"records": ["10 " + A]}),
    ("_25._tcp." + A, "TLSA", "secure", {"records": ["3 1 1 " + "ab" * 32]}),
    ("txt.signed.test", "TXT", "secure",
     {"records": ['"one " "two\\"" "\\200"']}),
    ("signed.test", "NS", "secure", {"records": ["ns.test"]}),
    (A, "AAAA", "absent", {"secure_denial": True, "nxdomain": False}),
    ("gone.signed.test", "A", "absent",
     {"secure_denial": True, "nxdomain": True}),
    ("a.plain.test", "A", "insecure", {"records": ["192.0.2.1"]}),
    ("a.plain.test", "AAAA", "absent", {"secure_denial": False}),
    ("a.expired.test", "A", "bogus", {"records": []}),
    ("a.bogus.test", "A", "bogus", {"records": []}),
    ("changed.signed.test", "TXT", "bogus", {"records": []}),
    ("inside.signed.test", "A", "secure", {"canonical": A, "aliases": [
        {"name": "inside.signed.test", "target": A, "state": "secure"}]}),
    ("outside.signed.test", "A", "insecure", {
        "canonical": "a.plain.test", "aliases": [
            {"name": "outside.signed.test", "target": "a.plain.test",
             "state": "secure"}]}),
    ("twice.signed.test", "A", "insecure", {"aliases": [
        {"name": "twice.signed.test", "target": "outside.signed.test",
         "state": "secure"},
        {"name": "outside.signed.test", "target": "a.plain.test",
         "state": "secure"}]}),
    ("back.plain.test", "A", "insecure", {"aliases": [
        {"name": "back.plain.test", "target": A, "state": "insecure"}]}),
    ("nowhere.signed.test", "A", "absent", {"secure_denial": False, "aliases": [
        {"name": "nowhere.signed.test", "target": "gone.plain.test",
         "state": "secure"}]}),
    ("tobogus.signed.test", "A", "bogus", {}),
    ("round.signed.test", "A", "error", {}),
    ("long9.signed.test", "A", "error", {}),
    ("long15.signed.test", "A", "secure", {"records": ["192.0.2.1"]})])
def test_states(world, name, kind, state, more):
    status, answer = look(world, name, kind)
    assert answer["state"] == state, answer
    assert status == (1 if state in ("bogus", "error") else 0)
    assert {key: answer.get(key) for key in more} == more
    if state in ("bogus", "error"):
        assert answer["reason"]


def test_faults(world):
    door = world.names.door
    with door.fault("fault1.signed.test", "A", "servfail"):
        answer = look(world, "fault1.signed.test", "A")[1]
        assert (answer["state"], answer["reason"]) == ("error", "SERVFAIL")
    with door.fault("fault2.signed.test", "A", "drop"):
        answer = look(world, "fault2.signed.test", "A")[1]
        assert (answer["state"], answer["reason"]) == ("error", "timed out")
    with door.fault("fault3.signed.test", "A", "192.0.2.66"):
        assert look(world, "fault3.signed.test", "A")[1]["state"] == "bogus"
    with door.fault("fault4.signed.test", "A", "none"):
        assert look(world, "fault4.signed.test", "A")[1]["state"] == "bogus"


def test_text(world):
    told = world.gw.call("dns", "outside.signed.test", "A").stdout
    assert "outside.signed.test A: insecure" in told
    assert "outside.signed.test -> a.plain.test, secure" in told
    assert "192.0.2.1" in told
    for wrong in (("signed.test", "HINFO"), ("", "A"), ("a b", "A")):
        assert world.gw.call("dns", *wrong, check=False).returncode == 1


def validation(gateway, want):
    def get():
        status = json.loads(gateway.call("status", "--json").stdout)
        return status["dns"].get("validation_test", {}).get("state") == want
    rig.wait_for(get, 20, f"validation {want}")
    status = json.loads(gateway.call("status", "--json").stdout)
    alerts = [a for a in status["alerts"] if a["key"] == "dns.validation"]
    assert len(alerts) == (want in ("missing", "fails", "broken"))
    return status["dns"]


def test_validation_works(world):
    dns = validation(world.gw, "works")
    assert dns["answers"]["SOA"]["secure"] >= 1
    assert dns["lookups"] >= 2 and dns["within_1ms"] >= 0
    assert "DNSSEC validation works" in dns["validation_test"]["text"]
    assert "validation=\"works\"" in world.gw.call("status").stdout


@pytest.mark.parametrize("dns, state, words", [
    ({"trust_anchors": []}, "missing", "trust anchor"),
    ({"test_signed": "", "test_bogus": "plain.test"}, "missing", ""),
    ({"test_signed": "expired.test"}, "fails", "clock"),
    ({"test_bogus": "signed.test"}, "broken", "signature should be wrong"),
    ({"test_bogus": "plain.test"}, "broken", "signature should be wrong"),
    ({"test_signed": "", "test_bogus": ""}, "off", "not tested"),
    # no Internet: nothing answers
    ({"stub_zones": {}, "resolvers": ["127.0.0.1@1"], "timeout": "1s"},
     "untested", "could not be tested")])
def test_validation(world, dns, state, words):
    begun = time.monotonic()
    gateway = world.gateway(f"gw-{state}{len(str(dns))}", dns=dns)
    try:
        assert time.monotonic() - begun < 10 # it waits for no test
        said = validation(gateway, state)
        assert words in said["validation_test"]["text"]
        if state == "broken": # DANE goes on
            assert look(world, A, "A", gateway)[1]["state"] == "secure"
            absent = look(world, A, "AAAA", gateway)[1]
            assert absent["secure_denial"] is True
    finally:
        gateway.stop()


def test_reload_tests_again(world):
    gateway = world.gateway("gw-reload", dns={"test_bogus": "signed.test"})
    try:
        validation(gateway, "broken")
        text = gateway.config.read_text()
        gateway.config.write_text(text.replace(
            'test_bogus: "signed.test"', 'test_bogus: "bogus.test"'))
        gateway.call("reload")
        validation(gateway, "works")
        assert look(world, A, "A", gateway)[1]["state"] == "secure"
    finally:
        gateway.stop()
