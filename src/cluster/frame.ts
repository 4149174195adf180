/**
 * What travels on a link, to the byte. (Integers little-endian; `varint`, `text` and `id128` as in `base/bytes.ts`.)
 *
 *   channel message = header | frame…            1 to 4096 frames, at most 64 KiB in all
 *   header          = u8 0x48 'H' | u8 2 (format) | u32 CRC-32C of all the rest, the two bytes before it included
 *   frame           = u8 type | varint length | payload
 *
 *    1 hello         u16 version | u16 oldest version understood | u8 kind (0 tab, 1 node) | id128 peer | 32 public key | 32 nonce
 *                    | 32 room hash | 8 instance | what later versions add (the whole at most 1 KiB)
 *    2 proof         32 HMAC | 64 signature                                   see `handshake.ts`
 *    3 reject        u8 code (1 unauthorized, 2 version, 3 copy: see `mesh.ts`) | text reason, at most 200 bytes
 *    4 advert        u8 kind | id128 cluster | u8 standing (0 newcomer, 1 member) | bool has data
 *    5 ping          u32 number, echoed by
 *    6 pong          u32 number
 *    7 whole         a message
 *    8 first         varint length of the message | its first bytes, not all
 *    9 more          varint offset | the bytes from there
 *   10 introduction  id128 from | id128 to | JSON text in UTF-8, at most 16 KiB     signalling, passed on by a common neighbour
 *   11 neighbours    varint count, at most 256 | id128…                    whom the sender is linked to
 *   12 bye           text reason, at most 200 bytes
 *
 * `whole`, `first` and `more` make up the messages of their lane, in order; a new message abandons an unfinished one. All other
 * frames belong to the consensus lane. The header never changes; everything behind it may, with the format. So a format byte that was damaged on the way is
 * told from another version, which would keep two peers apart for a minute. (Format 1, before the first release, had no header in its CRC.)
 *
 * The decoder is total. The CRC finds what a bridge or a bug damaged, up to three bits for certain; against intent DTLS and the handshake stand.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { crc32c } from '../base/checksum.ts'
import { type ClusterId, clusterId, isId128, type PeerId, peerId } from '../base/ids.ts'
import { textBytes } from '../base/text.ts'
import type { Lane } from '../platform.ts'
import { publicKeyBytes, signatureBytes } from './identity.ts'
import type { Advert } from './mesh-types.ts'

const magic = 0x48
export const frameFormat = 2
export const headerBytes = 6
/** Type, length, and total or offset of a fragment. */
export const fragmentOverheadBytes = 1 + 4 + 4
export const framesPerMessageMax = 4096
export const nonceBytes = 32
export const macBytes = 32
export const instanceBytes = 8
const helloBytesMax = 1024
export const reasonBytesMax = 200
export const introductionBytesMax = 16 * 1024
export const neighboursMax = 256

/** The longest message of each lane. */
export const messageBytesMax: Readonly<Record<Lane, number>> = { consensus: 4 * 1024 * 1024, bulk: 32 * 1024 * 1024 }

export const frameTypes = {
  hello: 1,
  proof: 2,
  reject: 3,
  advert: 4,
  ping: 5,
  pong: 6,
  whole: 7,
  first: 8,
  more: 9,
  introduction: 10,
  neighbours: 11,
  bye: 12,
} as const
export type FrameType = keyof typeof frameTypes

const rejectCodes = ['unauthorized', 'version', 'copy'] as const
export type RejectCode = (typeof rejectCodes)[number]

export interface Hello {
  readonly version: number
  readonly versionMin: number
  readonly kind: Advert['kind']
  readonly id: PeerId
  readonly publicKey: Uint8Array
  readonly nonce: Uint8Array
  readonly roomHash: Uint8Array
  readonly instance: Uint8Array
}

