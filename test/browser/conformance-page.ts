/** Runs in the page: starts the suites in a worker or here, and checks what a killed worker had written. */

import { releasing } from '../../platform/browser/worker/open-core.ts'
import { createOrphanSlots } from '../../platform/browser/worker/orphan-slots.ts'
import { claimSlot, type Slot } from '../../platform/browser/worker/slot.ts'
import type { Directory } from '../../src/platform.ts'
import { answer, check, checkEqual, pollUntil, type RuleOutcome, runRules } from '../conformance/rule.ts'
import { type Owner, slotsRules } from '../conformance/slots-suite.ts'
import { openLog, openPages, pattern, read, success } from '../conformance/storage-harness.ts'
import { openStorage, runAll, runFull, type StorageKind } from './conformance-harness.ts'

const waiting = { until: pollUntil, dispose: async () => {} }

declare global {
  /** Given by the test: the origin's quota is as it was. */
  var liftQuota: () => Promise<void>
}

export function inPage(): Promise<RuleOutcome[]> {
  return runAll('indexeddb')
}

export function whenFull(id: string): Promise<RuleOutcome[]> {
  return runFull(id, () => globalThis.liftQuota())
}

/** Slots in IndexedDB; two tabs' worth of them in one page, as each has its own. */
export function slotsInPage(): Promise<RuleOutcome[]> {
  let names = 0
  return runRules(slotsRules, async () => {
    const name = `slots ${names++}`
    const open = async (slot: Slot): Promise<Directory> => {
      const directory = await success(openStorage(slot.storeName))
      return releasing(directory, () => slot.release())
    }
    const ownerOf = async (slot: Slot): Promise<Owner> => {
      const directory = await open(slot)
      const pages = await openPages(waiting, directory)
      pages.write(0, new Uint8Array(pages.sectorBytes))
      await new Promise(done => pages.sync(done))
      return { slot: slot.index, die: () => new Promise(done => directory.close(() => done())) }
    }
    return {
      ...waiting,
      slots: [createOrphanSlots(name, open), createOrphanSlots(name, open)] as const,
      owner: async () => ownerOf(await claimSlot(name, [])),
      claim: async slot => ownerOf(await claimSlot(name, [slot])),
    }
  })
}

/** Two tabs that remember nothing claim a slot at once, while a third has adopted two. Which they got, and after how long. */
export async function claimTwoAtOnce(): Promise<{ slots: number[]; ms: number }> {
  const name = 'two at once'
  const open = async (slot: Slot): Promise<Directory> =>
    releasing(await success(openStorage(slot.storeName)), () => slot.release())
  const stores = [await claimSlot(name, []), await claimSlot(name, [])]
  for (const slot of stores) {
    const directory = await open(slot)
    const pages = await openPages(waiting, directory)
    pages.write(0, new Uint8Array(pages.sectorBytes))
    await new Promise(done => pages.sync(done))
    await new Promise<void>(done => directory.close(() => done()))
  }
  const adopter = createOrphanSlots(name, open)
  for (const { index } of stores) {
    let giveBack = (): void => {}
    const events = { onWanted: () => giveBack(), onLost: () => {} }
    const directory = await success<Directory | undefined>(
      answer(waiting, 'taking', done => adopter.take(index, events, done)),
    )
    giveBack = () => directory?.close(() => {})
  }
  const beganMs = performance.now()
  const claimed = await Promise.all([claimSlot(name, []), claimSlot(name, [])])
  return { slots: claimed.map(slot => slot.index).sort(), ms: performance.now() - beganMs }
}

export function inWorker(kind: StorageKind): Promise<RuleOutcome[]> {
  const worker = new Worker(new URL('./conformance-worker.ts', import.meta.url), { type: 'module' })
  return new Promise((resolve, reject) => {
    worker.onerror = event => reject(new Error(event.message))
    worker.onmessage = ({ data }) => {
      if (data.outcomes !== undefined) resolve(data.outcomes)
      else reject(new Error(data.error))
    }
    worker.postMessage(kind)
  })
}

