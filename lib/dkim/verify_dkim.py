#!/usr/bin/python3
"""Verifies the message on standard input by dkimpy, an implementation that is
not ours.  The arguments are name and text of the key's record.  Exit status 0:
the signature holds, for the service tlsrpt too."""
import sys

import dkim

name, text = (a.encode() for a in sys.argv[1:3])
message = sys.stdin.buffer.read()


def lookup(asked, timeout=5):
    return text if asked.rstrip(b".") == name else None


good = dkim.verify(message, dnsfunc=lookup, tlsrpt="strict")
changed = dkim.verify(message.replace(b"hello", b"hullo"), dnsfunc=lookup,
                      tlsrpt="strict")
added = dkim.verify(b"From: someone@else.example\r\n" + message,
                    dnsfunc=lookup, tlsrpt="strict")
sys.exit(0 if good and not changed and not added else 1)
