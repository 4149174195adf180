import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type DeadlockPolicy,
  deadlockPolicies,
  type GaveWay,
  type LockMode,
  LockTable,
} from '../../../src/txn/lock-table.ts'
import { overlap, type Span } from '../../../src/txn/spans.ts'

const key = (from: string): Span => ({ from, to: `${from}\0` })
const range = (from: string, to: string | undefined): Span => ({ from, to })

interface Lock {
  readonly span: Span
  readonly mode: LockMode
}

/** Requests, and what came of them; each call is checked against what locks have to be. */
class Table {
  readonly held = new Map<string, Lock[]>()
  readonly waiting = new Map<string, Map<number, Lock[]>>()
  readonly gone = new Map<string, GaveWay>()
  readonly table: LockTable
  private next = 1

  constructor() {
    this.table = new LockTable({
      granted: (owner, request) => {
        const locks = this.waiting.get(owner)?.get(request)
        expect(locks, `${owner} waits for request ${request}`).toBeDefined()
        this.waiting.get(owner)!.delete(request)
        for (const lock of locks!) this.add(owner, lock)
      },
      gaveWay: (owner, why) => {
        this.gone.set(owner, why)
        if (why.type === 'deadlock') this.checkCycle(why.cycle)
        this.forget(owner)
      },
    })
  }

  ask(owner: string, age: number, policy: DeadlockPolicy, mode: LockMode, ...spans: Span[]): 'has' | 'waits' | 'gone' {
    const id = this.next++
    const locks = spans.map(span => ({ span, mode }))
    if (!this.waiting.has(owner)) this.waiting.set(owner, new Map())
    this.waiting.get(owner)!.set(id, locks)
    this.table.request({ name: owner, age, policy }, { id, mode, spans })
    if (this.gone.has(owner)) return 'gone'
    return this.waiting.get(owner)!.has(id) ? 'waits' : 'has'
  }

  release(owner: string): void {
    this.forget(owner)
    this.table.release(owner)
  }

  isWaiting(owner: string): boolean {
    return (this.waiting.get(owner)?.size ?? 0) > 0
  }

  private add(owner: string, lock: Lock): void {
    for (const [other, locks] of this.held) {
      if (other === owner) continue
      for (const theirs of locks) expect(inConflict(lock, theirs), `${owner} and ${other}`).toBe(false)
    }
    this.held.set(owner, [...(this.held.get(owner) ?? []), lock])
  }

  private forget(owner: string): void {
    this.held.delete(owner)
    this.waiting.delete(owner)
  }

  /** Each waits for something that the next has, or waits for. */
  private checkCycle(cycle: readonly string[]): void {
    expect(new Set(cycle).size).toBe(cycle.length)
    expect(cycle.length).toBeGreaterThan(1)
    for (const [i, owner] of cycle.entries()) {
      const next = cycle[(i + 1) % cycle.length]!
      const wanted = [...(this.waiting.get(owner)?.values() ?? [])].flat()
      const theirs = [...(this.held.get(next) ?? []), ...[...(this.waiting.get(next)?.values() ?? [])].flat()]
      const meets = wanted.some(lock => theirs.some(other => inConflict(lock, other)))
      expect(meets, `${owner} waits for ${next}`).toBe(true)
    }
  }
}

const inConflict = (a: Lock, b: Lock): boolean =>
  (a.mode === 'exclusive' || b.mode === 'exclusive') && overlap(a.span, b.span)

