"""What routing does to a thousand replicas: how often a conversation meets its cached prompt, and how long callers wait.

    python3 deploy/checks/routing.py [--replicas 1000] [--load 0.7] [--speeds FILE | --prefill 700 --decode 19] ...

A simulation of events, not a measurement: conversations of several turns arrive at random; a replica computes what of a prompt its
cache does not hold, then the answer, in one of its slots. Speeds are a replica's own when all slots are busy, `--prefill` tokens a second of a prompt
and `--decode` of one answer; or each request draws the two of one of the answers that `sizing.py --speeds FILE` has measured. Lengths are log-normal.

Policies: any replica at random; the one with fewest requests under way; a consistent hash of how the conversation begins; the same, but
past replicas that have more than `--bound` times their share (deploy/haproxy.cfg: least connections, and the last).
"""

import argparse
import bisect
import collections
import heapq
import itertools
import json
import math
import random
import zlib
from pathlib import Path
from typing import NamedTuple

POINTS_OF_A_REPLICA = 64
TURNS = 5


class Turn(NamedTuple):
    """One request."""

    conversation: int
    number: int
    known: int
    """Tokens of the prompt that were the conversation before."""
    new: int
    answer: int


class Replica:
    """Slots, a queue, and the conversations that its cache holds, the most recent last."""

    def __init__(self) -> None:
        self.running = 0
        self.waiting: collections.deque[tuple[float, Turn]] = collections.deque()
        self.cache: collections.OrderedDict[int, int] = collections.OrderedDict()
        self.cached_tokens = 0
        self.busy_seconds = 0.0

    @property
    def under_way(self) -> int:
        """Requests that run or wait."""
        return self.running + len(self.waiting)

    def remember(self, conversation: int, tokens: int, most: int) -> None:
        """Holds a conversation, at the cost of those unused for longest."""
        self.cached_tokens += tokens - self.cache.pop(conversation, 0)
        self.cache[conversation] = tokens
        while self.cached_tokens > most and len(self.cache) > 1:
            self.cached_tokens -= self.cache.popitem(last=False)[1]


class Cluster:
    """All replicas under one policy."""

    def __init__(self, arguments: argparse.Namespace, policy: str, seed: int) -> None:
        self.arguments, self.policy, self.random = arguments, policy, random.Random(seed)
        self.replicas = [Replica() for _ in range(arguments.replicas)]
        points = ((zlib.crc32(f"{index}-{point}".encode()), index) for index in range(arguments.replicas) for point in range(POINTS_OF_A_REPLICA))
        self.ring = sorted(points)
        self.total = 0
        # Fewest under way: replicas by their number, found lazily.
        self.least = [(0, index) for index in range(arguments.replicas)]

    def choose(self, turn: Turn) -> int:
        """The replica for a request."""
        if self.policy == "random":
            return self.random.randrange(len(self.replicas))
        if self.policy == "least":
            while True:
                under_way, index = heapq.heappop(self.least)
                if self.replicas[index].under_way == under_way:
                    return index
        start = bisect.bisect(self.ring, (zlib.crc32(f"conversation {turn.conversation}".encode()), 0))
        if self.policy == "hash":
            return self.ring[start % len(self.ring)][1]
        most = max(math.ceil(self.arguments.bound * (self.total + 1) / len(self.replicas)), 1)
        clockwise = (self.ring[(start + step) % len(self.ring)][1] for step in range(len(self.ring)))
        return next(index for index in clockwise if self.replicas[index].under_way < most)

    def changed(self, index: int) -> None:
        """The number of requests of a replica has changed."""
        if self.policy == "least":
            heapq.heappush(self.least, (self.replicas[index].under_way, index))


