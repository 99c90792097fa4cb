"""S7 of bench/run: full TLS handshakes, as clients see them, of the receiver and
of `openssl s_server` with the same certificate; and the tables of sender groups.

The receiver does more for a connection: its table, limits, greeting, three
lines of log. So the ratio of CPU is above 1, and says how much above."""
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile

import rig

SECONDS = 4
CLIENTS = 2
PROTOCOLS = {"TLS 1.3": "-tls1_3", "TLS 1.2": "-tls1_2"}
KEYS = {"ECDSA P-256": "ec:prime256v1", "RSA 2048": "rsa:2048"}


class Receiver:
    name = "receiver"

    def __init__(self, folder, key):
        rig.make_certificate(folder, algorithm=KEYS[key])
        self.gateway = rig.Gateway(folder)
        self.gateway.configure(
            listener="max_handshakes_per_second: unlimited\n")
        text = self.gateway.config.read_text()
        self.gateway.config.write_text(
            text.replace('address: "', 'address: "tls://'))
        self.gateway.start()
        self.address = self.gateway.host, self.gateway.port
        self.pid = self.gateway.process.pid

    def stop(self):
        self.gateway.stop()


class Bare(rig.Process):
    name = "openssl s_server"

    def __init__(self, folder, key):
        cert, key = rig.make_certificate(folder, algorithm=KEYS[key])
        self.address = rig.loopback(), 2525
        super().__init__(
            ["openssl", "s_server", "-quiet", "-accept", "%s:%d" % self.address,
             "-cert", cert, "-key", key], folder / "s_server.log")
        rig.wait_for(lambda: rig.port_open(*self.address), 10, "s_server")


def one_round(kind, key, protocol, cpu_seconds):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="waxgate-bench-"))
    server = None
    try:
        server = kind(folder, key)
        before = cpu_seconds(server.pid)
        clients = [subprocess.Popen(
            ["openssl", "s_time", "-connect", "%s:%d" % server.address, "-new",
             "-time", str(SECONDS), PROTOCOLS[protocol]],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for _ in range(CLIENTS)]
        counts = [int(re.search(r"(\d+) connections in \d+ real",
                                c.communicate()[0])[1]) for c in clients]
        cpu = cpu_seconds(server.pid) - before
        return dict(rate=sum(counts) / SECONDS, cpu=cpu / sum(counts) * 1e6)
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def handshake_rounds(rounds, cpu_seconds):
    """cpu_seconds(pid): of the process and all below it."""
    results = {}
    for key in KEYS:
        for protocol in PROTOCOLS:
            for turn in range(rounds):
                for kind in (Receiver, Bare) if turn % 2 else (Bare, Receiver):
                    results.setdefault(f"{key}, {protocol}", {}).setdefault(
                        kind.name, []).append(
                            one_round(kind, key, protocol, cpu_seconds))
    return results


def median(rounds, key):
    return statistics.median(r[key] for r in rounds)


def handshake_table(results):
    print("\n| S7 | receiver/s | s_server/s | ratio | CPU µs, receiver |"
          " CPU µs, s_server | ratio |\n|---|---|---|---|---|---|---|")
    for label, row in results.items():
        ours, bare = row[Receiver.name], row[Bare.name]
        print("| %s | %.0f | %.0f | %.2f× | %.0f | %.0f | %.2f× |" % (
            label, median(ours, "rate"), median(bare, "rate"),
            median(ours, "rate") / median(bare, "rate"), median(ours, "cpu"),
            median(bare, "cpu"), median(ours, "cpu") / median(bare, "cpu")))


def print_parts():
    """What the same costs without sockets, and the tables of sender groups."""
    for part in ("lib/tls/bench_handshake", "bench/hat_bench"):
        path = rig.BUILD / part
        if os.access(path, os.X_OK):
            print("\n```", flush=True)
            subprocess.run([str(path)], check=True)
            print("```", flush=True)
