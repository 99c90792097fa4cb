/* access/hat_internal.h - how a compiled host access table is laid out.
 * Every sender is an address span, a host name, a domain or ALL; what the rows
 * say of one span, name or DNS list is folded into one struct outcome, and the
 * answer for a client is the fold of the outcomes of what is known of it. */
#ifndef ACCESS_HAT_INTERNAL_H
#define ACCESS_HAT_INTERNAL_H
#include "access/hat.h"
#include "base/map.h"
#include "mail/address.h"
#include <stdatomic.h>

#define NO_ROW UINT32_MAX

/* An address as a number; IPv4 in the low 32 bits. */
struct ip {
    uint64_t high, low;
};

int ip_compare(struct ip a, struct ip b);
/* False without an address. */
bool ip_of(const struct net_address *address, sa_family_t *family,
           struct ip *ip);

enum sender_kind { SENDER_SPAN, SENDER_HOST, SENDER_DOMAIN, SENDER_ALL };

struct sender {
    enum sender_kind kind;
    uint32_t row;
    sa_family_t family;    /* of a span */
    struct ip first, last; /* of a span, both in it */
    char *name; /* owned; canonical, a domain without its dot; else NULL */
    char *text; /* owned; as written */
};

/* sender is filled but for row and text; on success name is owned by it. */
MUST_USE bool sender_parse(struct sv text, struct sender *sender,
                           struct err *err);
/* Lower case, no dot at the end, NUL-terminated in out, which holds
 * MAIL_DOMAIN_MAX + 1 bytes.  Underscores are taken: real hosts have them. */
MUST_USE bool host_name_canonical(struct sv text, char *out);

/* The same for the zone of a DNS list. */
MUST_USE bool zone_parse(struct sv text, char *out, struct err *err);

struct outcome {
    uint32_t row;    /* lowest row that settles; NO_ROW */
    uint64_t passed; /* bit i: matched by hat->continues[i] */
};

static const struct outcome no_outcome = {.row = NO_ROW};

/* One address family, cut into spans of equal outcome.  Span i reaches from
 * starts[i] to before starts[i + 1]; starts[0] is zero. */
struct space {
    struct ip *starts;        /* owned */
    struct outcome *outcomes; /* owned */
    size_t count;             /* >= 1 */
    struct ip last;           /* the last address of the family */
};

/* A sender of a space while it is built; spans come in the order of rows. */
struct span {
    struct ip first, last;
    uint32_t row;
    uint32_t continues; /* index into hat->continues, or NO_ROW */
};

void space_init(struct space *space, sa_family_t family,
                const struct span *spans, size_t count);
void space_fini(struct space *space);
size_t space_find(const struct space *space, struct ip ip); /* its span */

struct rule {
    char *group; /* owned */
    uint32_t policy;
    uint32_t continues; /* index into hat->continues, or NO_ROW */
    uint64_t zones;
    size_t first_sender, sender_count;
};

struct hat {
    _Atomic unsigned references;
    struct rule *rules; /* owned, as all that follows */
    size_t rule_count;
    struct sender *senders; /* in the order of rows */
    size_t sender_count;
    struct space ipv4, ipv6;
    struct map hosts, domains; /* struct outcome; domains without their dot */
    size_t domain_labels;      /* of the deepest domain */
    struct outcome everybody;  /* of ALL: a client without an address */
    uint32_t first_name;       /* lowest row with a name; NO_ROW */
    char *zones[HAT_ZONES_MAX];
    struct outcome zone_outcomes[HAT_ZONES_MAX];
    uint32_t zone_first[HAT_ZONES_MAX]; /* lowest row with it */
    size_t zone_count;
    uint32_t continues[HAT_CONTINUE_MAX]; /* rows that continue, ascending */
    size_t continue_count;
};

void outcome_add(struct outcome *to, const struct outcome *from); /* or NULL */
/* What the rows say of a host; name is canonical. */
struct outcome hat_name_outcome(const struct hat *hat, struct sv name);
/* The part of it that comes from the domains above the name. */
struct outcome hat_parents_outcome(const struct hat *hat, struct sv name);
/* The name of a client as the tables spell it: lower case, no dot at the end;
 * empty when it is too long to be one.  low holds MAIL_DOMAIN_MAX + 1. */
struct sv hat_client_name(const struct hat_client *client, char *low);
#endif
