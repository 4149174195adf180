/**
 * The paged engine against a sorted map: tiny pages, a tiny cache, reads that take time, operations at the same time, snapshots, checkpoints
 * that take many turns, resets, and lives that end anywhere.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hexEncode } from '../../../src/base/bytes.ts'
import { HarmonyError } from '../../../src/base/errors.ts'
import { index } from '../../../src/base/ids.ts'
import { type SeededRandom, seededRandom } from '../../../src/base/random.ts'
import type { Completion, Done, Result } from '../../../src/platform.ts'
import type { Change, EngineSnapshot, View } from '../../../src/storage/engine.ts'
import { decodeMeta, PagedEngine } from '../../../src/storage/paged-engine.ts'
import type { PolicyName } from '../../../src/storage/replacement.ts'
import { applyTo, entryOf, expected, type Model, randomBytes } from './engine-kit.ts'
import { mustOpenStore, type Shape, TestPages } from './store-kit.ts'

interface Config {
  readonly seed: number
  readonly later: boolean
  readonly cachePages: number
  readonly keySpace: number
  readonly policy: PolicyName
}

/** Timers come when the world lets them. */
class Timers {
  private readonly due: (() => void)[] = []
  private time = 0
  /** Moves on by itself, so that slices end. */
  now(): number {
    this.time += 1
    return this.time
  }
  after(_ms: number, run: () => void): () => void {
    this.due.push(run)
    return () => {}
  }
  run(): void {
    this.due.shift()?.()
  }
}

class World {
  readonly random: SeededRandom
  readonly config: Config
  pages: TestPages
  timers = new Timers()
  engine: PagedEngine
  model: Model = new Map()
  applied = 0
  /** What a new life may begin with: the last checkpoint that was finished, and one that is being finished. */
  durable: { readonly model: Model; readonly applied: number }[] = [{ model: new Map(), applied: 0 }]

  constructor(config: Config) {
    this.config = config
    this.random = seededRandom(config.seed)
    const shape: Shape = { pageBytes: 512, later: config.later }
    this.pages = new TestPages(shape)
    this.engine = this.open()
  }

  open(): PagedEngine {
    const opened = mustOpenStore(this.pages, { compress: this.random.chance(0.5) })
    this.timers = new Timers()
    const { cachePages, policy } = this.config
    return this.wait(done =>
      PagedEngine.open({ opened, cacheBytes: cachePages * 512, clock: this.timers, policy }, done),
    )
  }

  turn(): void {
    if (this.random.chance(0.5)) this.pages.settle(1)
    else this.timers.run()
  }

  wait<T>(start: (done: Completion<T>) => void, between?: () => void): T {
    let outcome: Result<T> | undefined
    let calls = 0
    start(result => {
      outcome = result
      calls++
    })
    for (let turns = 0; outcome === undefined && turns < 100_000; turns++) {
      this.turn()
      if (turns < 40) between?.()
    }
    expect(calls).toBe(1)
    if (outcome === undefined) throw new Error('it does not complete')
    if (!outcome.ok) throw outcome.error
    return outcome.value
  }

  key(): Uint8Array {
    const n = this.random.below(this.config.keySpace)
    const long = n % 7 === 0 ? 150 : n % 3
    return new Uint8Array([0x10, n >> 8, n & 0xff, ...new Uint8Array(long)])
  }

  changes(): Change[] {
    const deletions = this.random.pick([0.1, 0.5, 0.9])
    const count = this.random.below(this.random.chance(0.1) ? 150 : 8)
    return Array.from({ length: count }, () => ({
      key: this.key(),
      value: this.random.chance(deletions) ? undefined : randomBytes(this.random, this.random.chance(0.05) ? 9000 : 60),
    }))
  }

