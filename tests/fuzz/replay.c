/* tests/fuzz/replay.c - runs a harness over files, for builds without
 * libFuzzer: the corpus is replayed as an ordinary test. */
#include "base/base.h"
#include <dirent.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 20 };

static void
replay_file(const char *path)
{
    FILE *file = fopen(path, "re");
    uint8_t *data;
    size_t size;

    if (file == NULL) {
        perror(path);
        exit(1);
    }
    data = mem_alloc_raw(INPUT_MAX);
    size = fread(data, 1, INPUT_MAX, file);
    fclose(file);
    /* An exact copy, so that a sanitizer sees a read behind the end. */
    data = mem_resize(data, size);
    LLVMFuzzerTestOneInput(data, size);
    mem_free(data);
}

static size_t
replay_folder(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    size_t count = 0;

    if (folder == NULL)
        return 0;
    while ((entry = readdir(folder)) != NULL) {
        char name[4096];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        replay_file(name);
        count++;
    }
    closedir(folder);
    return count;
}

/* What no corpus needs to be made for: nothing, and short runs of each byte. */
static void
replay_bytes(void)
{
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t data[64];

        memset(data, (int)byte, sizeof data);
        for (size_t n = 1; n <= sizeof data; n *= 2)
            LLVMFuzzerTestOneInput(data, n);
    }
}

int
main(int argc, char **argv)
{
    size_t count = 0;

    replay_bytes();
    for (int i = 1; i < argc; i++)
        count += replay_folder(argv[i]);
    printf("[  PASSED  ] 1 test: %zu files replayed.\n", count);
    return 0;
}
