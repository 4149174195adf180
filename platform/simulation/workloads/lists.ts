/**
 * Workloads that the checker of `list-append` judges. A list is kept in one of two ways:
 *
 *   value    one key whose value is the list; to append is to read and to write it
 *   rows     a key for each element; to append writes one and reads nothing, and to read is a scan, in the order of versions. So an append is one step at every
 *            level, and what is read is a range.
 *
 *   list-append    transactions of up to four steps, on a few lists that are replaced when they have grown. `serializable`: half of the lists are rows; `snapshot`:
 *                  all are values, so that two that append to one list write one key; `read-committed`: all are rows, because values lose updates there
 *   long-fork      each key of a group is written once, by a transaction of its own; others read the group
 *   range-insert   who finds a range without something puts it there. A list is a place in the range, so that a place which was empty when it was looked at counts as
 *                  read. (`read-committed`: a list is the range, in rows.)
 */
import type { SeededRandom } from '../../../src/base/random.ts'
import type { Database, Isolation, Reader, Transaction } from '../../../src/index.ts'
import type { CheckedLevel } from '../../histories/list-append.ts'
import type { Fields } from '../../histories/recorder.ts'
import type { WorkloadName } from './names.ts'
import { readState, type Step, type Style, transact, transactOnce, type Workload } from './workload.ts'

type Element = number
type Append = readonly ['append', list: string, element: Element]
type Read = readonly ['read', list: string]
type Done = Append | readonly ['read', list: string, elements: readonly Element[]]

const checkedLevel: Readonly<Record<Isolation, CheckedLevel>> = {
  serializable: 'strict-serializable',
  snapshot: 'snapshot',
  'read-committed': 'read-committed',
}

abstract class Lists implements Workload {
  readonly check: { readonly model: 'list-append'; readonly level: CheckedLevel }
  readonly allowsAll = false
  protected readonly style: Style
  protected readonly random: SeededRandom
  protected readonly isolation: Isolation
  /** All that ever were. */
  protected readonly lists: string[] = []
  private elements = 0
  private readonly acknowledged = new Map<string, Set<Element>>()
  private seenLast: ReadonlyMap<string, readonly Element[]> | undefined

  constructor(style: Style) {
    this.style = style
    this.random = style.random
    this.isolation = style.isolation
    this.check = { model: 'list-append', level: checkedLevel[style.isolation] }
  }

  async setup(): Promise<void> {}

  abstract step(): Step

  last(): Step {
    const reads = this.lists.map((list): Read => ['read', list])
    const read = (tx: Reader): Promise<Done[]> => this.readAll(tx, reads)
    const run = (db: Database): Promise<Done[]> => db.transaction(read, { readOnly: true, timeoutMs: 30_000 })
    return {
      invoke: { txn: reads },
      run: async db => {
        const txn = await run(db)
        this.seenLast = new Map(txn.map(([, list, found]) => [list, found as readonly Element[]]))
        return { txn }
      },
    }
  }

  /** Weak levels say nothing of real time; but what was acknowledged is durable at each. */
  broken(): string | undefined {
    for (const [list, elements] of this.acknowledged) {
      const found = this.seenLast?.get(list)
      if (found === undefined) continue
      for (const element of elements) {
        if (!found.includes(element)) return `durability: ${element} was acknowledged and is not in ${list} in the end`
      }
    }
    return undefined
  }

  protected abstract isRows(list: string): boolean

  protected append(list: string): Append {
    return ['append', list, ++this.elements]
  }

  protected newList(name: string): string {
    this.lists.push(name)
    return name
  }

  protected async get(from: Reader, list: string): Promise<readonly Element[]> {
    if (!this.isRows(list)) return (await from.get<Element[]>(['list', list])) ?? []
    const rows = await from.scan({ prefix: ['row', list] }).toArray()
    const found = rows.map(({ key, version }) => ({ element: key[2] as Element, version }))
    // Its own, which have no version yet, come last.
    const order = (version: string): string => (/^0*$/.test(version) ? 'own' : version)
    found.sort((a, b) => {
      const [left, right] = [order(a.version), order(b.version)]
      return left === right ? a.element - b.element : left < right ? -1 : 1
    })
    return found.map(({ element }) => element)
  }

