"""Every set of TLS versions, at every strength, on both sides, against the
programs `openssl s_client` and `openssl s_server`; and what testssl.sh finds."""
import concurrent.futures
import contextlib
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import threading

import pytest

import rig

VERSIONS = ["TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
FLAGS = dict(zip(VERSIONS, ["-tls1", "-tls1_1", "-tls1_2", "-tls1_3"]))
STRENGTHS = ["high", "medium", "low"]
SETS = [s for n in range(1, 5) for s in itertools.combinations(VERSIONS, n)]
CELLS = [(versions, strength) for versions in SETS for strength in STRENGTHS]
# A suite of TLS 1.2 that this strength is the strongest to do without.
WEAK = {"AES128-SHA": "medium", "CAMELLIA256-SHA": "low"}
# The peer refuses nothing: neither an old version nor a weak suite.
ANYTHING = "ALL:@SECLEVEL=0"
# The machine's own policy must not decide what the peers can do.
PLAIN = {**os.environ, "OPENSSL_CONF": "/dev/null"}


def name_of(versions, strength):
    return strength + "".join(v[-1] for v in versions)


PROFILES = "tls_profiles:\n" + "".join(
    f"  {name_of(v, s)}: {{versions: [{', '.join(v)}], strength: {s}}}\n"
    for v, s in CELLS)


def suite_fits(suite, strength):
    return STRENGTHS.index(strength) >= STRENGTHS.index(WEAK[suite])


# Every kind of peer: its options, and what becomes of it.
def peers():
    for version in VERSIONS:
        yield version, [FLAGS[version], "-cipher", ANYTHING]
    yield "any", ["-cipher", ANYTHING]
    for suite in WEAK:
        yield suite, ["-tls1_2", "-cipher", suite + ":@SECLEVEL=0"]


PEERS = dict(peers())
CASES = [(cell, peer) for cell in CELLS for peer in PEERS]


def expected(peer, versions, strength):
    """The version that is agreed on, or None."""
    if peer in WEAK:
        fits = "TLSv1.2" in versions and suite_fits(peer, strength)
        return "TLSv1.2" if fits else None
    if peer == "any":
        return versions[-1]
    return peer if peer in versions else None


def wrong_ones(cases, found):
    return [(name_of(*cell), peer, "got", got)
            for (cell, peer), got in zip(cases, found)
            if got != expected(peer, *cell)]


def plain_name(version):
    return "TLSv1.0" if version == "TLSv1" else version


def s_client(address, options):
    """The version that `openssl s_client` agreed on, or None."""
    done = subprocess.run(
        ["openssl", "s_client", "-starttls", "smtp", "-connect",
         "%s:%d" % address, *options], input="QUIT\r\n", env=PLAIN,
        capture_output=True, text=True, timeout=60)
    found = re.search(r"^New, (\S+), Cipher is (\S+)", done.stdout, re.M)
    if done.returncode != 0 or not found or found[2] == "(NONE)":
        return None
    version = re.search(r"^ *Protocol *: (\S+)", done.stdout, re.M)
    return plain_name(version[1] if version else found[1])


def listen(gateway, profiles, hosts):
    """Starts it with one more listener for each profile."""
    gateway.configure(extra=profiles)
    listeners = "".join(
        f"  {name}: {{type: private, address: \"{host}:2525\", "
        f"certificates: [mx], relay_for: [127.0.0.0/8], tls_profile: {name}}}\n"
        for name, host in hosts.items())
    text = gateway.config.read_text()
    gateway.config.write_text(
        text.replace("listeners:\n", "listeners:\n" + listeners))
    gateway.start()


def test_receiving(tmp_path, cleanup):
    """45 listeners, each asked by every kind of client."""
    gateway = cleanup(rig.Gateway(tmp_path / "gw"))
    hosts = {cell: rig.loopback() for cell in CELLS}
    listen(gateway, PROFILES, {name_of(*c): host for c, host in hosts.items()})
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        found = list(pool.map(
            lambda case: s_client((hosts[case[0]], 2525), PEERS[case[1]]),
            CASES))
    assert not wrong_ones(CASES, found)


class Pipe:
    """The clear side of an `openssl s_server` that has the connection."""

    def __init__(self, process, carried):
        self.process, self.carried = process, carried

    def recv(self, size):
        return os.read(self.process.stdout.fileno(), size)

    def sendall(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        for connection in self.carried:
            connection.close()


def carry(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def connected(address):
    with contextlib.suppress(ConnectionRefusedError):
        return socket.create_connection(address)
    return None


class ServerTls:
    """In the place of an ssl.SSLContext: an `openssl s_server` for each
    connection."""

    def __init__(self, folder, options):
        folder.mkdir()
        self.host, self.options = rig.loopback(), options
        self.cert, self.key = rig.make_certificate(folder, "mx.dest.test")
        self.port = itertools.count(3000)

    def wrap_socket(self, connection, server_side):
        assert server_side
        address = self.host, next(self.port)
        process = subprocess.Popen(
            ["openssl", "s_server", "-quiet", "-accept", "%s:%d" % address,
             "-naccept", "1", "-cert", self.cert, "-key", self.key,
             *self.options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=PLAIN,
            stderr=subprocess.DEVNULL)
        inner = rig.wait_for(lambda: connected(address), 20, "s_server", 0.005)
        for pair in ((connection, inner), (inner, connection)):
            threading.Thread(target=carry, args=pair, daemon=True).start()
        return Pipe(process, (connection, inner))


def domain_of(cell, peer):
    return f"{name_of(*cell)}.{peer.lower().replace('.', '')}.test"


def outcome_of(gateway):
    """By destination: the version, or None where TLS failed."""
    found = {}
    for event in gateway.events():
        if event["event"] == "delivery.tls" and event["result"] == "ok":
            found[event["destination"].split("/")[1]] = \
                plain_name(event["version"])
        elif event["event"] == "delivery.failed":
            assert event["stage"] in ("version", "cipher", "handshake"), event
            found[event["destination"].split("/")[1]] = None
    return found


def test_sending(tmp_path, cleanup):
    """315 destinations: each profile to every kind of server."""
    slots = threading.BoundedSemaphore(8)

    def serve(peer, tls):
        with slots:
            peer.serve(tls=tls, extensions=())

    servers = {}
    for peer, options in PEERS.items():
        tls = ServerTls(tmp_path / peer, options)
        servers[peer] = cleanup(rig.ScriptedServer(
            lambda p, tls=tls: serve(p, tls)))
    domains = [domain_of(*case) for case in CASES]
    routes = "routes:\n" + "".join(
        "  %s: [{host: %s, port: %d}]\n" % (domain, *servers[peer].address)
        for domain, (_, peer) in zip(domains, CASES))
    destinations = "destinations:\n" + "".join(
        f"  {domain}: {{tls: required, max_connections: 1, "
        "max_messages_per_connection: 1, "
        f"tls_profile: {name_of(*cell)}}}\n"
        for domain, (cell, _) in zip(domains, CASES))
    gateway = cleanup(rig.Gateway(tmp_path / "gw"))
    gateway.configure(routes=routes, extra=PROFILES + destinations + (
        "bounce_profiles:\n  default: {first_retry: 1h, max_retry: 1h}\n"))
    gateway.start()
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    for domain in domains:
        assert client.message(recipients=[f"b@{domain}"])[0] == 250
    client.close()
    found = rig.wait_for(
        lambda: (r := outcome_of(gateway)) and len(r) == len(CASES) and r, 60,
        "a result for each", 0.5)
    assert not wrong_ones(CASES, [found[domain] for domain in domains])


def test_a_switch_counts_for_the_next_connection(gateway):
    """No restart, and who is connected stays."""
    def switch(versions):
        gateway.configure(extra=f"tls_profiles: {{default: {versions}}}\n")

    def asked(option):
        return s_client((gateway.host, gateway.port),
                        [option, "-cipher", ANYTHING])

    switch("{versions: [TLSv1.2, TLSv1.3]}")
    gateway.start()
    children = gateway.children()
    open_before = gateway.smtp()
    open_before.reply()
    open_before.command("EHLO c.test")
    open_before.starttls()
    assert open_before.socket.version() == "TLSv1.3"
    assert asked("-tls1") is None
    switch("{versions: {TLSv1.2: off, TLSv1.3: off}, strength: low}")
    gateway.call("reload")
    assert [asked(FLAGS[v]) for v in VERSIONS] == [
        "TLSv1.0", "TLSv1.1", None, None]
    switch("{versions: [TLSv1.0, TLSv1.3]}")
    gateway.call("reload")
    assert [asked(FLAGS[v]) for v in VERSIONS] == [
        "TLSv1.0", None, None, "TLSv1.3"]
    switch("{versions: {SSLv3: on}}")
    assert "SSLv3" in gateway.call("reload", check=False).stderr
    assert asked("-tls1") == "TLSv1.0"
    open_before.command("EHLO c.test")
    assert open_before.message()[0] == 250
    # `status` works with a file that is refused, too.
    assert gateway.children() == children


# --- testssl.sh ---------------------------------------------------------------

# What it must find on every listener, and what differs.
ALWAYS = {
    "SSLv2": "not offered", "SSLv3": "not offered",
    "cipherlist_NULL": "not offered", "cipherlist_aNULL": "not offered",
    "cipherlist_EXPORT": "not offered", "cipherlist_LOW": "not offered",
    "cipherlist_3DES_IDEA": "not offered",
    "secure_client_renego": "not vulnerable", "CRIME_TLS": "not vulnerable",
}
SAFE = {"secure_renego": "supported", "cipherlist_STRONG": "offered"}
OFFERED = {"TLS1": "offered", "TLS1_1": "offered", "TLS1_2": "offered",
           "TLS1_3": "offered"}
TESTSSL = {
    "modern": ("{versions: [TLSv1.2, TLSv1.3], strength: high}", "-P", {
        **OFFERED, **SAFE, "TLS1": "not offered", "TLS1_1": "not offered",
        "cipher_order": "server",
        "protocol_negotiated": "Default protocol TLS1.3",
        "cipherorder_TLSv1_2": "ECDHE-RSA-AES256-GCM-SHA384 "
                               "ECDHE-RSA-CHACHA20-POLY1305 "
                               "ECDHE-RSA-AES128-GCM-SHA256",
        "cipherorder_TLSv1_3": "TLS_AES_256_GCM_SHA384 "
                               "TLS_CHACHA20_POLY1305_SHA256 "
                               "TLS_AES_128_GCM_SHA256"}),
    "usual": ("{strength: medium}", None, {
        **OFFERED, **SAFE, "cipherlist_AVERAGE": "offered"}),
    # The program's own handshakes cannot do TLS 1.0; its raw questions can.
    "old": ("{versions: [TLSv1.0], strength: low}", None, {
        "TLS1": "offered", "TLS1_2": "not offered", "TLS1_3": "not offered",
        "cipherlist_STRONG": "not offered", "cipherlist_AVERAGE": "offered"}),
    "aead": ("{versions: [TLSv1.2], ciphers: \"ECDHE+AESGCM\", "
             "cipher_preference: client}", "-P", {
        **SAFE, "TLS1": "not offered", "TLS1_1": "not offered",
        "TLS1_2": "offered", "cipherlist_AVERAGE": "not offered",
        "cipher_order": "NOT a cipher order"}),
}


def found_by_testssl(folder, name, address, checks):
    """What testssl.sh finds: {id: finding}."""
    report = folder / f"{name}.json"
    done = subprocess.run(
        ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns",
         "none", "--ip", address, "-t", "smtp", "-p", "-s", "-R", "-C",
         *checks, "--jsonfile", str(report), f"{address}:2525"],
        capture_output=True, text=True, timeout=900, cwd=folder, env=PLAIN)
    assert report.exists(), done.stdout + done.stderr
    return {row["id"]: row["finding"]
            for row in json.loads(report.read_text())}


@pytest.mark.skipif(not shutil.which("testssl"), reason="no testssl.sh")
def test_what_testssl_finds(tmp_path, cleanup):
    gateway = cleanup(rig.Gateway(tmp_path / "gw"))
    hosts = {name: rig.loopback() for name in TESTSSL}
    listen(gateway, "tls_profiles:\n" + "".join(
        f"  {name}: {row[0]}\n" for name, row in TESTSSL.items()), hosts)

    def scan(name):
        more = ["-P", "-U", "-f"] if rig.LONG else [TESTSSL[name][1]]
        return found_by_testssl(tmp_path, name, hosts[name], filter(None, more))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = dict(zip(TESTSSL, pool.map(scan, TESTSSL)))
    wrong = [(name, key, found[name].get(key), "not", start)
             for name, row in TESTSSL.items()
             for key, start in {**ALWAYS, **row[2]}.items()
             if not found[name].get(key, "").startswith(start)]
    assert not wrong