export type Frame =
  /** `payload`: the hello's bytes as they came, for the transcript. */
  | { readonly type: 'hello'; readonly hello: Hello; readonly payload: Uint8Array }
  | { readonly type: 'proof'; readonly mac: Uint8Array; readonly signature: Uint8Array }
  | { readonly type: 'reject'; readonly code: RejectCode; readonly reason: string }
  | { readonly type: 'advert'; readonly advert: Advert }
  | { readonly type: 'ping'; readonly number: number }
  | { readonly type: 'pong'; readonly number: number }
  | { readonly type: 'whole'; readonly bytes: Uint8Array }
  | { readonly type: 'first'; readonly total: number; readonly bytes: Uint8Array }
  | { readonly type: 'more'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly type: 'introduction'; readonly from: PeerId; readonly to: PeerId; readonly json: Uint8Array }
  | { readonly type: 'neighbours'; readonly peers: readonly PeerId[] }
  | { readonly type: 'bye'; readonly reason: string }

export type Decoded =
  | { readonly ok: true; readonly frames: readonly Frame[] }
  | { readonly ok: false; readonly reason: 'malformed' | 'version'; readonly detail: string }

/** All frames of one channel message, or why it is none. Byte strings are views into `bytes`. */
export function decodeFrames(bytes: Uint8Array): Decoded {
  if (bytes.length < headerBytes || bytes[0] !== magic) return malformed('no frame header')
  const reader = new ByteReader(bytes, 2)
  if (reader.u32() !== frameCrc(bytes)) return malformed('wrong checksum')
  if (bytes[1] !== frameFormat) {
    return { ok: false, reason: 'version', detail: `frame format ${bytes[1]}, this peer has ${frameFormat}` }
  }
  const frames: Frame[] = []
  while (reader.remaining > 0) {
    if (frames.length === framesPerMessageMax) return malformed('too many frames')
    const type = reader.u8()
    const payload = reader.bytes()
    const frame = reader.failed ? undefined : decodeFrame(type, payload)
    if (frame === undefined) return malformed(`frame of type ${type}`)
    frames.push(frame)
  }
  return reader.done() && frames.length > 0 ? { ok: true, frames } : malformed('no frames')
}

const malformed = (detail: string): Decoded => ({ ok: false, reason: 'malformed', detail })

function decodeFrame(type: number, payload: Uint8Array): Frame | undefined {
  const reader = new ByteReader(payload)
  const frame = readFrame(type, payload, reader)
  return reader.done() ? frame : undefined
}

function readFrame(type: number, payload: Uint8Array, reader: ByteReader): Frame | undefined {
  switch (type) {
    case frameTypes.hello: {
      if (payload.length > helloBytesMax) return undefined
      const hello = readHello(reader)
      reader.rest()
      return hello === undefined ? undefined : { type: 'hello', hello, payload }
    }
    case frameTypes.proof:
      return { type: 'proof', mac: reader.raw(macBytes), signature: reader.raw(signatureBytes) }
    case frameTypes.reject: {
      const code = rejectCodes[reader.u8() - 1]
      const reason = reader.text(reasonBytesMax)
      return code === undefined ? undefined : { type: 'reject', code, reason }
    }
    case frameTypes.advert: {
      const advert = readAdvert(reader)
      return advert === undefined ? undefined : { type: 'advert', advert }
    }
    case frameTypes.ping:
      return { type: 'ping', number: reader.u32() }
    case frameTypes.pong:
      return { type: 'pong', number: reader.u32() }
    case frameTypes.whole:
      return { type: 'whole', bytes: reader.rest() }
    case frameTypes.first: {
      const total = reader.varint()
      const bytes = reader.rest()
      return bytes.length > 0 && bytes.length < total ? { type: 'first', total, bytes } : undefined
    }
    case frameTypes.more: {
      const offset = reader.varint()
      const bytes = reader.rest()
      return bytes.length > 0 && offset > 0 ? { type: 'more', offset, bytes } : undefined
    }
    case frameTypes.introduction: {
      const from = peerId(reader.id128())
      const to = peerId(reader.id128())
      const json = reader.rest()
      return json.length <= introductionBytesMax ? { type: 'introduction', from, to, json } : undefined
    }
    case frameTypes.neighbours: {
      const count = reader.count(16)
      if (count > neighboursMax) return undefined
      return { type: 'neighbours', peers: Array.from({ length: count }, () => peerId(reader.id128())) }
    }
    case frameTypes.bye:
      return { type: 'bye', reason: reader.text(reasonBytesMax) }
    default:
      return undefined
  }
}

