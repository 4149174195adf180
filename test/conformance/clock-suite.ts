/** The rules of Clock and Random (C1 to C4, R1 of `src/platform.ts`). */
import type { Clock, Random } from '../../src/platform.ts'
import { check, checkEqual, type Rule, type Waiting } from './rule.ts'

export interface ClockHarness extends Waiting {
  readonly clock: Clock
  readonly random: Random
  /** Runs something as the host's next piece of work, as an incoming message would. */
  readonly asHostWork: (run: () => void) => void
}

export const clockRules: readonly Rule<ClockHarness>[] = [
  {
    id: 'C1',
    title: 'now never goes back, and goes on',
    async run({ clock, until }) {
      const first = clock.now()
      let last = first
      let wentBack = false
      // Where time is virtual, only events move it.
      for (let ms = 1; ms <= 25; ms++) clock.after(ms, () => {})
      await until(() => {
        const now = clock.now()
        wentBack ||= now < last
        last = now
        return now >= first + 20
      }, '20 ms have passed')
      check(!wentBack, 'now went back')
    },
  },
  {
    id: 'C2',
    title: 'wall is a time of this century, in milliseconds',
    async run({ clock }) {
      const wall = clock.wall()
      check(wall > Date.UTC(2024, 0) && wall < Date.UTC(2100, 0), `wall is ${wall}`)
    },
  },
  {
    id: 'C3',
    title: 'after runs once, not before the call returns and not before its time by now',
    async run({ clock, until }) {
      const delays = [0, 0.4, 1, 1.5, 3, 7, 12.3, 20, 33]
      const runs: { delayMs: number; earlyMs: number }[] = []
      let returned = false
      for (const delayMs of delays) {
        const dueMs = clock.now() + delayMs
        clock.after(delayMs, () => {
          check(returned, 'it ran before the call returned')
          runs.push({ delayMs, earlyMs: dueMs - clock.now() })
        })
      }
      returned = true
      await until(() => runs.length >= delays.length, 'all have run')
      let over = false
      clock.after(20, () => {
        over = true
      })
      await until(() => over, 'another 20 ms')
      checkEqual(
        runs.map(run => run.delayMs).sort((a, b) => a - b),
        delays,
        'runs',
      )
      for (const { delayMs, earlyMs } of runs) check(earlyMs <= 0, `after(${delayMs}) ran ${earlyMs} ms early`)
    },
  },
  {
    id: 'C3',
    title: 'what was cancelled does not run; cancelling twice, or after it ran, does nothing',
    async run({ clock, until }) {
      const heard: string[] = []
      const first = clock.after(5, () => heard.push('cancelled'))
      const second = clock.after(5, () => heard.push('kept'))
      first()
      first()
      clock.after(30, () => heard.push('later'))
      await until(() => heard.includes('later'), 'the last one')
      second()
      second()
      checkEqual(heard, ['kept', 'later'], 'what ran')
    },
  },
  {
    id: 'C3',
    title: 'a delay longer than 32 bits does not run at once',
    async run({ clock, until }) {
      let ran = false
      const cancel = clock.after(2 ** 32, () => {
        ran = true
      })
      let over = false
      clock.after(20, () => {
        over = true
      })
      await until(() => over, '20 ms')
      cancel()
      check(!ran, 'after(2 ** 32) ran within 20 ms')
    },
  },
  {
    id: 'C4',
    title: 'soon runs once, after the code that is running now, in order, and before a timer of 0',
    async run({ clock, asHostWork, until }) {
      const heard: string[] = []
      let done = false
      asHostWork(() => {
        clock.after(0, () => {
          heard.push('timer')
          done = true
        })
        clock.soon(() => {
          heard.push('soon 1')
          clock.soon(() => heard.push('soon 3'))
        })
        clock.soon(() => heard.push('soon 2'))
        heard.push('running')
      })
      await until(() => done && heard.length === 5, 'all have run')
      checkEqual(heard, ['running', 'soon 1', 'soon 2', 'soon 3', 'timer'], 'order')
    },
  },
  {
    id: 'R1',
    title: 'fill fills everything, of any length, and never twice alike',
    async run({ random }) {
      for (const length of [0, 1, 16, 32, 70_000, 200_000]) random.fill(new Uint8Array(length))
      const large = new Uint8Array(200_000)
      random.fill(large)
      for (let from = 0; from < large.length; from += 50_000) {
        check(new Set(large.subarray(from, from + 50_000)).size === 256, `all values occur from ${from} on`)
      }
      const seen = new Set<string>()
      for (let i = 0; i < 100; i++) {
        const bytes = new Uint8Array(16)
        random.fill(bytes)
        seen.add(String(bytes))
      }
      checkEqual(seen.size, 100, 'different ids')
    },
  },
]
