/** What `harmonydb simulate` stands on: plans that can be stored, shortened and run again; the trace. That runs are not quiet is seen where they are run (`cluster-seeds.ts`). */
import { describe, expect, it } from 'vitest'
import { checkHistory } from '../../platform/histories/check.ts'
import { Invariants, type ObservedPeer } from '../../platform/simulation/invariants.ts'
import { decodePlan, drawPlan, faultKinds, type Plan } from '../../platform/simulation/runs/plan.ts'
import { runCluster, runPlan } from '../../platform/simulation/runs/run.ts'
import { kindOf, shrinkPlan } from '../../platform/simulation/runs/shrink.ts'
import type { TraceLine } from '../../platform/simulation/trace.ts'

const short: Plan = {
  seed: 5,
  peers: 3,
  faultMs: 6000,
  checkpointBytes: 1024,
  messageBytesMax: 40,
  schedule: [
    { kind: 'crash', atMs: 500, forMs: 800, peer: 'leader' },
    { kind: 'disk-full', atMs: 3000, forMs: 500, peer: 1 },
    { kind: 'partition', atMs: 4000, forMs: 1500, peers: [0] },
  ],
}

describe('plans', () => {
  it('every drawn plan survives JSON, and runs as its seed does', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const plan = drawPlan(seed)
      expect(decodePlan(JSON.parse(JSON.stringify(plan)))).toEqual(plan)
    }
    expect(runPlan(JSON.parse(JSON.stringify(drawPlan(7)))).hash).toBe(runCluster(7).hash)
  })

  it('seeds draw every kind of fault', () => {
    const drawn = new Set<string>()
    for (let seed = 1; seed <= 60; seed++) for (const { kind } of drawPlan(seed).schedule) drawn.add(kind)
    // Flapping is stored as the partitions that it is.
    expect([...drawn].sort()).toEqual(
      Object.keys(faultKinds)
        .filter(kind => kind !== 'flapping')
        .sort(),
    )
  })

  it.each([
    ['no object', 3],
    ['too many peers', { ...short, peers: 100 }],
    ['no list', { ...short, schedule: {} }],
    ['a kind of fault that nobody knows', { ...short, schedule: [{ kind: 'toString', atMs: 1 }] }],
    ['a fault without its peer', { ...short, schedule: [{ kind: 'crash', atMs: 1, forMs: 1 }] }],
    [
      'a clock that stands still',
      { ...short, schedule: [{ kind: 'clock-rate', atMs: 1, forMs: 1, peer: 0, amount: 0 }] },
    ],
  ])('%s is refused', (_, value) => {
    expect(decodePlan(value)).toBeTypeOf('string')
  })

  it('a list of faults shrinks to those that matter', () => {
    const many = drawPlan(11)
    const kinds = many.schedule.map(({ kind }) => kind)
    const [first, last] = [many.schedule[0]!, many.schedule.at(-1)!]
    expect(kinds.length).toBeGreaterThan(6)
    const shrunk = shrinkPlan(many, ({ schedule }) => schedule.includes(first) && schedule.includes(last))
    expect(shrunk.schedule).toEqual([first, last])
    expect(shrinkPlan(many, () => true).schedule).toEqual([])
    let tries = 0
    shrinkPlan(many, () => ++tries < 0, 5)
    expect(tries).toBe(5)
    expect(kindOf('election safety: a and b')).toBe('election safety')
  })
})

describe('the trace', () => {
  const lines: TraceLine[] = []
  const history: string[] = []
  const run = runPlan(short, { trace: line => lines.push(line), history: line => history.push(line) })

  it('changes nothing of the run', () => {
    expect(run.violations).toEqual([])
    expect(run.hash).toBe(runPlan(short).hash)
    expect(checkHistory(history.join('\n'))).toMatchObject({ ok: true, value: { verdict: 'holds' } })
    expect(history.length).toBeGreaterThan(2 * run.operations)
  })

  it('is one total order, in which terms and commits of one life only grow', () => {
    expect(lines.map(({ n }) => n)).toEqual(lines.map((_, at) => at + 1))
    const known = new Map<string, { term: number; commit: number }>()
    let before = 0
    for (const line of lines) {
      expect(line.ms).toBeGreaterThanOrEqual(before)
      before = line.ms
      if (line.event === 'start') {
        for (const name of known.keys()) if (name.startsWith(line.peer)) known.delete(name)
      }
      if (!('commit' in line)) continue
      const { peer, cluster, term, commit } = line
      const was = known.get(`${peer} ${cluster}`) ?? { term: 0, commit: 0 }
      expect(term).toBeGreaterThanOrEqual(was.term)
      expect(commit).toBeGreaterThanOrEqual(was.commit)
      known.set(`${peer} ${cluster}`, { term, commit })
    }
  })

  it('has what was sent before what was received, and every kind of event of a crash, a full disk and a partition', () => {
    const sent = new Map<string, number>()
    let received = 0
    for (const line of lines) {
      if (line.event !== 'sent' && line.event !== 'received') continue
      const name = JSON.stringify(line.message)
      if (line.event === 'sent') sent.set(name, (sent.get(name) ?? 0) + 1)
      else {
        received++
        expect(sent.get(name), name).toBeGreaterThan(0)
      }
    }
    expect(received).toBeGreaterThan(100)
    const events = new Set(lines.map(({ event }) => event))
    for (const event of [
      'start',
      'crash',
      'fault',
      'mended',
      'term',
      'role',
      'vote',
      'commit',
      'apply',
      'append',
      'configuration',
      'invoke',
      'ok',
    ])
      expect(events, event).toContain(event)
  })
})

describe('invariants of leaders', () => {
  const peer = (fields: Partial<ObservedPeer>): ObservedPeer => ({
    id: 'a',
    cluster: 'c',
    role: 'leader',
    term: 1,
    commit: 0,
    applied: 0,
    lastIndex: 5,
    fingerprint: 0,
    ...fields,
  })

  it('a leader whose log gets shorter is found', () => {
    const invariants = new Invariants()
    invariants.observe(peer({}))
    expect(invariants.violations).toEqual([])
    invariants.observe(peer({ lastIndex: 4 }))
    expect(invariants.violations.map(kindOf)).toEqual(['leader append-only'])
  })

  it('a leader who lacks what was committed is found', () => {
    const invariants = new Invariants()
    invariants.observe(peer({ commit: 5 }))
    invariants.observe(peer({ id: 'b', term: 2, lastIndex: 5 }))
    expect(invariants.violations).toEqual([])
    invariants.observe(peer({ id: 'c', term: 3, lastIndex: 4 }))
    expect(invariants.violations.map(kindOf)).toEqual(['leader completeness'])
  })
})
