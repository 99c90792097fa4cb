"""The mail path with real peers: in over TLS, kept, out over TLS."""
import smtplib
import ssl
import subprocess

import pytest

import rig


def relaxed():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_one_message_over_tls_both_sides(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink", args=["--save",
                                                      str(tmp_path / "saved")]))
    (tmp_path / "saved").mkdir(exist_ok=True)
    gateway.configure(sink.address).start()
    client = gateway.smtp()
    assert client.reply()[0] == 220
    client.command("EHLO client.test")
    client.starttls()
    code, offers = client.command("EHLO client.test")
    assert code == 250 and "STARTTLS" not in offers
    code, text = client.message()
    assert code == 250, text
    sent = gateway.wait_event("delivery.attempt")[0]
    assert sent["version"] == "TLSv1.3"
    assert sent["outcome"] in ("delivered", "relayed")
    received = gateway.wait_event("smtpd.message")[0]
    assert received["queue"] == sent["queue"]
    assert gateway.wait_event("smtpd.tls", result="ok")[0]["version"] == "TLSv1.3"
    gateway.wait_empty()
    saved = next((tmp_path / "saved").glob("*.eml")).read_text()
    assert "(using TLS: TLSv1.3, TLS_AES_256_GCM_SHA384)" in saved
    assert "X-Sink-From: <a@sender.test>" in saved
    assert saved.endswith("\nhello\n")
    assert sink.finish()["messages_tls"] == 1


def test_postfix_in_front_and_behind(gateway, tmp_path, cleanup):
    behind = cleanup(rig.Postfix(tmp_path / "behind").start())
    gateway.configure(behind.address, destination="tls: required\n").start()
    front = cleanup(rig.Postfix(tmp_path / "front",
                                relayhost=(gateway.host, gateway.port)).start())
    rig.load(front.address, 100, sessions=5, tls=True)
    rig.wait_for(lambda: len(behind.messages()) >= 100, 60, "100 messages")
    gateway.wait_empty()
    assert len(behind.messages()) == 100
    text = behind.messages()[0].read_text()
    assert "(using TLS: TLSv1.3" in text
    assert "verify" not in front.log() or "Untrusted" in front.log()


@pytest.mark.parametrize("version", ["tls1", "tls1_1", "tls1_2", "tls1_3"])
def test_openssl_s_client_speaks_every_version(gateway, version):
    gateway.configure().start()
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{gateway.host}:{gateway.port}",
         "-starttls", "smtp", f"-{version}", "-cipher", "DEFAULT@SECLEVEL=0",
         "-crlf", "-quiet"],
        input="QUIT\n", capture_output=True, text=True, timeout=30)
    assert "221" in done.stdout, done.stderr
    name = "TLSv" + version[3:].replace("_", ".")
    name = {"TLSv1": "TLSv1"}.get(name, name)
    assert gateway.wait_event("smtpd.tls", result="ok")[0]["version"] == name


def test_swaks_with_utf8_and_dsn(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address).start()
    done = subprocess.run(
        ["swaks", "--server", gateway.host, "--port", str(gateway.port), "--tls",
         "--to", "user@example.org", "--from", "swaks@sender.test", "--pipeline",
         "--header", "Subject: swaks"], capture_output=True, text=True,
        timeout=60)
    assert done.returncode == 0, done.stdout
    gateway.wait_empty()
    assert sink.finish()["messages"] == 1


def test_implicit_tls_listener(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address)
    text = gateway.config.read_text().replace(
        "listeners:\n", "listeners:\n"
        "  Implicit:\n    type: private\n"
        f"    address: \"tls://{gateway.host}:4650\"\n"
        "    certificates: [mx]\n    relay_for: [127.0.0.0/8]\n")
    gateway.config.write_text(text)
    gateway.start()
    with smtplib.SMTP_SSL(gateway.host, 4650, context=relaxed()) as smtp:
        smtp.sendmail("a@sender.test", ["b@example.org"], "Subject: x\r\n\r\nx\r\n")
    gateway.wait_empty()
    assert sink.finish()["messages"] == 1


