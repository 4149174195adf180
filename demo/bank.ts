/**
 * A bank on the database: money moves, and is neither made nor lost. What each isolation level makes of two transactions at once can be tried, and two that lock in
 * opposite orders. Everything here is the public interface, as an application would use it.
 */
import { isHarmonyError } from 'harmonydb'
import type { Database, DeadlockPolicy, Isolation, Key, TransactionOptions } from '../src/database/types.ts'

const owners = ['Ada', 'Bea', 'Cleo', 'Dora', 'Elsa', 'Fay', 'Gwen', 'Hedy'] as const
const openingBalance = 100
export const openingTotal = owners.length * openingBalance

const account = (owner: string): Key => ['bank', 'account', owner]
const opened: Key = ['bank', 'opened']

export interface Balance {
  readonly owner: string
  readonly balance: number
}

export type Rules = Pick<TransactionOptions, 'isolation' | 'locking' | 'deadlocks'>

/** Once for all tabs; `anew`: every balance as at first. */
export async function openBank(db: Database, anew: boolean): Promise<void> {
  await db.transaction(async tx => {
    if (!anew && (await tx.get(opened)) !== undefined) return
    for (const owner of owners) tx.put(account(owner), openingBalance)
    tx.put(opened, true)
  })
}

/** All of one moment, as far as this tab knows. */
export async function readBalances(db: Database): Promise<Balance[]> {
  const entries = await db.scan<number>({ prefix: ['bank', 'account'] }, { consistency: 'local' }).toArray()
  return entries.map(({ key, value }) => ({ owner: String(key[2]), balance: value }))
}

export interface Transfer {
  readonly moved: boolean
  readonly attempts: number
}

/** Some amount from one owner to another one. `moved`: there was enough. */
export async function transferAtRandom(db: Database, rules: Rules, signal: AbortSignal): Promise<Transfer> {
  const from = Math.floor(Math.random() * owners.length)
  const to = (from + 1 + Math.floor(Math.random() * (owners.length - 1))) % owners.length
  const amount = 1 + Math.floor(Math.random() * 40)
  let attempts = 0
  const moved = await db.transaction(
    async tx => {
      attempts++
      const [had = 0, has = 0] = [
        await tx.get<number>(account(owners[from]!), forUpdateIf(rules)),
        await tx.get<number>(account(owners[to]!), forUpdateIf(rules)),
      ]
      if (had < amount) return false
      tx.put(account(owners[from]!), had - amount)
      tx.put(account(owners[to]!), has + amount)
      return true
    },
    { ...rules, signal },
  )
  return { moved, attempts }
}

/** What will be written is locked as such: to lock it shared and then exclusively is a deadlock with everybody who does the same. */
const forUpdateIf = ({ locking }: Rules) => ({ forUpdate: locking === 'pessimistic' })

const checking: Key = ['bank', 'joint', 'checking']
const savings: Key = ['bank', 'joint', 'savings']
const jointWithdrawal = 150

export interface Withdrawals {
  /** Of those two that were let through. */
  readonly granted: number
  readonly together: number
}

/**
 * A joint account in two parts with 100 each, which may not be below zero together. Two withdrawals of 150 at the same moment, one from each part: each looks at both parts first.
 */
export async function withdrawTwice(db: Database, isolation: Isolation, lookMs: number): Promise<Withdrawals> {
  await db.batch([checking, savings].map(key => ({ type: 'put', key, value: 100 }) as const))
  const withdraw = (from: Key): Promise<boolean> =>
    db.transaction(
      async tx => {
        const [a = 0, b = 0] = await tx.getMany<number>([checking, savings])
        // As long as it takes somebody to look at it.
        await new Promise(resolve => setTimeout(resolve, lookMs))
        if (a + b < jointWithdrawal) return false
        tx.put(from, (from === checking ? a : b) - jointWithdrawal)
        return true
      },
      { isolation },
    )
  const granted = await Promise.all([withdraw(checking), withdraw(savings)])
  const [a = 0, b = 0] = await db.getMany<number>([checking, savings])
  return { granted: granted.filter(each => each).length, together: a + b }
}

export type Side = 'lamp first' | 'chair first'

const call: Key = ['bank', 'call']

export interface Call {
  readonly side: Side
  readonly tab: string
}

/** Who locks just now, in which order: the other tabs offer the opposite one. */
export const readCall = (db: Database): Promise<Call | undefined> => db.get<Call>(call, { consistency: 'local' })

export type StepKind = 'wait' | 'has' | 'lost' | 'done'

/** Locks both, one after the other, and holds the first one for a while. Each step is told. */
export async function lockBoth(
  db: Database,
  side: Side,
  deadlocks: DeadlockPolicy,
  holdMs: number,
  told: (kind: StepKind, text: string) => void,
): Promise<void> {
  const order = side === 'lamp first' ? ['lamp', 'chair'] : ['chair', 'lamp']
  const tab = db.cluster.status().self
  await db.put(call, { side, tab } satisfies Call)
  let attempts = 0
  try {
    await db.transaction(
      async tx => {
        attempts++
        for (const [i, what] of order.entries()) {
          told('wait', `asks for the ${what}`)
          try {
            await tx.get(['bank', 'goods', what], { forUpdate: true })
          } catch (error) {
            told('lost', isHarmonyError(error) ? `${error.code}: ${error.message}` : String(error))
            throw error
          }
          told('has', `has the ${what}`)
          if (i === 0) await new Promise(resolve => setTimeout(resolve, attempts === 1 ? holdMs : holdMs / 5))
        }
        for (const what of order) tx.put(['bank', 'goods', what], tab)
      },
      { deadlocks, timeoutMs: 60_000 },
    )
    told('done', attempts === 1 ? 'bought both' : `bought both, at attempt ${attempts}`)
  } finally {
    const now = await db.getEntry<Call>(call)
    if (now?.value.tab === tab) await db.delete(call, { ifVersion: now.version }).catch(() => {})
  }
}
