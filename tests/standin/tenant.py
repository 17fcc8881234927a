#!/usr/bin/env python3
"""A stand-in tenant that shares nothing with dtmfd: Python's standard library over TLS.

It serves what SPEC.md section 4 describes (token, voice WebSocket, variables), presses the digits of
many calls through the seed's tree, misbehaves as told, and judges what it was brought: every call has
exactly one outcome, the right one.

    tenant.py --cert cert.pem --key key.pem --calls 10000 --window 500 --drops 20 --p429 5

Standard output has two lines: `LISTENING <port>`, and at the end JSON with all figures; talk goes to
standard error, `the burst is pressed` among it. The exit code is 0 only if nothing is lost, brought
twice or wrong, and nothing broke the protocol.

What each call should come to is always certain. A digit counts as arrived only if a ping that followed
it was answered, and the socket is never cut before that. A call that could not be pressed for so long
that its silence is about to end it is not pressed again: it should end with `timeout_fallback`. Where
the client leaves by itself (a failure without --allow-ends), calls with unconfirmed digits are
`uncertain`: they may have one outcome or none, but never two.

One thread, one selector: the order of everything here is the order in which it is written.
"""

import argparse
import base64
import hashlib
import heapq
import itertools
import json
import random
import selectors
import signal
import socket
import ssl
import struct
import sys
import time
import urllib.parse

WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests",
           500: "Internal Server Error"}
DROP_KINDS = ("rst", "fin", "1000", "1001", "1011", "utf8", "huge")
# How many digits may be on their way without a pong: a client that reads slowly slows us down, so
# that the times of writing and of reading stay close.
UNCONFIRMED_MAX = 2000
PING_EVERY = 500
# A call whose silence is this close to its end is not pressed again.
SILENCE_MARGIN_S = 2.0
# Unknown, hostile or broken messages: the client counts them and goes on.
GARBAGE = (
    (TEXT, b"{"), (TEXT, b"[]"), (TEXT, b"null"), (TEXT, b'{"type":"dtmf"}'), (BINARY, b"\x00\xff\xfe"), (TEXT, b""),
    (TEXT, b'{"type":"no_such_type","callId":"g","digit":"1"}'),
    (TEXT, b'{"type":"dtmf","callId":"../../x?y#z","digit":"1"}'),
    (TEXT, b'{"type":"dtmf","callId":"..","digit":"1"}'),
    (TEXT, b'{"type":"dtmf","callId":"","digit":"1"}'),
    (TEXT, b'{"type":"dtmf","callId":7,"digit":"1"}'),
    (TEXT, b'{"type":"dtmf","callId":"g","digit":1}'),
    (TEXT, b'{"type":"dtmf","callId":"g","digit":"E"}'),
    (TEXT, b'{"type":"dtmf","callId":"g","digit":"11"}'),
    (TEXT, b'{"type":"dtmf","callId":"g\\u0000","digit":"1"}'),
    (TEXT, b'{"type":"dtmf","callId":"' + b"g" * 129 + b'","digit":"1"}'),
    (TEXT, b"[" * 5000),
)


def log(*words):
    print("tenant.py:", *words, file=sys.stderr, flush=True)


def percentiles(values):
    """Returns count, p50, p99 and max of some seconds, in milliseconds."""
    if not values:
        return {"n": 0}
    values = sorted(values)
    at = lambda share: round(values[min(len(values) - 1, int(share * len(values)))] * 1000, 1)
    return {"n": len(values), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0)}


class Call:
    """A call: what it presses, what it should come to, and what it came to."""

    __slots__ = ("id", "digits", "sent", "written_at", "stamp", "expect", "key", "variables", "first_post_at")

    def __init__(self, id, digits, expect):
        self.id = id
        self.digits = digits
        self.sent = 0
        self.written_at = None  # When the last digit was written.
        self.stamp = 0
        self.expect = expect  # "completed", "timeout" or "uncertain"
        self.key = None  # The idempotency key of what was applied.
        self.variables = None
        self.first_post_at = None

    def expected(self):
        if self.expect == "timeout":
            return [("ivr_status", "timeout_fallback")]
        path = json.dumps(self.digits[: self.sent], separators=(",", ":"))
        return [("ivr_selection", path), ("ivr_status", "completed")]


