#!/usr/bin/python3
"""Plays the dialogues against the program itself, over TCP and over STARTTLS.

  run_tcp.py [NAME...]     WAXGATE_BIN or WAXGATE_BUILD says which program

Scripts that need the clock, the disk or the inside of the process are left to
run_dialogues.  Documentation addresses of the scripts become loopback ones, so
that a client can have them.
"""
import os
import pathlib
import re
import socket
import ssl
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import rig  # noqa: E402

IN_PROCESS = {"clock", "drain", "queue", "occupy", "spool-conf", "whole-only"}
STORED = {"spool", "mail:", "no-mail:", "envelope:"} # seen by run_dialogues
ADDRESSES = [("198.51.100.", "127.51.100."), ("203.0.113.", "127.203.113."),
             ("192.0.2.", "127.92.2."), (r"\xc6\x33\x64", r"\x7f\x33\x64")]
BASE = {"type": "public", "certificates": "[mx]",
        "domains": "[example.org, .sub.example.org]",
        "relay_for": "[127.51.100.0/24]"}


class Failure(Exception):
    pass


class Script:
    def __init__(self, path):
        text = path.read_text()
        for old, new in ADDRESSES:
            text = text.replace(old, new)
        self.name = path.stem
        self.conf = {}
        self.peer = ("127.92.2.1", 0)
        self.implicit = False
        self.lines = []
        for number, line in enumerate(text.split("\n"), 1):
            if not line or line[0] == "#":
                continue
            verb, _, rest = line.partition(" ")
            self.lines.append((number, verb, rest))
            if verb == "conf":
                key, _, value = rest.partition(":")
                self.conf[key] = value.strip()
            elif verb == "policy":
                self.conf["policies"] = (self.conf.get("policies", "") +
                                         "  " + rest + "\n")
            elif verb == "peer":
                self.peer = (rest.rpartition(":")[0], 0)
        self.implicit = "tls://" in self.conf.pop("address", "")
        self.verbs = {verb for _, verb, _ in self.lines}

    def over_tls(self):
        """May be played again behind STARTTLS: it is not about TLS itself."""
        return not (self.implicit or "tls" in self.verbs or
                    "proxy_protocol" in self.conf or "tls" in self.conf or
                    "STARTTLS" in str(self.lines) or "eof" in self.verbs or
                    "max_bad_commands" in self.conf or
                    "policies" in self.conf or
                    self.lines[0][1] == "C:" or "mail:" in self.verbs or
                    "helo" in self.name or self.name.startswith("stranger"))


def unescape(text):
    out = bytearray()
    i = 0
    while i < len(text):
        if text[i] != "\\":
            out += text[i].encode()
            i += 1
            continue
        repeat = re.match(r"\\([1-9]\d*)\{([^}]*)\}", text[i:])
        if repeat:
            out += unescape(repeat[2]) * int(repeat[1])
            i += repeat.end()
        elif text[i + 1] == "x":
            out.append(int(text[i + 2:i + 4], 16))
            i += 4
        else:
            out += {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0"}.get(
                text[i + 1], text[i + 1].encode())
            i += 2
    return bytes(out)


