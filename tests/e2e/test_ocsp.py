"""Responses of the authority that the gateway fetches and staples."""
import datetime
import http.server
import pathlib
import subprocess
import threading
import time

import pytest
import rig
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

LOOK = "certificate_check: 1s\n"


def openssl(*args, **options):
    return subprocess.run(["openssl", *map(str, args)], check=True,
                          capture_output=True, **options)


class Responder:
    """HTTP in front of `openssl ocsp`, which opens a port on all addresses
    when it is left to itself."""

    def __init__(self, folder):
        self.folder = folder
        self.cert, self.key = rig.make_certificate(folder, "ca.test")
        self.index = folder / "index.txt"
        self.say("V")
        self.answer = None # instead of what openssl says: (status, bytes)
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                question = self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked.append(self.headers["Content-Type"])
                status, body = outer.answer or (200, outer.reply(question))
                self.send_response(status)
                self.send_header("Content-Type", "application/ocsp-response")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.host = rig.loopback()
        self.server = http.server.ThreadingHTTPServer((self.host, 8080), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def say(self, status):
        revoked = "200101000000Z" if status == "R" else ""
        self.index.write_text(
            f"{status}\t491231235959Z\t{revoked}\t4D\tunknown\t/CN=mx.test\n")

    def reply(self, question):
        (self.folder / "question").write_bytes(question)
        openssl("ocsp", "-index", self.index, "-rsigner", self.cert, "-rkey",
                self.key, "-CA", self.cert, "-reqin", self.folder / "question",
                "-ndays", "2", "-respout", self.folder / "reply")
        return (self.folder / "reply").read_bytes()

    def issue(self, chain, key, name="mx.test", url=True):
        """A pair whose certificate names this responder, in these files."""
        request = self.folder / "request"
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
                "-subj", f"/CN={name}", "-out", request)
        extensions = self.folder / "extensions"
        extensions.write_text(
            f"subjectAltName=DNS:{name}\n" +
            (f"authorityInfoAccess=OCSP;URI:http://{self.host}:8080/ocsp\n"
             if url else ""))
        leaf = openssl("x509", "-req", "-in", request, "-CA", self.cert,
                       "-CAkey", self.key, "-set_serial", "77", "-days", "90",
                       "-extfile", extensions).stdout
        pathlib.Path(chain).write_bytes(
            leaf + pathlib.Path(self.cert).read_bytes())
        pathlib.Path(key).chmod(0o600)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def responder(tmp_path, cleanup):
    return cleanup(Responder(tmp_path))


def start(gateway, responder, **options):
    responder.issue(gateway.folder / "mx.test.pem",
                    gateway.folder / "mx.test.key", **options)
    gateway.configure(extra=LOOK)
    text = gateway.config.read_text()
    gateway.config.write_text(
        text.replace("mx.test.key}", "mx.test.key, ocsp: fetch}"))
    return gateway.start()


def stapled(gateway):
    out = subprocess.run(
        ["openssl", "s_client", "-connect", f"{gateway.host}:{gateway.port}",
         "-starttls", "smtp", "-status"], input="QUIT\r\n",
        capture_output=True, text=True, timeout=30).stdout
    assert "Cipher is TLS_" in out
    return "Cert Status: good" in out


def alerts(gateway):
    return {a["key"]: a["text"] for a in gateway.status()["alerts"]}


def test_fetched_and_stapled(gateway, responder):
    start(gateway, responder)
    fetched = gateway.wait_event("certificate.ocsp_fetched")[0]
    assert fetched["name"] == "mx"
    assert fetched["url"] == f"http://{responder.host}:8080/ocsp"
    assert fetched["until"].endswith("Z")
    rig.wait_for(lambda: stapled(gateway), what="a stapled response")
    assert responder.asked == ["application/ocsp-request"]
    kept = gateway.state / "ocsp" / "mx.der"
    assert kept.exists() and kept.stat().st_mode & 0o77 == 0
    assert [p.name for p in kept.parent.iterdir()] == ["mx.der"]
    # It is fresh: neither a reload nor a new start asks again.
    gateway.call("reload")
    gateway.stop()
    gateway.start()
    assert stapled(gateway)
    assert len(responder.asked) == 1 and not alerts(gateway)
    assert not gateway.events("certificate.ocsp")


