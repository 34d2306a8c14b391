"""The defences that are taken out, one at a time. A defence without its mutant is one that nobody would miss."""

from __future__ import annotations

from typing import Final

from tests.security.mutations.mutant import Mutant

_LIB: Final = "openalgo_cache"
_HOST: Final = "openalgo_host"

SEALING: Final = [
    Mutant(
        "the tag of an encrypted record, on the usual path",
        f"{_LIB}/codec/sealing.py",
        "        except InvalidTag:\n            raise ForgedRecordError(_FORGED) from None\n\n    def hold",
        "        except InvalidTag:\n            return record[_CIPHERTEXT][:-16], expires_at, None\n\n    def hold",
        "tests/test_sealed_records.py",
    ),
    Mutant(
        "the MAC of a signed record, on the usual path",
        f"{_LIB}/codec/sealing.py",
        "                cipher.decrypt(nonce, record[_TAG], place + record[_BEFORE_TAG])\n"
        "                return record[_SIGNED_BODY]",
        "                return record[_SIGNED_BODY]",
        "tests/codec/test_envelope.py tests/test_sealed_records.py",
    ),
    Mutant(
        "the MAC of a signed record with optional fields",
        f"{_LIB}/codec/sealing.py",
        "                cipher.decrypt(head.nonce, record[_TAG], self._associated(stored, record[_BEFORE_TAG]))\n",
        "",
        "tests/codec/test_envelope.py",
    ),
    Mutant(
        "the key in the associated data",
        f"{_LIB}/codec/sealing.py",
        "place = self._context + _sized(stored.encode())",
        "place = self._context",
        "tests/test_sealed_records.py",
    ),
    Mutant(
        "the namespace in the associated data",
        f"{_LIB}/codec/sealing.py",
        'self._context = b"openalgo-cache/1\\0" + _sized(namespace.encode()) + _sized(self._cache)',
        'self._context = b"openalgo-cache/1\\0" + _sized(self._cache)',
        "tests/codec tests/security/test_moves.py -k namespace",
    ),
    Mutant(
        "the scheme that the configuration demands",
        f"{_LIB}/codec/sealing.py",
        "        if head.mode not in self._subkeys:\n"
        '            raise UnreadableRecordError("a record is not sealed in the way this cache demands")\n',
        "        self._subkeys.setdefault(head.mode, {})\n",
        "tests/codec/test_envelope.py tests/test_sealed_records.py",
    ),
    Mutant(
        "the writer id that is renewed after a fork",
        f"{_LIB}/codec/sealing.py",
        "if self._left <= 0 or self._process != Forks.count:",
        "if self._left <= 0:",
        "tests/codec/test_envelope.py",
    ),
    Mutant(
        "the bound on records of one writer",
        f"{_LIB}/codec/sealing.py",
        "        self._left -= 1\n",
        "",
        "tests/codec/test_envelope.py",
    ),
    Mutant(
        "flags that this version does not know",
        f"{_LIB}/codec/envelope.py",
        " or flags & ~_KNOWN_FLAGS:",
        ":",
        "tests/codec/test_envelope.py tests/security/test_moves.py",
    ),
    Mutant(
        "the expiry that is sealed, where the store claims more",
        f"{_LIB}/reading.py",
        '        raise ForgedRecordError("a record was kept beyond the expiry that is sealed in it")\n    return False',
        "        return True\n    return False",
        "tests/test_sealed_records.py tests/security/test_moves.py",
    ),
    Mutant(
        "what happens to forged records of a cache: they go",
        f"{_LIB}/handle.py",
        "if payload is not None and isinstance(error, ForgedRecordError):",
        "if payload is not None and isinstance(error, ForgedRecordError) and not error:",
        "tests/test_cache_records.py tests/test_sealed_records.py",
    ),
    Mutant(
        "unreadable state, which raises",
        f"{_LIB}/handle.py",
        '            raise UnreadableRecordError(f"cache {self.name!r}: {error}; the record is kept") from None\n',
        "            return\n",
        "tests/test_sealed_records.py",
    ),
    Mutant(
        "plain caches, which take no sealed records",
        f"{_LIB}/codec/sealing.py",
        "        if head.mode != PLAIN:\n            raise",
        "        if False:\n            raise",
        "tests/codec tests/test_cache_records.py",
    ),
]

