#include "service/link.h"

const char *
link_state_name(enum link_state state)
{
    static const char *const names[] = {
        [LINK_DOWN] = "down",
        [LINK_STARTING] = "starting",
        [LINK_READY] = "ready",
        [LINK_DRAINING] = "draining",
    };

    return names[state];
}
