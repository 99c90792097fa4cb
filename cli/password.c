#include "password.h"
#include "base/sv.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static bool
file_is_private(FILE *file, const char *name, struct err *err)
{
    struct stat st;

    if (fstat(fileno(file), &st) == -1) {
        err_sys(err, "password file %s", name);
        return false;
    }
    if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IROTH | S_IWOTH)) == 0)
        return true;
    err_set(err, "password file %s is open to every user: make it 0600", name);
    return false;
}

/* The first line without its end; false when it is empty or too long. */
static bool
take_line(FILE *file, char *dst, size_t size)
{
    size_t n;

    if (fgets(dst, (int)size, file) == NULL)
        return false;
    n = strcspn(dst, "\r\n");
    if (dst[n] == '\0' && n + 1 == size)
        return false;
    dst[n] = '\0';
    return n > 0;
}

static bool
from_file(struct password_source *source, char *dst, size_t size)
{
    FILE *file = fopen(source->file, "re");
    bool ok;

    if (file == NULL) {
        err_sys(&source->err, "password file %s", source->file);
        return false;
    }
    setvbuf(file, NULL, _IONBF, 0); /* no copy stays in a buffer */
    ok = file_is_private(file, source->file, &source->err);
    if (ok && !take_line(file, dst, size)) {
        err_set(&source->err,
                "password file %s: the first line must hold the password",
                source->file);
        ok = false;
    }
    fclose(file);
    return ok;
}

static bool
read_without_echo(FILE *terminal, const char *prompt, char *dst, size_t size)
{
    struct termios usual, silent;
    bool ok;

    if (tcgetattr(fileno(terminal), &usual) == -1)
        return false;
    silent = usual;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    /* Before the prompt: what is typed in answer to it must not be flushed. */
    if (tcsetattr(fileno(terminal), TCSAFLUSH, &silent) == -1)
        return false;
    fprintf(terminal, "%s: ", prompt);
    fflush(terminal);
    ok = take_line(terminal, dst, size);
    tcsetattr(fileno(terminal), TCSADRAIN, &usual);
    fputc('\n', terminal);
    return ok;
}

static bool
from_terminal(struct password_source *source, const char *prompt, char *dst,
              size_t size)
{
    FILE *terminal = fopen("/dev/tty", "r+e");
    bool ok = false;

    if (terminal != NULL) {
        setvbuf(terminal, NULL, _IONBF, 0);
        ok = read_without_echo(terminal, prompt, dst, size);
        fclose(terminal);
    }
    if (!ok)
        err_set(&source->err,
                "no %s: there is no terminal to ask at, or nothing was typed; "
                "--password-file names a file with it",
                prompt);
    return ok;
}

bool
password_get(struct password_source *source, const char *prompt, char *dst,
             size_t size)
{
    return source->file != NULL ? from_file(source, dst, size)
                                : from_terminal(source, prompt, dst, size);
}

bool
password_get_new(struct password_source *source, const char *prompt, char *dst,
                 size_t size)
{
    char *again;
    bool ok = password_get(source, prompt, dst, size);

    if (!ok || source->file != NULL)
        return ok;
    again = mem_alloc(size);
    ok = from_terminal(source, "password once more", again, size);
    if (ok && strcmp(dst, again) != 0) {
        err_set(&source->err, "the two passwords differ; nothing was written");
        ok = false;
    }
    explicit_bzero(again, size);
    mem_free(again);
    return ok;
}
