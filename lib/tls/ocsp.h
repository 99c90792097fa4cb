/* tls/ocsp.h - asking the authority whether a certificate is revoked
 * (RFC 6960): the question, and whom to ask.  The answer is what
 * tls_staple_check() judges; carrying both is the caller's work. */
#ifndef TLS_OCSP_H
#define TLS_OCSP_H
#include "base/err.h"
#include "base/sv.h"
#include "tls/context.h"

#define TLS_OCSP_QUESTION_TYPE "application/ocsp-request"
#define TLS_OCSP_ANSWER_TYPE "application/ocsp-response"
#define TLS_OCSP_ANSWER_MAX 65536 /* bytes */

struct tls_ocsp_question {
    char *url;     /* owned; "": the certificate names no responder */
    struct sv der; /* owned; body of a POST */
};

/* Reads the pair; false, and err why, where it cannot be read or the chain
 * lacks the issuer.  A certificate without a responder is no error. */
MUST_USE bool tls_ocsp_question_make(const struct tls_certificate_files *files,
                                     struct tls_ocsp_question *question,
                                     struct err *err);
void tls_ocsp_question_fini(struct tls_ocsp_question *question);
#endif
