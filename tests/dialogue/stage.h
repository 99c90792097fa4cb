/* tests/dialogue/stage.h - where a dialogue is played: a receiver's session on
 * a connection in memory, a clock that stands still, a real spool in a
 * temporary folder. */
#ifndef TESTS_DIALOGUE_STAGE_H
#define TESTS_DIALOGUE_STAGE_H
#include "accept/smtpd.h"
#include "script.h"

struct stage {
    char folder[256]; /* of this stage, removed at the end */
    struct loop *loop;
    struct settings *settings;
    struct listener *listener;
    struct listener_revision *revision;
    struct smtpd_home home;
    struct conn *conn;
    struct buf output; /* of the server, not yet expected */
    struct buf log;    /* lines */
    bool emptied;
};

/* Makes a certificate for all stages; at exit everything is removed. */
void stage_prepare(void);
/* NULL in *problem, or what went wrong. */
bool stage_open(struct stage *stage, const struct script *script,
                struct err *err);
void stage_connect(struct stage *stage, struct sv peer);
void stage_close(struct stage *stage);

/* Lets posted work of the spool come in until done(stage) or a second is over;
 * the clock of the session stands still. */
bool stage_wait(struct stage *stage, bool (*done)(struct stage *stage));
/* The next line of output without CRLF; false: none comes. */
bool stage_take_line(struct stage *stage, struct sv *line);
void stage_tls_ready(struct stage *stage);

struct stored {
    size_t count;        /* messages */
    struct buf mail;     /* content of the last one */
    struct buf envelope; /* as lines */
};
void stage_stored(struct stage *stage, struct stored *stored);
#endif