/** Kills a worker in the middle of its writing; returns after how many acknowledged rounds, all of which were found again. */
export async function killedInTheMiddle(rounds: number): Promise<number> {
  const name = `killed/${rounds}`
  const worker = new Worker(new URL('./storage-worker.ts', import.meta.url), { type: 'module' })
  let acknowledged = -1
  worker.onmessage = event => {
    acknowledged = event.data
  }
  worker.postMessage(name)
  await pollUntil(() => acknowledged >= rounds, 'enough rounds', 30_000)
  worker.terminate()
  const last = acknowledged
  const directory = await success(openStorage(name))
  const log = await openLog(waiting, directory)
  check(log.end >= (last + 1) * 20_000, `the log ends at ${log.end}, ${last + 1} rounds were acknowledged`)
  for (let i = 0; i < (last + 1) * 20; i++) {
    checkEqual(await read(waiting, log, i * 1_000, 1_000), pattern(i, 1_000), `record ${i}`)
  }
  const pages = await openPages(waiting, directory)
  const page = pages.pageBytesPreferred
  for (let round = Math.max(0, last - 40); round <= last; round++) {
    const found = await read(waiting, pages, (round % 50) * page, page)
    checkEqual(found, pattern(round, page), `page of round ${round}`)
  }
  await new Promise<void>(done => directory.close(() => done()))
  return last + 1
}

/** Pitfall 23: the database is deleted under an open directory. */
export async function deletedUnderneath(): Promise<string[]> {
  const directory = await success(openStorage('deleted'))
  const log = await openLog(waiting, directory)
  const code = () => new Promise<string>(done => log.sync(error => done(error?.code ?? 'done')))
  log.append(pattern(1, 100))
  const heard = [await code()]
  await new Promise<void>((resolve, reject) => {
    const request = indexedDB.deleteDatabase('deleted')
    request.onsuccess = () => resolve()
    request.onerror = () => reject(request.error)
  })
  log.append(pattern(2, 100))
  heard.push(await code())
  heard.push(await new Promise<string>(done => log.read(0, 10, result => done(result.ok ? 'done' : result.error.code))))
  heard.push(await new Promise<string>(done => directory.close(error => done(error?.code ?? 'done'))))
  return heard
}

/** Databases that are not ours, newer, or damaged. */
export async function strangers(): Promise<string[]> {
  const make = (name: string, version: number, upgrade: (db: IDBDatabase) => void): Promise<void> =>
    new Promise((resolve, reject) => {
      const request = indexedDB.open(name, version)
      request.onupgradeneeded = () => upgrade(request.result)
      request.onsuccess = () => {
        request.result.close()
        resolve()
      }
      request.onerror = () => reject(request.error)
    })
  await make('foreign', 1, db => db.createObjectStore('pictures'))
  await make('newer', 9, () => {})
  const codes: string[] = []
  for (const name of ['foreign', 'newer']) {
    const result = await openStorage(name)
    codes.push(result.ok ? 'opened' : result.error.code)
  }
  return codes
}

/** A record of the log, or what is in it, goes missing. */
export async function damaged(): Promise<string[]> {
  const codes: string[] = []
  for (const which of ['last', 'middle', 'kind'] as const) {
    const name = `damaged/${which}`
    const directory = await success(openStorage(name))
    const log = await openLog(waiting, directory)
    for (let i = 0; i < 3; i++) {
      log.append(pattern(i, 1_000))
      await new Promise<void>(done => log.sync(() => done()))
    }
    await new Promise<void>(done => directory.close(() => done()))
    await new Promise<void>(resolve => {
      const request = indexedDB.open(name)
      request.onsuccess = () => {
        const db = request.result
        const transaction = db.transaction('log', 'readwrite')
        const store = transaction.objectStore('log')
        if (which === 'kind') store.put('a text', ['log', 1_000])
        else store.delete(['log', which === 'last' ? 2_000 : 1_000])
        transaction.oncomplete = () => {
          db.close()
          resolve()
        }
      }
    })
    const again = await success(openStorage(name))
    const opened = await new Promise<string>(done =>
      again.openLog('log', result => {
        if (!result.ok) return done(`open ${result.error.code}`)
        result.value.read(500, 2_000, part => done(part.ok ? 'read' : `read ${part.error.code}`))
      }),
    )
    codes.push(opened)
    await new Promise<void>(done => again.close(() => done()))
  }
  return codes
}
