import { describe, expect, it } from 'vitest'
import { copyBytes } from '../../../src/base/bytes.ts'
import type { PeerId } from '../../../src/base/ids.ts'
import { generateSecret, isGeneratedSecret } from '../../../src/base/secret.ts'
import { decodeFrames, type Frame, type FrameType, FrameWriter } from '../../../src/cluster/frame.ts'
import { Handshake, type HandshakeOptions, type HandshakeStep } from '../../../src/cluster/handshake.ts'
import { isSignedBy, makeIdentity, signAs } from '../../../src/cluster/identity.ts'
import type { Identity } from '../../../src/cluster/mesh-types.ts'
import { deriveRoomKey, hashRoom, lazyRoomKey } from '../../../src/cluster/room-key.ts'
import { identityOf, patterned, secret } from './mesh-kit.ts'

const binding = patterned(32, 7)
const key = deriveRoomKey('room', secret)

function optionsOf(identity: Identity, expected: PeerId, changes: Partial<HandshakeOptions> = {}): HandshakeOptions {
  return {
    identity,
    expected,
    kind: 'node',
    roomHash: hashRoom('room'),
    roomKey: () => key,
    nonce: patterned(32, identity.seed[0]),
    instance: patterned(8),
    binding,
    ...changes,
  }
}

type HandshakeFrame = Extract<Frame, { type: 'hello' | 'proof' | 'reject' }>

/** Over the wire and back. */
function frame(type: FrameType, payload: Uint8Array): HandshakeFrame {
  const writer = new FrameWriter()
  writer.frame(type, payload)
  const decoded = decodeFrames(writer.finish())
  if (!decoded.ok) throw new Error(decoded.detail)
  return decoded.frames[0] as HandshakeFrame
}

const isRefused = (step: HandshakeStep, code = 'UNAUTHORIZED'): boolean =>
  step.kind === 'refused' && step.error.code === code

interface Outcome {
  readonly a: HandshakeStep
  readonly b: HandshakeStep
}

type Tamper = (what: 'hello' | 'proof', from: 'a' | 'b', payload: Uint8Array) => Uint8Array

/** Both sides in step, with someone in the middle. */
function run(
  one: HandshakeOptions,
  other: HandshakeOptions,
  tamper: Tamper = (_what, _from, payload) => payload,
): Outcome {
  const a = new Handshake(one)
  const b = new Handshake(other)
  const afterHello = {
    a: a.onFrame(frame('hello', tamper('hello', 'b', b.hello))),
    b: b.onFrame(frame('hello', tamper('hello', 'a', a.hello))),
  }
  const proofOf = (step: HandshakeStep) => (step.kind === 'wait' ? step.proof : undefined)
  const proofs = { a: proofOf(afterHello.a), b: proofOf(afterHello.b) }
  return {
    a: proofs.a && proofs.b ? a.onFrame(frame('proof', tamper('proof', 'b', proofs.b))) : afterHello.a,
    b: proofs.a && proofs.b ? b.onFrame(frame('proof', tamper('proof', 'a', proofs.a))) : afterHello.b,
  }
}

const alice = identityOf('a')
const bob = identityOf('b')
const mallory = identityOf('c')
const pair = (one: Partial<HandshakeOptions> = {}, other: Partial<HandshakeOptions> = {}) =>
  [optionsOf(alice, bob.id, one), optionsOf(bob, alice.id, other)] as const