DECODING: Final = [
    Mutant(
        "the closed table of types",
        f"{_LIB}/codec/serializers.py",
        "        if decode is None:\n            raise UnreadableRecordError(",
        "        if decode is None:\n            return data\n            raise UnreadableRecordError(",
        "tests/codec/test_serializers.py tests/codec/test_caps.py",
    ),
    Mutant(
        "the depth of values that are stored",
        f"{_LIB}/codec/serializers.py",
        "    if depth >= MAX_DEPTH:",
        "    if depth >= 100 * MAX_DEPTH:",
        "tests/codec/test_serializers.py",
    ),
    Mutant(
        "the depth of bytes that nobody vouches for",
        f"{_LIB}/codec/serializers.py",
        "    if len(data) > _MOST_LEVELS and nesting.is_deeper_than(_MOST_LEVELS, data, _OPAQUE):\n"
        "        raise ValueError\n",
        "",
        "tests/codec/test_serializers.py",
    ),
    Mutant(
        "what a compressed body may grow to",
        f"{_LIB}/codec/compressors.py",
        "inflater.decompress(body, most + 1)",
        "inflater.decompress(body)",
        "tests/codec/test_codec.py tests/security/test_corpus.py",
    ),
    Mutant(
        "the largest value",
        f"{_LIB}/codec/codec.py",
        "        if len(body) > self._max_value_bytes:\n            raise ValueTooLargeError(",
        "        if False:\n            raise ValueTooLargeError(",
        "tests/codec/test_codec.py",
    ),
    Mutant(
        "registered classes, whose own code is not run",
        f"{_LIB}/codec/serializers.py",
        "    one: Any = object.__new__(cls)\n",
        "    one: Any = cls(*parts)\n",
        "tests/codec/test_serializers.py",
    ),
]

KEYS: Final = [
    Mutant(
        "the mode of the key ring's file",
        f"{_LIB}/files.py",
        "    if mode & 0o777 & ~allowed:\n",
        "    if False:\n",
        "tests/codec/test_keyring.py tests/test_files.py",
    ),
    Mutant(
        "the owner of the key ring's file",
        f"{_LIB}/files.py",
        "    if status.st_uid != own_user and allowed == 0o700:\n",
        "    if False:\n",
        "tests/codec/test_keyring.py tests/test_files.py",
    ),
    Mutant(
        "files that are private from their first byte",
        f"{_LIB}/files.py",
        "return temporary, os.open(temporary, flags, 0o600)",
        "return temporary, os.open(temporary, flags, 0o644)",
        "tests/test_files.py tests/codec/test_keyring.py",
    ),
    Mutant(
        "one ring of several that are made at once",
        f"{_LIB}/files.py",
        "            os.link(temporary, path)\n        except FileExistsError:\n            return False\n",
        "            os.replace(temporary, path)\n        except FileExistsError:\n            return False\n",
        "tests/test_files.py tests/codec/test_keyring.py",
    ),
    Mutant(
        "the checksum of the key ring",
        f"{_LIB}/codec/keyring.py",
        '        if ring["check"] != _checksum(ring):\n            raise ValueError\n',
        "",
        "tests/codec/test_keyring.py",
    ),
    Mutant(
        "an empty key ring, which is no first start",
        f"{_LIB}/codec/ringfile.py",
        "        if not content.strip():\n            raise KeyRingError(",
        "        if not content.strip():\n            return KeyRing.generate()\n            raise KeyRingError(",
        "tests/codec/test_keyring.py",
    ),
    Mutant(
        "control characters in keys",
        f"{_LIB}/keys.py",
        "    if (found := _forbidden(plain)) is not None:\n",
        "    if (found := _forbidden(plain)) is not None and found is None:\n",
        "tests/test_keys.py",
    ),
    Mutant(
        "the length of keys",
        f"{_LIB}/keys.py",
        "(size := len(plain.encode())) > MAX_KEY_BYTES:",
        "(size := len(plain.encode())) > 10**9:",
        "tests/test_keys.py",
    ),
    Mutant(
        "names of caches, which are parts of paths",
        f"{_LIB}/keys.py",
        "    if not isinstance(name, str) or _CACHE_NAME.fullmatch(name) is None:\n",
        "    if not isinstance(name, str):\n",
        "tests/test_keys.py",
    ),
    Mutant(
        "types of keys, which are told apart",
        f"{_LIB}/keys.py",
        '        return "!b1" if key else "!b0"\n',
        '        return f"!i{int(key)}"\n',
        "tests/test_keys.py",
    ),
    Mutant(
        "the keyed hash of blinded keys",
        f"{_LIB}/keys.py",
        "self._hash = hashlib.blake2b(key=secret, digest_size=24)",
        "self._hash = hashlib.blake2b(digest_size=24)",
        "tests/test_keys.py",
    ),
    Mutant(
        "lifetimes of nothing, less and no number",
        f"{_LIB}/expiry.py",
        "    if not 0 < seconds <= _LONGEST:\n",
        "    if seconds > _LONGEST:\n",
        "tests/test_expiry.py",
    ),
    Mutant(
        "the end of the session, which no token outlives",
        f"{_LIB}/writing.py",
        "        if policy.limit is None:\n            return expires\n",
        "        return expires\n",
        "tests/test_model.py tests/test_catalogue.py tests/security/test_values_and_lifetimes.py",
    ),
    Mutant(
        "epochs, which a reader must name",
        f"{_LIB}/epochs.py",
        '        form = b"i" + epoch.to_bytes',
        '        form = b"s" + epoch.to_bytes',
        "tests/test_epochs.py",
    ),
]

