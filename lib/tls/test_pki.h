/* tls/test_pki.h - keys and certificates for unit tests, made on the spot in a
 * folder of their own that is removed at exit.  Failures abort. */
#ifndef TLS_TEST_PKI_H
#define TLS_TEST_PKI_H
#include "tls/context.h"

struct pki_options {
    const char *name;   /* file names are NAME.pem and NAME.key */
    const char *type;   /* "EC" (default), "RSA", "RSA1024", "ED25519" */
    const char *names;  /* "DNS:mx.test,DNS:*.test"; NULL: none */
    const char *issuer; /* name of a CA made before; NULL: self-signed */
    bool is_ca;
    int days; /* of validity from yesterday; 0: 30 */
};

/* Paths and key stay valid for the life of the program. */
struct tls_certificate_files pki_make(const struct pki_options *options);
/* Path of a file in the folder; valid until the end of the program. */
const char *pki_path(const char *file);
void pki_write(const char *file, const char *first, const char *second);
#endif
