/** The `iceServers` of a W3C RTCConfiguration, as the native library wants them. */
import type { IceServer } from 'node-datachannel'
import { HarmonyError } from '../../../src/base/errors.ts'
import type { RtcOptions } from '../../network/rtc-transport.ts'

const form = /^(stun|stuns|turn|turns):(\[[0-9a-fA-F:.]+\]|[^:?[\]]+)(?::(\d{1,5}))?(?:\?transport=(udp|tcp))?$/

/** @throws HarmonyError VALIDATION for an address that no ICE agent understands. */
export function nativeIceServers(rtc: RtcOptions): IceServer[] {
  const servers: IceServer[] = []
  for (const { urls, username, credential } of rtc.iceServers ?? []) {
    for (const url of typeof urls === 'string' ? [urls] : urls) {
      const match = form.exec(url)
      const port = match?.[3] === undefined ? undefined : Number(match[3])
      if (match === null || (port !== undefined && (port < 1 || port > 65_535))) {
        throw new HarmonyError('VALIDATION', `"${url}" is not an ICE server: write stun:host:port or turn:host:port`)
      }
      const secure = match[1]!.endsWith('s')
      const hostname = match[2]!.replace(/^\[|\]$/g, '')
      const relay = match[1]!.startsWith('turn')
      if (relay && (username === undefined || credential === undefined)) {
        throw new HarmonyError('VALIDATION', `the ICE server "${url}" needs a username and a credential`)
      }
      servers.push({
        hostname,
        port: port ?? (secure ? 5349 : 3478),
        ...(relay ? { username: username!, password: credential! } : {}),
        ...(relay ? { relayType: secure ? 'TurnTls' : match[4] === 'tcp' ? 'TurnTcp' : 'TurnUdp' } : {}),
      })
    }
  }
  return servers
}