def test_big_message_goes_through_unchanged(gateway, tmp_path, cleanup):
    saved = tmp_path / "saved"
    saved.mkdir()
    sink = cleanup(rig.Sink(tmp_path / "sink", args=["--save", str(saved)]))
    gateway.configure(sink.address).start()
    line = "." * 60 + "\r\n"
    body = "Subject: big\r\n\r\n" + line * 200000 # 12 MB, every line a dot
    with smtplib.SMTP(gateway.host, gateway.port) as smtp:
        smtp.starttls(context=relaxed())
        smtp.sendmail("a@sender.test", ["b@example.org"], body)
    gateway.wait_empty()
    sink.finish()
    got = next(saved.glob("*.eml")).read_bytes()
    assert got.endswith(body.encode())


def test_relay_is_refused_for_strangers(gateway):
    gateway.configure()
    text = gateway.config.read_text().replace(
        "    relay_for: [127.0.0.0/8]\n",
        "    relay_for: [127.9.9.9/32]\n    domains: [example.org]\n")
    gateway.config.write_text(text)
    gateway.start()
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    client.command("MAIL FROM:<a@sender.test>")
    assert client.command("RCPT TO:<b@elsewhere.test>")[0] == 550
    assert client.command("RCPT TO:<b@example.org>")[0] == 250


def test_clear_text_injected_behind_starttls_is_dropped(gateway):
    gateway.configure().start()
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    client.send("STARTTLS\r\nMAIL FROM:<evil@sender.test>\r\n")
    code, _ = client.reply()
    assert code in (0, 220)
    if code == 220:
        assert client.reply()[0] == 0
    assert gateway.wait_event("smtpd.close", reason="starttls-injection")


def test_haproxy_in_front_with_proxy_protocol(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    proxy = rig.loopback()
    gateway.configure(sink.address, listener="proxy_protocol: [127.0.0.0/8]\n")
    gateway.start()
    for number, send in enumerate(["send-proxy", "send-proxy-v2"]):
        conf = tmp_path / f"haproxy{number}.cfg"
        port = 2600 + number
        conf.write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n"
            " timeout server 1m\n"
            f"frontend f\n bind {proxy}:{port}\n default_backend b\n"
            f"backend b\n server gw {gateway.host}:{gateway.port} {send}\n")
        cleanup(rig.Process(["haproxy", "-db", "-f", str(conf)],
                            tmp_path / f"haproxy{number}.log"))
        rig.wait_for(lambda: rig.port_open(proxy, port), 10, "haproxy")
        client = rig.loopback()
        with smtplib.SMTP(proxy, port, source_address=(client, 0)) as smtp:
            smtp.sendmail("a@sender.test", ["b@example.org"], "Subject: x\r\n\r\nx\r\n")
        rig.wait_for(lambda: [
            e for e in gateway.events("smtpd.connect")
            if e.get("proxied") and e["peer"].startswith(client + ":")],
            what="the client's own address")
    gateway.wait_empty()
    assert sink.finish()["messages"] == 2


def test_queue_commands(gateway):
    gateway.configure(("127.0.0.1", 9)).start() # nothing listens there
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    assert client.message()[0] == 250
    rig.wait_for(lambda: gateway.events("delivery.attempt") or
                 [m for m in gateway.queue() if "connect" in str(m)], 20,
                 "a failed attempt")
    message = gateway.queue()[0]
    queue_id = message["id"]
    shown = gateway.call("queue", "show", queue_id).stdout
    assert "b@example.org" in shown and "connect" in shown.lower()
    gateway.call("queue", "hold", queue_id)
    assert "held" in gateway.call("queue", "list").stdout
    gateway.stop()
    gateway.start() # a held message stays held over a restart
    assert "held" in gateway.call("queue", "list").stdout
    gateway.call("queue", "release", queue_id)
    assert "held" not in gateway.call("queue", "list").stdout
    gateway.call("queue", "delete", queue_id)
    assert gateway.queue() == []
    assert gateway.call("queue", "show", queue_id, check=False).returncode == 1
