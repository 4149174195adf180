/**
 * What crosses between the realm that holds the core (a worker) and the one that holds the `Database` (a page), over one port.
 *
 *  - Calls go through comlink. Answers are envelopes, because comlink loses an error's class and fields.
 *  - State is pushed as plain messages beside comlink's, on the same port. At most one push is unacknowledged: what happens meanwhile
 *    is merged into the next one, so a page that is busy finds one message, not thousands.
 *  - Entries (`database/entries.ts`) and writes (`pack.ts`) travel packed: one transferred buffer instead of hundreds of small cloned ones.
 */
import { type ErrorRecord, errorFromRecord, errorToRecord, isHarmonyError } from '../base/errors.ts'
import type {
  CoreDecide,
  CoreJoin,
  CoreLock,
  CoreMirror,
  CorePage,
  CorePrepare,
  CorePrepared,
  CoreReadOptions,
  CoreScan,
  CoreSnapshot,
  CoreWatch,
  CoreWatching,
} from '../database/core.ts'
import type { PackedEntries } from '../database/entries.ts'
import type { DatabaseEvent } from '../database/types.ts'

/** Both ends come from one build, unless a bundler or a cache mixed two: then opening fails instead of something later. */
export const protocolVersion = 6

/** The part of MessagePort, Worker and a worker's global scope that is used. */
export interface RpcPort {
  postMessage(message: unknown, transfer: Transferable[]): void
  addEventListener(type: string, listener: (event: { readonly data?: unknown }) => void): void
  removeEventListener(type: string, listener: (event: { readonly data?: unknown }) => void): void
  start?(): void
  close?(): void
}

/** Ports and buffers; DOM and Node have each their own type for it, this layer has neither. */
export type Transferable = object

export type Envelope<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: ErrorRecord }
  /** A bug on the other side: anything thrown that is no HarmonyError. */
  | { readonly ok: false; readonly fault: string }

export async function enveloped<T>(run: () => T | Promise<T>): Promise<Envelope<T>> {
  try {
    return { ok: true, value: await run() }
  } catch (error) {
    if (isHarmonyError(error)) return { ok: false, error: errorToRecord(error) }
    return { ok: false, fault: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

/** @throws What the other side threw. */
export function opened<T>(envelope: Envelope<T>): T {
  if (envelope.ok) return envelope.value
  if ('error' in envelope) throw errorFromRecord(envelope.error)
  throw new Error(`the database's worker failed: ${envelope.fault}`)
}

/** What the worker exposes through comlink. Packed keys and writes are of `pack.ts`. */
export interface CoreService {
  open(protocol: number, request: unknown): Promise<Envelope<{ readonly mirror: CoreMirror; readonly about: unknown }>>
  getMany(keys: Uint8Array, options: CoreReadOptions): Promise<Envelope<PackedEntries>>
  scan(request: CoreScan): Promise<Envelope<CorePage>>
  snapshot(options: CoreReadOptions): Promise<Envelope<CoreSnapshot>>
  release(snapshot: string): Promise<Envelope<void>>
  watch(request: CoreWatch): Promise<Envelope<CoreWatching>>
  watched(watch: string): Promise<Envelope<Uint8Array>>
  unwatch(watch: string): Promise<Envelope<void>>
  lock(request: CoreLock): Promise<Envelope<{ readonly age: number }>>
  unlock(transaction: number): Promise<Envelope<void>>
  write(request: Uint8Array): Promise<Envelope<{ readonly version: string }>>
  prepare(write: Uint8Array, as: CorePrepare): Promise<Envelope<{ readonly id: string }>>
  decide(request: CoreDecide): Promise<Envelope<{ readonly version: string }>>
  prepared(timeoutMs: number): Promise<Envelope<readonly CorePrepared[]>>
  join(options: Omit<CoreJoin, 'ownSignaling'>, ownSignaling: RemoteSignaling | undefined): Promise<Envelope<void>>
  leave(): Promise<Envelope<void>>
  adopt(remote: string, lent: unknown): Promise<Envelope<void>>
  transferLeadership(to: string | undefined): Promise<Envelope<void>>
  order(order: 'promote' | 'remove', id: string): Promise<Envelope<void>>
  recover(): Promise<Envelope<void>>
  partition(cut: boolean): Promise<Envelope<void>>
  compact(): Promise<Envelope<{ readonly bytesBefore: number; readonly bytesAfter: number }>>
  close(): Promise<Envelope<void>>
}

/** An own Signaling as the page exposes it to the worker: the same, with nothing but asynchronous answers. */
export interface RemoteSignaling {
  connect(room: string, self: string, on: (from: string, message: unknown) => unknown): Promise<RemoteSession>
}

export interface RemoteSession {
  send(to: string, message: unknown): unknown
  close(): unknown
}

/** HarmonyErrors inside events cross as records. */
export type PushedEvent =
  | Exclude<DatabaseEvent, { type: 'error' }>
  | { readonly type: 'error'; readonly record: ErrorRecord }

export interface Push {
  readonly harmonydb: 'push'
  readonly mirror: CoreMirror
  readonly events: readonly PushedEvent[]
}

/** The worker's first words, before opening takes its time: whoever waits knows that somebody is there. */
export const opening = { harmonydb: 'opening' } as const

export const acknowledgement = { harmonydb: 'acknowledged' } as const

export function isPush(data: unknown): data is Push {
  return (data as Partial<Push> | undefined)?.harmonydb === 'push'
}

export function isAcknowledgement(data: unknown): boolean {
  return (data as Partial<typeof acknowledgement> | undefined)?.harmonydb === 'acknowledged'
}
