"""`waxgate dane DOMAIN`: the records of every server, the way to them, and
whether what the servers show matches; and the offline `dane verify`."""
import json
import subprocess

import pytest

import rig
import world as worlds

pytestmark = pytest.mark.skipif(not worlds.can_bind_low_ports(),
                                reason="port 25 can only be bound by root")
ZERO = "00" * 32


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = worlds.World(tmp_path_factory.mktemp("world"))
    try:
        describe(world)
        world.start()
        world.gw = world.gateway(dns={"timeout": "3s"})
        yield world
    finally:
        world.stop()


def describe(world):
    good = world.domain("good", signed=True)
    good.mx("mx1", tlsa=["3 1 1", "3 0 1 " + ZERO, "1 1 1", "3 1 1 " + ZERO])
    good.mx("mx2", preference=20, tlsa="2 0 1")
    half = world.domain("half", signed=True)
    half.mx("mx1", tlsa="3 1 1")
    half.mx("mx2", preference=20, tlsa="3 1 1 " + ZERO)
    world.domain("absent", signed=True).mx("mx1")
    world.domain("unusable", signed=True).mx("mx1", tlsa=["0 0 1", "3 1 1 00"])
    plain = world.domain("plain")
    plain.mx("mx1", tlsa="3 1 1")
    world.domain("late", signed=True).mx("mx1", tlsa="3 1 1")
    world.domain("silent", signed=True).mx("mx1", "no-starttls", tlsa="3 1 1")
    changed = world.domain("changed", signed=True)
    changed.mx("mx1", tlsa="3 1 1 " + "ab" * 32)
    changed.zone.tamper.append(("ab" * 32, "cd" * 32))
    # the domain is its own server, without an MX record
    own = world.domain("own", signed=True)
    own.server("own.test", label="@")
    own.zone.add("_25._tcp", "TLSA", own.host.issued.tlsa("3 1 1"))
    null = world.domain("null", signed=True)
    null.zone.add("@", "MX", "0 .")

    # servers that are aliases; their MX records are signed
    names = world.domain("names", signed=True)
    target = names.server("real.names.test", tlsa="3 1 1")
    names.zone.add("inside", "CNAME", "real")
    names.zone.add("outside", "CNAME", "mx1.plain.test.")
    names.zone.add("_25._tcp.outside", "TLSA",
                   plain.host.issued.tlsa("3 1 1"))
    names.zone.add("both", "CNAME", "bare")
    names.zone.add("bare", "A", target.host)
    names.zone.add("_25._tcp.both", "TLSA", target.issued.tlsa("3 1 1"))
    names.zone.add("tlsalias", "A", target.host)
    names.zone.add("_25._tcp.tlsalias", "CNAME", "_25._tcp.real")
    names.zone.add("tlsout", "A", target.host)
    names.zone.add("_25._tcp.tlsout", "CNAME", "_25._tcp.mx1.plain.test.")
    names.zone.add("toward", "CNAME", "mx1.plain.test.")
    names.zone.add("six", "AAAA", "::1")
    names.zone.add("_25._tcp.six", "TLSA", "3 1 1 " + ZERO)
    plain.zone.add("intosigned", "CNAME", "real.names.test.")
    for name in ("inside", "outside", "both", "tlsalias", "tlsout", "toward",
                 "six"):
        world.domain("by" + name, signed=True).zone.add(
            "@", "MX", f"10 {name}.names.test.")
    world.domain("byplain", signed=True).zone.add(
        "@", "MX", "10 intosigned.plain.test.")
    world.domain("unsignedmx").zone.add("@", "MX", "10 mx1.good.test.")
    # a name by which DANE-TA certificates may go too
    hop = world.domain("hop", signed=True)
    hop.mx("mx1", names=["hop.test"], tlsa="2 0 1")
    loose = world.domain("loose")
    loose.server("other.good.test", names=["loose.test"])
    good.zone.add("loose", "A", loose.host.host)
    good.zone.add("_25._tcp.loose", "TLSA", loose.host.issued.tlsa("2 0 1"))
    loose.zone.add("@", "MX", "10 loose.good.test.")


def show(world, domain, gateway=None):
    done = (gateway or world.gw).call("dane", "--json", domain, check=False)
    assert done.stdout, done.stderr
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if answer["protected"] else 1)
    return answer


def matched(host):
    return [server["matched"] for server in host["servers"]]


@pytest.mark.parametrize("domain, state, base, protected, matches", [
    ("good", "usable", "mx1.good.test", True, [True]),
    ("half", "usable", "mx1.half.test", False, [True]),
    ("absent", "absent", "mx1.absent.test", False, []),
    ("unusable", "unusable", "mx1.unusable.test", False, []),
    ("plain", "insecure", None, False, []),
    ("silent", "usable", "mx1.silent.test", False, [False]),
    ("changed", "failed", "mx1.changed.test", False, []),
    ("own", "usable", "own.test", True, [True]),
    # RFC 7672 section 2.2.2: the expanded name first, then the name itself
    ("byinside", "usable", "real.names.test", True, [True]),
    ("byboth", "usable", "both.names.test", True, [True]),
    # a signed alias into an unsigned zone: the name itself alone
    ("byoutside", "usable", "outside.names.test", True, [True]),
    ("bytoward", "absent", "toward.names.test", False, []),
    # an alias that is not signed
    ("byplain", "insecure", None, False, []),
    ("bytlsalias", "usable", "tlsalias.names.test", True, [True]),
    ("bytlsout", "insecure", "tlsout.names.test", False, []),
    ("unsignedmx", "usable", "mx1.good.test", True, [True]),
    ("hop", "usable", "mx1.hop.test", True, [True]),
    # that name counts only where the MX record is signed
    ("loose", "usable", "loose.good.test", False, [False])])