REVOKING: Final = [
    Mutant(
        "lost deletes, which are withheld",
        f"{_LIB}/lost.py",
        "        return journal.withholds(stored)\n\n    def clear_the_way",
        "        return False\n\n    def clear_the_way",
        "tests/faults/test_lost_deletes.py",
    ),
    Mutant(
        "lost deletes, which are written down",
        f"{_LIB}/lost.py",
        "        on_disk = self.journal.add(stored, now)\n",
        "        on_disk = True\n",
        "tests/faults/test_lost_deletes.py",
    ),
    Mutant(
        "copies in memory of keys whose delete was lost",
        f"{_LIB}/lost.py",
        "            if journal.words[0] != generation:\n                raise DeleteLostError\n",
        "",
        "tests/faults/test_lost_deletes.py tests/faults/test_lost_deletes_on_servers.py",
    ),
    Mutant(
        "slots of the journal, which are sealed for their place",
        f"{_LIB}/slots.py",
        "bytes([number])",
        "b''",
        "tests/test_journal.py tests/security/test_moves.py",
        times=2,
    ),
    Mutant(
        "deletes of secrets, which raise when they fail",
        f"{_LIB}/handle.py",
        "        if deletes != () and self.policy.sealing is Sealing.ENCRYPTED:\n",
        "        if False:\n",
        "tests/faults/test_lost_deletes.py tests/test_cache_failures.py",
    ),
    Mutant(
        "the change token of the near tier",
        f"{_LIB}/cache.py",
        "if entry is not None and near.words[0] == near.token and entry.filled_at",
        "if entry is not None and entry.filled_at",
        "tests/test_cache_coherence.py tests/test_cache_near.py",
    ),
    Mutant(
        "fills that raced with a change, on SQLite",
        f"{_LIB}/coherence/dated.py",
        "        return begun == self.token\n",
        "        return True\n",
        "tests/test_near.py tests/test_cache_coherence.py tests/test_cache_near.py",
    ),
    Mutant(
        "fills that raced with a message, on servers",
        f"{_LIB}/coherence/streamed.py",
        "        return in_time and self.words is _TRUSTED\n",
        "        return self.words is _TRUSTED\n",
        "tests/coherence/test_streamed.py",
    ),
    Mutant(
        "what was kept before the stream stood again",
        f"{_LIB}/coherence/streamed.py",
        "            self._refuse_all()\n            self._empty()\n            self.token = _TRUSTED[0]\n",
        "            self.token = _TRUSTED[0]\n",
        "tests/coherence/test_streamed.py",
    ),
    Mutant(
        "the MAC of announcements",
        f"{_LIB}/backends/invalidation/announcements.py",
        " or not hmac.compare_digest(_mac(secret, channel, body), message[:_MAC]):\n",
        ":\n",
        "tests/coherence/test_announcements.py",
    ),
    Mutant(
        "gaps among announcements",
        f"{_LIB}/backends/invalidation/announcements.py",
        "        return bool(overdue)\n",
        "        return False\n",
        "tests/coherence/test_announcements.py",
    ),
]

