/* dkim/key_internal.h - what signing knows of a key. */
#ifndef DKIM_KEY_INTERNAL_H
#define DKIM_KEY_INTERNAL_H
#include "dkim/dkim.h"
#include <openssl/evp.h>

struct dkim_key {
    EVP_PKEY *pkey; /* owned */
    enum dkim_algorithm algorithm;
};

/* Puts what OpenSSL says last behind the text, and empties its queue. */
void dkim_openssl_error(struct err *err, const char *text);
void dkim_base64(const unsigned char *bytes, size_t n, struct buf *out);
#endif
