"""The cache of MTA-STS policies against time and attackers: a policy counts
until its max_age is over, whatever becomes of record and policy host; a policy
that was changed is seen before mail fails; nothing is lost by a crash."""
import contextlib
import os
import signal
import time

import pytest

import rig
import world as worlds
from world import attempt

pytestmark = pytest.mark.skipif(not worlds.can_bind_low_ports(),
                                reason="port 25 can only be bound by root")
STS = "failure_pause: 1s\n"
# Each has a server that takes everything, and is changed by one test.
DOMAINS = ["moved", "relaxed", "down", "restart", "crash", "forged", "removed",
           "denied", "short", "zero", "unfetched", "tightened", "same-id"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = worlds.World(tmp_path_factory.mktemp("sts-cache"))
    try:
        for label in DOMAINS:
            domain = world.domain(label, ttl=1)
            domain.mx("mx1")
            domain.policy({"tightened": "none"}.get(label, "enforce"),
                          max_age={"short": 4, "zero": 0}.get(label, 86400))
        moved = world.domains["moved"]
        moved.server("mx2.moved.test")
        same = world.domains["same-id"]
        same.server("mx2.same-id.test")
        world.start()
        world.gw = world.gateway(sts=STS, extra=worlds.PATIENT)
        yield world
    finally:
        world.stop()


@contextlib.contextmanager
def web_down(world):
    world.policies.stop()
    try:
        yield
    finally:
        world.policies.start()


def degrade(domain):
    """From now on its server has no TLS: what is enforced must fail."""
    domain.host.tls = None
    domain.host.hang_up()


def deliver(world, domain, gateway=None):
    """Mail gets there by TLS; so the policy is known.  Nothing stays open."""
    assert attempt(gateway or world.gw, domain.name) is None
    assert [t.tls for t in domain.host.transactions] == [True]
    domain.host.hang_up()


def still_enforced(world, domain, gateway=None):
    told = attempt(gateway or world.gw, domain.name)
    assert told and "starttls-not-offered" in str(told), told
    assert "MTA-STS policy of" in told["reason"]
    assert not domain.host.transactions and not domain.host.in_clear


def test_moved_to_a_new_server(world):
    """The cached policy does not list the new server; the new one does, and is
    asked for before the mail fails (section 5.1)."""
    domain = world.domains["moved"]
    deliver(world, domain)
    domain.zone.remove("@", "MX")
    domain.zone.add("@", "MX", "10 mx2")
    domain.policy("enforce", ["mx2.{}"])
    domain.publish()
    time.sleep(worlds.FORGOTTEN)
    assert attempt(world.gw, domain.name) is None
    assert [t.tls for t in domain.hosts[1].transactions] == [True]
    assert world.policies.fetches(domain.name) == 2
    assert not domain.host.transactions


def test_same_id_is_not_fetched_again(world):
    """A failure looks for a new id; with the old one the policy stands."""
    domain = world.domains["same-id"]
    deliver(world, domain)
    domain.zone.remove("@", "MX")
    domain.zone.add("@", "MX", "10 mx2")
    domain.publish()
    time.sleep(worlds.FORGOTTEN)
    asked = world.names.door.count("_mta-sts.same-id.test", "TXT")
    told = attempt(world.gw, domain.name)
    assert told and "does not list" in told["reason"], told
    assert world.names.door.count("_mta-sts.same-id.test", "TXT") > asked
    assert world.policies.fetches(domain.name) == 1
    assert not domain.hosts[1].sessions


def test_relaxed_policy_counts_at_once(world):
    domain = world.domains["relaxed"]
    deliver(world, domain)
    degrade(domain)
    domain.policy("none", [])
    domain.publish()
    time.sleep(worlds.FORGOTTEN)
    assert attempt(world.gw, domain.name) is None
    assert [t.tls for t in domain.host.transactions] == [False]


def test_policy_host_down(world):
    domain, fresh = world.domains["down"], world.domains["unfetched"]
    deliver(world, domain)
    with web_down(world):
        deliver(world, domain)
        degrade(domain)
        still_enforced(world, domain)
        # nothing is known of this one: section 3.3
        degrade(fresh)
        assert attempt(world.gw, fresh.name) is None
        assert [t.tls for t in fresh.host.transactions] == [False]


def test_found_after_the_policy_host_is_back(world):
    fresh = world.domains["unfetched"]
    degrade(fresh)
    fresh.policy("enforce") # another id: nothing to wait for
    fresh.publish()
    time.sleep(worlds.FORGOTTEN)

    def refused():
        fresh.host.forget()
        return attempt(world.gw, fresh.name)

    told = rig.wait_for(refused, 20, "the policy to be fetched", 1)
    assert "MTA-STS policy of" in told["reason"], told


@pytest.mark.parametrize("label, how", [("restart", signal.SIGTERM),
                                        ("crash", signal.SIGKILL)])
def test_cache_survives(world, label, how):
    domain = world.domains[label]
    gateway = world.gateway(label, sts=STS, extra=worlds.PATIENT)
    deliver(world, domain, gateway)
    if how == signal.SIGKILL:
        for pid in gateway.children().values():
            os.kill(pid, signal.SIGKILL)
    gateway.stop(signum=how)
    degrade(domain)
    domain.zone.remove("_mta-sts", "TXT")
    domain.publish()
    with web_down(world):
        gateway.start()
        still_enforced(world, domain, gateway)
        assert domain.name in gateway.call("sts", "list").stdout
    gateway.stop()


def test_forged_record_and_blocked_fetch(world):
    domain = world.domains["forged"]
    deliver(world, domain)
    degrade(domain)
    name = f"_mta-sts.{domain.name}"
    with web_down(world), world.names.door.fault(
            name, "TXT", '"v=STSv1; id=attacker;"'):
        time.sleep(worlds.FORGOTTEN)
        still_enforced(world, domain)
    # Nor does a policy host that is none.
    with world.names.door.fault(name, "TXT", '"v=STSv1; id=attacker2;"'), \
            world.names.door.fault(f"mta-sts.{domain.name}", None, "none"):
        time.sleep(worlds.FORGOTTEN)
        domain.host.forget()
        still_enforced(world, domain)


@pytest.mark.parametrize("label, how", [("removed", "none"),
                                        ("denied", "servfail")])
def test_record_vanishes(world, label, how):
    domain = world.domains[label]
    deliver(world, domain)
    degrade(domain)
    with world.names.door.fault(f"_mta-sts.{domain.name}", "TXT", how):
        time.sleep(worlds.FORGOTTEN)
        still_enforced(world, domain)


def test_policy_ends_with_its_age(world):
    domain = world.domains["short"]
    deliver(world, domain)
    degrade(domain)
    with world.names.door.fault(f"_mta-sts.{domain.name}", "TXT", "none"):
        still_enforced(world, domain)
        world.gw.call("queue", "delete", "--recipient", f"@{domain.name}")
        time.sleep(4)
        assert attempt(world.gw, domain.name) is None
        assert [t.tls for t in domain.host.transactions] == [False]


def test_age_of_zero_is_for_one_delivery(world):
    """The policy is not kept, but it counts while it can be fetched."""
    domain = world.domains["zero"]
    deliver(world, domain)
    degrade(domain)
    still_enforced(world, domain)


def test_policy_that_becomes_strict(world):
    """What was in clear yesterday is enforced once the id changes, also for
    mail that would find a connection open."""
    domain = world.domains["tightened"]
    degrade(domain)
    assert attempt(world.gw, domain.name) is None
    assert [t.tls for t in domain.host.transactions] == [False]
    domain.policy("enforce")
    domain.publish()
    domain.host.forget()
    time.sleep(worlds.FORGOTTEN)
    world.gw.call("sts", "refresh", domain.name)
    still_enforced(world, domain)