  update(reads = true): void {
    const changes = this.changes()
    const before = new Map(this.model)
    const after = new Map(this.model)
    applyTo(after, changes)
    const probe = changes[0]?.key ?? this.key()
    const seen: string[][] = []
    const read = (): void => {
      if (!reads || this.random.chance(0.7)) return
      this.engine.read(entriesOf, result => {
        if (!result.ok) throw result.error
        seen.push(result.value)
      })
    }
    const found = this.wait<Uint8Array | undefined>(
      done => this.engine.update(view => ({ changes, result: view.get(probe) }), index(++this.applied), done),
      read,
    )
    expect(found && hexEncode(found)).toBe(before.get(hexEncode(probe)))
    this.model = after
    this.settle()
    const states = [before, after].map(model => expected(model, undefined, undefined, false))
    for (const state of seen) expect(states).toContainEqual(state)
  }

  settle(): void {
    for (let i = 0; i < 2000; i++) this.turn()
    this.pages.settle()
  }

  checkpoint(): void {
    const note = new Uint8Array(this.random.pick([1, 100, 5000])).fill(this.applied)
    const state = { model: new Map(this.model), applied: this.applied }
    this.durable.push(state)
    let outcome: HarmonyError | 'done' | undefined
    let asked = 0
    this.engine.checkpoint(
      note,
      durable => {
        asked++
        durable(undefined)
      },
      error => {
        outcome = error ?? 'done'
      },
    )
    for (let i = this.random.below(6); i > 0; i--) {
      this.turn()
      if (this.random.chance(0.5)) this.update(this.random.chance(0.3))
    }
    if (this.random.chance(0.2)) return this.crash()
    if (this.random.chance(0.1)) this.reset()
    for (let i = 0; outcome === undefined && i < 100_000; i++) this.turn()
    if (outcome === undefined) throw new Error('the checkpoint does not end')
    if (outcome !== 'done') {
      // Emptied before it had begun in earnest.
      expect(outcome.code).toBe('CLOSED')
      this.durable.pop()
      return
    }
    expect(asked).toBe(1)
    this.durable = [state]
  }

  reset(): void {
    this.engine.reset()
    this.model = new Map()
    this.applied = 0
  }

  crash(): void {
    this.pages = this.pages.crashed(this.random)
    this.engine = this.open()
    this.recognise()
  }

  recognise(): void {
    this.applied = this.engine.applied
    const found = this.wait<string[]>(done => this.engine.read(entriesOf, done))
    const states = this.durable.filter(({ applied }) => applied === this.applied)
    const state = states.find(({ model }) => expected(model, undefined, undefined, false).join() === found.join())
    expect(state, `applied ${this.applied}`).toBeDefined()
    if (this.applied > 0) expect(this.engine.note?.[0]).toBe(this.applied & 0xff)
    else expect(this.engine.note?.[0] ?? 0).toBe(0)
    this.model = new Map(state!.model)
    this.durable = [state!]
  }

  check(): void {
    const probe = this.key()
    const value = this.wait<Uint8Array | undefined>(done => this.engine.read(view => view.get(probe), done))
    expect(value && hexEncode(value)).toBe(this.model.get(hexEncode(probe)))
    const found = this.wait<Uint8Array | undefined>(done =>
      this.engine.read(view => {
        const row = view.find(probe)
        return row && entryOf(row)[1]
      }, done),
    )
    expect(found).toEqual(value)
    const [low, high] = [this.key(), this.random.chance(0.5) ? this.key() : undefined]
    const reverse = this.random.chance(0.5)
    const seen = this.wait<string[]>(done => this.engine.read(view => scanOf(view, low, high, reverse), done))
    expect(seen).toEqual(expected(this.model, low, high, reverse))
    const { keys, bytes, cache } = this.engine.status()
    let modelBytes = 0
    for (const [key, one] of this.model) modelBytes += (key.length + one.length) / 2
    expect({ keys, bytes }).toEqual({ keys: this.model.size, bytes: modelBytes })
    expect(cache.bytes).toBeLessThanOrEqual(cache.bytesMax)
  }
}

const entriesOf = (view: View): string[] => scanOf(view, undefined, undefined, false)