SERVERS: Final = [
    Mutant(
        "several instances, which never fall back to a store of their own",
        f"{_LIB}/settings/rules.py",
        "    if not settings.multi_instance_mode:\n        return\n",
        "    return\n",
        "tests/test_settings.py tests/security/test_choice.py",
    ),
    Mutant(
        "plain text to another machine",
        f"{_LIB}/settings/server.py",
        "        return not self.tls and not is_loopback(host) and host.lower() not in self.plaintext_hosts\n",
        "        return False\n",
        "tests/redis/test_refusals.py tests/test_settings.py",
    ),
    Mutant(
        "a server that refuses us, which is no missing one",
        f"{_LIB}/selection/choice.py",
        "    if server.configured and probe.outcome in {Outcome.REFUSES, Outcome.ASKS_FOR_PASSWORD}:\n",
        "    if False:\n",
        "tests/test_selection.py",
    ),
]

HOST: Final = [
    Mutant(
        "tokens of forms",
        f"{_HOST}/csrf.py",
        "    return bool(expected) and hmac.compare_digest(expected.encode(), given.encode())\n",
        "    return True\n",
        "tests/host/test_login.py tests/host/test_sessions.py",
    ),
    Mutant(
        "a new number for the session at every login",
        f"{_HOST}/pages/account.py",
        "    renew_session()\n",
        "",
        "tests/host/test_sessions.py tests/host/test_login.py",
    ),
    Mutant(
        "numbers of sessions, which only the host gives out",
        f"{_LIB}/integrations/sessions.py",
        "CachedSession(given if _is_id(given) else None, ",
        "CachedSession(given or None, ",
        "tests/host/test_sessions.py tests/security/test_sessions.py",
    ),
    Mutant(
        "changes of one field by two requests",
        f"{_LIB}/integrations/merge.py",
        "                raise SessionConflict\n",
        "                new = mine.get(name)\n",
        "tests/host/test_sessions.py tests/security/test_sessions.py",
    ),
    Mutant(
        "the lease that an order is placed under",
        f"{_HOST}/leases.py",
        "    if fence != lease.fence:\n",
        "    if False:\n",
        "tests/host/test_leases.py",
    ),
    Mutant(
        "a lease that somebody else has",
        f"{_HOST}/leases.py",
        "                    if now < row.expires_at:\n                        return None\n",
        "",
        "tests/host/test_leases.py",
    ),
    Mutant(
        "orders that were sent twice",
        f"{_HOST}/sandbox/book.py",
        "    there = session.scalar(select(OrderRow).where(*wanted))\n",
        "    there = None\n",
        "tests/host/test_orders.py",
    ),
    Mutant(
        "other people's orders",
        f"{_HOST}/sandbox/book.py",
        "    if order is None or order.user_id != user_id:\n",
        "    if order is None:\n",
        "tests/host/test_orders.py",
    ),
    Mutant(
        "the slow hash of an API key",
        f"{_HOST}/api_keys.py",
        "                self._hasher.verify(row.hash, digest)\n",
        "                pass\n",
        "tests/host/test_api.py",
    ),
    Mutant(
        "secrets in the database, which are bound to their place",
        f"{_HOST}/vault.py",
        "place.encode()",
        "b''",
        "tests/security/test_bits.py -k vault",
        times=2,
    ),
    Mutant(
        "the limit of calls",
        f"{_HOST}/api/calls.py",
        "                if not within.admits(caller.user_id):\n",
        "                if False:\n",
        "tests/host/test_client.py",
    ),
]

