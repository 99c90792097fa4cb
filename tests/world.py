"""A closed world on loopback for authenticated delivery: a signed top zone
"test" with signed, unsigned and bogus zones below it, web servers with policies,
mail servers on port 25 of addresses of their own, and two authorities that
nobody else believes.

A test module makes one World, describes its domains, starts it (some seconds
for all of it) and may change a zone, a policy or a server while it runs.

    world = World(folder)
    good = world.domain("good", signed=True)
    good.mx("mx1", tlsa="3 1 1")
    good.policy("enforce", ["mx1.good.test"])
    world.start(); …; world.stop()
"""
import contextlib
import datetime
import ipaddress
import json
import os
import pathlib
import re
import selectors
import shutil
import socket
import ssl
import subprocess
import textwrap
import threading
import time

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import rig

TOP = "test"
# Seconds after which a resolver asks anew for records with a TTL of 1: its
# clock has only whole ones.
FORGOTTEN = 2.1
# Nothing is tried again unless a test says so.
PATIENT = "bounce_profiles: {default: {first_retry: 1h, max_retry: 1h}}\n"


def can_bind_low_ports():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((rig.loopback(), 25))
        except OSError:
            return False
    return True


# --- Certificates ------------------------------------------------------------

class Authority:
    """Issues certificates; itself self-signed, or below another one."""

    def __init__(self, folder, name, above=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.name, self.above = name, above
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(self.key.public_key(), name, [], 3650,
                                      above or self, ca=True)
        self.path = self.folder / f"{name}.pem"
        self.path.write_bytes(pem(self.certificate))
        self.issued = 0

    def _sign(self, key, common, names, days, issuer, ca):
        now = datetime.datetime.utcnow()
        issuer_name = issuer.name
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([
                x509.NameAttribute(NameOID.COMMON_NAME, common)]))
            .issuer_name(x509.Name([
                x509.NameAttribute(NameOID.COMMON_NAME, issuer_name)]))
            .public_key(key).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=30))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca, None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    issuer.key.public_key()), False))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(
                [general_name(n) for n in names]), False)
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH]), False)
        return builder.sign(issuer.key, hashes.SHA256())

    def issue(self, *names, days=30, common=None):
        """A server's certificate for these names; the chain file holds this
        authority too, so that DANE-TA finds it.  Negative days: expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(key.public_key(), common or names[0], names,
                                 days, self, ca=False)
        self.issued += 1
        base = self.folder / f"{self.name}-{self.issued}"
        chain = [certificate, self.certificate]
        if self.above:
            chain.append(self.above.certificate)
        files = Issued(f"{base}.pem", f"{base}.key", chain)
        pathlib.Path(files.chain).write_bytes(b"".join(map(pem, chain)))
        pathlib.Path(files.key).touch(0o600)
        pathlib.Path(files.key).write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        return files


class Issued:
    """Files of a server's certificate, and TLSA records that match it."""

    def __init__(self, chain, key, certificates):
        self.chain, self.key, self.certificates = chain, key, certificates

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context

    def tlsa(self, kind):
        """The rdata of kind, as "3 1 1": 3 of the leaf, 2 of its authority."""
        usage, selector, matching = map(int, kind.split())
        certificate = self.certificates[0 if usage in (1, 3) else 1]
        return f"{kind} {association(certificate, selector, matching)}"


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def general_name(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def association(certificate, selector, matching):
    if selector == 0:
        data = certificate.public_bytes(serialization.Encoding.DER)
    else:
        data = certificate.public_key().public_bytes(
            serialization.Encoding.DER,
            serialization.PublicFormat.SubjectPublicKeyInfo)
    if matching:
        digest = hashes.Hash({1: hashes.SHA256, 2: hashes.SHA512}[matching]())
        digest.update(data)
        data = digest.finalize()
    return data.hex()


# --- DNS ---------------------------------------------------------------------

class Zone:
    """One zone.  state: "signed"; "unsigned", which the zone above proves;
    "bogus": the zone above names another key; "expired": signatures of the
    past.  tamper: pairs of texts that are exchanged after signing."""

    def __init__(self, name, state, ttl):
        self.name, self.state, self.ttl = name, state, ttl
        self.records, self.tamper, self.key = [], [], None
        self.serial = 1

    def add(self, owner, kind, data):
        self.records.append((owner, kind, str(data)))

    def remove(self, owner, kind):
        """Removes what add() added; its data."""
        gone = [r for r in self.records if r[:2] == (owner, kind)]
        self.records = [r for r in self.records if r not in gone]
        return [r[2] for r in gone]

    def text(self):
        lines = [f"$ORIGIN {self.name}.", f"$TTL {self.ttl}",
                 f"@ IN SOA ns.{TOP}. root.{TOP}. {self.serial} 3600 600 "
                 f"864000 {self.ttl}", f"@ IN NS ns.{TOP}."]
        lines += [f"{owner} IN {kind} {data}"
                  for owner, kind, data in self.records]
        return "\n".join(lines) + "\n"


class Names:
    """All zones, served by nsd; in front of it a door on port 53 that counts
    every question and may answer some of them wrongly."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host, self.hidden = rig.loopback(), rig.loopback()
        self.zones = {}
        self.top = self.zone(TOP, "signed")
        self.top.add("ns", "A", self.host)
        self.nsd, self.door = None, None

    def zone(self, name, state="unsigned", ttl=300):
        self.zones[name] = Zone(name, state, ttl)
        return self.zones[name]

    def start(self):
        for zone in self.zones.values():
            if zone is not self.top:
                self._write(zone)
                self._delegate(zone)
        self._write(self.top)
        (self.folder / "nsd.conf").write_text(self._configuration())
        self.nsd = rig.Process(["/usr/sbin/nsd", "-d", "-c",
                                str(self.folder / "nsd.conf")],
                               self.folder / "nsd.out")
        rig.wait_for(lambda: rig.port_open(self.hidden, 5353), 10, "nsd")
        self.door = NameDoor(self.host, self.hidden)
        return self

    def stop(self):
        if self.door:
            self.door.stop()
        if self.nsd:
            self.nsd.stop()

    def publish(self, zone):
        """Signs and serves a zone that was changed."""
        zone.serial += 1
        self._write(zone)
        self.nsd.child.send_signal(1)
        rig.wait_for(lambda: self._serial(zone.name) == zone.serial, 10,
                     f"{zone.name} {zone.serial}")

    def anchor(self):
        """The DS record of the top zone, for a configuration."""
        return f"{TOP}. IN DS {self._ds(self.top)}"

    def _serial(self, name):
        query = dns.message.make_query(name, "SOA")
        with contextlib.suppress(dns.exception.Timeout):
            answer = dns.query.udp(query, self.hidden, 0.5, 5353).answer
            return answer[0][0].serial if answer else None

    def _configuration(self):
        text = textwrap.dedent(f"""\
            server:
              ip-address: {self.hidden}@5353
              do-ip6: no
              server-count: 1
              rrl-ratelimit: 0
              username: ""
              chroot: ""
              zonesdir: "{self.folder}"
              zonelistfile: "{self.folder}/zone.list"
              xfrdfile: "{self.folder}/xfrd.state"
              database: ""
              pidfile: "{self.folder}/nsd.pid"
              logfile: "{self.folder}/nsd.log"
            remote-control:
              control-enable: no
            """)
        for name in self.zones:
            text += f"zone:\n  name: {name}\n  zonefile: {name}.zone\n"
        return text

    def _write(self, zone):
        plain = self.folder / f"{zone.name}.plain"
        plain.write_text(zone.text())
        served = self.folder / f"{zone.name}.zone"
        if zone.state == "unsigned":
            served.write_text(zone.text())
            return
        if zone.key is None:
            zone.key = subprocess.run(
                ["ldns-keygen", "-a", "ECDSAP256SHA256", zone.name],
                cwd=self.folder, check=True, capture_output=True,
                text=True).stdout.strip()
        times = []
        if zone.state == "expired":
            now = int(time.time())
            times = ["-i", str(now - 20 * 86400), "-e", str(now - 10 * 86400)]
        signed = self.folder / f"{zone.name}.signed"
        subprocess.run(["ldns-signzone", *times, "-f", str(signed), str(plain),
                        zone.key], cwd=self.folder, check=True,
                       capture_output=True)
        text = signed.read_text()
        for old, new in zone.tamper:
            assert old in text, f"{zone.name} has no {old}"
            text = text.replace(old, new)
        # nsd must never read half a file
        signed.write_text(text)
        os.replace(signed, served)

    def _delegate(self, zone):
        owner = zone.name + "."
        self.top.add(owner, "NS", f"ns.{TOP}.")
        if zone.state != "unsigned":
            ds = self._ds(zone)
            if zone.state == "bogus":
                ds = ds[:-8] + ("0" * 8 if ds[-8:] != "0" * 8 else "1" * 8)
            self.top.add(owner, "DS", ds)

    def _ds(self, zone):
        line = (self.folder / f"{zone.key}.key").read_text().split(";")[0]
        key = dns.rdata.from_text("IN", "DNSKEY", line.split("DNSKEY", 1)[1])
        return dns.dnssec.make_ds(dns.name.from_text(zone.name), key,
                                  "SHA256").to_text()


class NameDoor:
    """Passes questions on to the name server behind it.  faults: by (name,
    type) or (name, None): "servfail", "drop", or records in the form of a zone
    file, without signatures, which are answered instead; "none" denies."""

    def __init__(self, host, hidden):
        self.hidden = hidden
        self.faults = {}
        self.asked = [] # (name, type)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((host, 53))
        self.tcp = socket.create_server((host, 53))
        for run in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=run, daemon=True).start()

    def stop(self):
        for s in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def fault(self, name, kind, how):
        """Until the end of a with block."""
        @contextlib.contextmanager
        def during():
            self.faults[name, kind] = how
            try:
                yield
            finally:
                del self.faults[name, kind]
        return during()

    def count(self, name, kind=None):
        return sum(1 for n, k in list(self.asked)
                   if n == name and kind in (None, k))

    def _serve_udp(self):
        while True:
            try:
                query, peer = self.udp.recvfrom(65535)
            except OSError:
                return
            if not query: # the socket was shut down
                return
            threading.Thread(target=self._answer_udp, args=(query, peer),
                             daemon=True).start()

    def _answer_udp(self, query, peer):
        answer = self._answer(query)
        if answer:
            with contextlib.suppress(OSError):
                self.udp.sendto(answer, peer)

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._answer_tcp, args=(connection,),
                             daemon=True).start()

    def _answer_tcp(self, connection):
        with connection, contextlib.suppress(OSError):
            stream = connection.makefile("rwb")
            while len(head := stream.read(2)) == 2:
                answer = self._answer(stream.read(int.from_bytes(head, "big")),
                                      tcp=True)
                if answer:
                    stream.write(len(answer).to_bytes(2, "big") + answer)
                    stream.flush()

    def _answer(self, wire, tcp=False):
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        how = self.faults.get((name, kind)) or self.faults.get((name, None))
        if how:
            return self._wrong(query, how)
        return self._forward(wire, tcp)

    def _wrong(self, query, how):
        if how == "drop":
            return None
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        if how == "servfail":
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif how != "none":
            q = query.question[0]
            answer.answer.append(dns.rrset.from_text(
                q.name, 1, "IN", dns.rdatatype.to_text(q.rdtype),
                *how.splitlines()))
        return answer.to_wire()

    def _forward(self, wire, tcp):
        with contextlib.suppress(OSError):
            if tcp:
                with socket.create_connection((self.hidden, 5353), 5) as s:
                    s.sendall(len(wire).to_bytes(2, "big") + wire)
                    stream = s.makefile("rb")
                    return stream.read(int.from_bytes(stream.read(2), "big"))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(5)
                s.connect((self.hidden, 5353))
                s.send(wire)
                return s.recv(65535)
        return None


# --- Policy hosts ------------------------------------------------------------

class PolicyHosts:
    """nginx with the policies of all domains, told apart by SNI."""

    def __init__(self, folder, authority):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host = rig.loopback()
        self.authority = authority
        self.servers = {}
        self.process = None

    def add(self, domain, certificate=None, directives=""):
        """A policy host; directives replace what the location says."""
        host = f"mta-sts.{domain}"
        self.servers[host] = (certificate or self.authority.issue(host),
                              directives)
        (self.folder / host / ".well-known").mkdir(parents=True, exist_ok=True)

    def file(self, domain):
        return self.folder / f"mta-sts.{domain}" / ".well-known" / "mta-sts.txt"

    def start(self):
        for parent in [self.folder, *self.folder.parents]:
            if parent == pathlib.Path("/tmp") or parent == parent.parent:
                break
            parent.chmod(parent.stat().st_mode | 0o055)
        text = textwrap.dedent(f"""\
            daemon off;
            user root;
            worker_processes 1;
            pid {self.folder}/nginx.pid;
            error_log {self.folder}/error.log;
            events {{ worker_connections 512; }}
            http {{
              types {{ text/plain txt; text/html html; }}
              log_format fetch '$host $status $request_uri';
              access_log {self.folder}/access.log fetch;
              server_names_hash_bucket_size 128;
              client_body_temp_path {self.folder}/body;
              proxy_temp_path {self.folder}/proxy;
              fastcgi_temp_path {self.folder}/fastcgi;
              uwsgi_temp_path {self.folder}/uwsgi;
              scgi_temp_path {self.folder}/scgi;
            """)
        for host, (files, directives) in self.servers.items():
            text += textwrap.indent(textwrap.dedent(f"""\
                server {{
                  listen {self.host}:443 ssl;
                  server_name {host};
                  ssl_certificate {files.chain};
                  ssl_certificate_key {files.key};
                  root {self.folder}/{host};
                  location / {{ {directives} }}
                }}
                """), "  ")
        (self.folder / "nginx.conf").write_text(text + "}\n")
        self.process = rig.Process(
            ["/usr/sbin/nginx", "-p", str(self.folder), "-e",
             str(self.folder / "error.log"), "-c",
             str(self.folder / "nginx.conf")], self.folder / "nginx.out")
        rig.wait_for(lambda: rig.port_open(self.host, 443), 10, "nginx")
        return self

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None

    def fetches(self, domain):
        """How often somebody asked for the policy of this domain."""
        path = self.folder / "access.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return sum(1 for line in lines if line.startswith(f"mta-sts.{domain} "))


# --- Mail hosts --------------------------------------------------------------

class Acceptor:
    """One thread that accepts for all mail hosts of a world."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.wake, sleeper = socket.socketpair()
        self.selector.register(sleeper, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def add(self, listener, on_connection):
        self.selector.register(listener, selectors.EVENT_READ, on_connection)
        self.wake.send(b"x")

    def stop(self):
        self.wake.close()
        self.thread.join()

    def _run(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    if not key.fileobj.recv(64):
                        return
                    continue
                with contextlib.suppress(OSError):
                    connection, _ = key.fileobj.accept()
                    threading.Thread(target=key.data, args=(connection,),
                                     daemon=True).start()


class MailHost:
    """A scripted mail server on port 25.  What it does is in tls (a context, or
    None: no STARTTLS), replies and extensions, and may be changed any time."""

    def __init__(self, acceptor, name, tls, replies=None, extensions=()):
        self.name, self.host = name, rig.loopback()
        self.tls, self.replies = tls, replies or {}
        self.extensions = ["PIPELINING", "DSN", *extensions]
        self.sessions = []
        self.sni = [] # names by which clients asked for it
        self.issued = None # where it shows one of an authority's certificates
        self._watch()
        self.listener = socket.create_server((self.host, 25))
        acceptor.add(self.listener, self._serve)

    def change(self, issued):
        """Another certificate, from now on."""
        self.hang_up()
        self.issued, self.tls = issued, issued.context()
        self._watch()

    def _watch(self):
        if self.tls:
            self.tls.sni_callback = lambda _, sni, __: self.sni.append(sni)

    def _serve(self, connection):
        peer = rig.Peer(connection)
        peer.over = False
        self.sessions.append(peer)
        with contextlib.suppress(ConnectionError, OSError, EOFError):
            peer.serve(self.replies, self.tls, self.extensions)
        peer.socket.close() # wrapped by TLS it is another one
        peer.over = True

    def stop(self):
        self.listener.close()

    @property
    def transactions(self):
        return sorted((t for s in list(self.sessions) for t in s.transactions),
                      key=lambda t: t.ended)

    @property
    def in_clear(self):
        """Every command that came without TLS, but what comes before it."""
        return [line for s in list(self.sessions) for line in s.in_clear
                if line.split(" ")[0].upper() not in
                ("EHLO", "HELO", "STARTTLS", "QUIT", "NOOP", "RSET")]

    def forget(self):
        """As if nothing had come yet; connections stay."""
        self.sessions = [s for s in self.sessions if not s.over]
        for s in self.sessions:
            s.transactions.clear()
            s.in_clear.clear()
        self.sni.clear()

    def hang_up(self):
        """Ends connections that wait for more mail, and forgets."""
        for s in self.sessions:
            with contextlib.suppress(OSError):
                s.socket.shutdown(socket.SHUT_RDWR)
        rig.wait_for(lambda: all(s.over for s in self.sessions), 10,
                     f"the ends of all connections to {self.name}")
        self.forget()


# --- The whole of it ---------------------------------------------------------

class Domain:
    """A mail domain with its zone, servers and policy."""

    def __init__(self, world, zone):
        self.world, self.zone, self.name = world, zone, zone.name
        self.hosts = []
        self.policy_id = 0

    @property
    def host(self):
        return self.hosts[0]

    def mx(self, label="mx1", fault=None, preference=10, **options):
        """A mail host with its A and MX records.  fault: see World.server().
        tlsa: kinds of TLSA records that match its certificate, or whole
        rdata."""
        name = f"{label}.{self.name}"
        self.zone.add("@", "MX", f"{preference} {label}")
        return self.server(name, fault, label, **options)

    def server(self, name, fault=None, label=None, tlsa=(), **options):
        """A mail host and its A record, without an MX record."""
        host = self.world.server(name, fault, **options)
        self.hosts.append(host)
        label = label or name.removesuffix("." + self.name)
        self.zone.add(label, "A", host.host)
        for kind in [tlsa] if isinstance(tlsa, str) else tlsa:
            self.tlsa(label, host.issued.tlsa(kind)
                      if re.fullmatch(r"\d+ \d+ \d+", kind) else kind)
        return host

    def tlsa(self, label, rdata):
        self.zone.add(f"_25._tcp.{label}", "TLSA", rdata)

    def policy(self, mode, patterns=("mx1.{}",), max_age=86400, text=None,
               policy_id=None, **host):
        """Publishes a policy; before the world starts also its host."""
        if self.policy_id == 0:
            self.zone.add("mta-sts", "A", self.world.policies.host)
            self.world.policies.add(self.name, **host)
        self.policy_id += 1
        self.id = policy_id or f"id{self.policy_id}"
        if text is None:
            text = f"version: STSv1\r\nmode: {mode}\r\n"
            text += "".join(f"mx: {p.format(self.name)}\r\n" for p in patterns)
            text += f"max_age: {max_age}\r\n"
        self.world.policies.file(self.name).write_bytes(text.encode())
        self.zone.remove("_mta-sts", "TXT")
        self.zone.add("_mta-sts", "TXT", f'"v=STSv1; id={self.id};"')

    def publish(self):
        self.world.names.publish(self.zone)


class World:
    """See the top of the file."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.mail_authority = Authority(self.folder / "ca", "mail-ca")
        self.web_authority = Authority(self.folder / "ca", "web-ca")
        self.stranger = Authority(self.folder / "ca", "stranger-ca")
        self.names = Names(self.folder / "dns")
        self.policies = PolicyHosts(self.folder / "web", self.web_authority)
        self.acceptor = Acceptor()
        self.domains, self.hosts, self.gateways = {}, [], []
        self.bogus = self.names.zone("bogus." + TOP, "bogus")
        # Where senders get their notices.
        self.sender = self.domain("sender", signed=True)
        self.back = self.sender.mx("mx1", extensions=["REQUIRETLS"])

    def domain(self, label, signed=False, state=None, ttl=300):
        state = state or ("signed" if signed else "unsigned")
        name = f"{label}.{TOP}".encode("idna").decode()
        domain = Domain(self, self.names.zone(name, state, ttl))
        self.domains[label] = domain
        return domain

    def server(self, name, fault, names=None, extensions=(), replies=None,
               authority=None, days=30):
        """A mail host.  fault, if any: "wrong-name", "expired", "untrusted",
        "no-starttls", "old-tls", "starttls-4xx", "starttls-5xx"."""
        replies = dict(replies or {})
        authority = authority or self.mail_authority
        if fault == "wrong-name":
            names = [f"other.{TOP}"]
        elif fault == "expired":
            days = -1
        elif fault == "untrusted":
            authority = self.stranger
        elif fault == "starttls-4xx":
            replies["STARTTLS"] = "454 4.7.0 TLS not available due to temporary reason"
        elif fault == "starttls-5xx":
            replies["STARTTLS"] = "554 5.7.3 unable to initialize"
        issued = authority.issue(*(names or [name]), days=days)
        tls = issued.context()
        if fault == "old-tls":
            tls.minimum_version = ssl.TLSVersion.TLSv1
            tls.maximum_version = ssl.TLSVersion.TLSv1_1
            tls.set_ciphers("ALL:@SECLEVEL=0")
        if fault == "no-starttls":
            tls = None
        host = MailHost(self.acceptor, name, tls, replies, extensions)
        host.issued = issued
        self.hosts.append(host)
        return host

    def start(self):
        self.names.start()
        if self.policies.servers:
            self.policies.start()
        return self

    def stop(self):
        for gateway in reversed(self.gateways):
            gateway.stop()
        self.acceptor.stop()
        for host in self.hosts:
            host.stop()
        self.policies.stop()
        self.names.stop()

    def gateway(self, name="gw", extra="", destinations="", routes="",
                dns=None, sts="", start=True, host=None, port=2525,
                certificate=None, **options):
        """A Waxgate that lives in this world and sends by MX.  certificate:
        one that an authority issued, instead of one of its own."""
        folder = self.folder / name
        if certificate:
            folder.mkdir()
            shutil.copy(certificate.chain, folder / "mx.test.pem")
            shutil.copy(certificate.key, folder / "mx.test.key")
        gateway = rig.Gateway(folder, host, port=port)
        self.gateways.append(gateway)
        gateway.configure(
            dns={"stub_zones": {TOP: f"{self.names.host}@53"},
                 "trust_anchors": [self.names.anchor()], "timeout": "5s",
                 "test_signed": TOP, "test_bogus": self.bogus.name,
                 **(dns or {})},
            routes=f"routes:\n  default: mx\n{routes}",
            extra=f"destinations:\n  default: {{authorities: "
            f"[{self.mail_authority.path}]}}\n"
            + textwrap.indent(textwrap.dedent(destinations), "  ")
            + f"mta_sts:\n  authorities: [{self.web_authority.path}]\n"
            "  allow_private_addresses: on\n"
            + textwrap.indent(textwrap.dedent(sts), "  ")
            + textwrap.dedent(extra), **options)
        return gateway.start() if start else gateway


def send(gateway, domain, mail="", text="Subject: test\r\n\r\nhello\r\n",
         tls=False, sender="a@sender.test"):
    """Hands a message for user@domain to the gateway; its id."""
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    if tls:
        client.starttls()
        client.command("EHLO client.test")
    for line, want in ((f"MAIL FROM:<{sender}>{mail}", 250),
                       (f"RCPT TO:<user@{domain}>", 250), ("DATA", 354)):
        code, texts = client.command(line)
        assert code == want, (line, texts)
    client.send(text)
    code, texts = client.command(".")
    assert code == 250, texts
    client.close()
    return re.search(r"\bB[0-9a-f]{8,}\b", texts[0])[0]


def queued(gateway, domain):
    """The queue's view of what waits for this domain."""
    return json.loads(gateway.call("queue", "list", "--json", "--recipient",
                                   f"@{domain}").stdout)


def attempt(gateway, domain, seconds=20, **options):
    """Sends a message, and sees to it that it is tried though the destination
    may rest from an earlier failure.  What the queue says of it then; None
    when it has left."""
    message = send(gateway, domain, **options)
    asked = []

    def find():
        found = [m for m in queued(gateway, domain) if m["id"] == message]
        if not found:
            return True
        told = found[0]["recipients"][0]
        if told["state"] != "waiting":
            return None
        if told["attempts"] == 0:
            if not asked:
                asked.append(gateway.call("queue", "retry", "--destination",
                                          domain))
            return None
        return {**told, **told["last_attempt"]}

    told = rig.wait_for(find, seconds, f"an attempt to reach {domain}")
    return None if told is True else told
