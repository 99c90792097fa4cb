/* Any bytes as a configuration: refused with a message, or loaded; and what was
 * loaded prints as something that loads again. */
#include "base/buf.h"
#include "settings/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct settings_options options = {.check_files = false};

static void
check_round_trip(const struct settings *settings, bool effective)
{
    struct buf text = {0};
    struct settings *again;
    struct err err;

    settings_print(settings, effective, &text);
    again = settings_load(buf_view(&text), "printed.yaml", &options, &err);
    if (again == NULL) {
        fprintf(stderr, "%s\n%s", err.text, buf_cstr(&text));
        abort();
    }
    settings_unref(again);
    buf_fini(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv text = {(const char *)data, size};
    struct settings *settings;
    struct err err = {0};

    settings = settings_load(text, "fuzz.yaml", &options, &err);
    if (settings == NULL) {
        assert(err.text[0] != '\0');
        return 0;
    }
    check_round_trip(settings, true);
    check_round_trip(settings, false);
    settings_unref(settings);
    return 0;
}