def test_states(world, domain, state, base, protected, matches):
    answer = show(world, f"{domain}.test")
    host = answer["dane_hosts"][0]
    assert host["dane"]["state"] == state, host
    assert host["dane"].get("base") == base
    assert answer["protected"] == protected, answer
    assert matched(host) == matches, host
    if state in ("failed", "insecure", "unusable"):
        assert host["dane"]["reason"]


def test_records(world):
    first, second = show(world, "good.test")["dane_hosts"]
    assert first["dane"]["mx_secure"] is True
    assert [r["usable"] for r in first["dane"]["records"]] == [
        r["tlsa"][0] != "1" for r in first["dane"]["records"]]
    server = first["servers"][0]
    texts = [first["dane"]["records"][i]["tlsa"] for i in server["matches"]]
    assert len(texts) == 1 and texts[0].startswith("3 1 1")
    assert ZERO not in texts[0]
    assert (server["match"]["usage"], server["match"]["depth"]) == (3, 0)
    match = second["servers"][0]["match"]
    assert (match["usage"], match["depth"]) == (2, 1)
    assert match["name"] == "mx2.good.test"
    assert show(world, "unsignedmx.test")["dane_hosts"][0]["dane"][
        "mx_secure"] is False
    wrong = show(world, "half.test")["dane_hosts"][1]["servers"][0]
    assert wrong["matches"] == [] and "no TLSA record" in wrong["reason"]


def test_text(world):
    told = world.gw.call("dane", "good.test").stdout
    assert "DANE protects every server" in told
    assert "matches now" in told and "does not match now" in told
    assert "unusable: usage PKIX-EE(1)" in told
    told = world.gw.call("dane", "plain.test", check=False).stdout
    assert "addresses are not signed" in told
    assert "null MX" in world.gw.call("dane", "null.test", check=False).stdout
    assert world.gw.call("dane", "a b", check=False).returncode == 1


def test_nothing_is_delivered(world):
    host = world.domains["good"].hosts[0]
    host.forget()
    show(world, "good.test")
    rig.wait_for(lambda: host.sessions and host.sessions[-1].over, 10, "QUIT")
    assert not host.transactions and not host.in_clear
    assert "mx1.good.test" in host.sni


def test_failing_look_ups(world):
    door = world.names.door
    for how in ("servfail", "drop"):
        gateway = world.gateway("gw-" + how, dns={"timeout": "2s"})
        try:
            with door.fault("_25._tcp.mx1.late.test", "TLSA", how):
                dane = show(world, "late.test", gateway)["dane_hosts"][0]["dane"]
            assert dane["state"] == "failed"
            assert ("SERVFAIL" if how == "servfail" else "timed out") in dane[
                "reason"]
        finally:
            gateway.stop()
    # name servers of unsigned zones are not asked for such records
    assert door.count("_25._tcp.mx1.plain.test", "TLSA") == 1 # by tlsout


def test_without_validation(world):
    gateway = world.gateway("gw-blind", dns={"trust_anchors": []})
    try:
        dane = show(world, "good.test", gateway)["dane_hosts"][0]["dane"]
        assert dane["state"] == "insecure"
        status = json.loads(gateway.call("status", "--json").stdout)
        assert status["dns"]["dane"]["lookups"]["insecure"] >= 1
    finally:
        gateway.stop()


def verify(chain, *args):
    done = subprocess.run([rig.WAXGATE, "dane", "verify", "--json", "--chain",
                           str(chain), *args], capture_output=True, text=True,
                          timeout=60)
    return done.returncode, json.loads(done.stdout)


def test_verify(tmp_path):
    root = worlds.Authority(tmp_path, "root")
    issued = root.issue("mx.test")
    old = root.issue("mx.test", days=-1)
    name = ("--name", "mx.test")
    for kind in ("3 1 1", "3 0 2", "2 0 1", "2 1 1", "2 0 0", "2 1 0"):
        status, told = verify(issued.chain, "--tlsa", issued.tlsa(kind), *name)
        assert status == 0 and told["verdict"] == "match", told
        assert told["match"]["usage"] == int(kind[0])
    assert verify(old.chain, "--tlsa", old.tlsa("3 1 1"), *name)[0] == 0
    status, told = verify(old.chain, "--tlsa", old.tlsa("2 1 1"), *name)
    assert status == 1 and "expired" in told["reason"]
    status, told = verify(old.chain, "--tlsa", old.tlsa("2 1 1"), "--time",
                          "2020-01-01T00:00:00Z", *name)
    assert status == 1 and "not yet valid" in told["reason"]
    status, told = verify(issued.chain, "--tlsa", issued.tlsa("2 1 1"),
                          "--name", "a.test", "--name", "mx.test")
    assert status == 0 and told["match"]["name"] == "mx.test"
    status, told = verify(issued.chain, "--tlsa", "1 1 1 " + ZERO, *name)
    assert status == 1 and told["verdict"] == "unusable"
    done = subprocess.run([rig.WAXGATE, "dane", "verify", "--chain",
                           issued.chain, "--tlsa", "3 1 1 xyz", *name],
                          capture_output=True, timeout=60)
    assert done.returncode == 2
