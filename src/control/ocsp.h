/* control/ocsp.h - fetches the authorities' answers that are stapled to
 * handshakes, for certificates with `ocsp: fetch`.
 *
 * An answer is asked for where there is none that is good, and again when half
 * of its time is over.  Only one that is genuine, fresh and good is put into
 * STATE_DIR/ocsp/NAME.der, whole or not at all; certificates.h finds it there
 * like any other new file.  A failure is logged and tried again, later each
 * time; the alert certificate.NAME.ocsp is raised when the authority says that
 * the certificate is revoked, or when nothing fresh is left and several tries
 * have failed.  Where the certificate names no responder nothing happens. */
#ifndef CONTROL_OCSP_H
#define CONTROL_OCSP_H
#include "service/service.h"

struct ocsp;

/* All on the main loop; settings are referenced. */
struct ocsp *ocsp_new(struct service_host *host, struct settings *settings);
/* New settings, or new files. */
void ocsp_use(struct ocsp *ocsp, struct settings *settings);
void ocsp_free(struct ocsp *ocsp);
#endif
