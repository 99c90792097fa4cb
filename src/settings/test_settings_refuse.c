/* Text that is no configuration: YAML, structure, types and bounds. */
#include "test_refuse.h"

static const struct row rows[] = {
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
};

int
main(void)
{
    return RUN_ROWS("settings_refuse", check, rows);
}
