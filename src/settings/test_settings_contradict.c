/* Well-formed configurations that would not work: what is missing, references
 * to nothing, settings that contradict each other. */
#include "test_refuse.h"

static const struct row rows[] = {
    {"no listener", "node: a\n", "t.yaml:1:1: listeners: is required"},
    {"empty listeners", "listeners: {}\n",
     "t.yaml:1:12: listeners: needs at least 1 entry"},
    {"listener without type",
     "listeners:\n"
     "  In: {address: \"127.0.0.1:25\"}\n",
     "t.yaml:2:7: listeners.In.type: is required"},
    {"listener without address",
     "listeners:\n"
     "  In: {type: public}\n",
     "t.yaml:2:7: listeners.In.address: is required"},
    {"a reply that rejects who is accepted",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    rat: {a.test: {action: accept, reject_text: No}}\n",
     "t.yaml:5:28: listeners.In.rat.\"a.test\".action: a recipient that is "
     "accepted gets no reply that rejects: remove `reject_code` and "
     "`reject_text`, or set `action: reject`"},
    {"certificate without key", "certificates: {mx: {chain: /c}}\n",
     "t.yaml:1:20: certificates.mx.key: is required"},
    {"dangling, none there",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    certificates: [mx]\n",
     "t.yaml:6:20: listeners.In.certificates[0]: \"mx\" does not exist in "
     "certificates (there are none)"},
    {"dangling, near",
     "certificates: {mx: {chain: /c, key: /k}}\n"
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    certificates: [mxx]\n",
     "t.yaml:7:20: listeners.In.certificates[0]: \"mxx\" does not exist in "
     "certificates (there is: mx); did you mean \"mx\"?"},
    {"dangling profile",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    tls_profile: modern\n",
     "t.yaml:6:18: listeners.In.tls_profile: \"modern\" does not exist in "
     "tls_profiles (there is: default)"},
    {"dangling bounce profile",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "destinations: {example.org: {bounce_profile: slow}}\n",
     "t.yaml:2:46: destinations.\"example.org\".bounce_profile: \"slow\" does "
     "not exist in bounce_profiles (there is: default)"},
    {"reference that is a map",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "destinations: {example.org: {bounce_profile: {}}}\n",
     "t.yaml:2:46: destinations.\"example.org\".bounce_profile: must be a "
     "single value, not a map"},
    {"inherit nothing", "tls_profiles: {a: {inherit: b}}\n",
     "t.yaml:1:29: tls_profiles.a.inherit: there is no entry \"b\""},
    {"inherit oneself", "tls_profiles: {a: {inherit: a}}\n",
     "t.yaml:1:29: tls_profiles.a.inherit: a inherits from a: a circle"},
    {"inherit in a circle",
     "tls_profiles:\n"
     "  a: {inherit: b}\n"
     "  b: {inherit: c}\n"
     "  c: {inherit: a}\n",
     "t.yaml:4:16: tls_profiles.c.inherit: a inherits from c: a circle"},
    {"inherit where it is not known",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "destinations: {example.org: {inherit: default}}\n",
     "t.yaml:2:30: destinations.\"example.org\".inherit: there is no such "
     "setting"},
    {"route without host",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "routes: {example.org: [{port: 25}]}\n",
     "t.yaml:2:24: routes.\"example.org\"[0].host: is required"},
    {"route port",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "routes: {example.org: [{host: a, port: 0}]}\n",
     "t.yaml:2:40: routes.\"example.org\"[0].port: \"0\" is out of bounds "
     "(1..65535)"},
    {"route short form port",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "routes: {example.org: \"a:99999\"}\n",
     "t.yaml:2:23: routes.\"example.org\": \"a:99999\" is not \"host\" or "
     "\"host:port\""},
    {"route host",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "routes: {example.org: \"a b\"}\n",
     "t.yaml:2:23: routes.\"example.org\": \"a b\" is not a host name or an IP "
     "address"},
    {"route element",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "routes: {example.org: [[]]}\n",
     "t.yaml:2:24: routes.\"example.org\"[0]: must be a map, not a list"},
    {"route key",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "routes: {\"a b\": mx}\n",
     "t.yaml:2:10: routes: \"a b\" is not a domain such as example.org or "
     ".example.org"},
    {"default in capitals",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "destinations: {Default: {}}\n",
     "t.yaml:2:16: destinations: \"Default\" is not a domain; for all others "
     "write \"default\""},
    {"route twice",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "routes:\n"
     "  example.org: mx\n"
     "  EXAMPLE.org: mx\n",
     "t.yaml:4:3: routes: \"EXAMPLE.org\" is the same as example.org in line "
     "3"},
    {"destination twice",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "destinations:\n"
     "  bücher.example: {}\n"
     "  xn--bcher-kva.example: {}\n",
     "t.yaml:4:3: destinations: \"xn--bcher-kva.example\" is the same as "
     "xn--bcher-kva.example in line 3"},
    {"required without certificate",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    tls: required\n",
     "t.yaml:6:10: listeners.In.tls: TLS needs a certificate; set "
     "`certificates`, or `tls: no`"},
    {"preferred without certificate",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    tls: preferred\n",
     "t.yaml:6:10: listeners.In.tls: TLS needs a certificate; set "
     "`certificates`, or `tls: no`"},
    {"implicit TLS without certificate",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"tls://127.0.0.1:25\"\n"
     "    domains: example.org\n",
     "t.yaml:4:14: listeners.In.address: tls:// needs a certificate; set "
     "`certificates`"},
    {"implicit TLS and tls no",
     "certificates: {mx: {chain: /c, key: /k}}\n"
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"tls://127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    certificates: mx\n"
     "    tls: no\n",
     "t.yaml:8:10: listeners.In.tls: \"no\" contradicts the address, which "
     "begins with tls://"},
    {"open relay",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    relay_for: [192.0.2.0/24, 0.0.0.0/0]\n",
     "t.yaml:6:16: listeners.In.relay_for: a network of /0 on a public "
     "listener is an open relay: anybody could send mail to anybody through "
     "it; list the networks of your own hosts"},
    {"open relay in halves",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    relay_for: [0.0.0.0/1, 128.0.0.0/1]\n",
     "t.yaml:6:16: listeners.In.relay_for: a network of /1 on a public "
     "listener is an open relay: anybody could send mail to anybody through "
     "it; list the networks of your own hosts"},
    {"open relay by IPv6",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    relay_for: [\"::/0\"]\n",
     "t.yaml:6:16: listeners.In.relay_for: a network of /0 on a public "
     "listener is an open relay: anybody could send mail to anybody through "
     "it; list the networks of your own hosts"},
    {"accepts nothing",
     "listeners: {In: {type: public, address: \"127.0.0.1:25\"}}\n",
     "t.yaml:1:13: listeners.In.domains: the listener would accept no mail; "
     "set `domains` or `relay_for`"},
    {"address twice",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "  Other: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "10.0.0.0/8}\n",
     "t.yaml:6:35: listeners.Other.address: 127.0.0.1:25 is the address of "
     "listener In already"},
    {"SSLv2",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "tls_profiles: {old: {versions: {SSLv2: on}}}\n",
     "t.yaml:2:32: tls_profiles.old.versions: SSLv2 cannot be turned on: "
     "$OPENSSL no longer implements this protocol"},
    {"SSLv3",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "tls_profiles: {default: {versions: {SSLv3: on}}}\n",
     "t.yaml:2:36: tls_profiles.default.versions: SSLv3 cannot be turned on: "
     "$OPENSSL was built without this protocol"},
    {"no version",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "tls_profiles: {default: {versions: []}}\n",
     "t.yaml:2:36: tls_profiles.default.versions: all versions are off; turn "
     "one on, or set `tls: no` where no TLS is wanted"},
    {"cipher list",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "tls_profiles: {default: {ciphers: \"HIGH:FOO\"}}\n",
     "t.yaml:2:35: tls_profiles.default.ciphers: \"FOO\" matches no cipher of "
     "$OPENSSL"},
    {"empty cipher list",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "tls_profiles: {default: {ciphers: \"HIGH:!ALL\"}}\n",
     "t.yaml:2:35: tls_profiles.default.ciphers: \"HIGH:!ALL\" leaves no "
     "cipher for TLS 1.2 and below in $OPENSSL"},
    {"suites of TLS 1.3",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "tls_profiles: {default: {suites: \"TLS_AES_256_GCM_SHA384:TLS_NOPE\"}}\n",
     "t.yaml:2:34: tls_profiles.default.suites: \"TLS_NOPE\" matches no cipher "
     "of $OPENSSL"},
    {"a suite of TLS 1.2 where those of 1.3 stand",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "tls_profiles: {default: {suites: ECDHE-RSA-AES256-GCM-SHA384}}\n",
     "t.yaml:2:34: tls_profiles.default.suites: "
     "\"ECDHE-RSA-AES256-GCM-SHA384\" is not a list of TLS 1.3 suites of "
     "$OPENSSL"},
    {"certificates looked at too often",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "certificate_check: 10ms\n",
     "t.yaml:2:20: certificate_check: \"10ms\" is out of bounds (1s..1h or "
     "off)"},
    {"groups",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "tls_profiles: {default: {groups: \"X25519:nope\"}}\n",
     "t.yaml:2:34: tls_profiles.default.groups: \"X25519:nope\" is not a list "
     "of groups of $OPENSSL"},
    {"max_retry",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "bounce_profiles: {default: {first_retry: 2h}}\n",
     "t.yaml:2:19: bounce_profiles.default.max_retry: is shorter than "
     "first_retry"},
    {"max_retry, inherited",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "bounce_profiles:\n"
     "  default: {max_retry: 30m}\n"
     "  slow: {first_retry: 45m}\n",
     "t.yaml:4:3: bounce_profiles.slow.max_retry: is shorter than first_retry"},
    {"delay_warning",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "bounce_profiles: {default: {delay_warning: 5d}}\n",
     "t.yaml:2:44: bounce_profiles.default.delay_warning: comes only after "
     "max_time_in_queue, when the message is gone"},
    {"inline_limit",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "spool: {segment_size: 2M, inline_limit: 1M}\n",
     "t.yaml:2:41: spool.inline_limit: is more than a quarter of segment_size"},
    {"memory_limit",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "spool: {inline_limit: 16M, memory_limit: 1M}\n",
     "t.yaml:2:42: spool.memory_limit: is less than inline_limit"},
};

int
main(void)
{
    return RUN_ROWS("settings_contradict", check, rows);
}