class Connection:
    """One TLS connection: HTTP requests first, and a WebSocket after an upgrade."""

    def __init__(self, tenant, sock):
        self.tenant = tenant
        self.sock = sock
        self.mode = "handshake"  # then http, and ws; draining; closed
        self.inbound = bytearray()
        self.outbound = bytearray()
        self.interest = selectors.EVENT_READ
        self.answering = False  # An answer is being held back.
        self.fragments = None
        tenant.selector.register(sock, self.interest, self.on_event)

    # --- the socket ---

    def on_event(self, _mask):
        if self.mode == "handshake" and not self.shake_hands():
            return
        if self.mode == "closed":
            return
        ended = self.receive()
        if self.mode == "draining":
            self.inbound.clear()
        elif self.mode == "http":
            self.read_requests()
        if self.mode == "ws":
            self.read_frames()
        if ended:
            self.close()
        else:
            self.flush()

    def shake_hands(self):
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            self.want(selectors.EVENT_READ)
            return False
        except ssl.SSLWantWriteError:
            self.want(selectors.EVENT_READ | selectors.EVENT_WRITE)
            return False
        except (OSError, ValueError) as error:
            self.tenant.failed_handshakes += 1
            log("a TLS handshake failed:", error)
            self.close()
            return False
        self.mode = "http"
        self.want(selectors.EVENT_READ)
        return True

    def receive(self):
        """Reads what there is; returns whether the client has ended the connection."""
        while True:
            try:
                data = self.sock.recv(65536)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                return False
            except OSError:
                return True
            if not data:
                return True
            self.inbound += data

    def flush(self):
        if self.mode in ("closed", "draining", "handshake"):
            return
        try:
            while self.outbound:
                n = self.sock.send(self.outbound[:65536])
                del self.outbound[:n]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
            self.want(selectors.EVENT_READ | selectors.EVENT_WRITE)
            return
        except OSError:
            self.close()
            return
        self.want(selectors.EVENT_READ)

    def want(self, interest):
        if interest != self.interest and self.mode != "closed":
            self.interest = interest
            self.tenant.selector.modify(self.sock, interest, self.on_event)

    def close(self):
        """Closes the connection; it sends FIN, or RST where bytes of the client are unread."""
        if self.mode == "closed":
            return
        was, self.mode = self.mode, "closed"
        self.tenant.selector.unregister(self.sock)
        self.sock.close()
        self.tenant.connections.discard(self)
        if was == "ws" or self is self.tenant.voice:
            self.tenant.voice_ended(self)

    def reset(self):
        """Ends the connection with RST: what the client has not read yet is gone."""
        if self.mode != "closed":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def finish(self):
        """Ends our side with FIN and no word of TLS or WebSocket; all that was written arrives."""
        if self.mode in ("closed", "draining"):
            return
        self.mode = "draining"
        self.want(selectors.EVENT_READ)
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self.tenant.after(2.0, self.close)

    # --- HTTP ---

    def read_requests(self):
        while self.mode == "http" and not self.answering:
            end = self.inbound.find(b"\r\n\r\n")
            if end < 0:
                if len(self.inbound) > 65536:
                    self.tenant.protest("a head of over 64 KiB")
                    self.close()
                return
            lines = self.inbound[:end].decode("latin-1").split("\r\n")
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                name = name.lower()
                if name in headers:
                    self.tenant.protest(f"the header {name} twice")
                headers[name] = value.strip()
            if "transfer-encoding" in headers or not headers.get("content-length", "0").isdigit():
                self.tenant.protest(f"a body without a length: {lines[0]}")
                self.close()
                return
            length = int(headers.get("content-length", "0"))
            if len(self.inbound) < end + 4 + length:
                return
            body = bytes(self.inbound[end + 4 : end + 4 + length])
            del self.inbound[: end + 4 + length]
            words = lines[0].split(" ")
            if len(words) != 3 or words[2] != "HTTP/1.1" or "host" not in headers:
                self.tenant.protest(f"no HTTP/1.1 request with a Host: {lines[0]}")
                self.close()
                return
            self.tenant.request(self, words[0], words[1], headers, body)

    def answer(self, status, body=b"{}", headers=(), late_s=0.0):
        text = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n"
        text += f"Content-Length: {len(body)}\r\n" + "".join(f"{line}\r\n" for line in headers) + "\r\n"
        self.reply(lambda: self.outbound.extend(text.encode() + body), late_s)

    def reply(self, act, late_s):
        """Does what answers a request, `late_s` from now; meanwhile the next request waits."""
        if late_s <= 0:
            act()
            return

        def act_late():
            self.answering = False
            if self.mode == "http":
                act()
                self.read_requests()
                self.flush()

        self.answering = True
        self.tenant.after(late_s, act_late)

    # --- WebSocket ---

    def send_frame(self, opcode, payload=b"", final=True):
        head = bytearray([opcode | (0x80 if final else 0)])
        if len(payload) < 126:
            head.append(len(payload))
        elif len(payload) < 65536:
            head += b"\x7e" + struct.pack("!H", len(payload))
        else:
            head += b"\x7f" + struct.pack("!Q", len(payload))
        self.outbound += head + payload

    def read_frames(self):
        while self.mode == "ws" and len(self.inbound) >= 2:
            first, second = self.inbound[0], self.inbound[1]
            opcode, length, at = first & 0x0F, second & 0x7F, 2
            if not second & 0x80 or first & 0x70:
                self.tenant.protest("a frame of the client without a mask, or with a reserved bit")
                self.close()
                return
            if length == 126:
                if len(self.inbound) < 4:
                    return
                length, at = struct.unpack_from("!H", self.inbound, 2)[0], 4
            elif length == 127:
                self.tenant.protest("a frame of the client of over 64 KiB")
                self.close()
                return
            if len(self.inbound) < at + 4 + length:
                return
            mask = self.inbound[at : at + 4]
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.inbound[at + 4 : at + 4 + length]))
            del self.inbound[: at + 4 + length]
            if opcode == PING:
                self.tenant.client_pings += 1
                self.send_frame(PONG, payload)
            elif opcode == PONG:
                self.tenant.pong(self, payload)
            elif opcode == CLOSE:
                self.tenant.closed_by_client(self, payload)
            else:
                self.tenant.protest(f"a frame of the client with opcode {opcode}")


