#include "mail/param.h"
#include "unit.h"

static const struct param_row {
    const char *name, *in, *key, *value; /* key NULL: must be refused */
    const char *rest;
} param_rows[] = {
    {"key and value", " SIZE=1000", "SIZE", "1000", ""},
    {"key alone", " SMTPUTF8", "SMTPUTF8", "", ""},
    {"another follows", " A=b C=d", "A", "b", " C=d"},
    {"two blanks", "  A", "A", "", ""},
    {"hyphen and digits", " X-1=a,b;c", "X-1", "a,b;c", ""},
    {"utf-8 value", " ORCPT=utf-8;\xc3\xbc@x", "ORCPT", "utf-8;\xc3\xbc@x", ""},
    {"no blank", "SIZE=1", NULL, NULL, NULL},
    {"tab", "\tSIZE=1", NULL, NULL, NULL},
    {"blank only", " ", NULL, NULL, NULL},
    {"empty", "", NULL, NULL, NULL},
    {"empty value", " SIZE=", NULL, NULL, NULL},
    {"empty value, another follows", " SIZE= A=b", NULL, NULL, NULL},
    {"no key", " =1", NULL, NULL, NULL},
    {"leading hyphen", " -A=1", NULL, NULL, NULL},
    {"two equals signs", " A=b=c", NULL, NULL, NULL},
    {"control in the value", " A=b\x01", NULL, NULL, NULL},
    {"CR in the value", " A=b\rc", NULL, NULL, NULL},
    {"bad utf-8", " A=\xff", NULL, NULL, NULL},
    {"underscore in the key", " A_B=c", NULL, NULL, NULL},
};

static void
check_param(void **state)
{
    const struct param_row *r = *state;
    struct sv in = sv_of(r->in), key, value;

    assert_int_equal(mail_param_take(&in, &key, &value), r->key != NULL);
    if (r->key == NULL) {
        assert_sv(in, r->in);
        return;
    }
    assert_sv(key, r->key);
    assert_sv(value, r->value);
    assert_sv(in, r->rest);
}

static const struct xtext_row {
    const char *name, *in, *out; /* NULL: must be refused */
} xtext_rows[] = {
    {"plain", "ann@example.org", "ann@example.org"},
    {"plus", "a+2Bb", "a+b"},
    {"equals sign", "a+3Db", "a=b"},
    {"blank", "a+20b", "a b"},
    {"8-bit", "+C3+BC", "\xc3\xbc"},
    {"empty", "", ""},
    {"NUL", "a+00", NULL},
    {"LF", "a+0Ab", NULL},
    {"CR", "+0D", NULL},
    {"delete", "+7F", NULL},
    {"lower-case digits", "a+2b", NULL},
    {"cut", "a+2", NULL},
    {"plus at the end", "a+", NULL},
    {"not hexadecimal", "+G0", NULL},
    {"raw equals sign", "a=b", NULL},
    {"raw blank", "a b", NULL},
    {"raw 8-bit", "\xc3\xbc", NULL},
    {"raw control", "a\tb", NULL},
};

static void
check_xtext(void **state)
{
    const struct xtext_row *r = *state;
    struct buf again = {0};
    char out[64];
    size_t length = 0;

    assert_int_equal(mail_xtext_decode(sv_of(r->in), out, &length),
                     r->out != NULL);
    if (r->out == NULL)
        return;
    assert_sv(((struct sv){out, length}), r->out);
    mail_xtext_encode((struct sv){out, length}, &again);
    assert_sv(buf_view(&again), r->in);
    buf_fini(&again);
}

int
main(void)
{
    return RUN_ROWS("mail_param", check_param, param_rows) +
           RUN_ROWS("mail_xtext", check_xtext, xtext_rows);
}
