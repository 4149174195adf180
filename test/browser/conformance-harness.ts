/** IndexedDB and a browser's clock under the conformance suites, in a worker or on a page. */
import { browserClock, browserRandom } from '../../platform/browser/worker/host.ts'
import { openDirectory } from '../../platform/browser/worker/storage/directory.ts'
import type { Directory, Result } from '../../src/platform.ts'
import { type ClockHarness, clockRules } from '../conformance/clock-suite.ts'
import { directoryRules } from '../conformance/directory-suite.ts'
import { logFileRules } from '../conformance/log-file-suite.ts'
import { pageFileRules } from '../conformance/page-file-suite.ts'
import { answer, pollUntil, type RuleOutcome, runRules } from '../conformance/rule.ts'
import { type StorageHarness, success } from '../conformance/storage-harness.ts'

const waiting = { until: pollUntil, dispose: async () => {} }

export const openStorage = (name: string): Promise<Result<Directory>> =>
  answer(waiting, 'open directory', done => openDirectory(name, done))

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

let names = 0

/** @param full The origin has little space from the start, and `lift` ends that. */
async function storage(full?: { lift(): Promise<void> }): Promise<StorageHarness> {
  const name = `conformance/${names++}`
  let current: Directory | undefined
  const open = async () => {
    current = await success(openStorage(name))
    return current
  }
  return {
    open,
    async reopen(directory) {
      await closing(directory)
      await full?.lift()
      return open()
    },
    failNextSync: abortNextWrite,
    // A quota that falls is noticed after half a minute only: so it is small from the start.
    ...(full === undefined ? {} : { fillUp: () => {} }),
    until: pollUntil,
    async dispose() {
      if (current !== undefined) await closing(current)
      indexedDB.deleteDatabase(name)
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

export async function runAll(): Promise<RuleOutcome[]> {
  return [...(await runRules(storageRules, () => storage())), ...(await runRules(clockRules, clocks))]
}

/** Those about a full disk, on an origin that has next to no space until `lift`. */
export function runFull(id: string, lift: () => Promise<void>): Promise<RuleOutcome[]> {
  const rules = storageRules.filter(rule => rule.id === id && rule.needs?.includes('fillUp'))
  return runRules(rules, () => storage({ lift }))
}
