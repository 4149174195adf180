/** A member of a cluster whose disk is wiped, or rots: it is a new peer then, or none; the others go on, and nothing acknowledged is lost. */
import { describe, expect, it } from 'vitest'
import { checkKeyValue } from '../../platform/histories/key-value.ts'
import { Member, Run } from '../../platform/simulation/runs/members.ts'
import type { PeerId } from '../../src/base/ids.ts'

const minuteMs = 60_000

/** Three members that have worked for a while; one of them, not the leader, is down. */
function withOneDown(seed: number): { run: Run; victim: Member; id: PeerId } {
  const run = new Run(seed, { checkpointBytes: 64 * 1024 })
  for (let n = 0; n < 3; n++) run.members.push(new Member(run, `p${n}`, run.random.fork()))
  for (const member of run.members) member.start()
  expect(run.until(minuteMs, () => run.members.every(member => member.joined))).toBe(true)
  const voting = (member: Member): boolean => {
    const status = member.peer?.status()
    return status?.raft.configuration.voters.length === 3 && status.raft.commit > 5
  }
  for (const member of run.members) member.work()
  expect(run.until(minuteMs, () => run.members.every(voting))).toBe(true)
  run.world.run(1000)
  const victim = run.members.find(member => member.peer?.status().raft.role === 'follower')
  if (victim?.peer === undefined) throw new Error('nobody follows')
  const { id } = victim.peer
  victim.crash()
  return { run, victim, id }
}

/** The victim comes back with nothing: a new peer, that learns before it votes. */
function expectNewcomer(run: Run, victim: Member, old: PeerId): void {
  victim.joined = false
  victim.restart()
  // As the others see it: alone it is a cluster of its own.
  const other = run.members.find(member => member !== victim)
  const configuration = () => other?.peer?.status().raft.configuration
  const admitted = (): boolean => {
    const id = victim.peer?.id
    const { voters = [], learners = [], learnersNext = [] } = configuration() ?? {}
    return id !== undefined && [...voters, ...learners, ...learnersNext].includes(id)
  }
  expect(run.until(minuteMs, admitted)).toBe(true)
  const id = victim.peer?.id as PeerId
  expect(id).not.toBe(old)
  expect(configuration()?.voters).not.toContain(id)
  expect(run.until(minuteMs, () => victim.joined)).toBe(true)
  // The seat of the one that will never come back goes to it.
  expect(run.until(2 * minuteMs, () => configuration()?.voters.includes(id) === true)).toBe(true)
  expect(configuration()?.voters).not.toContain(old)
}

/** All agree in the end, and every client's history has an order. */
function expectConsistent(run: Run): void {
  run.world.run(5000)
  run.clientsStopped = true
  const settled = (): boolean => {
    const states = run.members.map(member => member.peer?.status())
    return new Set(states.map(state => `${state?.raft.applied} ${state?.fingerprint}`)).size === 1
  }
  expect(run.until(minuteMs, settled)).toBe(true)
  const report = checkKeyValue(run.recorder.calls, 2_000_000)
  expect(report).toMatchObject({ ok: true, value: { verdict: 'holds' } })
  expect(run.recorder.counts.ok).toBeGreaterThan(30)
}

describe('a disk that is lost', () => {
  for (const seed of [1, 2, 3]) {
    it(`pitfall 14, 24: seed ${seed}: a wiped peer comes back as a new one, learns before it votes, and takes its old seat`, () => {
      const { run, victim, id } = withOneDown(seed)
      run.world.run(500)
      victim.process.disk.wipe()
      expectNewcomer(run, victim, id)
      expectConsistent(run)
      expect(run.violations).toEqual([])
    })

    it(`pitfall 16: seed ${seed}: whose log is bad in its middle does not vote: a new peer comes in its place`, () => {
      const { run, victim, id } = withOneDown(seed)
      const log = victim.process.disk.contents().find(({ kind }) => kind === 'log')
      expect(log?.start).toBe(0)
      victim.process.disk.rot('log', 16 + run.random.below(400), run.random.below(8))
      expectNewcomer(run, victim, id)
      expectConsistent(run)
      expect(run.violations).toEqual([])
    })
  }
})