  protected async put(tx: Transaction, [, list, element]: Append): Promise<void> {
    if (this.isRows(list)) tx.put(['row', list, element], 'x')
    else tx.put(['list', list], [...(await this.get(tx, list)), element])
  }

  protected async perform(tx: Transaction, steps: readonly (Append | Read)[]): Promise<Done[]> {
    const done: Done[] = []
    for (const one of steps) {
      if (one[0] === 'append') {
        await this.put(tx, one)
        done.push(one)
      } else done.push(['read', one[1], await this.get(tx, one[1])])
    }
    return done
  }

  protected async readAll(from: Reader, reads: readonly Read[]): Promise<Done[]> {
    const done: Done[] = []
    for (const [, list] of reads) done.push(['read', list, await this.get(from, list)])
    return done
  }

  /** @param body What it does, drawn; what it did, for the history. */
  protected transaction(drawn: readonly (Append | Read)[], body: (tx: Transaction) => Promise<Done[]>): Step {
    let tried: readonly Done[] = []
    const run = transact(this.style, async tx => {
      tried = []
      tried = await body(tx)
      return tried
    })
    return this.told({ txn: drawn }, run, () => ({ txn: appendsOf(tried) }))
  }

  /** Appends whose transaction is repeated until its outcome is known. */
  protected once(appends: readonly Append[]): Step {
    const run = transactOnce(this.style, async tx => {
      for (const one of appends) await this.put(tx, one)
    })
    return this.told({ txn: appends }, async db => {
      await run(db)
      return appends
    })
  }

  protected reading(reads: readonly Read[]): Step {
    const run = readState(this.style, from => this.readAll(from, reads))
    return this.told({ txn: reads }, run)
  }

  protected told(invoke: Fields, run: (db: Database) => Promise<readonly Done[]>, unknown?: () => Fields): Step {
    return {
      invoke,
      run: async db => {
        const txn = await run(db)
        for (const [, list, element] of appendsOf(txn)) {
          const known = this.acknowledged.get(list)
          if (known === undefined) this.acknowledged.set(list, new Set([element]))
          else known.add(element)
        }
        return { txn }
      },
      ...(unknown === undefined ? {} : { unknown }),
    }
  }
}

const appendsOf = (done: readonly Done[]): Append[] => done.filter((one): one is Append => one[0] === 'append')

const activeLists = 4
const appendsMax = 12

class ListAppend extends Lists {
  private readonly active: { name: string; appends: number }[] = []

  step(): Step {
    const { random } = this
    while (this.active.length < activeLists) this.active.push(this.begun())
    if (random.chance(0.2)) return this.reading(this.some(2).map((list): Read => ['read', list]))
    if (random.chance(0.12)) return this.once(this.some(2).map(list => this.append(list)))
    const steps: (Append | Read)[] = []
    for (let left = 1 + random.below(4); left > 0; left--) {
      const at = random.below(activeLists)
      const list = this.active[at]!
      if (random.chance(0.5)) {
        steps.push(['read', list.name])
        continue
      }
      steps.push(this.append(list.name))
      if (++list.appends >= appendsMax) this.active[at] = this.begun()
    }
    return this.transaction(steps, tx => this.perform(tx, steps))
  }

  protected isRows(list: string): boolean {
    if (this.isolation === 'serializable') return list.endsWith('rows')
    return this.isolation === 'read-committed'
  }

  private begun(): { name: string; appends: number } {
    const n = this.lists.length
    return { name: this.newList(n % 2 === 0 ? `${n} rows` : `${n}`), appends: 0 }
  }

  /** Different ones, at least one. */
  private some(most: number): string[] {
    const names = this.active.map(({ name }) => name)
    return Array.from(new Set(Array.from({ length: 1 + this.random.below(most) }, () => this.random.pick(names))))
  }
}

const groupKeys = 3
const groupReads = 6

class LongFork extends Lists {
  private unwritten: string[] = []
  private group: string[] = []
  private before: string[] = []
  private reads = 0