describe('handshake', () => {
  it('proves both sides to each other', () => {
    const { a, b } = run(...pair())
    expect(a).toMatchObject({ kind: 'proven', version: 1, hello: { id: bob.id } })
    expect(b).toMatchObject({ kind: 'proven', version: 1, hello: { id: alice.id } })
  })

  it('pitfall 43: any changed byte of a hello or proof is refused by the side that gets it', () => {
    let refused = 0
    for (const what of ['hello', 'proof'] as const) {
      const length = what === 'hello' ? new Handshake(pair()[0]).hello.length : 96
      for (let at = 0; at < length; at++) {
        // The signature is big-integer work: every fifth of its bytes will do.
        if (what === 'proof' && at >= 32 && at % 5 !== 0) continue
        let step: HandshakeStep | undefined
        try {
          step = run(...pair(), (kind, from, payload) => {
            if (kind !== what || from !== 'b') return payload
            const changed = copyBytes(payload)
            changed[at] = changed[at]! ^ 1
            return changed
          }).a
        } catch {
          continue // it did not even decode
        }
        expect(step.kind, `${what} byte ${at}`).toBe('refused')
        refused++
      }
    }
    expect(refused).toBeGreaterThan(150)
  }, 30_000)

  it('refuses the wrong secret on both sides, with a code to tell the other', () => {
    const { a, b } = run(...pair({}, { roomKey: () => deriveRoomKey('room', `${secret}2`) }))
    for (const step of [a, b]) expect(step).toMatchObject({ kind: 'refused', tell: 'unauthorized' })
    expect(isRefused(a) && isRefused(b)).toBe(true)
  })

  it('refuses another room, another id than the one meant, an id that is not that of the key, and itself', () => {
    expect(isRefused(run(...pair({}, { roomHash: hashRoom('other') })).a)).toBe(true)
    expect(isRefused(run(optionsOf(alice, bob.id), optionsOf(mallory, alice.id)).a)).toBe(true)
    const impostor = { ...mallory, id: bob.id }
    expect(isRefused(run(optionsOf(alice, bob.id), optionsOf(impostor, alice.id)).a)).toBe(true)
    // With the right public key but without its seed, the signature fails.
    const thief = { ...bob, seed: mallory.seed }
    expect(isRefused(run(optionsOf(alice, bob.id), optionsOf(thief, alice.id)).a)).toBe(true)
    expect(isRefused(run(optionsOf(alice, bob.id), optionsOf(alice, bob.id)).a)).toBe(true)
    expect(new Handshake(optionsOf(alice, alice.id)).obstacle()?.code).toBe('UNAUTHORIZED')
  })

  it('refuses a link without a binding, and one whose ends have different ones (someone in the middle)', () => {
    expect(new Handshake(optionsOf(alice, bob.id, { binding: new Uint8Array(0) })).obstacle()?.code).toBe(
      'UNAUTHORIZED',
    )
    const { a, b } = run(...pair({}, { binding: patterned(32, 8) }))
    expect(isRefused(a) && isRefused(b)).toBe(true)
  })

  it('refuses its own words sent back, and a proof of an earlier handshake', () => {
    const a = new Handshake(pair()[0])
    expect(isRefused(a.onFrame(frame('hello', a.hello)))).toBe(true)
    // Own MAC sent back: another role, even where the signature is the right one.
    const b = new Handshake(pair()[1])
    const proofOf = (step: HandshakeStep) => (step as Extract<HandshakeStep, { kind: 'wait' }>).proof
    const again = new Handshake(pair()[0])
    const own = proofOf(again.onFrame(frame('hello', b.hello)))
    const right = proofOf(b.onFrame(frame('hello', again.hello)))
    const reflected = Uint8Array.of(...own.subarray(0, 32), ...right.subarray(32))
    expect(isRefused(again.onFrame(frame('proof', reflected)))).toBe(true)
    expect(again.onFrame(frame('proof', right)).kind).toBe('proven')
    // Replayed: another nonce on this side.
    let old: Uint8Array | undefined
    run(...pair(), (what, from, payload) => {
      if (what === 'proof' && from === 'b') old = payload
      return payload
    })
    const fresh = new Handshake(optionsOf(alice, bob.id, { nonce: patterned(32, 99) }))
    fresh.onFrame(frame('hello', new Handshake(pair()[1]).hello))
    expect(isRefused(fresh.onFrame(frame('proof', old!)))).toBe(true)
  })

  it('tells both sides of a version that one does not understand, and speaks the lower of two that both do', () => {
    const apart = run(...pair({ versions: { version: 3, versionMin: 2 } }, { versions: { version: 1, versionMin: 1 } }))
    expect(isRefused(apart.a, 'VERSION_MISMATCH') && isRefused(apart.b, 'VERSION_MISMATCH')).toBe(true)
    const near = run(...pair({ versions: { version: 3, versionMin: 1 } }, { versions: { version: 2, versionMin: 1 } }))
    expect(near.a).toMatchObject({ kind: 'proven', version: 2 })
    expect(near.b).toMatchObject({ kind: 'proven', version: 2 })
  })

  it('bears repetitions and a proof that overtakes the hello; refuses a second, different hello or proof', () => {
    const [one, other] = pair()
    const a = new Handshake(one)
    const b = new Handshake(other)
    const step = b.onFrame(frame('hello', a.hello))
    const proof = frame('proof', (step as Extract<HandshakeStep, { kind: 'wait' }>).proof)
    expect(a.onFrame(proof).kind).toBe('ignored')
    expect(a.onFrame(frame('hello', b.hello)).kind).toBe('wait')
    expect(a.onFrame(frame('hello', b.hello)).kind).toBe('ignored')
    expect(a.onFrame(proof).kind).toBe('proven')
    expect(a.onFrame(proof).kind).toBe('ignored')
    const changed = new Handshake({ ...other, nonce: patterned(32, 55) })
    expect(isRefused(a.onFrame(frame('hello', changed.hello)))).toBe(true)
    expect(isRefused(a.onFrame(frame('proof', new Uint8Array(96))))).toBe(true)
  })
})

describe('identity and room key', () => {
  it('the id is that of the public key, and a signature belongs to one key and one message', () => {
    const identity = makeIdentity(patterned(32))
    expect(identity.id).toMatch(/^[0-9a-f]{32}$/)
    const message = patterned(50)
    const signature = signAs(identity, message)
    expect(isSignedBy(identity.publicKey, message, signature)).toBe(true)
    expect(isSignedBy(identity.publicKey, patterned(51), signature)).toBe(false)
    expect(isSignedBy(bob.publicKey, message, signature)).toBe(false)
    expect(isSignedBy(new Uint8Array(32).fill(255), message, signature)).toBe(false)
    expect(isSignedBy(identity.publicKey, message, new Uint8Array(3))).toBe(false)
  })

  it('generated secrets say that they are, and have 130 random bits', () => {
    let next = 0
    const made = generateSecret({ fill: bytes => bytes.set(bytes.map(() => next++ * 7)) })
    expect(made).toMatch(/^hs1_[a-z2-7]{26}$/)
    expect(isGeneratedSecret(made)).toBe(true)
    for (const other of ['hunter2', 'hs1_short', made.toUpperCase(), `${made} `]) {
      expect(isGeneratedSecret(other)).toBe(false)
    }
  })

  it('the key depends on room and secret, for pass phrases too; it is made once', () => {
    const keys = [
      deriveRoomKey('room', secret),
      deriveRoomKey('room2', secret),
      deriveRoomKey('room', 'pass phrase'),
      deriveRoomKey('room2', 'pass phrase'),
      deriveRoomKey('room', 'pass phrasf'),
    ]
    expect(new Set(keys.map(bytes => bytes.join())).size).toBe(keys.length)
    for (const bytes of keys) expect(bytes.length).toBe(32)
    expect(deriveRoomKey('room', 'pass phrase')).toEqual(keys[2])
    const lazy = lazyRoomKey('room', 'pass phrase')
    expect(lazy()).toBe(lazy())
  })
})
