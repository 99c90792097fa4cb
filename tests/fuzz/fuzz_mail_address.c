/* Addresses: what is taken is a piece of the input that is taken again, and a
 * canonical domain is its own canonical form. */
#include "mail/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_path(struct sv in, enum mail_path_kind kind)
{
    struct sv rest = in;
    struct mail_path path, again;

    if (!mail_path_take(&rest, kind, &path)) {
        assert(rest.p == in.p && rest.n == in.n);
        return;
    }
    assert(in.n - rest.n <= MAIL_PATH_MAX && path.local.n <= MAIL_LOCAL_MAX);
    if (path.domain.n == 0)
        return;
    assert(path.mailbox.n == path.local.n + 1 + path.domain.n);
    assert(path.literal ? mail_literal_valid(path.domain)
                        : mail_domain_valid(path.domain));
    assert(mail_mailbox_parse(path.mailbox, &again));
    assert(sv_eq(again.local, path.local) && sv_eq(again.domain, path.domain));
    for (size_t i = 0; i < path.mailbox.n; i++)
        assert((unsigned char)path.mailbox.p[i] >= 0x20);
}

static void
check_domain(struct sv in)
{
    char once[MAIL_DOMAIN_MAX + 1], twice[MAIL_DOMAIN_MAX + 1];

    if (!mail_domain_canonical(in, once))
        return;
    assert(mail_domain_canonical(sv_of(once), twice));
    assert(strcmp(once, twice) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv in = {(const char *)data, size};

    check_path(in, MAIL_REVERSE_PATH);
    check_path(in, MAIL_FORWARD_PATH);
    check_domain(in);
    return 0;
}
