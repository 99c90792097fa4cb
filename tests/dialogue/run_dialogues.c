/* Plays every *.smtp of a folder in process: whole, byte by byte, and cut at
 * random.  The transcript must be the same each time.
 *
 *   run_dialogues FOLDER [NAME…] */
#include "stage.h"
#include "unit.h"
#include <dirent.h>

enum split { SPLIT_WHOLE, SPLIT_BYTES, SPLIT_RANDOM, SPLIT_COUNT };
static const char *const split_names[] = {"whole", "byte-wise", "random"};

struct row {
    const char *name; /* is text */
    const struct script *script;
    enum split split;
    char text[128];
};

struct play {
    const struct row *row;
    struct stage stage;
    const struct script_line *line;
    struct buf pending; /* of the client: goes out in one write */
    uint32_t random;
    bool connected;
};

#define FAIL(play, ...)                                                        \
    do {                                                                       \
        print_error("%s.smtp:%u (%s): ", (play)->row->script->name,            \
                    (play)->line->number, split_names[(play)->row->split]);    \
        print_error(__VA_ARGS__);                                              \
        print_error("\n");                                                     \
        fail();                                                                \
    } while (0)

/* Sending ----------------------------------------------------------------- */

static size_t
piece_length(struct play *play, size_t left)
{
    size_t n = left;

    if (play->row->split == SPLIT_BYTES) {
        n = 1;
    } else if (play->row->split == SPLIT_RANDOM) {
        play->random = play->random * 1664525 + 1013904223;
        n = (play->random >> 16) % 40 + 1;
    }
    return n < left ? n : left;
}

static void
send_pending(struct play *play)
{
    struct sv rest = buf_view(&play->pending);

    while (rest.n > 0) {
        size_t n = piece_length(play, rest.n);

        conn_fake_receive(play->stage.conn, sv_slice(rest, 0, n));
        rest = sv_from(rest, n);
    }
    buf_reset(&play->pending);
}

static bool
is_sending(enum script_verb verb)
{
    return verb == VERB_CLIENT || verb == VERB_RAW;
}

/* Verbs ------------------------------------------------------------------- */

static void
expect_silence(struct play *play)
{
    conn_fake_take(play->stage.conn, &play->stage.output);
    if (buf_length(&play->stage.output) > 0)
        FAIL(play, "unexpected: %.*s", SV_ARG(buf_view(&play->stage.output)));
}

static void
expect_line(struct play *play, struct sv pattern)
{
    struct sv line;

    if (!stage_take_line(&play->stage, &line))
        FAIL(play, "expected \"%.*s\", nothing came", SV_ARG(pattern));
    if (!script_matches(line, pattern))
        FAIL(play, "expected \"%.*s\", came \"%.*s\"", SV_ARG(pattern),
             SV_ARG(line));
}

static bool
is_closed(struct stage *stage)
{
    return conn_fake_closed(stage->conn);
}

static void
expect_closed(struct play *play)
{
    expect_silence(play);
    if (!stage_wait(&play->stage, is_closed))
        FAIL(play, "the connection is open");
}

static bool
has_words(struct sv line, struct sv words)
{
    while (words.n > 0) {
        struct sv word = sv_take_until(&words, ' ');

        if (word.n > 0 && memmem(line.p, line.n, word.p, word.n) == NULL)
            return false;
    }
    return true;
}

static bool
was_logged(struct play *play, struct sv words)
{
    struct sv rest = buf_view(&play->stage.log);

    while (rest.n > 0)
        if (has_words(sv_take_until(&rest, '\n'), words))
            return true;
    return false;
}

static bool
has_match(struct sv text, struct sv pattern)
{
    while (text.n > 0) {
        struct sv line = sv_take_until(&text, '\n');

        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (script_matches(line, pattern))
            return true;
    }
    return false;
}

static void
check_stored(struct play *play)
{
    struct sv text = play->line->text;
    struct stored stored;
    struct buf pattern = {0};
    uint64_t wanted = 0;
    bool ok = true;

    stage_stored(&play->stage, &stored);
    script_unescape(text, &pattern);
    if (play->line->verb == VERB_SPOOL)
        ok = sv_to_u64(text, &wanted) && stored.count == wanted;
    else if (play->line->verb == VERB_ENVELOPE)
        ok = has_match(buf_view(&stored.envelope), text);
    else
        ok = has_match(buf_view(&stored.mail), buf_view(&pattern)) ==
             (play->line->verb == VERB_MAIL);
    if (!ok)
        FAIL(play, "%zu messages, the last:\n%.*s\n%.*s", stored.count,
             SV_ARG(buf_view(&stored.envelope)),
             SV_ARG(buf_view(&stored.mail)));
    buf_fini(&stored.mail);
    buf_fini(&stored.envelope);
    buf_fini(&pattern);
}

static void
occupy(struct play *play, struct sv text)
{
    struct net_address address;
    struct listener_revision *revision = play->stage.revision;
    struct hat_client client = {.address = &address};
    struct hat_match match;
    const char *why;
    bool ok =
        net_address_parse(text, 0, &address) &&
        listener_admit_client(revision, &address,
                              listener_policy(revision, &client, &match), &why);

    assert(ok);
    (void)ok;
}

static void
tell_queue(struct play *play, struct sv text)
{
    uint64_t messages = 0;
    bool ok = sv_to_u64(text, &messages);

    assert(ok);
    (void)ok;
    spool_publish_queue(play->stage.home.spool, messages, messages);
}

