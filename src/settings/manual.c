/* The text in front of the generated reference. */
#include "base/buf.h"
#include "settings/tables.h"

/* clang-format off */
static const char introduction[] =
    "# Configuration reference\n"
    "\n"
    "<!-- Generated from the field tables in src/settings by `waxgate config\n"
    "manual`. Do not edit: a test compares it with the program. -->\n"
    "\n"
    "How to write a configuration is in [configuring.md](configuring.md); this page\n"
    "lists every setting. A *size* is in bytes, or takes `K`, `M` or `G` (powers of\n"
    "1024). A *time* takes `ms`, `s`, `m`, `h` or `d`. A list of one may be written\n"
    "as its element. Words in capitals in a path stand for names of your choice.\n";
/* clang-format on */

void
settings_manual(struct buf *out)
{
    buf_add_str(out, introduction);
    conf_manual(&settings_table, out);
}
