/**
 * Who a peer is: an Ed25519 key pair made from 32 bytes that never leave its store. Its id is the first half of SHA-256 over the
 * public key, so nobody can hold an id without the key that belongs to it.
 *
 * Caveat: signatures are made in JavaScript with big integers, in some two milliseconds and not in constant time. One is made
 * per handshake and never over a text that the other side chose alone, which leaves little to measure.
 */
import { getPublicKey, hashes, sign as signSync, verify as verifySync } from '@noble/ed25519'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { assert } from '../base/assert.ts'
import { hexEncode } from '../base/bytes.ts'
import { type PeerId, peerId } from '../base/ids.ts'
import type { Identity } from './mesh-types.ts'

// The library leaves SHA-512 to its user, or to the host's WebCrypto, which answers by promises.
hashes.sha512 = sha512

export const publicKeyBytes = 32
export const signatureBytes = 64
const seedBytes = 32

export function makeIdentity(seed: Uint8Array): Identity {
  assert(seed.length === seedBytes, 'an identity is made from 32 bytes')
  const publicKey = getPublicKey(seed)
  return { id: idOfKey(publicKey), seed, publicKey }
}

export function idOfKey(publicKey: Uint8Array): PeerId {
  return peerId(hexEncode(sha256(publicKey), 0, 16))
}

export function signAs(identity: Identity, message: Uint8Array): Uint8Array {
  return signSync(message, identity.seed)
}

/** False for whatever is not a signature of `message` by `publicKey`, malformed keys and signatures included. */
export function isSignedBy(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verifySync(signature, message, publicKey, { zip215: false })
  } catch {
    return false
  }
}
