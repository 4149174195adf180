/**
 * Watches on simulated clusters (pitfall 28). The oracle: whoever applies every batch that he is told, and reads everything anew at each `resync`, has the very state of his
 * replica at that version; and the versions that he is told are those that were acknowledged, each once, in order, unless a `resync` stands between them.
 */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { seededRandom } from '../../src/base/random.ts'
import { encodeText } from '../../src/base/text.ts'
import type { WatchStart } from '../../src/cluster/clients.ts'
import type { WatchedCommit, Watcher } from '../../src/cluster/watchers.ts'
import { payloadOf } from '../../src/mvcc/versioned.ts'
import { leftBehind } from './left-behind.ts'
import { type Host, hosts } from './simulated-host.ts'

const everything = [{ from: undefined, to: undefined }]
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** A client of one host's watch, who keeps a copy of the data by it. */
class Copy {
  readonly host: Host
  readonly state = new Map<string, string>()
  readonly told: number[] = []
  resyncs = 0
  at = 0
  /** Pauses before it asks again, in turns of the world. */
  slow = false
  pauseMs = 50
  private watcher: Watcher | undefined
  private lives = 0

  constructor(host: Host) {
    this.host = host
  }

  /** Begins, or goes on behind what it has. */
  open(anew: boolean): void {
    this.lives++
    const life = this.lives
    const since = anew ? undefined : (this.at as never)
    this.host.peer.clients.watchFrom(since, 60_000, start => {
      if (life !== this.lives) return
      if (start instanceof Error) throw start
      const { at } = start as WatchStart
      this.watcher = this.host.peer.clients.watchers.open(everything, start as WatchStart)
      if (anew) this.readAll(at, () => this.ask(life))
      else this.ask(life)
    })
  }

  close(): void {
    this.lives++
    this.watcher?.close()
    this.watcher = undefined
  }

  private ask(life: number): void {
    if (life !== this.lives) return
    this.watcher?.next(result => {
      if (life !== this.lives || !Array.isArray(result)) return
      let waits = 0
      for (const commit of result as readonly WatchedCommit[]) {
        if (commit.resync) {
          this.resyncs++
          waits++
          this.readAll(commit.at, () => this.ask(life))
        } else this.take(commit)
      }
      if (waits === 0) {
        if (this.slow) this.host.process.platform.clock.after(this.pauseMs, () => this.ask(life))
        else this.ask(life)
      }
    })
  }

  private take({ at, ops }: WatchedCommit): void {
    // What it was told again because it began before its call.
    if (at <= this.at) return
    this.at = at
    this.told.push(at)
    for (const op of ops) {
      if (op.type === 'put') this.state.set(text(op.key), text(op.value))
      else this.state.delete(text(op.key))
    }
  }

  private readAll(at: number, then: () => void): void {
    const { engine } = this.host.peer['store' as never] as { engine: import('../../src/storage/engine.ts').Engine }
    engine.snapshot(taken => {
      if (!taken.ok) throw taken.error
      const version = this.host.peer['replica' as never] as { stateTimestamp: number }
      this.at = Math.max(at, version.stateTimestamp)
      taken.value.read(
        view => {
          const rows: [string, string][] = []
          view.scan(undefined, undefined, false, row => {
            const value = row.value.slice(row.valueFrom, row.valueTo)
            rows.push([text(row.key.slice(0, row.keyBytes)), text(payloadOf(value))])
            return true
          })
          return rows
        },
        rows => {
          taken.value.release()
          if (!rows.ok) throw rows.error
          this.state.clear()
          for (const [key, value] of rows.value) this.state.set(key, value)
          then()
        },
      )
    })
  }
}

function stateOf(host: Host): Map<string, string> {
  const copy = new Copy(host)
  let done = false
  copy['readAll'](0, () => {
    done = true
  })
  expect(host.world.runUntil(() => done, 10_000)).toBe(true)
  return copy.state
}

const isAscending = (numbers: readonly number[]): boolean => numbers.every((n, i) => i === 0 || n > numbers[i - 1]!)