function scanOf(view: View, low: Uint8Array | undefined, high: Uint8Array | undefined, reverse: boolean): string[] {
  const seen: string[] = []
  view.scan(low, high, reverse, row => {
    const [key, value] = entryOf(row)
    seen.push(`${hexEncode(key)}=${hexEncode(value)}`)
    return true
  })
  return seen
}

const configs = fc.record({
  seed: fc.nat(),
  later: fc.boolean(),
  cachePages: fc.constantFrom(64, 90, 400),
  keySpace: fc.constantFrom(5, 60, 300),
  policy: fc.constantFrom<PolicyName>('clock', '2q'),
})

describe('paged engine', () => {
  it('equals a sorted map through updates, snapshots, checkpoints, resets and crashes, whatever happens at the same time', () => {
    const numRuns = process.env.DEEP === '1' ? 2000 : 60
    fc.assert(
      fc.property(configs, config => {
        const world = new World(config)
        let snapshots: { snapshot: EngineSnapshot; entries: string[] }[] = []
        for (let turn = 0; turn < 60; turn++) {
          const action = world.random.unit()
          const { engine } = world
          if (action < 0.6) world.update()
          else if (action < 0.75) world.check()
          else if (action < 0.82 && snapshots.length < 3) {
            const snapshot = world.wait<EngineSnapshot>(done => engine.snapshot(done))
            expect(snapshot.applied).toBe(world.applied)
            snapshots.push({ snapshot, entries: expected(world.model, undefined, undefined, false) })
          } else if (action < 0.9 && snapshots.length > 0) {
            const { snapshot, entries } = snapshots[0]!
            expect(world.wait<string[]>(done => snapshot.read(entriesOf, done))).toEqual(entries)
            expect([undefined, entries]).toContainEqual(snapshot.peek(entriesOf)?.value)
            if (world.random.chance(0.7)) {
              snapshot.release()
              snapshots.shift()
            }
          } else if (action < 0.97) world.checkpoint()
          else if (action < 0.99) world.crash()
          else world.reset()
          if (world.engine !== engine || action >= 0.99 || world.applied === 0) {
            for (const { snapshot } of snapshots) snapshot.release()
            snapshots = []
          }
        }
        for (const { snapshot } of snapshots) snapshot.release()
        world.settle()
        world.checkpoint()
        world.crash()
      }),
      // A read that had to queue for its page found it freed meanwhile.
      { numRuns, examples: [[{ seed: 2147483616, later: true, cachePages: 90, keySpace: 300, policy: '2q' }]] },
    )
  }, 600_000)

  it('is crashed at every write and sync of a checkpoint: the state is the one before or the one after', () => {
    const config: Config = { seed: 7, later: false, cachePages: 64, keySpace: 120, policy: 'clock' }
    const prepared = (powerAfter: number): World => {
      const world = new World(config)
      for (let i = 0; i < 40; i++) world.update(false)
      world.wait<void>(done =>
        world.engine.checkpoint(Uint8Array.of(world.applied), durable => durable(undefined), toResult(done)),
      )
      world.durable = [{ model: new Map(world.model), applied: world.applied }]
      for (let i = 0; i < 20; i++) world.update(false)
      world.durable.push({ model: new Map(world.model), applied: world.applied })
      world.pages.powerUntil = world.pages.operations + powerAfter
      return world
    }
    const begin = (world: World): void => {
      world.engine.checkpoint(
        Uint8Array.of(world.applied),
        durable => durable(undefined),
        () => {},
      )
      world.settle()
    }
    const whole = prepared(1e9)
    const start = whole.pages.operations
    begin(whole)
    const operations = whole.pages.operations - start
    expect(operations).toBeGreaterThan(20)
    const found = new Set<number>()
    for (let at = 1; at <= operations; at++) {
      const world = prepared(at)
      begin(world)
      world.crash()
      found.add(world.applied)
      // Nothing leaks: all that the store has is reached, and it goes on.
      world.update()
      world.check()
    }
    expect(found.size).toBe(2)
  }, 60_000)

  it('pitfall 10: a checkpoint is not in force before the log is durable as far as it reaches', () => {
    for (const logged of [false, true]) {
      const world = new World({ seed: 11, later: false, cachePages: 64, keySpace: 60, policy: 'clock' })
      for (let i = 0; i < 20; i++) world.update(false)
      const { applied } = world
      let logDurable: Done | undefined
      let ended = false
      world.engine.checkpoint(
        Uint8Array.of(applied),
        done => {
          logDurable = done
        },
        () => {
          ended = true
        },
      )
      world.settle()
      if (logged) logDurable?.(undefined)
      world.settle()
      expect(ended).toBe(logged)
      world.durable.push({ model: new Map(world.model), applied })
      world.crash()
      expect(world.applied).toBe(logged ? applied : 0)
    }
  })

  it('pitfall 18: after a checkpoint that failed, whoever waited for its end and asks for another one hears the same error', () => {
    const world = new World({ seed: 5, later: false, cachePages: 64, keySpace: 60, policy: 'clock' })
    for (let i = 0; i < 20; i++) world.update(false)
    world.pages.failSync = new HarmonyError('QUOTA', 'full')
    const heard: (string | undefined)[] = []
    const checkpoint = (): void =>
      world.engine.checkpoint(
        Uint8Array.of(1),
        durable => durable(undefined),
        error => heard.push(error?.code),
      )
    checkpoint()
    world.engine.whenIdle(checkpoint)
    world.settle()
    expect(heard).toEqual(['QUOTA', 'QUOTA'])
  })

  // A state of one page, which has not changed since: the new state is in a page of the same number.
  for (const [keySpace, later] of [
    [2, 0],
    [60, 20],
  ] as const) {
    it(`reads of a snapshot of ${keySpace} keys end with SNAPSHOT_TOO_OLD once the state was emptied, and its release harms nothing`, () => {
      const world = new World({ seed: 1, later: true, cachePages: 64, keySpace, policy: 'clock' })
      for (let i = 0; i < 20; i++) world.update()
      const snapshot = world.wait<EngineSnapshot>(done => world.engine.snapshot(done))
      for (let i = 0; i < later; i++) world.update()
      expect(snapshot.peek(entriesOf)).toEqual({ value: world.wait<string[]>(done => snapshot.read(entriesOf, done)) })
      world.reset()
      expect(() => world.wait(done => snapshot.read(entriesOf, done))).toThrow(/gone/)
      expect(snapshot.peek(entriesOf)).toBe(undefined)
      for (let i = 0; i < 20; i++) world.update()
      expect(snapshot.peek(entriesOf)).toBe(undefined)
      snapshot.release()
      expect(snapshot.peek(entriesOf)).toBe(undefined)
      for (let i = 0; i < 20; i++) world.update()
      world.check()
    })
  }

  it('an update under way when the state is emptied ends with CLOSED and leaves no trace', () => {
    const world = new World({ seed: 3, later: true, cachePages: 64, keySpace: 300, policy: 'clock' })
    for (let i = 0; i < 60; i++) world.update()
    let outcome: Result<void> | undefined
    const changes = Array.from({ length: 60 }, () => ({ key: world.key(), value: new Uint8Array(40) }))
    world.engine.update(
      () => ({ changes, result: undefined }),
      index(world.applied + 1),
      result => {
        outcome = result
      },
    )
    expect(outcome).toBeUndefined()
    world.reset()
    world.settle()
    expect(outcome).toMatchObject({ ok: false, error: { code: 'CLOSED' } })
    expect(world.wait<string[]>(done => world.engine.read(entriesOf, done))).toEqual([])
    world.update()
    world.check()
  })

  it('decodes whatever stands as meta data to a value or a typed error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), bytes => {
        const result = decodeMeta(bytes)
        expect(result.ok || ['CORRUPT', 'VERSION_MISMATCH'].includes(result.error.code)).toBe(true)
      }),
    )
  })
})

const toResult =
  (done: Completion<void>) =>
  (error: HarmonyError | undefined): void =>
    done(error === undefined ? { ok: true, value: undefined } : { ok: false, error })