/* The usual beginning, where a script is about something else. */
static void
play_ehlo(struct play *play)
{
    struct sv line = SV("250-");

    expect_silence(play);
    buf_add_str(&play->pending, "EHLO client.test\r\n");
    send_pending(play);
    while (sv_starts_nocase(line, SV("250-")))
        if (!stage_take_line(&play->stage, &line))
            FAIL(play, "no reply to EHLO");
    if (!sv_starts_nocase(line, SV("250 ")))
        FAIL(play, "EHLO: %.*s", SV_ARG(line));
}

static void
step(struct play *play)
{
    const struct script_line *line = play->line;

    switch (line->verb) {
    case VERB_SERVER:
        expect_line(play, line->text);
        break;
    case VERB_CLIENT:
    case VERB_RAW:
        if (buf_length(&play->pending) == 0)
            expect_silence(play);
        if (line->verb == VERB_RAW)
            script_unescape(line->text, &play->pending);
        else
            buf_printf(&play->pending, "%.*s\r\n", SV_ARG(line->text));
        break;
    case VERB_TLS:
        expect_silence(play);
        stage_tls_ready(&play->stage);
        break;
    case VERB_EOF:
        conn_fake_eof(play->stage.conn);
        break;
    case VERB_CLOCK:
        expect_silence(play);
        loop_advance(play->stage.loop, script_seconds(line->text) * 1000);
        break;
    case VERB_DRAIN:
        smtpd_home_drain(&play->stage.home);
        break;
    case VERB_CLOSED:
        expect_closed(play);
        break;
    case VERB_OPEN:
        expect_silence(play);
        if (conn_fake_closed(play->stage.conn))
            FAIL(play, "the connection is closed");
        break;
    case VERB_LOG:
    case VERB_NO_LOG:
        if (was_logged(play, line->text) != (line->verb == VERB_LOG))
            FAIL(play, "the log is:\n%.*s", SV_ARG(buf_view(&play->stage.log)));
        break;
    case VERB_SPOOL:
    case VERB_MAIL:
    case VERB_NO_MAIL:
    case VERB_ENVELOPE:
        check_stored(play);
        break;
    case VERB_EHLO:
        play_ehlo(play);
        break;
    case VERB_QUEUE:
        tell_queue(play, line->text);
        break;
    case VERB_OCCUPY:
        occupy(play, line->text);
        break;
    case VERB_CONF:
    case VERB_SPOOL_CONF:
    case VERB_POLICY:
    case VERB_PEER:
    case VERB_WHOLE_ONLY:
        break;
    }
}

static struct sv
find_peer(const struct script *script)
{
    for (size_t i = 0; i < script->count; i++)
        if (script->lines[i].verb == VERB_PEER)
            return script->lines[i].text;
    return SV("192.0.2.1:40000");
}

/* The connection is made where the dialogue itself begins. */
static bool
is_preparation(enum script_verb verb)
{
    return verb == VERB_CONF || verb == VERB_SPOOL_CONF ||
           verb == VERB_POLICY || verb == VERB_PEER || verb == VERB_OCCUPY ||
           verb == VERB_QUEUE || verb == VERB_WHOLE_ONLY;
}

static void
play_script(void **state)
{
    struct play play = {.row = *state};
    const struct script *script = play.row->script;
    struct err err = {0};

    play.random = (uint32_t)script->count * 7919 + 17;
    play.line = &script->lines[0];
    if (!stage_open(&play.stage, script, &err))
        FAIL(&play, "%s", err.text);
    for (size_t i = 0; i < script->count; i++) {
        play.line = &script->lines[i];
        if (!play.connected && !is_preparation(play.line->verb)) {
            stage_connect(&play.stage, find_peer(script));
            play.connected = true;
        }
        if (!is_sending(play.line->verb))
            send_pending(&play);
        step(&play);
    }
    send_pending(&play);
    expect_silence(&play);
    buf_fini(&play.pending);
    stage_close(&play.stage);
}

/* Main -------------------------------------------------------------------- */

static bool
is_wanted(const char *file, int argc, char **argv)
{
    struct sv name = sv_of(file);

    if (!sv_ends_nocase(name, SV(".smtp")))
        return false;
    name.n -= 5;
    for (int i = 2; i < argc; i++)
        if (sv_is(name, argv[i]))
            return true;
    return argc <= 2;
}

static void
add_rows(struct row *rows, size_t *count, const struct script *script)
{
    for (int split = 0; split < SPLIT_COUNT; split++) {
        struct row *row = &rows[*count];

        if (script->whole_only && split != SPLIT_WHOLE)
            continue;
        assert(*count < UNIT_ROWS_MAX);
        *row = (struct row){row->text, script, (enum split)split, ""};
        snprintf(row->text, sizeof row->text, "%s (%s)", script->name,
                 split_names[split]);
        ++*count;
    }
}

int
main(int argc, char **argv)
{
    static struct row rows[UNIT_ROWS_MAX];
    struct script *scripts = mem_alloc_array(UNIT_ROWS_MAX, sizeof *scripts);
    size_t row_count = 0, count = 0;
    struct dirent **files;
    int found, failed;

    if (argc < 2 || (found = scandir(argv[1], &files, NULL, alphasort)) < 0) {
        fprintf(stderr, "usage: run_dialogues FOLDER [NAME...]\n");
        return 2;
    }
    stage_prepare();
    for (int i = 0; i < found; i++) {
        if (is_wanted(files[i]->d_name, argc, argv)) {
            script_read(&scripts[count], argv[1], files[i]->d_name);
            add_rows(rows, &row_count, &scripts[count++]);
        }
        free(files[i]);
    }
    free(files);
    failed = unit_run_rows("dialogues", play_script, rows, sizeof rows[0],
                           row_count);
    for (size_t i = 0; i < count; i++)
        script_free(&scripts[i]);
    mem_free(scripts);
    return failed;
}
