/** What every WebRTC transport has besides the port: ICE servers that become known when a room is joined. */
import type { Transport } from '../../src/platform.ts'

/** The part of an RTCConfiguration that all implementations understand, and that can be cloned. */
export interface RtcOptions {
  readonly iceServers?: readonly {
    readonly urls: string | readonly string[]
    readonly username?: string
    readonly credential?: string
  }[]
  readonly iceTransportPolicy?: 'all' | 'relay'
}

export interface RtcTransport extends Transport {
  /**
   * For attempts from now on; undefined: no ICE servers, the machine's own addresses alone.
   * @throws HarmonyError VALIDATION for a server that cannot be read (Node; a browser fails the attempts).
   */
  configure(rtc: RtcOptions | undefined): void
}