describe('locks', () => {
  test('shared ones go together, exclusive ones alone, in the order of arrival', () => {
    const t = new Table()
    expect(t.ask('a', 1, 'detect', 'shared', key('k'))).toBe('has')
    expect(t.ask('b', 2, 'detect', 'shared', key('k'))).toBe('has')
    expect(t.ask('c', 3, 'detect', 'exclusive', key('k'))).toBe('waits')
    // Behind c, or c would wait for as long as there are readers.
    expect(t.ask('d', 4, 'detect', 'shared', key('k'))).toBe('waits')
    t.release('a')
    expect(t.isWaiting('c')).toBe(true)
    t.release('b')
    expect(t.isWaiting('c')).toBe(false)
    expect(t.isWaiting('d')).toBe(true)
    t.release('c')
    expect(t.isWaiting('d')).toBe(false)
    t.release('d')
    expect(t.table.size).toBe(0)
  })

  test('ranges meet the keys inside, with and without ends', () => {
    const t = new Table()
    expect(t.ask('a', 1, 'detect', 'exclusive', key('b'))).toBe('has')
    expect(t.ask('b', 2, 'detect', 'shared', range('a', 'b'))).toBe('has')
    expect(t.ask('c', 3, 'detect', 'shared', range('b', undefined))).toBe('waits')
    expect(t.ask('d', 4, 'detect', 'exclusive', key('z'))).toBe('waits')
    expect(t.ask('e', 5, 'detect', 'exclusive', key('aa'))).toBe('waits')
    t.release('b')
    expect(t.isWaiting('e')).toBe(false)
    t.release('a')
    expect(t.isWaiting('c')).toBe(false)
    t.release('c')
    expect(t.isWaiting('d')).toBe(false)
  })

  test('an upgrade goes before those who wait for its owner; two of them are a deadlock', () => {
    const t = new Table()
    expect(t.ask('a', 1, 'detect', 'shared', key('k'))).toBe('has')
    expect(t.ask('b', 2, 'detect', 'exclusive', key('k'))).toBe('waits')
    expect(t.ask('a', 1, 'detect', 'exclusive', key('k'))).toBe('has')
    expect(t.isWaiting('b')).toBe(true)
    t.release('a')
    expect(t.isWaiting('b')).toBe(false)
    expect(t.gone.size).toBe(0)
    t.release('b')
    expect(t.ask('c', 3, 'detect', 'shared', key('k'))).toBe('has')
    expect(t.ask('d', 4, 'detect', 'shared', key('k'))).toBe('has')
    expect(t.ask('d', 4, 'detect', 'exclusive', key('k'))).toBe('waits')
    expect(t.ask('c', 3, 'detect', 'exclusive', key('k'))).toBe('has')
    expect(t.gone.get('d')).toEqual({ type: 'deadlock', cycle: ['d', 'c'] })
  })

  test('pitfall 40: what an attempt that is over waited for, or held, closes no cycle', () => {
    const t = new Table()
    t.ask('b1', 2, 'detect', 'exclusive', key('y'))
    t.ask('a1', 1, 'detect', 'exclusive', key('x'))
    expect(t.ask('b1', 2, 'detect', 'exclusive', key('x'))).toBe('waits')
    t.release('a1')
    expect(t.isWaiting('b1')).toBe(false)
    // The next attempt of a: b1 waited for the one before.
    expect(t.ask('a2', 1, 'detect', 'exclusive', key('y'))).toBe('waits')
    expect(t.ask('c1', 3, 'detect', 'exclusive', key('x'))).toBe('waits')
    t.release('b1')
    expect([t.isWaiting('a2'), t.isWaiting('c1')]).toEqual([false, false])
    expect(t.gone.size).toBe(0)
  })

  test('pitfall 40: a deadlock of three names its cycle, and takes the youngest, whoever closed it', () => {
    for (const last of ['a', 'b', 'c']) {
      const t = new Table()
      const ages: Record<string, number> = { a: 1, b: 2, c: 3 }
      const wants: Record<string, string> = { a: 'y', b: 'z', c: 'x' }
      t.ask('a', 1, 'detect', 'exclusive', key('x'))
      t.ask('b', 2, 'detect', 'exclusive', key('y'))
      t.ask('c', 3, 'detect', 'exclusive', key('z'))
      for (const owner of ['a', 'b', 'c'].filter(name => name !== last).concat(last)) {
        t.ask(owner, ages[owner]!, 'detect', 'exclusive', key(wants[owner]!))
      }
      expect([...t.gone]).toEqual([['c', { type: 'deadlock', cycle: ['c', 'a', 'b'] }]])
      expect(t.isWaiting('a')).toBe(true)
      expect(t.isWaiting('b')).toBe(false)
    }
  })

  test('wound-wait: the older one ends the younger, the younger one waits', () => {
    const t = new Table()
    t.ask('young', 9, 'wound-wait', 'exclusive', key('k'))
    expect(t.ask('old', 1, 'wound-wait', 'exclusive', key('k'))).toBe('has')
    expect(t.gone.get('young')).toEqual({ type: 'wounded', by: 'old' })
    expect(t.ask('middle', 5, 'wound-wait', 'exclusive', key('k'))).toBe('waits')
    expect(t.ask('elder', 3, 'wound-wait', 'exclusive', key('k'))).toBe('waits')
    t.release('old')
    // By age, not by arrival.
    expect(t.isWaiting('elder')).toBe(false)
    expect(t.isWaiting('middle')).toBe(true)
  })

  test('wait-die: the younger one gives way, the older one waits', () => {
    const t = new Table()
    t.ask('middle', 5, 'wait-die', 'exclusive', key('k'))
    expect(t.ask('old', 1, 'wait-die', 'exclusive', key('k'))).toBe('waits')
    expect(t.ask('young', 9, 'wait-die', 'exclusive', key('k'))).toBe('gone')
    expect(t.gone.get('young')).toEqual({ type: 'died', for: 'middle' })
    t.release('middle')
    expect(t.isWaiting('old')).toBe(false)
  })
})

