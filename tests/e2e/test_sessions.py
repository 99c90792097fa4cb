"""Reload and stop in the middle of mail."""
import signal
import threading

import rig

RETRY = "bounce_profiles:\n  default: {first_retry: 1s, max_retry: 2s}\n"


def session(gateway):
    client = gateway.smtp()
    client.reply()
    client.command("EHLO client.test")
    return client


def test_a_session_keeps_the_settings_it_began_with(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address, listener="max_message_size: 20K\n").start()
    old = session(gateway)
    old.command("MAIL FROM:<a@sender.test>")
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace("max_message_size: 20K",
                                           "max_message_size: 2K")
                              .replace("hostname: gw.test",
                                       "hostname: renamed.test"))
    gateway.call("reload")
    content = "Subject: x\r\n\r\n" + ("x" * 70 + "\r\n") * 100
    assert old.command("RCPT TO:<b@example.org>")[0] == 250
    assert old.command("DATA")[0] == 354
    old.send(content)
    assert old.command(".")[0] == 250
    code, offers = old.command("EHLO client.test")
    assert offers[0].startswith("gw.test") and "SIZE 20480" in offers
    new = gateway.smtp()
    assert "renamed.test" in new.reply()[1][0]
    assert "SIZE 2048" in new.command("EHLO client.test")[1]
    assert new.message(text=content)[0] == 552
    gateway.wait_empty()
    assert sink.finish()["messages"] == 1


def test_broken_configuration_at_sighup_changes_nothing(gateway, tmp_path,
                                                        cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address).start()
    old = session(gateway)
    good = gateway.config.read_text()
    for broken in ("nonsense: [", good.replace("type: private", "type: secret"),
                   good.replace("mx.test.pem", "absent.pem"), ""):
        before = len(gateway.events("supervisor.reload_refused"))
        gateway.config.write_text(broken)
        gateway.process.child.send_signal(signal.SIGHUP)
        rig.wait_for(lambda: len(gateway.events("supervisor.reload_refused"))
                     > before, 10, "a refusal")
        assert old.message()[0] == 250
        assert session(gateway).message()[0] == 250
    gateway.config.write_text(good)
    gateway.wait_empty()
    assert sink.finish()["messages"] == 8


def test_reloads_under_load_lose_nothing(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address, extra=RETRY).start()
    ids = tmp_path / "ids"
    loader = threading.Thread(target=rig.load, args=(
        (gateway.host, gateway.port), 4000, ids), kwargs={
            "sessions": 10, "tls": True, "time_limit": 60})
    loader.start()
    reloads = 0
    while loader.is_alive():
        gateway.call("reload")
        reloads += 1
        loader.join(0.3)
    assert reloads > 2
    gateway.wait_empty()
    result = sink.finish()
    accepted = {int(i) for i in ids.read_text().split()}
    assert len(accepted) == 4000 and accepted == result["ids"]
    assert result["duplicates"] == 0 # nothing was interrupted
    assert not gateway.events("supervisor.child_died")


def test_stop_under_load_loses_and_doubles_nothing(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address, extra=RETRY).start()
    ids = tmp_path / "ids"
    loader = threading.Thread(target=rig.load, args=(
        (gateway.host, gateway.port), 6000, ids), kwargs={
            "sessions": 10, "retry": True, "time_limit": 60})
    loader.start()
    stops = 0
    while loader.is_alive() and stops < 4:
        loader.join(0.3)
        assert gateway.stop() == 0
        stops += 1
        verified = gateway.call("spool", "verify")
        assert "0 problems" in verified.stdout or \
            "no problems" in verified.stdout, verified.stdout
        gateway.start()
    loader.join()
    gateway.wait_empty()
    result = sink.finish()
    accepted = {int(i) for i in ids.read_text().split()}
    assert accepted <= result["ids"], "acknowledged messages were lost"
    assert stops >= 2
    assert result["duplicates"] == 0
    assert not gateway.events("supervisor.drain_timeout")


def test_stop_lets_a_transaction_end(gateway, tmp_path, cleanup):
    sink = cleanup(rig.Sink(tmp_path / "sink"))
    gateway.configure(sink.address).start()
    busy, idle = session(gateway), session(gateway)
    busy.command("MAIL FROM:<a@sender.test>")
    busy.command("RCPT TO:<b@example.org>")
    assert busy.command("DATA")[0] == 354
    gateway.process.child.send_signal(signal.SIGTERM)
    assert idle.reply()[0] == 421
    busy.send("Subject: x\r\n\r\nx\r\n")
    assert busy.command(".")[0] == 250
    assert gateway.process.child.wait(15) == 0
    gateway.process = None
    gateway.start()
    gateway.wait_empty()
    assert sink.finish()["messages"] == 1
