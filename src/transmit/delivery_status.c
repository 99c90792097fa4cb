/* Sessions are looked at where they live: the request visits one loop after
 * the other and is answered on the main one. */
#include "transmit/delivery_internal.h"

struct inquiry {
    struct task task;
    struct delivery *delivery;
    struct rpc_call *call;
    size_t next; /* worker to visit */
    json_t *found;
};

static void
add_tls(json_t *item, const struct client *client)
{
    const struct tls_facts *tls = client_tls(client);

    if (tls == NULL)
        return;
    json_object_set_new(item, "tls_version", json_string(tls->version));
    json_object_set_new(item, "tls_cipher", json_string(tls->cipher));
    json_object_set_new(item, "tls_verify",
                        json_string(tls_verify_name(client_verify(client))));
}

static const char *
state_of(const struct session *session)
{
    if (session->client != NULL)
        return client_state_name(session->client);
    return session->query != NULL ? "routing" : "waiting";
}

static json_t *
describe(const struct session *session)
{
    const struct client *client = session->client;
    json_t *item = json_object();

    json_object_set_new(item, "destination", json_string(session->key));
    json_object_set_new(item, "state", json_string(state_of(session)));
    json_object_set_new(
        item, "age_ms",
        json_integer(
            (json_int_t)(loop_now(session->worker->loop) - session->started)));
    if (client == NULL)
        return item;
    json_object_set_new(item, "delivery", json_string(client_delivery(client)));
    json_object_set_new(item, "host", json_string(client_host(client)));
    json_object_set_new(item, "ip", json_string(client_ip(client)));
    json_object_set_new(item, "messages",
                        json_integer((json_int_t)client_messages(client)));
    add_tls(item, client);
    return item;
}

static void
answer(struct inquiry *inquiry)
{
    json_t *item;
    size_t i;

    json_array_foreach(inquiry->found, i, item)
        rpc_item(inquiry->call, json_incref(item));
    rpc_result(inquiry->call,
               json_pack("{s:I}", "sessions",
                         (json_int_t)json_array_size(inquiry->found)));
    json_decref(inquiry->found);
    delivery_user_gone(inquiry->delivery);
    mem_free(inquiry);
}

static void
visit(struct task *task)
{
    struct inquiry *inquiry = CONTAINER_OF(task, struct inquiry, task);
    struct delivery *delivery = inquiry->delivery;

    if (inquiry->next == delivery->worker_count) {
        answer(inquiry);
        return;
    }
    LIST_FOREACH (link, &delivery->workers[inquiry->next].sessions)
        json_array_append_new(
            inquiry->found, describe(CONTAINER_OF(link, struct session, link)));
    inquiry->next++;
    loop_post(delivery->workers[inquiry->next % delivery->worker_count].loop,
              &inquiry->task);
}

void
delivery_request(struct delivery *delivery, struct rpc_call *call)
{
    struct inquiry *inquiry;

    if (strcmp(rpc_method(call), "delivery.sessions") != 0) {
        rpc_error(call, "unknown method %s", rpc_method(call));
        return;
    }
    inquiry = mem_alloc(sizeof *inquiry);
    inquiry->task.run = visit;
    inquiry->delivery = delivery;
    inquiry->call = call;
    inquiry->found = json_array();
    pthread_mutex_lock(&delivery->lock);
    delivery->users++;
    pthread_mutex_unlock(&delivery->lock);
    visit(&inquiry->task);
}
