/**
 * What peers say to each other before they are linked, through a rendezvous or a common neighbour: who is here, and the
 * introductions that their transports need. All of it is hearsay: anybody who reaches the rendezvous can say it in anybody's
 * name. It makes a peer try to connect, within bounds, and nothing more.
 *
 *   { t: 'here', v: 1, i, re }         I am in the room; `re`: as an answer, which is not answered
 *   { t: 'bye', v: 1, i }              I leave it
 *   { t: 'intro', v: 1, i, f, s, n, p }   number `n` (0, 1…) of session `s`, with the transport's words `p`
 *
 *   i   16 hex digits drawn when the sender's mesh started: a reloaded tab is told from the one before
 *   f   the receiver's `i` as the sender knows it, or '': what was meant for a former life is dropped
 *   s   1, 2…, given by the initiator (the lower id), growing within its life: what belongs to an older attempt is dropped
 *
 * The decoder is total and drops what it does not know. Sizes are bounded where they come in (rendezvous, frames).
 */
import { decodeText, encodeText } from '../base/text.ts'
import type { Introduction } from '../platform.ts'
import { introductionBytesMax } from './frame.ts'

const version = 1
/** A description and some dozens of candidates. */
export const introductionsPerSessionMax = 256

export type Signal =
  | { readonly type: 'here'; readonly instance: string; readonly reply: boolean }
  | { readonly type: 'bye'; readonly instance: string }
  | SignalIntroduction

export interface SignalIntroduction {
  readonly type: 'intro'
  readonly instance: string
  readonly instanceFor: string | undefined
  readonly session: number
  readonly number: number
  readonly payload: Introduction
}

export function encodeSignal(signal: Signal): unknown {
  const { type: t, instance: i } = signal
  switch (signal.type) {
    case 'here':
      return { t, v: version, i, re: signal.reply }
    case 'bye':
      return { t, v: version, i }
    case 'intro':
      return { t, v: version, i, f: signal.instanceFor ?? '', s: signal.session, n: signal.number, p: signal.payload }
  }
}

/** Undefined for anything else, also for what a later version may say. Objects of an application may even throw. */
export function decodeSignal(message: unknown): Signal | undefined {
  try {
    return decode(message)
  } catch {
    return undefined
  }
}

function decode(message: unknown): Signal | undefined {
  if (!isRecord(message)) return undefined
  const { t, v, i, re, f, s, n, p } = message
  if (v !== version || !isInstance(i)) return undefined
  if (t === 'here') return typeof re === 'boolean' ? { type: 'here', instance: i, reply: re } : undefined
  if (t === 'bye') return { type: 'bye', instance: i }
  if (t !== 'intro' || !isRecord(p) || !(f === '' || isInstance(f))) return undefined
  if (!isCount(s, 0xffff_ffff) || s === 0 || !isCount(n, introductionsPerSessionMax - 1)) return undefined
  return { type: 'intro', instance: i, instanceFor: f === '' ? undefined : f, session: s, number: n, payload: p }
}

/** The form in which a neighbour passes a signal on; undefined if it is too long for that. */
export function signalToBytes(signal: Signal): Uint8Array | undefined {
  try {
    const bytes = encodeText(JSON.stringify(encodeSignal(signal)))
    return bytes.length <= introductionBytesMax ? bytes : undefined
  } catch {
    return undefined
  }
}

export function signalFromBytes(bytes: Uint8Array): Signal | undefined {
  const text = decodeText(bytes)
  if (text === undefined) return undefined
  try {
    return decodeSignal(JSON.parse(text))
  } catch {
    return undefined
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isInstance = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{16}$/.test(value)

const isCount = (value: unknown, max: number): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max
