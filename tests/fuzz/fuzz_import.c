/* Any bytes as an export of another product: what was understood is written as
 * a configuration that loads and says the same, or is refused as a whole. */
#include "base/buf.h"
#include "settings/import.h"
#include "settings/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct settings_options options = {.check_files = false};

static void
check_candidate(const struct import *import)
{
    struct buf text = {0};
    struct settings *settings;
    struct err err = {0};

    if (import_candidate(import, sv_of(settings_default_yaml), "fuzz.yaml",
                         &text, &err)) {
        settings = settings_load(buf_view(&text), "fuzz.yaml", &options, &err);
        assert(settings != NULL);
        assert(settings->advanced_count == import->setting_count);
        settings_unref(settings);
    } else {
        assert(err.text[0] != '\0');
    }
    buf_fini(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv bytes = {(const char *)data, size};
    struct buf report = {0};
    struct import import;
    struct err err = {0};

    if (!import_read(bytes, &import, &err)) {
        assert(err.text[0] != '\0');
        return 0;
    }
    import_report(&import, &report);
    for (size_t i = 0; i < buf_length(&report); i++)
        assert(char_is_print(report.p[i]) || report.p[i] == '\n');
    if (import.refused == 0)
        check_candidate(&import);
    import_fini(&import);
    buf_fini(&report);
    return 0;
}
