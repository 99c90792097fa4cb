"""waxgate cert and waxgate tls: what an administrator does with certificates.
None of these needs a running gateway."""
import json
import os
import pathlib
import pty
import ssl
import stat
import subprocess

import pytest
import rig


def run(*args):
    subprocess.run(args, check=True, capture_output=True)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def refused(gateway, *args, **options):
    done = gateway.call(*args, check=False, **options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("waxgate: ") and \
        done.stderr.count("\n") == 1, done.stderr
    assert "PRIVATE KEY" not in done.stdout + done.stderr
    return done.stderr


@pytest.fixture
def gw(gateway):
    rig.make_certificate(gateway.folder, days=30)
    return gateway.configure()


@pytest.fixture
def authority(tmp_path):
    """A CA that signs requests: authority(csr, out)."""
    cert, key = rig.make_certificate(tmp_path, "ca.test")

    def sign(csr, out):
        run("openssl", "x509", "-req", "-in", str(csr), "-CA", cert, "-CAkey",
            key, "-CAcreateserial", "-days", "90", "-copy_extensions", "copy",
            "-out", str(out))
        return out

    sign.cert = cert
    return sign


def password_file(folder, text="geheim\n"):
    path = pathlib.Path(folder) / "password"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


# list and show -------------------------------------------------------------

def test_list(gw):
    rows = json.loads(gw.call("cert", "list", "--json").stdout)
    assert [r["name"] for r in rows] == ["mx"]
    row = rows[0]
    assert row["subject"] == "CN=mx.test" and row["names"] == ["DNS:mx.test"]
    assert row["used_by"].startswith("Test") and row["state"] == "ends soon"
    assert row["key_type"] == "RSA" and row["key_bits"] == 2048
    assert row["days_left"] in (29, 30) and row["self_signed"]
    der = ssl.PEM_cert_to_DER_cert((gw.folder / "mx.test.pem").read_text())
    import hashlib
    assert row["sha256"] == hashlib.sha256(der).hexdigest()
    text = gw.call("cert", "list").stdout
    assert row["sha256"] in text and "Test" in text


def test_list_tells_what_is_unusable(gw):
    (gw.folder / "mx.test.key").chmod(0o644)
    done = gw.call("cert", "list", "--json", check=False)
    row = json.loads(done.stdout)[0]
    assert done.returncode == 1
    assert row["state"] == "unusable" and "make it 0600" in row["error"]
    (gw.folder / "mx.test.pem").unlink()
    done = gw.call("cert", "list", check=False)
    assert done.returncode == 1 and "No such file" in done.stdout


def test_show(gw):
    by_name = gw.call("cert", "show", "mx").stdout
    by_file = gw.call("cert", "show", str(gw.folder / "mx.test.pem")).stdout
    assert by_name == by_file
    facts = json.loads(gw.call("cert", "show", "--json", "mx").stdout)
    spki = subprocess.run(
        f"openssl x509 -in {gw.folder}/mx.test.pem -noout -pubkey | "
        "openssl pkey -pubin -outform DER | sha256sum",
        shell=True, capture_output=True, text=True).stdout.split()[0]
    assert facts["spki_sha256"] == spki
    assert f"_25._tcp.mx.test. IN TLSA 3 1 1 {spki}" in by_name
    both = gw.folder / "both.pem"
    both.write_text((gw.folder / "mx.test.key").read_text() +
                    (gw.folder / "mx.test.pem").read_text())
    assert "PRIVATE" not in gw.call("cert", "show", str(both)).stdout
    assert "neither PEM nor" in refused(gw, "cert", "show", str(gw.config))
    assert "No such file" in refused(gw, "cert", "show", "/nonexistent")
    assert "(there is: mx)" in refused(gw, "cert", "show", "nonexistent")


# create --------------------------------------------------------------------

@pytest.mark.parametrize("key_type", ["rsa2048", "ec256"])
def test_create_self_signed(gw, key_type):
    gw.call("cert", "create-self-signed", "--key-type", key_type, "--days",
            "10", "--subject", "O=Example,C=NL", "own", "gw.test",
            "*.gw.test", "127.0.0.1")
    chain, key = gw.folder / "own.pem", gw.folder / "own.key"
    assert mode(chain) == 0o644 and mode(key) == 0o600
    text = subprocess.run(["openssl", "x509", "-in", str(chain), "-noout",
                           "-text"], capture_output=True, text=True).stdout
    assert "DNS:gw.test, DNS:*.gw.test, IP Address:127.0.0.1" in text
    assert "CA:FALSE" in text and "TLS Web Server Authentication" in text
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    before = key.read_bytes()
    assert "not overwritten without --replace" in refused(
        gw, "cert", "create-self-signed", "own", "gw.test")
    assert key.read_bytes() == before
    gw.call("cert", "create-self-signed", "--replace", "own", "gw.test")
    assert key.read_bytes() != before


def test_create_refuses_nonsense(gw):
    for args, text in [(["own", "gw test"], "neither a host name"),
                       (["--key-type", "rsa512", "own", "gw.test"],
                        "no key of type"),
                       (["--subject", "X=y", "own", "gw.test"], "subject")]:
        assert text in refused(gw, "cert", "create-self-signed", *args)
    assert gw.call("cert", "create-self-signed", "own",
                   check=False).returncode == 2
    assert gw.call("cert", "create-self-signed", "--days", "0", "own", "a.test",
                   check=False).returncode == 2


def test_request_and_import(gw, authority):
    """A first certificate: request, authority, answer."""
    gw.call("cert", "create-csr", "new", "gw.test")
    key = gw.folder / "new.key"
    assert mode(key) == 0o600
    answer = authority(gw.folder / "new.csr", gw.folder / "answer.pem")
    out = gw.call("cert", "import", "new", str(answer), authority.cert).stdout
    assert "issued by" in out and "wrote" in out
    assert (gw.folder / "new.pem").read_text().count("BEGIN CERT") == 2
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(gw.folder / "new.pem", key)


def test_renewal_with_a_new_key(gw, authority):
    """The pair in service stays whole until the answer is imported."""
    chain, key = gw.folder / "mx.test.pem", gw.folder / "mx.test.key"
    before = chain.read_bytes(), key.read_bytes()
    gw.call("cert", "create-csr", "--new-key", "mx", "mx.test")
    assert (chain.read_bytes(), key.read_bytes()) == before
    answer = authority(gw.folder / "mx.test.csr", gw.folder / "answer.pem")
    assert "--replace" in refused(gw, "cert", "import", "mx", str(answer))
    gw.call("cert", "import", "--replace", "mx", str(answer))
    assert chain.read_bytes() != before[0] and key.read_bytes() != before[1]
    assert not (gw.folder / "mx.test.key.new").exists()
    assert json.loads(gw.call("cert", "list", "--json").stdout)[0][
        "issuer"] == "CN=ca.test"
    gw.call("config", "check")


# import --------------------------------------------------------------------

def test_import_pkcs12(gw, tmp_path):
    """As Windows writes it too: RC2 and 3DES, which OpenSSL 3 calls legacy."""
    cert, key = rig.make_certificate(tmp_path, "old.test")
    password = password_file(tmp_path)
    for i, legacy in enumerate([[], ["-legacy"]]):
        p12 = tmp_path / f"{i}.p12"
        run("openssl", "pkcs12", "-export", *legacy, "-in", cert, "-inkey",
            key, "-out", str(p12), "-passout", f"file:{password}")
        gw.call("cert", "import", "--password-file", password, f"in{i}",
                str(p12))
        assert mode(gw.folder / f"in{i}.key") == 0o600
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(gw.folder / f"in{i}.pem",
                                gw.folder / f"in{i}.key")
    wrong = password_file(gw.folder, "falsch\n")
    assert "wrong password" in refused(
        gw, "cert", "import", "--password-file", wrong, "no", str(p12))
    assert not (gw.folder / "no.key").exists()
    os.chmod(wrong, 0o644)
    assert "make it 0600" in refused(
        gw, "cert", "import", "--password-file", wrong, "no", str(p12))


def test_import_pkcs7(gw, authority):
    gw.call("cert", "create-csr", "p7", "gw.test")
    answer = authority(gw.folder / "p7.csr", gw.folder / "answer.pem")
    p7b = gw.folder / "answer.p7b"
    run("openssl", "crl2pkcs7", "-nocrl", "-certfile", authority.cert,
        "-certfile", str(answer), "-out", str(p7b))
    gw.call("cert", "import", "p7", str(p7b))
    first = ssl.PEM_cert_to_DER_cert(
        (gw.folder / "p7.pem").read_text().split("-----END")[0] +
        "-----END CERTIFICATE-----\n")
    assert first == ssl.PEM_cert_to_DER_cert(answer.read_text())


def test_import_refuses_a_foreign_key(gw, tmp_path):
    cert, _ = rig.make_certificate(tmp_path, "a.test")
    _, key = rig.make_certificate(tmp_path, "b.test")
    text = refused(gw, "cert", "import", "--key", key, "x", cert)
    assert "belongs to none" in text and "CN=a.test" in text
    assert "no private key" in refused(gw, "cert", "import", "x", cert)
    assert not (gw.folder / "x.pem").exists()
    before = (gw.folder / "mx.test.pem").read_bytes()
    assert "belongs to none" in refused(gw, "cert", "import", "--replace",
                                        "mx", cert)
    assert (gw.folder / "mx.test.pem").read_bytes() == before


def test_key_is_private_at_every_moment(gw, tmp_path):
    """strace sees every file that is made: none is open to others."""
    trace = tmp_path / "trace"
    if subprocess.run(["which", "strace"], capture_output=True).returncode:
        pytest.skip("strace is not installed")
    subprocess.run(
        ["strace", "-f", "-o", str(trace), "-e", "trace=openat,fchmod,chmod",
         rig.WAXGATE, "--config", str(gw.config), "cert", "create-self-signed",
         "own", "gw.test"], check=True, capture_output=True, umask=0)
    made = [l for l in trace.read_text().splitlines()
            if "O_CREAT" in l or "chmod" in l]
    keys = [l for l in made if ".key." in l]
    assert keys and all(", 0600)" in l for l in keys), made


# export --------------------------------------------------------------------

def test_export(gw, tmp_path):
    out = tmp_path / "out.p12"
    password = password_file(tmp_path)
    gw.call("cert", "export", "--password-file", password, "mx", str(out))
    assert mode(out) == 0o600
    run("openssl", "pkcs12", "-in", str(out), "-passin", f"file:{password}",
        "-noout")
    assert "--replace" in refused(
        gw, "cert", "export", "--password-file", password, "mx", str(out))
    assert "no password" in refused(
        gw, "cert", "export", "mx", str(tmp_path / "no.p12"),
        start_new_session=True)
    assert "No such file" in refused(
        gw, "cert", "export", "--password-file", "/nonexistent", "mx",
        str(tmp_path / "no.p12"))


def at_terminal(args, lines):
    """Runs a command with a terminal of its own; what the terminal showed."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(args[0], args)
    shown = b""
    try:
        for line in lines:
            while not shown.endswith(b": "):
                shown += os.read(fd, 1000)
            os.write(fd, line.encode() + b"\n")
            shown += b"\n"
        while True:
            shown += os.read(fd, 1000)
    except OSError:
        pass
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_password_at_the_terminal(gw, tmp_path):
    out = tmp_path / "out.p12"
    args = [rig.WAXGATE, "--config", str(gw.config), "cert", "export", "mx",
            str(out)]
    status, shown = at_terminal(args, ["geheim", "anders"])
    assert status == 1 and "differ" in shown and not out.exists()
    status, shown = at_terminal(args, ["geheim", "geheim"])
    assert status == 0 and "geheim" not in shown
    run("openssl", "pkcs12", "-in", str(out), "-passin", "pass:geheim",
        "-noout")


# tls ciphers ---------------------------------------------------------------

def ciphers(gw, text):
    return json.loads(gw.call("tls", "ciphers", "--json", text).stdout)


def test_ciphers_of_profiles(gw):
    gw.configure(extra="tls_profiles:\n"
                       "  modern: {versions: [TLSv1.3]}\n"
                       "  one: {versions: [TLSv1.2], ciphers: "
                       "ECDHE-RSA-AES128-GCM-SHA256}\n")
    assert all(c["since"] == "TLSv1.3"
               for c in ciphers(gw, "modern")["ciphers"])
    assert [c["name"] for c in ciphers(gw, "one")["ciphers"]] == \
        ["ECDHE-RSA-AES128-GCM-SHA256"]
    high, medium, low = (len(ciphers(gw, s)["ciphers"])
                         for s in ("high", "medium", "low"))
    assert high < medium < low


def test_ciphers_of_lists(gw):
    shown = ciphers(gw, "ALL:!aDH:!ADH:!aNULL:!RC4:!IDEA:!MD5:!EXPORT:@STRENGTH")
    assert shown["removed"] == []
    assert {"null", "anonymous", "export"}.isdisjoint(
        w for c in shown["ciphers"] for w in c["warnings"])
    assert any("no-forward-secrecy" in c["warnings"] for c in shown["ciphers"])
    assert any(n.startswith("ADH-") for n in ciphers(gw, "ALL")["removed"])
    assert "NULL-SHA256" in refused(gw, "tls", "ciphers", "HIGH:NULL-SHA256")
    assert "matches no cipher" in refused(gw, "tls", "ciphers", "nonsense")


def test_ciphers_without_configuration(tmp_path):
    done = subprocess.run(
        [rig.WAXGATE, "--config", str(tmp_path / "none.yaml"), "tls",
         "ciphers", "HIGH"], capture_output=True, text=True)
    assert done.returncode == 0 and "TLS_AES_256_GCM_SHA384" in done.stdout
