#include "mail/date.h"
#include <time.h>

/* Not strftime(): its names follow the locale. */
static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed",
                                     "Thu", "Fri", "Sat"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr",
                                        "May", "Jun", "Jul", "Aug",
                                        "Sep", "Oct", "Nov", "Dec"};

/* A time that has no date (a year beyond int) is shown as the epoch. */
static struct tm
date_of(int64_t wall_s, struct tm *(*convert)(const time_t *, struct tm *))
{
    time_t when = (time_t)wall_s;
    struct tm tm;

    if (convert(&when, &tm) == NULL || tm.tm_year < -1900 || tm.tm_year > 8099)
        return (struct tm){.tm_mday = 1, .tm_year = 70, .tm_wday = 4};
    return tm;
}

const char *
mail_date_text(int64_t wall_s, char *text)
{
    struct tm tm = date_of(wall_s, localtime_r);
    int minutes = (int)(tm.tm_gmtoff / 60);
    int size = minutes < 0 ? -minutes : minutes;

    snprintf(text, MAIL_DATE_TEXT,
             "%.3s, %02d %.3s %04d %02d:%02d:%02d %c%02d%02d",
             day_names[tm.tm_wday], tm.tm_mday, month_names[tm.tm_mon],
             (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec,
             minutes < 0 ? '-' : '+', size / 60 % 100, size % 60);
    return text;
}

const char *
mail_date_iso(int64_t wall_s, char *text)
{
    struct tm tm = date_of(wall_s, gmtime_r);

    snprintf(text, MAIL_DATE_TEXT, "%04d-%02d-%02dT%02d:%02d:%02dZ",
             (tm.tm_year + 1900) % 10000, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec);
    return text;
}
