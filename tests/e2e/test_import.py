"""waxgate import: settings of other products become a candidate."""
import os
import stat
import subprocess

import pytest

REG = """Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\\SOFTWARE\\Marshal\\MailMarshal\\Default\\Receiver]
"SSLMethodTLSv1.0"=dword:00000000
"MaxThreads"=dword:00000010

[HKEY_LOCAL_MACHINE\\SOFTWARE\\Marshal\\MailMarshal\\Default\\Sender]
"SSLMethodTLSv1_1"=dword:00000000
"TLSCipherList"="HIGH:!aNULL:@STRENGTH"
"""
REPORT = """\
line 4: SSLMethodTLSv1.0: taken as servers.default.tls_versions.TLSv1.0: off
line 5: MaxThreads: ignored because Waxgate has no such setting
line 8: Sender.SSLMethodTLSv1_1: taken as sender.tls_versions.TLSv1.1: off
line 9: Sender.TLSCipherList: taken as sender.tls_ciphers: HIGH:!aNULL:@STRENGTH
3 taken, 1 ignored, 0 refused
"""
FRAGMENT = """\
advanced:
  SSLMethodTLSv1_0: 0
  Sender.SSLMethodTLSv1_1: 0
  Sender.TLSCipherList: "HIGH:!aNULL:@STRENGTH"
"""


@pytest.fixture
def gw(gateway):
    return gateway.configure()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_registry_export(gw, tmp_path, encoding, newline):
    export = tmp_path / "export.reg"
    export.write_bytes(REG.replace("\n", newline).encode(encoding))
    candidate = tmp_path / "candidate.yaml"
    done = gw.call("import", str(export), "--output", str(candidate))
    assert done.stdout == REPORT
    before = open(gw.config).read()
    assert candidate.read_text() == before + "\n" + FRAGMENT
    assert stat.S_IMODE(os.stat(candidate).st_mode) & 0o027 == 0
    effective = gw.call("config", "show", "--effective", str(candidate)).stdout
    assert "TLSv1.0: off  # advanced setting SSLMethodTLSv1_0, line" in effective
    assert "TLSv1.1: off  # advanced setting Sender.SSLMethodTLSv1_1, line" \
        in effective
    gw.call("config", "check", str(candidate))


def test_candidate_on_standard_output(gw, tmp_path):
    export = tmp_path / "export.reg"
    export.write_text(REG)
    done = gw.call("import", "--fragment", str(export))
    assert (done.stdout, done.stderr) == (FRAGMENT, REPORT)
    done = gw.call("import", "--fragment", "-", input=REG)
    assert done.stdout == FRAGMENT


def test_refusal_writes_nothing(gw, tmp_path):
    export = tmp_path / "list"
    export.write_text("SSLMethodTLSv1_0 = 0\nSSLMethodTLSv1_1 = 7\n")
    candidate = tmp_path / "candidate.yaml"
    done = gw.call("import", str(export), "--output", str(candidate),
                   check=False)
    assert done.returncode == 1
    assert 'line 2: SSLMethodTLSv1_1: refused: must be 0 or 1, not "7"\n' \
        in done.stdout
    assert done.stderr == ("waxgate: nothing was imported: correct what was "
                           "refused, or remove it from the file\n")
    assert not candidate.exists()


def test_what_the_library_cannot_do_is_refused(gw, tmp_path):
    export = tmp_path / "list"
    export.write_text("SSLMethodSSLv2,Integer,1\n")
    done = gw.call("import", str(export), check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert "SSLv2 cannot be turned on: OpenSSL" in done.stderr


def test_existing_file_is_kept(gw, tmp_path):
    export = tmp_path / "list"
    export.write_text("SSLMethodTLSv1_0 = 0\n")
    done = gw.call("import", str(export), "--output", str(gw.config),
                   check=False)
    assert done.returncode == 1
    assert "File exists" in done.stderr


def handshake(gw, version):
    return subprocess.run(
        ["openssl", "s_client", "-starttls", "smtp", version, "-connect",
         f"{gw.host}:{gw.port}"], input="QUIT\n", text=True,
        capture_output=True).stdout


def test_imported_switches_count_from_the_next_connection(gw, tmp_path):
    export = tmp_path / "list"
    export.write_text("SSLMethodTLSv1.2 = 0\n")
    candidate = tmp_path / "candidate.yaml"
    gw.call("import", str(export), "--output", str(candidate))
    gw.start()
    assert "Cipher is ECDHE" in handshake(gw, "-tls1_2")
    os.replace(candidate, gw.config)
    gw.call("reload")
    assert "Cipher is (NONE)" in handshake(gw, "-tls1_2")
    assert "TLSv1.3, Cipher is TLS_" in handshake(gw, "-tls1_3")


def test_switches_of_one_node(gw):
    text = gw.config.read_text()
    gw.config.write_text(text + "node: gw7\nadvanced:\n"
                         "  SSLMethodTLSv1_2: 0\n"
                         "  Servers.GW7.SSLMethodTLSv1_2: 1\n"
                         "  Servers.GW7.SSLMethodTLSv1_3: 0\n")
    gw.start()
    assert "Cipher is ECDHE" in handshake(gw, "-tls1_2")
    assert "Cipher is (NONE)" in handshake(gw, "-tls1_3")
