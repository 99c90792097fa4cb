/* cli/cert.h - which files a certificate's name on the command line means. */
#ifndef CLI_CERT_H
#define CLI_CERT_H
#include "cli.h"
#include "settings/settings.h"
#include "tls/bundle.h"

struct cert_place {
    struct settings *settings; /* NULL: there is no readable configuration */
    const struct certificate_settings *configured; /* NULL: not in it */
    char *chain, *key;                             /* owned; paths */
};
/* A name of the configuration means its files.  Any other means NAME.pem and
 * NAME.key in the folder of the configuration, or where NAME says with a "/".
 */
void cert_place_init(struct cert_place *place, const struct cli *cli,
                     const char *name);
void cert_place_fini(struct cert_place *place);

#define CERT_DATE_SIZE 32
const char *cert_date(int64_t seconds, char *room); /* "2026-12-24 18:00" */
/* Prints everything there is to say of a bundle. */
void cert_print(const struct tls_bundle *bundle);
json_t *cert_json(const struct tls_bundle *bundle);
#endif
