/* tests/dialogue/script.h - SMTP dialogues as plain files.
 *
 *   # comment
 *   conf key: value     a setting of the listener (YAML)
 *   spool-conf key: v   a setting of the spool
 *   peer ADDRESS:PORT   who connects; default 192.0.2.1:40000
 *   occupy ADDRESS      one connection of that client is there already
 *   queue N             the sender tells of N messages in the queue
 *   S: text             the server says this line; `*` matches the rest
 *   C: text             the client sends this line and CRLF; adjacent C lines
 *                       go out in one write
 *   ehlo                EHLO client.test and its reply, whatever it lists
 *   C! text             … without CRLF, with the escapes \r \n \t \0 \\ \xHH
 *                       and \N{text} (text N times)
 *   tls                 the handshake succeeds
 *   eof                 the client closes
 *   clock +N            N seconds pass (also Nm, Nh)
 *   drain               the service is told to end
 *   closed / open       the connection is closed by us / is not
 *   log EVENT words     such a line was logged and holds every word
 *   no-log EVENT words  none was
 *   spool N             so many messages are on disk
 *   mail: text          the last message has this line; `*` as above
 *   no-mail: text       it has no such line
 *   envelope: text      its envelope has this line (stage_envelope())
 *   whole-only          not to be split (says why in a comment)
 */
#ifndef TESTS_DIALOGUE_SCRIPT_H
#define TESTS_DIALOGUE_SCRIPT_H
#include "base/buf.h"

enum script_verb {
    VERB_CONF,
    VERB_SPOOL_CONF,
    VERB_POLICY,
    VERB_PEER,
    VERB_OCCUPY,
    VERB_QUEUE,
    VERB_SERVER,
    VERB_CLIENT,
    VERB_RAW,
    VERB_TLS,
    VERB_EOF,
    VERB_CLOCK,
    VERB_DRAIN,
    VERB_CLOSED,
    VERB_OPEN,
    VERB_LOG,
    VERB_NO_LOG,
    VERB_SPOOL,
    VERB_MAIL,
    VERB_NO_MAIL,
    VERB_ENVELOPE,
    VERB_WHOLE_ONLY,
    VERB_EHLO,
};

struct script_line {
    enum script_verb verb;
    struct sv text; /* points into the script's text */
    unsigned number;
};

struct script {
    char *name; /* file name without .smtp, owned */
    char *text; /* owned */
    struct script_line *lines;
    size_t count;
    bool whole_only;
};

/* Exits with a message for a script that cannot be read. */
void script_read(struct script *script, const char *folder, const char *file);
void script_free(struct script *script);
/* Appends text with its escapes undone. */
void script_unescape(struct sv text, struct buf *out);
/* Seconds of "+N", "+Nm", "+Nh". */
uint64_t script_seconds(struct sv text);
bool script_matches(struct sv line, struct sv pattern);
#endif
