/* The table of commands: what exists, and what help says of it. */
#include "cli.h"
#include "queue.h"

#define QUEUE_SELECTION "--all | " QUEUE_FILTERS " | ID…"

const struct cli_command cli_commands[] = {
    {"run", "", "Runs the gateway in the foreground.",
     "The same as `waxgated`. SIGTERM and SIGINT end it in order, a second one "
     "at once; SIGHUP loads the configuration anew; SIGUSR1 opens the log file "
     "anew.",
     run_gateway, false},
    {"status", "[--json]", "Shows processes, alerts, queue and spool.", NULL,
     run_status, false},
    {"reload", "", "Loads the configuration into all processes, or none.",
     "Waits until every process has confirmed it. If one refuses, the old "
     "configuration stays in force everywhere and the reason is printed. No "
     "connection is closed.",
     run_reload, false},
    {"stop", "[--now]", "Ends the gateway in order and waits for it.",
     "Sessions and deliveries that are under way are finished, within "
     "`drain_timeout`. With `--now` they are broken off; nothing that was "
     "acknowledged is lost.",
     run_stop, false},
    {"alerts", "[--json]", "Lists the conditions that need an administrator.",
     NULL, run_alerts, false},
    {"queue list", "[--json] [--limit N] " QUEUE_FILTERS,
     "Lists the messages that wait, with the reason of the last attempt.",
     "One line for each recipient that is not final; with `--json` an array of "
     "messages. States are `ready`, `active`, `waiting` and `held`.",
     run_queue_list, false},
    {"queue show", "[--json] ID", "Shows one message with all its recipients.",
     NULL, run_queue_show, false},
    {"queue retry", "--all | --destination DOMAIN | ID…",
     "Tries messages again at once.",
     "With `--all` or a destination, what was learnt of failing destinations "
     "is "
     "forgotten.",
     run_queue_retry, false},
    {"queue hold", QUEUE_SELECTION, "Keeps messages from being delivered.",
     NULL, run_queue_deed, false},
    {"queue release", QUEUE_SELECTION, "Gives held messages free.", NULL,
     run_queue_deed, false},
    {"queue delete", "[--notify] " QUEUE_SELECTION, "Removes messages.",
     "There is no way back. The sender of a message is told only with "
     "`--notify`. What is being delivered at this moment may still get "
     "through.",
     run_queue_deed, false},
    {"queue stats", "[--json]", "Counts messages by state.", NULL,
     run_queue_stats, false},
    {"queue destinations", "[--json]", "Lists destinations with their work.",
     NULL, run_queue_destinations, false},
    {"route", "[--json] DOMAIN|ADDRESS",
     "Shows which servers mail for a domain goes to.",
     "The rule that decides, every look-up with its DNSSEC state, which "
     "servers and addresses are left out and why, and the order of trying.",
     run_route, false},
    {"explain", "[--json] [--demand NAME,…] [--sender ADDRESS] DOMAIN|ADDRESS",
     "Explains what would happen to mail, and why. Connects to nobody.",
     "What `route` shows, the settings with their origin, the MTA-STS policy, "
     "the TLSA records, the decision for each server with its reasons, and "
     "what follows if the server fails. A message may demand `requiretls`, "
     "`tls-required`, `tls-verified`, `tls-optional` (TLS-Required: No) or "
     "`ignore-dane`.",
     run_explain, false},
    {"tls-check", "[--json] [--demand NAME,…] DOMAIN|ADDRESS[:PORT]",
     "Connects to every server of a domain as delivery would.",
     "Shows each step, TLS, the chain, the names that were tried, the verdict "
     "of every mechanism, whether mail would go, and the least change that "
     "would help. Nothing is delivered. Status 0: all servers are fine; 1: "
     "mail gets through, but not with every server as it should; 2: it does "
     "not; 3: that could not be found out.",
     run_tls_check, false},
    {"config check", "[FILE]", "Checks a configuration and changes nothing.",
     "Prints nothing when it is right; else one line with file, line, column "
     "and the path in the tree.",
     run_config_check, false},
    {"config show", "[--effective] [FILE]", "Prints a configuration.",
     "With `--effective` every setting, with the origin of its value.",
     run_config_show, false},
    {"config default", "", "Prints a configuration to begin with.",
     "On loopback and unprivileged ports.", run_config_default, false},
    {"config manual", "", "Prints the reference of all settings (Markdown).",
     NULL, run_config_manual, false},
    {"lint", "[--json] [FILE]", "Warns of what works and is weak.",
     "Of a configuration: TLS that is required of everybody, old versions and "
     "ciphers, certificates that do not fit or end soon, keys that others can "
     "read, rows that never match, destinations in clear text. Every warning "
     "says where, what, why it matters and what would be better. Status 1 "
     "when there are any.",
     run_lint, false},
    {"import", "[--fragment] [--output FILE] FILE",
     "Takes TLS settings of MailMarshal or AsyncOS over.",
     "FILE is a registry export (.reg), a list of advanced settings "
     "(`Name,Type,Value` or `Name = Value`) or what sslconfig prints; `-` is "
     "the standard input. For every line it is said what became of it. The "
     "result is the configuration with the settings added, for you to look at; "
     "with `--fragment` the settings alone. Nothing is changed; if anything is "
     "refused, nothing is written.",
     run_import, false},
    {"cert list", "[--json]", "Lists the certificates of the configuration.",
     "With validity, days left, names, issuer, key, SHA-256, and the listeners "
     "and destinations that use each. Status 1 when one is unusable.",
     run_cert_list, false},
    {"cert show", "[--json] NAME|FILE", "Shows all facts of a certificate.",
     "A name of the configuration, or any file with certificates. With the "
     "SHA-256 of certificate and public key and the TLSA record for DANE. Keys "
     "are never printed.",
     run_cert_show, false},
    {"cert create-self-signed",
     "[--key-type TYPE] [--days N] [--subject O=…,C=…] [--replace] NAME HOST…",
     "Makes a key and a certificate signed with it.",
     "For the host names and addresses. A NAME of the configuration means its "
     "files; any other NAME.pem and NAME.key beside the configuration file. "
     "Types are `rsa2048` (default), `rsa3072`, `rsa4096`, `ec256`, `ec384`.",
     run_cert_create_self_signed, false},
    {"cert create-csr",
     "[--key-type TYPE] [--subject O=…,C=…] [--new-key] [--replace] NAME "
     "HOST…",
     "Makes a request for a certificate.",
     "For the key that NAME has, or a new one where there is none. With "
     "`--new-key` a new one beside it, which `cert import` puts in place.",
     run_cert_create_csr, false},
    {"cert import",
     "[--key FILE] [--password-file FILE] [--replace] NAME FILE…",
     "Puts a certificate in place from PEM, DER, PKCS#7 or PKCS#12.",
     "The key is in the files, in the file that `--key` names, or the one "
     "that NAME has already. It is checked that they belong together; the "
     "chain is put in order. Each file appears whole and private or not at "
     "all. A "
     "password is asked for at the terminal.",
     run_cert_import, false},
    {"cert export", "[--password-file FILE] [--replace] NAME FILE",
     "Writes certificate, chain and key as PKCS#12.",
     "Sealed with a password, which is asked for at the terminal.",
     run_cert_export, false},
    {"hat test", "[--name HOST] LISTENER ADDRESS",
     "Shows which sender group and policy a client gets.",
     "With the text that matched and every effective parameter with its "
     "origin. HOST is taken as the confirmed name of the client; DNS is not "
     "asked.",
     run_hat_test, false},
    {"listener show", "[NAME]", "Shows listeners of the configuration.",
     "Also the rows of each host access table. `TLS` is what everybody gets "
     "who is in no other group.",
     run_listener_show, false},
    {"tls ciphers", "[--json] PROFILE|LIST",
     "Shows which cipher suites a profile or an OpenSSL list gives, in order.",
     "A profile of the configuration, `high`, `medium` or `low`, or a list. "
     "Exactly what this machine's TLS library offers and accepts, with a "
     "warning beside each weak suite.",
     run_tls_ciphers, false},
    {"dns", "[--json] NAME TYPE",
     "Looks a name up as the gateway does, with its DNSSEC state.",
     "TYPE is A, AAAA, CNAME, MX, NS, PTR, SOA, TLSA or TXT. Shows whether the "
     "answer is secure, insecure, bogus, absent or an error, the resolver's "
     "reason, every alias with a state of its own, and the records. Status 1 "
     "for bogus and error.",
     run_dns, false},
    {"dane verify",
     "[--json] [--time TIME] --chain FILE --name NAME… --tlsa 'U S M HEX'…",
     "Checks a certificate chain against TLSA records, without a gateway.",
     "FILE holds PEM, the server's own certificate first; `-` is the standard "
     "input. The first NAME is the TLSA base domain; others may stand in a "
     "certificate under DANE-TA too. TIME is seconds since 1970 or such as "
     "`2026-01-31T12:00:00Z`. Prints the verdict and the reason; status 0 when "
     "a record matches, else 1.",
     run_dane_verify, false},
    {"tlsrpt list", "[--json] [--domain DOMAIN] [--date DATE]",
     "Lists the reports about TLS to other domains, newest first.",
     "One line for each day (UTC) and domain with sessions, and what became of "
     "the report. States are `counting` (the day is not over), `planned`, "
     "`sending`, `sent`, `failed`, and `unwanted`: the domain asks for none.",
     run_tlsrpt_list, false},
    {"tlsrpt show", "--domain DOMAIN [--date DATE]",
     "Prints a report about TLS as JSON (RFC 8460).",
     "As it was sent; where it was not yet, as it would be now. Today's "
     "without "
     "a date.",
     run_tlsrpt_show, false},
    {"tlsrpt send", "[--dry-run] --domain DOMAIN --date DATE",
     "Sends the report of a day that is over, again if need be.",
     "Status 0 when somebody accepted it. With `--dry-run` nothing is sent: "
     "the "
     "report is printed, and where it would go.",
     run_tlsrpt_send, false},
    {"tlsrpt parse-record", "[--json] TEXT",
     "Reads a TXT record of TLS reporting (`_smtp._tls`).",
     "Without a gateway. Prints `valid` and the addresses, or `invalid` and "
     "why; "
     "status 0 or 1.",
     run_tlsrpt_parse_record, false},
    {"dkim keygen",
     "[--algorithm rsa|ed25519] --domain DOMAIN --selector NAME --key FILE",
     "Makes a key that signs reports, and prints its DNS record.",
     "The file must not exist; nobody else may read it. The record names the "
     "service `tlsrpt`, so it serves for reports and for no other mail.",
     run_dkim_keygen, false},
    {"dkim record", "NAME", "Prints the DNS record of a key in `dkim` again.",
     NULL, run_dkim_record, false},
    {"sts list", "[--json]", "Lists the MTA-STS policies of other domains.",
     "Those in the cache, with age and last fetch; also domains whose policy "
     "could not be fetched within the last week.",
     run_sts_list, false},
    {"sts show", "[--json] DOMAIN",
     "Shows the MTA-STS policy of a domain with its last fetches.",
     "What is in the cache: nothing is looked up. `waxgate sts refresh` looks.",
     run_sts_show, false},
    {"sts refresh", "[--json] DOMAIN",
     "Looks at the record of a domain and fetches its policy, now.",
     "Also within the pause after a failure, and where the id has not changed. "
     "A policy that is in force stays when this fails. Status 1 when no policy "
     "came.",
     run_sts_refresh, false},
    {"sts forget", "DOMAIN", "Removes a domain from the cache of policies.",
     "Also a pin. The next message to the domain looks it up anew: whoever "
     "can block that can then also read the message.",
     run_sts_forget, false},
    {"sts pin", "[--off] [--json] DOMAIN",
     "Keeps the policy of a domain as it is, for good.",
     "It neither ends nor changes, whatever the domain publishes, until `sts "
     "pin --off` or `sts forget`; `sts refresh` replaces it by the present "
     "one.",
     run_sts_pin, false},
    {"sts parse-record", "[--json] TXT…",
     "Says what the TXT records of _mta-sts.DOMAIN mean together.",
     "Each argument is one record. Prints verdict and reason; status 1 where "
     "they are no valid record. No gateway is needed.",
     run_sts_parse_record, false},
    {"sts parse-policy", "[--json] FILE|-",
     "Says whether a file is a valid MTA-STS policy.",
     "Prints verdict, what was ignored or is wrong with its line, and the "
     "policy. Status 1 where it is none. No gateway is needed.",
     run_sts_parse_policy, false},
    {"sts match", "[--json] PATTERN HOST",
     "Says whether an mx pattern of a policy allows a host.",
     "Status 0 for a match, else 1. No gateway is needed.", run_sts_match,
     false},
    {"dane", "[--json] DOMAIN[:PORT]",
     "Shows the TLSA records of a domain's servers, and whether they match "
     "now.",
     "Of every server by MX: the DNSSEC states, the TLSA base domain, each "
     "record with usable or why not, and what the server shows now, for which "
     "it is connected to. Nothing is delivered; what the settings say of the "
     "destination does not count. Status 0 when every server has usable "
     "records and matches, else 1.",
     run_dane, false},
    {"spool verify", "", "Checks every record and body in the spool.",
     "Safe while the gateway runs. Status 1 when problems were found.",
     run_spool_verify, false},
    {"spool dump", "[--ledger] [--json] [--content] [--from N]",
     "Prints the records of a journal.",
     "The intake journal, or with `--ledger` the sender's; from sequence "
     "number N on; with `--content` the messages themselves too.",
     run_spool_dump, false},
    {"version", "", "Prints the version.", NULL, run_version, false},
    {"help", "[--markdown] [COMMAND]", "Explains a command, or lists them.",
     NULL, run_help, false},
    {"sink", "OPTIONS", "A local SMTP destination for trying things out.",
     "Takes every message and forgets it. `waxgate sink --help` lists its "
     "options.",
     run_sink, true},
};
const size_t cli_command_count = COUNT_OF(cli_commands);
