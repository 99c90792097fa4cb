#include "dns/dns_internal.h"

static void
on_readable(void *arg, int events)
{
    struct dns_resolver *resolver = arg;

    (void)events;
    resolver->processing = true;
    ub_process(resolver->ub); /* calls back for each finished query */
    resolver->processing = false;
}

static void
resolver_free(struct dns_resolver *resolver)
{
    watch_free(resolver->watch);
    ub_ctx_delete(resolver->ub); /* ends libunbound's thread */
    mem_free(resolver);
}

static void
run_remove(struct task *task)
{
    resolver_free(CONTAINER_OF(task, struct dns_resolver, remove));
}

struct dns_resolver *
dns_resolver_new(struct loop *loop, const struct dns_options *options,
                 struct err *err)
{
    struct ub_ctx *ub = ub_ctx_create();
    struct dns_resolver *resolver;

    if (ub == NULL) {
        err_sys(err, "create a DNS resolver");
        return NULL;
    }
    if (!dns_configure(ub, options, err)) {
        ub_ctx_delete(ub);
        return NULL;
    }
    resolver = mem_alloc(sizeof *resolver);
    resolver->ub = ub;
    resolver->loop = loop;
    resolver->thread = pthread_self();
    resolver->timeout_ms = options->timeout_ms;
    resolver->remove.run = run_remove;
    atomic_init(&resolver->references, 1);
    resolver->watch = watch_new(loop, ub_fd(ub), on_readable, resolver);
    watch_set(resolver->watch, WATCH_READ);
    return resolver;
}

struct dns_resolver *
dns_resolver_ref(struct dns_resolver *resolver)
{
    atomic_fetch_add(&resolver->references, 1);
    return resolver;
}

/* The context may only go on the loop that watches it, and never from inside
 * its own callback: otherwise the loop does it a little later. */
void
dns_resolver_unref(struct dns_resolver *resolver)
{
    if (resolver == NULL || atomic_fetch_sub(&resolver->references, 1) != 1)
        return;
    if (pthread_equal(resolver->thread, pthread_self()) &&
        !resolver->processing)
        resolver_free(resolver);
    else
        loop_post(resolver->loop, &resolver->remove);
}
