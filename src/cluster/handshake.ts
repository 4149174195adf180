/**
 * How two peers make sure of each other, over one endpoint, before anything else is said. A pure state machine: frames in,
 * payloads to send and a verdict out. Both sides do the same; the lower id is the `initiator`, and that is all that the role means.
 *
 *   both    hello    versions, id, public key, fresh nonce, hash of the room's name
 *   both    proof    MAC       = HMAC-SHA256(room key, 'harmonydb proof v1' | role | transcript)
 *                    signature = Ed25519(own key, 'harmonydb identity v1' | role | transcript)
 *           where role is one byte (1 initiator, 2 responder) and
 *           transcript = SHA-256('harmonydb transcript v1' | u32 length, initiator's hello | u32 length, responder's hello
 *                        | u32 length, binding of the endpoint)
 *
 *  H1  `proven` means: the other side knows the room's secret, holds the key of the id that was meant, has seen the same two
 *      hellos, and sits at the other end of this very connection (binding). Nothing about the room leaves before.
 *  H2  A proof is worth nothing elsewhere: nonces make transcripts unique, the role keeps it from being sent back, the binding keeps
 *      it from being passed on by someone in the middle. Where there is no binding there is no link.
 *  H3  The version spoken is the lower of the two; if one side does not understand it any more, both are told VERSION_MISMATCH.
 *  H4  Lost, doubled or overtaking frames (an endpoint owes us that there are none) delay the handshake and cannot change its outcome: a
 *      repetition is ignored, a proof that comes first too; both sides repeat what they said until the link is up.
 *  H5  A second, different hello is refused. After `proven` or `refused` the machine is at its end.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { ByteWriter, concatBytes, copyBytes, equalBytes } from '../base/bytes.ts'
import { type ErrorCode, HarmonyError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import { encodeText } from '../base/text.ts'
import { encodeHello, type Frame, type Hello, type RejectCode } from './frame.ts'
import { idOfKey, isSignedBy, signAs } from './identity.ts'
import type { Advert, Identity } from './mesh-types.ts'

/** Of what is said after the handshake, and of the handshake itself. */
export const protocolVersion = 1
export const protocolVersionMin = 1

const transcriptLabel = encodeText('harmonydb transcript v1')
const proofLabel = encodeText('harmonydb proof v1')
const identityLabel = encodeText('harmonydb identity v1')

export interface HandshakeOptions {
  readonly identity: Identity
  /** Whom this side means to be talking to. */
  readonly expected: PeerId
  readonly kind: Advert['kind']
  readonly roomHash: Uint8Array
  /** May take a while the first time: a pass phrase is stretched. */
  readonly roomKey: () => Uint8Array
  /** 32 fresh random bytes. */
  readonly nonce: Uint8Array
  readonly instance: Uint8Array
  readonly binding: Uint8Array
  /** Other versions than this build's, for tests. */
  readonly versions?: { readonly version: number; readonly versionMin: number }
}

export type HandshakeStep =
  | { readonly kind: 'ignored' }
  | { readonly kind: 'wait'; readonly proof: Uint8Array }
  | { readonly kind: 'proven'; readonly version: number; readonly hello: Hello }
  /** `tell`: what to say to the other side; undefined if it said so first, or is this peer itself. */
  | { readonly kind: 'refused'; readonly error: HarmonyError; readonly tell: RejectCode | undefined }

export class Handshake {
  private readonly options: HandshakeOptions
  private readonly own: Hello
  /** The payload of this side's hello, to be sent first. */
  readonly hello: Uint8Array
  private readonly initiator: boolean
  private other: { readonly hello: Hello; readonly payload: Uint8Array; readonly transcript: Uint8Array } | undefined
  private accepted: { readonly mac: Uint8Array; readonly signature: Uint8Array } | undefined

  constructor(options: HandshakeOptions) {
    const { identity, kind, nonce, roomHash, instance } = options
    const { version, versionMin } = options.versions ?? { version: protocolVersion, versionMin: protocolVersionMin }
    this.options = options
    const { id, publicKey } = identity
    this.own = { version, versionMin, kind, id, publicKey, nonce, roomHash, instance }
    this.hello = encodeHello(this.own)
    this.initiator = id < options.expected
  }

  /** The endpoint cannot be bound, or leads to this peer itself: undefined if it may begin. */
  obstacle(): HarmonyError | undefined {
    const { binding, expected, identity } = this.options
    if (expected === identity.id) return new HarmonyError('UNAUTHORIZED', 'a connection of this peer to itself')
    if (binding.length > 0) return undefined
    return new HarmonyError('UNAUTHORIZED', 'the connection cannot be bound to its encryption keys: not a safe link')
  }

