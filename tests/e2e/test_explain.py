"""route, explain and tls-check in the closed world: what they say is what
delivery does, and none of them delivers anything."""
import json
import socket
import subprocess

import pytest

import rig
import world as worlds

pytestmark = pytest.mark.skipif(not worlds.can_bind_low_ports(),
                                reason="port 25 can only be bound by root")

DESTINATIONS = """
strict.test: {tls: required-verify}
forced.test: {tls: required}
untrusted.test: {tls: required-verify}
old.test: {tls: required, tls_profile: modern}
"""
PROFILES = ("tls_profiles: {modern: {versions: [TLSv1.2, TLSv1.3], "
            "strength: high}}\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = worlds.World(tmp_path_factory.mktemp("world"))
    try:
        build(world)
        yield world.start()
    finally:
        world.stop()


def build(world):
    good = world.domain("good", signed=True)
    good.mx("mx1", tlsa="3 1 1")
    good.policy("enforce")
    two = world.domain("two")
    two.mx("mx1")
    two.mx("mx2", "wrong-name", preference=20)
    two.policy("enforce", ["*.{}"])
    unlisted = world.domain("unlisted")
    unlisted.mx("mx1")
    unlisted.policy("enforce", ["mail.{}"])
    testing = world.domain("testing")
    testing.mx("mx1", "wrong-name")
    testing.policy("testing")
    world.domain("plain").mx("mx1", "no-starttls")
    world.domain("forced").mx("mx1", "starttls-4xx")
    world.domain("mismatch", signed=True).mx("mx1", tlsa="3 1 1 " + "00" * 32)
    world.domain("unusable", signed=True).mx("mx1", tlsa="1 1 1 " + "00" * 32)
    world.domain("strict").mx("mx1", names=["strict.test"])
    world.domain("untrusted").mx("mx1", "untrusted")
    world.domain("expired").mx("mx1", "expired")
    world.domain("old").mx("mx1", "old-tls")
    alias = world.domain("alias", signed=True)
    alias.zone.add("@", "MX", "10 mx")
    alias.zone.add("mx", "CNAME", "mx1.good.test.")
    into = world.domain("into", signed=True)
    into.zone.add("@", "MX", "10 mx")
    into.zone.add("mx", "CNAME", "mx1.two.test.")
    world.domain("nomx", signed=True).server("nomx.test", label="@")
    world.domain("nullmx", signed=True).zone.add("@", "MX", "0 .")
    loop = world.domain("backup")
    loop.mx("mx1")
    loop.zone.add("@", "MX", "20 gw")
    loop.zone.add("gw", "CNAME", "gw.test.")
    loop.zone.add("@", "MX", "30 last")
    loop.zone.add("last", "A", rig.loopback())
    world.domain("slow").zone.add("@", "MX", "10 mx1")
    world.domain("lost").zone.add("@", "MX", "10 nowhere")


@pytest.fixture(scope="module")
def gateway(world):
    return world.gateway(
        destinations=DESTINATIONS,
        routes="  fixed.test: [{host: mx1.good.test, port: 25, priority: 5}]\n"
        "  byroute.test: [{host: good.test, port: 25, mx: on}]\n",
        extra=worlds.PATIENT + PROFILES)


def ask(gateway, command, address, *options, check=True):
    done = gateway.call(command, "--json", *options, address, check=check)
    answer = json.loads(done.stdout)
    answer["exit"] = done.returncode
    return answer


# --- route -------------------------------------------------------------------

@pytest.mark.parametrize("address, rule, result, servers", [
    ("good.test", "mx", "ok", ["mx1.good.test"]),
    ("anyone@Good.Test", "mx", "ok", ["mx1.good.test"]),
    ("good.test.", "mx", "ok", ["mx1.good.test"]),
    ("two.test", "mx", "ok", ["mx1.two.test", "mx2.two.test"]),
    ("alias.test", "mx", "ok", ["mx.alias.test"]),
    ("nomx.test", "mx", "ok", ["nomx.test"]),
    ("nullmx.test", "mx", "null-mx", []),
    ("lost.test", "mx", "no-server", []),
    ("nothing.test", "mx", "no-server", []),
    ("bogus.test", "mx", "temporary", []),
    ("user@fixed.test", "route", "ok", ["mx1.good.test"]),
    ("[127.0.0.77]", "literal", "ok", ["[127.0.0.77]"])])
def test_route(gateway, address, rule, result, servers):
    answer = ask(gateway, "route", address)
    assert (answer["rule"], answer["result"]) == (rule, result)
    assert [t["host"] for t in answer["targets"]] == servers


def test_route_shows_every_look_up(gateway):
    answer = ask(gateway, "route", "alias.test")
    states = {(x["name"], x["type"]): x["state"] for x in answer["lookups"]}
    assert states == {("alias.test", "MX"): "secure",
                      ("mx.alias.test", "A"): "secure",
                      ("mx.alias.test", "AAAA"): "absent"}
    aliases = answer["lookups"][1]["aliases"]
    assert aliases == [{"name": "mx.alias.test", "target": "mx1.good.test",
                        "state": "secure"}]
    text = gateway.call("route", "alias.test").stdout
    assert "CNAME" in text and "none (proven)" in text


def test_route_shows_an_alias_that_leaves_the_signed_world(gateway):
    answer = ask(gateway, "route", "into.test")
    lookup = answer["lookups"][1]
    assert lookup["state"] == "insecure"
    assert lookup["aliases"] == [{"name": "mx.into.test", "state": "secure",
                                  "target": "mx1.two.test"}]


def test_route_of_a_domain_without_mx_is_as_good_as_signed(gateway):
    target, = ask(gateway, "route", "nomx.test")["targets"]
    assert (target["mx_state"], target["address_state"]) == ("secure", "secure")
    lookup = ask(gateway, "route", "nomx.test")["lookups"][0]
    assert (lookup["state"], lookup["secure_denial"]) == ("absent", True)


def test_route_leaves_ourselves_out(gateway):
    """An alias of our own name, and every server that is no better."""
    answer = ask(gateway, "route", "backup.test")
    assert [t["host"] for t in answer["targets"]] == ["mx1.backup.test"]
    assert [s.get("removed") for s in answer["servers"]] == [
        None, "it is this server", "it is no better than this server"]
    assert "not tried: gw.backup.test" in gateway.call("route",
                                                       "backup.test").stdout


def test_route_wants_an_address(gateway):
    for wrong in ("", "a b", "user@", "[300.1.1.1]", "x" * 300):
        done = gateway.call("route", wrong, check=False)
        assert done.returncode == 1 and "neither a domain" in done.stderr


# --- explain -----------------------------------------------------------------

def test_explain_of_dane(gateway):
    answer = ask(gateway, "explain", "user@good.test")
    host, = answer["hosts"]
    record, = host["dane"]["records"]
    assert record["usable"] and host["dane"]["state"] == "usable"
    decision = host["decision"]
    assert (decision["authority"], decision["method"],
            decision["authentication"]) == ("dane", "dane", "required")
    assert {f["stage"]: f["consequence"] for f in host["failures"]} == {
        stage: "not-here" for stage in
        ("starttls-not-offered", "starttls-refused", "handshake", "dane")}
    assert answer["mta_sts"]["mode"] == "enforce"


def test_explain_of_mta_sts(gateway):
    answer = ask(gateway, "explain", "two.test")
    assert answer["mta_sts"]["mx"] == ["*.two.test"]
    assert answer["mta_sts"]["id"] == "id1"
    first, second = answer["hosts"]
    assert first["decision"]["authority"] == "mta-sts"
    assert first["decision"]["tls12"]
    assert first["next"] == "mx2.two.test" and "next" not in second
    text = gateway.call("explain", "two.test").stdout
    assert "not delivered here: mx2.two.test is tried" in text
    assert "it is returned to its sender after 3d00h" in text


def test_explain_of_an_unlisted_server(gateway):
    host, = ask(gateway, "explain", "unlisted.test")["hosts"]
    assert host["decision"]["refusal"]["stage"] == "sts-mx"
    assert "does not list mx1.unlisted.test" in \
        host["decision"]["refusal"]["text"]


def test_explain_of_unusable_records(gateway):
    host, = ask(gateway, "explain", "unusable.test")["hosts"]
    record, = host["dane"]["records"]
    assert not record["usable"] and record["problem"]
    assert host["decision"]["floor"] == "encrypted"
    assert {f["consequence"] for f in host["failures"]
            if f["stage"].startswith("certificate")} == {"encrypted"}


def test_explain_says_where_settings_come_from(gateway):
    answer = ask(gateway, "explain", "strict.test")
    values = {v["name"]: v for v in answer["control"]["values"]}
    assert values["tls"]["value"] == "required-verify"
    assert values["tls"]["from"].startswith("destinations.strict.test, line ")
    assert values["dane"]["from"] == "built in"
    assert values["authorities"]["from"].startswith("destinations.default, line")


def test_explain_of_a_route_to_a_domain(gateway):
    """Its TLSA records count; the entry of the settings that applies is no name
    of a server."""
    host, = ask(gateway, "explain", "byroute.test")["hosts"]
    assert host["decision"]["authority"] == "dane"
    assert host["decision"]["names"] == ["mx1.good.test"]


def test_explain_of_what_a_message_demands(gateway):
    plain, = ask(gateway, "explain", "plain.test", "--demand",
                 "requiretls")["hosts"]
    assert plain["decision"]["refusal"]["why"] == "mx-unproven"
    done = gateway.call("explain", "--demand", "nonsense", "plain.test",
                        check=False)
    assert done.returncode == 1 and "tls-verified" in done.stderr
    optional, = ask(gateway, "explain", "two.test", "--demand",
                    "tls-optional")["hosts"][:1]
    assert optional["decision"]["floor"] == "opportunistic"


def test_explain_connects_to_nobody(world, gateway):
    world.domains["good"].host.hang_up()
    ask(gateway, "explain", "good.test")
    assert world.domains["good"].host.sessions == []


# --- tls-check ---------------------------------------------------------------

# What the first server gives, and the last change that is proposed.
CHECKS = [
    ("good", 0, "verified", None, None),
    ("testing", 0, "encrypted", None, None),
    ("two", 1, "verified", None, None),
    ("plain", 1, "clear", "starttls-not-offered", None),
    ("expired", 0, "encrypted", None, None),
    ("unusable", 0, "verified", None, None),
    ("forced", 2, "not-here", "starttls-refused", "tls: preferred"),
    ("unlisted", 2, "not-here", "sts-mx", "mta_sts: off"),
    ("mismatch", 2, "not-here", "dane", "dane: no"),
    ("strict", 2, "not-here", "certificate-name", "tls: required-verify-hosted"),
    ("untrusted", 2, "not-here", "certificate-chain", "tls: required"),
    ("nullmx", 2, None, None, None),
    ("bogus", 3, None, None, None)]


@pytest.mark.parametrize("label, status, result, stage, change", CHECKS)
def test_check(gateway, label, status, result, stage, change):
    answer = ask(gateway, "tls-check", f"{label}.test", check=False)
    assert answer["exit"] == answer["status"] == status
    checks = sorted(answer["checks"], key=lambda c: c["preference"])
    if result is None:
        assert checks == []
        return
    assert checks[0]["result"] == result
    if status == 2:
        assert checks[0]["failure"]["stage"] == stage
        assert f"{label}.test" in checks[0]["failure"]["text"]
        assert checks[0]["advice"][-1]["change"] == \
            f'destinations: {{"{label}.test": {{{change}}}}}'


@pytest.mark.parametrize("label, status", [
    (label, status) for label, status, result, *_ in CHECKS if result])
def test_delivery_does_what_the_check_says(gateway, world, label, status):
    told = worlds.attempt(gateway, f"{label}.test")
    assert (told is None) == (status < 2)
    for host in world.domains[label].hosts:
        host.hang_up()


@pytest.mark.parametrize("label, change", [
    (label, change) for label, *_, change in CHECKS
    if change and label != "unlisted"])
def test_proposed_changes_help(world, gateway, label, change):
    """The change that is proposed, made: then mail would go."""
    changed = [line for line in DESTINATIONS.strip().splitlines()
               if not line.startswith(label)]
    other = world.gateway(
        f"changed-{label}", start=False, port=2600 + len(label),
        destinations="\n".join([*changed, f"{label}.test: {{{change}}}", ""]),
        extra=PROFILES)
    try:
        other.start()
        answer = ask(other, "tls-check", f"{label}.test", check=False)
        assert answer["status"] < 2
    finally:
        other.stop()


def test_check_finds_what_a_handshake_needs(world, gateway):
    """The server knows only old versions: trials find that out, and the change
    that is proposed helps."""
    host = world.domains["old"].host
    host.hang_up()
    answer = ask(gateway, "tls-check", "old.test", check=False)
    assert answer["exit"] == 2
    check, = answer["checks"]
    assert check["failure"]["stage"] == "version"
    first = check["advice"][0]
    assert "TLSv1.0: on" in first["change"] and "works" in first["text"]
    assert host.transactions == []
    profile, destination = first["change"].split("; ")
    other = world.gateway("older", start=False, port=2700,
                          destinations="old.test: {tls_profile: older}\n",
                          extra=profile + "\n")
    assert destination == 'destinations: {"old.test": {tls_profile: older}}'
    try:
        other.start()
        assert ask(other, "tls-check", "old.test")["status"] == 0
    finally:
        other.stop()


def test_check_tells_everything_of_tls(world, gateway):
    check, = ask(gateway, "tls-check", "good.test")["checks"]
    assert [s["step"] for s in check["steps"]] == [
        "connecting", "greeting", "ehlo", "starttls", "handshake", "ehlo"]
    assert check["tls"]["version"] == "TLSv1.3"
    leaf, authority = check["chain"]
    assert leaf["names"] == ["DNS:mx1.good.test"]
    assert authority["self_signed"] and authority["ca"]
    assert check["verdicts"]["dane"] == "ok"
    issued = world.domains["good"].host.issued
    assert leaf["spki_sha256"] == issued.tlsa("3 1 1").split()[-1]
    text = gateway.call("tls-check", "good.test").stdout
    assert leaf["sha256"] in text and "verified server" in text


def test_check_of_a_port(gateway):
    answer = ask(gateway, "tls-check", "plain.test:2599", check=False)
    assert answer["exit"] == 3
    check, = answer["checks"]
    assert check["port"] == 2599 and check["result"] == "unreached"


def test_check_of_requiretls(world, gateway):
    answer = ask(gateway, "tls-check", "good.test", "--demand", "requiretls",
                 check=False)
    assert answer["exit"] == 2
    assert "REQUIRETLS" in answer["checks"][0]["failure"]["text"]
    good = ask(gateway, "tls-check", "sender.test", "--demand", "requiretls",
               check=False)
    assert good["exit"] == 0


def test_check_delivers_nothing(world, gateway):
    host = world.domains["good"].host
    host.hang_up()
    ask(gateway, "tls-check", "good.test")
    assert host.transactions == [] and len(host.sessions) == 1


def test_check_whose_caller_goes_away(world, gateway):
    """A server that never answers: the check ends with its caller."""
    slow = world.domains["slow"]
    with Silent() as server:
        slow.zone.add("mx1", "A", server.host)
        slow.publish()
        child = subprocess.Popen(
            [rig.WAXGATE, "--config", str(gateway.config), "tls-check",
             "slow.test"], stdout=subprocess.PIPE)
        rig.wait_for(lambda: server.connected, 10, "the connection")
        child.kill()
        child.wait()
        rig.wait_for(server.closed, 10, "the end of the connection")


def test_check_when_the_gateway_stops(world):
    """What is under way is broken off, and the caller is told so."""
    slow = world.domains["slow"]
    other = world.gateway("stops", port=2710)
    with Silent() as server:
        slow.zone.remove("mx1", "A")
        slow.zone.add("mx1", "A", server.host)
        slow.publish()
        child = subprocess.Popen(
            [rig.WAXGATE, "--config", str(other.config), "tls-check",
             "slow.test"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        rig.wait_for(lambda: server.connected, 10, "the connection")
        assert other.stop() == 0
        child.communicate(timeout=20)
        assert child.returncode == 3
    assert "Sanitizer" not in (other.folder / "output.log").read_text()


class Silent:
    """Takes one connection on port 25 and says nothing."""

    def __init__(self):
        self.host = rig.loopback()
        self.listener = socket.create_server((self.host, 25))
        self.listener.setblocking(False)
        self.connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        if self.connection:
            self.connection.close()

    @property
    def connected(self):
        if self.connection is None:
            try:
                self.connection, _ = self.listener.accept()
                self.connection.setblocking(False)
            except BlockingIOError:
                pass
        return self.connection is not None

    def closed(self):
        try:
            return self.connection.recv(10) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