describe('pitfall 28: watches', () => {
  it('a follower’s watcher sees every commit once, in order, through five changes of the leader', () => {
    for (let seed = 1; seed <= 4; seed++) {
      const world = new World(seed)
      const all = hosts(world, 3)
      for (const host of all) host.join()
      const leaderOf = () => all.find(host => host.status.raft.role === 'leader')
      expect(
        world.runUntil(() => leaderOf() !== undefined && all.every(host => host.status.health === 'ok'), 60_000),
      ).toBe(true)
      const watched = all.find(host => host !== leaderOf())!
      const copy = new Copy(watched)
      copy.open(true)
      world.run(100)
      const puts: string[] = []
      for (let round = 1; round <= 5; round++) {
        for (let i = 0; i < 8; i++) {
          expect(watched.put(`k${i % 3}`, `${round}.${i}`)).toBe('ok')
          puts.push(`${round}.${i}`)
        }
        const leader = leaderOf()
        if (leader !== undefined && leader !== watched) {
          leader.crash()
          expect(watched.put('k0', `${round} without it`, 60_000)).toBe('ok')
          leader.restart()
          leader.join()
        } else {
          watched.peer.transferLeadership(undefined, () => {})
          world.run(3000)
          expect(watched.put('k0', `${round} elsewhere`, 60_000)).toBe('ok')
        }
      }
      expect(
        world.runUntil(() => copy.told.length === 45, 30_000),
        `seed ${seed}: ${copy.told.length}`,
      ).toBe(true)
      expect(isAscending(copy.told)).toBe(true)
      expect(copy.resyncs).toBe(0)
      expect(copy.state).toEqual(stateOf(watched))
    }
  })

  it('going on after a restart misses nothing and repeats nothing, with a log that is trimmed now and then', () => {
    let resyncs = 0
    for (let seed = 1; seed <= 30; seed++) {
      const world = new World(seed)
      const random = seededRandom(seed)
      const [host] = hosts(world, 1, undefined, { checkpointBytes: 3000 }) as [Host]
      const copy = new Copy(host)
      copy.open(true)
      for (let life = 1; life <= 4; life++) {
        copy.slow = random.chance(0.5)
        const writes = random.below(80)
        for (let i = 0; i < writes; i++) {
          const rows = Array.from(
            { length: 1 + random.below(3) },
            () => [`k${random.below(20)}`, `${life}.${i}`] as const,
          )
          expect(host.putAll(rows)).toBe('ok')
          if (random.chance(0.1)) {
            copy.close()
            expect(host.put('unseen', `${life}.${i}`)).toBe('ok')
            copy.open(false)
          }
        }
        copy.close()
        if (random.chance(0.5)) {
          host.close()
          host.crash('kept')
        } else host.crash(random.chance(0.5) ? 'lost' : 'kept')
        host.restart()
        copy.open(false)
      }
      copy.slow = false
      expect(host.put('last', 'one')).toBe('ok')
      expect(
        world.runUntil(() => copy.state.get('last') === 'one', 30_000),
        `seed ${seed}`,
      ).toBe(true)
      expect(isAscending(copy.told)).toBe(true)
      expect(copy.state, `seed ${seed}`).toEqual(stateOf(host))
      resyncs += copy.resyncs
    }
    // The log was cut before somebody who was behind.
    expect(resyncs).toBeGreaterThan(0)
  })

  it('what was refused or repeated is not told when the log is read again', () => {
    const world = new World(5)
    const [host] = hosts(world, 1) as [Host]
    const write = (checkAt: number, idempotencyKey?: string): string => {
      let outcome = ''
      const ops = [{ type: 'put', key: encodeText('k'), value: encodeText('v') }] as const
      const checks = checkAt < 0 ? [] : [{ key: encodeText('k'), at: checkAt as never }]
      host.peer.clients.write({ ops, checks, ranges: [], idempotencyKey }, 10_000, result => {
        outcome = 'error' in result ? result.error.code : result.outcome.type
      })
      expect(world.runUntil(() => outcome !== '', 10_000)).toBe(true)
      return outcome
    }
    expect(host.put('k', 'first')).toBe('ok')
    const copy = new Copy(host)
    copy.open(true)
    world.run(10)
    copy.close()
    expect([write(0), write(-1, 'once'), write(-1, 'once'), write(12345), write(-1)]).toEqual([
      'conflict',
      'committed',
      'committed',
      'conflict',
      'committed',
    ])
    copy.open(false)
    world.run(100)
    expect(copy.told).toHaveLength(2)
    copy.close()
    host.close()
    host.crash('kept')
    host.restart()
    const again = new Copy(host)
    again.at = 1
    again.open(false)
    world.run(100)
    // The put, and the two that were executed; or all of it anew, where the log was cut.
    expect(again.resyncs === 1 || again.told.length === 3).toBe(true)
  })

  it('a peer that takes a state over says so', () => {
    const { world, all } = leftBehind(2)
    const late = all[2]!
    const copy = new Copy(late)
    copy.open(true)
    world.run(10)
    world.network.heal()
    expect(world.runUntil(() => late.snapshots > 0, 60_000)).toBe(true)
    expect(all[0]!.put('after', 'it')).toBe('ok')
    expect(world.runUntil(() => copy.state.get('after') === 'it', 30_000)).toBe(true)
    expect(copy.resyncs).toBeGreaterThan(0)
    expect(copy.state).toEqual(stateOf(late))
  })

  it('another history that is taken over begins with a resync, whether somebody asks just then or later', () => {
    for (const slow of [false, true]) {
      const world = new World(9)
      const [founder, other] = hosts(world, 2) as [Host, Host]
      founder.join()
      for (let i = 0; i < 5; i++) expect(founder.put('there', `before ${i}`)).toBe('ok')
      const copy = new Copy(other)
      copy.slow = slow
      copy.open(true)
      world.run(10)
      if (slow) {
        // Told something, it does not ask for more at once.
        copy.pauseMs = 20_000
        for (let i = 0; i < 3; i++) expect(other.put('own', `${i}`)).toBe('ok')
      }
      other.join({ onConflict: 'discard-local' })
      expect(world.runUntil(() => copy.state.get('there') === 'before 4', 60_000)).toBe(true)
      expect(copy.resyncs).toBeGreaterThan(0)
      copy.pauseMs = 50
      expect(founder.put('there', 'after')).toBe('ok')
      expect(world.runUntil(() => copy.state.get('there') === 'after', 60_000)).toBe(true)
      expect(copy.state).toEqual(stateOf(other))
    }
  })
})
