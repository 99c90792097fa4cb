"""Certificate files that change under a running gateway."""
import hashlib
import os
import pathlib
import shutil
import ssl
import subprocess
import threading
import time

import pytest
import rig

LOOK = "certificate_check: 1s\n"


def fingerprint(path):
    """SHA-256 of the first certificate of a PEM file."""
    text = pathlib.Path(path).read_text()
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest()


def served(gateway, name=None):
    """Fingerprint of what a new connection is shown that asks for a name."""
    client = gateway.smtp()
    client.reply()
    client.command("EHLO c.test")
    client.command("STARTTLS")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client.socket = context.wrap_socket(client.socket, server_hostname=name)
    der = client.socket.getpeercert(binary_form=True)
    client.close()
    return hashlib.sha256(der).hexdigest()


def put(source, target):
    """As careful tools do: the whole file appears at once."""
    shutil.copy2(source, f"{target}.new")
    os.rename(f"{target}.new", target)


def event(gateway, kind, **fields):
    """The first event of this kind with these fields, when it has come."""
    def find():
        return [e for e in gateway.events(kind)
                if all(e.get(k) == v for k, v in fields.items())]
    return rig.wait_for(find, what=f"event {kind} {fields}")[0]


def keys(gateway):
    return {a["key"]: a["text"] for a in gateway.status()["alerts"]}


@pytest.fixture
def other(tmp_path):
    """Another pair for the same name."""
    folder = tmp_path / "other"
    folder.mkdir()
    return rig.make_certificate(folder, days=90)


@pytest.fixture
def files(gateway):
    """The pair in use: chain, key."""
    return gateway.folder / "mx.test.pem", gateway.folder / "mx.test.key"


