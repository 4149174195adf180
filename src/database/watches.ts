/** The watches of a core, by name: so that they can be spoken of across a worker boundary. */
import { HarmonyError } from '../base/errors.ts'
import type { Clients } from '../cluster/clients.ts'
import { type Watcher, watchersMax } from '../cluster/watchers.ts'
import { parseVersion, versionOf } from '../mvcc/versioned.ts'
import type { CoreWatch, CoreWatching } from './core.ts'
import { invalid, shown } from './options.ts'
import { packBatches } from './watch-batches.ts'

export class Watches {
  private clients: Clients
  private readonly open = new Map<string, Watcher>()
  private next = 1

  constructor(clients: Clients) {
    this.clients = clients
  }

  /** Another peer goes on: what was open has ended with the one before. */
  moveTo(clients: Clients): void {
    this.clients = clients
    this.open.clear()
  }

  /** Errors: VALIDATION (`since` is no version), TIMEOUT, NO_QUORUM, CLOSED, TOO_LARGE. */
  start({ ranges, since, timeoutMs }: CoreWatch): Promise<CoreWatching> {
    const after = since === undefined ? undefined : parseVersion(since)
    if (since !== undefined && after === undefined)
      return Promise.reject(invalid(`since must be a version of this database, not ${shown(since)}`))
    return new Promise((resolve, reject) => {
      this.clients.watchFrom(after, timeoutMs, start => {
        if (start instanceof HarmonyError) return reject(start)
        const { watchers } = this.clients
        if (watchers.size >= watchersMax)
          return reject(new HarmonyError('TOO_LARGE', `there are ${watchersMax} watches here already; end some`))
        const watch = `${this.next++}`
        this.open.set(watch, watchers.open(ranges, start))
        resolve({ watch, version: versionOf(start.at) })
      })
    })
  }

  /** Packed batches (`watch-batches.ts`). Errors: CLOSED, and what stopped the peer. */
  more(watch: string): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const watcher = this.open.get(watch)
      if (watcher === undefined) return reject(new HarmonyError('CLOSED', 'this watch has ended'))
      watcher.next(result => {
        if (result instanceof HarmonyError) {
          this.open.delete(watch)
          watcher.close()
          reject(result)
        } else resolve(packBatches(result.map(({ at, resync, ops }) => ({ version: at, resync, ops }))))
      })
    })
  }

  end(watch: string): void {
    this.open.get(watch)?.close()
    this.open.delete(watch)
  }
}
