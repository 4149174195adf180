/**
 * The ports: everything that the core may ask of the machine it runs on. Each adapter (Node's file system, IndexedDB,
 * the simulation) is held to the numbered rules below by one conformance suite (`test/conformance`).
 *
 * Common rules
 *  P1  Completions come by callback, exactly once; those of one verb of one object in the order of its calls. A read may
 *      overtake a sync.
 *  P2  A completion may come before the call returns, where the host answers synchronously. Callers must bear both.
 *  P3  Errors are `HarmonyError`s (QUOTA, STORAGE_LOST, CORRUPT, LOCKED, CLOSED), never thrown, always passed to the callback.
 *  P4  Bytes handed to a port are the port's until it is done with them: the caller does not change them any more.
 *      Bytes handed out by a port are the receiver's.
 */
import type { HarmonyError } from './base/errors.ts'
import type { PeerId } from './base/ids.ts'

/** `undefined` means done. */
export type Done = (error: HarmonyError | undefined) => void
export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: HarmonyError }
export type Completion<T> = (result: Result<T>) => void

/**
 * An append-only byte sequence addressed by ever growing offsets.
 *
 *  L1  A new log has start = end = 0. `append` extends `end` by the length given, at once; `read` sees appended bytes at once.
 *  L2  After `sync` completed without an error, every byte appended and every truncation made before the call to `sync`
 *      survives any crash. Without it, any subset of them may survive, torn at sector boundaries (512 bytes).
 *  L3  After a crash and reopening, `end` may lie beyond the last byte that survived: bytes between hold zeros or what was
 *      appended there. `end` never lies before a byte that a completed `sync` covered; if the medium lost such bytes
 *      and the adapter can tell, opening fails with CORRUPT.
 *  L4  `truncate(end)` cuts the tail: `end` moves back. The bytes cut never appear again, not even behind later appends.
 *  L5  `dropFront(offset)` allows the adapter to free what lies before `offset`; `start` moves up to a value at or below it.
 *      It takes effect no later than the next completed sync.
 *  L6  A failed `sync` is final: every later call completes with STORAGE_LOST (or QUOTA for an append that found no
 *      space). The owner must treat it as its own crash; nothing is ever retried on the same object.
 *  L7  `read` of a range outside start…end completes with CORRUPT. A read never returns fewer bytes than asked.
 *  L8  `close` completes after everything in flight; afterwards every call completes with CLOSED.
 */
export interface LogFile {
  readonly start: number
  readonly end: number
  append(bytes: Uint8Array): void
  sync(done: Done): void
  /**
   * Where syncs hold the thread: runs `begin`, which begins one, when what the host has ready has come, so that it is for all of that. Absent: syncs go on beside the
   * thread, and begin at once.
   */
  gather?(begin: () => void): void
  read(offset: number, length: number, done: Completion<Uint8Array>): void
  truncate(end: number): void
  dropFront(offset: number): void
  close(done: Done): void
}

/**
 * Extents of whole sectors at fixed offsets; offset and length are multiples of `sectorBytes`.
 *
 *  G1  `read` of an extent returns what was last written there; never written sectors read as zeros.
 *  G2  After `sync` completed without an error, every write made before the call survives any crash. Without it, any
 *      subset may survive, torn at sector boundaries; sectors not written since the last sync are never harmed.
 *  G3  An extent has at most `extentBytesMax` bytes. Misaligned or oversized calls are bugs (assertion).
 *  G4  `bytes` tells how far the file reaches: the end of the last sector ever written and not cut by `truncate`.
 *  G5  As L6: a failed sync or write is final. As L8: `close`.
 */
export interface PageFile {
  readonly sectorBytes: number
  /** What sectors had in files whose superblock does not say it (before format 3), where it was not `sectorBytes`. */
  readonly sectorBytesOnce?: number
  readonly extentBytesMax: number
  /** What the engine should use as its page size here. */
  readonly pageBytesPreferred: number
  readonly bytes: number
  write(offset: number, bytes: Uint8Array): void
  read(offset: number, length: number, done: Completion<Uint8Array>): void
  sync(done: Done): void
  truncate(bytes: number): void
  close(done: Done): void
}

/**
 * One peer's storage. The adapter that hands it out holds it exclusively (a lock on the directory, a Web Lock on the slot).
 *
 *  D1  `openLog` / `openPages` create what is missing. Names are [a-z0-9-]{1,32}. A name is open at most once at a time.
 *  D2  Creation survives a crash no later than the first completed `sync` of the file.
 *  D3  `list` names the files that exist; `remove` deletes a closed one.
 *  D4  `close` closes what is open and lets go of the lock. After a crash the lock is free.
 */
export interface Directory {
  openLog(name: string, done: Completion<LogFile>): void
  openPages(name: string, done: Completion<PageFile>): void
  list(done: Completion<readonly string[]>): void
  remove(name: string, done: Done): void
  close(done: Done): void
}

export interface SlotEvents {
  /** Its owner is back and waits for it. Perhaps several times. */
  onWanted(): void
  /** It is held no more, though its directory is open. */
  onLost(): void
}

/**
 * The storage of the other peers of this database on this machine, where several live side by side and one may go on for another (tabs of a
 * browser): numbered slots, each with a lock. A peer is its storage, so who holds a slot is the only one who may run its peer.
 *
 *  N1  `free` names the slots that have a store and that nobody holds, or waits for, at that moment.
 *  N2  `take` waits for nobody: undefined for who comes too late. Who gets the slot holds it from before a byte of it is read until its directory is
 *      closed, or its process is gone.
 *  N3  A process that is frozen keeps what it holds.
 */
