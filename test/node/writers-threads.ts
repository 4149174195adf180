/**
 * The threads of `writers.test.ts`, whatever their host is: an owner, which opens one section after the other, writes in it as one of several, closes it
 * and looks at everything; writers; readers, which read all the while.
 */
import { compareBytes } from '../../src/base/bytes.ts'
import { seededRandom } from '../../src/base/random.ts'
import { BTree } from '../../src/storage/btree.ts'
import { BufferPool } from '../../src/storage/buffer-pool.ts'
import type { SharedPool } from '../../src/storage/pool-memory.ts'
import { SharedTreeReader } from '../../src/storage/shared-reader.ts'
import type { SharedSection } from '../../src/storage/shared-section.ts'
import { SharedTreeWriter } from '../../src/storage/shared-writer.ts'
import { MemorySource } from '../unit/storage/memory-source.ts'
import { nameOf, type PlannedChange, ReaderChecks, WriterPlan } from './writers-oracle.ts'

export interface OwnerOrder {
  readonly seed: number
  readonly ms: number
  readonly frames: number
  readonly pageBytes: number
  readonly longMax: number
  /** The owner is one of them. */
  readonly writers: number
  readonly readers: number
  readonly reserve: number
  readonly shown: boolean
}

export type ThreadOrder =
  | { readonly role: 'writer'; readonly writer: number; readonly pool: SharedPool; readonly order: OwnerOrder }
  | {
      readonly role: 'reader'
      readonly slot: number
      readonly pool: SharedPool
      readonly order: OwnerOrder
      readonly stop: SharedArrayBuffer
    }

/** Another thread: what it posts comes out of `next` in turn. */
export interface Thread {
  post(message: unknown): void
  next(): Promise<unknown>
}

export interface OwnerReport {
  readonly failures: readonly string[]
  readonly sections: number
  readonly answers: { readonly [answer: string]: number }
  readonly readers: readonly ReaderReport[]
  readonly levels: number
}

export interface ReaderReport {
  readonly reads: number
  readonly restarts: number
  readonly busy: number
  readonly misses: number
  readonly failures: readonly string[]
}

interface Written {
  readonly rest: readonly PlannedChange[]
  readonly answers: Record<string, number>
  readonly failure: string | undefined
}

/** A full look at tree and model after so many sections. */
const lookEvery = 8
const sectionsMin = 12
const lateMsMax = 30_000

export async function own(order: OwnerOrder, start: (order: ThreadOrder) => Thread): Promise<OwnerReport> {
  const { seed, ms, frames, pageBytes, longMax, writers, readers, reserve, shown } = order
  const random = seededRandom(seed)
  const source = new MemorySource(pageBytes)
  const pool = new BufferPool({ source, frames, shared: true })
  const tree = new BTree({ pool, source, root: undefined })
  const plans = Array.from({ length: writers }, (_, writer) => new WriterPlan(writer, writers, seed, longMax))
  const model = new Map<string, Uint8Array>()
  const expect = (changes: readonly PlannedChange[]): void => {
    for (const { key, value } of changes) {
      if (value === undefined) model.delete(nameOf(key))
      else model.set(nameOf(key), value)
    }
  }
  let applied = 1
  const first = plans.flatMap(plan => plan.first())
  tree.batch(first, applied).run()
  expect(first)
  const shared = pool.shared!
  const stop = new SharedArrayBuffer(4)
  const others = Array.from({ length: writers - 1 }, (_, i) =>
    start({ role: 'writer', writer: i + 1, pool: shared, order }),
  )
  const reading = Array.from({ length: readers }, (_, slot) =>
    start({ role: 'reader', slot, pool: shared, order, stop }),
  )
  await Promise.all(others.map(other => other.next()))
  const answers: Record<string, number> = {}
  const failures: string[] = []
  let [keys, sections] = [model.size, 0]
  const until = performance.now() + ms
  const found = reading.map(async reader => {
    const report = (await reader.next()) as ReaderReport
    failures.push(...report.failures)
    return report
  })
  try {
    const mayGoOn = (): boolean => {
      const lateMs = performance.now() - until
      // A busy machine gets more time to do anything at all.
      return lateMs < 0 || (sections < sectionsMin && lateMs < lateMsMax)
    }
    while (failures.length === 0 && mayGoOn()) {
      const section = tree.section({ pages: reserve, changes: 2000, writers, shown })
      if (section === undefined) throw new Error('there is no section')
      for (const other of others) other.post(section.shared)
      const planned = plans.map(plan => plan.next())
      const written = [write(shared, section.shared, planned[0]!)]
      written.push(...(await Promise.all(others.map(async other => (await other.next()) as Written))))
      failures.push(...written.flatMap(({ failure }) => failure ?? []))
      if (failures.length > 0) break
      keys += section.close().keys
      const rest = written.flatMap(one => one.rest)
      keys += tree.batch(rest, ++applied).run().keys
      for (const one of written) {
        for (const [answer, count] of Object.entries(one.answers)) answers[answer] = (answers[answer] ?? 0) + count
      }
      for (const changes of planned) expect(changes)
      sections++
      if (keys !== model.size) failures.push(`${keys} keys were counted, ${model.size} there should be`)
      if (sections % lookEvery === 0) failures.push(...differences(tree, source, model))
      // Readers need a moment of peace now and then.
      if (random.chance(0.5)) await new Promise(resolve => setTimeout(resolve, random.below(3)))
    }
    failures.push(...(failures.length === 0 ? differences(tree, source, model) : []))
  } catch (error) {
    failures.push(`${error instanceof Error ? error.stack : error}`)
  }
  Atomics.store(new Int32Array(stop), 0, 1)
  const reports = await Promise.all(found)
  const levels = failures.length === 0 ? tree.verify().run().levels : 0
  return { failures: failures.slice(0, 5), sections, answers, readers: reports, levels }
}

