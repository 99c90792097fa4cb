/* tls/test_pki.h - keys and certificates for unit tests, made on the spot in a
 * folder of their own that is removed at exit.  Failures abort. */
#ifndef TLS_TEST_PKI_H
#define TLS_TEST_PKI_H
#include "tls/context.h"

struct pki_options {
    const char *name;   /* file names are NAME.pem and NAME.key */
    const char *type;   /* "EC" (default), "RSA", "RSA1024", "RSA768",
                         * "ED25519" */
    const char *names;  /* "DNS:mx.test,DNS:*.test"; NULL: none */
    const char *issuer; /* name of a CA made before; NULL: self-signed */
    bool is_ca;
    int days;                /* of validity from yesterday; 0: 30 */
    const char *purposes;    /* "serverAuth,clientAuth"; NULL: not limited */
    int begins;              /* days from now on, 0: two days ago */
    const char *constraints; /* "critical,CA:TRUE,pathlen:0"; NULL: by is_ca */
};

/* Paths and key stay valid for the life of the program. */
struct tls_certificate_files pki_make(const struct pki_options *options);
/* Path of a file in the folder; valid until the end of the program. */
const char *pki_path(const char *file);
/* A list of the CA that revokes the certificate of that name, or none when it
 * is NULL; good for so many days from now.  The path. */
const char *pki_crl(const char *ca, const char *revoked, int days);
/* The CA's answer that the certificate is good or revoked, until so many
 * seconds from now.  The path; valid until the end of the program. */
const char *pki_ocsp(const char *ca, const char *name, bool good, long seconds);
void pki_write(const char *file, const char *first, const char *second);
#endif
