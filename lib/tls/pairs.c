/* What was read last from each pair of files: while somebody mends a pair, the
 * one before stays in use though everything else is loaded anew.  Nothing is
 * written to disk; a process that starts has nothing to fall back to. */
#include "tls/tls_internal.h"
#include <pthread.h>

struct kept_pair {
    struct kept_pair *next;
    char *chain, *key; /* owned; paths */
    struct certificate certificate;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept_pair *pairs; /* as many as were ever configured */

static struct kept_pair *
find(const struct tls_certificate_files *files)
{
    struct kept_pair *pair = pairs;

    while (pair != NULL && (strcmp(pair->chain, files->chain) != 0 ||
                            strcmp(pair->key, files->key) != 0))
        pair = pair->next;
    return pair;
}

static struct kept_pair *
add(const struct tls_certificate_files *files)
{
    struct kept_pair *pair = mem_alloc(sizeof *pair);

    pair->chain = mem_strdup(files->chain);
    pair->key = mem_strdup(files->key);
    pair->next = pairs;
    pairs = pair;
    return pair;
}

static void
keep(const struct tls_certificate_files *files,
     const struct certificate *certificate)
{
    struct kept_pair *pair;

    pthread_mutex_lock(&lock);
    pair = find(files);
    if (pair == NULL)
        pair = add(files);
    certificate_fini(&pair->certificate);
    certificate_copy(certificate, &pair->certificate);
    pthread_mutex_unlock(&lock);
}

static bool
recall(const struct tls_certificate_files *files,
       struct certificate *certificate)
{
    struct kept_pair *pair;

    pthread_mutex_lock(&lock);
    pair = find(files);
    if (pair != NULL)
        certificate_copy(&pair->certificate, certificate);
    pthread_mutex_unlock(&lock);
    return pair != NULL;
}

bool
pair_load(const struct tls_certificate_files *files,
          struct certificate *certificate, struct err *err)
{
    if (certificate_load(files, certificate, err)) {
        keep(files, certificate);
        return true;
    }
    return files->keep && recall(files, certificate);
}
