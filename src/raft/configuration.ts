/**
 * Configurations: how a change becomes the next one, their history along the log, and their bytes.
 *
 * A change whose voters differ from the old ones by at most one peer is *simple*: any majority of the old voters meets any
 * majority of the new ones, so one entry is enough. Every other change goes through a *joint* configuration (thesis, 4.3),
 * which the leader leaves by itself.
 *
 *   configuration = u8 format (1) | ids voters | ids outgoing | ids learners | ids learnersNext
 *   ids           = varint count | that many id128, strictly ascending
 *
 * The decoder is total and accepts only well-formed configurations: see `isWellFormed`.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type Index, type PeerId, peerId } from '../base/ids.ts'
import type { Configuration, ConfigurationChange, Decoded } from './types.ts'

const format = 1
/** Far above what elections and heartbeats bear; here to bound what a decoder takes in. */
const peersMax = 1024

export const isJoint = (configuration: Configuration): boolean => configuration.outgoing.length > 0

/** Has a vote that counts, in one half or in both. */
export const isVoter = (configuration: Configuration, id: PeerId): boolean =>
  configuration.voters.includes(id) || configuration.outgoing.includes(id)

/** Everyone who gets entries, each once. */
export function membersOf(configuration: Configuration): readonly PeerId[] {
  const { voters, outgoing, learners, learnersNext } = configuration
  return [...new Set([...voters, ...outgoing, ...learners, ...learnersNext])]
}

/** Everyone whose vote counts, each once. */
export function votersOf(configuration: Configuration): readonly PeerId[] {
  const { voters, outgoing } = configuration
  return outgoing.length === 0 ? voters : [...new Set([...voters, ...outgoing])]
}

/**
 * The configuration to append for this change, or undefined if the change is not possible: no voters, someone twice, too
 * many, nothing changes, or the old configuration is still joint.
 */
export function nextConfiguration(old: Configuration, change: ConfigurationChange): Configuration | undefined {
  const voters = [...change.voters].sort()
  const learners = [...change.learners].sort()
  if (isJoint(old) || voters.length === 0 || voters.length + learners.length > peersMax) return undefined
  if (!isAscending(voters) || !isAscending(learners) || intersects(voters, learners)) return undefined
  if (equalIds(voters, old.voters) && equalIds(learners, old.learners)) return undefined
  const added = voters.filter(id => !old.voters.includes(id)).length
  const removed = old.voters.filter(id => !voters.includes(id)).length
  if (added + removed <= 1) return { voters, outgoing: [], learners, learnersNext: [] }
  return {
    voters,
    outgoing: old.voters,
    // A voter of the outgoing half goes on voting until the change is left, so it is no learner before.
    learners: learners.filter(id => !old.voters.includes(id)),
    learnersNext: learners.filter(id => old.voters.includes(id)),
  }
}

/** What follows a joint configuration. */
export function leaveJoint(joint: Configuration): Configuration {
  const learners = [...joint.learners, ...joint.learnersNext].sort()
  return { voters: joint.voters, outgoing: [], learners, learnersNext: [] }
}

/**
 * Every list ascending without doubles; learners vote in neither half; `learnersNext` are voters of `outgoing` only; there are
 * voters, unless nobody is named at all (a peer that waits to be added).
 */
function isWellFormed({ voters, outgoing, learners, learnersNext }: Configuration): boolean {
  if (![voters, outgoing, learners, learnersNext].every(isAscending)) return false
  if (voters.length === 0) return outgoing.length === 0 && learners.length === 0 && learnersNext.length === 0
  if (intersects(learners, voters) || intersects(learners, outgoing)) return false
  return !intersects(learnersNext, voters) && learnersNext.every(id => outgoing.includes(id))
}

const isAscending = (ids: readonly PeerId[]): boolean => ids.every((id, i) => i === 0 || ids[i - 1]! < id)
const intersects = (a: readonly PeerId[], b: readonly PeerId[]): boolean => a.some(id => b.includes(id))
const equalIds = (a: readonly PeerId[], b: readonly PeerId[]): boolean =>
  a.length === b.length && a.every((id, i) => id === b[i])

export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const writer = new ByteWriter(64)
  writer.u8(format)
  for (const ids of [
    configuration.voters,
    configuration.outgoing,
    configuration.learners,
    configuration.learnersNext,
  ]) {
    writer.varint(ids.length)
    for (const id of ids) writer.id128(id)
  }
  return writer.finish()
}

/** Errors: CORRUPT, VERSION_MISMATCH. */
export function decodeConfiguration(bytes: Uint8Array): Decoded<Configuration> {
  const reader = new ByteReader(bytes)
  const version = reader.u8()
  if (!reader.failed && version !== format) {
    const message = `a configuration has format ${version}, this version knows ${format}: update this peer`
    return { ok: false, error: new HarmonyError('VERSION_MISMATCH', message) }
  }
  const voters = readIds(reader)
  const outgoing = readIds(reader)
  const learners = readIds(reader)
  const learnersNext = readIds(reader)
  const configuration = { voters, outgoing, learners, learnersNext }
  if (reader.done() && isWellFormed(configuration)) return { ok: true, value: configuration }
  return { ok: false, error: new HarmonyError('CORRUPT', `${bytes.length} bytes are no configuration`) }
}

function readIds(reader: ByteReader): PeerId[] {
  const count = reader.count(16)
  if (count > peersMax) reader.fail()
  const ids: PeerId[] = []
  for (let i = 0; i < count && !reader.failed; i++) ids.push(peerId(reader.id128()))
  return ids
}

interface Since {
  readonly index: Index
  readonly configuration: Configuration
}

/**
 * The configurations that this log has seen, so that truncation rolls back. A configuration is in force from its append on
 * (paper, section 6), committed or not. Those before the last committed one are settled, and kept for what begins a shorter log.
 */
export class ConfigurationHistory {
  private readonly settled: Since[] = []
  private readonly known: Since[]

  /** @param base In force where the log begins. */
  constructor(base: Since, restored: readonly Since[]) {
    this.known = [base, ...restored]
  }

  get current(): Configuration {
    return this.known[this.known.length - 1]!.configuration
  }

  /** Index of the entry that holds the current one; 0: from birth. */
  get currentIndex(): Index {
    return this.known[this.known.length - 1]!.index
  }

  /** Has a vote in the current configuration, or in one before it that may still turn out to be in force. */
  mayVote(id: PeerId): boolean {
    return this.known.some(({ configuration }) => isVoter(configuration, id))
  }

  append(at: Index, configuration: Configuration): void {
    this.known.push({ index: at, configuration })
  }

  /** Entries at or after `from` are gone. True if the current configuration went with them. */
  truncate(from: Index): boolean {
    const before = this.known.length
    while (this.known[this.known.length - 1]!.index >= from) this.known.pop()
    return this.known.length < before
  }

  committed(through: Index): void {
    while (this.known.length > 1 && this.known[1]!.index <= through) this.settled.push(this.known.shift()!)
  }

  /** In force at `at`, which lies neither before the log nor behind what is committed. */
  at(at: Index): Configuration {
    const before = [...this.settled, ...this.known].filter(since => since.index <= at)
    return before[before.length - 1]!.configuration
  }

  /** The log begins behind `base`. */
  compact(base: Index): void {
    while (this.settled.length > 0 && (this.settled[1] ?? this.known[0])!.index <= base) this.settled.shift()
  }
}
