/** What peers say about locks, to the byte: see `wire.ts`. */
import type { ByteReader, ByteWriter } from '../base/bytes.ts'
import { keyText } from '../base/key-map.ts'
import { type DeadlockPolicy, deadlockPolicies, type LockMode, lockModes } from '../txn/lock-table.ts'
import type { Span } from '../txn/spans.ts'

/** Spans of one request, and of one transaction. */
export const lockSpansMax = 10_000

/** Transactions are numbered by the peer that they run on; a number is used once. Requests are numbered within a transaction. */
export type LockMessage =
  | {
      readonly type: 'lock'
      readonly transaction: number
      readonly request: number
      readonly mode: LockMode
      readonly policy: DeadlockPolicy
      readonly age: number
      readonly spans: readonly Span[]
    }
  /** Unless it was granted, the transaction has no locks any more; `why` is for people. */
  | {
      readonly type: 'locked'
      readonly transaction: number
      readonly request: number
      readonly age: number
      readonly outcome: LockOutcome
      readonly why: string
    }
  | { readonly type: 'unlock'; readonly transaction: number }
  | { readonly type: 'locking'; readonly transactions: readonly number[] }

export const lockOutcomes = ['granted', 'gaveWay', 'full'] as const
export type LockOutcome = (typeof lockOutcomes)[number]

type Of<T extends LockMessage['type']> = Extract<LockMessage, { type: T }>

export function encodeLock(writer: ByteWriter, { transaction, request, mode, policy, age, spans }: Of<'lock'>): void {
  writer.varint(transaction).varint(request).u8(lockModes.indexOf(mode)).u8(deadlockPolicies.indexOf(policy))
  writer.varint(age).varint(spans.length)
  for (const { from, to } of spans) {
    writer.bytes(keyBytes(from)).bool(to !== undefined)
    if (to !== undefined) writer.bytes(keyBytes(to))
  }
}

export function decodeLock(reader: ByteReader): Of<'lock'> | undefined {
  const transaction = reader.varint()
  const request = reader.varint()
  const mode = lockModes[reader.u8()]
  const policy = deadlockPolicies[reader.u8()]
  const age = reader.varint()
  const count = reader.count(2)
  if (mode === undefined || policy === undefined || count > lockSpansMax) return undefined
  const spans: Span[] = []
  for (let i = 0; i < count && !reader.failed; i++) {
    const from = keyText(reader.bytes())
    spans.push({ from, to: reader.bool() ? keyText(reader.bytes()) : undefined })
  }
  return { type: 'lock', transaction, request, mode, policy, age, spans }
}

export function encodeLocked(writer: ByteWriter, { transaction, request, age, outcome, why }: Of<'locked'>): void {
  writer.varint(transaction).varint(request).varint(age).u8(lockOutcomes.indexOf(outcome)).text(why)
}

export function decodeLocked(reader: ByteReader): Of<'locked'> | undefined {
  const transaction = reader.varint()
  const request = reader.varint()
  const age = reader.varint()
  const outcome = lockOutcomes[reader.u8()]
  return outcome && { type: 'locked', transaction, request, age, outcome, why: reader.text() }
}

export function encodeLocking(writer: ByteWriter, { transactions }: Of<'locking'>): void {
  writer.varint(transactions.length)
  for (const transaction of transactions) writer.varint(transaction)
}

export function decodeLocking(reader: ByteReader): Of<'locking'> {
  const count = reader.count(1)
  const transactions: number[] = []
  for (let i = 0; i < count; i++) transactions.push(reader.varint())
  return { type: 'locking', transactions }
}

function keyBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i)
  return bytes
}
