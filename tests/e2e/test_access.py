"""Who may connect, and what it gets: sender groups, policies, TLS by group,
limits, names and DNS lists."""
import socket
import ssl
import struct
import subprocess
import threading

import pytest

import rig


class Names(threading.Thread):
    """A DNS server that knows a few names; everything else does not exist."""

    def __init__(self, records, silent=()):
        super().__init__(daemon=True)
        self.records, self.silent, self.asked = records, silent, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.host = rig.loopback()
        self.socket.bind((self.host, 0))
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            answer = self.answer(query)
            if answer:
                self.socket.sendto(answer, peer)

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        kind, = struct.unpack("!H", query[at + 1:at + 3])
        question = query[12:at + 5]
        name = ".".join(labels)
        self.asked.append((name, kind))
        if name in self.silent:
            return None
        data = self.records.get((name, kind))
        known = data is not None or any(n == name for n, _ in self.records)
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | (0 if known else 3), 1,
                                       0 if data is None else 1, 0, 0)
        if data is None:
            return head + question
        return (head + question + b"\xc0\x0c" +
                struct.pack("!HHIH", kind, 1, 60, len(data)) + data)

    def close(self):
        self.socket.close()


def name_data(name):
    return b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0"


def reversed_ip(ip):
    return ".".join(reversed(ip.split(".")))


def ptr(ip, name):
    return {(reversed_ip(ip) + ".in-addr.arpa", 12): name_data(name)}


def a(name, ip):
    return {(name, 1): socket.inet_aton(ip)}


def configure(gateway, policies, listener, extra="", resolver=None):
    """The rig's listener relays for 127.0.0.0/8; here the table decides."""
    gateway.configure(extra="mail_flow_policies:\n" + policies + extra,
                      listener=listener, resolver=resolver)
    text = gateway.config.read_text()
    text = text.replace("    relay_for: [127.0.0.0/8]\n", "")
    text = text.replace("type: private", "type: public")
    gateway.config.write_text(text)
    return gateway


def connect(gateway, source):
    client = rig.Client.__new__(rig.Client)
    client.socket = socket.create_connection(
        (gateway.host, gateway.port), 15, source_address=(source, 0))
    client.buffer = b""
    return client


def listener_status(gateway):
    return gateway.status()["receiver"]["listeners"][0]


@pytest.fixture
def gateway(tmp_path):
    gateway = rig.Gateway(tmp_path / "gw")
    yield gateway
    gateway.stop()


def test_groups_by_address(gateway):
    configure(gateway,
              "  BLOCKED: {behavior: reject, reject_text: Not you}\n"
              "  GONE: {behavior: tcprefuse}\n"
              "  OURS: {behavior: relay}\n",
              "domains: [example.org]\n"
              "hat:\n"
              "  - {group: OURS, senders: [127.9.1.1], policy: OURS}\n"
              "  - {group: BAD, senders: [127.9.2., 127.9.3.0/24], "
              "policy: BLOCKED}\n"
              "  - {group: GONE, senders: [127.9.4.5-9], policy: GONE}\n"
              "  - {group: ALL, policy: default}\n").start()
    ours = connect(gateway, "127.9.1.1")
    assert ours.reply()[0] == 220
    ours.command("EHLO a.test")
    ours.command("MAIL FROM:<a@a.test>")
    assert ours.command("RCPT TO:<b@elsewhere.test>")[0] == 250
    for source in ("127.9.2.77", "127.9.3.1"):
        bad = connect(gateway, source)
        assert bad.reply() == (554, ["gw.test Not you"])
        assert bad.command("EHLO a.test")[0] == 503
        assert bad.command("QUIT")[0] == 221
    assert connect(gateway, "127.9.4.7").reply() == (0, [])
    other = connect(gateway, "127.9.4.10")
    assert other.reply()[0] == 220
    other.command("EHLO a.test")
    other.command("MAIL FROM:<a@a.test>")
    assert other.command("RCPT TO:<b@elsewhere.test>")[0] == 550
    assert other.command("RCPT TO:<b@example.org>")[0] == 250
    event = gateway.wait_event("smtpd.connect", group="BAD")[0]
    assert (event["policy"], event["matched"]) == ("BLOCKED", "127.9.2.")
    assert listener_status(gateway)["rejected"] == 3


