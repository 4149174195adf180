/**
 * What ties an authenticated conversation to the DTLS connection that carries it (rule E3).
 *
 * Each side knows two certificate fingerprints: its own, and the one that its DTLS stack has verified the other side
 * against. Somebody in the middle has to show a certificate of its own to each side, so the two sides then see different pairs.
 *
 *   binding = SHA-256( "harmonydb/dtls-binding/1" || low || high )     low, high: the raw fingerprints, sorted as bytes
 *
 * Caveats: a session description may name several fingerprints, and which of them a stack checks is its own affair. So a
 * description with more than one value is refused, and so is any hash weaker than SHA-256. Every browser and
 * libdatachannel use exactly one SHA-256 fingerprint.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { compareBytes, concatBytes, equalBytes, hexDecode } from '../../src/base/bytes.ts'
import { encodeText } from '../../src/base/text.ts'

const domain = encodeText('harmonydb/dtls-binding/1')

/** Digest lengths of the hash functions that may name a certificate (RFC 8122 names, lower case). */
const digestBytes: Readonly<Record<string, number | undefined>> = { 'sha-256': 32, 'sha-384': 48, 'sha-512': 64 }

const attribute = /^a=fingerprint:([^ ]{1,16}) ([0-9A-Fa-f:]{1,256})$/

/** The one certificate fingerprint that a session description names, or undefined if it names none, several, or a weak one. */
export function fingerprintOf(sdp: string): Uint8Array | undefined {
  let found: Uint8Array | undefined
  for (const line of sdp.split(/\r\n|\r|\n/)) {
    if (!line.toLowerCase().startsWith('a=fingerprint:')) continue
    const match = attribute.exec(`a=fingerprint:${line.slice(14).trim()}`)
    if (match === null) return undefined
    const algorithm = match[1]!.toLowerCase()
    const length = Object.hasOwn(digestBytes, algorithm) ? digestBytes[algorithm] : undefined
    const digits = match[2]!.toLowerCase()
    if (length === undefined || digits.length !== length * 3 - 1 || !/^[0-9a-f]{2}(:[0-9a-f]{2})*$/.test(digits)) {
      return undefined
    }
    const value = hexDecode(digits.replaceAll(':', ''))
    if (value === undefined || (found !== undefined && !equalBytes(found, value))) return undefined
    found = value
  }
  return found
}

/** 32 bytes, the same at both ends; empty if either description does not tell (E3). */
export function bindingOf(localSdp: string, remoteSdp: string): Uint8Array {
  const local = fingerprintOf(localSdp)
  const remote = fingerprintOf(remoteSdp)
  if (local === undefined || remote === undefined) return new Uint8Array(0)
  const [low, high] = compareBytes(local, remote) <= 0 ? [local, remote] : [remote, local]
  return sha256(concatBytes(domain, low, high))
}