class Simulation:
    """The events of one run."""

    def __init__(self, arguments: argparse.Namespace, policy: str, seed: int) -> None:
        self.arguments, self.random = arguments, random.Random(seed)
        self.cluster = Cluster(arguments, policy, seed)
        self.events: list[tuple[float, int, str, object]] = []
        self.order = itertools.count()
        self.first_token: list[float] = []
        self.hits = self.followers = self.conversations = 0
        self.speeds = [(arguments.prefill, arguments.decode)]
        if arguments.speeds:
            self.speeds = [tuple(pair) for pair in json.loads(arguments.speeds.read_text())["speeds"]]

    def at(self, time: float, what: str, subject: object) -> None:
        """Something happens then."""
        heapq.heappush(self.events, (time, next(self.order), what, subject))

    def length(self, median: float) -> int:
        """A length of log-normal distribution."""
        return max(1, round(self.random.lognormvariate(math.log(median), 0.6)))

    def turn(self, conversation: int, number: int, known: int) -> Turn:
        """The next request of a conversation."""
        median = self.arguments.first if number == 0 else self.arguments.next
        return Turn(conversation, number, known, self.length(median), self.length(self.arguments.answer))

    def run(self) -> None:
        """All requests, the first fifth of which fill the caches."""
        arguments = self.arguments
        mean = math.exp(0.6**2 / 2)
        read, written = (sum(1 / speed for speed in part) / len(part) for part in zip(*self.speeds, strict=True))
        work = mean * (arguments.first / TURNS + arguments.next) * read + mean * arguments.answer * written
        rate = arguments.load * arguments.replicas * arguments.slots / work / TURNS
        time = 0.0
        for conversation in range(arguments.requests // TURNS):
            time += self.random.expovariate(rate)
            self.at(time, "arrives", self.turn(conversation, 0, 0))
        while self.events:
            now, _, what, subject = heapq.heappop(self.events)
            if what == "arrives":
                self.arrive(now, subject)
            else:
                self.end(now, *subject)

    def arrive(self, now: float, turn: Turn) -> None:
        """A request is sent to a replica."""
        index = self.cluster.choose(turn)
        self.cluster.total += 1
        replica = self.cluster.replicas[index]
        replica.waiting.append((now, turn))
        self.start(now, index)
        self.cluster.changed(index)

    def start(self, now: float, index: int) -> None:
        """Requests of a replica get the slots that are free."""
        arguments, replica = self.arguments, self.cluster.replicas[index]
        while replica.waiting and replica.running < arguments.slots:
            arrived, turn = replica.waiting.popleft()
            replica.running += 1
            cached = min(replica.cache.get(turn.conversation, 0), turn.known)
            read, written = self.random.choice(self.speeds)
            prefill = (turn.known + turn.new - cached) / read
            if turn.conversation >= arguments.requests // TURNS // 5:
                self.first_token.append(now - arrived + prefill)
                self.followers += turn.number > 0
                self.hits += turn.number > 0 and cached == turn.known
            seconds = prefill + turn.answer / written
            replica.busy_seconds += seconds
            self.at(now + seconds, "ends", (index, turn))

    def end(self, now: float, index: int, turn: Turn) -> None:
        """An answer is complete; its caller thinks and asks again."""
        replica = self.cluster.replicas[index]
        replica.running -= 1
        self.cluster.total -= 1
        tokens = turn.known + turn.new + turn.answer
        replica.remember(turn.conversation, tokens, self.arguments.cache)
        if turn.number + 1 < TURNS:
            pause = self.random.expovariate(1 / self.arguments.think)
            self.at(now + pause, "arrives", self.turn(turn.conversation, turn.number + 1, tokens))
        self.start(now, index)
        self.cluster.changed(index)


def main() -> None:
    """Prints a line for each policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=400_000)
    parser.add_argument("--load", type=float, default=0.7, help="share of all slots that are busy if every prompt meets its cache")
    parser.add_argument("--slots", type=int, default=8, help="OLLAMA_NUM_PARALLEL")
    parser.add_argument("--prefill", type=float, default=700, help="tokens a second of a prompt")
    parser.add_argument("--decode", type=float, default=19, help="tokens a second of one answer, all slots busy")
    parser.add_argument("--speeds", type=Path, help="measured speeds, from which each request draws")
    parser.add_argument("--first", type=int, default=1500, help="median tokens of a first prompt")
    parser.add_argument("--next", type=int, default=60, help="median tokens of what is said next")
    parser.add_argument("--answer", type=int, default=150, help="median tokens of an answer")
    parser.add_argument("--think", type=float, default=20, help="mean seconds between an answer and what is said next")
    parser.add_argument("--cache", type=int, default=32_768, help="tokens that a replica's cache holds")
    parser.add_argument("--bound", type=float, default=2.0, help="most of a replica as a multiple of its share")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print("policy    prompt cached   first token, s: P50     P95     P99   busiest replica / mean")
    for policy in ("random", "least", "hash", "bounded"):
        simulation = Simulation(arguments, policy, arguments.seed)
        simulation.run()
        waits = sorted(simulation.first_token)
        quantile = [waits[int(len(waits) * part)] for part in (0.5, 0.95, 0.99)]
        busy = [replica.busy_seconds for replica in simulation.cluster.replicas]
        spread = max(busy) / (sum(busy) / len(busy))
        hits = simulation.hits / max(simulation.followers, 1)
        print(f"{policy:<9}{hits:>13.1%}  {quantile[0]:>20.2f}{quantile[1]:>8.2f}{quantile[2]:>8.2f}{spread:>22.2f}")


if __name__ == "__main__":
    main()
