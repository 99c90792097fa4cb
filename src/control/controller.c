/* control/controller.c - the service that the command line talks to.
 *
 * It answers for the gateway as a whole (status, reload, alerts) and passes on
 * what belongs to the queue or to the receiver; it never touches mail.  The
 * methods are rows of a table. */
#include "base/buf.h"
#include "control/certificates.h"
#include "control/status.h"
#include "record/record.h"
#include "service/link.h"
#include "service/service.h"

struct controller {
    struct service_host *host;
    struct settings *settings;  /* referenced */
    struct settings *candidate; /* referenced; between prepare and commit */
    struct status *status;
    struct certificates *certificates;
    struct record *record;
};

static void
socket_path(const struct controller *controller, const char *process,
            struct buf *path)
{
    buf_printf(path, "%s/run/%s.sock", controller->settings->state_dir,
               process);
}

static void
call_status(struct controller *controller, struct rpc_call *call)
{
    status_answer(controller->status, controller->settings,
                  certificates_describe(controller->certificates), call);
}

static void
call_alerts(struct controller *controller, struct rpc_call *call)
{
    rpc_result(call, status_alerts(controller->host->supervisor));
}

static void
on_reload(void *arg, bool ok, uint64_t revision, const char *text)
{
    if (ok)
        rpc_result(arg, json_pack("{s:I}", "revision", (json_int_t)revision));
    else
        rpc_error(arg, "%s", text);
}

static void
call_reload(struct controller *controller, struct rpc_call *call)
{
    struct supervisor_link *link = controller->host->supervisor;

    link->reload(link, on_reload, call);
}

static void
call_record(struct controller *controller, struct rpc_call *call)
{
    record_request(controller->record, call);
}

/* A process that is down would leave the call waiting in its socket. */
static void
forward(struct controller *controller, const char *process,
        struct rpc_call *call)
{
    const struct link_process *row =
        status_process(controller->host->supervisor, process);
    struct buf path = {0};

    if (row == NULL || row->state == LINK_DOWN || row->state == LINK_STARTING) {
        rpc_error(call, "the %s is %s", process,
                  row == NULL ? "not there" : link_state_name(row->state));
        return;
    }
    socket_path(controller, process, &path);
    rpc_forward(controller->host->loops[0], buf_cstr(&path), call);
    buf_fini(&path);
}

static const struct method {
    const char *name; /* with a dot at the end: all that begin with it */
    void (*run)(struct controller *controller, struct rpc_call *call);
    const char *process; /* or: who answers */
} methods[] = {
    {"tlsrpt.show", call_record, NULL}, {"tlsrpt.list", call_record, NULL},
    {"tlsrpt.send", call_record, NULL}, {"status", call_status, NULL},
    {"alerts", call_alerts, NULL},      {"reload", call_reload, NULL},
    {"queue.", NULL, "sender"},         {"delivery.", NULL, "sender"},
    {"sender.", NULL, "sender"},        {"sts.", NULL, "sender"},
    {"receiver.", NULL, "receiver"},    {"route.", NULL, "sender"},
    {"explain", NULL, "sender"},        {"tls.", NULL, "sender"},
    {"dns.", NULL, "sender"},           {"dane.", NULL, "sender"},
};

static const struct method *
find_method(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        struct sv rest = sv_of(name);
        bool family = methods[i].process != NULL;

        if (sv_take_prefix(&rest, sv_of(methods[i].name)) &&
            (family || rest.n == 0))
            return &methods[i];
    }
    return NULL;
}

static void
controller_request(void *self, struct rpc_call *call)
{
    struct controller *controller = self;
    const struct method *method = find_method(rpc_method(call));

    if (method == NULL)
        rpc_error(call, "there is no method \"%s\"", rpc_method(call));
    else if (method->run != NULL)
        method->run(controller, call);
    else
        forward(controller, method->process, call);
}

static void *
controller_start(struct service_host *host, struct settings *settings,
                 const struct service_socket *sockets UNUSED,
                 size_t socket_count UNUSED, struct err *err)
{
    struct controller *controller = mem_alloc(sizeof *controller);

    controller->record = record_new(host, settings, err);
    if (controller->record == NULL) {
        mem_free(controller);
        return NULL;
    }
    controller->host = host;
    controller->settings = settings_ref(settings);
    controller->status = status_new(host);
    controller->certificates = certificates_new(host, settings);
    return controller;
}

static bool
controller_prepare(void *self, struct settings *candidate,
                   const struct service_socket *sockets UNUSED,
                   size_t socket_count UNUSED, struct err *err)
{
    struct controller *controller = self;

    if (!record_prepare(controller->record, candidate, err))
        return false;
    controller->candidate = settings_ref(candidate);
    certificates_prepare(controller->certificates, candidate);
    return true;
}

static void
controller_commit(void *self)
{
    struct controller *controller = self;

    settings_unref(controller->settings);
    controller->settings = controller->candidate;
    controller->candidate = NULL;
    certificates_commit(controller->certificates);
    record_commit(controller->record);
}

static void
controller_abandon(void *self)
{
    struct controller *controller = self;

    settings_unref(controller->candidate);
    controller->candidate = NULL;
    certificates_abandon(controller->certificates);
    record_abandon(controller->record);
}

/* The last one to end: nothing that it does outlives a call. */
static void
controller_drain(void *self UNUSED, void (*drained)(void *arg), void *arg)
{
    drained(arg);
}

static void
controller_stop(void *self)
{
    struct controller *controller = self;

    record_free(controller->record);
    certificates_free(controller->certificates);
    status_free(controller->status);
    settings_unref(controller->settings);
    settings_unref(controller->candidate);
    mem_free(controller);
}

const struct service controller_service = {
    .name = "controller",
    .start = controller_start,
    .prepare = controller_prepare,
    .commit = controller_commit,
    .abandon = controller_abandon,
    .drain = controller_drain,
    .stop = controller_stop,
    .request = controller_request,
};
