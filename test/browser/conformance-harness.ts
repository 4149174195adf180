/** IndexedDB and a browser's clock under the conformance suites, in a worker or on a page. */
import { browserClock, browserRandom } from '../../platform/browser/worker/host.ts'
import { openDirectory } from '../../platform/browser/worker/storage/directory.ts'
import { openOpfsDirectory } from '../../platform/browser/worker/storage/opfs-directory.ts'
import type { Directory, Result } from '../../src/platform.ts'
import { type ClockHarness, clockRules } from '../conformance/clock-suite.ts'
import { directoryRules } from '../conformance/directory-suite.ts'
import { logFileRules } from '../conformance/log-file-suite.ts'
import { pageFileRules } from '../conformance/page-file-suite.ts'
import { answer, pollUntil, type RuleOutcome, runRules } from '../conformance/rule.ts'
import { type StorageHarness, success } from '../conformance/storage-harness.ts'

const waiting = { until: pollUntil, dispose: async () => {} }

export type StorageKind = 'indexeddb' | 'opfs'

export const openStorage = (name: string, kind: StorageKind = 'indexeddb'): Promise<Result<Directory>> =>
  answer(waiting, 'open directory', done =>
    kind === 'opfs' ? openOpfsDirectory(name.split('/'), done) : openDirectory(name, done),
  )

const closing = (directory: Directory): Promise<void> => new Promise(done => directory.close(() => done()))

/** The next transaction that writes is aborted, as the browser does when its storage fails. */
function abortNextWrite(): void {
  const prototype = IDBDatabase.prototype
  const { transaction } = prototype
  prototype.transaction = function (this: IDBDatabase, ...args: Parameters<IDBDatabase['transaction']>) {
    const made = transaction.apply(this, args)
    if (made.mode === 'readwrite') {
      prototype.transaction = transaction
      // After its requests were made.
      setTimeout(() => {
        try {
          made.abort()
        } catch {
          // Too late: the rule will find that nothing failed.
        }
      })
      // Keeps it open until then.
      const keep = (): void => {
        try {
          made.objectStore(made.objectStoreNames[0]!).count().onsuccess = keep
        } catch {
          // Aborted.
        }
      }
      keep()
    }
    return made
  }
}

/** The next flush of a file fails. */
function failNextFlush(): void {
  // Workers have it, and what this is compiled for does not.
  const { prototype } = (globalThis as unknown as { FileSystemSyncAccessHandle: { prototype: { flush(): void } } })
    .FileSystemSyncAccessHandle
  const { flush } = prototype
  prototype.flush = () => {
    prototype.flush = flush
    throw new DOMException('the disk is gone', 'InvalidStateError')
  }
}

let names = 0

/** @param full The origin has little space from the start, and `lift` ends that. */
async function storage(kind: StorageKind, full?: { lift(): Promise<void> }): Promise<StorageHarness> {
  const name = `conformance/${names++}`
  let current: Directory | undefined
  const open = async () => {
    current = await success(openStorage(name, kind))
    return current
  }
  return {
    open,
    async reopen(directory) {
      await closing(directory)
      await full?.lift()
      return open()
    },
    failNextSync: kind === 'opfs' ? failNextFlush : abortNextWrite,
    // A quota that falls is noticed after half a minute only: so it is small from the start.
    ...(full === undefined ? {} : { fillUp: () => {} }),
    until: pollUntil,
    async dispose() {
      if (current !== undefined) await closing(current)
      if (kind === 'indexeddb') indexedDB.deleteDatabase(name)
      else {
        // Not there where a rule was left out.
        const root = await navigator.storage.getDirectory()
        await root.removeEntry('conformance', { recursive: true }).catch(() => {})
      }
    },
  }
}

async function clocks(): Promise<ClockHarness> {
  return {
    clock: browserClock,
    random: browserRandom,
    asHostWork(run) {
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = () => {
        port1.close()
        run()
      }
      port2.postMessage(undefined)
    },
    ...waiting,
  }
}

const storageRules = [...logFileRules, ...pageFileRules, ...directoryRules]

export async function runAll(kind: StorageKind): Promise<RuleOutcome[]> {
  return [...(await runRules(storageRules, () => storage(kind))), ...(await runRules(clockRules, clocks))]
}

/** Those about a full disk, on an origin that has next to no space until `lift`. */
export function runFull(id: string, lift: () => Promise<void>): Promise<RuleOutcome[]> {
  const rules = storageRules.filter(rule => rule.id === id && rule.needs?.includes('fillUp'))
  return runRules(rules, () => storage('indexeddb', { lift }))
}