def test_hat_test_says_the_same(gateway):
    configure(gateway, "  SLOW: {max_message_size: 1M}\n",
              "domains: [example.org]\n"
              "max_connections_per_ip: 7\n"
              "hat:\n"
              "  - {group: NAMED, senders: [.partner.test], policy: SLOW}\n"
              "  - {group: ALL, policy: default}\n")
    text = gateway.call("hat", "test", "Test", "127.9.1.1").stdout
    assert "group:   ALL" in text and "may decide" in text
    text = gateway.call("hat", "test", "Test", "127.9.1.1", "--name",
                        "mx.partner.test").stdout
    assert "group:   NAMED" in text and "matched: .partner.test" in text
    assert "max_message_size: 1M  # policy SLOW" in text
    assert "max_connections_per_ip: 7  # listener" in text
    assert "Max Concurrency: 2000 (TCP Queue: 1024)" in \
        gateway.call("listener", "show").stdout


def handshake(gateway, source, version):
    """What a client that speaks one version alone gets."""
    client = connect(gateway, source)
    client.reply()
    client.command("EHLO a.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    try:
        client.starttls(context)
    except (ssl.SSLError, ConnectionError):
        return None
    return client.socket.version()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_profile_of_a_group(gateway):
    configure(gateway, "  OLD: {tls_profile: old}\n",
              "domains: [example.org]\n"
              "tls_profile: new\n"
              "hat:\n"
              "  - {group: OLD, senders: [127.9.1.1], policy: OLD}\n"
              "  - {group: ALL, policy: default}\n",
              "tls_profiles:\n"
              "  old: {versions: [TLSv1.0], strength: low}\n"
              "  new: {versions: [TLSv1.2, TLSv1.3]}\n").start()
    old, new = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_3
    assert handshake(gateway, "127.9.1.1", old) == "TLSv1"
    assert handshake(gateway, "127.9.1.1", new) is None
    assert handshake(gateway, "127.9.1.2", old) is None
    assert handshake(gateway, "127.9.1.2", new) == "TLSv1.3"
    assert gateway.wait_event("smtpd.tls", result="ok", profile="old",
                              profile_from="policy")
    assert gateway.wait_event("smtpd.tls", result="ok", profile="new",
                              profile_from="listener")


def test_tls_required_preferred_and_no(gateway):
    configure(gateway,
              "  MUST: {tls: required}\n"
              "  NEVER: {tls: no}\n"
              "  LIST: {tls_required_for: [bank.test]}\n",
              "domains: [example.org]\n"
              "hat:\n"
              "  - {group: MUST, senders: [127.9.1.1], policy: MUST}\n"
              "  - {group: NEVER, senders: [127.9.1.2], policy: NEVER}\n"
              "  - {group: LIST, senders: [127.9.1.3], policy: LIST}\n"
              "  - {group: ALL, policy: default}\n").start()
    must = connect(gateway, "127.9.1.1")
    must.reply()
    assert must.command("VRFY a") == (
        530, ["5.7.0 Must issue a STARTTLS command first"])
    must.command("EHLO a.test")
    must.starttls()
    must.command("EHLO a.test")
    assert must.message()[0] == 250
    never = connect(gateway, "127.9.1.2")
    never.reply()
    assert "STARTTLS" not in never.command("EHLO a.test")[1]
    assert never.command("STARTTLS")[0] == 454
    assert never.message()[0] == 250
    listed = connect(gateway, "127.9.1.3")
    listed.reply()
    assert "STARTTLS" in listed.command("EHLO a.test")[1]
    assert listed.command("MAIL FROM:<a@bank.test>") == (
        530, ["5.7.0 This sender must issue a STARTTLS command first"])
    assert listed.message()[0] == 250
    listed.starttls()
    listed.command("EHLO a.test")
    assert listed.message(sender="a@bank.test")[0] == 250


def certificate_session(gateway, source, files):
    client = connect(gateway, source)
    client.reply()
    client.command("EHLO a.test")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if files:
        context.load_cert_chain(*files)
    client.starttls(context)
    client.command("EHLO a.test")
    return client.message()


def test_client_certificates(gateway, tmp_path):
    good = rig.make_certificate(tmp_path, "good.test")
    bad = rig.make_certificate(tmp_path, "bad.test")
    policies = "".join(
        f"  {name}: {{tls: {tls}, verify_client: on, "
        f"client_system_authorities: off, client_authorities: [{good[0]}]}}\n"
        for name, tls in (("MUST", "required"), ("MAY", "preferred")))
    configure(gateway, policies,
              "domains: [example.org]\n"
              "hat:\n"
              "  - {group: MUST, senders: [127.9.1.1], policy: MUST}\n"
              "  - {group: ALL, policy: MAY}\n").start()
    must, may = "127.9.1.1", "127.9.1.2"
    assert certificate_session(gateway, must, good)[0] == 250
    code, texts = certificate_session(gateway, must, bad)
    assert code == 550 and "self-signed" in texts[0]
    code, texts = certificate_session(gateway, must, None)
    assert code == 550 and "no certificate was shown" in texts[0]
    assert certificate_session(gateway, may, good)[0] == 250
    assert certificate_session(gateway, may, None)[0] == 250
    assert certificate_session(gateway, may, bad)[0] == 550
    clear = connect(gateway, may)
    clear.reply()
    clear.command("EHLO a.test")
    assert clear.message()[0] == 250
    assert listener_status(gateway)["certificates_refused"] == 3
    assert listener_status(gateway)["tls_failed"] == 0


def test_a_client_certificate_that_ends_soon_is_said_once(gateway, tmp_path):
    soon = rig.make_certificate(tmp_path, "soon.test", days=5)
    late = rig.make_certificate(tmp_path, "late.test", days=90)
    configure(gateway, "  MAY: {tls: preferred, verify_client: on, "
              "client_system_authorities: off, "
              f"client_authorities: [{soon[0]}, {late[0]}]}}\n",
              "domains: [example.org]\n"
              "hat: [{group: ALL, policy: MAY}]\n").start()
    for files in (soon, soon, late, soon):
        assert certificate_session(gateway, "127.9.1.2", files)[0] == 250
    shown = gateway.events("smtpd.tls")[0]
    assert shown["issuer"] == "CN=soon.test" and shown["serial"]
    assert len(shown["sha256"]) == len(shown["spki_sha256"]) == 64
    assert shown["not_after"] and "DNS:soon.test" in shown["names"]
    said = gateway.events("smtpd.certificate_expiry")
    assert len(said) == 1
    assert said[0]["subject"] == "CN=soon.test"
    assert said[0]["state"] == "7-days" and said[0]["days_left"] == 4
    assert said[0]["level"] == "warning"


def test_limits_of_a_group(gateway):
    configure(gateway,
              "  SLOW: {max_connections_per_ip: 2, max_recipients_per_hour: 2, "
              "max_handshakes_per_second: 1}\n",
              "domains: [example.org]\n"
              "hat:\n"
              "  - {group: SLOW, senders: [127.9.1.1], policy: SLOW}\n"
              "  - {group: ALL, policy: default}\n").start()
    first, second = [connect(gateway, "127.9.1.1") for _ in range(2)]
    assert first.reply()[0] == second.reply()[0] == 220
    third = connect(gateway, "127.9.1.1")
    assert third.reply() == (
        421, ["4.4.5 Too many connections from your host"])
    first.command("EHLO a.test")
    second.command("EHLO a.test")
    # Counted over both connections, which may be on two loops.
    first.command("MAIL FROM:<a@a.test>")
    second.command("MAIL FROM:<a@a.test>")
    assert first.command("RCPT TO:<b@example.org>")[0] == 250
    assert second.command("RCPT TO:<b@example.org>")[0] == 250
    assert first.command("RCPT TO:<c@example.org>")[0] == 452
    status = listener_status(gateway)
    assert status["throttled"] == 1 and status["tls_failed"] == 0
    for _ in range(3): # others are not concerned
        assert connect(gateway, "127.9.1.2").reply()[0] == 220


def test_handshake_limit(gateway):
    configure(gateway, "  SLOW: {max_handshakes_per_second: 1}\n",
              "domains: [example.org]\ndefault_policy: SLOW\n").start()
    refused = 0
    for _ in range(6):
        client = connect(gateway, "127.9.1.1")
        client.reply()
        client.command("EHLO a.test")
        code, texts = client.command("STARTTLS")
        if code == 421:
            assert texts == ["4.4.5 Too many TLS sessions at this time"]
            refused += 1
    assert refused >= 4
    status = listener_status(gateway)
    assert status["tls_throttled"] == refused and status["throttled"] == 0


def test_names_and_dns_lists(gateway):
    zone = "bl.test"
    records = {**ptr("127.9.5.1", "mx.partner.test"),
               **a("mx.partner.test", "127.9.5.1"),
               **ptr("127.9.5.2", "forged.partner.test"),
               **a("forged.partner.test", "127.9.5.99"),
               **a(reversed_ip("127.9.5.3") + "." + zone, "127.0.0.2"),
               **a(reversed_ip("127.9.5.4") + "." + zone, "127.255.255.254")}
    slow = reversed_ip("127.9.5.5") + ".in-addr.arpa"
    names = Names(records, silent=(slow,))
    try:
        configure(gateway, "  BLOCKED: {behavior: reject}\n  P: {tls: required}\n",
                  "domains: [example.org]\n"
                  "timeouts: {lookup: 700ms}\n"
                  "hat:\n"
                  "  - {group: KNOWN, senders: [127.9.5.6], policy: default}\n"
                  "  - {group: PARTNER, senders: [.partner.test], policy: P}\n"
                  f"  - {{group: LISTED, dns_lists: [{zone}], policy: BLOCKED}}\n"
                  "  - {group: ALL, policy: default}\n",
                  resolver=f"{names.host}@{names.port}").start()
        codes = {}
        for last in range(1, 7):
            codes[last] = connect(gateway, f"127.9.5.{last}").reply()[0]
        groups = {e["peer"].split(":")[0]: e["group"]
                  for e in gateway.wait_event("smtpd.connect", group="KNOWN") +
                  gateway.events("smtpd.connect")}
        assert groups["127.9.5.1"] == "PARTNER"
        assert groups["127.9.5.2"] == "ALL"
        assert groups["127.9.5.3"] == "LISTED"
        assert groups["127.9.5.4"] == "ALL"
        assert groups["127.9.5.5"] == "ALL"
        assert groups["127.9.5.6"] == "KNOWN"
        assert codes == {1: 220, 2: 220, 3: 554, 4: 220, 5: 220, 6: 220}
        event = gateway.events("smtpd.connect")[0]
        assert event["name"] == "mx.partner.test"
        # What the first row settles costs no question.
        assert not any(name.startswith("6.5.9.127") for name, _ in names.asked)
    finally:
        names.close()


def test_names_of_ipv6(gateway):
    """The name of an IPv6 client counts when it leads back to it.  It comes
    through a balancer: of IPv6 only ::1 is ours, which has a name built in."""
    good, liar = "2a00:1::25", "2a00:1::26"

    def back(ip):
        digits = socket.inet_pton(socket.AF_INET6, ip).hex()
        return ".".join(reversed(digits)) + ".ip6.arpa"

    names = Names({(back(good), 12): name_data("mx.six.test"),
                   (back(liar), 12): name_data("mx.six.test"),
                   ("mx.six.test", 28): socket.inet_pton(socket.AF_INET6, good)})
    try:
        configure(gateway, "  P: {tls: no}\n",
                  "domains: [example.org]\n"
                  "proxy_protocol: [127.0.0.0/8]\n"
                  "hat:\n"
                  "  - {group: SIX, senders: [.six.test], policy: P}\n"
                  "  - {group: ALL, policy: default}\n",
                  resolver=f"{names.host}@{names.port}").start()
        for ip, group in ((good, "SIX"), (liar, "ALL")):
            client = connect(gateway, "127.9.6.1")
            client.send(f"PROXY TCP6 {ip} ::1 4000 25\r\n")
            assert client.reply()[0] == 220
            event = gateway.wait_event("smtpd.connect", group=group)[0]
            assert event["peer"] == f"[{ip}]:4000" and event["proxied"]
            assert event.get("name") == (
                "mx.six.test" if ip == good else None)
    finally:
        names.close()


def test_a_reload_counts_for_the_next_connection(gateway):
    listener = ("domains: [example.org]\nhat:\n"
                "  - {group: ALL, policy: NOW}\n")
    configure(gateway, "  NOW: {tls: preferred}\n", listener).start()
    before = connect(gateway, "127.9.1.1")
    before.reply()
    configure(gateway, "  NOW: {tls: required, banner_text: Changed}\n",
              listener)
    gateway.call("reload")
    after = connect(gateway, "127.9.1.1")
    assert after.reply()[1] == ["gw.test Changed"]
    assert after.command("RSET")[0] == 530
    before.command("EHLO a.test")
    assert before.message()[0] == 250
    configure(gateway, "  NOW: {behavior: reject}\n", listener)
    gateway.call("reload")
    assert connect(gateway, "127.9.1.1").reply()[0] == 554
    assert after.command("NOOP")[0] == 250


def test_implicit_tls_is_refused_before_any_handshake(gateway):
    configure(gateway, "  BLOCKED: {behavior: reject}\n",
              "domains: [example.org]\nhat:\n"
              "  - {group: BAD, senders: [127.9.1.1], policy: BLOCKED}\n"
              "  - {group: ALL, policy: default}\n")
    text = gateway.config.read_text().replace(
        f'address: "{gateway.host}', f'address: "tls://{gateway.host}')
    gateway.config.write_text(text)
    gateway.start()
    assert connect(gateway, "127.9.1.1").reply() == (0, [])
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{gateway.host}:{gateway.port}",
         "-quiet", "-crlf"], input="QUIT\n", capture_output=True, text=True,
        timeout=30)
    assert "220 gw.test" in done.stdout
    status = listener_status(gateway)
    assert (status["rejected"], status["tls_failed"]) == (1, 0)