export interface Slots {
  free(done: Completion<readonly number[]>): void
  take(slot: number, events: SlotEvents, done: Completion<Directory | undefined>): void
}

/** Returned by `Clock.after`; cancelling twice or after it fired does nothing. */
export type Cancel = () => void

/**
 *  C1  `now` never goes back within one process; its origin is arbitrary. Milliseconds, with fractions.
 *  C2  `wall` is the host's idea of the time since 1970 in milliseconds: it may jump. For display and hints only.
 *  C3  `after` runs the callback once, never before the call returns and not before `delayMs` by `now`; it may be (much) late.
 *  C4  `soon` runs the callback after the code that is running now has finished and before the host does other
 *      work, if it can: what one turn of the event loop produced leaves together.
 */
export interface Clock {
  now(): number
  wall(): number
  after(delayMs: number, run: () => void): Cancel
  soon(run: () => void): void
}

/** R1  Cryptographically strong outside of the simulation; repeatable from the seed inside it. */
export interface Random {
  fill(bytes: Uint8Array): void
}

/** `consensus` carries Raft and requests, `bulk` what is large and can wait: a full bulk lane never delays the other. */
export type Lane = 'consensus' | 'bulk'

export interface EndpointEvents {
  onMessage(lane: Lane, bytes: Uint8Array): void
  /** `bufferedBytes(lane)` fell to the low-water mark after it had been above it. */
  onDrain(lane: Lane): void
  onClose(reason: string): void
}

/**
 * One end of an open connection between two peers.
 *
 *  E1  Per lane: reliable, ordered, message boundaries kept, until it closes. Messages have 1 to `messageBytesMax` bytes.
 *  E2  `send` never throws and never blocks; what the host does not take now is queued, and counted in `bufferedBytes`.
 *      The sender minds the high-water mark; the endpoint closes itself (reason `overflow`) rather than queue
 *      more than 16 MiB.
 *  E3  `binding` is equal at both ends and differs for every connection that a third party could have put itself between:
 *      a hash over both DTLS fingerprints (sorted). Empty where the host cannot tell: then the mesh refuses the link.
 *  E4  `onClose` comes exactly once, whoever closed; nothing comes after it. Messages that arrive before `listen` was
 *      called wait for it.
 */
export interface Endpoint {
  readonly binding: Uint8Array
  readonly messageBytesMax: number
  listen(events: EndpointEvents): void
  send(lane: Lane, bytes: Uint8Array): void
  bufferedBytes(lane: Lane): number
  close(reason: string): void
}

/** What two transports have to tell each other before they have a link: opaque to the core, structured-clonable, JSON-safe. */
export type Introduction = { readonly [field: string]: unknown }

export interface ConnectionEvents {
  /** Must reach the other side's `Connection.introduce`, by whatever way (signalling, or the mesh itself). */
  onIntroduction(message: Introduction): void
  onOpen(endpoint: Endpoint): void
  /** It never opened; after `onOpen` the endpoint's own `onClose` speaks instead. */
  onFailed(reason: string): void
}

/** One attempt to connect. */
export interface Connection {
  introduce(message: Introduction): void
  /** Gives the attempt up; an endpoint that it has already opened is closed. */
  close(): void
}

/**
 *  T1  Of two peers exactly one is the initiator (the mesh picks the lower id). Introductions are exchanged in order.
 *  T2  Every attempt ends in `onOpen` or `onFailed` (after a time-out of the transport's own), unless closed first.
 *  T3  Malformed introductions end the attempt in `onFailed`; they never throw.
 *  T4  `adopt` takes a connection that the application made elsewhere (an RTCPeerConnection, a node-datachannel
 *      PeerConnection, a MessagePort…); a throw of a HarmonyError VALIDATION where it cannot. `assertAdoptable` throws the
 *      same, and takes nothing: for a connection that is adopted later.
 */
export interface Transport {
  connect(remote: PeerId, initiator: boolean, events: ConnectionEvents): Connection
  adopt(connection: unknown, initiator: boolean, events: ConnectionEvents): Connection
  assertAdoptable(connection: unknown): void
  close(): void
}

export interface RendezvousEvents {
  onMessage(from: string, message: unknown): void
  /** The way to the room is up, or down (it is tried again by the adapter, with back-off, until closed). */
  onState(state: 'open' | 'down', reason: string): void
}

/**
 * A place where peers of one room meet (BroadcastChannel, a WebSocket server). It carries small messages between those
 * who are connected and promises nothing: they may be lost, late, or forged. Nothing secret passes through it.
 */
export interface RendezvousSession {
  /** `to` is a peer id, or '*' for all others in the room. */
  send(to: string, message: unknown): void
  close(): void
}

export interface Rendezvous {
  connect(room: string, self: PeerId, events: RendezvousEvents): RendezvousSession
}

/** Held by one peer at a time among those that share a host profile (tabs of one origin). Where there is none: granted at once. */
export interface FoundingLock {
  acquire(room: string, granted: (release: () => void) => void): Cancel
}

/** What a peer needs of its host besides its Directory. */
export interface Platform {
  readonly kind: 'tab' | 'node'
  readonly clock: Clock
  readonly random: Random
  readonly transport: Transport
  readonly foundingLock: FoundingLock | undefined
}
