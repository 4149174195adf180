/**
 * What the address of the page decides: `?room=`, `?secret=` and `?signal=` (a WebSocket address, `none`, or nothing for
 * the page's own origin). The default secret is public on purpose: it keeps nobody out, it only makes the demo start with one click.
 */

export const publicSecret = 'harmonydb-demo: this secret is public'

export interface Settings {
  readonly room: string
  readonly secret: string
  readonly secretIsPublic: boolean
  /** WebSocket signalling, beside the BroadcastChannel that joins tabs of one origin. */
  readonly signalUrl: string | undefined
  /** One store for each room: a tab that changes rooms must not carry data from one into the other. */
  readonly storeName: string
}

export function readSettings(address: URL): Settings {
  const room = address.searchParams.get('room')?.trim() || 'demo'
  const secret = address.searchParams.get('secret') || publicSecret
  return {
    room,
    secret,
    secretIsPublic: secret === publicSecret,
    signalUrl: signalUrlOf(address),
    storeName: `demo-${room.replace(/[^\w-]+/g, '_')}`,
  }
}

function signalUrlOf(address: URL): string | undefined {
  const asked = address.searchParams.get('signal')
  if (asked === 'none') return undefined
  if (asked) return asked
  if (address.protocol !== 'http:' && address.protocol !== 'https:') return undefined
  return `${address.protocol === 'https:' ? 'wss' : 'ws'}://${address.host}/signal`
}