  step(): Step {
    const { random } = this
    if (this.unwritten.length === 0 && this.reads === 0) this.next()
    if (this.unwritten.length > 0 && random.chance(0.35)) {
      const appends = [this.append(this.unwritten.pop()!)]
      return this.transaction(appends, tx => this.perform(tx, appends))
    }
    if (this.reads > 0) this.reads--
    const group = this.before.length > 0 && random.chance(0.15) ? this.before : this.group
    const order = [...group]
    random.shuffle(order)
    const reads = order.map((list): Read => ['read', list])
    // At read-committed each get is a statement of its own, which may fork.
    if (random.chance(0.5)) return this.transaction(reads, tx => this.perform(tx, reads))
    return this.reading(reads)
  }

  /** Written once and never read before: no append is lost. */
  protected isRows(): boolean {
    return false
  }

  protected override async put(tx: Transaction, [, list, element]: Append): Promise<void> {
    tx.put(['list', list], [element])
  }

  private next(): void {
    const n = this.lists.length / groupKeys
    this.before = this.group
    this.group = Array.from({ length: groupKeys }, (_, at) => this.newList(`${n}.${at}`))
    this.unwritten = [...this.group]
    this.random.shuffle(this.unwritten)
    this.reads = groupReads
  }
}

const places = 6
const insertsMax = 8

class RangeInsert extends Lists {
  private range = -1
  private inserts = insertsMax

  step(): Step {
    const { random } = this
    if (this.inserts >= insertsMax) this.next()
    const { range } = this
    if (this.isolation === 'read-committed') return this.intoRows(`${range}`)
    const start = random.chance(0.5) ? 0 : random.below(places)
    const end = random.chance(0.5) ? places : start + random.below(places - start + 1)
    const seen = Array.from({ length: end - start }, (_, at) => start + at)
    const reads = seen.map((place): Read => ['read', placeOf(range, place)])
    if (random.chance(0.2))
      return this.told(
        { txn: reads },
        readState(this.style, from => this.look(from, range, start, end)),
      )
    const place = random.below(places)
    const insert = this.append(placeOf(range, place))
    this.inserts++
    const always = random.chance(0.5)
    return this.transaction([...reads, insert], async tx => {
      const done = await this.look(tx, range, start, end)
      if (!always && done.some(([, , found]) => (found as readonly Element[]).length > 0)) return done
      await this.put(tx, insert)
      // Its own is in its place in the range, too.
      return [...done, insert, ...(await this.look(tx, range, start, end))]
    })
  }

  protected isRows(): boolean {
    return this.isolation === 'read-committed'
  }

  protected override async get(from: Reader, list: string): Promise<readonly Element[]> {
    if (this.isRows()) return super.get(from, list)
    const [range, place] = list.split('.').map(Number) as [number, number]
    return (await from.get<Element[]>(['range', range, place])) ?? []
  }

  protected override async put(tx: Transaction, append: Append): Promise<void> {
    if (this.isRows()) return super.put(tx, append)
    const [, list, element] = append
    const [range, place] = list.split('.').map(Number) as [number, number]
    tx.put(['range', range, place], [...(await this.get(tx, list)), element])
  }

  private intoRows(list: string): Step {
    const { random } = this
    const read: Read = ['read', list]
    if (random.chance(0.2)) return this.reading([read])
    const insert = this.append(list)
    this.inserts++
    const steps = [read, insert, read]
    return this.transaction(steps, tx => this.perform(tx, steps))
  }

  /** Every place from `start` to before `end`, in some direction. */
  private async look(from: Reader, range: number, start: number, end: number): Promise<Done[]> {
    const reverse = (start + end) % 2 === 1
    const bounds = { start: ['range', range, start], end: ['range', range, end] }
    const entries = start < end ? await from.scan<Element[]>(bounds, { reverse }).toArray() : []
    const found = new Map(entries.map(({ key, value }) => [key[2] as number, value]))
    return Array.from({ length: end - start }, (_, at): Done => {
      const place = start + at
      return ['read', placeOf(range, place), found.get(place) ?? []]
    })
  }

  private next(): void {
    this.range++
    this.inserts = 0
    if (this.isRows()) this.newList(`${this.range}`)
    else for (let place = 0; place < places; place++) this.newList(placeOf(this.range, place))
  }
}

const placeOf = (range: number, place: number): string => `${range}.${place}`

const kinds = { 'list-append': ListAppend, 'long-fork': LongFork, 'range-insert': RangeInsert }

export const listWorkload = (name: Extract<WorkloadName, keyof typeof kinds>, style: Style): Workload =>
  new kinds[name](style)
