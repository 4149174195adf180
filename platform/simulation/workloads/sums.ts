/**
 * Workloads of which a number is known.
 *
 *   bank      transfers between a few accounts; who reads adds them up. An account that is empty is deleted, and some transfers find the accounts by a scan: so
 *             keys come and go, and are read by range only.
 *   counter   additions to one number, by reading and writing it
 *
 * Both lose updates at `read-committed`, which is what that level allows.
 */
import type { Database, Range, Reader, Transaction } from '../../../src/index.ts'
import type { Fields } from '../../histories/recorder.ts'
import { readState, type Step, type Style, transact, transactOnce, type Workload } from './workload.ts'

const accounts = 5
const opening = 20

export class Bank implements Workload {
  readonly check = { model: 'bank' } as const
  readonly allowsAll: boolean
  private readonly style: Style
  private overdrawn: string | undefined

  constructor(style: Style) {
    this.style = style
    this.allowsAll = style.isolation === 'read-committed'
  }

  async setup(db: Database): Promise<void> {
    const every = Array.from({ length: accounts }, (_, account) => account)
    await db.batch(every.map(account => ({ type: 'put', key: ['account', account], value: opening }) as const))
  }

  step(): Step {
    const { style } = this
    const { random } = style
    if (random.chance(0.35)) return this.reading(readState(style, from => balances(from)))
    const [from, to] = [random.below(accounts), random.below(accounts)]
    // All of it, often: then the account is deleted.
    const amount = random.chance(0.4) ? undefined : 1 + random.below(opening)
    const byScan = random.chance(0.5)
    const forUpdate = random.chance(0.2)
    // Not all of them, so that an account may go from the range, and the money to where the scan did not look.
    const [low, high] = [random.below(from + 1), random.between(from + 1, accounts)]
    const transfer = async (tx: Transaction): Promise<void> => {
      const range = { start: ['account', low], end: ['account', high] }
      const found = byScan ? await balances(tx, range, forUpdate) : await some(tx, [from, to], forUpdate)
      if (byScan && (to < low || to >= high)) found[to] = (await tx.get<number>(['account', to], { forUpdate })) ?? 0
      const has = found[from] ?? 0
      const moved = amount ?? has
      if (from === to || moved === 0 || has < moved) return
      if (has === moved) tx.delete(['account', from])
      else tx.put(['account', from], has - moved)
      tx.put(['account', to], (found[to] ?? 0) + moved)
    }
    const run = random.chance(0.2) ? transactOnce(style, transfer) : transact(style, transfer)
    return changing({ op: 'transfer' }, run)
  }

  last(): Step {
    return this.reading(db => db.transaction(tx => balances(tx), { readOnly: true }))
  }

  broken(): string | undefined {
    return this.allowsAll ? undefined : this.overdrawn
  }

  private reading(run: (db: Database) => Promise<Balances>): Step {
    return {
      invoke: { op: 'read' },
      run: async db => {
        const value = await run(db)
        if (Object.values(value).some(one => one <= 0)) this.overdrawn ??= `overdraft: ${JSON.stringify(value)}`
        return { value }
      },
    }
  }
}

type Balances = Record<number, number>

async function balances(
  from: Reader | Transaction,
  range: Range = { prefix: 'account' },
  forUpdate = false,
): Promise<Balances> {
  const found = await from.scan<number>(range, forUpdate ? { forUpdate } : {}).toArray()
  return Object.fromEntries(found.map(({ key, value }) => [key[1], value]))
}

async function some(tx: Transaction, of: readonly number[], forUpdate: boolean): Promise<Balances> {
  const values = await tx.getMany<number>(
    of.map(account => ['account', account]),
    { forUpdate },
  )
  return Object.fromEntries(of.map((account, at) => [account, values[at] ?? 0]))
}

export class Counter implements Workload {
  readonly check = { model: 'counter' } as const
  readonly allowsAll: boolean
  private readonly style: Style

  constructor(style: Style) {
    this.style = style
    this.allowsAll = style.isolation === 'read-committed'
  }

  async setup(): Promise<void> {}

  step(): Step {
    const { style } = this
    const { random } = style
    if (random.chance(0.3)) return reading(random.chance(0.3) ? db => count(db) : readState(style, count))
    const by = random.pick([1, 1, 2, 5, -2])
    const forUpdate = random.chance(0.3)
    const add = async (tx: Transaction): Promise<void> => {
      const before = forUpdate ? await tx.get<number>('count', { forUpdate }) : await count(tx)
      tx.put('count', (before ?? 0) + by)
    }
    const run = random.chance(0.3) ? transactOnce(style, add) : transact(style, add)
    return changing({ op: 'add', by }, run)
  }

  last(): Step {
    return reading(db => db.transaction(count, { readOnly: true }))
  }
}

/** Its answer tells nothing but that it was done. */
const changing = (invoke: Fields, run: (db: Database) => Promise<void>): Step => ({
  invoke,
  run: async db => {
    await run(db)
    return {}
  },
})

const count = async (from: Reader): Promise<number> => (await from.get<number>('count')) ?? 0

const reading = (run: (db: Database) => Promise<number>): Step => ({
  invoke: { op: 'read' },
  run: async db => ({ value: await run(db) }),
})