  onFrame(frame: Extract<Frame, { type: 'hello' | 'proof' | 'reject' }>): HandshakeStep {
    switch (frame.type) {
      case 'hello':
        if (this.other === undefined) return this.onHello(frame.hello, frame.payload)
        if (equalBytes(frame.payload, this.other.payload)) return { kind: 'ignored' }
        return refuse('UNAUTHORIZED', 'the other peer said two different hellos', 'unauthorized')
      case 'proof':
        return this.onProof(frame.mac, frame.signature)
      case 'reject':
        return this.onReject(frame.code, frame.reason)
    }
  }

  private onHello(hello: Hello, payload: Uint8Array): HandshakeStep {
    const { identity, expected, roomHash } = this.options
    if (hello.id === identity.id) return refuse('UNAUTHORIZED', 'a connection of this peer to itself', undefined)
    const spoken = Math.min(hello.version, this.own.version)
    if (spoken < hello.versionMin || spoken < this.own.versionMin) {
      const theirs = `protocol version ${hello.version} (oldest ${hello.versionMin})`
      const ours = `${this.own.version} (oldest ${this.own.versionMin})`
      return refuse('VERSION_MISMATCH', `the other peer speaks ${theirs}, this one ${ours}`, 'version')
    }
    if (idOfKey(hello.publicKey) !== hello.id) {
      return refuse('UNAUTHORIZED', 'the other peer named an id that is not that of its key', 'unauthorized')
    }
    if (hello.id !== expected) {
      return refuse('UNAUTHORIZED', `reached ${hello.id} in place of ${expected}`, 'unauthorized')
    }
    if (!equalBytes(hello.roomHash, roomHash)) {
      return refuse('UNAUTHORIZED', 'the other peer means another room', 'unauthorized')
    }
    const transcript = this.transcript(payload)
    this.other = { hello, payload: copyBytes(payload), transcript }
    const mac = this.mac(this.initiator, transcript)
    const signature = signAs(identity, concatBytes(identityLabel, roleByte(this.initiator), transcript))
    return { kind: 'wait', proof: concatBytes(mac, signature) }
  }

  private onProof(mac: Uint8Array, signature: Uint8Array): HandshakeStep {
    if (this.other === undefined) return { kind: 'ignored' }
    if (this.accepted !== undefined) {
      const same = equalBytes(mac, this.accepted.mac) && equalBytes(signature, this.accepted.signature)
      return same ? { kind: 'ignored' } : refuse('UNAUTHORIZED', 'the other peer proved itself twice', 'unauthorized')
    }
    const { hello, transcript } = this.other
    if (!equalSecret(mac, this.mac(!this.initiator, transcript))) {
      return refuse('UNAUTHORIZED', 'the other peer does not know the secret of this room', 'unauthorized')
    }
    const signed = concatBytes(identityLabel, roleByte(!this.initiator), transcript)
    if (!isSignedBy(hello.publicKey, signed, signature)) {
      return refuse('UNAUTHORIZED', 'the other peer does not hold the key of its id', 'unauthorized')
    }
    this.accepted = { mac: copyBytes(mac), signature: copyBytes(signature) }
    return { kind: 'proven', version: Math.min(hello.version, this.own.version), hello }
  }

  private onReject(code: RejectCode, reason: string): HandshakeStep {
    const said = reason === '' ? 'without a reason' : `"${printable(reason)}"`
    if (code === 'version') return refuse('VERSION_MISMATCH', `refused by the other peer: ${said}`, undefined)
    return refuse('UNAUTHORIZED', `refused by the other peer: ${said}`, undefined)
  }

  private transcript(otherHello: Uint8Array): Uint8Array {
    const [first, second] = this.initiator ? [this.hello, otherHello] : [otherHello, this.hello]
    const writer = new ByteWriter(512).raw(transcriptLabel)
    for (const part of [first, second, this.options.binding]) writer.u32(part.length).raw(part)
    return sha256(writer.peek())
  }

  private mac(initiator: boolean, transcript: Uint8Array): Uint8Array {
    return hmac(sha256, this.options.roomKey(), concatBytes(proofLabel, roleByte(initiator), transcript))
  }
}

function refuse(code: ErrorCode, message: string, tell: RejectCode | undefined): HandshakeStep {
  return { kind: 'refused', error: new HarmonyError(code, message), tell }
}

const roleByte = (initiator: boolean): Uint8Array => Uint8Array.of(initiator ? 1 : 2)

/** Takes as long wherever the first difference is. */
function equalSecret(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length
  for (let i = 0; i < b.length; i++) difference |= (a[i] ?? 0) ^ b[i]!
  return difference === 0
}

/** A stranger's words go into a message for the user. */
const printable = (text: string): string => text.replace(/[^\x20-\x7e]/g, '?')
