/* bench/sink.h - a local SMTP destination: takes every message, counts it and
 * forgets it (or saves it).  For trying the gateway out, for tests and for
 * benchmarks; it is no mail server and listens on loopback only. */
#ifndef BENCH_SINK_H
#define BENCH_SINK_H

/* Runs until SIGINT, SIGTERM, --expect messages or --time-limit; prints one
 * JSON object at the end. Returns the exit status. argv[0] is "sink". */
int sink_main(int argc, char **argv);
#endif