def test_revoked(gateway, responder):
    responder.say("R")
    start(gateway, responder)
    event = gateway.wait_event("certificate.ocsp", level="error")[0]
    assert "revoked" in event["reason"]
    assert "revoked" in rig.wait_for(
        lambda: alerts(gateway).get("certificate.mx.ocsp"), what="the alert")
    assert not stapled(gateway)
    responder.say("V")
    gateway.call("reload") # looks again at once
    gateway.wait_event("certificate.ocsp_fetched")
    rig.wait_for(lambda: not alerts(gateway), what="no alert")


@pytest.mark.parametrize("answer, reason", [
    ((503, b"later"), "503"),
    ((200, b"nonsense"), "no OCSP response"),
    ((200, b"\x30\x03\x0a\x01\x03"), "trylater"),
    ((200, b"x" * 70000), ""),
])
def test_what_is_not_good_is_not_stapled(gateway, responder, answer, reason):
    responder.answer = answer
    start(gateway, responder)
    event = gateway.wait_event("certificate.ocsp", level="warning")[0]
    assert reason in event["reason"] and event["failures"] == 1
    assert not stapled(gateway)
    assert not (gateway.state / "ocsp" / "mx.der").exists()
    assert not alerts(gateway) # once is no reason to wake anybody


def test_of_another_authority(gateway, responder, tmp_path, cleanup):
    """What is genuine elsewhere is not taken here."""
    (tmp_path / "other").mkdir()
    other = Responder.__new__(Responder)
    other.folder, other.index = tmp_path / "other", responder.index
    other.cert, other.key = rig.make_certificate(other.folder, "other.test")
    start(gateway, responder)
    gateway.wait_event("certificate.ocsp_fetched")
    gateway.stop()
    (gateway.state / "ocsp" / "mx.der").unlink()
    question = tmp_path / "question"
    responder.answer = (200, other.reply(question.read_bytes()))
    gateway.log.unlink()
    gateway.start()
    assert "not signed" in gateway.wait_event(
        "certificate.ocsp", level="warning")[0]["reason"]


def test_an_authority_without_responder(gateway, responder):
    start(gateway, responder, url=False)
    event = gateway.wait_event("certificate.ocsp", level="info")[0]
    assert "names no responder" in event["reason"]
    assert not responder.asked and not alerts(gateway)
    assert not stapled(gateway)


def half_over(responder):
    """An answer most of whose period has passed, as one from a cache."""
    moment = datetime.datetime.utcnow()
    authority = x509.load_pem_x509_certificate(
        pathlib.Path(responder.cert).read_bytes())
    key = serialization.load_pem_private_key(
        pathlib.Path(responder.key).read_bytes(), None)
    leaf = x509.load_pem_x509_certificate(responder.leaf.read_bytes())
    return ocsp.OCSPResponseBuilder().add_response(
        cert=leaf, issuer=authority, algorithm=hashes.SHA1(),
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=moment - datetime.timedelta(days=3),
        next_update=moment + datetime.timedelta(days=1),
        revocation_time=None, revocation_reason=None,
    ).responder_id(ocsp.OCSPResponderEncoding.HASH, authority).sign(
        key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_past_half_it_is_not_asked_for_at_once(gateway, responder):
    responder.leaf = gateway.folder / "mx.test.pem"
    responder.issue(responder.leaf, gateway.folder / "mx.test.key")
    responder.answer = (200, half_over(responder))
    gateway.configure(extra=LOOK)
    text = gateway.config.read_text()
    gateway.config.write_text(
        text.replace("mx.test.key}", "mx.test.key, ocsp: fetch}"))
    gateway.start()
    gateway.wait_event("certificate.ocsp_fetched")
    kept = gateway.state / "ocsp" / "mx.der"
    written = kept.stat().st_mtime_ns
    # The new file is a reason to load; that is none to ask.
    rig.wait_for(lambda: stapled(gateway), what="a stapled response")
    gateway.call("reload")
    time.sleep(3)
    assert len(responder.asked) == 1
    assert kept.stat().st_mtime_ns == written
    # Asked again by another process, the same answer is no new file.
    gateway.stop()
    gateway.start()
    rig.wait_for(lambda: len(responder.asked) == 2, what="another question")
    rig.wait_for(lambda: len(gateway.events("certificate.ocsp_fetched")) == 2,
                 what="the answer")
    time.sleep(2)
    assert len(responder.asked) == 2
    assert kept.stat().st_mtime_ns == written
    assert [p.name for p in kept.parent.iterdir()] == ["mx.der"]
