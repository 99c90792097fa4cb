/* sink: the destination of bench/, under a name that is always installed. */
#include "cli.h"

#include "sink.h"

int
run_sink(struct cli *cli)
{
    return sink_main(cli->argc, cli->argv);
}
