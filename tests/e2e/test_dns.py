"""Routing by the DNS: a real name server, MX hosts that are real listeners on
port 25 of addresses of their own."""
import email
import json

import pytest

import rig


class World:
    """One gateway that routes by MX, its resolver, and the servers."""

    def __init__(self, folder, cleanup):
        self.a = cleanup(rig.ScriptedServer(lambda p: p.serve(), port=25))
        self.b = cleanup(rig.ScriptedServer(lambda p: p.serve(), port=25))
        self.busy = cleanup(rig.ScriptedServer(
            lambda p: p.serve({"greeting": "421 4.3.2 come again"}), port=25))
        self.never = cleanup(rig.ScriptedServer(
            lambda p: p.serve({"greeting": "554 5.3.2 no mail here"}), port=25))
        self.senders = cleanup(rig.ScriptedServer(lambda p: p.serve()))
        self.dual4 = cleanup(rig.ScriptedServer(lambda p: p.serve(), port=0))
        self.dual_port = self.dual4.server.server_address[1]
        self.dual6 = cleanup(rig.ScriptedServer(
            lambda p: p.serve(), host="::1", port=self.dual_port))
        self.dead = rig.loopback()
        self.gateway = cleanup(rig.Gateway(folder / "gw", port=25))
        self.resolver = cleanup(rig.Resolver(
            folder / "dns", self.data(), broken=["broken.test", "b.halfbroken.test"]))
        host, port = self.senders.address
        hop = f"host: dual.test, port: {self.dual_port}"
        self.gateway.configure(resolver=self.resolver.address, routes=(
            "routes:\n  default: mx\n"
            f"  sender.test: [{{host: {host}, port: {port}}}]\n"
            f"  v6first.test: [{{{hop}}}]\n"
            f"  v4first.test: [{{{hop}}}]\n"
            f"  v4only.test: [{{{hop}}}]\n"
            "  listed.test: [{host: prefer.test, mx: on}]\n"
            "  misspelt.test: [{host: no-such-host.test}]\n"),
            extra="destinations:\n  v6first.test: {ip_preference: prefer-v6}\n"
            "  v4first.test: {ip_preference: prefer-v4}\n"
            "  v4only.test: {ip_preference: require-v4}\n").start()

    def data(self):
        hosts = {"a": self.a.host, "b": self.b.host, "busy": self.busy.host,
                 "never": self.never.host, "dead": self.dead,
                 "us": self.gateway.host, "plain": self.a.host,
                 "dual": self.dual4.host}
        lines = [f"{name}.test. A {ip}" for name, ip in hosts.items()]
        lines += ["dual.test. AAAA ::1", "gw.test. A 192.0.2.1",
                  "alias.test. CNAME prefer.test.",
                  "mxalias.test. MX 10 also-a.test.",
                  "also-a.test. CNAME a.test.",
                  "text.test. TXT \"nothing else\""]
        for domain, mx in {
                "prefer": "20 b, 10 a", "failover": "10 dead, 20 b",
                "greeting": "10 busy, 20 b", "refusing": "10 never, 20 b",
                "allrefuse": "10 never", "allbusy": "10 busy",
                "null": "0 .", "loop": "10 us, 20 b", "byname": "10 gw",
                "secondary": "10 a, 20 us, 30 b",
                "secondary-down": "10 dead, 20 us, 30 b",
                "nohost": "10 no-such-host", "somehost":
                "10 no-such-host, 20 b", "halfbroken":
                "10 x.b.halfbroken, 20 b"}.items():
            for one in mx.split(", "):
                preference, host = one.split()
                target = "." if host == "." else f"{host}.test."
                lines.append(f"{domain}.test. MX {preference} {target}")
        for n in range(16):
            lines += [f"eq{n}.test. MX 10 a.test.", f"eq{n}.test. MX 10 b.test."]
        return lines

    def send(self, domain):
        client = self.gateway.smtp()
        client.reply()
        client.command("EHLO client.test")
        assert client.message(recipients=[f"user@{domain}"])[0] == 250
        client.close()

    def queued(self, domain):
        return json.loads(self.gateway.call(
            "queue", "list", "--json", "--recipient", f"@{domain}").stdout)

    def got(self, server, domain):
        return [t for t in server.transactions if f"@{domain}>" in t.rcpts[0]]

    def bounce(self, domain):
        """The delivery status fields of the report about this domain."""
        def find():
            for t in self.senders.transactions:
                if f"user@{domain}" in t.content:
                    report = email.message_from_string(t.content)
                    return report.get_payload(1).get_payload(1)
            return None
        return rig.wait_for(find, 15, f"a bounce of {domain}")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    things = []

    def cleanup(thing):
        things.append(thing)
        return thing

    try:
        yield World(tmp_path_factory.mktemp("dns"), cleanup)
    finally:
        for thing in reversed(things):
            thing.stop()