function readHello(reader: ByteReader): Hello | undefined {
  const version = reader.u16()
  const versionMin = reader.u16()
  const kind = kinds[reader.u8()]
  const id = peerId(reader.id128())
  const publicKey = reader.raw(publicKeyBytes)
  const nonce = reader.raw(nonceBytes)
  const roomHash = reader.raw(32)
  const instance = reader.raw(instanceBytes)
  if (kind === undefined || reader.failed) return undefined
  return { version, versionMin, kind, id, publicKey, nonce, roomHash, instance }
}

const kinds = ['tab', 'node'] as const
const standings = ['newcomer', 'member'] as const

function readAdvert(reader: ByteReader): Advert | undefined {
  const kind = kinds[reader.u8()]
  const cluster: ClusterId = clusterId(reader.id128())
  const standing = standings[reader.u8()]
  const hasData = reader.bool()
  return kind === undefined || standing === undefined ? undefined : { kind, cluster, standing, hasData }
}

// Payloads

export function encodeHello(hello: Hello): Uint8Array {
  return new ByteWriter(160)
    .u16(hello.version)
    .u16(hello.versionMin)
    .u8(kinds.indexOf(hello.kind))
    .id128(hello.id)
    .raw(hello.publicKey)
    .raw(hello.nonce)
    .raw(hello.roomHash)
    .raw(hello.instance)
    .finish()
}

export const encodeReject = (code: RejectCode, reason: string): Uint8Array =>
  new ByteWriter(64)
    .u8(rejectCodes.indexOf(code) + 1)
    .text(shortened(reason))
    .finish()

export const encodeAdvert = (advert: Advert): Uint8Array =>
  new ByteWriter(19)
    .u8(kinds.indexOf(advert.kind))
    .id128(advert.cluster)
    .u8(standings.indexOf(advert.standing))
    .bool(advert.hasData)
    .finish()

export const encodeNumber = (number: number): Uint8Array => new ByteWriter(4).u32(number).finish()

export const encodeBye = (reason: string): Uint8Array => new ByteWriter(64).text(shortened(reason)).finish()

export const encodeIntroduction = (from: PeerId, to: PeerId, json: Uint8Array): Uint8Array =>
  new ByteWriter(32 + json.length).id128(from).id128(to).raw(json).finish()

/** The first 256 of them. */
export function encodeNeighbours(peers: readonly PeerId[]): Uint8Array {
  const told = peers.filter(isId128).slice(0, neighboursMax)
  const writer = new ByteWriter(2 + 16 * told.length).varint(told.length)
  for (const peer of told) writer.id128(peer)
  return writer.finish()
}

/** At most `reasonBytesMax` bytes of it. */
function shortened(reason: string): string {
  if (textBytes(reason) <= reasonBytesMax) return reason
  let text = ''
  let bytes = 0
  for (const character of reason) {
    bytes += textBytes(character)
    if (bytes > reasonBytesMax) break
    text += character
  }
  return text
}

/** Puts frames together into channel messages. The caller minds the sizes. */
export class FrameWriter {
  private readonly writer = new ByteWriter(1024)
  private count = 0

  constructor() {
    this.begin()
  }

  get frames(): number {
    return this.count
  }
  /** Of the message so far, header included. */
  get bytes(): number {
    return this.writer.length
  }

  frame(type: FrameType, payload: Uint8Array): void {
    this.count++
    this.writer.u8(frameTypes[type]).bytes(payload)
  }

  /** `first` with the message's length, or `more` with the offset, before the bytes. */
  fragment(type: 'first' | 'more', number: number, bytes: Uint8Array): void {
    this.count++
    this.writer
      .u8(frameTypes[type])
      .varint(varintBytes(number) + bytes.length)
      .varint(number)
      .raw(bytes)
  }

  finish(): Uint8Array {
    const bytes = this.writer.setU32(2, frameCrc(this.writer.peek())).finish()
    this.begin()
    return bytes
  }

  private begin(): void {
    this.count = 0
    this.writer.u8(magic).u8(frameFormat).u32(0)
  }
}

/** Of a channel message, but for the CRC itself. */
export const frameCrc = (message: Uint8Array): number => crc32c(message, crc32c(message, 0, 0, 2), headerBytes)

/** What `payloadBytes` of payload take on the wire. */
export const frameBytes = (payloadBytes: number): number => 1 + varintBytes(payloadBytes) + payloadBytes

function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes++
  return bytes
}
