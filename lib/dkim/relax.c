/* The relaxed canonical forms of RFC 6376 section 3.4. */
#include "dkim/dkim.h"

/* Runs of blanks become one space, at the end of a line none. */
static void
add_relaxed_line(struct sv line, struct buf *out)
{
    while (line.n > 0 && char_is_blank(line.p[line.n - 1]))
        line.n--;
    while (line.n > 0) {
        struct sv blanks = sv_take_while(&line, char_is_blank);

        if (blanks.n > 0)
            buf_add_char(out, ' ');
        else {
            buf_add_char(out, line.p[0]);
            line = sv_from(line, 1);
        }
    }
}

/* Section 3.4.2: lower-case name, unfolded value. */
void
dkim_relax_field(struct sv name, struct sv value, struct buf *out)
{
    struct buf unfolded = {0};

    name = sv_trim(name);
    for (size_t i = 0; i < name.n; i++)
        buf_add_char(out, char_lower(name.p[i]));
    buf_add_char(out, ':');
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] != '\r' && value.p[i] != '\n')
            buf_add_char(&unfolded, value.p[i]);
    add_relaxed_line(sv_trim(buf_view(&unfolded)), out);
    buf_add_str(out, "\r\n");
    buf_fini(&unfolded);
}

static bool
take_line(struct sv *body, struct sv *line)
{
    size_t end = 0;

    if (body->n == 0)
        return false;
    while (end + 1 < body->n &&
           (body->p[end] != '\r' || body->p[end + 1] != '\n'))
        end++;
    if (end + 1 < body->n) {
        *line = sv_slice(*body, 0, end);
        *body = sv_from(*body, end + 2);
    } else { /* the last one, without its end */
        *line = *body;
        *body = (struct sv){0};
    }
    return true;
}

/* Section 3.4.4: empty lines at the end do not count; what is left ends in
 * CRLF; an empty body stays empty. */
void
dkim_relax_body(struct sv body, struct buf *out)
{
    size_t empty = 0;
    struct sv line;

    while (take_line(&body, &line)) {
        struct buf relaxed = {0};

        add_relaxed_line(line, &relaxed);
        if (buf_length(&relaxed) == 0) {
            empty++;
        } else {
            for (; empty > 0; empty--)
                buf_add_str(out, "\r\n");
            buf_add(out, buf_view(&relaxed));
            buf_add_str(out, "\r\n");
        }
        buf_fini(&relaxed);
    }
}