const names = ['a', 'b', 'c', 'd', 'e', 'f'] as const
const places = ['k', 'l', 'm', 'n']
const spans = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...places).map(key) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...places), fc.constantFrom(...places, undefined))
      .filter(([from, to]) => to === undefined || from < to)
      .map(([from, to]) => range(from, to)),
  },
)
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      who: fc.nat(names.length - 1),
      mode: fc.constantFrom<LockMode>('shared', 'exclusive'),
      spans: fc.array(spans, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ who: fc.nat(names.length - 1), end: fc.constant(true) }) },
)

/** Ages are no order of names. */
const ageOf = (who: number): number => ((who * 5) % names.length) + 1

describe.each([
  ...deadlockPolicies.map(policy => [policy, [policy]] as const),
  ['all of them at once', deadlockPolicies] as const,
])('random schedules with %s', (_, policies) => {
  test('locks exclude, every cycle is broken, and everybody gets through', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), steps => {
        const t = new Table()
        // Each attempt is another owner.
        const attempts: number[] = names.map(() => 0)
        const ended = (who: number) => t.gone.has(`${names[who]}${attempts[who]}`)
        for (const one of steps) {
          const { who } = one
          if (ended(who)) attempts[who]!++
          const owner = `${names[who]}${attempts[who]}`
          if ('end' in one) {
            t.release(owner)
            attempts[who]!++
          } else t.ask(owner, ageOf(who), policies[who % policies.length]!, one.mode, ...one.spans)
        }
        // Those who do not wait end, one after the other: nobody is left waiting, whatever the order.
        for (;;) {
          const left = [...new Set([...t.held.keys(), ...t.waiting.keys()])]
          if (left.length === 0) break
          const free = left.filter(owner => !t.isWaiting(owner))
          expect(free.length, `all of ${left.length} wait`).toBeGreaterThan(0)
          t.release(free[0]!)
        }
        expect(t.table.size).toBe(0)
        expect(t.table.waiting).toBe(0)
        if (policies.length === 1) {
          const { deadlocks, wounds, deaths } = t.table.counters
          const [policy] = policies
          expect({ deadlocks: deadlocks > 0, wounds: wounds > 0, deaths: deaths > 0 }).toEqual({
            deadlocks: policy === 'detect' && deadlocks > 0,
            wounds: policy === 'wound-wait' && wounds > 0,
            deaths: policy === 'wait-die' && deaths > 0,
          })
        }
      }),
      { numRuns: 2500 },
    )
  })
})