ELSEWHERE: Final = [
    Mutant(
        "marks of the symbol master's rows",
        f"{_LIB}/symbols/signing.py",
        "        except (InvalidTag, TypeError, ValueError, OverflowError):\n            return False\n",
        "        except (InvalidTag, TypeError, ValueError, OverflowError):\n            return True\n",
        "tests/symbols/test_tampering.py",
    ),
    Mutant(
        "what the end of an export says",
        f"{_LIB}/transfer/exportfile.py",
        "        if content != counts:\n",
        "        if False:\n",
        "tests/transfer/test_export.py",
    ),
    Mutant(
        "what comes behind the end of an export",
        f"{_LIB}/transfer/exportfile.py",
        "        if self._file.read(1):\n",
        "        if False:\n",
        "tests/transfer/test_export.py",
    ),
    Mutant(
        "the MAC of the audit log's lines",
        f"{_LIB}/audit/line.py",
        "    return hmac.compare_digest(_mac(key, line.body), line.head.mac)\n",
        "    return True\n",
        "tests/audit/test_verification.py",
    ),
    Mutant(
        "the heads of the audit log",
        f"{_LIB}/audit/verification.py",
        "        if there >= anchor.sequence or (chain is None and not mine(anchor)):\n            return\n",
        "        return\n",
        "tests/audit/test_verification.py",
    ),
]

POLICY: Final = [
    Mutant(
        "rights, which a caller must have",
        f"{_LIB}/guarded/guard.py",
        "        if not needs <= held:\n",
        "        if False:\n",
        "tests/policy/test_verbs.py tests/policy/test_denials.py",
    ),
    Mutant(
        "caches that no rule names, which are denied",
        f"{_LIB}/policy/rules.py",
        "_NOBODY: Final = Grant()\n",
        '_NOBODY: Final = Grant.of(("*",))\n',
        "tests/policy/test_rules.py tests/policy/test_denials.py",
    ),
    Mutant(
        "whoever acts for others, who is judged as those",
        f"{_LIB}/guarded/cache.py",
        "        if module in self._quick and not acting():\n",
        "        if module in self._quick:\n",
        "tests/policy/test_callers.py",
    ),
    Mutant(
        "rules files that others can write to",
        f"{_LIB}/policy/rulesfile.py",
        "            problem = files.check_unwritable(path, os.fstat(file.fileno()))\n",
        "            problem = None\n",
        "tests/policy/test_rules.py",
    ),
    Mutant(
        "keys that are retired while records need them",
        f"{_LIB}/rotation/rotating.py",
        "    if count := needing(tallies, [key_id]):\n",
        "    if (count := needing(tallies, [key_id])) and count < 0:\n",
        "tests/rotation/test_rotating.py",
    ),
    Mutant(
        "a key ring of another installation that is put in the place of ours",
        f"{_LIB}/codec/livering.py",
        "        if (ring.id, ring.fingerprint()) != (self.now.id, self.now.fingerprint()):\n",
        "        if False:\n",
        "tests/keys/test_livering.py",
    ),
    Mutant(
        "state that a sleeper seals with a key that is gone",
        f"{_LIB}/lasting.py",
        "        if readable is not written:",
        "        if False:",
        "tests/rotation/test_stopped_processes.py tests/rotation/test_rotating.py tests/rotation/test_sweep.py",
    ),
    Mutant(
        "keys of blinded caches in a KeyError",
        f"{_LIB}/handle.py",
        "        return KeyError(self.shown(key) if self.policy.blinded else key)\n",
        "        return KeyError(key)\n",
        "tests/security/test_planted.py",
    ),
    Mutant(
        "epochs, which are hashed in records",
        f"{_LIB}/epochs.py",
        "    return hashlib.blake2b(form, key=secret(), digest_size=_HASH_BYTES).digest()\n",
        "    return form\n",
        "tests/security/test_planted.py tests/test_epochs.py",
    ),
    Mutant(
        "log-ins that strayed into a variable",
        f"{_LIB}/settings/load.py",
        "    return HIDDEN if variable.parser.confidential or strayed else shown(text)\n",
        "    return HIDDEN if variable.parser.confidential else shown(text)\n",
        "tests/security/test_planted.py tests/test_settings.py",
    ),
]

MUTANTS: Final = [*POLICY, *SEALING, *DECODING, *KEYS, *REVOKING, *SERVERS, *HOST, *ELSEWHERE]