class Tenant:
    """The stand-in: what it serves, what it presses, what it was brought."""

    def __init__(self, options):
        self.options = options
        self.selector = selectors.DefaultSelector()
        self.timers = []
        self.timer_numbers = itertools.count()
        self.connections = set()
        self.began_at = time.monotonic()
        self.finished = None  # Why it is over.

        # Separate streams, so that a change of one doesn't reshuffle the others.
        self.callers = random.Random(f"{options.seed} callers")
        self.network = random.Random(f"{options.seed} network")
        self.weather = random.Random(f"{options.seed} weather")

        self.tokens = {}  # token → when it expires
        self.voice = None
        self.voice_number = 0
        self.pressing_since = None
        self.barrier = None  # What to do once all that was written has been read.
        self.going = None  # The kind of cut that is under way.
        self.pings = 0
        self.unconfirmed = []  # (number of the ping that follows, call)

        self.applied = {}  # key → (call, variables)
        self.unacknowledged = set()  # keys that were applied, but whose answer was lost
        self.counts = {name: 0 for name in (
            "posts", "applied", "repeats", "answered_429", "answered_500", "reset_before", "reset_after",
            "tokens", "unauthorized", "connections", "websockets", "drops", "unexpected_ends", "garbage")}
        self.drops_by_kind = {}
        self.keys = set()
        self.twice, self.stray = [], []
        self.protests = []
        self.client_pings = 0
        self.failed_handshakes = 0
        self.loaded_at = self.burst_at = self.burst_applied_at = self.burst_answered_at = None
        self.burst_unapplied, self.burst_unanswered = set(), set()

        self.calls = {}
        self.pending = [self.new_call(number, "completed") for number in range(options.calls)]
        self.silent = [self.new_call(options.calls + number, "timeout") for number in range(options.silent)]
        self.burst = []
        self.pending.reverse()
        self.open = []
        self.unsettled = set(self.calls)
        self.silent_left = list(reversed(self.silent))
        n_digits = 3 * options.calls
        kinds = list(itertools.islice(itertools.cycle(options.drop_kinds), options.drops))
        self.weather.shuffle(kinds)
        moments = sorted(self.weather.randrange(1, max(2, n_digits)) for _ in kinds)
        self.drop_plan = list(reversed(list(zip(moments, kinds))))
        moments = (self.weather.randrange(max(1, n_digits)) for _ in range(options.garbage))
        self.garbage_plan = sorted(moments, reverse=True)
        self.n_pressed = 0
        self.phase = "load"

    def new_call(self, number, expect):
        # Some ids as SIP makes them, which must be escaped in a URL.
        id = f"c{number:06}" if number % 7 else f"sip%40{number}:~a+b;c=d&e!@h.example"
        digits = [self.callers.choice("123"), self.callers.choice("AB"), "1"]
        call = self.calls[id] = Call(id, digits, expect)
        return call

    # --- the loop ---

    def after(self, seconds, act):
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.timer_numbers), act))

    def serve(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.options.cert, self.options.key)
        listener = socket.create_server((self.options.bind, self.options.port), backlog=256)
        listener.setblocking(False)
        self.selector.register(listener, selectors.EVENT_READ, lambda _: self.accept(listener, context))
        print("LISTENING", listener.getsockname()[1], flush=True)
        self.after(self.options.deadline, lambda: self.finish("deadline"))
        self.after(5.0, self.say_progress)
        while self.finished is None:
            wait = max(0.0, min(self.timers[0][0] - time.monotonic(), 1.0))
            for key, mask in self.selector.select(wait):
                key.data(mask)
            now = time.monotonic()
            while self.timers and self.timers[0][0] <= now:
                heapq.heappop(self.timers)[2]()
            self.press_on()
            self.advance()

    def accept(self, listener, context):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if len(self.connections) >= 128:
                self.protest("over 128 connections")
                sock.close()
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self.counts["connections"] += 1
            self.connections.add(Connection(self, sock))

    def say_progress(self):
        if self.options.verbose:
            log(f"{self.phase}: {self.n_pressed} digits, {len(self.open)} open, {len(self.unsettled)} unsettled,",
                f"{self.counts['posts']} posts, {self.counts['drops']} drops, socket {'up' if self.voice else 'down'}")
        self.after(5.0, self.say_progress)

    def protest(self, what):
        if len(self.protests) < 20:
            log("protocol:", what)
        self.protests.append(what)

    def finish(self, why):
        self.finished = self.finished or why

    # --- requests ---

    def request(self, connection, method, target, headers, body):
        late_s = self.options.slow_ms / 1000
        path = target.partition("?")[0]
        if (method, path) == ("POST", "/oauth/token"):
            self.give_token(connection, headers, body, late_s)
        elif (method, path) == ("GET", "/api/v2/voice/websocket"):
            self.upgrade(connection, headers, late_s)
        elif method == "POST" and path.startswith("/api/v2/interactions/") and path.endswith("/variables"):
            interaction = path[len("/api/v2/interactions/") : -len("/variables")]
            self.take_variables(connection, interaction, headers, body, late_s)
        else:
            self.protest(f"{method} {target}")
            connection.answer(404, late_s=late_s)

    def give_token(self, connection, headers, body, late_s):
        try:
            asked = json.loads(body)
            right = asked["grant_type"] == "client_credentials" and asked["client_id"] and asked["client_secret"]
        except (ValueError, KeyError, TypeError):
            right = False
        if not right or not headers.get("content-type", "").startswith("application/json"):
            self.protest("a request for a token that is not the right JSON")
            connection.answer(400, late_s=late_s)
            return
        self.counts["tokens"] += 1
        token = f"token-{self.counts['tokens']}-{self.network.getrandbits(64):016x}"
        self.tokens[token] = time.monotonic() + self.options.token_life
        answer = {"access_token": token, "expires_in": self.options.token_life, "token_type": "Bearer"}
        connection.answer(200, json.dumps(answer).encode(), late_s=late_s)

    def admits(self, headers):
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and self.tokens.get(token, 0) > time.monotonic():
            return True
        self.counts["unauthorized"] += 1
        if token not in self.tokens:
            self.protest("a request with no token of ours")
        return False

    def upgrade(self, connection, headers, late_s):
        if not self.admits(headers):
            connection.answer(401, late_s=late_s)
            return
        key = headers.get("sec-websocket-key", "")
        if (headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in headers.get("connection", "").lower()
                or headers.get("sec-websocket-version") != "13" or len(key) != 24):
            self.protest("an upgrade without the right headers")
            connection.answer(400, late_s=late_s)
            return
        accept = base64.b64encode(hashlib.sha1((key + WEBSOCKET_GUID).encode()).digest()).decode()

        def open_up():
            connection.outbound += (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode()
            connection.mode = "ws"
            old, self.voice = self.voice, connection
            self.voice_number += 1
            self.pressing_since = self.pressing_since or time.monotonic()
            self.counts["websockets"] += 1
            if old:
                self.protest("a second WebSocket while the first is open")
                self.abandon_voice()
                old.finish()

        connection.reply(open_up, late_s)

    def take_variables(self, connection, interaction, headers, body, late_s):
        now = time.monotonic()
        late_s = late_s or self.options.updates_slow_ms / 1000
        self.counts["posts"] += 1
        call = self.calls.get(urllib.parse.unquote(interaction))
        key = headers.get("idempotency-key")
        try:
            variables = [(variable["name"], variable["value"]) for variable in json.loads(body)]
        except (ValueError, KeyError, TypeError):
            variables = None
        if not key or not variables or not all(isinstance(word, str) for pair in variables for word in pair):
            self.protest(f"variables that are not the right JSON, or without a key: {body[:200]!r}")
            connection.answer(400, late_s=late_s)
            return
        for header in ("content-type", "accept"):
            if not headers.get(header, "").startswith("application/json"):
                self.protest(f"variables with {header}: {headers.get(header)}")
        if set(interaction) & set("/?#:@+;=&!"):
            self.protest(f"an interaction that is not percent-encoded: {interaction}")
        if not call:
            self.stray.append(interaction)
            connection.answer(404, late_s=late_s)
            return
        self.keys.add(key)
        call.first_post_at = call.first_post_at or now
        if not self.admits(headers):
            connection.answer(401, late_s=late_s)
            return
        dice = self.network.random() * 100
        options = self.options
        if dice < options.p429:
            self.counts["answered_429"] += 1
            retry_after = ("Retry-After: 1",) if self.network.random() < 0.5 else ()
            connection.answer(429, headers=retry_after, late_s=late_s)
        elif dice < options.p429 + options.p500:
            self.counts["answered_500"] += 1
            connection.answer(500, late_s=late_s)
        elif dice < options.p429 + options.p500 + options.preset:
            if self.network.random() < 0.5:
                self.counts["reset_before"] += 1
            else:
                self.counts["reset_after"] += 1
                self.apply(call, key, variables)
                self.unacknowledged.add(key)
            connection.reply(connection.reset, late_s)
        else:
            self.apply(call, key, variables)
            # Until it is answered: a client that doesn't wait for the answer must ask again.
            self.unacknowledged.add(key)

            def acknowledge():
                self.unacknowledged.discard(key)
                connection.answer(200)
                if call in self.burst_unanswered:
                    self.burst_unanswered.discard(call)
                    self.burst_answered_at = time.monotonic()

            connection.reply(acknowledge, late_s)

    def apply(self, call, key, variables):
        known = self.applied.get(key)
        if known:
            self.counts["repeats"] += 1
            if known != (call.id, variables):
                self.twice.append(f"{call.id}: one key, and {variables} after {known}")
            return
        self.applied[key] = (call.id, variables)
        self.counts["applied"] += 1
        if call.key:
            self.twice.append(f"{call.id}: {variables} after {call.variables}")
            return
        call.key, call.variables = key, variables
        self.unsettled.discard(call.id)
        if call in self.burst_unapplied:
            self.burst_unapplied.discard(call)
            self.burst_applied_at = time.monotonic()

    # --- the callers ---

    def press_on(self):
        """Presses as much as the socket and the client's reading allow."""
        voice = self.voice
        if not voice or self.barrier or voice.mode != "ws":
            return
        now = time.monotonic()
        self.press_silent(now)
        allowed = UNCONFIRMED_MAX
        if self.options.rate:
            allowed = int((now - self.pressing_since) * self.options.rate) - self.n_pressed
        while allowed > 0 and len(self.unconfirmed) < UNCONFIRMED_MAX and len(voice.outbound) < 65536:
            if self.drop_plan and self.n_pressed >= self.drop_plan[-1][0]:
                _, kind = self.drop_plan.pop()
                self.when_read(lambda: self.cut(kind))
                break
            while self.garbage_plan and self.n_pressed >= self.garbage_plan[-1]:
                self.garbage_plan.pop()
                self.counts["garbage"] += 1
                voice.send_frame(*self.weather.choice(GARBAGE))
            while self.pending and len(self.open) < self.options.window:
                self.open.append(self.pending.pop())
            if not self.open:
                break
            index = self.callers.randrange(len(self.open))
            call = self.open[index]
            silent_too_long = self.options.digit_timeout - SILENCE_MARGIN_S
            if call.sent and now - call.written_at > silent_too_long:
                call.expect = "timeout"
            else:
                self.press(call, now)
                allowed -= 1
                self.n_pressed += 1
                if self.n_pressed % PING_EVERY == 0:
                    self.ping()
            if call.expect == "timeout" or call.sent == len(call.digits):
                self.open[index] = self.open[-1]
                self.open.pop()
        if self.options.rate:
            if self.open or self.pending:
                self.after(0.005, lambda: None)  # Wakes the loop.
        if self.unconfirmed and self.unconfirmed[-1][0] > self.pings and not (self.open and not self.options.rate):
            self.ping()
        voice.flush()

    def press_silent(self, now):
        over_s = self.options.silent_over
        due = len(self.silent) * min(1.0, (now - self.pressing_since) / over_s if over_s > 0 else 1.0)
        while self.silent_left and len(self.silent) - len(self.silent_left) < due:
            self.press(self.silent_left.pop(), now)
        if self.silent_left:
            self.after(0.005, lambda: None)  # Wakes the loop.

    def press(self, call, now):
        """Writes a call's next digit, as a text or a binary frame, sometimes in two pieces."""
        call.stamp = max(int(time.time() * 1000), call.stamp + 1)
        event = {"type": "dtmf", "digit": call.digits[call.sent], "callId": call.id, "timestamp": call.stamp}
        payload = json.dumps(event).encode()
        dice = self.weather.random()
        opcode = BINARY if dice < 0.1 else TEXT
        if dice > 0.99:
            at = self.weather.randrange(len(payload))
            self.voice.send_frame(opcode, payload[:at], final=False)
            self.voice.send_frame(0, payload[at:])
        else:
            self.voice.send_frame(opcode, payload)
        call.sent += 1
        call.written_at = now
        self.unconfirmed.append((self.pings + 1, call))

    def ping(self):
        self.pings += 1
        self.voice.send_frame(PING, b"%d" % self.pings)

    def pong(self, connection, payload):
        if connection is not self.voice or not payload.isdigit():
            return
        number = int(payload)
        self.unconfirmed = [entry for entry in self.unconfirmed if entry[0] > number]
        if self.barrier and number >= self.barrier[0]:
            act, self.barrier = self.barrier[1], None
            act()

    def when_read(self, act):
        """Does `act` once the client has read all that was written."""
        self.ping()
        self.barrier = (self.pings, act)

    # --- the end of the socket ---

    def cut(self, kind):
        """Ends the voice WebSocket; everything that was written has been read."""
        voice, self.going = self.voice, kind
        self.counts["drops"] += 1
        self.drops_by_kind[kind] = self.drops_by_kind.get(kind, 0) + 1
        if kind == "rst":
            voice.reset()
            return
        if kind == "fin":
            voice.finish()
            self.voice = self.going = None
            return
        if kind == "utf8":
            voice.send_frame(TEXT, b'{"type":"\xff\xfe"}')
        elif kind == "huge":
            voice.send_frame(TEXT, b'{"type":"' + b"x" * 1_000_000 + b'"}')
        else:
            voice.send_frame(CLOSE, struct.pack("!H", int(kind)))
        voice.flush()
        self.barrier = (float("inf"), None)  # Nothing more is pressed here.
        number = self.voice_number

        def give_up():
            if self.going and self.voice_number == number and self.voice is voice:
                if kind in ("utf8", "huge"):
                    self.protest(f"the client goes on after {kind}")
                voice.close()

        self.after(2.0, give_up)

    def closed_by_client(self, connection, payload):
        code = struct.unpack_from("!H", payload)[0] if len(payload) >= 2 else 1005
        right = {"1000": (1000, 1005), "1001": (1001, 1000, 1005), "1011": (1011, 1000, 1005), "utf8": (1007,),
                 "huge": (1009,)}.get(self.going)
        if self.going and right and code not in right:
            self.protest(f"close code {code} after {self.going}")
        if self.going not in ("1000", "1001", "1011"):
            connection.send_frame(CLOSE, payload[:2])
            connection.flush()
        connection.finish()
        self.voice_ended(connection)

    def voice_ended(self, connection):
        if connection is not self.voice:
            return
        expected = self.going is not None
        self.voice = self.going = self.barrier = None
        if not expected:
            self.counts["unexpected_ends"] += 1
            log("the client ended the WebSocket")
            self.abandon_voice()

    def abandon_voice(self):
        """Calls whose last digits may be lost are not pressed again: anything may become of them."""
        self.barrier = self.going = None
        for _, call in self.unconfirmed:
            call.expect = "uncertain"
            self.unsettled.discard(call.id)
        self.unconfirmed.clear()
        self.open = [call for call in self.open if call.expect != "uncertain"]

    # --- from phase to phase ---

    def advance(self):
        # A client that brings an update under another key never asks again for the first one.
        owed = self.unacknowledged and not self.twice
        settled = not (self.unsettled or owed or self.unconfirmed)
        if self.phase == "load" and settled and not (self.open or self.pending or self.silent_left):
            self.loaded_at = time.monotonic()
            self.phase = "burst" if self.options.burst else "settle"
            if self.phase == "settle":
                self.after(self.options.settle, lambda: self.finish("done"))
        elif self.phase == "burst" and self.voice and self.voice.mode == "ws" and not self.barrier:
            self.phase = "bursting"
            first = self.options.calls + self.options.silent
            self.burst = [self.new_call(first + number, "completed") for number in range(self.options.burst)]
            self.unsettled.update(call.id for call in self.burst)
            self.burst_unapplied, self.burst_unanswered = set(self.burst), set(self.burst)
            now = time.monotonic()
            for call in self.burst:
                self.press(call, now)
                self.press(call, now)
            self.when_read(self.end_burst)
            self.voice.flush()
        elif self.phase == "bursting" and self.burst_at and settled:
            self.phase = "settle"
            self.after(self.options.settle, lambda: self.finish("done"))

    def end_burst(self):
        self.burst_at = time.monotonic()
        for call in self.burst:
            self.press(call, self.burst_at)
        self.ping()
        self.voice.flush()
        log("the burst is pressed")

    # --- the verdict ---

    def report(self):
        wrong, lost = [], []
        for call in self.calls.values():
            if call.variables is None:
                if call.expect != "uncertain":
                    lost.append(f"{call.id}: {call.sent} digits, {call.expect}")
            elif call.expect == "uncertain":
                if call.variables not in ([("ivr_status", "timeout_fallback")], call.expected()):
                    wrong.append(f"{call.id}: {call.variables}, uncertain")
            elif sorted(call.variables) != call.expected():
                wrong.append(f"{call.id}: {call.variables}, expected {call.expected()}")
        lag = [call.first_post_at - call.written_at - self.options.digit_timeout
               for call in self.silent if call.first_post_at]
        to_post = [call.first_post_at - call.written_at for call in self.calls.values()
                   if call.expect == "completed" and call.first_post_at and call.written_at]
        early = sum(seconds < 0 for seconds in lag) + sum(seconds < 0 for seconds in to_post)
        counts = self.counts
        since_burst = lambda at: round(at - self.burst_at, 3) if at and self.burst_at else None
        left = counts["unexpected_ends"] and not self.options.allow_ends
        ok = self.finished == "done" and not (
            wrong or lost or self.twice or self.stray or self.protests or early or self.unacknowledged or left)
        for title, list_ in (("wrong", wrong), ("lost", lost), ("twice", self.twice), ("stray", self.stray)):
            for entry in list_[:10]:
                log(f"{title}:", entry)
        return {
            "ok": ok,
            "ended": self.finished,
            "seed": self.options.seed,
            "calls": len(self.calls),
            "expected_timeouts": sum(call.expect == "timeout" for call in self.calls.values()),
            "uncertain": sum(call.expect == "uncertain" for call in self.calls.values()),
            "lost": len(lost), "twice": len(self.twice), "wrong": len(wrong), "stray": len(self.stray),
            "early": early,
            "unacknowledged": len(self.unacknowledged),
            "retries": max(0, counts["posts"] - len(self.keys)),
            **counts,
            "drops_by_kind": self.drops_by_kind,
            "client_pings": self.client_pings,
            "failed_handshakes": self.failed_handshakes,
            "protests": len(self.protests), "protests_first": self.protests[:5],
            "last_digit_to_post": percentiles(to_post),
            "silent": percentiles(lag),
            "burst": {"n": len(self.burst), "applied_s": since_burst(self.burst_applied_at),
                      "answered_s": since_burst(self.burst_answered_at)},
            "load_s": round((self.loaded_at or time.monotonic()) - self.began_at, 3),
            "seconds": round(time.monotonic() - self.began_at, 3),
        }


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--cert", required=True, help="certificate chain, PEM")
    add("--key", required=True, help="its private key, PEM")
    add("--bind", default="127.0.0.1")
    add("--port", type=int, default=0)
    add("--seed", type=int, default=1, help="decides digits, faults and their moments")
    add("--deadline", type=float, default=120, metavar="SECONDS", help="give up, with exit code 1, after this long")
    add("--allow-ends", action="store_true", help="the client may leave by itself, as one that is killed does")
    add("--settle", type=float, default=1.0, metavar="SECONDS", help="wait for surplus updates at the end")
    add("--verbose", action="store_true", help="say every 5 s how far it is")
    load = parser.add_argument_group("load")
    load.add_argument("--calls", type=int, default=100, metavar="N", help="calls of three digits")
    load.add_argument("--window", type=int, default=500, metavar="W", help="calls open at a time")
    load.add_argument("--rate", type=float, default=0, metavar="DIGITS", help="digits a second; 0: as fast as read")
    load.add_argument("--silent", type=int, default=0, metavar="N", help="calls that press once and then time out")
    load.add_argument("--silent-over", type=float, default=5.0, metavar="SECONDS", help="spread their digits")
    load.add_argument("--digit-timeout", type=float, default=10.0, metavar="SECONDS", help="the tree's timeout")
    load.add_argument("--burst", type=int, default=0, metavar="N", help="afterwards, calls ended all at once")
    faults = parser.add_argument_group("faults")
    faults.add_argument("--drops", type=int, default=0, metavar="D", help="ends of the WebSocket between digits")
    faults.add_argument("--drop-kinds", default="rst,fin,1000,1001,1011", metavar="LIST",
                        help=f"how it ends, in turn, of {','.join(DROP_KINDS)}: RST and FIN are 1006; "
                             "utf8 and huge make the client end it")
    faults.add_argument("--garbage", type=int, default=0, metavar="N", help="senseless messages between the digits")
    faults.add_argument("--p429", type=float, default=0, metavar="PERCENT", help="half with Retry-After: 1")
    faults.add_argument("--p500", type=float, default=0, metavar="PERCENT")
    faults.add_argument("--preset", type=float, default=0, metavar="PERCENT",
                        help="connection resets instead of answers, half of them after the update was applied")
    faults.add_argument("--slow-ms", type=float, default=0, metavar="MS", help="every HTTP answer is that late")
    faults.add_argument("--updates-slow-ms", type=float, default=0, metavar="MS", help="as --slow-ms, variables only")
    faults.add_argument("--hold", action="store_true", help="the same as --updates-slow-ms 1000")
    faults.add_argument("--token-life", type=int, default=3600, metavar="SECONDS")
    options = parser.parse_args()
    options.drop_kinds = options.drop_kinds.split(",")
    unknown = set(options.drop_kinds) - set(DROP_KINDS)
    if unknown:
        parser.error(f"--drop-kinds: {','.join(sorted(unknown))} is none of {','.join(DROP_KINDS)}")
    if options.hold and not options.updates_slow_ms:
        options.updates_slow_ms = 1000
    return options


def main():
    tenant = Tenant(parse_options())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: tenant.finish("signal"))
    tenant.serve()
    report = tenant.report()
    print(json.dumps(report), flush=True)
    sys.exit(0 if report["ok"] else 1)


if __name__ == "__main__":
    main()