def client_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Player:
    def __init__(self, gateway, script, tls):
        self.script = script
        self.log = gateway.log
        self.log_start = self.log.stat().st_size
        self.buffer = b""
        self.pending = b""
        self.socket = socket.create_connection(
            (gateway.host, gateway.port), 10, source_address=script.peer)
        if tls:
            for command in (None, "EHLO before.test", "STARTTLS"):
                if command:
                    self.socket.sendall(command.encode() + b"\r\n")
                self.reply()
            self.secure()
            # The greeting is over; what the script says of it is taken as read.
            first = next(i for i, (_, verb, _) in enumerate(script.lines)
                         if verb == "S:")
            self.lines = script.lines[:first] + script.lines[first + 1:]
        else:
            self.lines = script.lines

    def secure(self):
        self.socket = client_context().wrap_socket(self.socket)

    def receive(self):
        try:
            got = self.socket.recv(65536)
        except (ConnectionError, ssl.SSLEOFError):
            got = b""
        self.buffer += got
        return bool(got)

    def line(self):
        while b"\r\n" not in self.buffer:
            if not self.receive():
                return None
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode(errors="surrogateescape")

    def reply(self):
        line = self.line()
        while line is not None and line[3:4] == "-":
            line = self.line()
        if line is None:
            raise Failure("the connection ended")
        return line

    def expect(self, pattern):
        line = self.line()
        head, star, _ = pattern.partition("*")
        if line is None or (not line.startswith(head) if star
                            else line != pattern):
            raise Failure(f"expected {pattern!r}, came {line!r}")

    def expect_closed(self):
        self.socket.settimeout(10)
        if self.receive() or self.buffer:
            raise Failure(f"unexpected {self.buffer[:200]!r}")

    def expect_open(self):
        self.socket.settimeout(0.1)
        try:
            if not self.receive():
                raise Failure("the connection is closed")
            raise Failure(f"unexpected {self.buffer[:200]!r}")
        except TimeoutError:
            self.socket.settimeout(10)

    def expect_log(self, words):
        end = time.monotonic() + 5
        while time.monotonic() < end:
            with open(self.log, errors="replace") as log:
                log.seek(self.log_start)
                if any(all(word in line for word in words.split())
                       for line in log):
                    return
            time.sleep(0.05)
        raise Failure(f"not logged: {words}")

    def step(self, verb, rest):
        if verb == "C:":
            self.pending += rest.encode() + b"\r\n"
        elif verb == "C!":
            self.pending += unescape(rest)
        elif self.pending:
            try:
                self.socket.sendall(self.pending)
            except (ConnectionError, ssl.SSLEOFError):
                pass # the replies tell
            self.pending = b""
        if verb == "S:":
            self.expect(rest)
        elif verb == "ehlo":
            self.socket.sendall(b"EHLO client.test\r\n")
            self.reply()
        elif verb == "tls":
            self.secure()
        elif verb == "eof":
            self.socket.shutdown(socket.SHUT_WR)
        elif verb == "closed":
            self.expect_closed()
        elif verb == "open":
            self.expect_open()
        elif verb == "log" and "=" in rest and "sni=" not in rest:
            self.expect_log(rest)

    def play(self):
        try:
            for number, verb, rest in self.lines:
                self.number = number
                self.step(verb, rest)
        finally:
            self.socket.close()


def make_gateway(folder, conf, implicit):
    """One program for all scripts with the same settings."""
    gateway = rig.Gateway(folder, host=rig.loopback())
    listener = {**BASE, **conf}
    policies = listener.pop("policies", "")
    scheme = "tls://" if implicit else ""
    listener["address"] = f'"{scheme}{gateway.host}:{gateway.port}"'
    gateway.config.write_text(
        f"hostname: gw.test\nstate_dir: {gateway.state}\nloops: 1\n"
        f"drain_timeout: 1s\nlog: {{path: {gateway.log}}}\n"
        f"certificates:\n  mx: {{chain: {folder}/mx.test.pem, "
        f"key: {folder}/mx.test.key}}\n"
        "mail_flow_policies:\n  default: {}\n" + policies +
        "listeners:\n  Test:\n" +
        "".join(f"    {key}: {value}\n" for key, value in listener.items()) +
        "routes:\n  default: \"127.0.0.1:9\"\n"
        "spool: {segment_size: 1M, inline_limit: 256K, min_free: 1M}\n")
    return gateway.start()


def play(gateway, script, tls):
    label = f"{script.name} ({'STARTTLS' if tls else 'TCP'})"
    player = None
    try:
        player = Player(gateway, script, tls)
        player.play()
        print(f"[       OK ] {label}")
        return True
    except (Failure, OSError) as error:
        number = getattr(player, "number", 0)
        print(f"[  FAILED  ] {label}: line {number}: {error}")
        return False


def main():
    scripts = [Script(path) for path in sorted(HERE.glob("*.smtp"))
               if not sys.argv[1:] or path.stem in sys.argv[1:]]
    groups = {}
    for script in scripts:
        if not script.verbs & IN_PROCESS:
            key = (script.implicit, tuple(sorted(script.conf.items())))
            groups.setdefault(key, []).append(script)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as top:
        for number, ((implicit, conf), group) in enumerate(groups.items()):
            gateway = make_gateway(pathlib.Path(top) / str(number), dict(conf),
                                   implicit)
            try:
                for script in group:
                    for tls in [False] + [True] * script.over_tls():
                        ok = play(gateway, script, tls)
                        passed += ok
                        failed += not ok
            finally:
                gateway.stop()
    print(f"[==========] {passed + failed} test(s) run.")
    print(f"[  PASSED  ] {passed} test(s).")
    if failed:
        print(f"[  FAILED  ] {failed} test(s)")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("WAXGATE_BUILD", str(HERE.parent.parent / "build"))
    sys.exit(main())
