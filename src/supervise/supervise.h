/* supervise/supervise.h - waxgated: the parent of the service processes.
 *
 * The supervisor owns what must outlive a service: the listening sockets, the
 * configuration in force and the lock on the state directory.  It starts
 * receiver, sender and controller, starts them again when they die, carries a
 * reload through all of them or none, and ends them in order.  It reads no
 * mail, opens no connection and parses nothing that a service sends. */
#ifndef SUPERVISE_SUPERVISE_H
#define SUPERVISE_SUPERVISE_H

/* Runs the gateway until SIGTERM or SIGINT; gives the exit status.  What
 * hinders the start is one line on standard error. */
int supervise_run(const char *config_path);

/* The main of a service process: argv as the supervisor made it, "--service"
 * first.  Gives the exit status. */
#define SUPERVISE_SERVICE_OPTION "--service"
int supervise_service(int argc, char **argv);
#endif
