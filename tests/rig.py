"""What the end-to-end and crash tests are built from: a gateway of its own for
each test, real peers, scripted peers.  Loopback addresses only; every process is
ended by its id."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import textwrap
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("WAXGATE_BUILD", ROOT / "build"))
WAXGATE = os.environ.get("WAXGATE_BIN", str(BUILD / "cli" / "waxgate"))
LOAD = str(BUILD / "bench" / "load")
LONG = bool(os.environ.get("WAXGATE_LONG"))

_next_host = [0]


def loopback():
    """An address that no other peer has, also of a test run beside this one."""
    _next_host[0] += 1
    run = os.getpid() % 200 + 20
    return f"127.{run}.{_next_host[0] // 250}.{_next_host[0] % 250 + 2}"


def wait_for(condition, seconds=20, what="condition", step=0.05):
    """The first true value of condition()."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(step)


def port_open(host, port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((host, port)) == 0


def make_certificate(folder, name="mx.test", days=90, **options):
    """A self-signed certificate; returns the paths of chain and key."""
    folder = pathlib.Path(folder)
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    algorithm = options.get("algorithm", "rsa:2048")
    args = ["-newkey", algorithm]
    if algorithm.startswith("ec:"):
        args = ["-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:" + algorithm[3:]]
    subprocess.run(
        ["openssl", "req", "-x509", *args, "-nodes", "-days", str(days),
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True)
    key.chmod(0o600)
    return str(cert), str(key)


class Process:
    """A child that is ended by its id, whatever happens."""

    def __init__(self, args, log, **options):
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(args, stdout=out, stderr=out,
                                          stdin=subprocess.DEVNULL, **options)
        self.pid = self.child.pid

    def stop(self, signum=signal.SIGTERM, seconds=30):
        if self.child.poll() is None:
            self.child.send_signal(signum)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
                raise
        return self.child.returncode

    def output(self):
        return self.log.read_text(errors="replace")


class Gateway:
    """A Waxgate with a folder, a configuration and a log of its own."""

    def __init__(self, folder, host=None, **options):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host = host or loopback()
        self.port = options.get("port", 2525)
        self.config = self.folder / "waxgate.yaml"
        self.state = self.folder / "state"
        self.log = self.folder / "waxgate.log"
        self.environment = options.get("environment", {})
        self.process = None
        if not (self.folder / "mx.test.pem").exists():
            make_certificate(self.folder)

    def configure(self, next_hop=None, extra="", listener="", destination="",
                  routes=None, log_level="info", resolver=None, dns=None):
        """Writes a configuration: relays everything to next_hop."""
        dns = {"allow_loopback_mx": True, "test_signed": "", "test_bogus": "",
               "resolvers": [resolver] if resolver else [], **(dns or {})}
        dns = ", ".join(f"{key}: {'on' if value is True else json.dumps(value)}"
                        for key, value in dns.items())
        if routes is None:
            host, port = next_hop if next_hop else ("127.0.0.1", 9)
            routes = f"routes:\n  default: [{{host: {host}, port: {port}}}]\n"
        text = textwrap.dedent(f"""\
            hostname: gw.test
            state_dir: {self.state}
            loops: 2
            drain_timeout: 10s
            log: {{path: {self.log}, level: {log_level}, format: json}}
            certificates:
              mx: {{chain: {self.folder}/mx.test.pem, key: {self.folder}/mx.test.key}}
            dns: {{{dns}}}
            listeners:
              Test:
                type: private
                address: "{self.host}:{self.port}"
                certificates: [mx]
                relay_for: [127.0.0.0/8]
                max_connections: 2000
                backlog: 1024
            """)
        for line in listener.strip().splitlines():
            text += "    " + line + "\n"
        text += routes
        if destination:
            text += "destinations:\n  default:\n" + textwrap.indent(
                textwrap.dedent(destination), "    ")
        if "mail_flow_policies:" not in extra: # the load comes from one client
            text += ("mail_flow_policies:\n  default: "
                     "{max_handshakes_per_second: unlimited}\n")
        if "spool:" not in extra:
            text += "spool: {segment_size: 4M, min_free: 16M}\n"
        text += textwrap.dedent(extra)
        self.config.write_text(text)
        return self

    def start(self, ready=True):
        self.process = Process(
            [WAXGATE, "run", "--config", str(self.config)],
            self.folder / "output.log", env={**os.environ, **self.environment})
        if ready:
            wait_for(self.ready, 30, "the gateway to be ready")
        return self

    def ready(self):
        if self.process.child.poll() is not None:
            raise AssertionError("the gateway ended: " + self.process.output())
        status = self.status()
        return status if status and status.get("ready") else None

    def status(self):
        done = self.call("status", "--json", check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return None

    def call(self, *args, check=True, **options):
        done = subprocess.run(
            [WAXGATE, "--config", str(self.config), *args], timeout=60,
            capture_output=True, text=True, **options)
        if check and done.returncode != 0:
            raise AssertionError(f"waxgate {' '.join(args)}: {done.stderr}")
        return done

    def queue(self):
        """What `waxgate queue list --json` prints, a message each."""
        text = self.call("queue", "list", "--json").stdout
        return json.loads(text) if text.strip() else []

    def children(self):
        """Process ids by name: receiver, sender, controller."""
        return {p["name"]: p["pid"] for p in self.status()["processes"]
                if p["name"] != "supervisor"}

    def events(self, name=None):
        """Lines of the JSON log, parsed; those of one event where named."""
        if not self.log.exists():
            return []
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue # a line being written
            if name is None or event.get("event") == name:
                found.append(event)
        return found

    def wait_event(self, name, seconds=20, **fields):
        def find():
            return [e for e in self.events(name)
                    if all(e.get(k) == v for k, v in fields.items())]
        return wait_for(find, seconds, f"event {name} {fields}")

    def wait_empty(self, seconds=60):
        wait_for(lambda: not self.queue(), seconds, "an empty queue", 0.2)

    def stop(self, **options):
        if self.process is not None:
            status = self.process.stop(**options)
            self.process = None
            return status
        return 0

    def smtp(self, timeout=15):
        """A plain client session, past the greeting."""
        return Client(self.host, self.port, timeout)


class Client:
    """Raw SMTP for tests that must control every byte."""

    def __init__(self, host, port, timeout=15):
        self.socket = socket.create_connection((host, port), timeout)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def reply(self):
        """(code, [texts]) of one reply; (0, []) when the connection ended."""
        lines = []
        while True:
            while b"\r\n" not in self.buffer:
                try:
                    got = self.socket.recv(65536)
                except ConnectionError:
                    got = b""
                if not got:
                    return 0, lines
                self.buffer += got
            line, self.buffer = self.buffer.split(b"\r\n", 1)
            lines.append(line[4:].decode(errors="replace"))
            if line[3:4] != b"-":
                return int(line[:3]), lines

    def command(self, line):
        self.send(line + "\r\n")
        return self.reply()

    def starttls(self, context=None):
        code, _ = self.command("STARTTLS")
        assert code == 220
        if context is None:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)
        self.buffer = b""

    def message(self, sender="a@sender.test", recipients=("b@example.org",),
                text="Subject: test\r\n\r\nhello\r\n"):
        """Sends one message after EHLO; returns the final reply."""
        for line in [f"MAIL FROM:<{sender}>",
                     *[f"RCPT TO:<{r}>" for r in recipients], "DATA"]:
            code, texts = self.command(line)
            if code not in (250, 354):
                return code, texts
        self.send(text)
        return self.command(".")

    def close(self):
        self.socket.close()


class Sink(Process):
    """`waxgate sink`: takes everything, remembers X-Bench-Id numbers."""

    def __init__(self, folder, host=None, port=2526, tls=True, args=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host, self.port = host or loopback(), port
        self.ids_file = self.folder / "ids"
        self.saved = self.folder / "saved"
        self.saved.mkdir(exist_ok=True)
        if tls:
            cert, key = make_certificate(self.folder, "sink.test")
            args = ["--cert", cert, "--key", key, *args]
        super().__init__(
            [WAXGATE, "sink", "--listen", f"{self.host}:{self.port}", "--quiet",
             "--ids", str(self.ids_file), *args], self.folder / "sink.log")
        wait_for(lambda: port_open(self.host, self.port), 10, "the sink")

    @property
    def address(self):
        return self.host, self.port

    def finish(self):
        """Stops it; its counters, with the ids seen as "ids"."""
        self.stop()
        result = json.loads(self.output().strip().splitlines()[-1])
        result["ids"] = {int(i) for i in self.ids_file.read_text().split()}
        return result


def load(server, messages, ids_file=None, check=True, **options):
    """Runs the load generator; its JSON."""
    args = [LOAD, "--server", "%s:%d" % server, "--messages", str(messages)]
    for name, value in options.items():
        args.append("--" + name.replace("_", "-"))
        if value is not True:
            args.append(str(value))
    if ids_file:
        args += ["--ids", str(ids_file)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=900)
    result = json.loads(done.stdout)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return result


class Postfix:
    """A Postfix instance of its own, from the system's binaries."""

    def __init__(self, folder, host=None, port=2525, main="", relayhost=None):
        self.folder = pathlib.Path(folder)
        self.host, self.port = host or loopback(), port
        self.etc = self.folder / "etc"
        for name in ("etc", "queue", "data", "mail"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for parent in [self.folder, *self.folder.parents]:
            if parent == pathlib.Path("/tmp") or parent == parent.parent:
                break
            parent.chmod(parent.stat().st_mode | 0o055)
        cert, key = make_certificate(self.folder, "postfix.test")
        shutil.chown(self.folder / "data", "postfix")
        shutil.chown(self.folder / "mail", "postfix")
        uid = shutil._get_uid("postfix")
        gid = shutil._get_gid("postfix")
        self.maillog = self.folder / "maillog"
        text = f"""
            compatibility_level = 3.6
            queue_directory = {self.folder}/queue
            data_directory = {self.folder}/data
            mail_owner = postfix
            maillog_file = {self.maillog}
            maillog_file_prefixes = {self.folder}
            myhostname = postfix{self.host.replace('.', '-')}.test
            inet_interfaces = 127.0.0.1
            inet_protocols = ipv4
            mynetworks = 127.0.0.0/8
            mydestination =
            smtp_bind_address = {self.host}
            alias_maps =
            alias_database =
            smtpd_tls_cert_file = {cert}
            smtpd_tls_key_file = {key}
            smtpd_tls_security_level = may
            smtp_tls_security_level = encrypt
            smtpd_tls_loglevel = 1
            smtp_tls_loglevel = 1
            smtpd_relay_restrictions = permit_mynetworks, reject
            smtpd_client_connection_rate_limit = 0
            smtpd_client_connection_count_limit = 0
            smtpd_peername_lookup = no
            minimal_backoff_time = 2s
            maximal_backoff_time = 5s
            queue_run_delay = 2s
            smtp_connect_timeout = 5s
            default_destination_concurrency_limit = 50
            initial_destination_concurrency = 20
            default_destination_concurrency_failed_cohort_limit = 1000
            smtp_destination_rate_delay = 0s
            smtp_dns_support_level = disabled
            in_flow_delay = 0
            virtual_mailbox_base = {self.folder}/mail
            virtual_uid_maps = static:{uid}
            virtual_gid_maps = static:{gid}
            virtual_minimum_uid = 1
            """
        if relayhost:
            text += f"relayhost = [{relayhost[0]}]:{relayhost[1]}\n"
        else:
            text += ("virtual_mailbox_domains = example.org, sender.test\n"
                     "virtual_mailbox_maps = static:box/\n")
        text = "\n".join(l.strip() for l in (text + main).splitlines())
        (self.etc / "main.cf").write_text(text + "\n")
        (self.etc / "master.cf").write_text(textwrap.dedent(f"""\
            {self.host}:{port} inet n - n - 200 smtpd
            pickup unix n - n 60 1 pickup
            cleanup unix n - n - 0 cleanup
            qmgr unix n - n 300 1 qmgr
            rewrite unix - - n - - trivial-rewrite
            bounce unix - - n - 0 bounce
            defer unix - - n - 0 bounce
            trace unix - - n - 0 bounce
            verify unix - - n - 1 verify
            flush unix n - n 1000? 0 flush
            proxymap unix - - n - - proxymap
            smtp unix - - n - 100 smtp
            relay unix - - n - 100 smtp
            error unix - - n - - error
            retry unix - - n - - error
            discard unix - - n - - discard
            virtual unix - n n - - virtual
            anvil unix - - n - 1 anvil
            scache unix - - n - 1 scache
            tlsmgr unix - - n 1000? 1 tlsmgr
            postlog unix-dgram n - n - 1 postlogd
            """))

    def start(self):
        self.run("start")
        wait_for(lambda: port_open(self.host, self.port), 15, "Postfix")
        return self

    def run(self, command):
        done = subprocess.run(["postfix", "-c", str(self.etc), command],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr + done.stdout + self.log()

    def stop(self):
        with contextlib.suppress(AssertionError):
            self.run("stop")

    def flush(self):
        subprocess.run(["postqueue", "-c", str(self.etc), "-f"],
                       capture_output=True, timeout=60)

    def queued(self):
        return sum(1 for name in ("maildrop", "incoming", "active", "deferred")
                   for path in (self.folder / "queue" / name).rglob("*")
                   if path.is_file())

    def messages(self):
        """The files of the mailbox."""
        return list((self.folder / "mail" / "box" / "new").glob("*"))

    def log(self):
        return self.maillog.read_text(errors="replace") \
            if self.maillog.exists() else ""

    @property
    def address(self):
        return self.host, self.port


class ScriptedServer:
    """A peer that behaves as a function says: handler(client) gets a Peer."""

    def __init__(self, handler, host=None, port=2526):
        self.host, self.port = host or loopback(), port
        self.sessions = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                peer = Peer(self.request)
                outer.sessions.append(peer)
                with contextlib.suppress(ConnectionError, OSError, EOFError):
                    handler(peer)
                peer.socket.close() # wrapped by TLS it is not the server's

        class Server(socketserver.ThreadingTCPServer):
            address_family = (socket.AF_INET6 if ":" in self.host
                              else socket.AF_INET)
            allow_reuse_address = True
            daemon_threads = True

        self.server = Server((self.host, self.port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       daemon=True)
        self.thread.start()

    @property
    def address(self):
        return self.host, self.port

    @property
    def transactions(self):
        """Every transaction of every session, in the order of their ends."""
        return sorted((t for s in list(self.sessions) for t in s.transactions),
                      key=lambda t: t.ended)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Transaction:
    """A message as a scripted server got it."""

    def __init__(self, lines, content, tls):
        start = max(i for i, l in enumerate(lines)
                    if l.upper().startswith("MAIL "))
        self.mail = lines[start]
        self.rcpts = [l for l in lines[start:] if l.upper().startswith("RCPT ")]
        self.content = content[:-3].decode(errors="surrogateescape")
        self.tls = tls
        self.ended = time.monotonic()


class Peer:
    """The server's side of one scripted session."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.settimeout(30)
        self.buffer = b""
        self.lines = [] # every command line that came
        self.in_clear = [] # those of them that came without TLS
        self.secure = False
        self.transactions = [] # those that came to the end of their content

    def send(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self.socket.sendall(data)

    def say(self, *lines):
        self.send("".join(line + "\r\n" for line in lines))

    def line(self):
        while b"\r\n" not in self.buffer:
            got = self.socket.recv(65536)
            if not got:
                raise EOFError
            self.buffer += got
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        text = line.decode(errors="replace")
        self.lines.append(text)
        if not self.secure:
            self.in_clear.append(text)
        return text

    def content(self):
        """What comes up to CRLF.CRLF; a lone dot is an empty message."""
        data = self.buffer
        while not data.endswith(b"\r\n.\r\n") and data != b".\r\n":
            got = self.socket.recv(65536)
            if not got:
                raise EOFError
            data += got
        self.buffer = b""
        return data

    def starttls(self, context):
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.buffer = b""
        self.secure = True

    def serve(self, replies=None, tls=None, extensions=("PIPELINING", "DSN")):
        """An ordinary session; replies overrides the answer to a verb."""
        replies = replies or {}
        self.say(replies.get("greeting", "220 scripted ESMTP"))
        while True:
            line = self.line()
            verb = line.split(" ")[0].upper()
            answer = replies.get(verb)
            if callable(answer):
                answer = answer(self, line)
            if answer is not None:
                if answer == "close":
                    return
                self.say(*answer.split("\n"))
                if verb == "DATA" and answer.startswith("354"):
                    self.content()
                    self.say(replies.get("final", "250 2.0.0 ok"))
            elif verb in ("EHLO", "HELO"):
                offers = [e for e in extensions
                          if e != "REQUIRETLS" or self.secure] # RFC 8689
                if tls and not self.secure:
                    offers.append("STARTTLS")
                self.say(*[f"250-{o}" for o in ["scripted", *offers]],
                         "250 ENHANCEDSTATUSCODES")
            elif verb == "STARTTLS" and not tls:
                self.say("502 5.5.1 not implemented")
            elif verb == "STARTTLS":
                self.say("220 go")
                self.starttls(tls)
            elif verb == "DATA":
                self.say("354 go")
                self.last_content = self.content()
                self.transactions.append(
                    Transaction(self.lines, self.last_content, self.secure))
                final = replies.get("final", "250 2.0.0 ok")
                if final == "close":
                    return
                self.say(final)
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 2.0.0 ok")


class Resolver(Process):
    """A recursive name server (unbound) with zones of its own.  Everything
    below "test" that is not in data does not exist; the zones in broken have
    a server that never answers, which is SERVFAIL."""

    def __init__(self, folder, data, broken=(), host=None, port=5353):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host, self.port = host or loopback(), port
        conf = self.folder / "unbound.conf"
        text = textwrap.dedent(f"""\
            server:
              interface: {self.host}@{port}
              access-control: 127.0.0.0/8 allow
              do-daemonize: no
              username: ""
              chroot: ""
              directory: "{self.folder}"
              pidfile: ""
              use-syslog: no
              do-not-query-localhost: no
              module-config: "iterator"
              local-zone: "test." static
            """)
        for zone in broken:
            text += f'  local-zone: "{zone}." transparent\n'
        for line in data:
            text += f"  local-data: '{line}'\n"
        for zone in broken:
            text += (f"forward-zone:\n  name: \"{zone}.\"\n"
                     f"  forward-addr: {self.host}@9\n")
        conf.write_text(text + "remote-control:\n  control-enable: no\n")
        super().__init__(["/usr/sbin/unbound", "-d", "-c", str(conf)],
                         self.folder / "unbound.log")
        wait_for(lambda: port_open(self.host, port), 10, "unbound")

    @property
    def address(self):
        """As the configuration of a gateway wants it."""
        return f"{self.host}@{self.port}"


def server_context(folder, name="mx.test", **options):
    cert, key = make_certificate(folder, name, **options)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context