def test_replaced_under_load(gateway, files, other, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink", tls=False))
    gateway.configure(next_hop=sink.address, extra=LOOK).start()
    open_before = gateway.smtp()
    open_before.reply()
    open_before.command("EHLO c.test")
    open_before.starttls()
    open_before.command("EHLO c.test")
    old = served(gateway)
    results = []

    def pump():
        while not stop.is_set():
            results.append(rig.load(
                (gateway.host, gateway.port), 100, check=False, sessions=8,
                per_connection=1, tls=True, first_id=1 + 100 * len(results)))

    stop = threading.Event()
    pumping = threading.Thread(target=pump)
    pumping.start()
    try:
        # Another program's half-finished edit is not taken along.
        text = gateway.config.read_text()
        gateway.config.write_text(text + "nonsense: 1\n")
        put(other[0], files[0])
        put(other[1], files[1])
        event(gateway, "certificate.reload", name="mx",
              sha256=fingerprint(other[0]))
        gateway.config.write_text(text)
        assert served(gateway) == fingerprint(other[0]) != old
        time.sleep(1)
    finally:
        stop.set()
        pumping.join()
    for result in results:
        assert result["accepted"] == 100, result
        assert not result.get("failed"), result
    assert open_before.message()[0] == 250
    open_before.close()
    listeners = gateway.status()["receiver"]["listeners"]
    assert [l["tls_failed"] for l in listeners] == [0]
    assert not keys(gateway)


def test_half_written(gateway, files, other):
    gateway.configure(extra=LOOK).start()
    old = served(gateway)
    put(other[0], files[0])
    refusal = event(gateway, "certificate.refused", name="mx")
    assert "mx" in refusal["reason"]
    assert "certificate.mx" in keys(gateway)
    assert served(gateway) == old
    assert "certificate.mx" in gateway.call("alerts").stdout
    put(other[1], files[1])
    event(gateway, "certificate.reload", name="mx")
    assert served(gateway) == fingerprint(other[0])
    rig.wait_for(lambda: not keys(gateway), what="no alert")


def test_key_of_another(gateway, files, other):
    gateway.configure(extra=LOOK).start()
    old = served(gateway)
    kept = gateway.folder / "kept.key"
    shutil.copy2(files[1], kept)
    put(other[1], files[1])
    rig.wait_for(lambda: "certificate.mx" in keys(gateway), what="the alert")
    assert served(gateway) == old
    put(kept, files[1])
    rig.wait_for(lambda: not keys(gateway), what="no alert")
    assert served(gateway) == old


def test_a_bad_pair_hinders_no_other(gateway, files, other, tmp_path):
    """Of two pairs one is spoilt; the other is renewed meanwhile."""
    folder = tmp_path / "second"
    folder.mkdir()
    second = rig.make_certificate(folder, "second.test")
    gateway.configure(extra=LOOK)
    text = gateway.config.read_text()
    text = text.replace("certificates:\n", "certificates:\n"
                        f"  two: {{chain: {second[0]}, key: {second[1]}}}\n")
    gateway.config.write_text(text.replace("[mx]", "[mx, two]"))
    gateway.start()
    old = served(gateway)
    put(other[1], files[1])
    rig.wait_for(lambda: "certificate.mx" in keys(gateway), what="the alert")
    renewed = []
    for days in (40, 50): # also when the first reload is over
        rig.make_certificate(folder, "second.test", days=days)
        renewed.append(fingerprint(second[0]))
        event(gateway, "certificate.reload", name="two", sha256=renewed[-1])
        assert served(gateway, "second.test") == renewed[-1]
        assert served(gateway) == old
        assert list(keys(gateway)) == ["certificate.mx"]
    assert len(gateway.events("certificate.refused")) == 1
    # Whoever asks for a reload gets to know.
    refusal = gateway.call("reload", check=False)
    assert refusal.returncode != 0 and "does not belong" in refusal.stderr
    put(other[0], files[0])
    event(gateway, "certificate.reload", name="mx", sha256=fingerprint(other[0]))
    assert served(gateway) == fingerprint(other[0])
    rig.wait_for(lambda: not keys(gateway), what="no alert")


def test_gone_and_back(gateway, files):
    gateway.configure(extra=LOOK).start()
    old = served(gateway)
    os.rename(files[0], gateway.folder / "away.pem")
    rig.wait_for(lambda: "certificate.mx" in keys(gateway), what="the alert")
    assert served(gateway) == old
    os.rename(gateway.folder / "away.pem", files[0])
    rig.wait_for(lambda: not keys(gateway), what="no alert")


def test_off(gateway, files, other):
    gateway.configure(extra="certificate_check: off\n").start()
    old = served(gateway)
    put(other[0], files[0])
    put(other[1], files[1])
    time.sleep(3)
    assert served(gateway) == old
    gateway.call("reload")
    assert served(gateway) == fingerprint(other[0])


def test_end_is_announced(gateway, files, other):
    rig.make_certificate(gateway.folder, days=5)
    gateway.configure(extra=LOOK).start()
    told = event(gateway, "certificate.expiry", name="mx")
    assert told["state"] == "7-days" and told["days_left"] in (4, 5)
    assert "listener Test" in told["used_by"]
    rig.wait_for(lambda: "certificate.mx.expiry" in keys(gateway),
                 what="the alert")
    text = keys(gateway)["certificate.mx.expiry"]
    assert "certificate mx ends on " in text and " days (" in text
    assert "certificate.mx.expiry" in gateway.call("alerts").stdout
    shown = gateway.call("status").stdout
    assert "7-days" in shown and "listener Test" in shown
    row = gateway.status()["certificates"][0]
    assert row["name"] == "mx" and row["days_left"] in (4, 5)
    put(other[0], files[0])
    put(other[1], files[1])
    rig.wait_for(lambda: not keys(gateway), what="no alert")
    assert gateway.status()["certificates"][0]["state"] == "ok"


def test_suites_and_staple(gateway, tmp_path):
    """The settings of a listener's TLS reach its handshakes."""
    cert, key = rig.make_certificate(tmp_path, "ca.test")
    folder = gateway.folder
    subprocess.run(["openssl", "req", "-new", "-key", folder / "mx.test.key",
                    "-subj", "/CN=mx.test", "-out", folder / "mx.csr"],
                   check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", folder / "mx.csr", "-CA",
                    cert, "-CAkey", key, "-set_serial", "77", "-days", "90",
                    "-out", folder / "leaf.pem"],
                   check=True, capture_output=True)
    chain = (folder / "leaf.pem").read_text() + pathlib.Path(cert).read_text()
    (folder / "mx.test.pem").write_text(chain)
    index = folder / "index.txt"
    index.write_text("V\t491231235959Z\t\t4D\tunknown\t/CN=mx.test\n")
    gateway.configure(extra=LOOK + (
        "tls_profiles:\n"
        "  default: {suites: TLS_CHACHA20_POLY1305_SHA256}\n"))
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace(
        "mx.test.key}", f"mx.test.key, ocsp: {folder}/mx.ocsp}}"))
    gateway.start()

    def handshake():
        return subprocess.run(
            ["openssl", "s_client", "-connect",
             f"{gateway.host}:{gateway.port}", "-starttls", "smtp", "-status"],
            input="QUIT\r\n", capture_output=True, text=True).stdout

    out = handshake()
    assert "Cipher is TLS_CHACHA20_POLY1305_SHA256" in out
    assert "OCSP response: no response sent" in out
    issue = ["openssl", "ocsp", "-index", index, "-rsigner", cert, "-rkey", key,
             "-CA", cert, "-issuer", cert, "-cert", folder / "leaf.pem",
             "-ndays", "2", "-respout", folder / "mx.ocsp", "-noverify"]
    subprocess.run(issue, check=True, capture_output=True)
    event(gateway, "certificate.reload", name="mx")
    assert "OCSP Response Status: successful" in handshake()
    assert not gateway.events("certificate.ocsp")
