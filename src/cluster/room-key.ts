/**
 * From a room's secret to the key that its peers prove knowledge of.
 *
 *   generated secret   'hs1_' | 26 characters of RFC 4648 base32 in lower case (130 random bits), or more of them
 *   its key            HKDF-SHA256(secret's text, salt = SHA-256(label | room), info = label), 32 bytes
 *   any other secret   scrypt (N 2^14, r 8, p 1: 16 MiB, some 80 ms) over its text with the same salt, 32 bytes
 *
 * Caveat: whoever gets as far as a handshake with a member holds something to test guesses against, off line. For a generated
 * secret that is hopeless, for a pass phrase it costs one scrypt a guess: advise against short ones.
 */
import { hkdf } from '@noble/hashes/hkdf.js'
import { scrypt } from '@noble/hashes/scrypt.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { concatBytes } from '../base/bytes.ts'
import { isGeneratedSecret } from '../base/secret.ts'
import { encodeText } from '../base/text.ts'

const label = encodeText('harmonydb room key v1')
const hashLabel = encodeText('harmonydb room hash v1')

/** What peers tell each other to see that they mean the same room; no key and no secret. */
export function hashRoom(room: string): Uint8Array {
  return sha256(concatBytes(hashLabel, encodeText(room)))
}

export function deriveRoomKey(room: string, secret: string): Uint8Array {
  const salt = sha256(concatBytes(label, encodeText(room)))
  const material = encodeText(secret)
  if (isGeneratedSecret(secret)) return hkdf(sha256, material, salt, label, 32)
  return scrypt(material, salt, { N: 2 ** 14, r: 8, p: 1, dkLen: 32 })
}

/** The key, made when it is first asked for. */
export function lazyRoomKey(room: string, secret: string): () => Uint8Array {
  let key: Uint8Array | undefined
  return () => {
    key ??= deriveRoomKey(room, secret)
    return key
  }
}
