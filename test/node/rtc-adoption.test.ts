/** How two sides of an adopted connection find each other, over streams whose every move the test decides. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Adoption, adoptionSlots, createAdoption } from '../../platform/network/adoption.ts'
import type { Clock } from '../../src/platform.ts'

type Side = 0 | 1

/**
 * Streams as the worst of hosts treats them: what arrives where there is no channel is lost, and from then on so is everything on that
 * stream, both ways, whatever is made on it.
 */
class World {
  readonly sides: [Adoption, Adoption]
  readonly met: [number[], number[]] = [[], []]
  readonly data: [number[], number[]] = [[], []]
  outOfPlace = 0
  private readonly timers = new Set<() => void>()
  private readonly made: [Set<number>, Set<number>] = [new Set(), new Set()]
  private readonly poisoned = new Set<number>()
  private readonly wires: { to: Side; slot: number; bytes: Uint8Array }[] = []

  constructor() {
    this.sides = [this.side(0), this.side(1)]
  }

  private side(i: Side): Adoption {
    const clock: Clock = {
      now: () => 0,
      wall: () => 0,
      soon: run => run(),
      after: (_, run) => {
        this.timers.add(run)
        return () => this.timers.delete(run)
      },
    }
    return createAdoption({
      initiator: i === 0,
      clock,
      openSlot: slot => {
        this.made[i].add(slot)
      },
      closeSlot: slot => {
        this.made[i].delete(slot)
      },
      send: (slot, bytes) => this.send(i, slot, bytes),
      met: slot => {
        this.met[i].push(slot)
        // As soon as a side may send, it sends what looks like marks.
        for (const byte of [0, 1, 2]) this.send(i, slot, Uint8Array.of(byte))
      },
    })
  }

  private send(from: Side, slot: number, bytes: Uint8Array): void {
    this.wires.push({ to: from === 0 ? 1 : 0, slot, bytes })
  }

  /** One channel pair that is made and not yet known to be open. */
  open(i: Side, at: number): void {
    const slots = [...this.made[i]]
    if (slots.length > 0) this.sides[i].opened(slots[at % slots.length]!)
  }

  tick(): void {
    const due = [...this.timers]
    this.timers.clear()
    for (const run of due) run()
  }

  /** Streams are ordered each for itself. */
  deliver(at: number): void {
    const streams = [...new Set(this.wires.map(({ to, slot }) => `${to} ${slot}`))]
    if (streams.length === 0) return
    const stream = streams[at % streams.length]
    const i = this.wires.findIndex(({ to, slot }) => `${to} ${slot}` === stream)
    const [{ to, slot, bytes }] = this.wires.splice(i, 1) as [(typeof this.wires)[number]]
    if (this.poisoned.has(slot)) return
    if (!this.made[to].has(slot)) {
      this.poisoned.add(slot)
      return
    }
    const isMark = this.sides[to].take(slot, bytes)
    if (isMark === undefined) this.outOfPlace++
    if (isMark === false) this.data[to].push(bytes[0]!)
  }

  settle(): void {
    for (let i = 0; i < 4 * adoptionSlots; i++) {
      this.tick()
      for (const side of [0, 1] as const) for (let at = 0; at < adoptionSlots; at++) this.open(side, at)
      for (let n = 0; n < 40; n++) this.deliver(0)
    }
  }
}

it('both meet once, in one slot, whoever comes first, and data follow the marks untouched', () => {
  const step = fc.record({
    name: fc.constantFrom('begin 0', 'begin 1', 'tick', 'open 0', 'open 1', 'deliver'),
    at: fc.nat(20),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), steps => {
      const world = new World()
      const begun = [false, false]
      let ticks = 0
      const act = (name: string, at: number): void => {
        const i: Side = name.endsWith('1') ? 1 : 0
        if (name === 'deliver') world.deliver(at)
        else if (name.startsWith('open')) world.open(i, at)
        // The other side comes before the last slot is tried.
        else if (name === 'tick') {
          if (begun[1] || ticks++ < adoptionSlots - 2) world.tick()
        } else if (!begun[i]) {
          begun[i] = true
          world.sides[i].begin()
        }
      }
      for (const { name, at } of steps) act(name, at)
      for (const name of ['begin 0', 'begin 1']) act(name, 0)
      world.settle()
      expect(world.met[0]).toHaveLength(1)
      expect(world.met[1]).toEqual(world.met[0])
      expect(world.data).toEqual([
        [0, 1, 2],
        [0, 1, 2],
      ])
      expect(world.outOfPlace).toBe(0)
    }),
    { numRuns: 2_000 },
  )
})

it('a side that is alone asks once in each slot and no more', () => {
  const world = new World()
  world.sides[0].begin()
  world.settle()
  expect(world.met).toEqual([[], []])
})

it('anything but the mark that is due is out of place', () => {
  for (const bytes of [[], [2], [0, 0], [255], [0]]) {
    const world = new World()
    world.sides[0].begin()
    expect(world.sides[0].take(0, Uint8Array.from(bytes))).toBeUndefined()
  }
})

it('after the end nothing is said any more', () => {
  const world = new World()
  for (const side of world.sides) side.begin()
  world.sides[1].stop()
  world.settle()
  expect(world.met).toEqual([[], []])
})
