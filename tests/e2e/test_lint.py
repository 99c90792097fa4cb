"""waxgate lint: what a configuration that works would better not do."""
import json
import os
import subprocess

import pytest

MODERN = """
tls_profiles: {default: {versions: [TLSv1.2, TLSv1.3]}}
"""


def certificate(folder, *names, days=365, bits=2048):
    """A certificate of an authority of its own, as mx.test.pem and .key."""
    def run(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True,
                       cwd=folder)

    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key",
        "-out", "ca.pem", "-days", "3650", "-subj", "/CN=Test CA")
    run("req", "-newkey", f"rsa:{bits}", "-nodes", "-keyout", "mx.test.key",
        "-out", "mx.csr", "-subj", f"/CN={names[0]}", "-addext",
        "subjectAltName=" + ",".join("DNS:" + name for name in names))
    run("x509", "-req", "-in", "mx.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
        "-CAcreateserial", "-days", str(days), "-copy_extensions", "copy",
        "-out", "mx.test.pem")
    os.chmod(folder / "mx.test.key", 0o600)


def lint(gateway):
    done = gateway.call("lint", "--json", check=False)
    found = json.loads(done.stdout)
    assert done.returncode == (1 if found else 0), done.stderr
    for finding in found:
        assert finding["file"] == str(gateway.config)
        assert finding["why"] and finding["better"]
    return {(f["code"], f["path"]): f["what"] for f in found}


@pytest.fixture
def gw(gateway):
    gateway.configure(extra=MODERN)
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace("type: private", "type: public")
                              .replace("relay_for: [127.0.0.0/8]",
                                       "domains: [example.org]"))
    certificate(gateway.folder, "gw.test")
    return gateway


def test_good_configuration(gw):
    assert lint(gw) == {}
    assert gw.call("lint").stdout == ""


@pytest.mark.parametrize("names, found", [
    (["other.test", "gw.test"], False),
    (["*.test"], False),
    (["GW.TEST"], False),
    (["other.test"], True),
    (["*.gw.test"], True),
    (["w.test"], True),
])
def test_name(gw, names, found):
    certificate(gw.folder, *names)
    expected = {("certificate-name", "listeners.Test.certificates"):
                "no certificate is for the host name gw.test"}
    assert lint(gw) == (expected if found else {})


def test_expiry(gw):
    certificate(gw.folder, "gw.test", days=20)
    ((code, path), what), = lint(gw).items()
    assert (code, path) == ("certificate-expiry", "certificates.mx.chain")
    assert what in ("the certificate ends in 19 days",
                    "the certificate ends in 20 days")


def test_self_signed(gw):
    subprocess.run(
        ["openssl", "req", "-x509", "-key", "mx.test.key", "-out",
         "mx.test.pem", "-days", "90", "-subj", "/CN=gw.test", "-addext",
         "subjectAltName=DNS:gw.test"], check=True, capture_output=True,
        cwd=gw.folder)
    assert lint(gw) == {
        ("certificate-self-signed", "certificates.mx.chain"):
        "the certificate of a public listener is self-signed"}


@pytest.mark.parametrize("mode, who", [
    (0o600, None), (0o640, "its group"), (0o644, "everybody")])
def test_key_mode(gw, mode, who):
    key = gw.folder / "mx.test.key"
    key.chmod(mode)
    expected = {("key-readable", "certificates.mx.key"): f"{who} can read {key}"}
    assert lint(gw) == (expected if who else {})


def test_missing_files(gw):
    (gw.folder / "mx.test.pem").unlink()
    (gw.folder / "mx.test.key").unlink()
    assert {code for code, _ in lint(gw)} == {"certificate-unreadable"}


def test_text_says_where_what_why_and_better(gw):
    gw.config.write_text(gw.config.read_text() +
                         "destinations: {a.example: {tls: no}}\n")
    done = gw.call("lint", check=False)
    line = len(gw.config.read_text().splitlines())
    assert done.returncode == 1
    assert done.stdout == (
        f'{gw.config}:{line}: destinations."a.example".tls: mail to a.example '
        "never goes over TLS [clear-text]\n"
        "    why: everybody on the way can read and change the mail\n"
        "    better: `tls: preferred`, which is never worse\n")


def test_what_does_not_load_is_an_error(gw):
    gw.config.write_text("nodes: a\n")
    done = gw.call("lint", check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert "there is no such setting" in done.stderr
