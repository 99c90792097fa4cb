/* dkim/dkim.h - signs mail of our own: RFC 6376 with relaxed/relaxed, by RSA
 * (rsa-sha256) or Ed25519 (ed25519-sha256, RFC 8463).
 *
 * What is signed is complete: never l=.  The fields that a reader sees or that
 * decide how a message is read are named once more than they occur (section
 * 8.15), so none can be added. */
#ifndef DKIM_DKIM_H
#define DKIM_DKIM_H
#include "base/buf.h"
#include "base/err.h"

struct dkim_key; /* a private key */

enum dkim_algorithm { DKIM_RSA, DKIM_ED25519 };
enum { DKIM_RSA_BITS = 2048, DKIM_RSA_BITS_MIN = 1024 };

/* Reads a PEM file.  Refused: anything else than RSA of at least 1024 bits
 * (RFC 8301 section 3.2) or Ed25519, and a file that its group or others may
 * read. */
MUST_USE struct dkim_key *dkim_key_load(const char *path, struct err *err);
MUST_USE struct dkim_key *dkim_key_generate(enum dkim_algorithm algorithm,
                                            struct err *err);
void dkim_key_free(struct dkim_key *key); /* NULL is fine */
/* Writes it (PEM, PKCS#8, mode 0600) to a file that must not exist. */
MUST_USE bool dkim_key_write(const struct dkim_key *key, const char *path,
                             struct err *err);
enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *key);

/* Appends the data of the TXT record at SELECTOR._domainkey.DOMAIN (section
 * 3.6.1).  service is its s= tag, "tlsrpt" or "*"; NULL: none. */
void dkim_record_text(const struct dkim_key *key, const char *service,
                      struct buf *out);
/* The same as a line of a zone file, in strings of at most 255 bytes. */
void dkim_record_zone(const struct dkim_key *key, const char *domain,
                      const char *selector, const char *service,
                      struct buf *out);

struct dkim_signing {
    const struct dkim_key *key;
    const char *domain;   /* d=, A-labels */
    const char *selector; /* s= */
    int64_t wall_s;       /* t= */
};
/* Appends a DKIM-Signature field with its CRLF, which belongs in front of the
 * message.  message: header section, empty line and body, lines end in CRLF. */
MUST_USE bool dkim_sign(const struct dkim_signing *signing, struct sv message,
                        struct buf *out, struct err *err);

/* Section 3.4.2 and 3.4.4; for tests too.  The field comes with its CRLF. */
void dkim_relax_field(struct sv name, struct sv value, struct buf *out);
void dkim_relax_body(struct sv body, struct buf *out);
#endif
