import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Deadlines, type Expiring } from '../../../src/database/deadlines.ts'

/** Timers run by hand. */
class HandClock {
  nowMs = 0
  timers = new Set<{ readonly atMs: number; readonly run: () => void }>()

  now(): number {
    return this.nowMs
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.nowMs + delayMs, run }
    this.timers.add(timer)
    return () => this.timers.delete(timer)
  }

  goTo(ms: number): void {
    for (;;) {
      const next = [...this.timers].filter(({ atMs }) => atMs <= ms).sort((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.timers.delete(next)
      this.nowMs = Math.max(this.nowMs, next.atMs)
      next.run()
    }
    this.nowMs = ms
  }
}

it('each expires once, when its time has come and not before, unless it was taken out', () => {
  const step = fc.oneof(
    fc.record({ addForMs: fc.nat(100) }),
    fc.record({ remove: fc.nat(10) }),
    fc.record({ waitMs: fc.nat(40) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const clock = new HandClock()
      const deadlines = new Deadlines(clock)
      const items: (Expiring & { expiredMs: number | undefined; removed: boolean })[] = []
      for (const one of steps) {
        if ('addForMs' in one) {
          const item = {
            deadlineMs: clock.nowMs + one.addForMs,
            slot: undefined,
            expiredMs: undefined as number | undefined,
            removed: false,
            expire() {
              expect(item.expiredMs).toBeUndefined()
              item.expiredMs = clock.nowMs
            },
          }
          items.push(item)
          deadlines.add(item)
        } else if ('remove' in one) {
          const item = items[one.remove]
          if (item === undefined) continue
          deadlines.delete(item)
          item.removed = true
        } else clock.goTo(clock.nowMs + one.waitMs)
        expect(clock.timers.size).toBeLessThan(2)
      }
      const open = items.filter(({ removed, expiredMs }) => !removed && expiredMs === undefined)
      expect(clock.timers.size).toBe(open.length === 0 ? 0 : 1)
      clock.goTo(clock.nowMs + 1000)
      for (const { deadlineMs, expiredMs, removed } of items) {
        if (expiredMs !== undefined) expect(expiredMs).toBe(deadlineMs)
        else expect(removed).toBe(true)
      }
      expect(clock.timers.size).toBe(0)
    }),
  )
})

it('what expires may take others out, and begin others', () => {
  const clock = new HandClock()
  const deadlines = new Deadlines(clock)
  const expired: string[] = []
  const item = (name: string, deadlineMs: number, also: () => void = () => {}): Expiring => ({
    deadlineMs,
    slot: undefined,
    expire() {
      expired.push(name)
      also()
    },
  })
  const second = item('second', 5)
  deadlines.add(
    item('first', 5, () => {
      deadlines.delete(second)
      deadlines.add(item('third', 9))
    }),
  )
  deadlines.add(second)
  deadlines.add(item('last', 20, () => {}))
  clock.goTo(30)
  expect(expired).toEqual(['first', 'third', 'last'])
})