@pytest.mark.parametrize("domain, server", [
    ("prefer.test", "a"), ("failover.test", "b"), ("greeting.test", "b"),
    ("refusing.test", "b"), ("plain.test", "a"), ("alias.test", "a"),
    ("mxalias.test", "a"), ("secondary.test", "a"), ("somehost.test", "b"),
    ("halfbroken.test", "b"), ("listed.test", "a"), ("v6first.test", "dual6"),
    ("v4first.test", "dual4"), ("v4only.test", "dual4")])
def test_mail_goes_to(world, domain, server):
    world.send(domain)
    rig.wait_for(lambda: world.got(getattr(world, server), domain), 15,
                 f"mail to {domain}")
    rig.wait_for(lambda: not world.queued(domain), 10, "its end")
    for other in {"a", "b", "dual4", "dual6"} - {server}:
        assert not world.got(getattr(world, other), domain)


@pytest.mark.parametrize("domain, status, words", [
    ("null.test", "5.1.10", "null MX"),
    ("no-such-domain.test", "5.1.2", ""), ("text.test", "5.1.2", ""),
    ("nohost.test", "5.1.2", ""), ("loop.test", "5.4.6", ""),
    ("byname.test", "5.4.6", "")])
def test_mail_is_returned(world, domain, status, words):
    world.send(domain)
    fields = world.bounce(domain)
    assert fields["Action"] == "failed"
    assert fields["Status"] == status, fields.as_string()
    assert words in fields.as_string()
    rig.wait_for(lambda: not world.queued(domain), 10, "its end")


@pytest.mark.parametrize("domain, stage", [
    ("broken.test", "dns"), ("secondary-down.test", "connect"),
    ("allbusy.test", "greeting"), ("allrefuse.test", "greeting"),
    ("misspelt.test", "dns")])
def test_mail_waits(world, domain, stage):
    world.send(domain)

    def waiting():
        found = world.queued(domain)
        return found and found[0]["recipients"][0]["state"] == "waiting" and found

    found = rig.wait_for(waiting, 20, f"{domain} to wait")
    assert stage in json.dumps(found[0]["recipients"][0])
    shown = world.gateway.call("queue", "list", "--recipient", f"@{domain}").stdout
    assert stage in shown
    for server in (world.a, world.b):
        assert not world.got(server, domain)
    assert not [t for t in world.senders.transactions if domain in t.content]


def test_equal_preferences_share_the_mail(world):
    for n in range(16):
        world.send(f"eq{n}.test")
    rig.wait_for(lambda: sum(1 for n in range(16) for s in (world.a, world.b)
                             if world.got(s, f"eq{n}.test")) == 16, 15,
                 "16 messages")
    assert any(world.got(world.a, f"eq{n}.test") for n in range(16))
    assert any(world.got(world.b, f"eq{n}.test") for n in range(16))


def test_address_literal(world):
    world.send(f"[{world.b.host}]")
    rig.wait_for(lambda: world.got(world.b, f"[{world.b.host}]"), 15, "mail")


def test_loopback_mx_is_not_used_by_default(world):
    """What the DNS says must not make us talk to services of this machine."""
    config = world.gateway.config
    text = config.read_text()
    config.write_text(text.replace("allow_loopback_mx: on",
                                   "allow_loopback_mx: off"))
    try:
        world.gateway.call("reload")
        before = len(world.a.transactions)
        world.send("prefer.test")
        assert world.bounce("prefer.test")["Status"].startswith("5.1.")
        assert len(world.a.transactions) == before
    finally:
        config.write_text(text)
        world.gateway.call("reload")