function differences(tree: BTree, source: MemorySource, model: ReadonlyMap<string, Uint8Array>): string[] {
  const { problems, pages } = tree.verify().run()
  const found = problems.slice(0, 3)
  if (pages.size !== source.allocated.size) found.push(`${source.allocated.size} pages, ${pages.size} in the tree`)
  let count = 0
  tree.scan(undefined, undefined, false, ({ key, keyBytes, value, valueFrom, valueTo }) => {
    count++
    const name = nameOf(key.subarray(0, keyBytes))
    const expected = model.get(name)
    if (expected === undefined) found.push(`${name} should be gone`)
    else if (compareBytes(expected, value.subarray(valueFrom, valueTo)) !== 0) found.push(`${name} has another value`)
    return found.length < 5
  })
  if (found.length === 0 && count !== model.size) found.push(`${count} keys are there, ${model.size} should be`)
  return found
}

function write(pool: SharedPool, section: SharedSection, changes: readonly PlannedChange[]): Written {
  const answers: Record<string, number> = {}
  const rest: PlannedChange[] = []
  const writer = new SharedTreeWriter(pool, section)
  const declined = new Set<string>()
  let failure: string | undefined
  try {
    if (!writer.enter()) throw new Error('the section is closed')
    for (const change of changes) {
      const answer = declined.has(change.unit) ? 'declined' : writer.write(change.key, change.value)
      answers[answer] = (answers[answer] ?? 0) + 1
      if (answer === 'lost') throw new Error('the section is lost')
      if (answer === 'done') continue
      declined.add(change.unit)
      rest.push(change)
    }
    writer.leave()
  } catch (error) {
    failure = `${error instanceof Error ? error.stack : error}`
  }
  return { answers, rest, failure }
}

/** @returns What to do with each message. */
export function serveWriter(
  { writer, pool, order }: ThreadOrder & { role: 'writer' },
  post: (message: unknown) => void,
): (section: SharedSection) => void {
  const plan = new WriterPlan(writer, order.writers, order.seed, order.longMax)
  plan.first()
  post('ready')
  return section => post(write(pool, section, plan.next()))
}

export function serveReader(
  { slot, pool, order, stop }: ThreadOrder & { role: 'reader' },
  post: (message: unknown) => void,
): void {
  const { seed, writers, shown } = order
  const stopped = new Int32Array(stop)
  const reader = new SharedTreeReader(pool, { attemptsMax: 24, maySleep: true, slot })
  const checks = new ReaderChecks(seededRandom(seed * 1000 + slot), writers, shown)
  const failures: string[] = []
  while (Atomics.load(stopped, 0) === 0 && failures.length === 0) {
    try {
      const answer = reader.read(checks.next())
      if (answer.state === 'read') checks.believed(answer.value)
    } catch (error) {
      failures.push(error instanceof Error ? error.message : `${error}`)
    }
  }
  post({ ...reader.counts, failures } satisfies ReaderReport)
}
