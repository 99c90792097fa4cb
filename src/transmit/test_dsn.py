#!/usr/bin/env python3
"""Reads the golden notifications back with Python's email package: structure,
fields and boundaries as RFC 3464 and RFC 6522 want them."""
import email
import email.policy
import pathlib
import sys

STATUS = "message/delivery-status"


def check(path):
    raw = path.read_bytes()
    message = email.message_from_bytes(raw, policy=email.policy.SMTP)
    assert not message.defects, message.defects
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["To"] == "ann@src.example", message["To"]
    assert message["Bcc"] is None
    parts = list(message.iter_parts())
    assert len(parts) == 3, [p.get_content_type() for p in parts]
    text, status, original = parts
    assert text.get_content_type() == "text/plain"
    assert "This is the mail system at gw.example." in text.get_content()
    assert status.get_content_type() == STATUS
    blocks = [b for b in status.get_payload() if b.keys()]
    first, recipients = blocks[0], blocks[1:]
    assert first["Reporting-MTA"] == "dns; gw.example"
    assert first["Original-Envelope-Id"] == "QQ+314159"
    assert first["Arrival-Date"]
    assert recipients
    for block in recipients:
        assert block["Action"] in ("failed", "delayed", "relayed")
        assert block["Status"][0] in "245"
        assert block["Final-Recipient"].startswith("rfc822; ")
        assert block["Diagnostic-Code"]
        assert block["Bcc"] is None
    assert recipients[0]["Original-Recipient"] == "rfc822; Bob+x@dst.example"
    assert original.get_content_type() in (
        "message/rfc822", "text/rfc822-headers")


def main():
    paths = sorted(pathlib.Path(sys.argv[1]).glob("*.eml"))
    assert len(paths) >= 7
    for path in paths:
        try:
            check(path)
        except AssertionError as error:
            print(f"{path.name}: {error}")
            raise
    print(f"{len(paths)} notifications read back")


main()
