/**
 * The FoundingLock of tabs of one origin: a Web Lock named `harmonydb:found:<room>`, in a worker or on a page. The browser
 * frees it when its holder ends, however that happens. Where there are no Web Locks (an opaque origin), it is granted at once.
 */
import type { FoundingLock } from '../../../../src/platform.ts'

export const foundingLockName = (room: string): string => `harmonydb:found:${room}`

export function createFoundingLock(): FoundingLock {
  return {
    acquire(room, granted) {
      const waiting = new AbortController()
      let given = false
      /** Holds the lock until `granted`'s release is called. */
      const hold = (): Promise<void> =>
        new Promise(release => {
          if (waiting.signal.aborted) return release()
          given = true
          granted(() => release())
        })
      const locks = navigator.locks as LockManager | undefined
      if (locks === undefined) {
        queueMicrotask(() => void hold())
      } else {
        locks.request(foundingLockName(room), { signal: waiting.signal }, hold).catch(() => {
          // Refused (an opaque origin): nobody else can get it either. Or aborted: then `hold` does nothing.
          if (!given) void hold()
        })
      }
      return () => {
        if (!given) waiting.abort()
      }
    },
  }
}
