/** The trace tells enough to judge a run by it alone: a validator that knows nothing else finds nothing in good runs, each rule broken by hand, and mistakes in consensus. */
import { afterAll, describe, expect, it } from 'vitest'
import { drawPlan, type Plan } from '../../platform/simulation/runs/plan.ts'
import type * as Runs from '../../platform/simulation/runs/run.ts'
import { runPlan } from '../../platform/simulation/runs/run.ts'
import { bundle, removeBundles } from '../mutated-bundle.ts'
import { mutations } from './mutations.ts'
import { fewerSeeds, likelyFirst } from './seeds.ts'
import { validate } from './trace-validator.ts'

afterAll(removeBundles)

function traceOf(run: typeof runPlan, plan: Plan): string {
  const lines: string[] = []
  try {
    run(plan, { trace: line => lines.push(JSON.stringify(line)) })
  } catch (error) {
    // A mistake may stop a run; what it wrote until then is judged.
    lines.push(JSON.stringify({ n: lines.length + 1, ms: Number.MAX_VALUE, event: 'stopped', what: String(error) }))
  }
  return lines.join('\n')
}

const kindsIn = (text: string): string[] => [...new Set(validate(text).map(finding => finding.split(':', 1)[0]!))]

describe('a validator that reads traces', () => {
  for (const seed of fewerSeeds(20)) {
    it(`seed ${seed}: finds nothing`, () => {
      expect(validate(traceOf(runPlan, drawPlan(seed)))).toEqual([])
    })
  }

  const good = traceOf(runPlan, drawPlan(2, { faultMs: 5000 }))
  type Message = Record<string, unknown> & { entries?: readonly object[] }
  type Line = Record<string, unknown> & { message?: Message }
  const isSent = (type: string) => (line: Line) => line.event === 'sent' && line.message?.type === type
  const last = (lines: readonly Line[], which: (line: Line) => boolean): Line => lines.filter(which).at(-1)!
  const broken: Record<string, (lines: Line[]) => void> = {
    order: lines => void lines.splice(100, 1),
    received: lines => {
      const line = last(lines, ({ event, message }) => event === 'received' && message?.type === 'append')
      line.message = { ...line.message, commit: 1e6 }
    },
    'election safety': lines => {
      const leader = last(lines, ({ role }) => role === 'leader')
      const line = last(lines, one => one.event === 'apply' && one.role === 'follower' && one.term === leader.term)
      line.role = 'leader'
    },
    'one vote': lines => {
      const line = last(lines, one => isSent('voteReply')(one) && one.message?.granted === true)
      lines.push({ ...line, n: lines.length + 1, ms: lines.at(-1)!.ms, message: { ...line.message, to: 'p9' } })
    },
    monotone: lines => {
      const line = last(lines, ({ event }) => event === 'commit')
      line.commit = 1
    },
    'log matching': lines => {
      const line = last(lines, one => isSent('append')(one) && one.message?.entries?.length !== 0)
      const entries = (line.message?.entries ?? []).map(entry => ({ ...entry, bytes: 1 }))
      lines.push({ ...line, n: lines.length + 1, ms: lines.at(-1)!.ms, message: { ...line.message, entries } })
    },
    committed: lines => {
      const line = last(lines, one => one.event === 'apply' && one.commit === one.last)
      line.lastTerm = 1000
    },
    'state machine': lines => {
      last(lines, ({ event }) => event === 'apply').fingerprint = 1
    },
    configurations: lines => {
      const line = last(lines, ({ event, role }) => event === 'commit' && role === 'leader')
      line.voters = ['p7', 'p8']
    },
  }
  it.each(Object.entries(broken))('finds a trace in which this is broken: %s', (kind, breakIt) => {
    expect(validate(good)).toEqual([])
    const lines = good.split('\n').map(line => JSON.parse(line) as Line)
    breakIt(lines)
    expect(kindsIn(lines.map(line => JSON.stringify(line)).join('\n'))).toContain(kind)
  })

  it.each([
    ['votes for everybody who asks', 'one vote', 2],
    ['terms are not looked at where logs are matched', 'state machine', 10],
    ['a minority elects', 'election safety', 6],
  ])('finds a mistake in consensus: %s', { timeout: 300_000 }, async (name, kind, likely) => {
    const mistake = mutations.find(one => one.name === name)!
    const { runPlan: wrong } = (await import(await bundle('platform/simulation/runs/run.ts', mistake))) as typeof Runs
    const found = new Set<string>()
    for (const seed of likelyFirst(likely, 60)) {
      if (found.has(kind)) break
      for (const one of kindsIn(traceOf(wrong, drawPlan(seed)))) found.add(one)
    }
    expect([...found]).toContain(kind)
  })
})
