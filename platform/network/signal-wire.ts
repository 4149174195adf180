/**
 * The wire between a signalling server and its clients: WebSocket text frames, each one JSON object, at most 64 KiB.
 *
 *   connect    GET /signal?room=<1..128 characters>&id=<32 lower-case hex digits>      HTTP 400 for anything else
 *   client →   {"to": <id> | "*", "message": <any JSON>}        to one peer of the room, or to all others in it
 *   server →   {"from": <id>, "message": <any JSON>}            `from` is the id that the sender connected with
 *   server →   {}                                               a heartbeat, so that a client notices a dead connection
 *
 * Close codes: 1009 frame too big (WebSocket's own), and the four below. The server keeps nothing on disk and promises nothing:
 * what is sent to someone who is not there is dropped. But whoever connects gets the last small thing that each member
 * of the room said to all: so a newcomer knows at once who is there, however busy they are, and founds no second cluster.
 */
import { isId128 } from '../../src/base/ids.ts'
import { textBytes } from '../../src/base/text.ts'

export const frameBytesMax = 65_536
/** A relayed frame says `from` and an id where the client's said `to` and perhaps a star. */
export const relayedBytesMax = frameBytesMax + 64
export const roomCharsMax = 128
/** How often the server beats. A client that hears nothing for three times as long connects again. */
export const heartbeatIntervalMs = 15_000

export const closeCodes = { malformed: 4400, roomFull: 4409, tooSlow: 4413, tooMuch: 4429 } as const

export const isRoom = (room: unknown): room is string =>
  typeof room === 'string' && room.length >= 1 && room.length <= roomCharsMax

/** The room and the id that a request's query names, or undefined. Each must be there exactly once; other fields are ignored. */
export function decodeJoin(query: string): { room: string; id: string } | undefined {
  // An id, a room of 128 characters (twelve each when escaped) and the names around them.
  if (query.length > 2_048) return undefined
  const fields = new Map<string, string>()
  for (const part of query.split('&')) {
    const [name, value, ...rest] = part.split('=')
    if (name !== 'room' && name !== 'id') continue
    if (rest.length > 0 || value === undefined || fields.has(name)) return undefined
    try {
      fields.set(name, decodeURIComponent(value))
    } catch {
      return undefined
    }
  }
  const room = fields.get('room')
  const id = fields.get('id')
  return isRoom(room) && isId128(id) ? { room, id } : undefined
}

/** Undefined for a room that is none: empty, too long, or with half of a surrogate pair in it. */
export function encodeJoin(room: string, id: string): string | undefined {
  if (!isRoom(room)) return undefined
  try {
    return `room=${encodeURIComponent(room)}&id=${id}`
  } catch {
    return undefined
  }
}

export interface ClientFrame {
  readonly to: string
  readonly message: unknown
}

/** What a client sends; undefined if it is anything else. */
export function decodeClientFrame(text: string): ClientFrame | undefined {
  const frame = objectOf(text, frameBytesMax)
  if (frame === undefined || !hasExactly(frame, 'to', 'message')) return undefined
  const { to, message } = frame
  return to === '*' || isId128(to) ? { to, message } : undefined
}

export type ServerFrame = { readonly from: string; readonly message: unknown } | 'heartbeat'

/** What a server sends; undefined if it is anything else. */
export function decodeServerFrame(text: string): ServerFrame | undefined {
  const frame = objectOf(text, relayedBytesMax)
  if (frame === undefined) return undefined
  if (Object.keys(frame).length === 0) return 'heartbeat'
  const { from, message } = frame
  return hasExactly(frame, 'from', 'message') && isId128(from) ? { from, message } : undefined
}

/** Undefined if the message is no JSON or the frame would be too big. */
export function encodeClientFrame(to: string, message: unknown): string | undefined {
  try {
    // `undefined` and functions have no JSON: the field would be missing.
    const text = JSON.stringify({ to, message })
    return JSON.stringify(message) !== undefined && textBytes(text) <= frameBytesMax ? text : undefined
  } catch {
    return undefined
  }
}

/** Undefined if it would be too big: numbers such as 1e20 grow when they are written again. */
export function encodeServerFrame(from: string, message: unknown): string | undefined {
  const text = JSON.stringify({ from, message })
  return textBytes(text) <= relayedBytesMax ? text : undefined
}
export const heartbeatFrame = '{}'

function objectOf(text: string, charsMax: number): Record<string, unknown> | undefined {
  if (text.length > charsMax) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

function hasExactly(frame: Record<string, unknown>, ...names: readonly string[]): boolean {
  return Object.keys(frame).length === names.length && names.every(name => Object.hasOwn(frame, name))
}
