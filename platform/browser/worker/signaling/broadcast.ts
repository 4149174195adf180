/**
 * The Rendezvous of tabs of one origin: a BroadcastChannel named `harmonydb:room:<room>`, in a worker or on a page. Nothing else is
 * needed: no server, no network.
 *
 * A message is { to, from, message }; who it is not for ignores it. Anything may write into the channel that runs on this origin, so
 * the envelope is checked. `from` is taken as it is: peers prove who they are over the link.
 */
import { HarmonyError } from '../../../../src/base/errors.ts'
import { isId128 } from '../../../../src/base/ids.ts'
import type { Rendezvous } from '../../../../src/platform.ts'
import { isRoom } from '../../../network/signal-wire.ts'

export const broadcastName = (room: string): string => `harmonydb:room:${room}`

export function createBroadcastRendezvous(): Rendezvous {
  return {
    connect(room, self, events) {
      if (!isRoom(room)) throw new HarmonyError('VALIDATION', 'a room name has 1 to 128 characters')
      const channel = new BroadcastChannel(broadcastName(room))
      let closed = false
      channel.onmessage = ({ data }: MessageEvent<unknown>) => {
        if (closed || typeof data !== 'object' || data === null) return
        const { to, from, message } = data as Record<string, unknown>
        if (!isId128(from) || from === self || (to !== '*' && to !== self)) return
        events.onMessage(from, message)
      }
      // Later: nothing is told before the caller holds the session.
      queueMicrotask(() => {
        if (!closed) events.onState('open', 'this browser')
      })
      return {
        send(to, message) {
          if (closed) return
          try {
            channel.postMessage({ to, from: self, message })
          } catch {
            // It cannot be cloned; a rendezvous may lose what it is given.
          }
        },
        close() {
          if (closed) return
          closed = true
          channel.onmessage = null
          channel.close()
        },
      }
    },
  }
}
