#include "script.h"

static const struct {
    const char *word;
    enum script_verb verb;
} verbs[] = {
    {"conf", VERB_CONF},
    {"spool-conf", VERB_SPOOL_CONF},
    {"policy", VERB_POLICY},
    {"peer", VERB_PEER},
    {"occupy", VERB_OCCUPY},
    {"queue", VERB_QUEUE},
    {"ehlo", VERB_EHLO},
    {"S:", VERB_SERVER},
    {"C:", VERB_CLIENT},
    {"C!", VERB_RAW},
    {"tls", VERB_TLS},
    {"eof", VERB_EOF},
    {"clock", VERB_CLOCK},
    {"drain", VERB_DRAIN},
    {"closed", VERB_CLOSED},
    {"open", VERB_OPEN},
    {"log", VERB_LOG},
    {"no-log", VERB_NO_LOG},
    {"spool", VERB_SPOOL},
    {"mail:", VERB_MAIL},
    {"no-mail:", VERB_NO_MAIL},
    {"envelope:", VERB_ENVELOPE},
    {"whole-only", VERB_WHOLE_ONLY},
};

static void
fail(const char *file, unsigned number, const char *what)
{
    fprintf(stderr, "%s:%u: %s\n", file, number, what);
    exit(2);
}

static void
add_line(struct script *script, const char *file, unsigned number,
         struct sv text)
{
    struct script_line *line;
    struct sv word = sv_take_until(&text, ' ');

    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (!sv_is(word, verbs[i].word))
            continue;
        if (verbs[i].verb == VERB_WHOLE_ONLY)
            script->whole_only = true;
        line = &script->lines[script->count++];
        *line = (struct script_line){verbs[i].verb, text, number};
        return;
    }
    fail(file, number, "unknown word");
}

static struct buf
read_text(const char *path)
{
    FILE *file = fopen(path, "re");
    struct buf text = {0};
    size_t n;

    if (file == NULL)
        fail(path, 0, "cannot be opened");
    do {
        n = fread(buf_reserve(&text, 4096), 1, 4096, file);
        buf_grew(&text, n);
    } while (n > 0);
    fclose(file);
    return text;
}

void
script_read(struct script *script, const char *folder, const char *file)
{
    char path[4096];
    struct buf text;
    struct sv rest;
    unsigned number = 0;

    snprintf(path, sizeof path, "%s/%s", folder, file);
    text = read_text(path);
    rest = buf_view(&text);
    *script = (struct script){
        .name = sv_dup(sv_slice(sv_of(file), 0, strlen(file) - 5)),
        .text = text.p,
        .lines = mem_alloc_array(rest.n + 1, sizeof *script->lines),
    };
    while (rest.n > 0) {
        struct sv line = sv_take_until(&rest, '\n');

        number++;
        if (line.n > 0 && line.p[0] != '#')
            add_line(script, path, number, line);
    }
}

void
script_free(struct script *script)
{
    mem_free(script->name);
    mem_free(script->text);
    mem_free(script->lines);
}

static unsigned
hex_digit(char c)
{
    return (unsigned)(char_is_digit(c) ? c - '0' : char_lower(c) - 'a' + 10);
}

static char
escaped(char c)
{
    switch (c) {
    case 'r':
        return '\r';
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case '0':
        return '\0';
    default:
        return c;
    }
}

/* \N{text} */
static void
repeat(struct sv *text, struct buf *out)
{
    struct sv digits = sv_take_while(text, char_is_digit);
    struct sv piece;
    uint64_t times;

    if (!sv_to_u64(digits, &times) || !sv_take_char(text, '{'))
        fail("script", 0, "bad repetition");
    piece = sv_take_until(text, '}');
    for (uint64_t i = 0; i < times; i++)
        script_unescape(piece, out);
}

static void
unescape_one(struct sv *text, struct buf *out)
{
    char c = '\\';

    if (text->n > 0)
        c = text->p[0];

    if (char_is_digit(c) &&
        !(c == '0' && (text->n < 2 || !char_is_digit(text->p[1])))) {
        repeat(text, out);
        return;
    }
    *text = sv_from(*text, 1);
    if (c == 'x' && text->n >= 2) {
        unsigned byte = hex_digit(text->p[0]) * 16 + hex_digit(text->p[1]);

        *buf_reserve(out, 1) = (char)(unsigned char)byte;
        buf_grew(out, 1);
        *text = sv_from(*text, 2);
    } else {
        buf_add_char(out, escaped(c));
    }
}

void
script_unescape(struct sv text, struct buf *out)
{
    while (text.n > 0) {
        if (sv_take_char(&text, '\\')) {
            unescape_one(&text, out);
        } else {
            buf_add_char(out, text.p[0]);
            text = sv_from(text, 1);
        }
    }
}

uint64_t
script_seconds(struct sv text)
{
    uint64_t value = 0;
    struct sv digits;

    sv_take_char(&text, '+');
    digits = sv_take_while(&text, char_is_digit);
    if (!sv_to_u64(digits, &value))
        fail("script", 0, "bad time");
    return value * (sv_is(text, "h") ? 3600 : sv_is(text, "m") ? 60 : 1);
}

bool
script_matches(struct sv line, struct sv pattern)
{
    size_t star = sv_index(pattern, '*');

    if (star == SV_NONE)
        return sv_eq(line, pattern);
    return line.n >= star &&
           sv_eq(sv_slice(line, 0, star), sv_slice(pattern, 0, star));
}
