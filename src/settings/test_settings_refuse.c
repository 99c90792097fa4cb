/* Every kind of mistake in a configuration, and the one message it gets. */
#include "base/buf.h"
#include "settings/settings.h"
#include "unit.h"
#include <openssl/crypto.h>

static const struct row {
    const char *name;
    const char *yaml;
    const char *message; /* $OPENSSL is the library's name and version */
} rows[] = {
    {"empty file", "", "t.yaml:1:1: listeners: is required"},
    {"comment only", "# nothing\n", "t.yaml:1:1: listeners: is required"},
    {"a list at the top", "- a\n", "t.yaml:1:1: must be a map, not a list"},
    {"a word at the top", "word\n",
     "t.yaml:1:1: must be a map, not a single value"},
    {"bad indentation",
     "node: a\n"
     " hostname: b\n",
     "t.yaml:2:10: not valid YAML: mapping values are not allowed in this "
     "context"},
    {"unclosed bracket", "node: [a\n",
     "t.yaml:2:1: not valid YAML: while parsing a flow sequence did not find "
     "expected ',' or ']'"},
    {"tab indentation",
     "log:\n"
     "\tlevel: info\n",
     "t.yaml:2:1: not valid YAML: while scanning for the next token found "
     "character that cannot start any token"},
    {"invalid UTF-8", "node: \"\xff\xfe\"\n",
     "t.yaml: not valid YAML: invalid leading UTF-8 octet at byte 7"},
    {"anchor", "node: &x a\n", "t.yaml:1:7: YAML anchors are not supported"},
    {"anchor on a map", "log: &x {level: info}\n",
     "t.yaml:1:6: YAML anchors are not supported"},
    {"alias",
     "node: a\n"
     "hostname: *x\n",
     "t.yaml:2:11: YAML aliases are not supported"},
    {"tag", "node: !!str a\n", "t.yaml:1:7: YAML tags are not supported"},
    {"two documents",
     "node: a\n"
     "---\n"
     "node: b\n",
     "t.yaml:2:1: a second YAML document begins here; the file may hold one"},
    {"key that is a list", "[a]: b\n", "t.yaml:1:1: a key must be a word"},
    {"duplicate key",
     "node: a\n"
     "hostname: b.example\n"
     "node: c\n",
     "t.yaml:3:1: \"node\" stands here a second time (first in line 1)"},
    {"duplicate listener",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "  In: {}\n",
     "t.yaml:6:3: \"In\" stands here a second time (first in line 2)"},
    {"unknown section",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "policy_groups: []\n",
     "t.yaml:2:1: policy_groups: there is no such setting"},
    {"unknown key, near",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    max_conections: 5\n",
     "t.yaml:6:5: listeners.In.max_conections: there is no such setting; did "
     "you mean \"max_connections\"?"},
    {"unknown key, far",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    frobnicate: 5\n",
     "t.yaml:6:5: listeners.In.frobnicate: there is no such setting"},
    {"value of a section missing", "log:\n",
     "t.yaml:1:5: log: has no value; give it one or remove it"},
    {"section that is a word", "log: info\n",
     "t.yaml:1:6: log: must be a map, not a single value"},
    {"section that is a list", "log: [info]\n",
     "t.yaml:1:6: log: must be a map, not a list"},
    {"word that is a map", "node: {a: b}\n",
     "t.yaml:1:7: node: must be a single value, not a map"},
    {"word that is a list", "log: {level: [info]}\n",
     "t.yaml:1:14: log.level: must be a single value, not a list"},
    {"value missing",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    backlog:\n",
     "t.yaml:6:13: listeners.In.backlog: has no value; give it one or remove "
     "it"},
    {"list that is a map",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    relay_for: {a: b}\n",
     "t.yaml:6:16: listeners.In.relay_for: must be a list, not a map"},
    {"element that is a list",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    certificates: [[mx]]\n",
     "t.yaml:6:20: listeners.In.certificates[0]: must be a single value, not a "
     "list"},
    {"bad entry name", "listeners: {\"a b\": {}}\n",
     "t.yaml:1:13: listeners: \"a b\" is not a name (1 to 64 letters, digits, "
     "\"_\", \".\" and \"-\")"},
    {"entry that is a word", "listeners: {In: yes}\n",
     "t.yaml:1:17: listeners.In: must be a map, not a single value"},
    {"number",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    max_connections: many\n",
     "t.yaml:6:22: listeners.In.max_connections: \"many\" is not a number "
     "(1..1000000)"},
    {"negative number",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    max_connections: -1\n",
     "t.yaml:6:22: listeners.In.max_connections: \"-1\" is not a number "
     "(1..1000000)"},
    {"number too small",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    max_connections: 0\n",
     "t.yaml:6:22: listeners.In.max_connections: \"0\" is out of bounds "
     "(1..1000000)"},
    {"number too large",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    max_connections: 1000001\n",
     "t.yaml:6:22: listeners.In.max_connections: \"1000001\" is out of bounds "
     "(1..1000000)"},
    {"number beyond 64 bits",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    max_connections: 99999999999999999999\n",
     "t.yaml:6:22: listeners.In.max_connections: \"99999999999999999999\" is "
     "out of bounds (1..1000000)"},
    {"fraction",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    backlog: 1.5\n",
     "t.yaml:6:14: listeners.In.backlog: \"1.5\" is not a number (1..65535)"},
    {"size",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    max_message_size: 10X\n",
     "t.yaml:6:23: listeners.In.max_message_size: \"10X\" is not a size such "
     "as 512, 64K or 10M (1K..1024G)"},
    {"size too small",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    max_message_size: 10\n",
     "t.yaml:6:23: listeners.In.max_message_size: \"10\" is out of bounds "
     "(1K..1024G)"},
    {"size overflow",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    max_message_size: 99999999999999999G\n",
     "t.yaml:6:23: listeners.In.max_message_size: \"99999999999999999G\" is "
     "out of bounds (1K..1024G)"},
    {"time without unit", "drain_timeout: 30\n",
     "t.yaml:1:16: drain_timeout: \"30\" is not a time such as 500ms, 30s, 5m "
     "or 72h (0s..1h)"},
    {"time too long", "drain_timeout: 2h\n",
     "t.yaml:1:16: drain_timeout: \"2h\" is out of bounds (0s..1h)"},
    {"time with word",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "bounce_profiles: {default: {delay_warning: never}}\n",
     "t.yaml:2:44: bounce_profiles.default.delay_warning: \"never\" is not a "
     "time such as 500ms, 30s, 5m or 72h (1m..30d or off)"},
    {"number with word", "loops: lots\n",
     "t.yaml:1:8: loops: \"lots\" is not a number (1..256 or auto)"},
    {"on or off",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    received_tls: maybe\n",
     "t.yaml:6:19: listeners.In.received_tls: \"maybe\" is neither on nor off"},
    {"enum, near", "log: {level: warn}\n",
     "t.yaml:1:14: log.level: \"warn\" is none of: debug, info, warning, "
     "error; did you mean \"warning\"?"},
    {"enum, far", "log: {level: x}\n",
     "t.yaml:1:14: log.level: \"x\" is none of: debug, info, warning, error"},
    {"flag", "tls_profiles: {default: {versions: {TLSv1.4: on}}}\n",
     "t.yaml:1:37: tls_profiles.default.versions: \"TLSv1.4\" is none of: "
     "SSLv2, SSLv3, TLSv1.0, TLSv1.1, TLSv1.2, TLSv1.3; did you mean "
     "\"TLSv1.0\"?"},
    {"flag value", "tls_profiles: {default: {versions: {TLSv1.2: 1}}}\n",
     "t.yaml:1:46: tls_profiles.default.versions.\"TLSv1.2\": \"1\" is neither "
     "on nor off"},
    {"flags as a word", "tls_profiles: {default: {versions: TLSv1.2}}\n",
     "t.yaml:1:36: tls_profiles.default.versions: must be a map {NAME: on} or "
     "a list [NAME], not a single value"},
    {"flag list element",
     "tls_profiles: {default: {versions: [TLSv1.2, TLS9]}}\n",
     "t.yaml:1:46: tls_profiles.default.versions: \"TLS9\" is none of: SSLv2, "
     "SSLv3, TLSv1.0, TLSv1.1, TLSv1.2, TLSv1.3"},
    {"control character", "node: \"a\\nb\"\n",
     "t.yaml:1:7: node: \"a?b\" holds a control character"},
    {"NUL", "user: \"a\\0b\"\n",
     "t.yaml:1:7: user: \"a?b\" holds a control character"},
    {"text too long",
     "node: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
     "t.yaml:1:7: node: "
     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" is "
     "longer than 63 bytes"},
    {"hostname", "hostname: bad..name\n",
     "t.yaml:1:11: hostname: \"bad..name\" is not a domain name such as "
     "gw1.example.org"},
    {"hostname as address", "hostname: \"[192.0.2.1]\"\n",
     "t.yaml:1:11: hostname: \"[192.0.2.1]\" is not a domain name such as "
     "gw1.example.org"},
    {"address without port",
     "listeners: {In: {type: public, address: 127.0.0.1}}\n",
     "t.yaml:1:41: listeners.In.address: \"127.0.0.1\" is not an IP address "
     "with a port, such as 192.0.2.1:25 or [2001:db8::1]:25"},
    {"address with a name",
     "listeners: {In: {type: public, address: \"localhost:25\"}}\n",
     "t.yaml:1:41: listeners.In.address: \"localhost:25\" is not an IP address "
     "with a port, such as 192.0.2.1:25 or [2001:db8::1]:25"},
    {"address with another scheme",
     "listeners: {In: {type: public, address: \"http://127.0.0.1:25\"}}\n",
     "t.yaml:1:41: listeners.In.address: \"http://127.0.0.1:25\" is not an IP "
     "address with a port, such as 192.0.2.1:25 or [2001:db8::1]:25"},
    {"prefix",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    relay_for: [10.0.0.1/8]\n",
     "t.yaml:6:17: listeners.In.relay_for[0]: network \"10.0.0.1/8\" has bits "
     "set behind its length: \"10.0.0.0/8\" is the network, \"10.0.0.1\" the "
     "single address"},
    {"prefix that is a name",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    proxy_protocol: [lb.example.org]\n",
     "t.yaml:6:22: listeners.In.proxy_protocol[0]: \"lb.example.org\" is no "
     "network: an address or an address/length is wanted, as in 192.0.2.0/24 "
     "or 2001:db8::/32"},
    {"proxy_protocol on",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    proxy_protocol: on\n",
     "t.yaml:6:21: listeners.In.proxy_protocol: \"on\" is no network: an "
     "address or an address/length is wanted, as in 192.0.2.0/24 or "
     "2001:db8::/32"},
    {"domain",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: \"bad domain\"\n",
     "t.yaml:5:14: listeners.In.domains: \"bad domain\" is not a domain such "
     "as example.org or .example.org"},
    {"empty element",
     "listeners:\n"
     "  In:\n"
     "    type: public\n"
     "    address: \"127.0.0.1:25\"\n"
     "    domains: example.org\n"
     "    certificates: [\"\"]\n",
     "t.yaml:6:20: listeners.In.certificates[0]: \"\" does not exist in "
     "certificates (there are none)"},
    {"resolver",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "dns: {resolvers: [ns.example.org]}\n",
     "t.yaml:2:19: dns.resolvers[0]: \"ns.example.org\" is not a DNS server "
     "such as 192.0.2.53 or 127.0.0.1@5353"},
    {"resolver port",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "dns: {resolvers: [\"127.0.0.1@0\"]}\n",
     "t.yaml:2:19: dns.resolvers[0]: \"127.0.0.1@0\" is not a DNS server such "
     "as 192.0.2.53 or 127.0.0.1@5353"},
    {"stub zone",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "dns: {stub_zones: {\"-x\": 127.0.0.1}}\n",
     "t.yaml:2:26: dns.stub_zones.-x: \"-x\" is not a domain name"},
    {"stub zone server",
     "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "
     "127.0.0.0/8}}\n"
     "dns: {stub_zones: {example.org: here}}\n",
     "t.yaml:2:33: dns.stub_zones.\"example.org\": \"here\" is not a DNS "
     "server such as 192.0.2.53 or 127.0.0.1@5353"},
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

static void
expand(const char *message, struct buf *out)
{
    const char *mark = strstr(message, "$OPENSSL");

    if (mark == NULL) {
        buf_add_str(out, message);
        return;
    }
    buf_add(out, (struct sv){message, (size_t)(mark - message)});
    buf_add_str(out, OpenSSL_version(OPENSSL_VERSION));
    buf_add_str(out, mark + strlen("$OPENSSL"));
}

static void
check(void **state)
{
    const struct row *r = *state;
    const struct settings_options options = {.check_files = false};
    struct buf message = {0};
    struct err err;

    expand(r->message, &message);
    assert_null(settings_load(sv_of(r->yaml), "t.yaml", &options, &err));
    assert_string_equal(err.text, buf_cstr(&message));
    buf_fini(&message);
}

int
main(void)
{
    return RUN_ROWS("settings_refuse", check, rows);
}
