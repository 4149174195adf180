/**
 * What two WebRTC transports tell each other before they have a link, the same between any two hosts:
 *
 *   { type: 'offer' | 'answer', sdp }                 a session description; the initiator offers, once
 *   { type: 'candidate', candidate, mid }             one way in (trickle ICE); any number up to `candidatesMax`, in any order with the above
 *
 * The decoder is total: anything else is undefined, and the attempt ends (T3). It comes through signalling from
 * strangers, so sizes are bounded before a host's SDP parser sees it.
 */
import type { Introduction } from '../../src/platform.ts'
import { fingerprintOf } from './binding.ts'

export type RtcIntroduction =
  | { readonly type: 'offer' | 'answer'; readonly sdp: string }
  | { readonly type: 'candidate'; readonly candidate: string; readonly mid: string }

/** A description with data channels alone has about 600 characters; an adopted connection's is the application's affair. */
const sdpCharsMax = 16_384
const candidateCharsMax = 1_024
const midCharsMax = 64
/** Hosts with many interfaces send a dozen or two. */
export const candidatesMax = 128

export function decodeIntroduction(message: unknown): RtcIntroduction | undefined {
  if (typeof message !== 'object' || message === null) return undefined
  const { type, sdp, candidate, mid } = message as Introduction
  if (type === 'offer' || type === 'answer') {
    if (!isText(sdp, sdpCharsMax) || !sdp.startsWith('v=0') || fingerprintOf(sdp) === undefined) return undefined
    return { type, sdp }
  }
  if (type === 'candidate') {
    if (!isText(candidate, candidateCharsMax) || !isText(mid, midCharsMax)) return undefined
    return /^(a=)?candidate:[\x20-\x7e]+$/.test(candidate) ? { type, candidate, mid } : undefined
  }
  return undefined
}

/**
 * Checks the order of one attempt's incoming introductions: `undefined` is fine, a text says what is wrong. The initiator
 * expects one answer, the other side one offer.
 */
export function introductionChecker(initiator: boolean): (message: RtcIntroduction) => string | undefined {
  const expected = initiator ? 'answer' : 'offer'
  let described = false
  let candidates = 0
  return message => {
    if (message.type === 'candidate') {
      candidates++
      return candidates > candidatesMax ? 'too many candidates' : undefined
    }
    if (message.type !== expected) return `unexpected ${message.type}`
    if (described) return `second ${message.type}`
    described = true
    return undefined
  }
}

const isText = (value: unknown, charsMax: number): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= charsMax
